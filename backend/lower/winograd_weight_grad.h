#pragma once
// ConvWeightGrad{m=4}: the gradient of a 3x3 weight by Winograd's transform. The transpose of the convolution's:
//   dw = G^T [ sum over tiles of (B^T d B) * (A dy A^T) ] G
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_winograd_weight_grad(const Graph& body);
loop::Kernel lower_winograd_weight_grad(const Graph& body, const Target&);

}  // namespace fcc::backend
