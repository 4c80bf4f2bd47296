#pragma once
// Winograd's minimal filtering F(m x m, 3 x 3) for convolutions of kernel 3x3, stride 1, dilation 1:
//
//   y = A^T [ (G w G^T) * (B^T d B) ] A        d: (m+2)x(m+2) inputs, w: 3x3 weights, y: m x m outputs, * elementwise
//
// The matrices follow from m+1 evaluation points and infinity (Toom-Cook). Points 0, 1, -1, 1/2, -2 for m = 4 keep the
// error at a third of what 0, +-1, +-2 give (docs/winograd.md); 0, 1, -1 for m = 2. The operators are here
// (PackWinogradWeight, WinogradConv) with the numbers behind them; how the transforms are factored into few
// instructions is the affair of backend/lower/winograd.cc, whether to use them that of ir/winograd_plan.h.
#include <array>
#include <cstdint>

#include "ir/ops/layout.h"

namespace fcc {

struct WinogradMatrices {
  static constexpr int64_t kMaxAlpha = 6;
  int64_t m = 0, alpha = 0;  // outputs and inputs of a tile's edge; alpha = m + 2
  std::array<std::array<double, kMaxAlpha>, kMaxAlpha> bt{}, at{};  // [alpha][alpha], [m][alpha]
  std::array<std::array<double, 3>, kMaxAlpha> g{};                 // [alpha][3]
  std::array<std::array<double, kMaxAlpha>, 3> recover{};           // [3][alpha]: recover * g = 1, weights from U
};
// m is 2 or 4.
const WinogradMatrices& winograd_matrices(int64_t m);

// Operands of WinogradConv: x [N, ceil(C/16), H, W, 16] and U [alpha*alpha, blocks, C/G, nr] from
// PackWinogradWeight{m, nr, group}(w[K, C/G, 3, 3]), blocks as PackConvWeight's (layout.h). Attributes as those of a
// blocked Conv, and m. The result is [N, ceil(K/16), OH, OW, 16].
ConvPacking winograd_packing(const Attrs&, int64_t in_per_group);

}  // namespace fcc
