#pragma once
// A 1x1 convolution and the depthwise one that reads it as one kernel (the first half of a MobileNet block): a task
// computes some lines of a panel of channels into scratch, with the border's zeros around them, and takes the window
// over them while they are near. The wide tensor between the two never reaches memory.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

bool is_expansion(const Graph& body);
// image_blocks: as in convolution.h, of the 1x1 convolution's operand.
loop::Kernel lower_expansion(const Graph& body, const Target& target, int64_t image_blocks = 0);

}  // namespace fcc::backend
