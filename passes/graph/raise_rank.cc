// window(x[N,C,L]) → squeeze(window'(unsqueeze(x))) on [N,C,1,L]: one-dimensional convolutions and pools take the path
// of two-dimensional ones, with its blocked layout and its kernels. The views cost nothing and cancel between
// neighbours (simplify).
#include <algorithm>

#include "ir/op.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

bool is_window(const Node& n) {
  const std::string_view s = n.op->name;
  return (s == "Conv" || s == "MaxPool" || s == "AveragePool") && n.out.size() == 1;
}

// A neutral entry before each, for the new axis; pads hold begins before ends.
Attrs raised(const Attrs& attrs) {
  Attrs out = attrs;
  for (std::string_view name : {"kernel_shape", "strides", "dilations"})
    if (attrs.has(name)) out.set(name, std::vector<int64_t>{1, attrs.integers(name).at(0)});
  if (attrs.has("pads")) out.set("pads", std::vector<int64_t>{0, attrs.integers("pads").at(0), 0, attrs.integers("pads").at(1)});
  return out;
}

}  // namespace

Result<bool> raise_rank(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (!is_window(n) || g.value(n.in[0]).type.rank() != 3) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const auto with_axis = [&](ValueId v) {
      if (!g.is_constant(v)) return b("Unsqueeze", {v, b.ints({2})});
      const Tensor t = g.value(v).data;
      return b.constant(t.reshaped({t.shape()[0], t.shape()[1], 1, t.shape()[2]}), g.value(v).name);
    };
    std::vector<ValueId> in = n.in;
    for (size_t k = 0; k < std::min<size_t>(2, in.size()); ++k) in[k] = with_axis(in[k]);
    const ValueId y = b("Squeeze", {b(n.op->name, std::move(in), raised(n.attrs)), b.ints({2})});
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    FCC_CHECK(g.value(y).type == g.value(n.out[0]).type, "{} changed its type", describe(*n.op, n.loc));
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
