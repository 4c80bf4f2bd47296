#pragma once
// Concat as plain copies: each operand is a run of memory in every outer slice of the result.
#include "ir/graph.h"
#include "ir/loop/loop.h"

namespace fcc::backend {

bool is_concat(const Graph& body);
loop::Kernel lower_concat(const Graph& body);

}  // namespace fcc::backend
