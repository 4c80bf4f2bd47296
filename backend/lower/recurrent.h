#pragma once
// RecurrentScan: one task is a block of sequences of one direction; inside it, the loop over steps. A step is one small
// matrix product of the last h with packed weights, which stay in L2, and one pass that makes all gates.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Is the body this one operator, in f32 or f64?
bool is_recurrent(const Graph& body);
loop::Kernel lower_recurrent(const Graph& body, const Target& target);

// RecurrentGrad: the same tasks; an LSTM goes forward through its cell states once more, elementwise, then all go from
// the last step to the first, with one product by the weights as they stand (not transposed) a step.
bool is_recurrent_grad(const Graph& body);
loop::Kernel lower_recurrent_grad(const Graph& body, const Target& target);

}  // namespace fcc::backend
