#pragma once
// The weight of the convolution that computes the gradient of another one's input: w with its channels exchanged and
// its taps mirrored, as the rule of Conv (ir/ops/conv_grad.cc) spells it. Packing reads w itself, so that no step
// copies it.
#include "ir/graph.h"

namespace fcc {

// w[K,C,kh,kw] when `v` is Transpose{1,0,2,3}(Slice(w)) with all taps of each axis longer than 1 in reverse; else
// kNoValue.
ValueId mirrored_weight(const Graph&, ValueId v);

}  // namespace fcc
