// GroupNormalization-18: scale and bias were given per group instead of per channel.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {

// [G] -> [G,1] -> [G,C/G] -> [C]
static Status per_group_to_per_channel(NodeForm& n) {
  FCC_TRY(const int64_t groups, n.integer("num_groups", 0));
  if (!n.has(0) || !n.has(1) || !n.has(2) || groups <= 0 || n.type(0).rank() < 2) return {};  // infer explains
  const SymExpr channels = n.type(0).dims[1];
  GraphBuilder b = n.builder();
  for (size_t k : {size_t{1}, size_t{2}}) {
    if (n.type(k).rank() != 1 || !n.type(k).dims[0].is(groups))
      return n.refuse("scale and bias must have one element a group before opset 21");
    const ValueId column = b("Reshape", {n.in[k], b.ints({groups, 1})});
    const ValueId table = b("Expand", {column, b.dims({groups, floordiv(channels, groups)})});
    n.in[k] = b("Reshape", {table, b.dims({channels})});
  }
  return b.status();
}

void register_group_norm_upgrades(UpgradeTable& t) {
  t.add("GroupNormalization", 21, per_group_to_per_channel);
}

}  // namespace fcc
