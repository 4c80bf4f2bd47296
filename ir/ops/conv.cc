// Conv and ConvTranspose, 1-D to 3-D, with groups.
//
// A Conv with blocked=1 is 2-D and reads its weight as packed by PackConvWeight (attributes nr and group) and its bias
// as packed by PackVector; `tail` is that of the packing. `blocked_in` and `blocked_out` say which of x and y are [N,ceil(C/16),H,W,16]; `channels`
// and `out_channels` are then the true numbers of channels. Lanes past them are undefined in both and never used.
#include <algorithm>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/grads.h"
#include "ir/ops/layout.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using Index = std::span<const Expr>;

// What a convolution is, whatever the layouts.
struct ConvShape {
  bool packed = false, blocked_in = false, blocked_out = false, transposed = false;
  int64_t groups = 1;
  SymExpr channels;  // of x
  int64_t out_channels = 0, in_per_group = 0;
  std::vector<SymExpr> in;  // spatial extents
  std::vector<int64_t> kernel;
  int64_t nr = 16, tail = 0;

  int64_t out_per_group() const { return out_channels / groups; }
  ConvPacking packing() const {
    ConvPacking p{out_channels, in_per_group, groups, nr};
    p.tail = tail;
    return p;
  }
};

ConvShape conv_shape(const Attrs& attrs, const Dims& x, const Dims& w, bool transposed) {
  ConvShape s;
  s.transposed = transposed;
  s.packed = attrs.flag("blocked");
  s.blocked_in = s.packed && attrs.flag("blocked_in");
  s.blocked_out = s.packed && attrs.flag("blocked_out");
  s.groups = attrs.integer("group", 1);
  s.nr = attrs.integer("nr", kChannelBlock);
  s.channels = s.blocked_in ? SymExpr(attrs.integer("channels")) : x[1];
  s.in.assign(x.begin() + 2, x.end() - (s.blocked_in ? 1 : 0));
  for (auto d = w.begin() + 2; d < w.end() - (s.packed ? 1 : 0); ++d) s.kernel.push_back(d->constant());
  const int64_t first = w[0].constant(), second = w[1].constant();
  s.out_channels = s.packed ? attrs.integer("out_channels") : transposed ? second * s.groups : first;
  s.tail = s.packed ? attrs.integer("tail", 0) : 0;
  s.in_per_group = transposed ? (s.groups ? first / s.groups : 0) : s.tail ? attrs.integer("channels") : second;
  return s;
}

Window geometry(const Attrs& attrs, const ConvShape& s) {
  auto w = s.transposed ? transposed_window_of(attrs, s.in, s.kernel) : window_of(attrs, s.in, s.kernel);
  FCC_CHECK(w, "{}", w.error().what);
  return *std::move(w);
}

// ---- infer --------------------------------------------------------------------------------------------------

Status check_operands(InferContext& c) {
  const bool packed = c.attrs.flag("blocked"), blocked_in = packed && c.attrs.flag("blocked_in");
  const int64_t spatial = c.rank(0) - 2 - blocked_in;
  if (!is_float(c.dtype(0)) || c.dtype(1) != c.dtype(0))
    return c.fail("x is " + std::string(name(c.dtype(0))) + ", the weight is " + std::string(name(c.dtype(1))),
                  "both need one floating-point type");
  if (spatial < 1 || spatial > 3 || (packed && spatial != 2))
    return c.fail("x has rank " + std::to_string(c.rank(0)) + ", expected 3 to 5",
                  "x is [N,C,W], [N,C,H,W] or [N,C,D,H,W]");
  if (c.rank(1) != spatial + 2 + packed)
    return c.fail(
        "the weight has rank " + std::to_string(c.rank(1)) + ", expected " + std::to_string(spatial + 2 + packed),
        "x and weight need the same number of spatial axes");
  FCC_TRY(auto fixed, fixed_extents(c, c.dims(1), "the weight"));
  const int64_t group = c.attrs.integer("group", 1);
  if (group < 1)
    return c.fail("group is " + std::to_string(group) + ", expected 1 or more",
                  "group must divide the numbers of input and output channels");
  if (packed && !c.attrs.integer("tail", 0) &&
      (c.attrs.integer("nr", kChannelBlock) < 1 || c.dims(1).back() != SymExpr(c.attrs.integer("nr", kChannelBlock))))
    return c.fail("the weight is not packed in blocks of nr channels");
  return {};
}

std::string weight_form(const ConvShape& s, const std::string& channels_in) {
  static constexpr std::string_view kKernels[] = {"k", "kh,kw", "kd,kh,kw"};
  const std::string k(kKernels[s.kernel.size() - 1]), group = "with group=" + std::to_string(s.groups) + ", w must be ";
  if (s.transposed) return group + "[" + channels_in + "," + std::to_string(s.out_per_group()) + "," + k + "]";
  return group + "[" + std::to_string(s.out_channels) + "," + channels_in + "," + k + "]";
}

Status check_channels(InferContext& c, const ConvShape& s) {
  const Dims& w = c.dims(1);
  const int64_t split = s.transposed ? w[0].constant() : s.out_channels;
  if (split % s.groups != 0)
    return c.fail(std::to_string(split) + (s.transposed ? " input" : " output") + " channels cannot be split into " +
                      std::to_string(s.groups) + " groups",
                  "group must divide the numbers of input and output channels");
  const int64_t wanted = s.in_per_group * s.groups;
  if (s.channels.is_constant() && s.channels.constant() != wanted) {
    const bool even = s.channels.constant() % s.groups == 0;
    const std::string fitting = s.transposed ? s.channels.text()
                                : even       ? std::to_string(s.channels.constant() / s.groups)
                                             : "C/group";
    return c.fail("weight wants " + std::to_string(wanted) + " input channels, the input has " + s.channels.text(),
                  weight_form(s, fitting));
  }
  assume_equal(c, s.channels, wanted);
  if (s.tail && (!s.packing().tail_fits() || !w[0].is(1) || w[1] != SymExpr(s.in_per_group * s.packing().lanes())))
    return c.fail("the packed weight does not end in a panel of " + std::to_string(s.tail) + " lanes");
  if (s.packed && !s.tail && w[0] != SymExpr(s.packing().blocks()))
    return c.fail("the packed weight has " + w[0].text() + " blocks, expected " + std::to_string(s.packing().blocks()));
  const std::vector<int64_t> kernel = c.attrs.integers("kernel_shape", s.kernel);
  if (kernel != s.kernel)
    return c.fail("kernel_shape differs from the weight's extents",
                  "leave kernel_shape out, or make it the weight's last extents");
  const int64_t bias = s.packed ? (s.out_channels + s.nr - 1) / s.nr * s.nr : s.out_channels;
  if (c.has(2) &&
      (c.rank(2) != 1 || (c.dims(2)[0].is_constant() && !c.dims(2)[0].is(bias)) || c.dtype(2) != c.dtype(0)))
    return c.fail("the bias is " + c.type(2).text() + ", expected " + TensorType{c.dtype(0), {bias}}.text(),
                  "the bias has one element an output channel");
  return {};
}

Status infer_convolution(InferContext& c, bool transposed) {
  FCC_CHECKED(check_operands(c));
  const ConvShape s = conv_shape(c.attrs, c.dims(0), c.dims(1), transposed);
  FCC_CHECKED(check_channels(c, s));
  FCC_TRY(Window w, infer_window(c, s.in, s.kernel, transposed));
  Dims dims{c.dims(0)[0], s.blocked_out ? ceildiv(s.out_channels, kChannelBlock) : SymExpr(s.out_channels)};
  for (const WindowAxis& a : w) dims.push_back(a.out);
  if (s.blocked_out) dims.push_back(kChannelBlock);
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

Status infer_conv(InferContext& c) {
  return infer_convolution(c, false);
}
Status infer_conv_transpose(InferContext& c) {
  return infer_convolution(c, true);
}

// ---- eval ---------------------------------------------------------------------------------------------------
// Everything is brought to plain double arrays; then one loop nest serves all layouts.

struct Problem {
  int64_t batch, groups, in_per_group, out_per_group;
  PlainWindow w;
  int64_t in_size() const { return w[0].in * w[1].in * w[2].in; }
  int64_t out_size() const { return w[0].out * w[1].out * w[2].out; }
  int64_t kernel_size() const { return w[0].kernel * w[1].kernel * w[2].kernel; }
};

std::vector<double> plain_x(const Tensor& x, const ConvShape& s, const Problem& p) {
  if (!s.blocked_in) return x.to_doubles();
  const int64_t channels = s.channels.constant(), size = p.in_size(), blocks = x.shape()[1];
  std::vector<double> v(static_cast<size_t>(p.batch * channels * size));
  for (int64_t nc = 0; nc < p.batch * channels; ++nc)
    for (int64_t i = 0; i < size; ++i) {
      const int64_t n = nc / channels, k = nc % channels;
      v[static_cast<size_t>(nc * size + i)] =
          x.get_double(((n * blocks + k / kChannelBlock) * size + i) * kChannelBlock + k % kChannelBlock);
    }
  return v;
}

std::vector<double> plain_weight(const Tensor& w, const ConvShape& s, const Problem& p) {
  if (!s.packed) return w.to_doubles();
  const ConvPacking packing = s.packing();
  const int64_t row = s.in_per_group * p.kernel_size();
  std::vector<double> v(static_cast<size_t>(s.out_channels * row));
  for (int64_t k = 0; k < s.out_channels; ++k)
    for (int64_t i = 0; i < row; ++i)
      v[static_cast<size_t>(k * row + i)] = w.get_double(packing.position(k, row, i));
  return v;
}

// Visits the rows of the result that one weight reaches: row(flat position in `small`, flat position in `large`,
// count), where `large` is read or written at steps of the stride. For Conv large is x, for ConvTranspose it is y.
template <class Row>
void for_each_row(const PlainWindow& w, int64_t kd, int64_t kh, int64_t kw, Row row) {
  const auto [d0, d1] = w[0].inside(kd);
  const auto [h0, h1] = w[1].inside(kh);
  const auto [c0, c1] = w[2].inside(kw);
  if (c1 <= c0) return;
  for (int64_t d = d0; d < d1; ++d)
    for (int64_t h = h0; h < h1; ++h) {
      const int64_t ld = d * w[0].stride + kd * w[0].dilation - w[0].pad_begin,
                    lh = h * w[1].stride + kh * w[1].dilation - w[1].pad_begin;
      const int64_t lc = c0 * w[2].stride + kw * w[2].dilation - w[2].pad_begin;
      row((d * w[1].out + h) * w[2].out + c0, (ld * w[1].in + lh) * w[2].in + lc, c1 - c0);
    }
}

template <class Body>
void for_each_kernel(const PlainWindow& w, Body body) {
  int64_t i = 0;
  for (int64_t d = 0; d < w[0].kernel; ++d)
    for (int64_t h = 0; h < w[1].kernel; ++h)
      for (int64_t c = 0; c < w[2].kernel; ++c) body(d, h, c, i++);
}

// acc[o] += sum over the window of x * weight: one input channel into one output channel.
void accumulate(double* acc, const double* x, const double* weight, const PlainWindow& w) {
  for_each_kernel(w, [&](int64_t kd, int64_t kh, int64_t kw, int64_t k) {
    const double f = weight[k];
    for_each_row(w, kd, kh, kw, [&](int64_t o, int64_t i, int64_t n) {
      for (int64_t j = 0; j < n; ++j) acc[o + j] += f * x[i + j * w[2].stride];
    });
  });
}

// The transpose: x is as large as the window's `out`, acc as its `in`.
void accumulate_transposed(double* acc, const double* x, const double* weight, const PlainWindow& w) {
  for_each_kernel(w, [&](int64_t kd, int64_t kh, int64_t kw, int64_t k) {
    const double f = weight[k];
    for_each_row(w, kd, kh, kw, [&](int64_t i, int64_t o, int64_t n) {
      for (int64_t j = 0; j < n; ++j) acc[o + j * w[2].stride] += f * x[i + j];
    });
  });
}

void write_channel(Tensor& y, const ConvShape& s, int64_t n, int64_t k, std::span<const double> acc) {
  const auto size = static_cast<int64_t>(acc.size());
  for (int64_t i = 0; i < size; ++i) {
    const int64_t at = s.blocked_out
                           ? ((n * y.shape()[1] + k / kChannelBlock) * size + i) * kChannelBlock + k % kChannelBlock
                           : (n * s.out_channels + k) * size + i;
    y.set_double(at, acc[static_cast<size_t>(i)]);
  }
}

void eval_convolution(EvalContext& c, bool transposed) {
  if (c.out[0].empty()) return;
  const ConvShape s = conv_shape(c.attrs, c.in[0]->type().dims, c.in[1]->type().dims, transposed);
  Problem p{c.in[0]->shape()[0], s.groups, s.in_per_group, s.out_per_group(), plain_window(geometry(c.attrs, s))};
  const std::vector<double> x = plain_x(*c.in[0], s, p), weight = plain_weight(*c.in[1], s, p);
  std::vector<double> acc(static_cast<size_t>(p.out_size()));
  PlainWindow w = p.w;
  if (transposed)
    for (PlainAxis& a : w) std::swap(a.in, a.out);
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t k = 0; k < s.out_channels; ++k) {
      const int64_t g = k / p.out_per_group, kk = k % p.out_per_group;
      std::fill(acc.begin(), acc.end(), c.has(2) ? c.in[2]->get_double(k) : 0.0);
      for (int64_t ci = 0; ci < p.in_per_group; ++ci) {
        const int64_t channel = g * p.in_per_group + ci;
        const double* xs = x.data() + (n * p.groups * p.in_per_group + channel) * p.in_size();
        const int64_t row = transposed ? channel * p.out_per_group + kk : k * p.in_per_group + ci;
        const double* ws = weight.data() + row * p.kernel_size();
        transposed ? accumulate_transposed(acc.data(), xs, ws, w) : accumulate(acc.data(), xs, ws, w);
      }
      write_channel(c.out[0], s, n, k, acc);
    }
}

void eval_conv(EvalContext& c) {
  eval_convolution(c, false);
}
void eval_conv_transpose(EvalContext& c) {
  eval_convolution(c, true);
}

// ---- define -------------------------------------------------------------------------------------------------

// Sums body over the input channels of a group.
Expr over_channels(DefineContext& c, int64_t n, const std::function<Expr(Expr)>& body) {
  return n == 1 ? body(loop::index(0)) : c.reduce(ReduceOp::add, "c", loop::index(n), body);
}

Expr add_bias(DefineContext& c, Expr sum, const Expr& k) {
  return c.has(2) ? std::move(sum) + c.in(2, {&k, 1}) : sum;
}

Expr group_of(const ConvShape& s, const Expr& k) {
  if (s.groups == 1) return loop::index(0);
  return s.out_per_group() == 1 ? k : floordiv(k, loop::index(s.out_per_group()));
}

// Block and lane of output channel k in the weight, linear in the lane of the result wherever both are blocked.
std::pair<Expr, Expr> weight_block(const ConvShape& s, const Expr& k, Index index) {
  if (!s.packed) return {k, nullptr};
  const ConvPacking p = s.packing();
  if (!s.blocked_out || !p.contiguous() || s.nr % kChannelBlock || s.tail) return {p.block(k), p.lane(k)};
  const Expr per_block = loop::index(s.nr / kChannelBlock);
  return {floordiv(index[1], per_block), mod(index[1], per_block) * kChannelBlock + index.back()};
}

// The element of a weight packed with a tail, in the extents it is stored with.
std::vector<Expr> place_with_tail(const ConvShape& s, const Expr& block, const Expr& lane, const Expr& ci, Index at) {
  const ConvPacking p = s.packing();
  Expr row = ci;
  int64_t taps = 1;
  for (size_t d = 0; d < at.size(); ++d) {
    row = row * s.kernel[d] + at[d];
    taps *= s.kernel[d];
  }
  const Expr width = loop::select(loop::eq(block, loop::index(p.blocks() - 1)), loop::index(p.tail), loop::index(p.nr));
  Expr flat = block * (s.in_per_group * taps * p.nr) + row * width + lane;
  std::vector<Expr> place(at.size() + 3, loop::index(0));
  for (size_t d = at.size(); d > 0; --d) {
    place[d + 1] = mod(flat, loop::index(s.kernel[d - 1]));
    flat = floordiv(flat, loop::index(s.kernel[d - 1]));
  }
  place[1] = flat;
  return place;
}

Expr define_conv(DefineContext& c, size_t, Index index) {
  const ConvShape s = conv_shape(*c.attrs, c.dims(0), c.dims(1), false);
  const Window w = geometry(*c.attrs, s);
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0);
  const Index o = index.subspan(2, w.size());
  Expr k = s.blocked_out ? index[1] * kChannelBlock + index.back() : index[1];
  // Lanes past the last channel compute something harmless: with groups that must be a group that exists.
  if (s.blocked_out && (!s.packing().contiguous() || s.tail) && s.out_channels % kChannelBlock)
    k = loop::min(k, loop::index(s.out_channels - 1));
  const ConvPacking packing = s.packing();
  const auto [block, lane] = weight_block(s, k, index);
  const Expr sum = over_channels(c, s.in_per_group, [&](Expr ci) {
    const Expr channel = s.packed && packing.depthwise ? k : group_of(s, k) * s.in_per_group + ci;
    std::vector<Expr> lead{index[0], channel}, trail;
    if (s.blocked_in) {
      lead[1] = s.blocked_out && packing.depthwise ? index[1] : floordiv(channel, loop::index(kChannelBlock));
      trail.push_back(s.blocked_out && packing.depthwise ? index.back() : mod(channel, loop::index(kChannelBlock)));
    } else if (s.packed && packing.depthwise && s.out_channels % kChannelBlock) {
      lead[1] = loop::min(channel, loop::index(s.out_channels - 1));
    }
    return reduce_window(c, ReduceOp::add, w, [&](Index at) {
      std::vector<Expr> from, weight{block, ci};
      for (size_t d = 0; d < w.size(); ++d) from.push_back(window_position(w[d], o[d], at[d]));
      weight.insert(weight.end(), at.begin(), at.end());
      if (s.packed) weight.push_back(lane);
      if (s.tail) weight = place_with_tail(s, block, lane, ci, at);
      return window_load(c, 0, w, lead, from, trail, zero) * c.in(1, weight);
    });
  });
  return add_bias(c, sum, k);
}

// Result position o sees operand position i where o = i*stride - pad_begin + k*dilation.
Expr define_conv_transpose(DefineContext& c, size_t, Index index) {
  const ConvShape s = conv_shape(*c.attrs, c.dims(0), c.dims(1), true);
  const Window w = geometry(*c.attrs, s);
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0), &k = index[1];
  const Expr group = group_of(s, k);
  const Expr in_group = s.groups == 1            ? k
                        : s.out_per_group() == 1 ? loop::index(0)
                                                 : mod(k, loop::index(s.out_per_group()));
  const Expr sum = over_channels(c, s.in_per_group, [&](Expr ci) {
    const Expr channel = group * s.in_per_group + ci;
    return reduce_window(c, ReduceOp::add, w, [&](Index at) {
      std::vector<Expr> from{index[0], channel}, weight{channel, in_group};
      Expr guard = loop::boolean(true);
      for (size_t d = 0; d < w.size(); ++d) {
        const Expr t = index[2 + d] + loop::from_sym(w[d].pad_begin) - at[d] * w[d].dilation,
                   stride = loop::index(w[d].stride);
        from.push_back(floordiv(t, stride));
        guard = loop::both(guard, loop::both(loop::eq(mod(t, stride), loop::index(0)),
                                             in_range(from.back(), loop::from_sym(w[d].in))));
      }
      weight.insert(weight.end(), at.begin(), at.end());
      return c.in_guarded(0, from, guard, zero) * c.in(1, weight);
    });
  });
  return add_bias(c, sum, k);
}

}  // namespace

void register_conv(Registry& r) {
  const std::vector<AttrSpec> window{{"auto_pad", AttrType::string}, {"dilations", AttrType::integers},
                                     {"group", AttrType::integer},   {"kernel_shape", AttrType::integers},
                                     {"pads", AttrType::integers},   {"strides", AttrType::integers}};
  std::vector<AttrSpec> conv = window, transposed = window;
  for (std::string_view name : {"blocked", "blocked_in", "blocked_out", "channels", "out_channels", "nr", "tail"})
    conv.push_back({name, AttrType::integer});
  transposed.insert(transposed.end(), {{"output_padding", AttrType::integers}, {"output_shape", AttrType::integers}});
  r.add({.name = "Conv",
         .doc = "cross-correlation with a weight [K,C/group,k...], plus bias",
         .attrs = conv,
         .in = {2, 3},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_conv,
         .eval = eval_conv,
         .define = define_conv,
         .grad = grad_conv});
  r.add({.name = "ConvTranspose",
         .doc = "the transpose of Conv with a weight [C,K/group,k...], plus bias",
         .attrs = transposed,
         .in = {2, 3},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_conv_transpose,
         .eval = eval_conv_transpose,
         .define = define_conv_transpose,
         .grad = grad_conv_transpose});
}

}  // namespace fcc
