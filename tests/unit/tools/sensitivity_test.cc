#include "tools/sensitivity.h"

#include <gtest/gtest.h>

#include "ir/eval.h"
#include "ir/op.h"
#include "tools/random_input.h"

namespace fcc {
namespace {

constexpr double kUnit = 0x1p-24;

class Sensitivity : public testing::Test {
 protected:
  ValueId input(std::vector<int64_t> shape, double low, double high) {
    inputs.push_back(random_tensor("x", DType::f32, shape, {.low = low, .high = high}));
    return graph.add_input("x", inputs.back().type());
  }
  ValueId add(std::string_view op, std::vector<ValueId> in, Attrs attrs = {}) {
    GraphBuilder b(graph, Loc{});
    const ValueId v = b(op, std::move(in), std::move(attrs));
    EXPECT_TRUE(b.status()) << b.status().error().text();
    return v;
  }
  ValueId number(double v) { return graph.add_constant("c", Tensor::scalar(DType::f32, v)); }
  double of(ValueId y) {
    graph.add_output("y", y);
    const auto plain = evaluate(graph, inputs);
    EXPECT_TRUE(plain);
    const auto moved = output_sensitivity(graph, inputs, {}, plain->outputs);
    EXPECT_TRUE(moved);
    return moved->front();
  }
  Graph graph;
  std::vector<Tensor> inputs;
};

TEST_F(Sensitivity, OfWhatKeepsItsSizeIsAFewUnits) {
  const double moved = of(add("Exp", {add("Abs", {input({8, 8}, -1, 1)})}));
  EXPECT_GT(moved, kUnit);
  EXPECT_LT(moved, 50 * kUnit);
}

TEST_F(Sensitivity, OfMovementIsNothing) {
  EXPECT_EQ(of(add("Transpose", {input({3, 5}, -1, 1)})), 0);
}

// x*1000 - 1000: errors of thousands in results of about one.
TEST_F(Sensitivity, SeesCancellationBetweenNodes) {
  const ValueId x = input({64}, 0.999, 1.001);
  const double moved = of(add("Sub", {add("Mul", {x, number(1000)}), number(1000)}));
  EXPECT_GT(moved, 1000 * kUnit);
  EXPECT_LT(moved, 20 * 1000 * kUnit);
}

// The same inside one node: 64 terms of 1000 and a bias that takes them away.
TEST_F(Sensitivity, SeesCancellationInsideASum) {
  const ValueId x = input({4, 64}, 0.999, 1.001);
  std::vector<float> w(64, 1000.0f);
  const ValueId weight = graph.add_constant("w", Tensor::of<float>(DType::f32, {64, 1}, w));
  const ValueId bias = graph.add_constant("b", Tensor::scalar(DType::f32, -64'000));
  const double moved = of(add("Gemm", {x, weight, bias}));
  EXPECT_GT(moved, 64'000 * kUnit);
  EXPECT_LT(moved, 100 * 64'000 * kUnit);
}

}  // namespace
}  // namespace fcc
