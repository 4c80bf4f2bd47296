// The gradients of Conv and ConvTranspose. Each operand's is a convolution again, so that the fast kernels serve the
// backward pass: the gradient of x is the other of the two operators on dy, with the weight mirrored and its channels
// exchanged where that makes it a plain Conv; only the gradient of the weight is an operator of its own.
#include <algorithm>

#include "ir/grad.h"
#include "ir/ops/conv_geometry.h"
#include "ir/ops/grads.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using Index = std::span<const Expr>;
using Ints = std::vector<int64_t>;

// The three maps that belong to one geometry, y = conv(x, weight): each is linear in its operands.
struct ConvGradients {
  GradBuilder& b;
  const Window& w;
  int64_t groups = 1;
  Term weight;  // [K,C/G,k...]

  Term forward(Term x) const;
  Term of_input(Term dy) const;
  Term of_weight(Term x, Term dy) const;
  Attrs attrs() const;
};

// ---- ConvWeightGrad -----------------------------------------------------------------------------------------
// dw[k,c,t] = sum over n and o of dy[n,k,o] x[n, g C/G + c, o stride - pad + t dilation], for a weight of the extents
// `weight`, [K,C/G,t...]; g is the group of k. Attributes as those of Conv, but only the pads before. With blocked=1 dy is
// [N,ceil(K/16),H,W,16], and with blocked_in=1 so is x; lanes past the channels are never used. m=4 asks the lowering for
// Winograd's transform.

Window geometry(const Attrs& attrs, const Dims& x, const Dims& dy) {
  const Ints weight = attrs.integers("weight"), ones(weight.size() - 2, 1);
  const Ints strides = attrs.integers("strides", ones), dilations = attrs.integers("dilations", ones);
  const Dims pads = attrs.dims("pads");
  Window w;
  for (size_t d = 0; d + 2 < weight.size(); ++d) {  // the lanes of a blocked operand come last
    WindowAxis a{.in = x[2 + d], .out = dy[2 + d], .kernel = weight[2 + d], .stride = strides[d], .dilation = dilations[d]};
    if (!pads.empty()) a.pad_begin = pads[d];
    a.pad_end = max((a.out - 1) * a.stride + a.span() - a.in - a.pad_begin, 0);
    w.push_back(std::move(a));
  }
  return w;
}

Status infer_conv_weight_grad(InferContext& c) {
  const Ints weight = c.attrs.integers("weight");
  const auto rank = static_cast<int64_t>(weight.size());
  const bool blocked = c.attrs.flag("blocked"), blocked_in = blocked && c.attrs.flag("blocked_in");
  if (rank < 3 || rank > 5 || c.rank(0) != rank + blocked_in || c.rank(1) != rank + blocked)
    return c.fail("x, dy and the weight need one rank from 3 to 5");
  if (c.dtype(0) != c.dtype(1) || !is_float(c.dtype(0))) return c.fail("x and dy need one floating-point type");
  const int64_t group = c.attrs.integer("group", 1);
  if (group < 1 || weight[0] % group != 0) return c.fail("the channels cannot be split into " + std::to_string(group) + " groups");
  const auto blocks = [](int64_t channels, bool yes) { return yes ? (channels + kChannelBlock - 1) / kChannelBlock : channels; };
  for (const auto& [have, want] : {std::pair{c.dims(0)[1], blocks(weight[1] * group, blocked_in)}, {c.dims(1)[1], blocks(weight[0], blocked)}}) {
    if (have.is_constant() && !have.is(want)) return c.fail("has " + have.text() + " channels, the weight wants " + std::to_string(want));
    assume_equal(c, have, want);
  }
  c.set(0, c.dtype(0), Dims(weight.begin(), weight.end()));
  return {};
}

// The elements as a plain [N,C,...] tensor.
std::vector<double> plain(const Tensor& t, bool blocked, int64_t channels) {
  if (!blocked) return t.to_doubles();
  const int64_t n = t.shape()[0], blocks = t.shape()[1], size = product(std::span(t.shape()).subspan(2)) / kChannelBlock;
  std::vector<double> v;
  for (int64_t i = 0; i < n * channels; ++i)
    for (int64_t p = 0; p < size; ++p) {
      const int64_t channel = i % channels, block = i / channels * blocks + channel / kChannelBlock;
      v.push_back(t.get_double((block * size + p) * kChannelBlock + channel % kChannelBlock));
    }
  return v;
}

void eval_conv_weight_grad(EvalContext& c) {
  const Ints weight = c.attrs.integers("weight");
  const PlainWindow w = plain_window(geometry(c.attrs, c.in[0]->type().dims, c.in[1]->type().dims));
  const int64_t batch = c.in[0]->shape()[0], group = c.attrs.integer("group", 1), channels = weight[1] * group;
  const int64_t in_size = w[0].in * w[1].in * w[2].in, out_size = w[0].out * w[1].out * w[2].out;
  const bool blocked = c.attrs.flag("blocked");
  const std::vector<double> x = plain(*c.in[0], blocked && c.attrs.flag("blocked_in"), channels), dy = plain(*c.in[1], blocked, weight[0]);
  const auto pixels = [&](const double* from, const double* with, int64_t kd, int64_t kh, int64_t kw) {
    const int64_t taps[] = {kd, kh, kw};
    int64_t first[3], shift[3];
    std::pair<int64_t, int64_t> range[3];
    for (size_t a = 0; a < 3; ++a) {
      range[a] = w[a].inside(taps[a]);
      first[a] = range[a].first;
      shift[a] = taps[a] * w[a].dilation - w[a].pad_begin;
    }
    double sum = 0;
    for (int64_t d = first[0]; d < range[0].second; ++d)
      for (int64_t h = first[1]; h < range[1].second; ++h)
        for (int64_t i = first[2]; i < range[2].second; ++i)
          sum += with[(d * w[1].out + h) * w[2].out + i] *
                 from[((d * w[0].stride + shift[0]) * w[1].in + h * w[1].stride + shift[1]) * w[2].in + i * w[2].stride + shift[2]];
    return sum;
  };
  int64_t flat = 0;
  for (int64_t k = 0; k < weight[0]; ++k)
    for (int64_t ci = 0; ci < weight[1]; ++ci)
      for (int64_t kd = 0; kd < w[0].kernel; ++kd)
        for (int64_t kh = 0; kh < w[1].kernel; ++kh)
          for (int64_t kw = 0; kw < w[2].kernel; ++kw) {
            double sum = 0;
            for (int64_t n = 0; n < batch; ++n) {
              const int64_t channel = n * channels + k / (weight[0] / group) * weight[1] + ci;
              sum += pixels(x.data() + channel * in_size, dy.data() + (n * weight[0] + k) * out_size, kd, kh, kw);
            }
            c.out[0].set_double(flat++, sum);
          }
}

Expr define_conv_weight_grad(DefineContext& c, size_t, Index index) {
  const Ints weight = c.attrs->integers("weight");
  const int64_t group = c.attrs->integer("group", 1);
  const Window w = geometry(*c.attrs, c.dims(0), c.dims(1));
  const bool blocked = c.attrs->flag("blocked"), blocked_in = blocked && c.attrs->flag("blocked_in");
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0);
  const Expr channel = group == 1 ? index[1] : floordiv(index[0], loop::index(weight[0] / group)) * weight[1] + index[1];
  std::vector<Expr> at;
  const std::function<Expr(const Expr&, size_t)> over = [&](const Expr& n, size_t d) -> Expr {
    if (d < w.size())
      return c.reduce(ReduceOp::add, "o" + std::to_string(d), loop::from_sym(w[d].out), [&](Expr o) {
        at.push_back(std::move(o));
        Expr e = over(n, d + 1);
        at.pop_back();
        return e;
      });
    const Expr lanes = loop::index(kChannelBlock);
    std::vector<Expr> from, to{n, blocked ? floordiv(index[0], lanes) : index[0]}, trail;
    for (size_t a = 0; a < w.size(); ++a) from.push_back(window_position(w[a], at[a], index[2 + a]));
    to.insert(to.end(), at.begin(), at.end());
    if (blocked) to.push_back(mod(index[0], lanes));
    if (blocked_in) trail.push_back(mod(channel, lanes));
    const Expr lead[] = {n, blocked_in ? floordiv(channel, lanes) : channel};
    return window_load(c, 0, w, lead, from, trail, zero) * c.in(1, to);
  };
  return c.reduce(ReduceOp::add, "n", c.dim(1, 0), [&](Expr n) { return over(n, 0); });
}

// It is bilinear, as Conv is: with G the gradient of dw, that of dy is Conv(x, G) and that of x ConvTranspose(dy, G).
Result<std::vector<ValueId>> grad_conv_weight_grad(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  if (n.attrs.flag("blocked")) return b.fail("has no gradient in the blocked layout");
  const Window w = geometry(n.attrs, b.dims(0), b.dims(1));
  const ConvGradients g{b, w, n.attrs.integer("group", 1), b.dy()};
  b.give(0, [&] { return g.of_input(b.in(1)); });
  b.give(1, [&] { return g.forward(b.in(0)); });
  return b.done();
}

// ---- the other operator ---------------------------------------------------------------------------------------

Ints joined(Ints a, const Ints& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// w[K,C/G,t...] -> [C,K/G,-t...]: channels exchanged within their group, taps mirrored.
Term mirrored(GradBuilder& b, Term w, int64_t groups) {
  const Dims dims = w.type().dims;
  Ints axes, ends, last;
  for (size_t d = 2; d < dims.size(); ++d) {
    if (dims[d].is(1)) continue;
    axes.push_back(static_cast<int64_t>(d));
    ends.push_back(-dims[d].constant() - 1);
  }
  last.assign(axes.size(), -1);
  if (!axes.empty()) w = b.term(b("Slice", {w.v, b.ints(last), b.ints(ends), b.ints(axes), b.ints(last)}));
  if (groups == 1) {  // the form that choose_layout knows (passes/graph/mirrored_weight.h)
    Ints swapped{1, 0};
    for (size_t d = 2; d < dims.size(); ++d) swapped.push_back(static_cast<int64_t>(d));
    return b.transpose(w, swapped);
  }
  Dims split{groups, floordiv(dims[0], groups), dims[1]}, merged{dims[1] * groups, floordiv(dims[0], groups)};
  Ints perm{0, 2, 1};
  for (size_t d = 2; d < dims.size(); ++d) {
    perm.push_back(static_cast<int64_t>(d + 1));
    split.push_back(dims[d]);
    merged.push_back(dims[d]);
  }
  return b.reshape(b.transpose(b.reshape(w, split), perm), merged);
}

Attrs ConvGradients::attrs() const {
  Ints strides, dilations, kernel;
  for (const WindowAxis& a : w) {
    strides.push_back(a.stride);
    dilations.push_back(a.dilation);
    kernel.push_back(a.kernel);
  }
  return {{"group", groups}, {"strides", strides}, {"dilations", dilations}, {"kernel_shape", kernel}};
}

// sum over t of w[t] x[o stride - pad + t dilation]: the extents are those of w, whatever the attributes they came from.
Term ConvGradients::forward(Term x) const {
  Dims begin, end;
  for (const WindowAxis& a : w) {
    begin.push_back(a.pad_begin);
    end.push_back((a.out - 1) * a.stride + a.span() - a.in - a.pad_begin);
  }
  const auto pads_begin = constant_extents(begin), pads_end = constant_extents(end);
  if (pads_begin && pads_end) {
    Attrs a = attrs();
    a.set("pads", joined(*pads_begin, *pads_end));
    return b.node("Conv", {x, weight}, a);
  }
  Dims dims = x.type().dims, starts(2, 0);
  for (size_t d = 0; d < w.size(); ++d) dims[2 + d] = (w[d].out - 1) * w[d].stride + w[d].span();
  starts.insert(starts.end(), begin.begin(), begin.end());
  const Term padded = b.node("Unslice", {x}, {{"dims", dims}, {"starts", starts}, {"steps", Dims(dims.size(), 1)}});
  return b.node("Conv", {padded, weight}, attrs());
}

// The transpose of that. With a stride of 1 it is a convolution by the mirrored weight; else a ConvTranspose where its
// attributes can say the geometry, and a convolution of dy with zeros between its elements where extents are open.
Term ConvGradients::of_input(Term dy) const {
  const bool unit = std::all_of(w.begin(), w.end(), [](const WindowAxis& a) { return a.stride == 1; });
  Dims begin, end, extra;
  for (const WindowAxis& a : w) {
    begin.push_back(unit ? a.span() - 1 - a.pad_begin : a.pad_begin);
    end.push_back(unit ? a.in + a.pad_begin - a.out : 0);
    extra.push_back(a.in - (a.out - 1) * a.stride - a.span() + a.pad_begin);
  }
  const auto pads_begin = constant_extents(begin), pads_end = constant_extents(end), rest = constant_extents(extra);
  Attrs a = attrs();
  if (unit && pads_begin && pads_end) {
    a.set("pads", joined(*pads_begin, *pads_end));
    return b.node("Conv", {dy, mirrored(b, weight, groups)}, a);
  }
  if (pads_begin && rest) {  // out = (in-1) stride + span + output_padding - pads
    Ints more = *rest, cut(more.size(), 0);
    for (size_t d = 0; d < more.size(); ++d)
      if (more[d] < 0) cut[d] = -std::exchange(more[d], 0);
    a.set("pads", joined(*pads_begin, cut));
    a.set("output_padding", more);
    return b.node("ConvTranspose", {dy, weight}, a);
  }
  Dims dims = dy.type().dims, starts(2, 0), steps(2, 1);
  for (size_t d = 0; d < w.size(); ++d) {
    dims[2 + d] = w[d].in + w[d].span() - 1;
    starts.push_back(w[d].span() - 1 - w[d].pad_begin);
    steps.push_back(w[d].stride);
  }
  a.erase("strides");
  const Term spread = b.node("Unslice", {dy}, {{"dims", dims}, {"starts", starts}, {"steps", steps}});
  return b.node("Conv", {spread, mirrored(b, weight, groups)}, a);
}

Term ConvGradients::of_weight(Term x, Term dy) const {
  Attrs a = attrs();
  a.erase("kernel_shape");
  Dims pads;
  for (const WindowAxis& axis : w) pads.push_back(axis.pad_begin);
  a.set("pads", pads);
  a.set("weight", weight.type().extents());
  return b.node("ConvWeightGrad", {x, dy}, a);
}

// ---- rules ----------------------------------------------------------------------------------------------------

Term over_pixels(GradBuilder& b) {
  Ints axes{0};
  for (int64_t d = 2; d < b.dy().type().rank(); ++d) axes.push_back(d);
  return b.sum(b.dy(), axes, false);
}

Result<Window> window_of_node(GradBuilder& b, const Node& n, bool transposed) {
  if (n.attrs.flag("blocked")) return b.fail("has no gradient in the blocked layout");
  const Dims x = b.dims(0), weight = b.dims(1);
  const Ints kernel = TensorType{DType::f32, Dims(weight.begin() + 2, weight.end())}.extents();
  const Dims in(x.begin() + 2, x.end());
  return transposed ? transposed_window_of(n.attrs, in, kernel) : window_of(n.attrs, in, kernel);
}

}  // namespace

Result<std::vector<ValueId>> grad_conv(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  FCC_TRY(const Window w, window_of_node(b, n, false));
  const ConvGradients g{b, w, n.attrs.integer("group", 1), b.in(1)};
  b.give(0, [&] { return g.of_input(b.dy()); });
  b.give(1, [&] { return g.of_weight(b.in(0), b.dy()); });
  b.give(2, [&] { return over_pixels(b); });
  return b.done();
}

// x and y change places: what is y's extent here is the operand's of the convolution that it transposes.
Result<std::vector<ValueId>> grad_conv_transpose(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  FCC_TRY(Window w, window_of_node(b, n, true));
  for (WindowAxis& a : w) std::swap(a.in, a.out);
  const ConvGradients g{b, w, n.attrs.integer("group", 1), b.in(1)};
  b.give(0, [&] { return g.forward(b.dy()); });
  b.give(1, [&] { return g.of_weight(b.dy(), b.in(0)); });
  b.give(2, [&] { return over_pixels(b); });
  return b.done();
}

void register_conv_grad(Registry& r) {
  r.add({.name = "ConvWeightGrad",
         .doc = "the gradient of a convolution's weight from x and dy",
         .attrs = {{"weight", AttrType::integers, true},
                   {"blocked", AttrType::integer},
                   {"blocked_in", AttrType::integer},
                   {"dilations", AttrType::integers},
                   {"group", AttrType::integer},
                   {"m", AttrType::integer},
                   {"pads", AttrType::dims},
                   {"strides", AttrType::integers}},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_conv_weight_grad,
         .eval = eval_conv_weight_grad,
         .define = define_conv_weight_grad,
         .grad = grad_conv_weight_grad});
}

}  // namespace fcc
