// Printing and parsing loop IR: the same text comes back, and the same meaning.
#include "ir/loop/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ir/loop/eval.h"
#include "ir/loop/scalar.h"
#include "ir/loop/verify.h"
#include "tests/unit/ir_loop/sample_kernels.h"

namespace fcc::loop {
namespace {

using ::testing::HasSubstr;

Kernel reparsed(const std::string& text) {
  auto k = parse_kernel(text);
  if (!k) throw std::runtime_error(k.error().text() + "\n" + text);
  return std::move(*k);
}

TEST(LoopText, SampleReadsAsWritten) {
  const std::string text =
      R"(kernel dense_relu(x: in f32[N,784], w: const f32[4,784,32], b: const bf16[128], y: out f32[N,128]) {
  note "8 rows; \"panel\" stays in L2"
  tiles 4*floordiv(N+7,8)
  flops 200704*N
  indices k
  for t in 0..floordiv(N + 7, 8) * 4 @tile {
    let i = floordiv(t, 4) * 8
    let j = mod(t, 4)
    alloc tmp: scratch f32[8,32]
    tile 8x32 acc: f32[r, block, lane] = x[i * 784; 784] * w[j * 25088] over (784, 1, 32) over (16, 1, 32) last 8 columns 24 split 2 {
      %0 = block * 16 + lane
      tmp[r, %0] = max(acc + b[j * 32 + %0], 0.0) if %0 < 30
    }
    let before = i - 5 + j * -9223372036854775808
    %1 = tmp[0, 0]
    if %1 > 0.5 and not(is_nan(%1)) {
      for c in 0..128 @vec(16) {
        y[i, c] = reduce(add, k in 0..8 @vec(16), tmp[k, mod(c, 32)]) * %1 - -1e-07
      }
    } else {
      y[i, 0] = y2[0 if i < N else inf]
    }
    fault i < 0 "index out of range"
  }
}
)";
  std::string good = text;
  good.replace(good.find("y2["), 3, "b[");  // y2 is unknown
  EXPECT_EQ(print(reparsed(good)), good);
  const auto bad = parse_kernel(text);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().text(), "error: loop IR text: no buffer named y2\n   at: line 21");
}

TEST(LoopText, EveryKindOfConstant) {
  for (const Expr& e : {constant(DType::f32, 0.1f),
                        constant(DType::f32, -0.0),
                        constant(DType::f32, 1e10),
                        constant(DType::f32, 3),
                        constant(DType::f32, INFINITY),
                        constant(DType::f32, -INFINITY),
                        constant(DType::f32, NAN),
                        constant(DType::f64, 0.1),
                        constant(DType::f64, -INFINITY),
                        constant(DType::f64, 5e-324),
                        constant_int(DType::i64, -5),
                        constant_int(DType::i64, std::numeric_limits<int64_t>::min()),
                        constant_int(DType::u64, -1),
                        constant_int(DType::i8, -128),
                        boolean(true),
                        boolean(false),
                        cast(DType::i32, constant(DType::f32, 1.5)),
                        unary(UnaryOp::neg, var(0, DType::f32)),
                        var(0, DType::f32) - constant(DType::f32, -2),
                        unary(UnaryOp::neg, unary(UnaryOp::neg, var(0, DType::f32)))}) {
    Kernel k{.name = "c"};
    k.add_buffer({.name = "x", .dtype = DType::f32, .dims = {}, .space = Space::input});
    k.n_params = 1;
    k.add_var("information", DType::f32);
    const VarId v = k.add_var("v", e->type);
    k.body = {let(0, load(0, DType::f32, {})), let(v, e)};
    const Kernel again = reparsed(print(k));
    EXPECT_TRUE(same(again.body[1]->value, e)) << print(k) << print(again);
  }
}

TEST(LoopText, ClashingAndOddNames) {
  Kernel k{.name = "odd name"};
  k.n_params = 1;
  k.add_buffer(
      {.name = "7 wonders", .dtype = DType::f32, .dims = {SymExpr::symbol("batch size")}, .space = Space::output});
  const VarId a = k.add_var("N"), b = k.add_var("i"), c = k.add_var("i"), d = k.add_var("for"), e = k.add_var("i.1");
  const Expr sum = var(a) + var(b) + var(c) + var(d) + var(e);
  k.tiles = SymExpr::symbol("N");
  Block body = {store(0, {sum + symbol("batch size")}, constant(DType::f32, 1))};
  for (VarId v : {e, d, c, b}) body = {for_loop(v, index(0), index(2), body)};
  k.body = {for_loop(a, index(0), symbol("N"), body, LoopKind::tile)};
  const std::string text = print(k);
  EXPECT_EQ(print(reparsed(text)), text);
  EXPECT_THAT(text, HasSubstr("`batch size`"));
  EXPECT_THAT(text, HasSubstr("for N.1 in 0..N @tile"));
}

// Random expressions over all operations, with shared parts: the same value after a round trip.
class RandomExpr {
 public:
  explicit RandomExpr(uint64_t seed) : random_(seed) {}
  Expr of(DType t, int depth) {
    auto& pool = pool_[t];
    if (!pool.empty() && pick(4) == 0) return pool[pick(pool.size())];
    Expr e = make(t, depth);
    pool.push_back(e);
    return e;
  }

 private:
  size_t pick(size_t n) { return random_() % n; }
  DType some_type() {
    const DType types[] = {DType::f32, DType::f64, DType::i64, DType::i32, DType::u8, DType::boolean};
    return types[pick(6)];
  }
  Expr leaf(DType t) {
    if (t == DType::f32 && pick(2)) return var(0, t);
    if (t == DType::i64 && pick(2)) return pick(2) ? var(1, t) : symbol("N");
    return is_float(t) ? constant(t, std::normal_distribution<>()(random_))
                       : constant_int(t, static_cast<int64_t>(pick(7)) - 3);
  }
  Expr make(DType t, int depth) {
    if (depth == 0) return leaf(t);
    switch (pick(5)) {
      case 0: {
        const auto op = static_cast<UnaryOp>(pick(kUnaryCount));
        if (op == UnaryOp::is_nan || op == UnaryOp::is_inf) return cast(t, unary(op, of(DType::f32, depth - 1)));
        return is_defined(op, t) ? unary(op, of(t, depth - 1)) : leaf(t);
      }
      case 1: {
        const auto op = static_cast<BinaryOp>(pick(kBinaryCount));
        const DType operand = op >= BinaryOp::eq && op <= BinaryOp::ge ? some_type() : t;
        if (!is_defined(op, operand)) return leaf(t);
        return cast(t, binary(op, of(operand, depth - 1), of(operand, depth - 1)));
      }
      case 2:
        return select(of(DType::boolean, depth - 1), of(t, depth - 1), of(t, depth - 1));
      case 3:
        return cast(t, of(some_type(), depth - 1));
      default: {
        if (is_float(t) && pick(2)) return fma(of(t, depth - 1), of(t, depth - 1), of(t, depth - 1));
        const auto op = static_cast<ReduceOp>(pick(6));
        if (!is_defined(op, t)) return leaf(t);
        const VarId v = next_var_++;
        return reduce(op, v, index(0), index(3), select(eq(var(v), index(1)), of(t, depth - 1), of(t, depth - 1)),
                      pick(2) ? 16 : 1, pick(2));
      }
    }
  }
  std::mt19937_64 random_;
  std::map<DType, std::vector<Expr>> pool_;
  VarId next_var_ = 2;
};

TEST(LoopText, RandomExpressionsSurvive) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Expr e = RandomExpr(seed).of(seed % 2 ? DType::f32 : DType::i64, 7);
    Kernel k{.name = "random"};
    k.add_buffer({.name = "x", .dtype = DType::f32, .dims = {}, .space = Space::input});
    k.n_params = 1;
    k.add_var("x", DType::f32);
    k.add_var("n");
    for (int i = 0; i < 200; ++i) k.add_var("k");
    const VarId result = k.add_var("result", e->type);
    k.body = {let(0, load(0, DType::f32, {})), for_loop(1, index(0), index(4), {let(result, e)})};
    const std::string text = print(k);
    const Kernel again = reparsed(text);
    ASSERT_EQ(print(again), text) << seed;
    const Expr f = again.body[1]->body[0]->value;
    auto value = [](const Expr& expr, VarId x, VarId n) {
      return evaluate(expr, {.vars = {{x, float_value(0.75)}, {n, int_value(2)}}, .symbols = {{"N", 5}}});
    };
    const Value a = value(e, 0, 1), b = value(f, again.body[0]->var, again.body[1]->var);
    ASSERT_TRUE(a.i == b.i || (is_float(e->type) && std::isnan(a.f) && std::isnan(b.f))) << seed << "\n" << text;
  }
}

TEST(LoopText, SharingKeepsTextLinear) {
  Expr e = var(0, DType::f32);
  for (int i = 0; i < 200; ++i) e = e * e;
  Kernel k{.name = "tower"};
  k.n_params = 1;
  k.add_buffer({.name = "y", .dtype = DType::f32, .dims = {}, .space = Space::output});
  k.add_var("x", DType::f32);
  k.body = {let(0, constant(DType::f32, 1)), store(0, {}, e)};
  const std::string text = print(k);
  EXPECT_LT(text.size(), 200u * 30);
  EXPECT_EQ(print(reparsed(text)), text);
}

TEST(LoopText, SampleKernelsComeBackAndVerify) {
  for (const Kernel& k : sample_kernels()) {
    const std::string text = print(k);
    const Kernel again = reparsed(text);
    EXPECT_EQ(print(again), text);
    EXPECT_EQ(canonical_text(again), canonical_text(k));
    EXPECT_TRUE(verify(k)) << verify(k).error().text();
    EXPECT_TRUE(verify(again)) << verify(again).error().text();
  }
}

TEST(LoopText, CanonicalTextForgetsNamesAndNotes) {
  Kernel a = sample_kernels()[0], b = a;
  b.name = "other";
  b.note = "why";
  b.flops = 7;
  for (Var& v : b.vars) v.name += "_x";
  for (Buffer& x : b.buffers) x.name += "_x";
  EXPECT_EQ(canonical_text(a), canonical_text(b));
  EXPECT_NE(print(a), print(b));
  b.buffers[0].dtype = DType::f16;
  EXPECT_NE(canonical_text(a), canonical_text(b));
}

TEST(LoopText, FaultsNameTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"kernel k(x: in f32[2]) {\n tiles 1\n let a = 1 + 1.0\n}", "add of i64 and f32"},
      {"kernel k(x: in f32[2]) {\n tiles 1\n let a = sin(1)\n}", "sin of i64"},
      {"kernel k(x: in f32[2]) {\n tiles 1\n let a = %3\n}", "an expression that has not been named"},
      {"kernel k(x: in f32[2]) {\n tiles 1\n let a = nosuch(1)\n}", "no function named nosuch"},
      {"kernel k(x: in f32[2]) {\n tiles 1\n let a = select(1, 2, 3)\n}", "types of a select"},
      {"kernel k(x: in f32[2]) {\n tiles 1\n for i in 0..4 {\n}", "expected }"},
      {"kernel k(x: on f32[2]) {\n tiles 1\n}", "expected in, const, out, stack or scratch, seen on"},
      {"kernel k(x: in f99[2]) {\n tiles 1\n}", "f99"},
  };
  for (const auto& [text, what] : cases) {
    const auto k = parse_kernel(text);
    ASSERT_FALSE(k) << text;
    EXPECT_THAT(k.error().text(), HasSubstr(what));
    EXPECT_THAT(k.error().where, HasSubstr("line"));
  }
}

}  // namespace
}  // namespace fcc::loop
