// Every invariant of loop kernels: a kernel that breaks it is refused with a sentence that names the statement.
#include "ir/loop/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/base/check.h"
#include "ir/loop/text.h"
#include "tests/unit/ir_loop/sample_kernels.h"

namespace fcc::loop {
namespace {

using ::testing::HasSubstr;

Kernel kernel_of(const std::string& text) {
  auto k = parse_kernel(text);
  if (!k) throw std::runtime_error(k.error().text() + "\n" + text);
  return std::move(*k);
}
// A kernel over x[8], w[64] and y[8] with this body inside a @tile loop over t.
Kernel tile_kernel(const std::string& body) {
  return kernel_of(
      "kernel k(x: in f32[8], h: const f16[8], n: in i64[8], w: const f32[64], y: out f32[8]) {\n tiles 8\n for t in "
      "0..8 @tile {\n" +
      body + "\n}\n}");
}
std::string verdict(const Kernel& k) {
  const Status s = verify(k);
  return s ? "fine" : s.error().what;
}

TEST(LoopVerify, SampleKernelsAreFine) {
  for (const Kernel& k : sample_kernels()) EXPECT_EQ(verdict(k), "fine") << print(k);
}

TEST(LoopVerify, RefusesWithTheStatement) {
  const std::pair<const char*, const char*> cases[] = {
      {"y[t] = x[t]", "fine"},
      {"let a = 1 let a = 2", "kernel k: let a: a is bound again inside its own scope"},
      {"for i in 0..2 { let a = i } let b = a", "kernel k: let b: the value uses a outside its scope"},
      {"for i in 0..2 { } for i in 0..3 { y[i] = 0.0 }", "fine"},
      {"for t in 0..2 { }", "for t: t is bound again inside its own scope"},
      {"y[t] = x[t, t]", "store into y: 2 indices into x[8]"},
      {"y[] = x[t]", "store into y: 0 indices into y[8]"},
      {"y[t] = x[x[t]]", "an index of x is f32"},
      {"y[x[t]] = 1.0", "an index of y is f32"},
      {"y[t] = n[t]", "the value is i64, expected f32"},
      {"y[t] = h[t]", "fine"},
      {"x[t] = 1.0", "store into x: x is an input"},
      {"y[t] = 1.0 if n[t]", "the mask is i64, expected bool"},
      {"y[t] = y[t]", "output y is read before it is written"},
      {"y[t] = 1.0 y[t] = y[t]", "fine"},
      {"if n[t] { }", "the condition is i64, expected bool"},
      {"fault n[t] \"bad\"", "the condition is i64, expected bool"},
      {"fault n[t] < 0 \"\"", "a fault without a text"},
      {"define $m = 1", "a symbol defined inside a @tile loop"},
      {"for i in 0..x[t] { }", "the upper bound is f32, expected i64"},
      {"for i in 0..4 step 0 { }", "for i: step 0"},
      {"for i in 0..4 step -1 { }", "for i: step -1"},
      {"for i in 0..4 @tile { }", "@tile below the outermost loop"},
      {"for i in 0..n[t] @unroll { }", "@unroll over 0..n[t]"},
      {"for i in t..t + 4 @unroll { }", "fine"},
      {"for i in t..n[t] @unroll { }", "@unroll over"},
      {"for i in 0..4 step 2 @vec(4) { }", "@vec(4) with step 2"},
      {"alloc s: stack f32[N]", "stack array s[N] has an open size"},
      {"alloc s: scratch f32[N]", "fine"},
      {"alloc s: stack f32[4] alloc s: stack f32[4]", "s is allocated already"},
      {"if t < 2 { alloc s: stack f32[4] } else { alloc s: stack f32[4] }", "fine"},
      {"if t < 2 { alloc s: stack f32[4] } s[0] = 1.0", "store into s: s is used before its alloc"},
      {"y[t] = reduce(add, k in 0..n[t] @unroll, x[k])", "@unroll over 0..n[t]"},
      {"y[t] = reduce(add, k in 0..8, reduce(max, k in 0..2, x[k]))", "k is bound again inside its own scope"},
      {"y[t] = reduce(add, k in 0..8, x[k]) + reduce(max, k in 0..2, x[k])", "fine"},
      {"for k in 0..2 { y[t] = reduce(add, k in 0..8, x[k]) }", "a reduction rebinds k"},
      {"y[t] = reduce(add, k in 0..8 @vec(0), x[k])", "a reduction over 0 lanes"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] { y[l] = a }", "fine"},
      {"tile 2x12 a: f32[r, b, l] = x[0; 1] * w[0] { y[l] = a }",
       "a tile of 2x12: columns come in sixteens, or are eight"},
      {"tile 0x16 a: f32[r, b, l] = x[0; 1] * w[0] { y[l] = a }", "a tile of 0x16"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] split 0 { y[l] = a }", "split 0"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] columns 12 { y[l] = a }", "12 columns of B in a tile of 16"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] over (2, 1, 8) over (4, 1, 8) last 3 columns 8 { y[l] = a }", "fine"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] over (2, 1, 8) last 1 { y[l] = a }", "the last of the first reduction"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] over (t, 1, 8) over (4, 1, 8) last 1 { y[l] = a }", "the last of the first reduction"},
      {"tile 2x16 a: i32[r, b, l] = x[0; 1] * w[0] { }", "a sum of f32 in i32"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * n[0] { }", "a product of f32 and i64"},
      {"tile 2x16 a: f32[r, b, l] = x[x[0]; 1] * w[0] { }", "the base of A is f32, expected i64"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] over (t, 1, 16) @unroll { }", "@unroll over t"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] { for i in 0..2 { } }", "an epilogue holds let, store and if only"},
      {"tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] { y[l] = a } y[0] = 1.0", "fine"},
      {"tile 2x16 a: f32[t, b, l] = x[0; 1] * w[0] { }", "t is bound again inside its own scope"},
      {"for i in 0..4 @vec(4) { tile 2x16 a: f32[r, b, l] = x[0; 1] * w[0] { } }",
       "a contraction inside a vector loop"},
  };
  for (const auto& [body, expected] : cases) EXPECT_THAT(verdict(tile_kernel(body)), HasSubstr(expected)) << body;
}

TEST(LoopVerify, OutermostLoop) {
  const std::string head = "kernel k(y: out f32[8]) {\n tiles 8\n ";
  EXPECT_EQ(verdict(kernel_of(head + "for t in 0..8 @tile { } }")), "fine");
  EXPECT_THAT(verdict(kernel_of(head + "for t in 0..7 @tile { } }")),
              HasSubstr("the @tile loop runs to 7, the kernel has 8 tiles"));
  EXPECT_THAT(verdict(kernel_of(head + "for t in 1..8 @tile { } }")), HasSubstr("does not start at 0 with step 1"));
  EXPECT_THAT(verdict(kernel_of(head + "for t in 0..8 @tile { } for u in 0..8 @tile { } }")),
              HasSubstr("2 outermost @tile loops"));
  EXPECT_THAT(verdict(kernel_of(head + "for t in 0..8 @tile { } let a = 1 }")),
              HasSubstr("statements beside the @tile loop"));
  EXPECT_THAT(verdict(kernel_of(head + "for t in 0..8 { } }")),
              HasSubstr("neither a @tile loop nor a symbol definition"));
  EXPECT_EQ(verdict(kernel_of(head + "define $n = 3 }")), "fine");
}

// What the text form cannot say.
TEST(LoopVerify, BrokenByHand) {
  Kernel k = tile_kernel("y[t] = x[t]");
  k.buffers[4].constant = true;
  EXPECT_THAT(verdict(k), HasSubstr("y is constant but no input"));
  k = tile_kernel("y[t] = x[t]");
  k.buffers[0].space = Space::scratch;
  EXPECT_THAT(verdict(k), HasSubstr("wrong side of the 5 parameters"));
  k = tile_kernel("y[t] = x[t]");
  k.n_params = 4;
  EXPECT_THAT(verdict(k), HasSubstr("wrong side of the 4 parameters"));
  k = tile_kernel("let a = 1.0 y[t] = a");
  for (Var& v : k.vars)
    if (v.name == "a") v.type = DType::f64;
  EXPECT_THAT(verdict(k), HasSubstr("let a: a is f64, its value f32"));
  k = tile_kernel("y[t] = x[t]");
  k.body[0] = for_loop(0, index(0), index(8), {store(4, {var(99)}, constant(DType::f32, 0))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("no variable 99"));
  k.body[0] = for_loop(0, index(0), index(8), {store(9, {var(0)}, constant(DType::f32, 0))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("no buffer 9"));
  k.add_var("late");
  k.body[0] = for_loop(0, index(0), index(8), {store(4, {var(1)}, constant(DType::f32, 0))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("an index uses late outside its scope"));
  k.body[0] = for_loop(0, index(0), index(8), {store(4, {var(0)}, load(0, DType::i32, {var(0)}))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("expected f32"));
  ExprNode half{.kind = ExprKind::constant, .type = DType::f16};
  k.body[0] = for_loop(0, index(0), index(8), {let(1, std::make_shared<const ExprNode>(half))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("an expression has type f16"));
  ExprNode sum{.kind = ExprKind::unary, .type = DType::i64, .unary = UnaryOp::sin, .args = {index(1)}};
  k.body[0] = for_loop(0, index(0), index(8), {let(1, std::make_shared<const ExprNode>(sum))}, LoopKind::tile);
  EXPECT_THAT(verdict(k), HasSubstr("sin of i64"));
  EXPECT_THROW(verify_or_die(k, "some_pass"), InternalError);
}

}  // namespace
}  // namespace fcc::loop
