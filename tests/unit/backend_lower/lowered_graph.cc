#include "tests/unit/backend_lower/lowered_graph.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/lower/lower.h"
#include "ir/eval.h"
#include "passes/manager.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {

ValueId GraphMaker::input(Dims dims) {
  return graph_.add_input("x" + std::to_string(seed_++), {DType::f32, std::move(dims)});
}

ValueId GraphMaker::constant(std::vector<int64_t> shape, double scale) {
  Tensor t = random(DType::f32, std::move(shape), ++seed_);
  for (float& v : t.as<float>()) v = static_cast<float>(v * scale);
  return graph_.add_constant("c" + std::to_string(seed_), std::move(t));
}

ValueId GraphMaker::conv(ValueId x, int64_t out, int64_t kernel, Attrs attrs, bool bias) {
  const int64_t in = graph_.value(x).type.dims[1].constant() / attrs.integer("group", 1);
  std::vector<ValueId> operands{x, constant({out, in, kernel, kernel}, 0.5 / std::sqrt(static_cast<double>(in * kernel * kernel)))};
  if (bias) operands.push_back(constant({out}, 0.2));
  return builder_("Conv", std::move(operands), std::move(attrs));
}

ValueId GraphMaker::operator()(std::string_view op_name, std::vector<ValueId> in, Attrs attrs) {
  return builder_(op_name, std::move(in), std::move(attrs));
}

Graph GraphMaker::finish(std::vector<ValueId> outputs) {
  FCC_CHECK(builder_.status().has_value(), "{}", builder_.status().error().text());
  for (size_t i = 0; i < outputs.size(); ++i) graph_.add_output("y" + std::to_string(i), outputs[i]);
  return std::move(graph_);
}

Graph optimized(Graph g) {
  PassContext context;
  const Status done = run_passes(g, context, {});
  FCC_CHECK(done.has_value(), "{}", done.error().text());
  return g;
}

std::vector<std::string> kernels_of(const Graph& g) {
  std::vector<std::string> what;
  for (NodeId n : g.order())
    if (g.node(n).op->strategy == Strategy::kernel) what.push_back(g.node(n).attrs.string("what"));
  return what;
}

namespace {

using Sizes = std::map<std::string, int64_t>;

std::vector<int64_t> shape_of(const TensorType& type, const Sizes& sizes) {
  std::vector<int64_t> shape;
  for (const SymExpr& d : type.dims) shape.push_back(d.evaluate([&](std::string_view s) { return sizes.at(std::string(s)); }));
  return shape;
}

// The kernels of an optimized graph in order, on one target.
std::vector<Tensor> run_kernels(const Graph& g, const Target& target, const std::vector<Tensor>& inputs, const Sizes& sizes,
                                const std::function<void(const loop::Kernel&)>& look) {
  std::map<ValueId, Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[g.inputs()[i]] = inputs[i];
  auto tensor = [&](ValueId v) { return g.value(v).role == Role::constant ? g.value(v).data : values.at(v); };
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    const std::vector<int64_t> shape = shape_of(g.value(n.out[0]).type, sizes);
    if (n.op->strategy != Strategy::kernel) {  // a view
      values[n.out[0]] = tensor(n.in[0]).reshaped(shape);
      continue;
    }
    Result<loop::Kernel> kernel = backend::lower_kernel(g, n, target);
    FCC_CHECK(kernel.has_value(), "{}", kernel.error().text());
    if (look) look(*kernel);
    std::vector<Tensor> args;
    for (ValueId v : n.in) args.push_back(tensor(v));
    args.emplace_back(g.value(n.out[0]).type.dtype, shape);
    const RunResult result = run(*kernel, target, args, sizes);
    EXPECT_EQ(result.code, 0) << kernel->name;
    values[n.out[0]] = args.back();
  }
  std::vector<Tensor> outputs;
  for (ValueId v : g.outputs) outputs.push_back(tensor(v));
  return outputs;
}

}  // namespace

void expect_lowered_right(const Graph& graph, const std::map<std::string, int64_t>& sizes, const std::function<void(const loop::Kernel&)>& look) {
  std::vector<Tensor> inputs;
  for (ValueId v : graph.inputs()) inputs.push_back(random(DType::f32, shape_of(graph.value(v).type, sizes), static_cast<uint32_t>(v) + 7));
  Result<EvalResult> expected = evaluate(graph, inputs);
  ASSERT_TRUE(expected.has_value()) << expected.error().text();
  const Graph g = optimized(graph);
  for (const Target& target : host_targets()) {
    const std::vector<Tensor> actual = run_kernels(g, target, inputs, sizes, look);
    for (size_t k = 0; k < actual.size(); ++k) {
      const Tensor& want = expected->outputs[k];
      ASSERT_EQ(actual[k].elements(), want.elements());
      double largest = 0, error = 0;
      for (int64_t i = 0; i < want.elements(); ++i) {
        largest = std::max(largest, std::fabs(want.get_double(i)));
        const double e = std::fabs(want.get_double(i) - actual[k].get_double(i));
        error = std::isnan(e) ? INFINITY : std::max(error, e);
      }
      ASSERT_GT(largest, 1e-3) << "the output says nothing";
      ASSERT_LT(error, 2e-5 * largest) << target.text() << ", output " << k;
    }
  }
}

}  // namespace fcc::test
