// The interpreter of loop IR against hand values and plain C++ loops.
#include "ir/loop/eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "ir/base/check.h"

namespace fcc::loop {
namespace {

using ::testing::HasSubstr;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Expr f32(double v) {
  return constant(DType::f32, v);
}
Value eval(const Expr& e) {
  return evaluate(e, {});
}
// An operation on constants that the builders cannot fold.
int64_t int_op(BinaryOp op, DType t, int64_t a, int64_t b) {
  Environment env{.vars = {{0, int_value(a)}, {1, int_value(b)}}};
  return evaluate(binary(op, var(0, t), var(1, t)), env).i;
}
double float_op(BinaryOp op, double a, double b, DType t = DType::f32) {
  return eval(binary(op, constant(t, a), constant(t, b))).f;
}
Value cast_of(DType to, DType from, Value v) {
  return evaluate(cast(to, var(0, from)), {.vars = {{0, v}}});
}

TEST(EvalScalar, FloatOperationsRoundToTheirType) {
  EXPECT_EQ(float_op(BinaryOp::add, 1.0, 1e-9), 1.0);
  EXPECT_EQ(float_op(BinaryOp::add, 1.0, 1e-9, DType::f64), 1.0 + 1e-9);
  EXPECT_EQ(eval(unary(UnaryOp::exp, f32(1))).f, static_cast<float>(M_E));
  EXPECT_EQ(eval(unary(UnaryOp::exp, f32(100))).f, kInf);
  const float a = 1.0f + 0x1p-12f;
  EXPECT_EQ(eval(fma(f32(a), f32(a), f32(-1))).f, std::fma(a, a, -1.0f));
}

TEST(EvalScalar, FloatSpecialValues) {
  EXPECT_TRUE(std::isnan(float_op(BinaryOp::min, kNan, 1)));
  EXPECT_TRUE(std::isnan(float_op(BinaryOp::max, 1, kNan)));
  EXPECT_EQ(float_op(BinaryOp::mod, -7, 3), 2);
  EXPECT_EQ(float_op(BinaryOp::mod, 7, -3), -2);
  EXPECT_EQ(float_op(BinaryOp::rem, -7, 3), -1);
  EXPECT_EQ(float_op(BinaryOp::floordiv, -7, 2), -4);
  EXPECT_EQ(eval(unary(UnaryOp::round, f32(2.5))).f, 2);
  EXPECT_EQ(eval(unary(UnaryOp::round, f32(-3.5))).f, -4);
  EXPECT_TRUE(std::isnan(eval(unary(UnaryOp::sign, f32(kNan))).f));
  EXPECT_EQ(eval(unary(UnaryOp::is_nan, f32(kNan))).i, 1);
  EXPECT_EQ(eval(unary(UnaryOp::is_inf, f32(-kInf))).i, 1);
  EXPECT_EQ(eval(binary(BinaryOp::lt, f32(kNan), f32(1))).i, 0);
  EXPECT_EQ(eval(binary(BinaryOp::ne, f32(kNan), f32(kNan))).i, 1);
  EXPECT_EQ(eval(unary(UnaryOp::sigmoid, f32(-200))).f, 0);
}

TEST(EvalScalar, IntegersWrapToTheirWidth) {
  EXPECT_EQ(int_op(BinaryOp::add, DType::i8, 127, 1), -128);
  EXPECT_EQ(int_op(BinaryOp::mul, DType::u8, 16, 17), 16);
  EXPECT_EQ(int_op(BinaryOp::sub, DType::u32, 0, 1), 0xffffffff);
  EXPECT_EQ(int_op(BinaryOp::mul, DType::i64, std::numeric_limits<int64_t>::max(), 2), -2);
  EXPECT_EQ(int_op(BinaryOp::mul, DType::u16, 65535, 65535), 1);
  EXPECT_EQ(evaluate(unary(UnaryOp::abs, var(0, DType::i8)), {.vars = {{0, int_value(-128)}}}).i, -128);
  EXPECT_EQ(evaluate(unary(UnaryOp::bit_not, var(0, DType::u8)), {.vars = {{0, int_value(1)}}}).i, 254);
}

TEST(EvalScalar, IntegerDivision) {
  struct {
    int64_t a, b, div, floordiv, mod, rem;
  } cases[] = {{7, 2, 3, 3, 1, 1},
               {-7, 2, -3, -4, 1, -1},
               {7, -2, -3, -4, -1, 1},
               {-7, -2, 3, 3, -1, -1},
               {5, 0, 0, 0, 0, 0},
               {std::numeric_limits<int64_t>::min(), -1, std::numeric_limits<int64_t>::min(),
                std::numeric_limits<int64_t>::min(), 0, 0}};
  for (const auto& c : cases) {
    EXPECT_EQ(int_op(BinaryOp::div, DType::i64, c.a, c.b), c.div) << c.a << "/" << c.b;
    EXPECT_EQ(int_op(BinaryOp::floordiv, DType::i64, c.a, c.b), c.floordiv) << c.a << "/" << c.b;
    EXPECT_EQ(int_op(BinaryOp::mod, DType::i64, c.a, c.b), c.mod) << c.a << "/" << c.b;
    EXPECT_EQ(int_op(BinaryOp::rem, DType::i64, c.a, c.b), c.rem) << c.a << "/" << c.b;
  }
  EXPECT_EQ(int_op(BinaryOp::div, DType::u64, -1, 2), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(int_op(BinaryOp::lt, DType::u64, -1, 2), 0);
  EXPECT_EQ(int_op(BinaryOp::max, DType::u64, -1, 2), -1);
}

TEST(EvalScalar, IntegerPowersAndShifts) {
  EXPECT_EQ(int_op(BinaryOp::pow, DType::i32, -3, 3), -27);
  EXPECT_EQ(int_op(BinaryOp::pow, DType::i32, 0, 0), 1);
  EXPECT_EQ(int_op(BinaryOp::pow, DType::i32, 2, -1), 0);
  EXPECT_EQ(int_op(BinaryOp::pow, DType::i32, -1, -3), -1);
  EXPECT_EQ(int_op(BinaryOp::shl, DType::u8, 3, 7), 128);
  EXPECT_EQ(int_op(BinaryOp::shl, DType::u8, 1, 8), 0);
  EXPECT_EQ(int_op(BinaryOp::shr, DType::i8, -128, 3), -16);
  EXPECT_EQ(int_op(BinaryOp::shr, DType::i8, -128, 9), -1);
  EXPECT_EQ(int_op(BinaryOp::shr, DType::u8, 128, 3), 16);
}

TEST(EvalScalar, Casts) {
  EXPECT_EQ(cast_of(DType::i8, DType::f32, float_value(300)).i, 127);
  EXPECT_EQ(cast_of(DType::i8, DType::f32, float_value(-3.9)).i, -3);
  EXPECT_EQ(cast_of(DType::u8, DType::f32, float_value(-1)).i, 0);
  EXPECT_EQ(cast_of(DType::i64, DType::f64, float_value(kNan)).i, 0);
  EXPECT_EQ(cast_of(DType::i64, DType::f64, float_value(kInf)).i, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(cast_of(DType::u64, DType::f64, float_value(0x1p63)).i, std::numeric_limits<int64_t>::min());
  EXPECT_EQ(cast_of(DType::u64, DType::f64, float_value(1e30)).i, -1);
  EXPECT_EQ(cast_of(DType::boolean, DType::f32, float_value(0.25)).i, 1);
  EXPECT_EQ(cast_of(DType::boolean, DType::i32, int_value(256)).i, 1);
  EXPECT_EQ(cast_of(DType::u8, DType::i32, int_value(257)).i, 1);
  EXPECT_EQ(cast_of(DType::f32, DType::i64, int_value(16777217)).f, 16777216);
  EXPECT_EQ(cast_of(DType::f64, DType::u64, int_value(-1)).f, 0x1p64);
  EXPECT_EQ(cast_of(DType::f32, DType::f64, float_value(0.1)).f, 0.1f);
}

TEST(EvalExpr, SymbolsReduceAndHoisting) {
  // sum over v < N of v * (N + 1), and a reduce inside a reduce.
  const Expr n = symbol("N");
  const Expr total = reduce(ReduceOp::add, 0, index(0), n, var(0) * (n + 1));
  EXPECT_EQ(evaluate(total, {.symbols = {{"N", 4}}}).i, 6 * 5);
  const Expr inner = reduce(ReduceOp::add, 1, index(0), var(0), var(1) + n);
  EXPECT_EQ(evaluate(reduce(ReduceOp::max, 0, index(0), n, inner), {.symbols = {{"N", 4}}}).i, 3 * 4 + 3);
  EXPECT_EQ(evaluate(reduce(ReduceOp::min, 0, index(0), n, inner), {.symbols = {{"N", 0}}}).i,
            std::numeric_limits<int64_t>::max());
  EXPECT_EQ(eval(reduce(ReduceOp::max, 0, index(0), index(0), cast(DType::f32, var(0)))).f, -kInf);
  EXPECT_THROW(evaluate(total, {}), InternalError);
}

TEST(EvalExpr, ReduceAccumulatesInDouble) {
  // 1 + 2^24 ones in f32 would stay at 2^24.
  const Expr e = reduce(ReduceOp::add, 0, index(0), index(3), select(eq(var(0), index(0)), f32(16777216), f32(1)));
  EXPECT_EQ(eval(e).f, 16777218);
}

TEST(EvalExpr, GuardedLoadTouchesNothing) {
  Environment env;
  env.load = [](BufferId, std::span<const int64_t> i) -> Value {
    if (i[0] > 3) throw std::out_of_range("touched");
    return float_value(static_cast<double>(i[0]) * 10);
  };
  const Expr i = var(0);
  const Expr e = load_guarded(0, DType::f32, {i}, lt(i, index(4)), f32(-1));
  env.vars = {{0, int_value(3)}};
  EXPECT_EQ(evaluate(e, env).f, 30);
  env.vars = {{0, int_value(4)}};
  EXPECT_EQ(evaluate(e, env).f, -1);
  EXPECT_THROW(evaluate(load(0, DType::f32, {i}), env), std::out_of_range);
}

TEST(EvalExpr, FormulaProgramIsReusable) {
  const VarId vars[] = {5, 9};
  const Expr x = var(5, DType::f32), y = var(9, DType::f32), s = x + y;
  FormulaProgram program(s * s - x, vars);
  for (int i = 0; i < 10; ++i) {
    const Value in[] = {float_value(i), float_value(2 * i)};
    EXPECT_EQ(program.run(in).f, 9.0 * i * i - i);
  }
  EXPECT_EQ(program.type(), DType::f32);
}

TEST(EvalExpr, SharedNodesAreComputedOnce) {
  // 2^60 paths through 60 shared nodes.
  Expr e = var(0, DType::f32);
  for (int i = 0; i < 60; ++i) e = e + e;
  EXPECT_EQ(evaluate(e, {.vars = {{0, float_value(1)}}}).f, 0x1p60);
  const VarId v = 0;
  Expr nested = var(0, DType::f32);
  for (int i = 0; i < 60; ++i) nested = reduce(ReduceOp::add, 1, index(0), index(1), nested + nested);
  EXPECT_EQ(FormulaProgram(nested, {&v, 1}).run(std::vector{float_value(1)}).f, 0x1p60);
}

// ---- kernels

struct KernelFixture : ::testing::Test {
  Kernel k{.name = "test_kernel"};
  BufferId param(std::string name, DType t, Dims dims, Space space) {
    BufferId b = k.add_buffer({.name = std::move(name), .dtype = t, .dims = std::move(dims), .space = space});
    k.n_params = b + 1;
    return b;
  }
  Status run(std::vector<Tensor*> args, std::map<std::string, int64_t> symbols = {},
             std::map<std::string, int64_t>* defined = nullptr) {
    return evaluate(k, args, symbols, defined);
  }
};

Tensor floats(std::vector<int64_t> shape, std::vector<float> v) {
  return Tensor::of<float>(DType::f32, std::move(shape), v);
}

TEST_F(KernelFixture, PointwiseWithMaskAndSymbol) {
  const SymExpr n = SymExpr::symbol("N");
  const BufferId x = param("x", DType::f32, {n}, Space::input), y = param("y", DType::f32, {n}, Space::output);
  const VarId t = k.add_var("t"), i = k.add_var("i"), v = k.add_var("v", DType::f32);
  const Expr at = var(t) * 4 + var(i), inside = lt(at, symbol("N"));
  k.body = {for_loop(t, index(0), from_sym(ceildiv(n, 4)),
                     {for_loop(i, index(0), index(4),
                               {let(v, load_guarded(x, DType::f32, {at}, inside, f32(0))),
                                store(y, {at}, var(v, DType::f32) * 2, inside)},
                               LoopKind::vec, 4)},
                     LoopKind::tile)};
  Tensor in = floats({6}, {1, 2, 3, 4, 5, 6}), out(DType::f32, {6});
  ASSERT_TRUE(run({&in, &out}, {{"N", 6}}));
  EXPECT_THAT(out.to_doubles(), ::testing::ElementsAre(2, 4, 6, 8, 10, 12));
}

TEST_F(KernelFixture, OutOfBoundsNamesBufferAndIndex) {
  const BufferId x = param("image", DType::f32, {2, 3}, Space::input), y = param("y", DType::f32, {2}, Space::output);
  k.body = {store(y, {index(0)}, load(x, DType::f32, {index(1), index(3)}))};
  Tensor in = floats({2, 3}, {1, 2, 3, 4, 5, 6}), out(DType::f32, {2});
  try {
    (void)run({&in, &out});
    FAIL() << "no check";
  } catch (const InternalError& e) {
    EXPECT_THAT(e.what(), HasSubstr("test_kernel: image[1,3] outside [2,3]"));
  }
  k.body = {store(y, {index(2)}, f32(1))};
  EXPECT_THROW((void)run({&in, &out}), InternalError);
  k.body = {store(y, {index(2)}, f32(1), boolean(false))};
  EXPECT_TRUE(run({&in, &out}));
  k.body = {store(x, {index(0), index(0)}, f32(1))};
  EXPECT_THROW((void)run({&in, &out}), InternalError);
}

TEST_F(KernelFixture, LocalsAreUndefinedUntilStored) {
  const BufferId y = param("y", DType::f32, {4}, Space::output);
  const BufferId s = k.add_buffer({.name = "s", .dtype = DType::f32, .dims = {4}, .space = Space::scratch});
  const VarId i = k.add_var("i");
  k.body = {alloc(s), store(s, {index(1)}, f32(7)),
            for_loop(i, index(0), index(4), {store(y, {var(i)}, load(s, DType::f32, {var(i)}))}, LoopKind::seq, 1, 2),
            store(y, {index(1)}, load(s, DType::f32, {index(1)}))};
  Tensor out(DType::f32, {4});
  ASSERT_TRUE(run({&out}));
  EXPECT_TRUE(std::isnan(out.get_double(0)));
  EXPECT_EQ(out.get_double(1), 7);
  EXPECT_TRUE(std::isnan(out.get_double(2)));
  EXPECT_EQ(out.get_double(3), 0);  // step 2 never came here
  k.body.erase(k.body.begin());
  EXPECT_THROW((void)run({&out}), InternalError);
}

TEST_F(KernelFixture, FaultStopsAndSymbolsAreDefined) {
  const BufferId x = param("x", DType::i64, {3}, Space::input);
  const VarId i = k.add_var("i");
  const Expr e = load(x, DType::i64, {var(i)});
  k.body = {for_loop(i, index(0), index(3), {fault(lt(e, index(0)), "index is negative")}),
            define_symbol("$count", reduce(ReduceOp::add, i, index(0), index(3), e))};
  const int64_t good[] = {1, 2, 3}, bad[] = {1, -2, 3};
  Tensor a = Tensor::ints(good), b = Tensor::ints(bad);
  std::map<std::string, int64_t> defined;
  ASSERT_TRUE(run({&a}, {}, &defined));
  EXPECT_EQ(defined.at("$count"), 6);
  const Status s = run({&b});
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().what, "index is negative");
}

TEST_F(KernelFixture, HalfTypesWidenAndRound) {
  const BufferId x = param("x", DType::bf16, {1}, Space::input), y = param("y", DType::f16, {1}, Space::output);
  k.body = {store(y, {index(0)}, load(x, DType::bf16, {index(0)}) + f32(1.0 / 4096))};
  Tensor in = Tensor::scalar(DType::bf16, 1.0).reshaped({1}), out(DType::f16, {1});
  ASSERT_TRUE(run({&in, &out}));
  EXPECT_EQ(out.get_double(0), 1.0);
}

// A 2x16 tile of a convolution-like contraction with two reductions, against loops.
TEST_F(KernelFixture, ContractTile) {
  const BufferId a = param("a", DType::f32, {40}, Space::input), b = param("b", DType::f32, {6 * 16}, Space::input);
  const BufferId y = param("y", DType::f32, {2, 16}, Space::output);
  const VarId r = k.add_var("r"), block = k.add_var("block"), lane = k.add_var("lane"),
              acc = k.add_var("acc", DType::f32);
  ContractTile t{.a = a, .b = b, .a_base = index(3), .b_base = index(0), .a_row = index(5), .rows = 2, .cols = 16};
  t.reductions = {{index(2), index(10), index(48)}, {index(3), index(2), index(16)}};
  t.row_var = r;
  t.block_var = block;
  t.lane_var = lane;
  t.acc_var = acc;
  const Expr col = var(block) * 16 + var(lane);
  t.epilogue = {store(y, {var(r), col}, max(var(acc, DType::f32), f32(0)), lt(col, index(15)))};
  k.body = {contract(t)};
  Tensor ta(DType::f32, {40}), tb(DType::f32, {96}), ty(DType::f32, {2, 16});
  for (int64_t i = 0; i < 40; ++i) ta.set_double(i, std::sin(static_cast<double>(i)));
  for (int64_t i = 0; i < 96; ++i) tb.set_double(i, std::cos(static_cast<double>(i)));
  ASSERT_TRUE(run({&ta, &tb, &ty}));
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t col = 0; col < 16; ++col) {
      double sum = 0;
      for (int64_t i = 0; i < 2; ++i)
        for (int64_t j = 0; j < 3; ++j)
          sum += ta.get_double(3 + row * 5 + i * 10 + j * 2) * tb.get_double(col + i * 48 + j * 16);
      EXPECT_EQ(ty.get_double(row * 16 + col), col == 15 ? 0 : std::max(0.0f, static_cast<float>(sum)));
    }
  }
  t.a_base = index(21);  // 21 + 5 + 10 + 4 = 40
  k.body = {contract(t)};
  EXPECT_THROW((void)run({&ta, &tb, &ty}), InternalError);
  t.reductions[0].extent = index(0);
  t.epilogue = {store(y, {var(r), col}, var(acc, DType::f32))};
  k.body = {contract(t)};
  ASSERT_TRUE(run({&ta, &tb, &ty}));
  EXPECT_EQ(ty.get_double(3), 0);
  t.reductions.clear();
  k.body = {contract(t)};
  ASSERT_TRUE(run({&ta, &tb, &ty}));
  EXPECT_EQ(ty.get_double(16 + 3), static_cast<float>(ta.get_double(26) * tb.get_double(3)));
}

}  // namespace
}  // namespace fcc::loop
