// Squeeze, Unsqueeze, Split and the reductions: a list attribute became an operand (opset 13, reductions 18).
#include <fmt/format.h>

#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

Status axes_to_operand(NodeForm& n) {
  return n.ints_to_operand("axes", 1);
}
Status split_to_operand(NodeForm& n) {
  return n.ints_to_operand("split", 1);
}

// Before 18 the pieces were equal, and their number was the number of results.
Status split_by_results(NodeForm& n) {
  if (n.has(1) || !n.has(0)) return {};
  const auto pieces = static_cast<int64_t>(n.out.size());
  FCC_TRY(int64_t axis, n.integer("axis", 0));
  const Dims& dims = n.type(0).dims;
  if (axis < 0) axis += n.type(0).rank();
  if (axis >= 0 && axis < n.type(0).rank()) {
    const SymExpr& extent = dims[static_cast<size_t>(axis)];
    if (extent.is_constant() && extent.constant() % pieces != 0)
      return n.refuse(
          fmt::format("extent {} of axis {} does not divide into {} equal pieces", extent.constant(), axis, pieces),
          "give the sizes of the pieces");
  }
  n.attrs.set("num_outputs", pieces);
  return {};
}

}  // namespace

void register_axes_upgrades(UpgradeTable& t) {
  t.add("Squeeze", 13, axes_to_operand);
  t.add("Unsqueeze", 13, axes_to_operand);
  t.add("Split", 13, split_to_operand);
  t.add("Split", 18, split_by_results);
  t.add("ReduceSum", 13, axes_to_operand);
  for (std::string_view op : {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
                              "ReduceMin", "ReduceProd", "ReduceSumSquare"})
    t.add(op, 18, axes_to_operand);
}

}  // namespace fcc
