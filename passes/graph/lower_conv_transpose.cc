// ConvTranspose{stride s}(x, W, b) → crop(DepthToSpace{s}(Conv(x, W', b'))): for two spatial axes with one stride, no groups
// and no dilation; weights that are trained are rearranged by nodes. Position s q + r of the result sees x at q - t through W at r + s t only, so that
// the s*s remainders r become channels of a convolution with a kernel of ceil(k / s): no multiplication by a zero that
// was inserted, and the convolution takes the fast path. With k a multiple of s nothing is computed twice or for nothing.
// A stride of 1 needs no DepthToSpace: it is a convolution by the mirrored weight.
#include <limits>

#include "ir/op.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

// One spatial axis. Along it the convolution computes blocks q0 .. of s results each; crop is what comes before the
// first wanted one.
struct Axis {
  int64_t kernel, stride, taps, pad_begin, pad_end, crop;
};

std::optional<Axis> axis_of(const Node& n, size_t d, int64_t kernel) {
  const auto at = [&](std::string_view name, size_t k, int64_t otherwise) {
    const std::vector<int64_t> v = n.attrs.integers(name);
    return k < v.size() ? v[k] : otherwise;
  };
  const int64_t stride = at("strides", d, 1), begin = at("pads", d, 0), end = at("pads", d + 2, 0), more = at("output_padding", d, 0);
  if (at("dilations", d, 1) != 1 || begin < 0 || end < 0) return std::nullopt;
  Axis a{kernel, stride, (kernel + stride - 1) / stride, 0, 0, 0};
  const int64_t first = begin / stride;
  a.pad_begin = a.taps - 1 - first;
  a.pad_end = ceildiv(kernel - end + more, stride).constant() - 1;
  a.crop = begin - first * stride;
  if (a.pad_begin < 0 || a.pad_end < 0) return std::nullopt;
  return a;
}

// W'[(k s + r) s + p, c, u, v] = W[c, k, r + s (taps-1-u), p + s (taps-1-v)], 0 past the kernel.
Tensor phase_weight(const Tensor& w, const Axis& h, const Axis& v) {
  const int64_t in = w.shape()[0], out = w.shape()[1], s = h.stride;
  Tensor result(w.dtype(), {out * s * s, in, h.taps, v.taps});
  int64_t i = 0;
  for_each_index(result.shape(), [&](std::span<const int64_t> at) {
    const int64_t k = at[0] / (s * s), r = at[0] / s % s, p = at[0] % s;
    const int64_t row = r + s * (h.taps - 1 - at[2]), column = p + s * (v.taps - 1 - at[3]);
    const bool inside = row < h.kernel && column < v.kernel;
    result.set_double(i++, inside ? w.get_double(((at[1] * out + k) * h.kernel + row) * v.kernel + column) : 0);
  });
  return result;
}

// The same by nodes: W padded to [C, K, taps s, taps s], its taps turned round, its remainders brought to the channels.
ValueId phase_weight(Graph& g, GraphBuilder& b, ValueId w, const Axis& h, const Axis& v) {
  const std::vector<int64_t> shape = g.value(w).type.extents();
  const int64_t s = h.stride, in = shape[0], out = shape[1];
  const ValueId padded = b("Pad", {w, b.ints({0, 0, 0, 0, 0, 0, h.taps * s - h.kernel, v.taps * s - v.kernel})});
  const ValueId split = b("Reshape", {padded, b.ints({in, out, h.taps, s, v.taps, s})});
  const ValueId turned = b("Slice", {split, b.ints({-1, -1}), b.ints({-h.taps - 1, -v.taps - 1}), b.ints({2, 4}), b.ints({-1, -1})});
  const ValueId phases = b("Transpose", {turned}, {{"perm", std::vector<int64_t>{1, 3, 5, 0, 2, 4}}});
  return b("Reshape", {phases, b.ints({out * s * s, in, h.taps, v.taps})});
}

Tensor phase_bias(const Tensor& bias, int64_t s) {
  Tensor result(bias.dtype(), {bias.elements() * s * s});
  for (int64_t i = 0; i < result.elements(); ++i) result.set_double(i, bias.get_double(i / (s * s)));
  return result;
}

bool is_simple(const Graph& g, const Node& n) {
  return n.op->name == "ConvTranspose" && g.value(n.in[0]).type.rank() == 4 && n.attrs.integer("group", 1) == 1 && g.value(n.in[1]).type.is_static() &&
         (n.in.size() < 3 || g.is_constant(n.in[2])) && n.attrs.string("auto_pad", "NOTSET") == "NOTSET" && !n.attrs.has("output_shape");
}

ValueId lower(Graph& g, GraphBuilder& b, const Node& n) {
  const std::vector<int64_t> w = g.value(n.in[1]).type.extents();
  const auto h = axis_of(n, 0, w[2]), v = axis_of(n, 1, w[3]);
  if (!h || !v || h->stride != v->stride) return kNoValue;
  const int64_t s = h->stride;
  std::vector<ValueId> in{n.in[0]};
  if (g.is_constant(n.in[1]))
    in.push_back(b.constant(phase_weight(g.value(n.in[1]).data, *h, *v), g.value(n.in[1]).name + ".phases"));
  else
    in.push_back(phase_weight(g, b, n.in[1], *h, *v));
  if (n.in.size() > 2) in.push_back(b.constant(phase_bias(g.value(n.in[2]).data, s), g.value(n.in[2]).name + ".phases"));
  ValueId y = b("Conv", std::move(in), {{"kernel_shape", std::vector<int64_t>{h->taps, v->taps}}, {"pads", std::vector<int64_t>{h->pad_begin, v->pad_begin, h->pad_end, v->pad_end}}});
  if (s > 1) y = b("DepthToSpace", {y}, {{"blocksize", s}, {"mode", std::string("CRD")}});
  const Dims wanted = g.value(n.out[0]).type.dims;
  if (y == kNoValue || b.type(y).dims == wanted) return y;
  const SymExpr below = b.type(y).dims[2] - wanted[2] - h->crop, right = b.type(y).dims[3] - wanted[3] - v->crop;
  if (!below.is_constant() || !right.is_constant()) return kNoValue;
  const auto end = [](const SymExpr& tail) { return tail.is(0) ? std::numeric_limits<int64_t>::max() : -tail.constant(); };
  return b("Slice", {y, b.ints({h->crop, v->crop}), b.ints({end(below), end(right)}), b.ints({2, 3})});
}

}  // namespace

Result<bool> lower_conv_transpose(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (!is_simple(g, n)) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId y = lower(g, b, n);
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    if (y == kNoValue || g.value(y).type != g.value(n.out[0]).type) continue;
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
