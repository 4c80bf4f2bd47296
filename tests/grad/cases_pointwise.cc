// Arithmetic, functions and activations: broadcasts, kinks, and the ends of their domains.
#include <cmath>

#include "tests/grad/cases.h"

namespace fcc::test {
namespace {

constexpr double kInf = HUGE_VAL;

void add_functions(std::vector<Case>& cases) {
  for (const char* name :
       {"Abs",   "Neg",  "Exp",      "Erf",       "Sin",         "Cos",    "Tanh",      "Sigmoid", "Sinh",     "Cosh",
        "Asinh", "Atan", "Softplus", "Softsign",  "Mish",        "Relu",   "HardSwish", "Selu",    "Identity", "Gelu",
        "Swish", "Elu",  "Celu",     "LeakyRelu", "HardSigmoid", "Shrink", "Floor",     "Ceil",    "Round",    "Sign"})
    cases.push_back({name, {random({3, 4}, -2.4, 2.4)}});
  cases.push_back({"HardSwish", {random({12}, -5, 5)}});
  cases.push_back({"HardSigmoid", {random({12}, -5, 5)}, {{"alpha", 0.3}, {"beta", 0.4}}});
  cases.push_back({"Tan", {random({7}, -1, 1)}});
  for (const char* name : {"Log", "Sqrt", "Reciprocal"}) cases.push_back({name, {random({2, 3}, 0.3, 2)}});
  for (const char* name : {"Asin", "Acos", "Atanh"}) cases.push_back({name, {random({6}, -0.9, 0.9)}});
  cases.push_back({"Acosh", {random({6}, 1.1, 3)}});
  cases.push_back({"Reciprocal", {random({6}, -2, -0.3)}});
  cases.push_back({"Gelu", {random({6}, -4, 4)}, {{"approximate", std::string("tanh")}}});
  cases.push_back({"Swish", {random({6})}, {{"alpha", 1.7}}});
  cases.push_back({"Elu", {random({6})}, {{"alpha", 0.6}}});
  cases.push_back({"Celu", {random({6})}, {{"alpha", 2.5}}});
  cases.push_back({"Selu", {random({6})}, {{"alpha", 1.5}, {"gamma", 0.7}}});
  cases.push_back({"LeakyRelu", {random({6})}, {{"alpha", 0.2}}});
  cases.push_back({"ThresholdedRelu", {random({6})}, {{"alpha", 0.3}}});
  cases.push_back({"Shrink", {random({6})}, {{"lambd", 0.7}, {"bias", 0.2}}});
  cases.push_back({"PRelu", {random({2, 3, 4}), random({3, 1})}});
  cases.push_back({"PRelu", {random({2, 3}), random({})}});
  cases.push_back({"Cast", {random({2, 3})}, {{"to", DType::f64}}});
  cases.push_back({"Dropout", {random({2, 3})}});
}

void add_kinks(std::vector<Case>& cases) {
  const Tensor around = reals({5}, {-1, -0.0, 0, 1e-9, 1});
  const auto edge = [&](const char* name, Tensor x, std::vector<double> slope, Attrs attrs = {}) {
    cases.push_back({.op = name, .in = {std::move(x)}, .attrs = std::move(attrs), .expected = {std::move(slope)}});
  };
  edge("Relu", around, {0, 0, 0, 1, 1});
  edge("Relu", reals({1}, {NAN}), {1});
  edge("Abs", around, {-1, 0, 0, 1, 1});
  edge("LeakyRelu", around, {0.1, 0.1, 0.1, 1, 1}, {{"alpha", 0.1}});
  edge("Elu", reals({2}, {0, 1}), {1, 1});
  edge("Elu", reals({2}, {-800, 800}), {0, 1});
  edge("Sqrt", reals({2}, {0, 4}), {kInf, 0.25});
  edge("Log", reals({2}, {0, 2}), {kInf, 0.5});
  edge("Sigmoid", reals({3}, {-800, 0, 800}), {0, 0.25, 0});
  edge("Softplus", reals({3}, {-800, 0, 800}), {0, 0.5, 1});
  edge("Mish", reals({2}, {-800, 800}), {0, 1});
  edge("Tanh", reals({2}, {-800, 800}), {0, 0});
  edge("HardSwish", reals({4}, {-3.5, -3, 3, 4}), {0, 0, 1, 1});
  edge("HardSigmoid", reals({3}, {-2.5, 0, 2.5}), {0, 0.2, 0});
  edge("Gelu", reals({1}, {0}), {0.5});
  cases.push_back({.op = "PRelu", .in = {around, reals({1}, {0.5})}, .expected = {{0.5, 0.5, 0.5, 1, 1}, {-1}}});
  cases.push_back({.op = "Clip",
                   .in = {reals({5}, {-2, -1, 0, 1, 2}), reals({}, {-1}), reals({}, {1})},
                   .expected = {{0, 1, 1, 1, 0}, {1}, {1}}});
  cases.push_back({.op = "Clip",
                   .in = {reals({3}, {-2, 0, 2}), reals({}, {1}), reals({}, {-1})},
                   .expected = {{0, 0, 0}, {0}, {3}}});
  cases.push_back(
      {.op = "Max", .in = {reals({3}, {1, 2, 3}), reals({3}, {1, 3, 2})}, .expected = {{0.5, 0, 1}, {0.5, 1, 0}}});
  cases.push_back(
      {.op = "Min", .in = {reals({3}, {1, 2, 3}), reals({3}, {1, 3, 2})}, .expected = {{0.5, 1, 0}, {0.5, 0, 1}}});
  cases.push_back({.op = "Max",
                   .in = {reals({2}, {4, 0}), reals({2}, {4, 0}), reals({2}, {1, 0})},
                   .expected = {{0.5, 1. / 3}, {0.5, 1. / 3}, {0, 1. / 3}}});
  const auto power = [&](double base, double exponent, double of_base, double of_exponent) {
    cases.push_back(
        {.op = "Pow", .in = {reals({1}, {base}), reals({1}, {exponent})}, .expected = {{of_base}, {of_exponent}}});
  };
  power(0, 0, 0, 0);
  power(0, 1, 1, 0);
  power(0, 2, 0, 0);
  power(0, 0.5, kInf, 0);
  power(-2, 3, 12, NAN);
  power(1, 5, 5, 0);
}

void add_arithmetic(std::vector<Case>& cases) {
  for (const char* name : {"Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"}) {
    cases.push_back({name, {random({2, 3}), random({2, 3})}});
    cases.push_back({name, {random({2, 1, 3}), random({4, 1})}});
    cases.push_back({name, {random({}), random({3})}});
    cases.push_back({name, {random({3}), random({1, 1, 1})}});
  }
  for (const char* name : {"Max", "Min", "Sum", "Mean"}) {
    cases.push_back({name, {random({2, 3})}});
    cases.push_back({name, {random({2, 3}), random({3}), random({2, 1})}});
  }
  cases.push_back({"Div", {random({2, 3}), random({2, 3}, 0.5, 2)}});
  cases.push_back({"Div", {random({3}), random({2, 1}, -2, -0.5)}});
  cases.push_back({"Pow", {random({2, 3}, 0.3, 2), random({3})}});
  cases.push_back({"Pow", {random({3}, 0.3, 2), random({2, 1})}});
  cases.push_back({"Mod", {random({6}, -9, 9), random({6}, 1, 3)}});
  cases.push_back({"Mod", {random({6}, -9, 9), random({1}, 1, 3)}, {{"fmod", int64_t{1}}}});
  cases.push_back({"Clip", {random({8}), random({}, -1.2, -1), random({}, 0.8, 1)}});
  cases.push_back({"Clip", {random({8}), Tensor(), random({}, 0.8, 1)}});
  cases.push_back({"Clip", {random({8}), random({}, -0.5, 0)}});
  cases.push_back({"Where", {truths({2, 1}, {1, 0}), random({2, 3}), random({3})}});
  cases.push_back({"Where", {truths({3}, {1, 0, 1}), random({}), random({2, 1})}});
  for (double e : {0., 0.5, 1., 2., 3., -1., 1.7}) {  // a constant exponent takes shorter ways
    Case c{"Pow", {random({4}, 0.3, 2), Tensor::scalar(DType::f32, e)}};
    cases.push_back(c);
  }
}

}  // namespace

void add_pointwise_cases(std::vector<Case>& cases) {
  add_functions(cases);
  add_kinks(cases);
  add_arithmetic(cases);
}

}  // namespace fcc::test
