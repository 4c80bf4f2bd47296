#pragma once
// Depthwise 2-D convolution in the blocked layout: sixteen channels are one vector, several neighbouring pixels are
// computed together so that inputs and weights stay in registers.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_depthwise(const Graph& body, NodeId root);
loop::Kernel lower_depthwise(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
