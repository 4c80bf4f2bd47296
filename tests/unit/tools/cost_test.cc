#include "tools/cost.h"

#include <gtest/gtest.h>

#include "ir/op.h"

namespace fcc {
namespace {

Dims dims(std::initializer_list<SymExpr> d) {
  return Dims(d);
}

class Cost : public testing::Test {
 protected:
  ValueId input(const char* name, Dims d) { return graph.add_input(name, {DType::f32, std::move(d)}); }
  ValueId add(std::string_view op_name, std::vector<ValueId> in, Attrs attrs = {}) {
    Result<NodeId> n = graph.add(op(op_name), std::move(in), std::move(attrs));
    EXPECT_TRUE(n) << (n ? "" : n.error().text());
    last = *n;
    return graph.node(*n).out[0];
  }
  NodeCost cost() const { return cost_of(graph, graph.node(last)); }

  Graph graph;
  NodeId last = kNoNode;
  const SymExpr n = SymExpr::symbol("N");
};

TEST_F(Cost, CountsMultiplyAddsTwice) {
  add("MatMul", {input("x", dims({n, 784})), input("w", dims({784, 128}))});
  EXPECT_EQ(cost().flops.text(), "200704*N");
  EXPECT_TRUE(cost().reduction.is(784));
  add("Gemm", {input("a", dims({784, 3})), input("b", dims({784, 5}))}, {{"transA", int64_t{1}}});
  EXPECT_TRUE(cost().flops.is(2 * 3 * 5 * 784));
}

TEST_F(Cost, KnowsConvolutions) {
  add("Conv", {input("x", dims({2, 8, 10, 10})), input("w", dims({16, 4, 3, 3}))},
      {{"group", int64_t{2}}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  EXPECT_TRUE(cost().reduction.is(36));
  EXPECT_TRUE(cost().flops.is(2 * 2 * 16 * 100 * 36));
}

TEST_F(Cost, KnowsEinsum) {
  add("Einsum", {input("x", dims({2, 3, 5})), input("y", dims({2, 5, 7}))},
      {{"equation", std::string("bij,bjk->bik")}});
  EXPECT_TRUE(cost().reduction.is(5));
  EXPECT_TRUE(cost().flops.is(2 * 2 * 3 * 7 * 5));
}

TEST_F(Cost, CountsElementsOtherwise) {
  const ValueId x = input("x", dims({n, 10}));
  const ValueId y = add("Relu", {x});
  EXPECT_EQ(cost().flops.text(), "10*N");
  EXPECT_TRUE(cost().reduction.is(1));
  add("Softmax", {y}, {{"axis", int64_t{1}}});
  EXPECT_TRUE(cost().reduction.is(10));
  add("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0}}});
  EXPECT_TRUE(cost().flops.is(0));
}

TEST_F(Cost, AddsReductionsAlongTheLongestPath) {
  const ValueId x = input("x", dims({1, 100}));
  const ValueId h = add("MatMul", {x, input("w", dims({100, 100}))});
  const ValueId y = add("MatMul", {h, input("v", dims({100, 4}))});
  const ValueId z = add("Add", {y, y});
  const std::vector<int64_t> lengths = reduction_lengths(graph, {});
  EXPECT_EQ(lengths[static_cast<size_t>(x)], 0);
  EXPECT_EQ(lengths[static_cast<size_t>(h)], 100);
  EXPECT_EQ(lengths[static_cast<size_t>(z)], 201);
}

TEST_F(Cost, FindsThePeakOfActivations) {
  const ValueId x = input("x", dims({n, 100}));
  const ValueId a = add("Relu", {x});    // 400 N bytes
  const ValueId b = add("Exp", {a});     // a and b
  const ValueId c = add("Add", {a, b});  // a, b and c
  graph.add_output("y", add("Relu", {c}));
  EXPECT_EQ(peak_activation_bytes(graph, {{"N", 1}}), 1200);
  EXPECT_EQ(peak_activation_bytes(graph, {{"N", 8}}), 9600);
}

}  // namespace
}  // namespace fcc
