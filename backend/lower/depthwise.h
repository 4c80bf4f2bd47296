#pragma once
// Windows that keep channels apart, in the blocked layout: depthwise 2-D convolution, maximum and average pooling.
// Sixteen channels are one vector, several neighbouring pixels are computed together so that inputs and weights stay
// in registers.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_depthwise(const Graph& body, NodeId root);
// Maximum or average (of always as many elements) over a small window.
bool is_blocked_pooling(const Graph& body, NodeId root);
loop::Kernel lower_depthwise(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
