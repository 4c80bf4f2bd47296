// Softmax, LogSoftmax, Hardmax before opset 13: all axes from `axis` (default 1) on counted as one.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

Status coerced_to_rows(NodeForm& n) {
  if (!n.has(0)) return {};
  const Dims dims = n.type(0).dims;
  const auto rank = static_cast<int64_t>(dims.size());
  FCC_TRY(int64_t axis, n.integer("axis", 1));
  if (axis < -rank || axis >= rank) {  // axis 1 of a vector: infer explains
    n.attrs.set("axis", axis);
    return {};
  }
  if (axis < 0) axis += rank;
  std::vector<int64_t> wide;  // axes of the row that are not known to be 1
  for (int64_t a = axis; a < rank; ++a)
    if (!dims[static_cast<size_t>(a)].is(1)) wide.push_back(a);
  if (wide.size() <= 1) {
    n.attrs.set("axis", wide.empty() ? axis : wide[0]);
    return {};
  }
  // y = reshape(softmax(flatten(x, axis), 1), shape(x))
  GraphBuilder b = n.builder();
  const ValueId rows = b("Flatten", {n.in[0]}, {{"axis", axis}});
  const ValueId y = b(n.op, {rows}, {{"axis", int64_t{1}}});
  n.results = {b("Reshape", {y, b.dims(dims)}, {{"allowzero", int64_t{1}}})};
  return b.status();
}

}  // namespace

void register_softmax_upgrades(UpgradeTable& t) {
  for (std::string_view op : {"Softmax", "LogSoftmax", "Hardmax"}) t.add(op, 13, coerced_to_rows);
}

}  // namespace fcc
