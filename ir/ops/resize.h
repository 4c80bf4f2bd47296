#pragma once
// How a front end prepares Resize, whose extents may depend on floats that a size expression cannot hold.
#include "ir/op.h"

namespace fcc {

// Brings ONNX's operands (x, roi, scales, sizes) to the form that Resize takes here: empty operands become absent,
// constant scales move to the attribute `scales`, and scales known only while running (or a cropping roi) get `sizes`
// computed beside them by other operators; sizes then give the extents and scales the coordinates.
void canonicalize_resize(GraphBuilder&, std::vector<ValueId>& in, Attrs& attrs);

}  // namespace fcc
