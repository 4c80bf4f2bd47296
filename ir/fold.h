#pragma once
// Evaluating what is already known: used while importing, so that shape arithmetic in tensors of any rank (pads built
// by Reshape, Slice and Transpose) is a constant before the next operator asks for it.
#include <optional>

#include "ir/graph.h"

namespace fcc {

// The contents of a value as a tensor when they are numbers: a constant's, or those of known shape arithmetic.
std::optional<Tensor> known_tensor(const Graph&, ValueId);
// The node that makes `results`: when all of its operands are known and its results are small (4,096 elements), it is
// evaluated, erased, and `results` become constants.
Status fold_if_known(Graph&, std::vector<ValueId>& results);

}  // namespace fcc
