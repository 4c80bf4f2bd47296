// Every operation on every element type, in a vector loop with a tail, against the interpreter.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ir/loop/scalar.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using namespace loop;  // NOLINT: the builders
constexpr DType kComputed[] = {DType::f32, DType::f64, DType::i8,  DType::i16, DType::i32,    DType::i64,
                               DType::u8,  DType::u16, DType::u32, DType::u64, DType::boolean};

// for v in 0..n @vec(16): out_k[v] = formula_k(x[v], y[v])
Kernel elementwise(std::string name, DType in, int64_t n,
                   std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> formulas) {
  Kernel k;
  k.name = std::move(name);
  const BufferId x = k.add_buffer({.name = "x", .dtype = in, .dims = {n}});
  const BufferId y = k.add_buffer({.name = "y", .dtype = in, .dims = {n}});
  const VarId t = k.add_var("t"), v = k.add_var("v");
  Block body;
  for (auto& [out_type, f] : formulas) {
    const BufferId out = k.add_buffer({.name = "out", .dtype = out_type, .dims = {n}, .space = Space::output});
    body.push_back(store(out, {var(v)}, f(load(x, in, {var(v)}), load(y, in, {var(v)}))));
  }
  k.n_params = static_cast<int32_t>(k.buffers.size());
  k.body = {
      for_loop(t, index(0), index(1), {for_loop(v, index(0), index(n), body, LoopKind::vec, 16)}, LoopKind::tile)};
  return k;
}

std::vector<Tensor> with_outputs(const Kernel& k, std::vector<Tensor> inputs) {
  for (size_t i = inputs.size(); i < static_cast<size_t>(k.n_params); ++i)
    inputs.emplace_back(k.buffers[i].dtype, TensorType{k.buffers[i].dtype, k.buffers[i].dims}.extents());
  return inputs;
}

// Extreme values first, then random ones.
Tensor operand(DType t, int64_t n, uint32_t seed) {
  Tensor x = random(t, {n}, seed);
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const std::vector<double> floats = {0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, inf, -inf, nan, 3e4, 1e-40, 100.25};
  const std::vector<int64_t> ints = {0,
                                     1,
                                     -1,
                                     std::numeric_limits<int64_t>::min(),
                                     std::numeric_limits<int64_t>::max(),
                                     127,
                                     -128,
                                     2147483647,
                                     -2147483648,
                                     7,
                                     -7,
                                     40};
  for (int64_t i = 0; i < n / 2; ++i) {
    const size_t j = static_cast<size_t>(i) * (seed * 2 + 1);
    if (is_float(t))
      x.set_double(i, floats[j % floats.size()]);
    else
      x.set_int(i, ints[j % ints.size()]);
  }
  return x;
}

double ulps_of(UnaryOp op) {
  return op <= UnaryOp::trunc || op == UnaryOp::sqrt || op == UnaryOp::reciprocal ? 0 : 16;
}

class UnaryOnType : public testing::TestWithParam<DType> {};
TEST_P(UnaryOnType, AgreesWithTheInterpreter) {
  const DType t = GetParam();
  constexpr int64_t kN = 75;
  std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> exact, close;
  for (int i = 0; i < kUnaryCount; ++i) {
    const auto op = static_cast<UnaryOp>(i);
    if (!is_defined(op, t)) continue;
    const DType out = unary(op, var(0, t))->type;
    (ulps_of(op) == 0 ? exact : close).emplace_back(out, [op](const Expr& x, const Expr&) { return unary(op, x); });
  }
  const Tensor x = operand(t, kN, 0), y = operand(t, kN, 1);
  for (auto& [formulas, ulps] : {std::pair(exact, 0.0), std::pair(close, 16.0)}) {
    if (formulas.empty()) continue;
    const Kernel k = elementwise("unary_" + std::string(fcc::name(t)), t, kN, formulas);
    expect_same(k, with_outputs(k, {x, y}), {}, ulps);
  }
}
INSTANTIATE_TEST_SUITE_P(All, UnaryOnType, testing::ValuesIn(kComputed),
                         [](auto& i) { return std::string(fcc::name(i.param)); });

class BinaryOnType : public testing::TestWithParam<DType> {};
TEST_P(BinaryOnType, AgreesWithTheInterpreter) {
  const DType t = GetParam();
  constexpr int64_t kN = 301;
  std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> exact, close;
  for (int i = 0; i < kBinaryCount; ++i) {
    const auto op = static_cast<BinaryOp>(i);
    if (!is_defined(op, t)) continue;
    const DType out = binary(op, var(0, t), var(1, t))->type;
    const bool rounds = is_float(t) && (op == BinaryOp::pow || op == BinaryOp::atan2);
    (rounds ? close : exact).emplace_back(out, [op](const Expr& x, const Expr& y) { return binary(op, x, y); });
  }
  const Tensor x = operand(t, kN, 0), y = operand(t, kN, 1);
  for (auto& [formulas, ulps] : {std::pair(exact, 0.0), std::pair(close, 16.0)}) {
    if (formulas.empty()) continue;
    const Kernel k = elementwise("binary_" + std::string(fcc::name(t)), t, kN, formulas);
    expect_same(k, with_outputs(k, {x, y}), {}, ulps);
  }
}
INSTANTIATE_TEST_SUITE_P(All, BinaryOnType, testing::ValuesIn(kComputed),
                         [](auto& i) { return std::string(fcc::name(i.param)); });

TEST(Expr, ConstantDivisors) {
  for (DType t : {DType::i8, DType::i32, DType::i64, DType::u32})
    for (int64_t c : {0, 1, -1, 3, 8, -5}) {
      std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> formulas;
      for (BinaryOp op : {BinaryOp::div, BinaryOp::floordiv, BinaryOp::mod, BinaryOp::rem})
        formulas.emplace_back(t, [=](const Expr& x, const Expr&) { return binary(op, x, constant_int(t, c)); });
      const Kernel k = elementwise("divide_by_constant", t, 40, formulas);
      expect_same(k, with_outputs(k, {operand(t, 40, 0), operand(t, 40, 1)}));
    }
}

TEST(Expr, MinMaxWithConstantKeepsNaN) {
  std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> formulas;
  for (BinaryOp op : {BinaryOp::min, BinaryOp::max}) {
    formulas.emplace_back(DType::f32,
                          [=](const Expr& x, const Expr&) { return binary(op, x, constant(DType::f32, 0.25)); });
    formulas.emplace_back(DType::f32,
                          [=](const Expr& x, const Expr&) { return binary(op, constant(DType::f32, 0.25), x); });
  }
  const Kernel k = elementwise("clip", DType::f32, 50, formulas);
  expect_same(k, with_outputs(k, {operand(DType::f32, 50, 0), operand(DType::f32, 50, 1)}), {}, 0);
}

class CastFrom : public testing::TestWithParam<DType> {};
TEST_P(CastFrom, AgreesWithTheInterpreter) {
  constexpr DType kAll[] = {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i8,  DType::i16,    DType::i32,
                            DType::i64, DType::u8,  DType::u16, DType::u32,  DType::u64, DType::boolean};
  const DType from = GetParam();
  std::vector<std::pair<DType, std::function<Expr(Expr, Expr)>>> formulas;
  for (DType to : kAll)
    formulas.emplace_back(to, [=](const Expr& x, const Expr&) { return cast(compute_type(to), x); });
  const Kernel k = elementwise("cast_" + std::string(fcc::name(from)), from, 70, formulas);
  expect_same(k, with_outputs(k, {operand(from, 70, 0), operand(from, 70, 1)}), {}, 0);
}
INSTANTIATE_TEST_SUITE_P(All, CastFrom,
                         testing::Values(DType::f32, DType::f64, DType::f16, DType::bf16, DType::i8, DType::i16,
                                         DType::i32, DType::i64, DType::u8, DType::u16, DType::u32, DType::u64,
                                         DType::boolean),
                         [](auto& i) { return std::string(fcc::name(i.param)); });

// Every f16 bit pattern widened, and floats around every rounding boundary narrowed.
TEST(Expr, HalfConversionsAreExact) {
  constexpr int64_t kN = 65536;
  Tensor half(DType::f16, {kN});
  for (int64_t i = 0; i < kN; ++i) half.as<uint16_t>()[static_cast<size_t>(i)] = static_cast<uint16_t>(i);
  Kernel k = elementwise("widen", DType::f16, kN, {{DType::f32, [](const Expr& x, const Expr&) { return x; }}});
  expect_same(k, with_outputs(k, {half, half}), {}, 0);
  Tensor wide(DType::f32, {2 * kN});
  for (int64_t i = 0; i < kN; ++i) {
    const double v = f16_to_float(static_cast<uint16_t>(i)), next = f16_to_float(static_cast<uint16_t>(i + 1));
    wide.set_double(2 * i, (v + next) / 2);
    wide.set_double(2 * i + 1, std::nextafter(static_cast<float>((v + next) / 2), 0.0F));
  }
  for (DType t : {DType::f16, DType::bf16}) {
    k = elementwise("narrow", DType::f32, 2 * kN, {{t, [](const Expr& x, const Expr&) { return x; }}});
    expect_same(k, with_outputs(k, {wide, wide}), {}, 0);
  }
}

TEST(Expr, SharedNodesSelectsAndFma) {
  const Kernel k = elementwise(
      "mix", DType::f32, 37,
      {{DType::f32,
        [](const Expr& x, const Expr& y) {
          Expr p = x * y;
          return select(lt(x, y), fma(x, y, p), p + p);
        }},
       {DType::boolean, [](const Expr& x, const Expr& y) { return both(ge(x, y), lt(x, constant(DType::f32, 2))); }}});
  expect_same(k, with_outputs(k, {random(DType::f32, {37}), random(DType::f32, {37}, 2)}), {}, 4, 16);
}

}  // namespace
}  // namespace fcc::test
