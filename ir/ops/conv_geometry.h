#pragma once
// Window arithmetic shared by convolution and pooling: kernel, stride, dilation, padding and the extents of the
// result, as ONNX defines them. Used by infer, by the oracles, by define and by the kernels in backend/lower, so that
// all of them see one geometry. Knows nothing of channels or layouts.
#include <array>

#include "ir/op.h"

namespace fcc {

// Position o of the result sees, along one spatial axis, the operand at o*stride - pad_begin + k*dilation.
struct WindowAxis {
  SymExpr in, out;  // extents of operand and result
  int64_t kernel = 1, stride = 1, dilation = 1;
  SymExpr pad_begin = 0, pad_end = 0;                           // expressions when auto_pad meets an open extent
  bool partial = false;                                         // ceil_mode: the last window may reach past the padding
  int64_t span() const { return (kernel - 1) * dilation + 1; }  // positions that a window covers
  // True when every window lies within the operand, so that no guard is needed.
  bool is_inside() const;
};
using Window = std::vector<WindowAxis>;

// ceil_mode counts a last, partial window unless it would start behind the operand and its left padding.
Result<Window> window_of(const Attrs&, std::span<const SymExpr> in, std::span<const int64_t> kernel);
// The same for ConvTranspose, where position i of the operand adds to the result at i*stride - pad_begin + k*dilation.
Result<Window> transposed_window_of(const Attrs&, std::span<const SymExpr> in, std::span<const int64_t> kernel);

// What every windowed operator's infer does: the geometry, or a diagnostic that names the node.
Result<Window> infer_window(const InferContext&, std::span<const SymExpr> in, std::span<const int64_t> kernel,
                            bool transposed = false);
// Extents that must be numbers, such as those of a weight.
Result<std::vector<int64_t>> fixed_extents(const InferContext&, std::span<const SymExpr> dims, std::string_view what);

// Position in the operand that result position o sees at window position k.
loop::Expr window_position(const WindowAxis&, const loop::Expr& o, const loop::Expr& k);
// Calls body(k per axis) inside a reduce per axis of the window; axes with a kernel of 1 get k = 0 and no reduce.
loop::Expr reduce_window(DefineContext&, loop::ReduceOp, const Window&,
                         const std::function<loop::Expr(std::span<const loop::Expr>)>& body);
// Operand k at (lead, positions, trail); `otherwise` in the padding.
loop::Expr window_load(DefineContext&, size_t k, const Window&, std::span<const loop::Expr> lead,
                       std::span<const loop::Expr> positions, std::span<const loop::Expr> trail, loop::Expr otherwise);

// How many positions of the window at o count along an axis in an average.
loop::Expr window_count(const WindowAxis&, const loop::Expr& o, bool include_pad);

// For oracles: the window as numbers, padded to three axes at the front with neutral ones.
struct PlainAxis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1, pad_begin = 0, pad_end = 0;
  // The result positions [lo, hi) whose window position k falls inside the operand.
  std::pair<int64_t, int64_t> inside(int64_t k) const;
};
using PlainWindow = std::array<PlainAxis, 3>;
PlainWindow plain_window(const Window&);

inline constexpr int64_t kChannelBlock = 16;  // lanes of the blocked layout NCHW16c

}  // namespace fcc
