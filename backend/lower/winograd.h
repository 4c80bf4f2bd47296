#pragma once
// 3x3 convolutions by Winograd's transform (WinogradConv) and their fused epilogue: input transform, one product a
// position, inverse transform, epilogue and a 2x2 pool that may end it in one kernel, whose tasks keep what they can in L2 (ir/winograd_plan.h).
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// The transform of a weight alone, in double: what a compact library runs once when it is loaded.
bool is_weight_transform(const Graph& body);
loop::Kernel lower_weight_transform(const Graph& body);
bool is_winograd(const Graph& body, NodeId root);
loop::Kernel lower_winograd(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
