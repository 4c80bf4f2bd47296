#pragma once
// The reference interpreter: runs a graph operator by operator with the plain eval of each, in any stage of
// compilation (fused kernels run their body). Slow, and the oracle of everything fast.
#include <functional>
#include <map>
#include <string>

#include "ir/graph.h"

namespace fcc {

struct EvalResult {
  std::vector<Tensor> outputs;                     // parallel to graph.outputs
  std::vector<std::pair<ValueId, Tensor>> states;  // next value of every updated state
};

// inputs: parallel to graph.inputs(). on_value, when given, sees every computed value in order and may change it.
Result<EvalResult> evaluate(const Graph&, std::span<const Tensor> inputs, std::span<const Tensor> states = {},
                            const std::function<void(ValueId, Tensor&)>& on_value = {});

// One node on given operands (null when absent): constant folding.
Result<std::vector<Tensor>> evaluate_node(const Graph&, NodeId, std::span<const Tensor* const> in);

}  // namespace fcc
