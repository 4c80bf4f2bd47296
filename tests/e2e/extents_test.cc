// Extents only a run can tell: open ones that should agree and do not are refused before anything is read, and
// tensors without elements go through every kind of operator.
#include <gmock/gmock.h>

#include "ir/eval.h"
#include "ir/op.h"
#include "tests/e2e/e2e_support.h"
#include "tools/random_input.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;
using Extents = std::map<std::string, int64_t>;

// One node on inputs of these types; operands in `lists` follow them as constants.
struct OneNode {
  std::string op;
  std::vector<std::string> inputs;
  Attrs attrs = {};
  std::vector<Ints> lists = {};
  int32_t n_results = 1;

  Graph graph() const {
    Graph g;
    g.name = "g";
    std::vector<ValueId> in;
    for (const std::string& type : inputs)
      in.push_back(g.add_input(fmt::format("x{}", in.size()), TensorType::parse(type).value()));
    GraphBuilder b(g, Loc{"n"});
    for (const Ints& list : lists) in.push_back(b.ints(list));
    const std::vector<ValueId> out = b.many(op, in, attrs, n_results);
    EXPECT_TRUE(b.status()) << op << b.status().error().text();
    for (ValueId v : out) g.add_output(fmt::format("y{}", v), v);
    return g;
  }
  std::string text() const { return fmt::format("{} of {}", op, fmt::join(inputs, ", ")); }
};

std::vector<Tensor> inputs_of(const Graph& g, const Extents& extents) {
  std::vector<Tensor> inputs;
  for (ValueId v : g.inputs()) {
    Ints shape;
    for (const SymExpr& d : g.value(v).type.dims)
      shape.push_back(d.evaluate([&](std::string_view s) { return extents.at(std::string(s)); }));
    const DType dtype = g.value(v).type.dtype;
    inputs.push_back(is_int(dtype) ? Tensor(dtype, shape) : random_tensor(g.value(v).name, dtype, shape, {}));
  }
  return inputs;
}

// The outputs, or what the run said.
Result<std::vector<Tensor>> run_graph(const Graph& g, const std::vector<Tensor>& inputs) {
  static int number = 0;
  const std::string library = fmt::format("{}/extents{}.so", work_folder(), number++);
  FCC_TRY(CompileReport report, compile_graph(g, library, {.jobs = 1}));
  FCC_TRY(CompiledModel model, CompiledModel::open(library, {.threads = 1}));
  return model.run(inputs);
}

void expect_as_interpreted(const OneNode& node, const Extents& extents) {
  const Graph g = node.graph();
  const std::vector<Tensor> inputs = inputs_of(g, extents);
  const auto actual = run_graph(g, inputs);
  ASSERT_TRUE(actual) << node.text() << ": " << actual.error().text();
  const auto expected = evaluate(g, inputs);
  ASSERT_TRUE(expected) << node.text() << ": " << expected.error().text();
  for (size_t k = 0; k < actual->size(); ++k) {
    constexpr int64_t kAdditions = 100;  // no node here has more
    const Comparison c = compare(actual->at(k), expected->outputs[k], tolerance_for(actual->at(k).dtype(), kAdditions));
    EXPECT_TRUE(c.equal) << node.text() << ": " << c.mismatch;
  }
}

TEST(Extents, ThatDisagreeAreRefused) {
  const std::vector<OneNode> nodes = {
      {"Add", {"f32[A]", "f32[B]"}},
      {"Mul", {"f32[A,4]", "f32[B,4]"}},
      {"Max", {"f32[A]", "f32[A]", "f32[B]"}},
      {"Equal", {"i64[A]", "i64[B]"}},
      {"Pow", {"f32[A]", "f32[B]"}},
      {"Where", {"bool[A]", "f32[A]", "f32[B]"}},
      {"PRelu", {"f32[2,A]", "f32[B]"}},
      {"MatMul", {"f32[2,A]", "f32[B,4]"}},
      {"MatMul", {"f32[A,2,3]", "f32[B,3,4]"}},
      {"Gemm", {"f32[2,A]", "f32[B,4]"}},
      {"Gemm", {"f32[2,3]", "f32[3,A]", "f32[B]"}},
      {"Concat", {"f32[A,2]", "f32[B,2]"}, {{"axis", int64_t{1}}}},
      {"LayerNormalization", {"f32[2,A]", "f32[B]"}},
      {"RMSNormalization", {"f32[2,A]", "f32[B]"}},
      {"BatchNormalization", {"f32[2,A,3]", "f32[B]", "f32[B]", "f32[B]", "f32[B]"}},
      {"InstanceNormalization", {"f32[2,A,3]", "f32[B]", "f32[B]"}},
      {"GroupNormalization", {"f32[2,A,3]", "f32[B]", "f32[B]"}, {{"num_groups", int64_t{1}}}},
      {"Einsum", {"f32[A,2]", "f32[B,3]"}, {{"equation", std::string("ij,ik->jk")}}},
      {"Einsum", {"f32[A,2]", "f32[B,2]"}, {{"equation", std::string("...j,...j->...j")}}},
      {"GatherElements", {"f32[A,2]", "i64[B,2]"}, {{"axis", int64_t{1}}}},
  };
  for (const OneNode& node : nodes) {
    const Graph g = node.graph();
    expect_as_interpreted(node, {{"A", 4}, {"B", 4}});
    for (const Extents& bad : {Extents{{"A", 4}, {"B", 9}}, Extents{{"A", 9}, {"B", 4}}}) {
      if (node.op == "GatherElements" && bad.at("A") > bad.at("B")) continue;  // fewer indices are right
      const auto outputs = run_graph(g, inputs_of(g, bad));
      ASSERT_FALSE(outputs) << node.text() << " with A=" << bad.at("A") << " and B=" << bad.at("B");
      EXPECT_THAT(outputs.error().what, testing::HasSubstr(node.op)) << node.text();
    }
  }
  const Graph sum = nodes[0].graph();
  EXPECT_EQ(run_graph(sum, inputs_of(sum, {{"A", 4}, {"B", 9}})).error().what,
            "step 0 \"check\" (check of an open dimension): Add \"n\": extents A and B must be equal");
}

TEST(Extents, MayBeZero) {
  const Ints both{2, 2};
  const std::vector<OneNode> nodes = {
      {"Relu", {"f32[N,3]"}},
      {"Gelu", {"f32[N]"}},
      {"Add", {"f32[N,3]", "f32[3]"}},
      {"Where", {"bool[N]", "f32[N]", "f32[1]"}},
      {"Cast", {"f32[N]"}, {{"to", DType::i64}}},
      {"MatMul", {"f32[N,3]", "f32[3,4]"}},
      {"MatMul", {"f32[3,N]", "f32[N,4]"}},
      {"MatMul", {"f32[N,2,3]", "f32[N,3,2]"}},
      {"Gemm", {"f32[N,3]", "f32[3,4]", "f32[4]"}},
      {"Conv", {"f32[N,3,5,5]", "f32[4,3,3,3]"}},
      {"ConvTranspose", {"f32[N,3,5,5]", "f32[3,4,3,3]"}},
      {"MaxPool", {"f32[N,3,6,6]"}, {{"kernel_shape", both}}},
      {"AveragePool", {"f32[N,3,6,6]"}, {{"kernel_shape", both}}},
      {"GlobalAveragePool", {"f32[N,3,6,6]"}},
      {"BatchNormalization", {"f32[N,3,2]", "f32[3]", "f32[3]", "f32[3]", "f32[3]"}},
      {"LayerNormalization", {"f32[N,3]", "f32[3]"}},
      {"InstanceNormalization", {"f32[N,3,2]", "f32[3]", "f32[3]"}},
      {"LRN", {"f32[N,3,2,2]"}, {{"size", int64_t{3}}}},
      {"Softmax", {"f32[N,3]"}},
      {"Softmax", {"f32[3,N]"}},
      {"LogSoftmax", {"f32[3,N]"}},
      {"ReduceSum", {"f32[N,3]"}, {}, {{0}}},
      {"ReduceSum", {"f32[N,3]"}, {}, {{1}}},
      {"ReduceSum", {"f32[N,3]", "i64[0]"}},
      {"ReduceMax", {"f32[N,3]"}, {}, {{1}}},
      {"ReduceProd", {"f32[N,3]"}, {}, {{0}}},
      {"ArgMax", {"f32[N,3]"}, {{"axis", int64_t{1}}}},
      {"CumSum", {"f32[N,3]"}, {}, {{0}}},
      {"Concat", {"f32[N,3]", "f32[2,3]"}, {{"axis", int64_t{0}}}},
      {"Split", {"f32[N,4]"}, {{"axis", int64_t{1}}}, {{1, 3}}, 2},
      {"Slice", {"f32[N,3]"}, {}, {{0}, {5}, {0}, {2}}},
      {"Gather", {"f32[5,3]", "i64[N]"}},
      {"GatherElements", {"f32[5,3]", "i64[N,3]"}},
      {"Transpose", {"f32[N,3]"}},
      {"Reshape", {"f32[N,6]"}, {}, {{-1, 3}}},
      {"Flatten", {"f32[N,2,3]"}},
      {"Unsqueeze", {"f32[N]"}, {}, {{0}}},
      {"Expand", {"f32[N,1]"}, {}, {{1, 4}}},
      {"Tile", {"f32[N,2]"}, {}, {{2, 3}}},
      {"Pad", {"f32[N,2]"}, {}, {{0, 1, 0, 1}}},
      {"Pad", {"f32[N,2]"}, {}, {{1, 1, 2, 1}}},
      {"DepthToSpace", {"f32[N,4,2,2]"}, {{"blocksize", int64_t{2}}}},
      {"Trilu", {"f32[N,3,3]"}},
      {"Shape", {"f32[N,3]"}},
      {"Size", {"f32[N,3]"}},
      {"Einsum", {"f32[N,3]", "f32[3,2]"}, {{"equation", std::string("ij,jk->ik")}}},
  };
  for (const OneNode& node : nodes)
    for (int64_t n : {0, 2}) expect_as_interpreted(node, {{"N", n}});
}

// Numbers that the data brings: sizes beyond any memory, indices past the end, a step of 0. A code and a sentence each.
TEST(Extents, OfDataThatCannotBe) {
  constexpr int64_t kHuge = int64_t{1} << 60;
  struct Case {
    OneNode node;
    std::vector<Ints> data;  // of the integer inputs
    std::string text;
  };
  const auto unfit = [](int step, std::string_view op) {
    return fmt::format(
        "step {} \"check\" (check of an open dimension): {} \"n\": an operand holds a number that does not fit the "
        "others",
        step, op);
  };
  const std::vector<Case> cases = {
      {{"ConstantOfShape", {"i64[1]"}}, {{kHuge}}, "not enough memory"},
      {{"ConstantOfShape", {"i64[2]"}},
       {{kHuge, kHuge}},
       "output \"y1\" would be f32[1152921504606846976,1152921504606846976], larger than any memory"},
      {{"ConstantOfShape", {"i64[1]"}}, {{-1}}, "output \"y1\" would have the size -1 in dimension 0"},
      {{"Expand", {"f32[1]", "i64[1]"}}, {{kHuge}}, "not enough memory"},
      {{"Expand", {"f32[3]", "i64[1]"}}, {{5}}, unfit(1, "Expand")},
      {{"Tile", {"f32[2]", "i64[1]"}},
       {{kHuge}},
       "output \"y2\" would be f32[2305843009213693952], larger than any memory"},
      {{"Tile", {"f32[2]", "i64[1]"}}, {{-1}}, "output \"y2\" would have the size -2 in dimension 0"},
      {{"Range", {"i64[]", "i64[]", "i64[]"}},
       {{0}, {kHuge}, {1}},
       "output \"y3\" would be i64[1152921504606846976], larger than any memory"},
      {{"Range", {"i64[]", "i64[]", "i64[]"}}, {{0}, {5}, {0}}, unfit(3, "Range")},
      {{"Pad", {"f32[2]", "i64[2]"}},
       {{kHuge, kHuge}},
       "output \"y2\" would be f32[2305843009213693954], larger than any memory"},
      {{"Pad", {"f32[2]", "i64[2]"}}, {{-2, -2}}, "output \"y2\" would have the size -2 in dimension 0"},
      {{"Reshape", {"f32[6]", "i64[2]"}}, {{4, 2}}, unfit(1, "Reshape")},
      {{"Reshape", {"f32[6]", "i64[2]"}}, {{-1, -1}}, unfit(1, "Reshape")},
      {{"Reshape", {"f32[6]", "i64[2]"}},
       {{kHuge, kHuge}},
       "output \"y2\" would be f32[1152921504606846976,1152921504606846976], larger than any memory"},
      {{"Slice", {"f32[6]", "i64[1]", "i64[1]", "i64[1]", "i64[1]"}}, {{0}, {6}, {0}, {0}}, unfit(5, "Slice")},
      {{"Slice", {"f32[6]", "i64[1]", "i64[1]", "i64[1]", "i64[1]"}}, {{0}, {6}, {3}, {1}}, unfit(3, "Slice")},
      {{"Split", {"f32[6]", "i64[2]"}, {}, {}, 2}, {{4, 4}}, unfit(1, "Split")},
      {{"Gather", {"f32[5]", "i64[2]"}},
       {{0, 5}},
       "step 0 \"n\" (Gather move_f32_1d): Gather \"n\": an index is out of range"},
      {{"Gather", {"f32[5]", "i64[2]"}},
       {{-6, 0}},
       "step 0 \"n\" (Gather move_f32_1d): Gather \"n\": an index is out of range"},
      {{"GatherElements", {"f32[5]", "i64[2]"}},
       {{0, 5}},
       "step 0 \"n\" (GatherElements move_f32_1d): GatherElements \"n\": an index is out of range"},
      {{"GatherND", {"f32[5]", "i64[1,1]"}},
       {{-6}},
       "step 0 \"n\" (GatherND move_f32_1d): GatherND \"n\": an index is out of range"},
      {{"Unsqueeze", {"f32[5]", "i64[1]"}}, {{7}}, unfit(1, "Unsqueeze")},
      {{"CumSum", {"f32[5]", "i64[]"}},
       {{3}},
       "step 0 \"n\" (CumSum reduce_f32_1d): CumSum \"n\": the axis is out of range"},
      {{"ReduceSum", {"f32[5]", "i64[1]"}},
       {{3}},
       "step 1 \"n\" (ReduceSum reduce_f32_1d): ReduceSum \"n\": an axis is out of range or named twice"},
  };
  for (const Case& c : cases) {
    const Graph g = c.node.graph();
    std::vector<Tensor> inputs;
    size_t at = 0;
    for (ValueId v : g.inputs()) {
      const TensorType& type = g.value(v).type;
      Tensor t(type.dtype, type.extents());
      for (size_t i = 0; is_int(type.dtype) && i < c.data[at].size(); ++i)
        t.set_int(static_cast<int64_t>(i), c.data[at][i]);
      at += is_int(type.dtype);
      inputs.push_back(std::move(t));
    }
    const auto outputs = run_graph(g, inputs);
    EXPECT_EQ(outputs ? "accepted" : outputs.error().what, c.text) << c.node.text();
  }
}

}  // namespace
}  // namespace fcc::test
