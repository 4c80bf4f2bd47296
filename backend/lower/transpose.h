#pragma once
// Movements that exchange the last two axes: Transpose of matrices, and the packing of a transposed matrix product's
// operand. Blocks of 16 x 16 go through a small array, so that every line of memory is read once and written once.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// A kernel of one such node in f32, whose two axes are multiples of 16.
bool is_matrix_transpose(const Graph& body);
loop::Kernel lower_matrix_transpose(const Graph& body, const Target&);

}  // namespace fcc::backend
