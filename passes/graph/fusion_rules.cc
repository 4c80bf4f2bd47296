#include "passes/graph/fusion_rules.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "ir/op.h"

namespace fcc {

bool is_view(const Node& n) {
  const std::string_view s = n.op->name;
  return s == "Reshape" || s == "Flatten" || s == "Squeeze" || s == "Unsqueeze" || s == "Identity";
}

bool needs_kernel(const Node& n) { return n.op->strategy != Strategy::kernel && !is_view(n); }

static bool is_root(const Node& n) { return n.op->strategy == Strategy::contraction || n.op->strategy == Strategy::window; }

// Pointwise operators whose formula is a few cheap instructions: repeating them costs less than a pass over memory.
static bool is_cheap(const Node& n) {
  static const std::set<std::string_view> costly = {"Exp", "Log", "Tanh", "Sigmoid", "Erf", "Gelu", "Mish", "Softplus", "Pow", "Sin", "Cos", "Tan",
                                                    "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Elu", "Selu", "Celu", "Swish", "Div", "Mod"};
  return n.op->formula && !costly.contains(n.op->name);
}

std::optional<std::vector<int64_t>> reduced_axes(const Graph& g, const Node& n) {
  const std::string_view s = n.op->name;
  const int64_t rank = g.value(n.in[0]).type.rank();
  auto wrap = [&](int64_t a) { return a < 0 ? a + rank : a; };
  auto from = [&](int64_t first) {
    std::vector<int64_t> v;
    for (int64_t a = first; a < rank; ++a) v.push_back(a);
    return v;
  };
  if (s == "Softmax" || s == "LogSoftmax" || s == "LpNormalization") return std::vector<int64_t>{wrap(n.attrs.integer("axis", -1))};
  if (s == "LayerNormalization" || s == "RMSNormalization") return from(wrap(n.attrs.integer("axis", -1)));
  if (s == "InstanceNormalization" || s.starts_with("Global")) return from(2);
  if (s.starts_with("Reduce")) {
    if (n.in.size() < 2 || n.in[1] == kNoValue) return from(0);
    const auto& content = g.value(n.in[1]).content;
    if (!content || !content->is_constant()) return std::nullopt;
    std::vector<int64_t> axes = content->constants();
    if (axes.empty()) return n.attrs.flag("noop_with_empty_axes") ? std::vector<int64_t>{} : from(0);
    std::transform(axes.begin(), axes.end(), axes.begin(), wrap);
    std::sort(axes.begin(), axes.end());
    return axes;
  }
  return std::nullopt;
}

// Operators whose define contains reductions or reads an operand more than once for one result.
static bool is_simple_movement(const Node& n) {
  static const std::set<std::string_view> names = {"Slice", "Expand", "Transpose", "Split", "Trilu", "Gather"};
  return names.contains(n.op->name);
}

static bool same_dims(const Graph& g, ValueId a, ValueId b) { return g.value(a).type.dims == g.value(b).type.dims; }

static bool only_pointwise(const Graph& g, const Cluster& c) {
  return std::all_of(c.members.begin(), c.members.end(), [&](NodeId n) { return n == c.root || g.node(n).op->formula != nullptr; });
}

static bool reads(const Node& n, ValueId v) { return std::find(n.in.begin(), n.in.end(), v) != n.in.end(); }

// contraction → pointwise tail: the tail runs on the accumulators, so it must keep the root's shape.
static bool may_absorb_root(const Graph& g, const Cluster& c, ValueId v) {
  if (c.root != kNoNode || !only_pointwise(g, c) || !same_dims(g, v, c.output)) return false;
  if (g.value(v).type.dtype != DType::f32) return false;
  for (NodeId n : c.members)  // the epilogue must not read what the root reads: their views of it differ
    if (reads(g.node(n), g.def(v)->in[0])) return false;
  // Every member between the root and the sink must keep the shape too.
  for (NodeId n : c.members)
    for (ValueId out : g.node(n).out)
      if (!same_dims(g, out, c.output)) {
        // a side operand of smaller shape is fine as long as the root is not behind it
        for (NodeId user : g.users(v))
          if (user == n) return false;
      }
  return true;
}

// Reductions share a kernel when they run over the same axes of the same rank: then all are computed once a row.
static bool reductions_agree(const Graph& g, const Cluster& c, const Node& p) {
  std::optional<std::vector<int64_t>> axes = reduced_axes(g, p);
  if (!axes) return false;
  for (NodeId n : c.members) {
    const Node& m = g.node(n);
    if (m.op->formula || m.op->movement) continue;
    std::optional<std::vector<int64_t>> other = reduced_axes(g, m);
    if (!other || *other != *axes || g.value(m.in[0]).type.rank() != g.value(p.in[0]).type.rank()) return false;
  }
  return true;
}

static bool keeps_rank(const Graph& g, const Node& p) { return !p.in.empty() && g.value(p.in[0]).type.rank() == g.value(p.out[0]).type.rank(); }

static bool feeds_pointwise_only(const Graph& g, const Cluster&, ValueId v) {
  const auto& users = g.users(v);
  return std::all_of(users.begin(), users.end(), [&](NodeId n) { return g.node(n).op->formula != nullptr; });
}

static bool feeds_reduction(const Graph& g, ValueId v) {
  const auto& users = g.users(v);
  return std::any_of(users.begin(), users.end(), [&](NodeId n) { return !g.node(n).op->formula && !g.node(n).op->movement; });
}

// Pointwise producers: free into pointwise users; into a norm or reduction only when cheap, since those read their
// operand in every one of their passes; never into windows (pooling reads k*k times) or a contraction's operands.
static bool may_absorb_pointwise(const Graph& g, const Cluster& c, const Node& p, ValueId v) {
  for (NodeId user : g.users(v)) {
    const Node& u = g.node(user);
    if (user == c.root) return false;
    if (u.op->formula) continue;
    if (u.op->movement) {
      if (!is_cheap(p) || !is_simple_movement(u)) return false;
      continue;
    }
    if (!reduced_axes(g, u) || !is_cheap(p)) return false;
  }
  if (c.root != kNoNode) {  // epilogue operands are read once an element, without hoisting
    if (reads(p, g.node(c.root).in[0])) return false;
    return same_dims(g, v, c.output) || is_cheap(p);
  }
  return true;
}

// Movements that read whole rows from elsewhere: free for what reads rows element by element or sums along them.
static bool is_row_movement(const Node& n) {
  if (n.op->name == "UnpackC16ToRows") return true;
  return n.op->name == "Roll" && n.attrs.integers("shifts").back() == 0;
}
static bool feeds_rows_only(const Graph& g, ValueId v) {
  const auto& users = g.users(v);
  return std::all_of(users.begin(), users.end(), [&](NodeId u) {
    const Node& n = g.node(u);
    return n.op->formula != nullptr || reduced_axes(g, n) == std::vector<int64_t>{g.value(v).type.rank() - 1};
  });
}

bool may_absorb(const Graph& g, const Cluster& c, ValueId v) {
  const Node& p = *g.def(v);
  if (!needs_kernel(p) || p.op->strategy == Strategy::none || p.op->name == "Concat") return false;
  const Node& sink = g.node(c.sink);
  if (sink.op->name == "Concat" || sink.op->name == "PackGemmB" || sink.op->name == "PackConvWeight") return false;
  if (c.members.size() >= 48) return false;  // expression trees stay small enough to compile quickly
  if (p.out.size() > 1 && !p.op->movement) return false;
  if (is_root(p)) return may_absorb_root(g, c, v);
  if (p.op->formula) return may_absorb_pointwise(g, c, p, v);
  if (c.root != kNoNode) return false;
  if (is_row_movement(p) && feeds_rows_only(g, v) && same_dims(g, v, c.output)) return true;
  if (p.op->movement || p.op->name == "Gather") return is_simple_movement(p) && feeds_pointwise_only(g, c, v) && same_dims(g, v, c.output);
  if (feeds_reduction(g, v) || !feeds_pointwise_only(g, c, v)) return false;
  return keeps_rank(g, p) && reductions_agree(g, c, p) && g.value(v).type.rank() == g.value(c.output).type.rank();
}

}  // namespace fcc
