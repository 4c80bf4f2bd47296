#pragma once
// The generic strategies: pointwise, movement and reduction bodies as one vectorised nest over the output.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

loop::Kernel lower_generic(const Graph& body, const Target& target);

}  // namespace fcc::backend
