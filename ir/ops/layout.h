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
// Blocks of PackConvWeight: with one group, for depthwise weights (K == G, one input channel a group), and when a block
// holds two or more whole groups, channel k is lane k%nr of block k/nr. Otherwise every group starts a block of its own: channel j of group g is lane j%nr of block
// g*ceil((K/G)/nr) + j/nr.
#include "ir/op.h"

namespace fcc {

struct ConvPacking {
  int64_t out_channels = 1, groups = 1, nr = 16;
  bool depthwise = false;

  ConvPacking(int64_t out_channels, int64_t in_per_group, int64_t groups, int64_t nr);
  // Blocks are cut without regard to groups, none of which lies in two blocks in part.
  bool contiguous() const { return groups == 1 || depthwise || (out_channels > 0 && 2 * out_per_group() <= nr && nr % out_per_group() == 0); }
  int64_t out_per_group() const { return out_channels / groups; }
  int64_t blocks_per_group() const { return (out_per_group() + nr - 1) / nr; }
  int64_t blocks() const { return contiguous() ? (out_channels + nr - 1) / nr : groups * blocks_per_group(); }
  int64_t block(int64_t k) const;
  int64_t lane(int64_t k) const;
  loop::Expr block(const loop::Expr& k) const;
  loop::Expr lane(const loop::Expr& k) const;
};

}  // namespace fcc
