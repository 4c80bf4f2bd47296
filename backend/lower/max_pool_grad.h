#pragma once
// The gradient of a maximum pooling over blocked channels, with a pointwise tail (the mask of a Relu before the
// pooling). Goes over windows, not over elements: each result finds its first maximum once and hands its gradient to
// it.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_max_pool_grad(const Graph& body, NodeId root);
loop::Kernel lower_max_pool_grad(const Graph& body, NodeId root, const Target&);

}  // namespace fcc::backend
