#pragma once
// Direct 2-D convolution into the blocked layout (Conv with blocked=1, not depthwise) and its fused epilogue.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Dense or grouped with whole blocks of 16 channels a group; blocked output. Depthwise goes the generic way.
bool is_direct_convolution(const Graph& body, NodeId root);
// image_blocks: blocks of 16 channels from image to image of its first operand; 0: as many as it has.
loop::Kernel lower_convolution(const Graph& body, NodeId root, const Target& target, int64_t image_blocks = 0);

}  // namespace fcc::backend
