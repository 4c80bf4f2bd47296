#pragma once
// The pointwise tail of a fused contraction or convolution: everything between the root's result and the kernel's
// output, evaluated on the accumulator registers.
#include "backend/lower/body.h"
#include "backend/lower/collapse.h"

namespace fcc::backend {

// The one contraction or window node of a body, or kNoNode.
NodeId find_root(const Graph& body);

// The body with the root's result as an input called "acc"; its other inputs are the body's inputs in order, all of
// them, so that parameters keep their positions (unused ones stay). The acc input comes last.
Graph epilogue_of(const Graph& body, NodeId root);

// Only what lies between a root's result and a value of the body; inputs as above.
Graph tail_of(const Graph& body, NodeId root, ValueId output);

}  // namespace fcc::backend
