// Backward graphs on the whole road: the passes must not change what the interpreter computes, and the compiled library
// must agree with it. Weights are inputs, as a training step has them: nothing about them is known while compiling.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "ir/eval.h"
#include "ir/op.h"
#include "passes/graph/grad.h"
#include "passes/manager.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"
#include "tools/files.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;

// A network under construction; every parameter is an input that is differentiated.
class Network {
 public:
  Network() : b_(g_, {}) {}

  ValueId input(const std::string& name, Dims dims, Ints shape, double low = -1, double high = 1) {
    Tensor t(DType::f32, std::move(shape));
    for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, std::uniform_real_distribution<>(low, high)(random_));
    inputs_.push_back(std::move(t));
    return g_.add_input(name, {DType::f32, std::move(dims)});
  }
  ValueId parameter(Ints shape, double low = -0.5, double high = 0.5) {
    const ValueId v =
        input("w" + std::to_string(parameters_.size()), Dims(shape.begin(), shape.end()), shape, low, high);
    parameters_.push_back(v);
    return v;
  }
  ValueId operator()(std::string_view op, std::vector<ValueId> in, Attrs attrs = {}) {
    return b_(op, std::move(in), std::move(attrs));
  }
  std::vector<ValueId> many(std::string_view op, std::vector<ValueId> in, Attrs attrs, int32_t results) {
    return b_.many(op, std::move(in), std::move(attrs), results);
  }
  ValueId ints(Ints v) { return b_.ints(std::move(v)); }
  void also_wrt(ValueId v) { parameters_.push_back(v); }

  // The gradients of sum(y * weights of another input) become the outputs.
  void differentiate(ValueId y, Ints shape) {
    ASSERT_TRUE(b_.status().has_value()) << b_.status().error().text();
    const Dims dims = g_.value(y).type.dims;
    GradRequest request{.seeds = {{y, input("dy", dims, std::move(shape))}}, .wrt = parameters_};
    auto gradients = add_gradients(g_, request);
    ASSERT_TRUE(gradients.has_value()) << gradients.error().text();
    g_.add_output("y", y);
    for (size_t i = 0; i < gradients->size(); ++i) g_.add_output("g" + std::to_string(i), (*gradients)[i]);
  }

  // kernels: how many of them should hold an operator.
  void check(const std::map<std::string, int>& kernels = {}) const {
    const auto expected = evaluate(g_, inputs_);
    ASSERT_TRUE(expected.has_value()) << expected.error().text();
    Graph passed = g_;
    PassContext context{.target = *Target::host()};
    const Status status = run_passes(passed, context, {.verify = true});
    ASSERT_TRUE(status.has_value()) << status.error().text();
    const auto after = evaluate(passed, inputs_);
    ASSERT_TRUE(after.has_value()) << after.error().text();
    expect_close(after->outputs, expected->outputs, "passes");
    for (const auto& [what, count] : kernels)
      EXPECT_EQ(std::ranges::count_if(passed.order(),
                                      [&](NodeId id) {
                                        return passed.node(id).attrs.string("what", "").find(what) != std::string::npos;
                                      }),
                count)
          << what;

    const TemporaryFolder folder;
    const std::string library = folder.path() + "/net.so";
    CompileOptions options;
    options.jobs = 2;
    const auto report = compile_graph(g_, library, options);
    ASSERT_TRUE(report.has_value()) << report.error().text();
    std::vector<Tensor> first;
    for (const int threads : {1, 2, 3}) {
      auto model = CompiledModel::open(library, {.threads = threads});
      ASSERT_TRUE(model.has_value()) << model.error().text();
      const auto outputs = model->run(inputs_);
      ASSERT_TRUE(outputs.has_value()) << outputs.error().text();
      expect_close(*outputs, expected->outputs, "compiled");
      if (first.empty()) first = *outputs;
      for (size_t k = 0; k < first.size(); ++k)
        EXPECT_EQ(std::memcmp(first[k].raw(), (*outputs)[k].raw(), static_cast<size_t>(first[k].bytes())), 0)
            << "output " << k << " has other bits with " << threads << " threads";
    }
  }

 private:
  static void expect_close(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected,
                           const std::string& what) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t k = 0; k < actual.size(); ++k) {
      ASSERT_EQ(actual[k].shape(), expected[k].shape()) << what << ", output " << k;
      double largest = 1e-9, worst = 0;
      for (int64_t i = 0; i < actual[k].elements(); ++i) {
        largest = std::max(largest, std::fabs(expected[k].get_double(i)));
        worst = std::max(worst, std::fabs(actual[k].get_double(i) - expected[k].get_double(i)));
      }
      EXPECT_GT(largest, 1e-6) << what << ", output " << k << ": zeros would pass";
      EXPECT_LE(worst / largest, 2e-5) << what << ", output " << k << " " << actual[k].type().text();
    }
  }

  Graph g_;
  GraphBuilder b_;
  std::vector<Tensor> inputs_;
  std::vector<ValueId> parameters_;
  std::mt19937 random_{7};
};

const SymExpr kN = SymExpr::symbol("N");

// Blocked layouts with channels that do not fill blocks, borders, a strided convolution and an open batch.
TEST(CompiledGradients, OfAConvolutionalNetwork) {
  Network n;
  const ValueId x = n.input("x", {kN, 3, 12, 10}, {3, 3, 12, 10});
  n.also_wrt(x);
  ValueId y = n("Conv", {x, n.parameter({20, 3, 3, 3}), n.parameter({20})}, {{"pads", Ints{1, 1, 1, 1}}});
  y = n("MaxPool", {n("Relu", {y})}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  y = n("Relu", {n("Conv", {y, n.parameter({36, 20, 3, 3}), n.parameter({36})},
                   {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}})});
  y = n("Relu", {n("Conv", {y, n.parameter({16, 36, 1, 1})})});
  y = n("AveragePool", {y}, {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 0, 0, 1}}});
  y = n("Gemm", {n("Flatten", {n("GlobalAveragePool", {y})}), n.parameter({5, 16}), n.parameter({5})},
        {{"transB", int64_t{1}}});
  n.differentiate(y, {3, 5});
  n.check();
}

// Kernels of many shapes: long lines, dilation, seven taps, groups; small images of many in a chunk.
TEST(CompiledGradients, OfConvolutionsOfManyShapes) {
  Network n;
  const ValueId x = n.input("x", {2, 1, 24, 37}, {2, 1, 24, 37});
  ValueId y = n("Conv", {x, n.parameter({32, 1, 7, 7})}, {{"pads", Ints{3, 3, 3, 3}}, {"strides", Ints{2, 2}}});
  y = n("Conv", {y, n.parameter({16, 32, 5, 5})}, {{"pads", Ints{2, 4, 2, 4}}, {"dilations", Ints{1, 2}}});
  y = n("Conv", {y, n.parameter({48, 16, 2, 7})}, {{"pads", Ints{0, 3, 1, 3}}, {"strides", Ints{1, 2}}});
  y = n("Conv", {y, n.parameter({48, 1, 3, 3})}, {{"group", int64_t{48}}, {"pads", Ints{1, 1, 1, 1}}});
  y = n("Conv", {y, n.parameter({32, 24, 3, 3})}, {{"group", int64_t{2}}, {"strides", Ints{3, 3}}});
  y = n("Conv", {y, n.parameter({8, 32, 3, 3})}, {{"pads", Ints{1, 1, 1, 1}}});
  n.differentiate(y, {2, 8, 4, 3});
  n.check();
}

TEST(CompiledGradients, OfAResidualBlockWithNormalizations) {
  Network n;
  ValueId x = n.input("x", {2, 16, 6, 6}, {2, 16, 6, 6});
  ValueId y = n("Conv", {x, n.parameter({16, 16, 3, 3})}, {{"pads", Ints{1, 1, 1, 1}}});
  y = n("InstanceNormalization", {y, n.parameter({16}, 0.5, 1.5), n.parameter({16})});
  y = n("Add", {n("Relu", {y}), x});
  y = n("GroupNormalization", {y, n.parameter({16}, 0.5, 1.5), n.parameter({16})}, {{"num_groups", int64_t{4}}});
  y = n("Pad", {y, n.ints({0, 0, 1, 2, 0, 0, 2, 1})}, {{"mode", std::string("reflect")}});
  y = n("Resize", {y}, {{"mode", std::string("linear")}, {"scales", std::vector<double>{1, 1, 2, 2}}});
  y = n("LpPool", {y}, {{"kernel_shape", Ints{2, 3}}, {"strides", Ints{2, 3}}});
  n.differentiate(y, {2, 16, 9, 6});
  n.check();
}

TEST(CompiledGradients, OfAnAttentionBlock) {
  Network n;
  const ValueId table = n.parameter({11, 8});
  ValueId x = n("Gather", {table, n.ints({3, 5, 3, 10, 0, 3})});  // [6, 8]
  x = n("LayerNormalization", {x, n.parameter({8}, 0.5, 1.5), n.parameter({8})});
  const auto heads = [&](ValueId w) {
    return n("Transpose", {n("Reshape", {n("MatMul", {x, w}), n.ints({6, 2, 4})})}, {{"perm", Ints{1, 0, 2}}});
  };
  const ValueId q = heads(n.parameter({8, 8})), k = heads(n.parameter({8, 8})), v = heads(n.parameter({8, 8}));
  ValueId a = n("Softmax", {n("MatMul", {q, n("Transpose", {k}, {{"perm", Ints{0, 2, 1}}})})});
  a = n("Reshape", {n("Transpose", {n("MatMul", {a, v})}, {{"perm", Ints{1, 0, 2}}}), n.ints({6, 8})});
  ValueId y = n("Add", {x, a});
  y = n("MatMul", {n("Gelu", {n("MatMul", {y, n.parameter({8, 12})})}), n.parameter({12, 3})});
  y = n("LogSoftmax", {y});
  n.differentiate(y, {6, 3});
  n.check();
}

TEST(CompiledGradients, OfMovementsAndIndices) {
  Network n;
  const ValueId x = n.parameter({4, 6});
  const ValueId parts = n("Slice", {x, n.ints({5, 0}), n.ints({-100, 4}), n.ints({1, 0}), n.ints({-2, 1})});  // [4, 3]
  const ValueId tiled = n("Tile", {n("ReduceMax", {x, n.ints({1})}), n.ints({1, 3})});                        // [4, 3]
  const ValueId scattered = n("ScatterND", {parts, n.ints({1}), n.parameter({3})}, {{"reduction", std::string("add")}});
  ValueId y = n("Concat", {scattered, tiled, n("CumSum", {x, n.ints({1})})}, {{"axis", int64_t{1}}});  // [4, 12]
  y = n("Einsum", {y, n.parameter({12, 2})}, {{"equation", std::string("ij,jk->ki")}});
  n.differentiate(y, {2, 4});
  n.check();
}

// Two layers over open steps and batch: a bidirectional LSTM with states and lengths, whose every step feeds a GRU of
// which only the last state is used. Both scans are computed once, although gradients go through a second expansion.
TEST(CompiledGradients, OfRecurrentLayers) {
  Network n;
  const SymExpr steps = SymExpr::symbol("S");
  const ValueId x = n.input("x", {steps, kN, 5}, {7, 11, 5});
  n.also_wrt(x);
  const ValueId h0 = n.input("h0", {2, kN, 18}, {2, 11, 18}), c0 = n.input("c0", {2, kN, 18}, {2, 11, 18});
  n.also_wrt(h0), n.also_wrt(c0);
  const ValueId y = n.many("LSTM",
                           {x, n.parameter({2, 72, 5}), n.parameter({2, 72, 18}), n.parameter({2, 144}), kNoValue, h0, c0,
                            n.parameter({2, 54})},
                           {{"direction", std::string("bidirectional")}}, 3)[0];  // [S,2,N,18]
  const ValueId pairs = n("Reshape", {n("Transpose", {y}, {{"perm", Ints{0, 2, 1, 3}}}), n.ints({0, 0, 36})});
  const ValueId last = n.many("GRU", {pairs, n.parameter({1, 30, 36}), n.parameter({1, 30, 10}), n.parameter({1, 60})},
                              {{"linear_before_reset", int64_t{1}}}, 2)[1];  // [1,N,10]
  n.differentiate(n("MatMul", {n("Squeeze", {last, n.ints({0})}), n.parameter({10, 3})}), {11, 3});
  n.check({{"RecurrentScan", 2}, {"RecurrentGrad", 2}});
}

// The reset in front of the product, batches first, in both directions; and a plain RNN with all its results used.
TEST(CompiledGradients, OfResetAndPlainCells) {
  Network n;
  const ValueId x = n.input("x", {kN, 6, 4}, {3, 6, 4});
  const ValueId y = n.many("GRU", {x, n.parameter({2, 15, 4}), n.parameter({2, 15, 5}), n.parameter({2, 30})},
                           {{"direction", std::string("bidirectional")}, {"layout", int64_t{1}}}, 1)[0];  // [N,6,2,5]
  const ValueId flat = n("Transpose", {n("Reshape", {y, n.ints({0, 0, 10})})}, {{"perm", Ints{1, 0, 2}}});
  const std::vector<ValueId> r = n.many("RNN", {flat, n.parameter({1, 8, 10}), n.parameter({1, 8, 8})},
                                        {{"direction", std::string("reverse")}}, 2);
  const ValueId steps = n("Squeeze", {r[0], n.ints({1})});  // [6,N,8]
  n.differentiate(n("Add", {steps, r[1]}), {6, 3, 8});
  n.check({{"RecurrentScan", 2}, {"RecurrentGrad", 2}});
}

}  // namespace
}  // namespace fcc::test
