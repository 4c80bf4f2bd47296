#pragma once
// Packed layouts of activations and weights: who may index them. A layout is no flag on a type; a packed tensor is
// an ordinary tensor made by one of the nodes in layout.cc, and the fast kernels read it by the rules given here.
//
//   PackC16         x[N,C,...]       -> [N, ceil(C/16), ..., 16]          lanes past C are 0 here; after other blocked
//                                                                         operators they are undefined, even NaN
//   UnpackC16       back, given `channels`
//   PackGemmB       B[...,K,N]       -> [..., ceil(N/nr), K, nr]          trans=1: B is [...,N,K]; lanes past N are 0
//   PackConvWeight  w[K,C/G,k...]    -> [blocks, C/G, k..., nr]           lanes past the channels are 0
//   PackVector      v[C]             -> [n]                               zeros past C
//
// PackConvWeight{tail} of one group stores the last panel `tail` lanes wide, all others nr: 7 blocks of 16 channels are
// panels of 32, 32 and 48, and 24 channels are 24 lanes, not 32. The panels follow each other, [C, k..., width] each; the
// result is [1, floats/(k...), k..., 1], whose extents of the window are where a convolution looks for them.
//
// Blocks of PackConvWeight: with one group, for depthwise weights (K == G, one input channel a group), and when a block
// holds two or more whole groups, channel k is lane k%nr of block k/nr. Otherwise every group starts a block of its own: channel j of group g is lane j%nr of block
// g*ceil((K/G)/nr) + j/nr.
#include "ir/op.h"

namespace fcc {

struct ConvPacking {
  int64_t out_channels = 1, groups = 1, nr = 16;
  bool depthwise = false;
  int64_t tail = 0;  // lanes of the last panel, 0 when it has nr

  ConvPacking(int64_t out_channels, int64_t in_per_group, int64_t groups, int64_t nr);
  // Blocks are cut without regard to groups, none of which lies in two blocks in part.
  bool contiguous() const { return groups == 1 || depthwise || (out_channels > 0 && 2 * out_per_group() <= nr && nr % out_per_group() == 0); }
  int64_t out_per_group() const { return out_channels / groups; }
  int64_t blocks_per_group() const { return (out_per_group() + nr - 1) / nr; }
  int64_t blocks() const { return tail ? (lanes() - tail) / nr + 1 : contiguous() ? (out_channels + nr - 1) / nr : groups * blocks_per_group(); }
  // With a tail: lanes of all panels, whole halves of a block; whether a last panel of `tail` lanes makes so many; how
  // many lanes panel b has; and where weight i of the `row` of channel k lies.
  int64_t lanes() const { return (out_channels + 7) / 8 * 8; }
  bool tail_fits() const { return groups == 1 && tail > 0 && tail % 8 == 0 && tail <= lanes() && (lanes() - tail) % nr == 0; }
  int64_t width(int64_t b) const { return tail && b == blocks() - 1 ? tail : nr; }
  int64_t position(int64_t k, int64_t row, int64_t i) const { return block(k) * row * nr + i * width(block(k)) + lane(k); }
  int64_t block(int64_t k) const;
  int64_t lane(int64_t k) const;
  loop::Expr block(const loop::Expr& k) const;
  loop::Expr lane(const loop::Expr& k) const;
};

}  // namespace fcc
