#pragma once
// How far a graph carries its own roundings: what `fcc verify` allows beyond the plain bound of compare.h.
//
// The plain bound takes the largest magnitude of a result as the measure of its terms. A graph that subtracts large,
// nearly equal values breaks that: x*1000 - 999.9 has the errors of thousands in a result of one. How much, only the
// graph knows, so it is measured: the interpreter runs again with every computed value shaken by as much as rounding
// may change it at its own node, and the results move. No part of a pass or of the compiled code is involved.
#include <span>
#include <vector>

#include "tools/cost.h"

namespace fcc {

// For each output the largest change seen, over a few seeded runs. `outputs` are the results without shaking.
Result<std::vector<double>> output_sensitivity(const Graph&, std::span<const Tensor> inputs, const Sizes&,
                                               std::span<const Tensor> outputs);

}  // namespace fcc
