// Single small changes of one operator each.
#include <algorithm>

#include "frontend/onnx/upgrade/upgrade.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

// saturate and round_mode speak of 8-bit floats only, which fcc does not have.
Status drop_float8_rounding(NodeForm& n) {
  n.attrs.erase("saturate");
  n.attrs.erase("round_mode");
  return {};
}

// CastLike(x, like) = Cast(x, to = type of like)
Status cast_like(NodeForm& n) {
  if (!n.has(0) || !n.has(1)) return n.refuse("needs two operands");
  n.attrs.set("to", n.type(1).dtype);
  n.in.resize(1);
  return {};
}

Status top_k_1(NodeForm& n) {
  if (!n.attrs.has("k")) return n.refuse("misses its attribute \"k\"");
  FCC_TRY(const int64_t k, n.integer("k", 0));
  n.set_operand(1, n.builder().ints({k}));
  n.attrs.erase("k");
  return {};
}

// Before 16 there was no half-pixel shift.
Status roi_align_10(NodeForm& n) {
  if (!n.attrs.has("coordinate_transformation_mode"))
    n.attrs.set("coordinate_transformation_mode", std::string("output_half_pixel"));
  return {};
}

Status grid_sample_16(NodeForm& n) {
  FCC_TRY(const std::string mode, n.string("mode", "bilinear"));
  n.attrs.set("mode", mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode);
  return {};
}

Status dft_17(NodeForm& n) {
  FCC_TRY(const int64_t axis, n.integer("axis", 1));
  n.set_operand(2, n.builder().constant(Tensor::scalar(DType::i64, static_cast<double>(axis)), "axis"));
  n.attrs.erase("axis");
  return {};
}

// The length of a Range of floats is no size expression: it becomes a fourth operand.
Status float_range(NodeForm& n) {
  if (n.in.size() != 3 || !n.has(0) || !n.has(1) || !n.has(2) || !is_float(n.type(0).dtype)) return {};
  const auto known = [&](size_t k) { return n.graph.value(n.in[k]).content != nullptr; };
  if (known(0) && known(1) && known(2)) return {};
  GraphBuilder b = n.builder();
  n.set_operand(3, range_length(b, n.in[0], n.in[1], n.in[2]));
  return b.status();
}

// A depth that is a float decides an extent only as an integer.
Status integer_depth(NodeForm& n) {
  if (!n.has(1) || !is_float(n.type(1).dtype)) return {};
  GraphBuilder b = n.builder();
  n.in[1] = b("Cast", {n.in[1]}, {{"to", DType::i64}});
  return b.status();
}

// A run gives 0 where an integer is divided by 0 (docs/numerics.md); a divisor that the file fixes at 0 is a mistake.
Status divisor_is_not_0(NodeForm& n) {
  if (!n.has(1) || is_float(n.type(1).dtype)) return {};
  const Value& divisor = n.graph.value(n.in[1]);
  bool zero = false;
  for (int64_t i = 0; divisor.role == Role::constant && i < divisor.data.elements(); ++i)
    zero |= divisor.data.get_int(i) == 0;
  if (divisor.content) zero |= std::ranges::any_of(divisor.content->elements, [](const SymExpr& e) { return e.is(0); });
  if (zero) return n.refuse("divides integers by the constant 0", "make every element of the divisor another number");
  return {};
}

}  // namespace

void register_misc_upgrades(UpgradeTable& t) {
  t.add("Cast", kAnyOpset, drop_float8_rounding);
  t.add("QuantizeLinear", kAnyOpset, drop_float8_rounding);
  t.rename("CastLike", "Cast");
  t.add("CastLike", kAnyOpset, drop_float8_rounding);
  t.add("CastLike", kAnyOpset, cast_like);
  t.add("Div", kAnyOpset, divisor_is_not_0);
  t.add("Mod", kAnyOpset, divisor_is_not_0);
  t.add("TopK", 10, top_k_1);
  t.rename("Scatter", "ScatterElements");
  t.add("RoiAlign", 16, roi_align_10);
  t.add("GridSample", 20, grid_sample_16);
  t.add("DFT", 20, dft_17);
  t.add("Range", kAnyOpset, float_range);
  t.add("OneHot", kAnyOpset, integer_depth);
}

}  // namespace fcc
