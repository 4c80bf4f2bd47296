// Opsets 1 to 6: explicit broadcasting, in-place hints, test-mode flags and shapes as attributes.
#include <fmt/format.h>

#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

// Before 7, B met A's axes from `axis` on (default: the last ones): B[m..] -> B[m..,1,..,1].
Status explicit_broadcast(NodeForm& n) {
  FCC_TRY(const int64_t broadcast, n.integer("broadcast", 0));
  if (broadcast != 0 && n.attrs.has("axis") && n.has(0) && n.has(1)) {
    FCC_TRY(int64_t axis, n.integer("axis", 0));
    if (axis < 0) axis += n.type(0).rank();
    const int64_t trailing = n.type(0).rank() - axis - n.type(1).rank();
    if (axis < 0 || trailing < 0) return n.refuse("its second operand does not fit at axis " + std::to_string(axis));
    std::vector<int64_t> axes;
    for (int64_t k = 0; k < trailing; ++k) axes.push_back(n.type(1).rank() + k);
    if (!axes.empty()) {
      GraphBuilder b = n.builder();
      n.in[1] = b("Unsqueeze", {n.in[1], b.ints(axes)});
      FCC_CHECKED(b.status());
    }
  }
  n.attrs.erase("broadcast");
  n.attrs.erase("axis");
  return {};
}

Status drop_hints(NodeForm& n) {
  n.attrs.erase("consumed_inputs");
  n.attrs.erase("is_test");
  return {};
}

Status drop_broadcast(NodeForm& n) {
  n.attrs.erase("broadcast");
  return {};
}

// A slope of one element a channel stood for axis 1, not for the last axis.
Status slope_per_channel(NodeForm& n) {
  if (!n.has(0) || !n.has(1) || n.type(1).rank() != 1 || n.type(0).rank() <= 2) return {};
  std::vector<int64_t> axes;
  for (int64_t k = 2; k < n.type(0).rank(); ++k) axes.push_back(k - 1);
  GraphBuilder b = n.builder();
  n.in[1] = b("Unsqueeze", {n.in[1], b.ints(axes)});
  return b.status();
}

Status shape_to_operand(NodeForm& n) {
  return n.ints_to_operand("shape", 1);
}

Status paddings(NodeForm& n) {
  if (const AttrValue* v = n.attrs.find("paddings")) {
    n.attrs.set("pads", *v);
    n.attrs.erase("paddings");
  }
  return {};
}

// Cast-1 named its type: "FLOAT".
Status type_by_name(NodeForm& n) {
  static constexpr std::pair<std::string_view, DType> kNames[] = {
      {"FLOAT", DType::f32},   {"UINT8", DType::u8},   {"INT8", DType::i8},    {"UINT16", DType::u16},
      {"INT16", DType::i16},   {"INT32", DType::i32},  {"INT64", DType::i64},  {"BOOL", DType::boolean},
      {"FLOAT16", DType::f16}, {"DOUBLE", DType::f64}, {"UINT32", DType::u32}, {"UINT64", DType::u64}};
  const AttrValue* v = n.attrs.find("to");
  const auto* wanted = v ? std::get_if<std::string>(v) : nullptr;
  if (!wanted) return {};
  for (const auto& [type, dtype] : kNames) {
    if (type != *wanted) continue;
    n.attrs.set("to", dtype);
    return {};
  }
  return n.refuse("its element type is not supported");
}

Status upsample_1(NodeForm& n) {
  FCC_TRY(const double height, n.number("height_scale", 0));
  FCC_TRY(const double width, n.number("width_scale", 0));
  n.attrs.set("scales", std::vector<double>{1, 1, height, width});
  n.attrs.erase("height_scale");
  n.attrs.erase("width_scale");
  return {};
}

Status tile_1(NodeForm& n) {
  return n.refuse("the form of opset 1 is not supported", "export with opset 6 or later");
}

}  // namespace

void register_ancient_upgrades(UpgradeTable& t) {
  for (std::string_view op : {"Abs",       "Add",         "BatchNormalization",
                              "Ceil",      "Clip",        "Div",
                              "Dropout",   "Elu",         "Exp",
                              "Floor",     "HardSigmoid", "InstanceNormalization",
                              "LeakyRelu", "Log",         "Max",
                              "Mean",      "Min",         "Mul",
                              "Neg",       "PRelu",       "Reciprocal",
                              "Relu",      "Reshape",     "Selu",
                              "Sigmoid",   "Sqrt",        "Sub",
                              "Sum",       "Tanh"})
    t.add(op, 7, drop_hints);
  for (std::string_view op : {"Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"})
    t.add(op, 7, explicit_broadcast);
  t.add("Gemm", 7, drop_broadcast);
  t.add("PRelu", 7, slope_per_channel);
  t.add("Reshape", 5, shape_to_operand);
  t.add("Pad", 2, paddings);
  t.add("Cast", 6, type_by_name);
  t.add("Upsample", 7, upsample_1);
  t.add("Tile", 6, tile_1);
}

}  // namespace fcc
