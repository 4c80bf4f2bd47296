#pragma once
// Direct 2-D convolution into the blocked layout (Conv with blocked=1, not depthwise) and its fused epilogue.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Dense or grouped with whole blocks of 16 channels a group; blocked output. Depthwise goes the generic way.
bool is_direct_convolution(const Graph& body, NodeId root);
loop::Kernel lower_convolution(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
