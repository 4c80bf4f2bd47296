// Groups of operators → Kernel nodes, each of which becomes one loop nest. Walks from the end of the program to its
// start: every node that no cluster took opens one, then producers join while the rules allow (fusion_rules.h) and
// nobody outside needs their result. Every operator but views ends up inside a kernel.
#include <algorithm>
#include <map>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/manager.h"

namespace fcc {
namespace {

class Fuser {
 public:
  explicit Fuser(Graph& g) : g_(g), order_(g.order()), taken_(static_cast<size_t>(g.node_count()), false) {
    for (size_t i = 0; i < order_.size(); ++i) position_[order_[i]] = i;
  }

  Result<bool> run() {
    std::vector<Cluster> clusters;
    for (size_t i = order_.size(); i-- > 0;) {
      const NodeId n = order_[i];
      if (taken_[static_cast<size_t>(n)] || !needs_kernel(g_.node(n))) continue;
      std::vector<ValueId> used;
      for (ValueId v : g_.node(n).out)
        if (g_.use_count(v) > 0 || g_.value(v).observed) used.push_back(v);
      // What has no formula for an element is computed as a whole: one kernel, with the results that nobody uses too.
      if (!g_.node(n).op->define && g_.node(n).out.size() > 1 && !used.empty()) {
        clusters.push_back(grow(n, g_.node(n).out));
        continue;
      }
      if (g_.node(n).op->elementwise && !used.empty()) {
        clusters.push_back(grow(n, used));
        continue;
      }
      for (ValueId v : used) {
        clusters.push_back(grow(n, {v}));
        if (pools_pairs(g_, g_.node(n))) pool_at_end(clusters);
      }
    }
    std::reverse(clusters.begin(), clusters.end());
    for (const Cluster& c : clusters) FCC_CHECKED(emit(c));
    return !clusters.empty();
  }

 private:
  Cluster grow(NodeId sink, const std::vector<ValueId>& outputs) {
    Cluster c{sink, outputs[0], outputs, {sink}, kNoNode};
    const Strategy s = g_.node(sink).op->strategy;
    if (s == Strategy::contraction || s == Strategy::window) c.root = sink;
    taken_[static_cast<size_t>(sink)] = true;
    if (g_.node(sink).out.size() > 1 && !g_.node(sink).op->elementwise) return c;
    for (bool grown = true; grown;) {
      grown = false;
      for (ValueId v : frontier(c)) {
        if (!only_used_inside(c, v) || !may_absorb(g_, c, v)) continue;
        const NodeId p = g_.value(v).def;
        const Strategy ps = g_.node(p).op->strategy;
        if (c.root == kNoNode && (ps == Strategy::contraction || ps == Strategy::window)) c.root = p;
        c.members.insert(p);
        taken_[static_cast<size_t>(p)] = true;
        grown = true;
        break;
      }
    }
    return c;
  }

  // pool2x2(f(WinogradConv(x))) → one kernel: output tiles have even edges and hold whole windows. The last cluster is the
  // pool alone; its producer is grown now, and the two join when it turns out to be one of these.
  void pool_at_end(std::vector<Cluster>& clusters) {
    Cluster& pool = clusters.back();
    const ValueId v = g_.node(pool.sink).in[0];
    const NodeId p = g_.value(v).def;
    if (p == kNoNode || taken_[static_cast<size_t>(p)] || g_.value(v).observed || g_.node(p).out.size() > 1 || !needs_kernel(g_.node(p)) || !only_used_inside(pool, v)) return;
    Cluster producer = grow(p, {v});
    if (producer.root == kNoNode || g_.node(producer.root).op->name != "WinogradConv") {
      clusters.push_back(std::move(producer));
      return;
    }
    pool.root = producer.root;
    pool.members.merge(producer.members);
  }

  // Operands of the cluster made by nodes that are free to join, latest first.
  std::vector<ValueId> frontier(const Cluster& c) const {
    std::vector<ValueId> f;
    for (NodeId n : c.members) {
      const Node& node = g_.node(n);
      for (ValueId v : node.in) {
        if (v == kNoValue || is_shape_operand(node, v)) continue;
        const NodeId p = g_.value(v).def;
        if (p == kNoNode || taken_[static_cast<size_t>(p)] || g_.value(v).observed) continue;
        if (std::find(f.begin(), f.end(), v) == f.end()) f.push_back(v);
      }
    }
    std::sort(f.begin(), f.end(), [&](ValueId a, ValueId b) { return position_.at(g_.value(a).def) > position_.at(g_.value(b).def); });
    return f;
  }

  bool only_used_inside(const Cluster& c, ValueId v) const {
    const Node& p = *g_.def(v);
    for (ValueId result : p.out) {
      if (result != v && g_.use_count(result) > 0) return false;
      const auto& users = g_.users(result);
      if (static_cast<int64_t>(users.size()) != g_.use_count(result)) return false;  // a graph output
      for (NodeId u : users)
        if (!c.members.contains(u)) return false;
    }
    return true;
  }

  // Is v only needed for its contents, which are known?
  bool is_shape_operand(const Node& n, ValueId v) const {
    if (!g_.value(v).content) return false;
    for (size_t k : n.op->shape_operands)
      if (k < n.in.size() && n.in[k] == v) return true;
    return false;
  }

  Status emit(const Cluster& c) {
    auto body = std::make_shared<Graph>();
    std::vector<ValueId> operands;
    std::map<ValueId, ValueId> map;
    std::vector<NodeId> members(c.members.begin(), c.members.end());
    std::sort(members.begin(), members.end(), [&](NodeId a, NodeId b) { return position_.at(a) < position_.at(b); });
    std::string what;
    for (NodeId id : members) {
      const Node& n = g_.node(id);
      std::vector<ValueId> in;
      for (ValueId v : n.in) in.push_back(v == kNoValue ? kNoValue : bring_in(*body, n, v, operands, map));
      FCC_TRY(NodeId added, body->add(*n.op, std::move(in), n.attrs, n.loc, {}, n.body, static_cast<int32_t>(n.out.size())));
      for (size_t k = 0; k < n.out.size(); ++k) {
        map[n.out[k]] = body->node(added).out[k];
        body->rename(map[n.out[k]], g_.value(n.out[k]).name);
      }
      what += (what.empty() ? "" : "+") + std::string(n.op->name);
    }
    std::vector<std::string> names;
    for (ValueId v : c.outputs) {
      body->add_output("out", map.at(v));
      names.push_back(g_.value(v).name);
    }
    const Loc loc = main_loc(c);
    g_.set_insert_point(c.sink);
    FCC_TRY(NodeId kernel, g_.add(op("Kernel"), std::move(operands), {{"what", what}}, loc, names, body));
    g_.set_insert_point(kNoNode);
    for (size_t k = 0; k < c.outputs.size(); ++k) {
      const ValueId v = c.outputs[k], result = g_.node(kernel).out[k];
      if (auto content = g_.value(v).content; content && !g_.value(v).observed) g_.set_content(result, *content);
      g_.replace_uses(v, result);
    }
    return {};
  }

  // The body's value for an operand from outside: shape operands become what is known of them, scalars are embedded.
  ValueId bring_in(Graph& body, const Node& user, ValueId v, std::vector<ValueId>& operands, std::map<ValueId, ValueId>& map) {
    if (auto it = map.find(v); it != map.end()) return it->second;
    const Value& value = g_.value(v);
    if (is_shape_operand(user, v)) return embed_content(body, value);
    if (value.role == Role::constant && value.data.elements() == 1 && user.op->formula)
      return map[v] = body.add_constant(value.name, value.data);
    const ValueId input = body.add_input(value.name, value.type);
    if (value.content) body.set_content(input, *value.content, value.observed);
    operands.push_back(v);
    return map[v] = input;
  }

  static ValueId embed_content(Graph& body, const Value& value) {
    if (value.role == Role::constant) return body.add_constant(value.name, value.data);
    Attrs attrs{{"dims", value.content->elements}, {"dtype", value.type.dtype}};
    if (value.type.rank() == 0) attrs.set("scalar", int64_t{1});
    Result<NodeId> n = body.add(op("Dims"), {}, std::move(attrs), {}, {value.name});
    FCC_CHECK(n.has_value(), "{}", n.error().text());
    return body.node(*n).out[0];
  }

  Loc main_loc(const Cluster& c) const { return g_.node(c.root != kNoNode ? c.root : c.sink).loc; }

  Graph& g_;
  std::vector<NodeId> order_;
  std::map<NodeId, size_t> position_;
  std::vector<bool> taken_;
};

}  // namespace

Result<bool> fuse(Graph& g, PassContext&) { return Fuser(g).run(); }

}  // namespace fcc
