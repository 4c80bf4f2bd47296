#pragma once
// FusedAttention: one task is a block of query rows of one head. Keys and values of that head are packed once into the
// thread's scratch, then every register tile of rows goes through scores, softmax and the product with the values
// without leaving L1; the result goes straight to where the next projection reads it.
#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

// Is the body this one operator, in f32?
bool is_attention(const Graph& body);
loop::Kernel lower_attention(const Graph& body, const Target& target);

}  // namespace fcc::backend
