#pragma once
// ConvWeightGrad on blocked operands: the gradient of a convolution's weight as a contraction over pixels. It is a root
// of its own, never fused: its result is small, and written once.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_conv_weight_grad(const Graph& body);
loop::Kernel lower_conv_weight_grad(const Graph& body, const Target& target);

}  // namespace fcc::backend
