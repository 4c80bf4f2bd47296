#pragma once
// Matrix products with a packed right side (MatMulPacked) and their fused epilogue.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

loop::Kernel lower_matmul_packed(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
