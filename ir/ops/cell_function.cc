#include "ir/ops/cell_function.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "ir/base/check.h"

namespace fcc {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;

const CellFunction* find_cell_function(std::string_view name) {
  static const CellFunction all[] = {{"Relu", 0, 0},         {"Tanh", 0, 0},
                                     {"Sigmoid", 0, 0},      {"Affine", 1, 0},
                                     {"LeakyRelu", 0.01, 0}, {"ThresholdedRelu", 1, 0},
                                     {"ScaledTanh", 1, 1},   {"HardSigmoid", 0.2, 0.5},
                                     {"Elu", 1, 0},          {"Softsign", 0, 0},
                                     {"Softplus", 0, 0}};
  const auto* it = std::find_if(std::begin(all), std::end(all), [&](const CellFunction& f) {
    return std::equal(f.name.begin(), f.name.end(), name.begin(), name.end(),
                      [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
  });
  return it == std::end(all) ? nullptr : it;
}

double apply(const CellFunction& f, double x) {
  const std::string& s = f.name;
  if (s == "Relu") return std::max(x, 0.0);
  if (s == "Tanh") return std::tanh(x);
  if (s == "Sigmoid") return 1 / (1 + std::exp(-x));
  if (s == "Affine") return f.alpha * x + f.beta;
  if (s == "LeakyRelu") return x >= 0 ? x : f.alpha * x;
  if (s == "ThresholdedRelu") return x > f.alpha ? x : 0;
  if (s == "ScaledTanh") return f.alpha * std::tanh(f.beta * x);
  if (s == "HardSigmoid") return std::clamp(f.alpha * x + f.beta, 0.0, 1.0);
  if (s == "Elu") return x >= 0 ? x : f.alpha * std::expm1(x);
  if (s == "Softsign") return x / (1 + std::fabs(x));
  FCC_CHECK(s == "Softplus", "no function {}", s);
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}

double slope(const CellFunction& f, double x) {
  const std::string& s = f.name;
  if (s == "Relu") return x <= 0 ? 0 : 1;
  if (s == "Tanh") return 1 - std::tanh(x) * std::tanh(x);
  if (s == "Sigmoid") return apply(f, x) * (1 - apply(f, x));
  if (s == "Affine") return f.alpha;
  if (s == "LeakyRelu") return x <= 0 ? f.alpha : 1;
  if (s == "ThresholdedRelu") return x > f.alpha ? 1 : 0;
  if (s == "ScaledTanh") return f.alpha * f.beta * (1 - std::tanh(f.beta * x) * std::tanh(f.beta * x));
  if (s == "HardSigmoid") return f.alpha * x + f.beta > 0 && f.alpha * x + f.beta < 1 ? f.alpha : 0;
  if (s == "Elu") return x >= 0 ? 1 : f.alpha * std::exp(x);
  if (s == "Softsign") return 1 / ((1 + std::fabs(x)) * (1 + std::fabs(x)));
  FCC_CHECK(s == "Softplus", "no function {}", s);
  return 1 / (1 + std::exp(-x));
}

Expr apply(const CellFunction& f, const Expr& x) {
  return differentiate(f, x).value;
}

ValueAndSlope differentiate(const CellFunction& f, const Expr& x) {
  const auto number = [&](double v) { return loop::constant(x->type, v); };
  const auto call = [](UnaryOp op, Expr e) { return loop::unary(op, std::move(e)); };
  const auto above = [&](const Expr& e, double v) { return loop::binary(BinaryOp::gt, e, number(v)); };
  const Expr zero = number(0), one = number(1), a = number(f.alpha), b = number(f.beta);
  const Expr positive = loop::ge(x, zero), low = loop::binary(BinaryOp::le, x, zero);
  const std::string& s = f.name;
  if (s == "Relu") return {loop::max(x, zero), loop::select(low, zero, one)};
  if (s == "Tanh") {
    const Expr y = call(UnaryOp::tanh, x);
    return {y, one - y * y};
  }
  if (s == "Sigmoid") {
    const Expr y = call(UnaryOp::sigmoid, x);
    return {y, y * (one - y)};
  }
  if (s == "Affine") return {a * x + b, a};
  if (s == "LeakyRelu") return {loop::select(positive, x, a * x), loop::select(low, a, one)};
  if (s == "ThresholdedRelu")
    return {loop::select(above(x, f.alpha), x, zero), loop::select(above(x, f.alpha), one, zero)};
  if (s == "ScaledTanh") {
    const Expr t = call(UnaryOp::tanh, b * x);
    return {a * t, number(f.alpha * f.beta) * (one - t * t)};
  }
  if (s == "HardSigmoid") {
    const Expr line = a * x + b;
    return {loop::min(loop::max(line, zero), one),
            loop::select(loop::both(above(line, 0), loop::lt(line, one)), a, zero)};
  }
  if (s == "Elu")
    return {loop::select(positive, x, a * call(UnaryOp::expm1, x)),
            loop::select(positive, one, a * call(UnaryOp::exp, x))};
  if (s == "Softsign") {
    const Expr d = one + call(UnaryOp::abs, x);
    return {x / d, one / (d * d)};
  }
  FCC_CHECK(s == "Softplus", "no function {}", s);
  return {loop::max(x, zero) + call(UnaryOp::log1p, call(UnaryOp::exp, -call(UnaryOp::abs, x))),
          call(UnaryOp::sigmoid, x)};
}

}  // namespace fcc
