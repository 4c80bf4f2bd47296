#pragma once
// From a fused kernel (a graph node with a body) to a loop nest: the strategies. Each is a function of (body, target)
// that writes its choice into Kernel::note.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// The kernel's parameters are the node's operands in order, then its output.
Result<loop::Kernel> lower_kernel(const Graph& graph, const Node& node, const Target& target);

}  // namespace fcc::backend
