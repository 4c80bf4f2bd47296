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

bool pools_pairs(const Graph& g, const Node& n) {
  if ((n.op->name != "MaxPool" && n.op->name != "AveragePool") || n.out.size() != 1 || !n.attrs.flag("blocked")) return false;
  static const std::vector<int64_t> twos{2, 2}, ones{1, 1}, none{0, 0, 0, 0};
  if (n.attrs.integers("kernel_shape") != twos || n.attrs.integers("strides", ones) != twos || n.attrs.integers("dilations", ones) != ones) return false;
  if (n.attrs.integers("pads", none) != none || n.attrs.string("auto_pad", "NOTSET").starts_with("SAME")) return false;
  const Dims &x = g.value(n.in[0]).type.dims, &y = g.value(n.out[0]).type.dims;
  return y[2] == floordiv(x[2], 2) && y[3] == floordiv(x[3], 2);
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
  return std::all_of(c.members.begin(), c.members.end(), [&](NodeId n) { return n == c.root || is_elementwise(g.node(n)); });
}

static bool reads(const Node& n, ValueId v) { return std::find(n.in.begin(), n.in.end(), v) != n.in.end(); }

// MaxPoolGrad's x and the mask of the Relu that made it are one tensor, seen alike.
static bool shares_operands(const Node& root) { return root.op->name == "MaxPoolGrad"; }

// contraction → pointwise tail: the tail runs on the accumulators, so it must keep the root's shape.
static bool may_absorb_root(const Graph& g, const Cluster& c, ValueId v) {
  if (c.root != kNoNode || c.outputs.size() > 1 || !only_pointwise(g, c) || !same_dims(g, v, c.output)) return false;
  if (g.value(v).type.dtype != DType::f32) return false;
  if (!shares_operands(*g.def(v)))
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
    if (is_elementwise(m) || m.op->movement) continue;
    std::optional<std::vector<int64_t>> other = reduced_axes(g, m);
    if (!other || *other != *axes || g.value(m.in[0]).type.rank() != g.value(p.in[0]).type.rank()) return false;
  }
  return true;
}

static bool keeps_rank(const Graph& g, const Node& p) { return !p.in.empty() && g.value(p.in[0]).type.rank() == g.value(p.out[0]).type.rank(); }

static bool feeds_pointwise_only(const Graph& g, const Cluster&, ValueId v) {
  const auto& users = g.users(v);
  return std::all_of(users.begin(), users.end(), [&](NodeId n) { return is_elementwise(g.node(n)); });
}

static bool feeds_reduction(const Graph& g, ValueId v) {
  const auto& users = g.users(v);
  return std::any_of(users.begin(), users.end(), [&](NodeId n) { return !is_elementwise(g.node(n)) && !g.node(n).op->movement; });
}

static bool is_flat_convolution(const Graph& g, const Node& n) {
  if (n.op->name != "Conv" || !n.attrs.flag("blocked_in") || !n.attrs.flag("blocked_out") || n.attrs.integer("group", 1) != 1) return false;
  const Dims& w = g.value(n.in[1]).type.dims;
  auto all = [&](std::string_view key, int64_t wanted) {
    const std::vector<int64_t> v = n.attrs.integers(key);
    return std::all_of(v.begin(), v.end(), [&](int64_t x) { return x == wanted; });
  };
  return w[2].is(1) && w[3].is(1) && all("strides", 1) && all("pads", 0) && n.attrs.string("auto_pad", "NOTSET") == "NOTSET";
}

// Do all uses of v lead to the root's first operand?
static bool leads_to_root_input(const Graph& g, const Cluster& c, ValueId v) {
  const auto& users = g.users(v);
  return !users.empty() && std::all_of(users.begin(), users.end(), [&](NodeId n) {
    if (n == c.root) return g.node(n).in[0] == v && std::count(g.node(n).in.begin(), g.node(n).in.end(), v) == 1;
    return c.members.contains(n) && g.node(n).op->formula && leads_to_root_input(g, c, g.node(n).out[0]);
  });
}

// Will v be computed by the kernel of a convolution or a window above it, on the way out?
static bool ends_a_root(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  if (!n || g.use_count(v) != 1) return false;
  if (is_root(*n)) return true;
  return n->op->formula && std::any_of(n->in.begin(), n->in.end(), [&](ValueId in) { return in != kNoValue && same_dims(g, in, v) && ends_a_root(g, in); });
}

// f(x) → conv1x1: the tile's pixels pass through f on their way into scratch. BatchNorm and ReLU of DenseNet's Concat,
// the scaling of squeeze-excite. Not when f can end the kernel that makes x, where it is free.
static bool may_absorb_prologue(const Graph& g, const Cluster& c, const Node& p, ValueId v) {
  const Node& root = g.node(c.root);
  if (!is_flat_convolution(g, root) || !same_dims(g, v, root.in[0]) || g.value(v).type.dtype != DType::f32) return false;
  for (ValueId in : p.in)
    if (in != kNoValue && !same_dims(g, in, v) && g.value(in).type.rank() != 0 && g.value(in).type.rank() != 5) return false;
  return is_cheap(p) && !ends_a_root(g, v);
}

static bool is_depthwise_convolution(const Graph& g, const Node& n) {
  if (n.op->name != "Conv" || !n.attrs.flag("blocked_in") || !n.attrs.flag("blocked_out")) return false;
  const Dims& w = g.value(n.in[1]).type.dims;
  return n.attrs.integer("group", 1) > 1 && n.attrs.integer("group") == n.attrs.integer("out_channels") && w[1].is(1) && w[2].constant() * w[3].constant() <= 49;
}

// conv1x1 → f → depthwise: the first half of a MobileNet block. The wide tensor between the two stays in scratch, where
// the kernel puts the window's padding around it; so its height and width have to be numbers, and f may only look at
// the channel.
static bool may_absorb_expansion(const Graph& g, const Cluster& c, ValueId v) {
  const Node& root = g.node(c.root);
  const Dims &in = g.value(root.in[0]).type.dims, &out = g.value(root.out[0]).type.dims;
  if (!is_depthwise_convolution(g, root) || !same_dims(g, v, root.in[0])) return false;
  if (!in[2].is_constant() || !in[3].is_constant() || !out[2].is_constant() || !out[3].is_constant()) return false;
  for (;;) {
    const Node* n = g.def(v);
    if (!n || g.use_count(v) != 1 || g.value(v).type.dtype != DType::f32) return false;
    if (is_root(*n)) return is_flat_convolution(g, *n);
    if (!n->op->formula) return false;
    ValueId above = kNoValue;
    for (ValueId operand : n->in) {
      if (operand == kNoValue) continue;
      const Dims& d = g.value(operand).type.dims;
      const bool of_channel = d.empty() || (d.size() == 5 && d[0].is(1) && d[2].is(1) && d[3].is(1));
      if (same_dims(g, operand, v) && (!of_channel || !g.is_constant(operand)) && above == kNoValue)
        above = operand;
      else if (!of_channel || !g.is_constant(operand))
        return false;
    }
    if (above == kNoValue) return false;
    v = above;
  }
}

// Pointwise producers: free into pointwise users; into a norm or reduction only when cheap, since those read their
// operand in every one of their passes; never into windows (pooling reads k*k times) or a contraction's operands.
static bool may_absorb_pointwise(const Graph& g, const Cluster& c, const Node& p, ValueId v) {
  if (c.root != kNoNode && leads_to_root_input(g, c, v)) return may_absorb_prologue(g, c, p, v) || may_absorb_expansion(g, c, v);
  for (NodeId user : g.users(v)) {
    const Node& u = g.node(user);
    if (user == c.root) return false;
    if (is_elementwise(u)) continue;
    if (u.op->movement) {
      if (!is_cheap(p) || !is_simple_movement(u)) return false;
      continue;
    }
    if (!reduced_axes(g, u) || !is_cheap(p)) return false;
  }
  if (c.root != kNoNode) {  // epilogue operands are read once an element, without hoisting
    if (!shares_operands(g.node(c.root)) && reads(p, g.node(c.root).in[0])) return false;
    return same_dims(g, v, c.output) || is_cheap(p);
  }
  // A small operand (the gate of squeeze-excite) is computed once by the kernel above, not by every task of this one.
  if (!same_dims(g, v, c.output) && !is_cheap(p) && ends_a_root(g, v)) return false;
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
  if (sink.op->name == "Concat" || sink.op->name == "PackGemmB" || sink.op->name == "PackConvWeight" || sink.op->name == "PackWinogradWeight") return false;
  if (c.members.size() >= 48) return false;  // expression trees stay small enough to compile quickly
  if (p.out.size() > 1 && !p.op->movement) return false;
  if (is_root(p) && c.root != kNoNode) return leads_to_root_input(g, c, v) && may_absorb_expansion(g, c, v);
  if (is_root(p)) return may_absorb_root(g, c, v);
  if (p.op->formula || (p.op->elementwise && p.out.size() == 1)) return may_absorb_pointwise(g, c, p, v);
  if (c.root != kNoNode) return false;
  if (is_row_movement(p) && feeds_rows_only(g, v) && same_dims(g, v, c.output)) return true;
  if (p.op->movement || p.op->name == "Gather") return is_simple_movement(p) && feeds_pointwise_only(g, c, v) && same_dims(g, v, c.output);
  if (feeds_reduction(g, v) || !feeds_pointwise_only(g, c, v)) return false;
  return keeps_rank(g, p) && reductions_agree(g, c, p) && g.value(v).type.rank() == g.value(c.output).type.rank();
}

}  // namespace fcc
