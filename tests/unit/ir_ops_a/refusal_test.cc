// What must be refused while compiling, and in which words: culprit, seen against expected, hint.
#include <gtest/gtest.h>

#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
Tensor zeros(std::vector<I> shape, DType t = DType::f32) {
  return Tensor(t, std::move(shape));
}

void refuses(const Case& c, std::string_view what, std::string_view hint = {}) {
  const auto types = result_types(c);
  ASSERT_FALSE(types) << text(c);
  EXPECT_EQ(types.error().what, c.op + " \"n\": " + std::string(what));
  EXPECT_FALSE(types.error().seen.empty());
  EXPECT_TRUE(hint.empty() || types.error().hint == hint) << types.error().hint;
}

TEST(Refusals, ElementTypes) {
  refuses({"Add", {zeros({2}), zeros({2}, DType::f64)}}, "operand 1 is f64, operand 0 is f32",
          "both must have one element type; convert one with a Cast");
  refuses({"Add", {zeros({2}, DType::boolean), zeros({2}, DType::boolean)}},
          "operand 0 is bool, expected a number type", "convert it with a Cast first");
  refuses({"Sqrt", {zeros({2}, DType::i32)}}, "operand 0 is i32, expected a float type");
  refuses({"Neg", {zeros({2}, DType::u8)}}, "operand 0 is u8, expected a signed type");
  refuses({"And", {zeros({2}), zeros({2})}}, "operand 0 is f32, expected bool");
  refuses({"Where", {zeros({2}), zeros({2}), zeros({2})}}, "the condition is f32, expected bool");
  refuses({"Where", {zeros({2}, DType::boolean), zeros({2}), zeros({2}, DType::f16)}}, "chooses between f32 and f16");
  refuses({"BitShift", {zeros({2}), zeros({2})}, {{"direction", std::string("LEFT")}}},
          "operand 0 is f32, expected an integer type");
  refuses({"Softmax", {zeros({2}, DType::i32)}}, "the input is i32, expected a float type");
}
TEST(Refusals, Broadcasting) {
  refuses({"Add", {zeros({2, 3}), zeros({4})}}, "operand 1 with shape [4] does not broadcast to [2,3]",
          "every pair of extents, aligned at the right, must be equal or contain a 1");
  refuses({"Clip", {zeros({2, 3}), zeros({3})}}, "min has shape [3], expected a scalar",
          "use Min or Max for bounds that are tensors");
}
TEST(Refusals, Settings) {
  refuses({"BitShift", {zeros({2}, DType::u8), zeros({2}, DType::u8)}, {{"direction", std::string("UP")}}},
          "direction is \"UP\", expected \"LEFT\" or \"RIGHT\"");
  refuses({"Dropout", {zeros({2}), floats({1}, {0.5})}}, "the ratio must be one float");
  refuses({"BatchNormalization", {zeros({1, 2}), zeros({2}), zeros({2}), zeros({2}), zeros({2})}, {}, 2},
          "has running statistics as results although training_mode is 0");
}
TEST(Refusals, Axes) {
  refuses({"Softmax", {zeros({2, 3})}, {{"axis", I{2}}}}, "axis 2 is out of range for rank 2",
          "use an axis from -2 to 1");
  refuses({"Softmax", {zeros({})}}, "axis -1 is out of range for rank 0");
  refuses({"ReduceSum", {zeros({2, 3}), Tensor::ints(std::vector<I>{2})}}, "axis 2 is out of range for rank 2");
  refuses({"ReduceSum", {zeros({2, 3}), Tensor::ints(std::vector<I>{1, -1})}}, "axis -1 is named twice");
  refuses({"ReduceSum", {zeros({2}), Tensor::ints(std::vector<I>{0, 0})}}, "has 2 axes, the input has rank 1");
  refuses({"ArgMax", {zeros({2, 0})}, {{"axis", I{1}}}}, "axis 1 has no elements to choose from");
  refuses({"CumSum", {zeros({2}), ints({}, {1})}}, "axis 1 is out of range for rank 1");
  refuses({"CumSum", {zeros({2}), ints({2}, {0, 0})}}, "axis has shape [2], expected a scalar");
}
TEST(Refusals, MatrixProducts) {
  refuses({"Gemm", {zeros({1, 783}), zeros({784, 10})}}, "the input has 783 features, the weight wants 784",
          "the input must be [M,784]; check the sizes in front of it, or transB");
  refuses({"Gemm", {zeros({1, 512, 7, 7}), zeros({784, 10})}}, "the input has rank 4, expected a matrix",
          "put a Flatten (axis=1) before it, or use MatMul, which takes any rank");
  refuses({"Gemm", {zeros({4, 5}), zeros({5, 12}), zeros({10})}}, "the bias has shape [10], the result is [4,12]",
          "the bias must broadcast to the result; usually it is [12]");
  refuses({"MatMul", {zeros({2, 3}), zeros({4, 2})}}, "the left operand has 3 columns, the right has 4 rows",
          "the inner extents must agree: [..,m,k] x [..,k,n]");
  refuses({"MatMul", {zeros({2, 3, 4}), zeros({5, 4, 2})}}, "batch shapes [2] and [5] do not broadcast");
  refuses({"MatMul", {zeros({}), zeros({4, 2})}}, "the left operand is a scalar", "multiply by a scalar with Mul");
}
TEST(Refusals, OpenExtentMeetsItsOwnNeighbour) {
  Graph g;
  const SymExpr n = SymExpr::symbol("N");
  const ValueId a = g.add_input("a", {DType::f32, {2, n}}), b = g.add_input("b", {DType::f32, {n + 1, 2}}),
                w = g.add_input("w", {DType::f32, {784, 2}});
  EXPECT_FALSE(g.add(op("MatMul"), {a, b}));
  EXPECT_TRUE(g.add(op("MatMul"), {a, w}));
}
TEST(Refusals, Norms) {
  refuses({"BatchNormalization", {zeros({1, 4, 2}), zeros({3}), zeros({4}), zeros({4}), zeros({4})}},
          "scale has 3 elements, the input has 4 channels", "scale must have the shape [4]");
  refuses({"GroupNormalization", {zeros({1, 6, 2}), zeros({6}), zeros({6})}, {{"num_groups", I{4}}}},
          "the input's 6 channels do not divide into 4 groups", "num_groups must divide the channels");
  refuses({"GroupNormalization", {zeros({1, 6, 2}), zeros({6}), zeros({6})}, {{"num_groups", I{0}}}},
          "num_groups is 0, expected at least 1");
  refuses({"LRN", {zeros({1, 6, 2})}, {{"size", I{0}}}}, "size is 0, expected at least 1 channel");
  refuses({"LpNormalization", {zeros({1, 6})}, {{"p", I{3}}}}, "p is 3, expected 1 or 2");
  refuses({"LayerNormalization", {zeros({2, 4}), zeros({5})}},
          "scale has shape [5], which does not broadcast to the input's [2,4]");
  refuses({"LayerNormalization", {zeros({4}), zeros({2, 4})}},
          "scale has shape [2,4], which does not broadcast to the input's [4]");
  refuses({"LayerNormalization", {zeros({1, 4}), zeros({2, 4})}},
          "scale has shape [2,4], which does not broadcast to the input's [1,4]");
  refuses({"InstanceNormalization", {zeros({4, 2}), zeros({2}), zeros({2})}},
          "the input has rank 2, expected at least 3", "the layout is [N,C,...]");
}
TEST(Refusals, EinsumRubbish) {
  const auto einsum = [](const char* equation, std::vector<Tensor> in) {
    return Case{"Einsum", std::move(in), {{"equation", std::string(equation)}}};
  };
  const Tensor a = zeros({2, 3});
  refuses(einsum("ij,jk->ik", {a}), "equation \"ij,jk->ik\" names 2 operands, the node has 1",
          "one term an operand, one letter an axis: \"ij,jk->ik\"");
  refuses(einsum("ijk->ik", {a}), "equation \"ijk->ik\" gives operand 0 3 axes (\"ijk\"), it has 2");
  refuses(einsum("i->i", {a}), "equation \"i->i\" gives operand 0 1 axes (\"i\"), it has 2");
  refuses(einsum("ij->ik", {a}), "equation \"ij->ik\" has \"k\" in its result, but no operand has it");
  refuses(einsum("ij->ii", {a}), "equation \"ij->ii\" names \"i\" twice in its result");
  refuses(einsum("i1->i", {a}), "equation \"i1->i\" \"i1\" contains '1', which is no letter");
  refuses(einsum("......->", {a}), "equation \"......->\" gives operand 0 3 axes (\"......\"), it has 2");
  refuses(einsum("ij,jk->ik", {a, zeros({4, 2})}), "operand 1 has 4 for \"j\", an axis before it has 3",
          "axes of one letter must have one extent");
  refuses(einsum("->->", {zeros({})}), "equation \"->->\" \"->\" contains '-', which is no letter");
}

}  // namespace
}  // namespace fcc::test
