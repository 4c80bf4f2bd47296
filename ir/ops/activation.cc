// Activation functions: pointwise formulas of one operand (PRelu: two), as ONNX defines them, and their gradients,
// which at a kink take the side that PyTorch takes.
#include <cmath>
#include <numbers>

#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;
using In = std::span<const Expr>;

Expr number(const Expr& like, double v) {
  return loop::constant(like->type, v);
}
Expr zero(const Expr& like) {
  return number(like, 0);
}
Expr fn(UnaryOp op, Expr x) {
  return loop::unary(op, std::move(x));
}

// max(x, 0): NaN stays NaN.
Expr relu(const FormulaContext&, In in) {
  return loop::max(in[0], zero(in[0]));
}
Expr leaky_relu(const FormulaContext& c, In in) {
  return loop::select(loop::lt(in[0], zero(in[0])), in[0] * number(in[0], c.attrs.number("alpha", 0.01)), in[0]);
}
Expr prelu(const FormulaContext&, In in) {
  return loop::select(loop::lt(in[0], zero(in[0])), in[0] * in[1], in[0]);
}
Expr sigmoid(const FormulaContext&, In in) {
  return fn(UnaryOp::sigmoid, in[0]);
}
Expr tanh(const FormulaContext&, In in) {
  return fn(UnaryOp::tanh, in[0]);
}

Expr clamp01(const Expr& x) {
  return loop::max(loop::min(x, number(x, 1)), zero(x));
}
Expr hard_sigmoid(const FormulaContext& c, In in) {
  return clamp01(in[0] * number(in[0], c.attrs.number("alpha", 0.2)) + number(in[0], c.attrs.number("beta", 0.5)));
}
// x * clamp(x/6 + 1/2, 0, 1)
Expr hard_swish(const FormulaContext&, In in) {
  return in[0] * clamp01(in[0] * number(in[0], 1.0 / 6) + number(in[0], 0.5));
}

// The exponential is taken of min(x,0) so that its unused branch cannot overflow.
Expr exp_minus_one_below_zero(const Expr& x) {
  return fn(UnaryOp::expm1, loop::min(x, zero(x)));
}
Expr elu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  return loop::select(loop::lt(x, zero(x)), exp_minus_one_below_zero(x) * number(x, c.attrs.number("alpha", 1)), x);
}
constexpr double kSeluAlpha = 1.67326319217681884765625, kSeluGamma = 1.05070102214813232421875;
Expr selu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  const double alpha = c.attrs.number("alpha", kSeluAlpha), gamma = c.attrs.number("gamma", kSeluGamma);
  return loop::select(loop::lt(x, zero(x)), exp_minus_one_below_zero(x) * number(x, alpha * gamma),
                      x * number(x, gamma));
}
// max(0,x) + min(0, alpha*(exp(x/alpha)-1))
Expr celu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  const double alpha = c.attrs.number("alpha", 1);
  return loop::max(x, zero(x)) +
         loop::min(fn(UnaryOp::expm1, loop::min(x, zero(x)) * number(x, 1 / alpha)) * number(x, alpha), zero(x));
}
// log(1+exp(x)) = max(x,0) + log1p(exp(-|x|)), which cannot overflow.
Expr softplus_of(const Expr& x) {
  return loop::max(x, zero(x)) + fn(UnaryOp::log1p, fn(UnaryOp::exp, -fn(UnaryOp::abs, x)));
}
Expr softplus(const FormulaContext&, In in) {
  return softplus_of(in[0]);
}
Expr softsign(const FormulaContext&, In in) {
  return in[0] / (fn(UnaryOp::abs, in[0]) + number(in[0], 1));
}
Expr thresholded_relu(const FormulaContext& c, In in) {
  const Expr& x = in[0];
  return loop::select(loop::binary(BinaryOp::gt, x, number(x, c.attrs.number("alpha", 1))), x, zero(x));
}
Expr mish(const FormulaContext&, In in) {
  return in[0] * fn(UnaryOp::tanh, softplus_of(in[0]));
}

// none: x/2 (1+erf(x/sqrt 2)); tanh: x/2 (1+tanh(sqrt(2/pi)(x+0.044715 x^3))). They differ by up to 4.7e-4.
double gelu_value(bool with_tanh, double x) {
  if (x < -40) return 0;  // also for -inf, where the formula has no value
  return x / 2 * (1 + (with_tanh ? std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)) : std::erf(x / std::numbers::sqrt2)));
}
void eval_gelu(EvalContext& c) {
  const bool with_tanh = c.attrs.string("approximate", "none") == "tanh";
  for (int64_t i = 0; i < c.out[0].elements(); ++i) c.out[0].set_double(i, gelu_value(with_tanh, c.in[0]->get_double(i)));
}

// In f32 both are x (1/2 + x P(v)) with v = 2 x^2/limit^2 - 1 for |x| <= limit, 0 below and x above: half of the
// instructions of erf or tanh, which matters in the epilogue of a product. P is the polynomial of degree 14 that
// minimises the largest error of the result (scripts/gelu.py). Error: 1.8e-7 (tanh: 2.4e-7) of the larger of |x| and 1.
struct GeluPolynomial {
  double limit;
  double coefficients[15];  // lowest first
};
constexpr GeluPolynomial kGelu = {5.4, {0.130928114, -0.0653279928, 0.0484993767, -0.0392089404, 0.0321212481, -0.025726156, 0.0196092224, -0.0140446726,
                                        0.00977843258, -0.00655952186, 0.00343409179, -0.00132763412, 0.00106751053, -0.000979734055, 0.000329244416}};
constexpr GeluPolynomial kTanhGelu = {5.0, {0.141378526, -0.0703657677, 0.0516557614, -0.0405441305, 0.0313737159, -0.0229867752, 0.0158580299, -0.0105995863,
                                            0.00636406179, -0.00277874532, 0.00168113833, -0.00226619361, 0.00138171089, 6.95920513e-05, -0.000221352471}};
Expr gelu_f32(const GeluPolynomial& g, const Expr& x) {
  const Expr low = number(x, -g.limit), high = number(x, g.limit), below = loop::lt(x, low);
  const Expr inside = loop::select(below, low, loop::select(loop::lt(high, x), high, x));  // NaN stays
  const Expr v = loop::fma(inside * inside, number(x, 2 / (g.limit * g.limit)), number(x, -1));
  Expr p = number(x, g.coefficients[14]);
  for (size_t k = 14; k-- > 0;) p = loop::fma(p, v, number(x, g.coefficients[k]));
  return loop::select(below, zero(x), x * loop::fma(p, inside, number(x, 0.5)));
}
Expr gelu(const FormulaContext& c, In in) {
  const Expr &x = in[0], half = number(x, 0.5), one = number(x, 1);
  const bool with_tanh = c.attrs.string("approximate", "none") == "tanh";
  if (x->type == DType::f32) return gelu_f32(with_tanh ? kTanhGelu : kGelu, x);
  if (with_tanh) {
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

// ---- gradients --------------------------------------------------------------------------------------------
// From the result where that is enough: the operand then need not be kept for the backward pass.

// In this direction, so that the gradient passes where y is NaN, as in PyTorch.
Term relu_gradient(const Chain& c) {
  return where(less_equal(c.y, 0), 0, c.d);
}
Term leaky_relu_gradient(const Chain& c) {
  return where(greater(c.x, 0), c.d, c.d * c.attrs.number("alpha", 0.01));
}
Term sigmoid_gradient(const Chain& c) {
  return c.d * (c.y * (1 - c.y));
}
Term tanh_gradient(const Chain& c) {
  return c.d * (1 - c.y * c.y);
}
Term hard_sigmoid_gradient(const Chain& c) {
  return where(greater(c.y, 0), where(less(c.y, 1), c.d * c.attrs.number("alpha", 0.2), 0), 0);
}
Term hard_swish_gradient(const Chain& c) {
  return where(greater(c.x, -3), where(less(c.x, 3), c.d * (c.x / 3 + 0.5), c.d), 0);
}
// scale * (x > 0 ? 1 : alpha exp(x/width))
Term exponential_gradient(const Chain& c, double scale, double alpha, double width) {
  const Term negative = c.b()->node("Min", {c.x, c.b()->number(c.x.type().dtype, 0)});
  const Term slope = fn("Exp", width == 1 ? negative : negative / width) * (alpha * scale);
  return where(greater(c.x, 0), scale == 1 ? c.d : c.d * scale, c.d * slope);
}
Term elu_gradient(const Chain& c) {
  return exponential_gradient(c, 1, c.attrs.number("alpha", 1), 1);
}
Term selu_gradient(const Chain& c) {
  return exponential_gradient(c, c.attrs.number("gamma", kSeluGamma), c.attrs.number("alpha", kSeluAlpha), 1);
}
Term celu_gradient(const Chain& c) {
  return exponential_gradient(c, 1, 1, c.attrs.number("alpha", 1));
}
Term softplus_gradient(const Chain& c) {
  return c.d * fn("Sigmoid", c.x);
}
Term softsign_gradient(const Chain& c) {
  const Term width = fn("Abs", c.x) + 1;
  return c.d / (width * width);
}
Term thresholded_relu_gradient(const Chain& c) {
  return where(greater(c.x, c.attrs.number("alpha", 1)), c.d, 0);
}
Term mish_gradient(const Chain& c) {
  const Term t = fn("Tanh", fn("Softplus", c.x));
  return c.d * (t + c.x * fn("Sigmoid", c.x) * (1 - t * t));
}
Term gelu_gradient(const Chain& c) {
  const Term x = c.x;
  if (c.attrs.string("approximate", "none") == "tanh") {
    constexpr double k = 0.7978845608028654, cubic = 0.044715;
    const Term square = x * x, t = fn("Tanh", x * (square * (k * cubic) + k));
    return c.d * ((t + 1) * 0.5 + x * 0.5 * (1 - t * t) * (square * (3 * k * cubic) + k));
  }
  const Term density = fn("Exp", x * x * -0.5) * (1 / std::sqrt(2 * std::numbers::pi));
  return c.d * ((fn("Erf", x * (1 / std::numbers::sqrt2)) + 1) * 0.5 + x * density);
}
Term shrink_gradient(const Chain& c) {
  const double lambd = c.attrs.number("lambd", 0.5);
  return where(less(c.x, -lambd), c.d, where(greater(c.x, lambd), c.d, 0));
}
Term swish_gradient(const Chain& c) {
  const double alpha = c.attrs.number("alpha", 1);
  const Term s = fn("Sigmoid", alpha == 1 ? c.x : c.x * alpha);
  return c.d * (s + c.x * s * (1 - s) * alpha);
}

// x > 0: 1 and 0; otherwise the slope and x.
Result<std::vector<ValueId>> prelu_gradient(GradBuilder& b, const Node&, std::span<const ValueId>) {
  const Term positive = greater(b.in(0), 0);
  b.give(0, [&] { return where(positive, b.dy(), b.dy() * b.in(1)); });
  b.give(1, [&] { return where(positive, 0, b.dy() * b.in(0)); });
  return b.done();
}

using Infer = Status (*)(InferContext&);
constexpr Infer kOfFloats = ops::infer_same_type<ops::kFloats>, kOfSigned = ops::infer_same_type<ops::kSigned>,
                kOfNumbers = ops::infer_same_type<ops::kNumbers>;

void add(Registry& r, std::string_view name, std::string_view doc, Expr (*formula)(const FormulaContext&, In),
         GradRule grad, std::vector<AttrSpec> attrs = {}, Infer infer = kOfFloats, Arity in = {1, 1}) {
  r.add({.name = name,
         .doc = doc,
         .attrs = std::move(attrs),
         .in = in,
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = infer,
         .formula = formula,
         .grad = grad});
}

}  // namespace

void register_activation(Registry& r) {
  const AttrSpec alpha{"alpha", AttrType::number}, beta{"beta", AttrType::number}, gamma{"gamma", AttrType::number};
  add(r, "Relu", "max(x, 0)", relu, chain_rule<relu_gradient>, {}, kOfSigned);
  add(r, "LeakyRelu", "x < 0 ? alpha x : x", leaky_relu, chain_rule<leaky_relu_gradient>, {alpha});
  add(r, "PRelu", "x < 0 ? slope x : x", prelu, prelu_gradient, {}, kOfNumbers, {2, 2});
  add(r, "Sigmoid", "1 / (1 + exp(-x))", sigmoid, chain_rule<sigmoid_gradient>);
  add(r, "Tanh", "tanh(x)", tanh, chain_rule<tanh_gradient>);
  add(r, "HardSigmoid", "clamp(alpha x + beta, 0, 1)", hard_sigmoid, chain_rule<hard_sigmoid_gradient>, {alpha, beta});
  add(r, "HardSwish", "x clamp(x/6 + 1/2, 0, 1)", hard_swish, chain_rule<hard_swish_gradient>);
  add(r, "Elu", "x < 0 ? alpha (exp(x) - 1) : x", elu, chain_rule<elu_gradient>, {alpha});
  add(r, "Selu", "gamma (x < 0 ? alpha (exp(x) - 1) : x)", selu, chain_rule<selu_gradient>, {alpha, gamma});
  add(r, "Celu", "max(0,x) + min(0, alpha (exp(x/alpha) - 1))", celu, chain_rule<celu_gradient>, {alpha});
  add(r, "Softplus", "log(1 + exp(x))", softplus, chain_rule<softplus_gradient>);
  add(r, "Softsign", "x / (1 + |x|)", softsign, chain_rule<softsign_gradient>);
  add(r, "ThresholdedRelu", "x > alpha ? x : 0", thresholded_relu, chain_rule<thresholded_relu_gradient>, {alpha});
  add(r, "Shrink", "x < -lambd ? x + bias : x > lambd ? x - bias : 0", shrink, chain_rule<shrink_gradient>,
      {{"bias", AttrType::number}, {"lambd", AttrType::number}}, kOfNumbers);
  add(r, "Mish", "x tanh(softplus(x))", mish, chain_rule<mish_gradient>);
  r.add({.name = "Gelu",
         .doc = "x/2 (1 + erf(x/sqrt 2)), or its tanh form",
         .attrs = {{"approximate", AttrType::string}},
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = kOfFloats,
         .eval = eval_gelu,
         .formula = gelu,
         .grad = chain_rule<gelu_gradient>});
  add(r, "Swish", "x sigmoid(alpha x)", swish, chain_rule<swish_gradient>, {alpha});
}

}  // namespace fcc
