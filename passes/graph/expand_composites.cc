// composite(x) → its expansion, for operators whose meaning is a few others.
#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

Result<bool> expand_composites(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (!n.op->expand) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    FCC_TRY(std::vector<ValueId> results, n.op->expand(b, n));
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    if (results.empty()) continue;  // as it stands it is no composite
    for (size_t k = 0; k < n.out.size(); ++k) {
      if (k < results.size() && results[k] != kNoValue) g.replace_uses(n.out[k], results[k]);
    }
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
