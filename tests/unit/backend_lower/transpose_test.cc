// Movements that exchange the last two axes, compiled for every instruction set of the host, against the interpreter.
#include "backend/lower/transpose.h"

#include <gtest/gtest.h>

#include "ir/eval.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<I>;

void check(const Ints& shape, const char* op, const Attrs& attrs) {
  Graph g;
  GraphBuilder b(g, {});
  g.add_output("y", b(op, {g.add_input("x", random(DType::f32, shape, 1).type())}, attrs));
  ASSERT_TRUE(b.status()) << b.status().error().text();
  ASSERT_TRUE(backend::is_matrix_transpose(g)) << op;
  const std::vector<Tensor> args{random(DType::f32, shape, 1)};
  const auto expected = evaluate(g, args);
  ASSERT_TRUE(expected);
  for (const Target& target : host_targets()) {
    const loop::Kernel k = backend::lower_matrix_transpose(g, target);
    const Status valid = loop::verify(k);
    ASSERT_TRUE(valid) << valid.error().text();
    std::vector<Tensor> all = args;
    all.emplace_back(DType::f32, expected->outputs[0].shape());
    run(k, target, all);
    EXPECT_EQ(all[1].to_doubles(), expected->outputs[0].to_doubles()) << op << " " << target.text();
  }
}

TEST(MatrixTranspose, MatchesTheInterpreter) {
  check({16, 16}, "Transpose", {{"perm", Ints{1, 0}}});
  check({48, 16}, "Transpose", {{"perm", Ints{1, 0}}});
  check({32, 1040}, "Transpose", {{"perm", Ints{1, 0}}});  // several tasks a strip, the last one short
  check({3, 2, 16, 32}, "Transpose", {{"perm", Ints{0, 1, 3, 2}}});
  check({96, 48}, "PackGemmB", {{"nr", I{32}}, {"trans", I{1}}});
  check({48, 80}, "PackGemmB", {{"nr", I{16}}, {"trans", I{1}}});
  check({2, 64, 16}, "PackGemmB", {{"nr", I{32}}, {"trans", I{1}}});
}

TEST(MatrixTranspose, LeavesOthersAlone) {
  for (const auto& [shape, perm] :
       std::vector<std::pair<Ints, Ints>>{{{16, 15}, {1, 0}}, {{16, 16, 16}, {1, 0, 2}}, {{16, 16}, {0, 1}}}) {
    Graph g;
    GraphBuilder b(g, {});
    g.add_output("y", b("Transpose", {g.add_input("x", random(DType::f32, shape, 1).type())}, {{"perm", perm}}));
    EXPECT_FALSE(backend::is_matrix_transpose(g));
  }
}

}  // namespace
}  // namespace fcc::test
