#pragma once
// From a fused kernel (a graph node with a body) to a loop nest: the strategies. Each is a function of (body, target)
// that writes its choice into Kernel::note.
#include "backend/lower/body.h"
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// The kernel's parameters are the node's operands in order, then the outputs that have memory of their own. image_blocks, a
// number a parameter or nothing: not 0 for a blocked one that is a part of a buffer in which an image takes so many blocks
// of 16 channels.
Result<loop::Kernel> lower_kernel(const Graph& graph, const Node& node, const Target& target, std::span<const int64_t> image_blocks = {},
                                  const InPlace& in_place = {});
// Can an output of such a kernel be written over that input, of the same shape? Each element is read where it is written.
bool may_update_in_place(const Graph& body, size_t input);

}  // namespace fcc::backend
