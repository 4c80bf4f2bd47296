// output = input, constant, view of either, or another output's memory → output = Kernel{Identity}: every output has
// memory of its own that some kernel writes.
#include <set>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/manager.h"

namespace fcc {

Result<bool> materialize_outputs(Graph& g, PassContext&) {
  bool changed = false;
  std::set<ValueId> taken;
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    ValueId root = g.outputs[i];
    for (const Node* n = g.def(root); n && is_view(*n); n = g.def(root)) root = n->in[0];
    if (g.value(root).role == Role::temp && !g.value(root).observed && taken.insert(root).second) continue;
    const ValueId source = g.outputs[i];
    auto body = std::make_shared<Graph>();
    const ValueId x = body->add_input("x", g.value(source).type);
    FCC_TRY(NodeId copy, body->add(op("Identity"), {x}));
    body->add_output("out", body->node(copy).out[0]);
    FCC_TRY(NodeId kernel, g.add(op("Kernel"), {source}, {{"what", std::string("Copy")}}, {}, {g.output_names[i] + ".copy"}, body));
    g.outputs[i] = g.node(kernel).out[0];
    changed = true;
  }
  return changed;
}

}  // namespace fcc
