// Activation functions that an exporter, or a person, spelled in primitive operators → the operator itself: one
// formula instead of five passes, with the accurate form where the spelled one would overflow.
//   0.5 x (1 + erf(x / sqrt 2)) → Gelu(x)             x tanh(softplus(x)) → Mish(x)
//   0.5 x (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))) → Gelu{tanh}(x)
//   x sigmoid(a x) → Swish{a}(x)                      1 / (1 + exp(-x)) → Sigmoid(x)
//   x hardsigmoid(x) → HardSwish(x)                   log(1 + exp(x)) → Softplus(x)
//   clip(x + 3, 0, 6) / 6 → HardSigmoid{1/6,1/2}(x)
#include <cmath>
#include <numbers>

#include "ir/op.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

struct Found {
  std::string_view op;
  ValueId x;
  Attrs attrs;
};
using Match = std::optional<Found>;

// v = coefficient * x * factor, where Mul and Div by numbers may stand in any order. The numbers inside x are x's own.
std::optional<double> coefficient_of(const Graph& g, ValueId v, ValueId x, ValueId factor) {
  const Product p = product_of(g, v, x);
  if (p.factors.size() != 2) return std::nullopt;
  const bool fits = (p.factors[0] == x && p.factors[1] == factor) || (p.factors[0] == factor && p.factors[1] == x);
  return fits ? std::optional(p.coefficient) : std::nullopt;
}

// factor = s (f(u) + 1): half of s is what the coefficient before it must still make up to.
std::optional<std::pair<double, ValueId>> one_plus(const Graph& g, ValueId factor, std::string_view function) {
  const Affine a = affine(g, factor);
  const Node* f = made_by(g, a.of, function);
  if (!f || a.scale == 0 || !near(a.scale, a.shift)) return std::nullopt;
  return std::pair(a.scale, f->in[0]);
}

// u = sqrt(2/pi) (x + 0.044715 x^3), or sqrt(2/pi) x (1 + 0.044715 x^2): the x.
ValueId argument_of_tanh_gelu(const Graph& g, ValueId u) {
  constexpr double kCubic = 0.044715;
  const Product p = product_of(g, u);
  if (!near(p.coefficient, std::sqrt(2 / std::numbers::pi))) return kNoValue;
  const auto power = [&](ValueId v, ValueId x, int n) {
    const auto c = coefficient_of_power(g, v, x, n);
    return c && near(*c, kCubic);
  };
  if (p.factors.size() == 1)
    if (const Node* sum = made_by(g, p.factors[0], "Add")) {
      if (power(sum->in[1], sum->in[0], 3)) return sum->in[0];
      if (power(sum->in[0], sum->in[1], 3)) return sum->in[1];
    }
  if (p.factors.size() == 2)
    for (size_t k = 0; k < 2; ++k) {
      const ValueId x = p.factors[k];
      const Node* sum = made_by(g, p.factors[1 - k], "Add");
      const auto split = sum ? with_constant(g, *sum) : std::nullopt;
      if (split && is_number(g, split->constant, 1) && power(split->variable, x, 2)) return x;
    }
  return kNoValue;
}

Match gelu(const Graph& g, ValueId v, ValueId factor) {
  if (const auto e = one_plus(g, factor, "Erf")) {
    const Affine a = scaled(g, e->second);
    const auto c = coefficient_of(g, v, a.of, factor);
    if (near(a.scale, std::sqrt(0.5)) && c && near(*c * e->first, 0.5)) return Found{"Gelu", a.of, {{"approximate", std::string("none")}}};
  }
  if (const auto t = one_plus(g, factor, "Tanh")) {
    const ValueId x = argument_of_tanh_gelu(g, t->second);
    const auto c = x == kNoValue ? std::nullopt : coefficient_of(g, v, x, factor);
    if (c && near(*c * t->first, 0.5)) return Found{"Gelu", x, {{"approximate", std::string("tanh")}}};
  }
  return std::nullopt;
}

Match swish(const Graph& g, ValueId v, ValueId factor) {
  const Node* s = made_by(g, factor, "Sigmoid");
  if (!s) return std::nullopt;
  if (const auto c = coefficient_of(g, v, s->in[0], factor); c && *c == 1) return Found{"Swish", s->in[0], {{"alpha", 1.0}}};
  const Affine a = scaled(g, s->in[0]);
  if (const auto c = coefficient_of(g, v, a.of, factor); c && *c == 1) return Found{"Swish", a.of, {{"alpha", a.scale}}};
  return std::nullopt;
}

// v = clip(x + 3, 0, 6), whatever spells the clip.
ValueId shifted_relu6(const Graph& g, ValueId v) {
  const Node* clip = made_by(g, v, "Clip");
  if (!clip || clip->in.size() != 3 || number(g, clip->in[1]) != 0.0 || number(g, clip->in[2]) != 6.0) return kNoValue;
  const Affine a = affine(g, clip->in[0]);
  return a.scale == 1 && a.shift == 3 ? a.of : kNoValue;
}

bool is_sixth_sigmoid(const Node& n) {
  return near(n.attrs.number("alpha", 0.2), 1.0 / 6) && near(n.attrs.number("beta", 0.5), 0.5);
}

Match hard_swish(const Graph& g, ValueId v, ValueId factor) {
  if (const Node* s = made_by(g, factor, "HardSigmoid"); s && is_sixth_sigmoid(*s))
    if (const auto c = coefficient_of(g, v, s->in[0], factor); c && *c == 1) return Found{"HardSwish", s->in[0], {}};
  if (const ValueId x = shifted_relu6(g, factor); x != kNoValue)
    if (const auto c = coefficient_of(g, v, x, factor); c && near(*c, 1.0 / 6)) return Found{"HardSwish", x, {}};
  return std::nullopt;
}

Match mish(const Graph& g, ValueId v, ValueId factor) {
  const Node* t = made_by(g, factor, "Tanh");
  const Node* s = t ? made_by(g, t->in[0], "Softplus") : nullptr;
  if (!s) return std::nullopt;
  const auto c = coefficient_of(g, v, s->in[0], factor);
  return c && *c == 1 ? Match(Found{"Mish", s->in[0], {}}) : std::nullopt;
}

Match product(const Graph& g, const Node& n) {
  const ValueId v = n.out[0];
  for (ValueId factor : product_of(g, v).factors)
    for (auto rule : {gelu, swish, hard_swish, mish})
      if (Match m = rule(g, v, factor)) return m;
  const Affine a = scaled(g, v);
  if (const ValueId x = shifted_relu6(g, a.of); x != kNoValue && near(a.scale, 1.0 / 6))
    return Found{"HardSigmoid", x, {{"alpha", 1.0 / 6}, {"beta", 0.5}}};
  return std::nullopt;
}

// v = 1 + exp(u): the u.
ValueId argument_of_one_plus_exp(const Graph& g, ValueId v) {
  const Affine a = affine(g, v);
  const Node* e = made_by(g, a.of, "Exp");
  return e && a.scale == 1 && a.shift == 1 ? e->in[0] : kNoValue;
}

Match sigmoid(const Graph& g, const Node& n) {
  const bool inverts = n.op->name == "Reciprocal" || is_number(g, n.in[0], 1);
  const ValueId u = inverts ? argument_of_one_plus_exp(g, n.in.back()) : kNoValue;
  if (u == kNoValue) return std::nullopt;
  const Affine a = scaled(g, u);
  return a.scale == -1 ? Match(Found{"Sigmoid", a.of, {}}) : std::nullopt;
}

Match softplus(const Graph& g, const Node& n) {
  const ValueId u = argument_of_one_plus_exp(g, n.in[0]);
  return u == kNoValue ? std::nullopt : Match(Found{"Softplus", u, {}});
}

Match match(const Graph& g, const Node& n) {
  const std::string_view s = n.op->name;
  if (s == "Mul" || s == "Div")
    if (Match m = product(g, n)) return m;
  if (s == "Div" || s == "Reciprocal") return sigmoid(g, n);
  if (s == "Log") return softplus(g, n);
  return std::nullopt;
}

}  // namespace

Result<bool> recognize_activations(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.out.size() != 1 || !is_float(g.value(n.out[0]).type.dtype)) continue;
    const Match m = match(g, n);
    if (!m || g.value(m->x).type != g.value(n.out[0]).type) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId y = b(m->op, {m->x}, m->attrs);
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
