// Upsample-7 and -9 are Resize now; Resize-10 knew one coordinate rule; Resize-11 marked absent operands by empty
// tensors.
#include "ir/ops/resize.h"

#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

Status scales_to_operand(NodeForm& n) {
  const AttrValue* v = n.attrs.find("scales");
  const auto* scales = v ? std::get_if<std::vector<double>>(v) : nullptr;
  if (!scales) return n.refuse("misses its attribute \"scales\"");
  Tensor t(DType::f32, {static_cast<int64_t>(scales->size())});
  for (size_t i = 0; i < scales->size(); ++i) t.set_double(static_cast<int64_t>(i), (*scales)[i]);
  n.set_operand(1, n.builder().constant(std::move(t), "scales"));
  n.attrs.erase("scales");
  return {};
}

// (X, scales) -> (X, roi, scales); output pixel i samples input i/scale, rounded down.
Status resize_10(NodeForm& n) {
  n.in.resize(2, kNoValue);
  n.in = {n.in[0], kNoValue, n.in[1]};
  n.attrs.set("coordinate_transformation_mode", std::string("asymmetric"));
  n.attrs.set("nearest_mode", std::string("floor"));
  return {};
}

// Absent operands may be empty tensors; scales move to where the operator reads them.
Status complete(NodeForm& n) {
  if (!n.has(0)) return {};
  GraphBuilder b = n.builder();
  const auto given = [&](size_t k) { return n.has(k) && !b.type(n.in[k]).elements().is(0); };
  if (given(2) && given(3))
    return n.refuse("has both scales and sizes", "give one of the two and leave the other empty");
  canonicalize_resize(b, n.in, n.attrs);
  return b.status();
}

}  // namespace

void register_resize_upgrades(UpgradeTable& t) {
  t.rename("Upsample", "Resize");
  t.add("Upsample", 9, scales_to_operand);
  t.add("Upsample", 10, resize_10);
  t.add("Resize", 11, resize_10);
  t.add("Upsample", kAnyOpset, complete);
  t.add("Resize", kAnyOpset, complete);
}

}  // namespace fcc
