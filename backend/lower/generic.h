#pragma once
// The generic strategies: pointwise, movement and reduction bodies as one vectorised nest over the output.
#include "backend/lower/body.h"
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Several outputs have the same shape and are computed in one pass over it.
loop::Kernel lower_generic(const Graph& body, const Target& target, const InPlace& in_place = {});

}  // namespace fcc::backend
