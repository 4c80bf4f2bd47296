#include "ir/differentiate.h"

#include <algorithm>
#include <map>
#include <set>

#include "ir/grad.h"

namespace fcc {
namespace {

// One walk from the seeds back to wrt over a topologically ordered list of nodes. Operators without a rule of their own
// but with an expansion are differentiated through it: the expansion is added once more and walked in the same way, and
// merge_equal later finds that it computes what the forward pass already has.
class Walk {
 public:
  // missing: gets every node without a rule; zeros stand for what it would have given.
  Walk(Graph& g, const GradRequest& request, std::vector<MissingGradient>& missing)
      : g_(g), request_(request), missing_(missing) {}

  // Null where nothing depends on it.
  std::vector<ValueId> run(const std::vector<NodeId>& nodes, std::span<const std::pair<ValueId, ValueId>> seeds,
                           std::span<const ValueId> wrt) {
    find_dependent(nodes, wrt);
    for (auto [v, dv] : seeds)
      if (depends_.contains(v)) add(v, dv);
    for (size_t i = nodes.size(); i-- > 0;) visit(nodes[i]);
    std::vector<ValueId> result;
    for (ValueId v : wrt) result.push_back(gradient(v));
    return result;
  }

 private:
  // Values that wrt can reach through floats.
  void find_dependent(const std::vector<NodeId>& nodes, std::span<const ValueId> wrt) {
    for (ValueId v : wrt)
      if (is_float(g_.value(v).type.dtype)) depends_.insert(v);
    for (NodeId id : nodes) {
      const Node& n = g_.node(id);
      if (std::none_of(n.in.begin(), n.in.end(), [&](ValueId v) { return depends_.contains(v); })) continue;
      for (ValueId v : n.out)
        if (is_float(g_.value(v).type.dtype)) depends_.insert(v);
    }
  }

  ValueId gradient(ValueId v) const {
    auto it = gradients_.find(v);
    return it == gradients_.end() ? kNoValue : it->second;
  }

  // Contributions come in a fixed order, that of the walk, and are summed as they come: none is kept alive for long.
  void add(ValueId v, ValueId dv) {
    ValueId& sum = gradients_.emplace(v, kNoValue).first->second;
    if (sum == kNoValue) {
      sum = dv;
      return;
    }
    GraphBuilder b(g_, g_.def(v) ? g_.def(v)->loc : Loc{});
    sum = b("Add", {sum, dv});
    FCC_CHECK(b.status().has_value(), "{}", b.status().error().text());
  }

  void visit(NodeId id) {
    const Node n = g_.node(id);  // a copy: adding nodes moves them
    std::vector<ValueId> dy;
    std::vector<bool> wanted;
    for (ValueId v : n.out) dy.push_back(gradient(v));
    for (ValueId v : n.in) wanted.push_back(depends_.contains(v));
    if (std::all_of(dy.begin(), dy.end(), [](ValueId v) { return v == kNoValue; })) return;
    if (std::none_of(wanted.begin(), wanted.end(), [](bool w) { return w; })) return;
    GradBuilder b(g_, n, dy, wanted);
    Result<std::vector<ValueId>> dx = differentiate(b, n, dy, wanted);
    if (!dx) {
      missing_.push_back({id, std::move(dx).error(), {}});
      dx = std::vector<ValueId>(n.in.size(), kNoValue);
      GradBuilder zero(g_, n, dy, wanted);
      for (size_t k = 0; k < n.in.size(); ++k)
        if (wanted[k]) (*dx)[k] = zero.zeros(zero.in_type(k)).v;
    }
    for (size_t k = 0; k < n.in.size(); ++k)
      if (wanted[k] && (*dx)[k] != kNoValue) add(n.in[k], adjusted(b, n, k, conform(b, n, k, (*dx)[k])));
  }

  Result<std::vector<ValueId>> differentiate(GradBuilder& b, const Node& n, std::span<const ValueId> dy,
                                             const std::vector<bool>& wanted) {
    if (n.op->grad) return n.op->grad(b, n, dy);
    if (n.op->expand) return through_expansion(n, dy, wanted);
    const std::string reason =
        n.op->no_grad.empty() ? "has no gradient" : "has no gradient: " + std::string(n.op->no_grad);
    return b.fail(reason, "freeze the parameters behind it, or replace it before training");
  }

  Result<std::vector<ValueId>> through_expansion(const Node& n, std::span<const ValueId> dy,
                                                 const std::vector<bool>& wanted) {
    const NodeId first = g_.node_count();
    GraphBuilder b(g_, n.loc);
    FCC_TRY(std::vector<ValueId> results, n.op->expand(b, n));
    FCC_CHECKED(b.status());
    std::vector<NodeId> nodes;
    for (NodeId id = first; id < g_.node_count(); ++id) nodes.push_back(id);
    std::vector<std::pair<ValueId, ValueId>> seeds;
    for (size_t k = 0; k < dy.size() && k < results.size(); ++k)
      if (dy[k] != kNoValue && results[k] != kNoValue) seeds.emplace_back(results[k], dy[k]);
    std::vector<ValueId> wrt;
    for (size_t k = 0; k < n.in.size(); ++k)
      if (wanted[k] && std::find(wrt.begin(), wrt.end(), n.in[k]) == wrt.end()) wrt.push_back(n.in[k]);
    std::vector<MissingGradient> inside;
    const std::vector<ValueId> found = Walk(g_, request_, inside).run(nodes, seeds, wrt);
    if (!inside.empty()) return std::unexpected(std::move(inside[0].reason));
    // An operand that is used twice gets its whole gradient at its first place.
    std::vector<ValueId> dx(n.in.size(), kNoValue);
    for (size_t i = 0; i < wrt.size(); ++i)
      dx[static_cast<size_t>(std::find(n.in.begin(), n.in.end(), wrt[i]) - n.in.begin())] = found[i];
    return dx;
  }

  // The gradient in the operand's type: extents may differ as expressions and still be assumed equal.
  ValueId conform(GradBuilder& b, const Node& n, size_t k, ValueId dx) {
    const TensorType want = b.in_type(k), have = g_.value(dx).type;
    FCC_CHECK(have.dtype == want.dtype && have.rank() == want.rank(), "{}: gradient {} of operand {}, which is {}",
              n.op->name, have.text(), k, want.text());
    const ValueId v = b.reshape(b.term(dx), want.dims).v;
    FCC_CHECK(b.status().has_value(), "{}: gradient of operand {}: {}", n.op->name, k, b.status().error().text());
    return v;
  }

  ValueId adjusted(GradBuilder& b, const Node& n, size_t k, ValueId dx) const {
    return request_.adjust ? request_.adjust(b, n, k, dx) : dx;
  }

  Graph& g_;
  const GradRequest& request_;
  std::vector<MissingGradient>& missing_;
  std::set<ValueId> depends_;
  std::map<ValueId, ValueId> gradients_;
};

// Names of the wrt values from which a node can be reached.
std::vector<std::string> parameters_behind(const Graph& g, NodeId from, std::span<const ValueId> wrt) {
  std::set<ValueId> seen;
  std::vector<ValueId> todo = g.node(from).in;
  while (!todo.empty()) {
    const ValueId v = todo.back();
    todo.pop_back();
    if (v == kNoValue || !seen.insert(v).second) continue;
    if (const Node* d = g.def(v)) todo.insert(todo.end(), d->in.begin(), d->in.end());
  }
  std::vector<std::string> names;
  for (ValueId v : wrt)
    if (seen.contains(v)) names.push_back(g.value(v).name);
  return names;
}

std::vector<std::pair<ValueId, ValueId>> with_ones(Graph& g, const GradRequest& r) {
  auto seeds = r.seeds;
  const Node nowhere;
  GradBuilder b(g, nowhere, {}, {});
  for (auto& [v, dv] : seeds) {
    if (dv == kNoValue) dv = b.full(TensorType(g.value(v).type), 1).v;
    FCC_CHECK(dv != kNoValue && g.value(dv).type.dtype == g.value(v).type.dtype, "the gradient of {} has another type",
              g.value(v).name);
  }
  return seeds;
}

}  // namespace

Result<std::vector<ValueId>> add_gradients(Graph& g, const GradRequest& r) {
  FCC_CHECK(g.insert_point() == kNoNode, "gradients are appended to the graph");
  const std::vector<NodeId> nodes = g.order();
  const NodeId first_new = g.node_count();
  std::vector<MissingGradient> missing;
  std::vector<ValueId> result = Walk(g, r, missing).run(nodes, with_ones(g, r), r.wrt);
  if (!missing.empty()) {
    Diagnostic d = std::move(missing[0].reason);
    for (size_t i = 1; i < missing.size(); ++i) d.more.push_back(std::move(missing[i].reason));
    return fail(std::move(d));
  }
  const Node nowhere;
  GradBuilder b(g, nowhere, {}, {});
  for (size_t i = 0; i < result.size(); ++i) {
    const std::string of = g.value(r.wrt[i]).name;
    if (result[i] == kNoValue) result[i] = b.zeros(TensorType(g.value(r.wrt[i]).type)).v;
    const Value& v = g.value(result[i]);
    if (v.def >= first_new && !v.name.starts_with("grad.")) g.rename(result[i], "grad." + of);
  }
  FCC_CHECKED(b.status());
  return result;
}

std::vector<MissingGradient> missing_gradients(const Graph& g, const GradRequest& r) {
  Graph copy = g;
  copy.set_insert_point(kNoNode);
  std::vector<MissingGradient> missing;
  const std::vector<NodeId> nodes = copy.order();
  Walk(copy, r, missing).run(nodes, with_ones(copy, r), r.wrt);
  for (MissingGradient& m : missing) m.behind = parameters_behind(g, m.node, r.wrt);
  return missing;
}

}  // namespace fcc
