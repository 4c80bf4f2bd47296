// Activation functions: pointwise formulas of one operand (PRelu: two), as ONNX defines them.
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;
using In = std::span<const Expr>;

Expr number(const Expr& like, double v) { return loop::constant(like->type, v); }
Expr zero(const Expr& like) { return number(like, 0); }
Expr fn(UnaryOp op, Expr x) { return loop::unary(op, std::move(x)); }

// max(x, 0): NaN stays NaN.
Expr relu(const FormulaContext&, In in) { return loop::max(in[0], zero(in[0])); }
Expr leaky_relu(const FormulaContext& c, In in) {
  return loop::select(loop::lt(in[0], zero(in[0])), in[0] * number(in[0], c.attrs.number("alpha", 0.01)), in[0]);
}
Expr prelu(const FormulaContext&, In in) { return loop::select(loop::lt(in[0], zero(in[0])), in[0] * in[1], in[0]); }
Expr sigmoid(const FormulaContext&, In in) { return fn(UnaryOp::sigmoid, in[0]); }
Expr tanh(const FormulaContext&, In in) { return fn(UnaryOp::tanh, in[0]); }

Expr clamp01(const Expr& x) { return loop::max(loop::min(x, number(x, 1)), zero(x)); }
Expr hard_sigmoid(const FormulaContext& c, In in) {
  return clamp01(in[0] * number(in[0], c.attrs.number("alpha", 0.2)) + number(in[0], c.attrs.number("beta", 0.5)));
}
// x * clamp(x/6 + 1/2, 0, 1)
Expr hard_swish(const FormulaContext&, In in) { return in[0] * clamp01(in[0] * number(in[0], 1.0 / 6) + number(in[0], 0.5)); }

// The exponential is taken of min(x,0) so that its unused branch cannot overflow.
Expr exp_minus_one_below_zero(const Expr& x) { return fn(UnaryOp::expm1, loop::min(x, zero(x))); }
Expr elu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  return loop::select(loop::lt(x, zero(x)), exp_minus_one_below_zero(x) * number(x, c.attrs.number("alpha", 1)), x);
}
Expr selu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  const double alpha = c.attrs.number("alpha", 1.67326319217681884765625), gamma = c.attrs.number("gamma", 1.05070102214813232421875);
  return loop::select(loop::lt(x, zero(x)), exp_minus_one_below_zero(x) * number(x, alpha * gamma), x * number(x, gamma));
}
// max(0,x) + min(0, alpha*(exp(x/alpha)-1))
Expr celu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  const double alpha = c.attrs.number("alpha", 1);
  return loop::max(x, zero(x)) + loop::min(fn(UnaryOp::expm1, loop::min(x, zero(x)) * number(x, 1 / alpha)) * number(x, alpha), zero(x));
}
// log(1+exp(x)) = max(x,0) + log1p(exp(-|x|)), which cannot overflow.
Expr softplus_of(const Expr& x) { return loop::max(x, zero(x)) + fn(UnaryOp::log1p, fn(UnaryOp::exp, -fn(UnaryOp::abs, x))); }
Expr softplus(const FormulaContext&, In in) { return softplus_of(in[0]); }
Expr softsign(const FormulaContext&, In in) { return in[0] / (fn(UnaryOp::abs, in[0]) + number(in[0], 1)); }
Expr thresholded_relu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  return loop::select(loop::binary(BinaryOp::gt, x, number(x, c.attrs.number("alpha", 1))), x, zero(x));
}
Expr mish(const FormulaContext&, In in) { return in[0] * fn(UnaryOp::tanh, softplus_of(in[0])); }

// none: x/2 (1+erf(x/sqrt 2)); tanh: x/2 (1+tanh(sqrt(2/pi)(x+0.044715 x^3))). They differ by up to 4.7e-4.
Expr gelu(const FormulaContext& c, In in) {
  const Expr &x = in[0], half = number(x, 0.5), one = number(x, 1);
  if (c.attrs.string("approximate", "none") == "tanh") {
    const Expr cubic = x + x * x * x * number(x, 0.044715);
    return x * half * (fn(UnaryOp::tanh, cubic * number(x, 0.7978845608028654)) + one);
  }
  return x * half * (fn(UnaryOp::erf, x * number(x, 0.7071067811865476)) + one);
}
// x < -lambd: x + bias; x > lambd: x - bias; 0 between
Expr shrink(const FormulaContext& c, In in) {
  const Expr &x = in[0], bias = number(x, c.attrs.number("bias", 0)), lambd = number(x, c.attrs.number("lambd", 0.5));
  return loop::select(loop::lt(x, -lambd), x + bias, loop::select(loop::lt(lambd, x), x - bias, zero(x)));
}
// x * sigmoid(alpha*x)
Expr swish(const FormulaContext& c, In in) {
  return in[0] * fn(UnaryOp::sigmoid, in[0] * number(in[0], c.attrs.number("alpha", 1)));
}

using Infer = Status (*)(InferContext&);
constexpr Infer kOfFloats = ops::infer_same_type<ops::kFloats>, kOfSigned = ops::infer_same_type<ops::kSigned>,
                kOfNumbers = ops::infer_same_type<ops::kNumbers>;

void add(Registry& r, std::string_view name, std::string_view doc, Expr (*formula)(const FormulaContext&, In),
         std::vector<AttrSpec> attrs = {}, Infer infer = kOfFloats, Arity in = {1, 1}) {
  r.add({.name = name,
         .doc = doc,
         .attrs = std::move(attrs),
         .in = in,
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = infer,
         .formula = formula});
}

}  // namespace

void register_activation(Registry& r) {
  const AttrSpec alpha{"alpha", AttrType::number}, beta{"beta", AttrType::number}, gamma{"gamma", AttrType::number};
  add(r, "Relu", "max(x, 0)", relu, {}, kOfSigned);
  add(r, "LeakyRelu", "x < 0 ? alpha x : x", leaky_relu, {alpha});
  add(r, "PRelu", "x < 0 ? slope x : x", prelu, {}, kOfNumbers, {2, 2});
  add(r, "Sigmoid", "1 / (1 + exp(-x))", sigmoid);
  add(r, "Tanh", "tanh(x)", tanh);
  add(r, "HardSigmoid", "clamp(alpha x + beta, 0, 1)", hard_sigmoid, {alpha, beta});
  add(r, "HardSwish", "x clamp(x/6 + 1/2, 0, 1)", hard_swish);
  add(r, "Elu", "x < 0 ? alpha (exp(x) - 1) : x", elu, {alpha});
  add(r, "Selu", "gamma (x < 0 ? alpha (exp(x) - 1) : x)", selu, {alpha, gamma});
  add(r, "Celu", "max(0,x) + min(0, alpha (exp(x/alpha) - 1))", celu, {alpha});
  add(r, "Softplus", "log(1 + exp(x))", softplus);
  add(r, "Softsign", "x / (1 + |x|)", softsign);
  add(r, "ThresholdedRelu", "x > alpha ? x : 0", thresholded_relu, {alpha});
  add(r, "Shrink", "x < -lambd ? x + bias : x > lambd ? x - bias : 0", shrink,
      {{"bias", AttrType::number}, {"lambd", AttrType::number}}, kOfNumbers);
  add(r, "Mish", "x tanh(softplus(x))", mish);
  add(r, "Gelu", "x/2 (1 + erf(x/sqrt 2)), or its tanh form", gelu, {{"approximate", AttrType::string}});
  add(r, "Swish", "x sigmoid(alpha x)", swish, {alpha});
}

}  // namespace fcc
