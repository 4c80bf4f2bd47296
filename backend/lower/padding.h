#pragma once
// Copying the part of a feature map that a strip of output needs into scratch, with zeros where the window hangs over
// the border: the loops that follow need no guards.
#include "ir/loop/loop.h"

namespace fcc::backend {

// Rows and columns are those of the padded window; width counts floats (columns times floats a pixel).
struct PaddedStrip {
  loop::BufferId input = -1;   // f32 [images, planes, height, width*pixel]
  int64_t planes = 1, rows = 1, width = 1;
  SymExpr height, row_floats;  // extents of the input: rows, and floats in a row
  loop::Expr image, first_plane, top, left;  // top row and first float of the window, may be negative
  double fill = 0;             // what the border holds
};
// Allocates scratch[planes][rows][width], appends the copy to `block` and returns the buffer.
loop::BufferId copy_padded(loop::Kernel&, loop::Block& block, const PaddedStrip&);

}  // namespace fcc::backend
