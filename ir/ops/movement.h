#pragma once
// Index renaming shared by operators that only move elements: the operand index behind a reshape, and the copy
// loop of their oracles. Not an operator: those are in movement.cc, reshape.cc, slice.cc, layout.cc.
#include "ir/op.h"

namespace fcc {

// The operand index of the element that a reshape (same elements, same row-major order) puts at `index` of its
// result. Runs of axes whose products agree are mapped on their own, so that untouched and merged axes stay linear in
// the index and only a split needs division: [N,S,768] seen as [N,S,12,64] is [n,s,64*h+d].
std::vector<loop::Expr> reshape_index(const Dims& operand, const Dims& result, std::span<const loop::Expr> index);

// One side of a strided copy, in elements.
struct StridedSide {
  int64_t offset = 0;
  std::vector<int64_t> strides;
};
// to[offset + i*strides] = from[offset + i*strides] for every i within extents. Elements move as bytes.
void strided_copy(std::span<const int64_t> extents, Tensor& to, const StridedSide& to_side, const Tensor& from,
                  const StridedSide& from_side);

}  // namespace fcc
