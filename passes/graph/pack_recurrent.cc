// RecurrentScan(x, R) → RecurrentScan(x, PackGemmB(R)), and RecurrentGrad likewise with R as it goes back: the steps
// multiply by column panels. Packing is a node here too, folded for constants and kept in a training step.
#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

Result<bool> pack_recurrent(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    const bool scan = n.op->name == "RecurrentScan";
    if ((!scan && n.op->name != "RecurrentGrad") || g.value(n.in[1]).type.rank() != 3) continue;
    const int64_t hidden = n.attrs.integer("hidden"), directions = n.attrs.integer("directions", 1),
                  rows = g.value(n.in[1]).type.dims[0].constant() / directions * hidden;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    // Forward each gate's matrix by its transpose; backward all gates of a direction as one matrix.
    const ValueId r = scan ? n.in[1] : b("Reshape", {n.in[1], b.ints({directions, rows, hidden})});
    std::vector<ValueId> in = n.in;
    in[1] = b("PackGemmB", {r}, {{"nr", hidden > 16 ? int64_t{32} : int64_t{16}}, {"trans", int64_t{scan}}},
              g.value(n.in[1]).name + (scan ? ".packed" : ".packed_back"));
    const std::vector<ValueId> out = b.many(n.op->name, in, n.attrs, static_cast<int32_t>(n.out.size()));
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    for (size_t k = 0; k < out.size(); ++k) g.replace_uses(n.out[k], out[k]);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
