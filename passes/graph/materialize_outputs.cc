// output = input, constant, view of either, or another output's memory → output = Kernel{Identity}: every output, and
// every next value of a state, has memory of its own that some kernel writes.
#include <set>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/manager.h"

namespace fcc {

static Result<ValueId> copy_of(Graph& g, ValueId source, const std::string& result_name) {
  auto body = std::make_shared<Graph>();
  const ValueId x = body->add_input("x", g.value(source).type);
  FCC_TRY(NodeId copy, body->add(op("Identity"), {x}));
  body->add_output("out", body->node(copy).out[0]);
  FCC_TRY(NodeId kernel, g.add(op("Kernel"), {source}, {{"what", std::string("Copy")}}, {}, {result_name + ".copy"}, body));
  return g.node(kernel).out[0];
}

Result<bool> materialize_outputs(Graph& g, PassContext&) {
  bool changed = false;
  std::set<ValueId> taken;
  const auto owns_memory = [&](ValueId v) {
    for (const Node* n = g.def(v); n && is_view(*n); n = g.def(v)) v = n->in[0];
    return g.value(v).role == Role::temp && !g.value(v).observed && taken.insert(v).second;
  };
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    if (owns_memory(g.outputs[i])) continue;
    FCC_TRY(g.outputs[i], copy_of(g, g.outputs[i], g.output_names[i]));
    changed = true;
  }
  for (size_t i = 0; i < g.updates.size(); ++i) {
    const auto [state, next] = g.updates[i];
    if (state == next || owns_memory(next)) continue;
    FCC_TRY(g.updates[i].second, copy_of(g, next, g.value(state).name));
    changed = true;
  }
  return changed;
}

}  // namespace fcc
