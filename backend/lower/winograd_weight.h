#pragma once
// The transform of a trained 3x3 weight for WinogradConv, run in every training step. Constant weights are transformed
// while compiling, by the operator's eval.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// A kernel of one PackWinogradWeight in f32 without groups.
bool is_winograd_weight(const Graph& body);
loop::Kernel lower_winograd_weight(const Graph& body, const Target&);

}  // namespace fcc::backend
