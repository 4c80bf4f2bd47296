#pragma once
// Whether a 3x3 convolution runs by Winograd's transform and how its work is cut: a cost model that knows the shape and
// the target description, nothing measured on the day. It lives in ir because a pass chooses by it (weights are packed
// for one form) and the lowering cuts by it. Costs are in slots: one vector multiply-add, of which every supported core
// starts two a cycle when nothing else binds.
#include <cstdint>
#include <string>

#include "ir/target.h"

namespace fcc {

struct WinogradShape {
  int64_t batch = 1, oh = 1, ow = 1;                     // guesses where an extent is open
  bool open = false;                                     // some of them are guesses
  int64_t channels = 16, out_channels = 16, groups = 1;  // of one group; multiples of 16, out_channels rounded up
  int64_t nr = 32;                                       // output channels of a packed panel
  bool trained = false;                                  // weights change: they are transformed in every run
};

// How a kernel cuts its work. A task: `tiles` tiles of the flattened (image, row, column) of output tiles times one of
// `splits` parts of the panels of a group. Inside: transform all input, then for every pass of `panels` panels the
// alpha*alpha products and the inverse transform.
struct WinogradPlan {
  int64_t m = 4;      // outputs of a tile's edge
  int64_t rows = 1;   // tiles of a register tile
  int64_t tiles = 1;  // a multiple of rows
  int64_t splits = 1, panels = 1;
  bool fetches = false;  // panels are fetched ahead: the weights are too large to stay in L2 from run to run
  bool streams = false;  // the weights of a task do not stay in L2
  double slots = 0;      // of the whole layer on all threads of the target
  int64_t v_bytes = 0, m_bytes = 0, u_bytes = 0;  // transformed input and product of a task, weights of a group
  std::string text() const;
};

WinogradPlan plan_winograd(const WinogradShape&, int64_t m, const Target&);
// The same unit for the direct method.
double direct_slots(const WinogradShape&, const Target&);

// The gradient of the weight. A task owns a part of the input and of the output channels: for every group of `tiles`
// tiles it transforms both operands, and adds alpha*alpha products over the tiles to sums that stay in its scratch.
struct WinogradGradPlan {
  static constexpr int64_t m = 4;
  int64_t channels = 16, out_channels = 16;  // of a part; divide the whole, multiples of 16
  int64_t tiles = 16;
  double slots = 0;
  std::string text() const;
};
WinogradGradPlan plan_winograd_grad(const WinogradShape&, const Target&);
// Is that cheaper than the direct sum over pixels, by a margin?
bool choose_winograd_grad(const WinogradShape&, const Target&);

struct WinogradChoice {
  int64_t m = 0;       // 0: direct
  std::string reason;  // the costs compared
};
WinogradChoice choose_winograd(const WinogradShape&, const Target&);

}  // namespace fcc
