#include "backend/lower/epilogue.h"

#include <set>

#include "ir/op.h"

namespace fcc::backend {

NodeId find_root(const Graph& body) {
  for (NodeId n : body.order()) {
    const Strategy s = body.node(n).op->strategy;
    if (s == Strategy::contraction || s == Strategy::window) return n;
  }
  return kNoNode;
}

// Copies the nodes for which `wanted` holds, all but the root.
template <class Wanted>
static Graph part_of(const Graph& body, NodeId root, ValueId output, Wanted wanted) {
  Graph g;
  std::vector<ValueId> map(static_cast<size_t>(body.value_count()), kNoValue);
  for (ValueId v : body.inputs()) map[static_cast<size_t>(v)] = g.add_input(body.value(v).name, body.value(v).type);
  const ValueId result = body.node(root).out[0];
  map[static_cast<size_t>(result)] = g.add_input("acc", body.value(result).type);
  for (NodeId n : body.order()) {
    const Node& node = body.node(n);
    if (n == root || !wanted(n)) continue;
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
  g.add_output("out", map[static_cast<size_t>(output)]);
  return g;
}

Graph epilogue_of(const Graph& body, NodeId root) {
  return part_of(body, root, body.outputs[0], [](NodeId) { return true; });
}

Graph tail_of(const Graph& body, NodeId root, ValueId output) {
  std::set<NodeId> needed;
  std::vector<ValueId> open{output};
  while (!open.empty()) {
    const NodeId n = open.back() == kNoValue ? kNoNode : body.value(open.back()).def;
    open.pop_back();
    if (n == kNoNode || n == root || !needed.insert(n).second) continue;
    open.insert(open.end(), body.node(n).in.begin(), body.node(n).in.end());
  }
  return part_of(body, root, output, [&](NodeId n) { return needed.contains(n); });
}

}  // namespace fcc::backend
