#pragma once
// Runs a graph as the compiler would: passes, lowering for each instruction set of the host, machine code between pages
// that nobody may read; and compares with the interpreter. Knows nothing of schedules and memory plans.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/op.h"

namespace fcc::test {

// A graph under construction, whose inputs and constants hold deterministic numbers.
class GraphMaker {
 public:
  GraphMaker() : builder_(graph_, {}) {}
  ValueId input(Dims dims);
  ValueId constant(std::vector<int64_t> shape, double scale);
  // Conv with weights of the right scale, and a bias.
  ValueId conv(ValueId x, int64_t out, int64_t kernel, Attrs attrs = {}, bool bias = true);
  ValueId operator()(std::string_view op, std::vector<ValueId> in, Attrs attrs = {});
  GraphBuilder& builder() { return builder_; }
  Graph finish(std::vector<ValueId> outputs);

 private:
  Graph graph_;
  GraphBuilder builder_;
  uint32_t seed_ = 1;
};

// The graph after all passes.
Graph optimized(Graph);
// Operators inside of the kernels of an optimized graph, a kernel an entry: "Conv+Add+Relu".
std::vector<std::string> kernels_of(const Graph& optimized);
// Runs the graph at these sizes of its open dimensions on every target and fails the test where it differs. look, if
// given, sees every lowered kernel.
void expect_lowered_right(const Graph&, const std::map<std::string, int64_t>& sizes = {}, const std::function<void(const loop::Kernel&)>& look = nullptr);

}  // namespace fcc::test
