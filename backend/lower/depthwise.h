#pragma once
// Windows that keep channels apart, in the blocked layout: depthwise 2-D convolution, maximum and average pooling.
// Sixteen channels are one vector, several neighbouring pixels are computed together so that inputs and weights stay
// in registers.
#include <functional>

#include "backend/lower/body.h"
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Adds the taps of a window to the sums of `count` neighbouring pixels: those of one row of the window for all pixels,
// then the next row, so that a row of inputs and one of weights are all that has to stay in registers beside the sums.
// row_of_taps(i, p, total): the total of pixel p (null: nothing yet) with row i added.
using RowOfTaps = std::function<loop::Expr(int64_t i, int64_t p, loop::Expr total)>;
std::vector<loop::Expr> sums_of_taps(loop::Kernel&, loop::Block&, Interner&, int64_t count, int64_t rows, const RowOfTaps&);

bool is_depthwise(const Graph& body, NodeId root);
// Maximum or average (of always as many elements) over a small window.
bool is_blocked_pooling(const Graph& body, NodeId root);
loop::Kernel lower_depthwise(const Graph& body, NodeId root, const Target& target);

}  // namespace fcc::backend
