#include "ir/ops/optimizers.h"

#include <algorithm>
#include <cmath>

#include "ir/loop/eval.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::UnaryOp;
using Slots = std::vector<OptimizerSlot>;
using Values = std::vector<ValueId>;
using Next = std::vector<Expr>;

Expr root(const Expr& x) {
  return loop::unary(UnaryOp::sqrt, x);
}
// a + w (b - a)
Expr lerp(const UpdateContext& c, const Expr& a, const Expr& b, double w) {
  return a + c.number(w) * (b - a);
}
// g + decay p
Expr decayed_gradient(const UpdateContext& c) {
  const double decay = c.h["weight_decay"];
  return decay == 0 ? c.g : c.g + c.number(decay) * c.p;
}
// beta v + (1-beta) g^2
Expr second_moment(const UpdateContext& c, const Expr& v, const Expr& g, double beta) {
  return v * c.number(beta) + c.number(1 - beta) * g * g;
}
// scalar k times p when the decoupled decay is on: p (1 - lr decay)
Expr shrunk(const UpdateContext& c, size_t k) {
  return c.h["weight_decay"] == 0 ? c.p : c.p * c.scalars[k];
}
ValueId shrink_factor(ScalarContext& s) {
  return s.b("Sub", {s.number(1), s.b("Mul", {s.lr, s.number(s.h["weight_decay"])})});
}

Values only_rate(ScalarContext& s) {
  return {s.lr};
}

// ---- sgd -------------------------------------------------------------------------------------------------------

Slots sgd_slots(const HyperValues& h) {
  return h.on("momentum") ? Slots{{"momentum_buffer"}} : Slots{};
}
Values sgd_scalars(ScalarContext& s) {
  return {s.lr, s.t};
}
Next sgd(const UpdateContext& c) {
  Expr g = decayed_gradient(c);
  if (!c.h.on("momentum")) return {c.p - c.scalars[0] * g};
  const double momentum = c.h["momentum"], dampening = c.h["dampening"];
  Expr b = c.number(momentum) * c.slots[0] + c.number(1 - dampening) * g;
  if (dampening != 0) b = loop::select(loop::eq(c.scalars[1], c.number(1)), g, b);  // the first buffer is the gradient
  g = c.h.on("nesterov") ? g + c.number(momentum) * b : b;
  return {c.p - c.scalars[0] * g, b};
}

// ---- adam and its relatives --------------------------------------------------------------------------------------

Slots moments(const HyperValues&) {
  return {{"m"}, {"v"}};
}
Slots adam_slots(const HyperValues& h) {
  return h.on("amsgrad") ? Slots{{"m"}, {"v"}, {"max_v"}} : moments(h);
}
Values adam_scalars(ScalarContext& s) {
  const ValueId step_size = s.b("Div", {s.lr, s.one_minus_power(s.h["beta1"])});
  const ValueId root2 = s.b("Sqrt", {s.one_minus_power(s.h["beta2"])});
  return {step_size, s.b("Div", {s.number(1), root2}), shrink_factor(s)};  // a product is cheaper than a division
}
Next adam_with(const UpdateContext& c, const Expr& p, const Expr& g) {
  const Expr m = lerp(c, c.slots[0], g, 1 - c.h["beta1"]), v = second_moment(c, c.slots[1], g, c.h["beta2"]);
  const Expr largest = c.h.on("amsgrad") ? loop::max(c.slots[2], v) : v;
  const Expr denominator = root(largest) * c.scalars[1] + c.number(c.h["eps"]);
  Next next = {p - c.scalars[0] * (m / denominator), m, v};
  if (c.h.on("amsgrad")) next.push_back(largest);
  return next;
}
Next adam(const UpdateContext& c) {
  return adam_with(c, c.p, decayed_gradient(c));
}
Next adamw(const UpdateContext& c) {
  return adam_with(c, shrunk(c, 2), c.g);
}

// mu_t = beta1 (1 - 0.96^(t psi) / 2); the product of all mu is kept
Values nadam_scalars(ScalarContext& s) {
  const auto mu = [&](ValueId t) {
    const ValueId power = s.b("Pow", {s.number(0.96), s.b("Mul", {t, s.number(s.h["momentum_decay"])})});
    return s.b("Mul", {s.number(s.h["beta1"]), s.b("Sub", {s.number(1), s.b("Mul", {s.number(0.5), power})})});
  };
  const ValueId one = s.number(1), now = mu(s.t), then = mu(s.b("Add", {s.t, one}));
  s.next_product = s.b("Mul", {s.product, now});
  const ValueId product = s.next_product;
  const ValueId by_g = s.b("Div", {s.b("Mul", {s.lr, s.b("Sub", {one, now})}), s.b("Sub", {one, product})});
  const ValueId by_m = s.b("Div", {s.b("Mul", {s.lr, then}), s.b("Sub", {one, s.b("Mul", {product, then})})});
  return {by_g, by_m, s.one_minus_power(s.h["beta2"]), shrink_factor(s)};
}
Next nadam(const UpdateContext& c) {
  const bool decoupled = c.h.on("decoupled_weight_decay");
  const Expr g = decoupled ? c.g : decayed_gradient(c), p = decoupled ? shrunk(c, 3) : c.p;
  const Expr m = lerp(c, c.slots[0], g, 1 - c.h["beta1"]), v = second_moment(c, c.slots[1], g, c.h["beta2"]);
  const Expr denominator = root(v / c.scalars[2]) + c.number(c.h["eps"]);
  return {p - c.scalars[0] * (g / denominator) - c.scalars[1] * (m / denominator), m, v};
}

// rho_t > 5: the variance is tractable, and the step is adaptive
Values radam_scalars(ScalarContext& s) {
  const double beta2 = s.h["beta2"], rho_inf = 2 / (1 - beta2) - 1;
  const ValueId bias2 = s.one_minus_power(beta2), power = s.b("Pow", {s.number(beta2), s.t});
  const ValueId rho =
      s.b("Sub", {s.number(rho_inf), s.b("Div", {s.b("Mul", {s.b("Mul", {s.number(2), s.t}), power}), bias2})});
  const ValueId above = s.b("Greater", {rho, s.number(5)});
  const ValueId safe = s.b("Max", {rho, s.number(5)});  // no root of a negative number on the way that is not taken
  const ValueId top =
      s.b("Mul", {s.b("Mul", {s.b("Sub", {safe, s.number(4)}), s.b("Sub", {safe, s.number(2)})}), s.number(rho_inf)});
  const ValueId bottom = s.b("Mul", {s.number((rho_inf - 4) * (rho_inf - 2)), safe});
  const ValueId rect = s.b("Sqrt", {s.b("Div", {top, bottom})});
  return {s.b("Div", {s.lr, s.one_minus_power(s.h["beta1"])}), s.b("Sqrt", {bias2}), rect,
          s.b("Cast", {above}, {{"to", DType::f64}}), shrink_factor(s)};
}
Next radam(const UpdateContext& c) {
  const bool decoupled = c.h.on("decoupled_weight_decay");
  const Expr g = decoupled ? c.g : decayed_gradient(c), p = decoupled ? shrunk(c, 4) : c.p;
  const Expr m = lerp(c, c.slots[0], g, 1 - c.h["beta1"]), v = second_moment(c, c.slots[1], g, c.h["beta2"]);
  const Expr adaptive = c.scalars[1] / (root(v) + c.number(c.h["eps"])) * c.scalars[2];
  const Expr factor = loop::select(loop::eq(c.scalars[3], c.number(1)), adaptive, c.number(1));
  return {p - c.scalars[0] * m * factor, m, v};
}

// ---- rmsprop, adagrad, adadelta, lion ----------------------------------------------------------------------------

Slots rmsprop_slots(const HyperValues& h) {
  Slots s = {{"square_avg"}};
  if (h.on("centered")) s.push_back({"grad_avg"});
  if (h.on("momentum")) s.push_back({"momentum_buffer"});
  return s;
}
Next rmsprop(const UpdateContext& c) {
  const Expr g = decayed_gradient(c), square = second_moment(c, c.slots[0], g, c.h["alpha"]);
  Next next = {nullptr, square};
  Expr variance = square;
  if (c.h.on("centered")) {
    next.push_back(lerp(c, c.slots[1], g, 1 - c.h["alpha"]));
    variance = square - next[2] * next[2];
  }
  const Expr direction = g / (root(variance) + c.number(c.h["eps"]));
  if (c.h.on("momentum")) {
    next.push_back(c.number(c.h["momentum"]) * c.slots.back() + direction);
    next[0] = c.p - c.scalars[0] * next.back();
  } else {
    next[0] = c.p - c.scalars[0] * direction;
  }
  return next;
}

Slots adagrad_slots(const HyperValues& h) {
  return {{"sum", h["initial_accumulator_value"]}};
}
Values adagrad_scalars(ScalarContext& s) {
  const ValueId done = s.b("Sub", {s.t, s.number(1)});
  return {s.b("Div", {s.lr, s.b("Add", {s.number(1), s.b("Mul", {done, s.number(s.h["lr_decay"])})})})};
}
Next adagrad(const UpdateContext& c) {
  const Expr g = decayed_gradient(c), sum = c.slots[0] + g * g;
  return {c.p - c.scalars[0] * (g / (root(sum) + c.number(c.h["eps"]))), sum};
}

Slots adadelta_slots(const HyperValues&) {
  return {{"square_avg"}, {"acc_delta"}};
}
Next adadelta(const UpdateContext& c) {
  const double rho = c.h["rho"];
  const Expr g = decayed_gradient(c), eps = c.number(c.h["eps"]), square = second_moment(c, c.slots[0], g, rho);
  const Expr delta = root(c.slots[1] + eps) / root(square + eps) * g;
  return {c.p - c.scalars[0] * delta, square, second_moment(c, c.slots[1], delta, rho)};
}

Slots first_moment(const HyperValues&) {
  return {{"m"}};
}
Values lion_scalars(ScalarContext& s) {
  return {s.lr, shrink_factor(s)};
}
Next lion(const UpdateContext& c) {
  const double beta1 = c.h["beta1"], beta2 = c.h["beta2"];
  const Expr mixed = c.number(beta1) * c.slots[0] + c.number(1 - beta1) * c.g;
  return {shrunk(c, 1) - c.scalars[0] * loop::unary(UnaryOp::sign, mixed),
          c.number(beta2) * c.slots[0] + c.number(1 - beta2) * c.g};
}

// ---- ONNX's own (ai.onnx.preview.training) -----------------------------------------------------------------------

Expr onnx_gradient(const UpdateContext& c) {
  const double norm = c.h["norm_coefficient"];
  return norm == 0 ? c.g : c.number(norm) * c.p + c.g;
}
Values onnx_adam_scalars(ScalarContext& s) {
  const ValueId root2 = s.b("Sqrt", {s.one_minus_power(s.h["beta"])});
  return {s.b("Div", {s.b("Mul", {s.lr, root2}), s.one_minus_power(s.h["alpha"])})};
}
Next onnx_adam(const UpdateContext& c) {
  const double alpha = c.h["alpha"], beta = c.h["beta"];
  const Expr g = onnx_gradient(c);
  const Expr v = c.number(alpha) * c.slots[0] + c.number(1 - alpha) * g,
             h = c.number(beta) * c.slots[1] + c.number(1 - beta) * (g * g);
  Expr p = c.p - c.scalars[0] * v / (root(h) + c.number(c.h["epsilon"]));
  if (c.h.on("norm_coefficient_post")) p = c.number(1 - c.h["norm_coefficient_post"]) * p;
  return {p, v, h};
}
Values onnx_adagrad_scalars(ScalarContext& s) {
  const ValueId done = s.b("Sub", {s.t, s.number(1)});
  return {s.b("Div", {s.lr, s.b("Add", {s.number(1), s.b("Mul", {done, s.number(s.h["decay_factor"])})})})};
}
Next onnx_adagrad(const UpdateContext& c) {
  const Expr g = onnx_gradient(c), h = c.slots[0] + g * g;
  return {c.p - c.scalars[0] * g / (root(h) + c.number(c.h["epsilon"])), h};
}
Next onnx_momentum(const UpdateContext& c) {
  const double alpha = c.h["alpha"];
  const Expr g = onnx_gradient(c);
  const Expr damping = loop::select(loop::eq(c.scalars[1], c.number(1)), c.number(1), c.number(c.h["beta"]));
  const Expr v = c.number(alpha) * c.slots[0] + damping * g;
  const Expr direction = c.h.on("nesterov") ? g + c.number(alpha) * v : v;
  return {c.p - c.scalars[0] * direction, v};
}

// ---- the table ---------------------------------------------------------------------------------------------------

const std::vector<OptimizerSpec>& table() {
  static const HyperParameter beta1{"beta1", 0.9}, beta2{"beta2", 0.999}, eps{"eps", 1e-8}, decay{"weight_decay", 0};
  static const std::vector<OptimizerSpec> specs = {
      {"sgd",
       "g += wd p; b = momentum b + (1-dampening) g; p -= lr (nesterov ? g + momentum b : b)",
       {{"lr", 1e-3}, {"momentum", 0}, {"dampening", 0}, decay, {"nesterov", 0}},
       sgd_slots,
       sgd_scalars,
       sgd},
      {"adam",
       "g += wd p; m += (1-b1)(g-m); v = b2 v + (1-b2) g^2; p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps)",
       {{"lr", 1e-3}, beta1, beta2, eps, decay, {"amsgrad", 0}},
       adam_slots,
       adam_scalars,
       adam},
      {"adamw",
       "p *= 1 - lr wd, then adam without decay",
       {{"lr", 1e-3}, beta1, beta2, eps, {"weight_decay", 1e-2}, {"amsgrad", 0}},
       adam_slots,
       adam_scalars,
       adamw},
      {"nadam",
       "adam with Nesterov's momentum on the schedule mu_t = b1 (1 - 0.96^(t psi)/2)",
       {{"lr", 2e-3}, beta1, beta2, eps, decay, {"momentum_decay", 4e-3}, {"decoupled_weight_decay", 0}},
       moments,
       nadam_scalars,
       nadam,
       true},
      {"radam",
       "adam, rectified: plain momentum until the variance of v is tractable (rho_t > 5)",
       {{"lr", 1e-3}, beta1, beta2, eps, decay, {"decoupled_weight_decay", 0}},
       moments,
       radam_scalars,
       radam},
      {"rmsprop",
       "s = a s + (1-a) g^2; p -= lr g / (sqrt(s) + eps), through a momentum buffer when asked",
       {{"lr", 1e-2}, {"alpha", 0.99}, eps, decay, {"momentum", 0}, {"centered", 0}},
       rmsprop_slots,
       only_rate,
       rmsprop},
      {"adagrad",
       "s += g^2; p -= lr/(1+(t-1) lr_decay) g / (sqrt(s) + eps)",
       {{"lr", 1e-2}, {"lr_decay", 0}, decay, {"initial_accumulator_value", 0}, {"eps", 1e-10}},
       adagrad_slots,
       adagrad_scalars,
       adagrad},
      {"adadelta",
       "s = r s + (1-r) g^2; d = sqrt(a+eps)/sqrt(s+eps) g; a = r a + (1-r) d^2; p -= lr d",
       {{"lr", 1.0}, {"rho", 0.9}, {"eps", 1e-6}, decay},
       adadelta_slots,
       only_rate,
       adadelta},
      {"lion",
       "p *= 1 - lr wd; p -= lr sign(b1 m + (1-b1) g); m = b2 m + (1-b2) g",
       {{"lr", 1e-4}, beta1, {"beta2", 0.99}, decay},
       first_moment,
       lion_scalars,
       lion},
      {"onnx.adam",
       "ONNX's Adam: p -= lr sqrt(1-beta^t)/(1-alpha^t) v / (sqrt(h) + epsilon)",
       {{"lr", 1e-3},
        {"alpha", 0.9},
        {"beta", 0.999},
        {"epsilon", 1e-6},
        {"norm_coefficient", 0},
        {"norm_coefficient_post", 0}},
       [](const HyperValues&) {
         return Slots{{"v"}, {"h"}};
       },
       onnx_adam_scalars,
       onnx_adam},
      {"onnx.adagrad",
       "ONNX's Adagrad: h += g^2; p -= lr/(1+(t-1) decay_factor) g / (sqrt(h) + epsilon)",
       {{"lr", 1e-2}, {"decay_factor", 0}, {"epsilon", 1e-6}, {"norm_coefficient", 0}},
       [](const HyperValues&) { return Slots{{"h"}}; },
       onnx_adagrad_scalars,
       onnx_adagrad},
      {"onnx.momentum",
       "ONNX's Momentum: v = alpha v + (t = 1 ? 1 : beta) g; p -= lr (nesterov ? g + alpha v : v)",
       {{"lr", 1e-2}, {"alpha", 0.9}, {"beta", 1}, {"norm_coefficient", 0}, {"nesterov", 0}},
       [](const HyperValues&) { return Slots{{"v"}}; },
       sgd_scalars,
       onnx_momentum},
  };
  return specs;
}

// ---- Optimize ------------------------------------------------------------------------------------------------------

// The parts of an Optimize node: operands are parameter, gradient, scalars, slots.
struct Parts {
  const OptimizerSpec* spec;
  HyperValues h;
  size_t slots;
};
std::optional<Parts> parts_of(const Attrs& attrs) {
  const OptimizerSpec* spec = find_optimizer(attrs.string("kind"));
  if (!spec) return std::nullopt;
  std::vector<double> values = attrs.numbers("hyper");
  if (values.size() != spec->hyper.size()) return std::nullopt;
  HyperValues h(spec->hyper, std::move(values));
  const size_t slots = spec->slots(h).size();
  return Parts{spec, std::move(h), slots};
}

Status infer_optimize(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the parameter"));
  const std::optional<Parts> parts = parts_of(c.attrs);
  if (!parts) return c.fail("there is no optimizer " + c.attrs.string("kind") + " with that many hyper-parameters");
  if (c.n_in() < 2 + parts->slots || c.n_out() != 1 + parts->slots)
    return c.fail("does not have the operands and results of its kind");
  for (size_t k = 1; k < c.n_in(); ++k) {
    FCC_CHECKED(ops::require_same_type(c, k, "operand " + std::to_string(k)));
    const bool scalar = k >= 2 && k < c.n_in() - parts->slots;
    if (scalar ? !c.type(k).elements().is(1) : c.type(k) != c.type(0))
      return c.fail("operand " + std::to_string(k) + " has shape " + text(c.dims(k)));
  }
  for (size_t k = 0; k < c.n_out(); ++k) c.set(k, c.type(0));
  return {};
}

Next next_values(const Parts& parts, std::span<const Expr> in) {
  const size_t first_slot = in.size() - parts.slots;
  return parts.spec->update({parts.h, in[0], in[1], in.subspan(2, first_slot - 2), in.subspan(first_slot)});
}

void eval_optimize(EvalContext& c) {
  const Parts parts = *parts_of(c.attrs);
  std::vector<Expr> vars;
  std::vector<loop::VarId> ids;
  for (const Tensor* t : c.in) {
    ids.push_back(static_cast<loop::VarId>(ids.size()));
    vars.push_back(loop::var(ids.back(), loop::compute_type(t->dtype())));
  }
  const Next next = next_values(parts, vars);
  std::vector<loop::Value> args(c.in.size());
  for (size_t k = 0; k < next.size(); ++k) {
    loop::FormulaProgram program(next[k], ids);
    for (int64_t i = 0; i < c.out[k].elements(); ++i) {
      for (size_t a = 0; a < args.size(); ++a) args[a] = loop::read_element(*c.in[a], c.in[a]->elements() == 1 ? 0 : i);
      loop::write_element(c.out[k], i, program.run(args));
    }
  }
}

Expr define_optimize(DefineContext& c, size_t result, std::span<const Expr> index) {
  const Parts parts = *parts_of(*c.attrs);
  std::vector<Expr> in;
  for (size_t k = 0; k < c.in_types.size(); ++k) in.push_back(c.in_broadcast(k, index));
  return next_values(parts, in).at(result);
}

}  // namespace

double HyperValues::operator[](std::string_view wanted) const {
  for (size_t k = 0; k < names_.size(); ++k)
    if (names_[k].name == wanted) return values_[k];
  FCC_UNREACHABLE("no hyper-parameter {}", wanted);
}

ValueId ScalarContext::one_minus_power(double base) {
  return b("Sub", {number(1), b("Pow", {number(base), t})});
}

std::vector<Expr> optimize_formula(const Attrs& optimize, std::span<const Expr> operands) {
  return next_values(*parts_of(optimize), operands);
}

std::span<const OptimizerSpec> optimizers() {
  return table();
}

const OptimizerSpec* find_optimizer(std::string_view name) {
  const auto& specs = table();
  const auto it = std::find_if(specs.begin(), specs.end(), [&](const OptimizerSpec& s) { return s.name == name; });
  return it == specs.end() ? nullptr : &*it;
}

void register_optimizers(Registry& r) {
  r.add({.name = "Optimize",
         .doc = "one step of an optimizer: next parameter and slots from (parameter, gradient, scalars..., slots...)",
         .attrs = {{"kind", AttrType::string, true}, {"hyper", AttrType::numbers, true}},
         .in = {2, -1},
         .out = {1, -1},
         .elementwise = true,
         .infer = infer_optimize,
         .eval = eval_optimize,
         .define = define_optimize,
         .no_grad = "an optimizer's step"});
}

}  // namespace fcc
