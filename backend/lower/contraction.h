#pragma once
// Matrix products with a packed right side (MatMulPacked) and their fused epilogue.
#include "backend/lower/body.h"
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

loop::Kernel lower_matmul_packed(const Graph& body, NodeId root, const Target& target, const InPlace& in_place = {});

}  // namespace fcc::backend
