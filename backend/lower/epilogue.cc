#include "backend/lower/epilogue.h"

#include "ir/op.h"

namespace fcc::backend {

NodeId find_root(const Graph& body) {
  for (NodeId n : body.order()) {
    const Strategy s = body.node(n).op->strategy;
    if (s == Strategy::contraction || s == Strategy::window) return n;
  }
  return kNoNode;
}

Graph epilogue_of(const Graph& body, NodeId root) {
  Graph g;
  std::vector<ValueId> map(static_cast<size_t>(body.value_count()), kNoValue);
  for (ValueId v : body.inputs()) map[static_cast<size_t>(v)] = g.add_input(body.value(v).name, body.value(v).type);
  const ValueId result = body.node(root).out[0];
  map[static_cast<size_t>(result)] = g.add_input("acc", body.value(result).type);
  for (NodeId n : body.order()) {
    const Node& node = body.node(n);
    if (n == root) continue;
    std::vector<ValueId> in;
    for (ValueId v : node.in) {
      if (v != kNoValue && map[static_cast<size_t>(v)] == kNoValue) {
        FCC_CHECK(body.value(v).role == Role::constant, "{} comes before the root of its kernel", body.value(v).name);
        map[static_cast<size_t>(v)] = g.add_constant(body.value(v).name, body.value(v).data);
      }
      in.push_back(v == kNoValue ? kNoValue : map[static_cast<size_t>(v)]);
    }
    Result<NodeId> added = g.add(*node.op, std::move(in), node.attrs, node.loc, {body.value(node.out[0]).name});
    FCC_CHECK(added.has_value(), "{}", added.error().text());
    map[static_cast<size_t>(node.out[0])] = g.node(*added).out[0];
  }
  g.add_output("out", map[static_cast<size_t>(body.outputs[0])]);
  return g;
}

}  // namespace fcc::backend
