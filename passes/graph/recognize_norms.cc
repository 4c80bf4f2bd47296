// Normalizations spelled in primitive operators → the operator itself.
//   (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) * scale + bias → LayerNormalization{e}(x, scale, bias)
//   x / sqrt(mean(x^2) + e) * scale → RMSNormalization{e}(x, scale)
//   exp(x - max(x)) / sum(exp(x - max(x))) → Softmax(x)      log(Softmax(x)) → LogSoftmax(x)
// The means run over the last axes and keep them, as torch writes LayerNorm below opset 17 and people write it by hand.
#include <algorithm>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

using Axes = std::vector<int64_t>;

// v = op(x) over some axes that it keeps as extents of 1.
struct Reduction {
  ValueId x = kNoValue;
  Axes axes;
};
std::optional<Reduction> reduction(const Graph& g, ValueId v, std::string_view op_name) {
  const Node* n = made_by(g, v, op_name);
  if (!n || !n->attrs.flag("keepdims", true)) return std::nullopt;
  std::optional<Axes> axes = reduced_axes(g, *n);
  if (!axes || axes->empty()) return std::nullopt;
  return Reduction{n->in[0], *axes};
}

// v = 1 / sqrt(u) or sqrt(u), however spelled: the u.
ValueId argument_of_root(const Graph& g, ValueId v, bool inverse) {
  if (const Node* p = made_by(g, v, "Pow"); p && is_number(g, p->in[1], inverse ? -0.5 : 0.5)) return p->in[0];
  if (!inverse) {
    const Node* s = made_by(g, v, "Sqrt");
    return s ? s->in[0] : kNoValue;
  }
  if (const Node* r = made_by(g, v, "Reciprocal")) return argument_of_root(g, r->in[0], false);
  if (const Node* d = made_by(g, v, "Div"); d && is_number(g, d->in[0], 1)) return argument_of_root(g, d->in[1], false);
  return kNoValue;
}

// n = d / sqrt(u) as (d, u).
std::optional<std::pair<ValueId, ValueId>> over_root(const Graph& g, const Node& n) {
  if (n.op->name == "Div") {
    const ValueId u = argument_of_root(g, n.in[1], false);
    return u == kNoValue ? std::nullopt : std::optional(std::pair(n.in[0], u));
  }
  for (size_t k = 0; k < 2; ++k)
    if (const ValueId u = argument_of_root(g, n.in[k], true); u != kNoValue) return std::pair(n.in[1 - k], u);
  return std::nullopt;
}

struct Normalized {
  ValueId x = kNoValue;
  int64_t axis = 0;
  double epsilon = 0;
  bool centered = false;
};

std::optional<Normalized> normalized(const Graph& g, const Node& n) {
  const auto parts = over_root(g, n);
  if (!parts) return std::nullopt;
  const auto [d, under_root] = *parts;
  const Affine variance = affine(g, under_root);
  const auto mean = reduction(g, variance.of, "ReduceMean");
  if (!mean || variance.scale != 1 || variance.shift < 0) return std::nullopt;
  if (const auto c = coefficient_of_power(g, mean->x, d, 2); !c || *c != 1) return std::nullopt;
  const int64_t rank = g.value(d).type.rank(), first = rank - static_cast<int64_t>(mean->axes.size());
  if (mean->axes.front() != first || g.value(n.out[0]).type != g.value(d).type) return std::nullopt;
  Normalized m{d, first, variance.shift, false};
  if (const Node* sub = made_by(g, d, "Sub"))
    if (const auto center = reduction(g, sub->in[1], "ReduceMean"); center && center->x == sub->in[0] && center->axes == mean->axes) {
      m.x = sub->in[0];
      m.centered = true;
    }
  return m;
}

// The other operand of v's only user, an op_name, when it spans no more than the normalized axes of v.
struct Parameter {
  NodeId node = kNoNode;
  ValueId value = kNoValue;
};
Parameter parameter(const Graph& g, ValueId v, std::string_view op_name, int64_t axis) {
  const NodeId user = only_user(g, v, op_name);
  if (user == kNoNode) return {};
  const Node& n = g.node(user);
  const ValueId p = n.in[0] == v ? n.in[1] : n.in[0];
  const TensorType &type = g.value(p).type, &whole = g.value(v).type;
  if (p == v || type.dtype != whole.dtype || !broadcasts_into(type, whole)) return {};
  for (int64_t d = 0; d < type.rank() - (whole.rank() - axis); ++d)
    if (!type.dims[static_cast<size_t>(d)].is(1)) return {};
  return {user, p};
}

Tensor ones(const TensorType& x) {
  Tensor t(x.dtype, {x.dims.back().is_constant() ? x.dims.back().constant() : 1});
  for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, 1);
  return t;
}

// The nodes after a normalization that only scale and shift it become its operands.
Result<bool> build_norm(Graph& g, NodeId id, const Normalized& m) {
  const ValueId v = g.node(id).out[0];
  const Parameter scale = parameter(g, v, "Mul", m.axis);
  const NodeId scaled_by = scale.node == kNoNode ? id : scale.node;
  const Parameter bias = m.centered ? parameter(g, g.node(scaled_by).out[0], "Add", m.axis) : Parameter{};
  const NodeId last = bias.node == kNoNode ? scaled_by : bias.node;
  const Node n = g.node(last);
  g.set_insert_point(last);
  GraphBuilder b(g, n.loc);
  std::vector<ValueId> in{m.x, scale.node == kNoNode ? b.constant(ones(g.value(m.x).type), "ones") : scale.value};
  if (bias.node != kNoNode) in.push_back(bias.value);
  const ValueId y = b(m.centered ? "LayerNormalization" : "RMSNormalization", std::move(in), {{"axis", m.axis}, {"epsilon", m.epsilon}});
  g.set_insert_point(kNoNode);
  FCC_CHECKED(b.status());
  g.replace_uses(n.out[0], y);
  return true;
}

// e / sum(e) with e = exp(x - max(x)) or exp(x): the x and the axis.
std::optional<std::pair<ValueId, int64_t>> softmax(const Graph& g, const Node& n) {
  const Node* e = made_by(g, n.in[0], "Exp");
  const auto sum = e ? reduction(g, n.in[1], "ReduceSum") : std::nullopt;
  if (!sum || sum->x != n.in[0] || sum->axes.size() != 1) return std::nullopt;
  if (const Node* sub = made_by(g, e->in[0], "Sub"))
    if (const auto max = reduction(g, sub->in[1], "ReduceMax"); max && max->x == sub->in[0] && max->axes == sum->axes)
      return std::pair(sub->in[0], sum->axes[0]);
  return std::pair(e->in[0], sum->axes[0]);
}

Result<bool> replace(Graph& g, NodeId id, std::string_view op_name, ValueId x, int64_t axis) {
  const Node n = g.node(id);
  g.set_insert_point(id);
  GraphBuilder b(g, n.loc);
  const ValueId y = b(op_name, {x}, {{"axis", axis}});
  g.set_insert_point(kNoNode);
  FCC_CHECKED(b.status());
  g.replace_uses(n.out[0], y);
  return true;
}

Result<bool> recognize(Graph& g, NodeId id) {
  const Node n = g.node(id);
  const std::string_view s = n.op->name;
  if (s == "Div" || s == "Mul")
    if (const auto m = normalized(g, n)) return build_norm(g, id, *m);
  if (s == "Div")
    if (const auto m = softmax(g, n)) return replace(g, id, "Softmax", m->first, m->second);
  if (s == "Log")
    if (const Node* soft = made_by(g, n.in[0], "Softmax")) return replace(g, id, "LogSoftmax", soft->in[0], soft->attrs.integer("axis", -1));
  return false;
}

}  // namespace

Result<bool> recognize_norms(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    if (g.node(id).dead || !is_float(g.value(g.node(id).out[0]).type.dtype)) continue;
    FCC_TRY(bool done, recognize(g, id));
    changed |= done;
  }
  return changed;
}

}  // namespace fcc
