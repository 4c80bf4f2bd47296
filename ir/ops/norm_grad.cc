// Gradients of the normalizations. With h = (x - mean) inverse, y = h scale + bias and g = dy scale, all of them share
// dx = inverse (g - mean(g) - h mean(g h)), the means over the normalized axes. The statistics are computed once more
// from x; when the forward pass has the same nodes, merge_equal keeps one.
#include <algorithm>

#include "ir/ops/grads.h"

namespace fcc {
namespace {

using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;
using Axes = std::vector<int64_t>;

Axes axes_between(int64_t first, int64_t last) {
  Axes a;
  for (; first < last; ++first) a.push_back(first);
  return a;
}
Axes all_but_channels(int64_t rank) {
  Axes a = axes_between(0, rank);
  if (rank > 1) a.erase(a.begin() + 1);
  return a;
}

Term inverse_root(Term variance, double epsilon) { return 1 / fn("Sqrt", variance + epsilon); }
double epsilon_of(const Node& n) { return n.attrs.number("epsilon", 1e-5); }

// v[C] so that it broadcasts to x [N,C,...], in the type of x.
Term per_channel(Term v, const TensorType& x) {
  Dims dims(static_cast<size_t>(std::max<int64_t>(x.rank() - 1, 1)), 1);
  dims[0] = v.type().dims[0];
  return v.b->reshape(cast(x.dtype, v), dims);
}
Term channel_sums(Term t) {
  const int64_t rank = t.type().rank();
  const Term sum = t.b->sum(t, all_but_channels(rank), false);
  return rank > 1 ? sum : t.b->reshape(sum, {1});
}

struct Normalized {
  Term h, inverse;
  Axes axes;
  Term back(Term g) const {
    GradBuilder& b = *g.b;
    return inverse * (g - b.mean(g, axes) - h * b.mean(g * h, axes));
  }
};
Normalized normalize(Term x, Axes axes, double epsilon) {
  const Term centered = x - x.b->mean(x, axes);
  const Term inverse = inverse_root(x.b->mean(centered * centered, axes), epsilon);
  return {centered * inverse, inverse, std::move(axes)};
}

// ---- BatchNormalization -----------------------------------------------------------------------------------------

// With stored statistics y is linear in x.
Gradients with_stored_statistics(GradBuilder& b, const Node& n) {
  const TensorType x = b.in_type(0);
  const Term d = b.dy(), inverse = inverse_root(b.in(4), epsilon_of(n)), factor = b.in(1) * inverse;
  b.give(0, [&] { return d * per_channel(factor, x); });
  b.give(2, [&] { return channel_sums(d); });
  b.give(3, [&] { return -(channel_sums(d) * cast(x.dtype, factor)); });
  if (!b.wants(1) && !b.wants(4)) return b.done();
  const Term centered = b.in(0) - per_channel(b.in(3), x), sum = channel_sums(d * centered);
  b.give(1, [&] { return sum * cast(x.dtype, inverse); });
  b.give(4, [&] { return sum * cast(x.dtype, factor * inverse * inverse) * -0.5; });
  return b.done();
}

// Running statistics are (1 - momentum) batch + momentum stored; they have gradients too, if anybody asks.
Gradients with_batch_statistics(GradBuilder& b, const Node& n) {
  const TensorType x = b.in_type(0);
  const double momentum = n.attrs.number("momentum", 0.9);
  const Axes axes = all_but_channels(x.rank());
  const Normalized z = normalize(b.in(0), axes, epsilon_of(n));
  Term dx;
  const auto add = [&](Term t) { dx = dx ? dx + t : t; };
  if (b.dy()) {
    if (b.wants(0)) add(z.back(b.dy() * per_channel(b.in(1), x)));
    b.give(1, [&] { return channel_sums(b.dy() * z.h); });
    b.give(2, [&] { return channel_sums(b.dy()); });
  }
  SymExpr count = 1;
  for (int64_t a : axes) count = count * x.dims[static_cast<size_t>(a)];
  const auto share = [&](const SymExpr& of) { return (1 - momentum) / b.size(x.dtype, of); };
  if (b.dy(1) && b.wants(0)) add(b.expand(per_channel(b.dy(1), x) * share(count), x.dims));
  if (b.dy(2) && b.wants(0))
    add(z.h / z.inverse * (per_channel(b.dy(2), x) * share(n.attrs.flag("unbiased") ? count - 1 : count) * 2));
  b.give(0, [&] { return dx; });
  if (b.dy(1)) b.give(3, [&] { return b.dy(1) * momentum; });
  if (b.dy(2)) b.give(4, [&] { return b.dy(2) * momentum; });
  return b.done();
}

}  // namespace

Gradients grad_batch_norm(GradBuilder& b, const Node& n, Dy) {
  return n.attrs.flag("training_mode") ? with_batch_statistics(b, n) : with_stored_statistics(b, n);
}

// ---- the last axes ------------------------------------------------------------------------------------------------

Gradients grad_layer_norm(GradBuilder& b, const Node& n, Dy) {
  const TensorType x = b.in_type(0);
  const int64_t axis = n.attrs.integer("axis", -1);
  const Normalized z = normalize(b.in(0), axes_between(axis < 0 ? axis + x.rank() : axis, x.rank()), epsilon_of(n));
  Term dx;
  const auto add = [&](Term t) { dx = dx ? dx + t : t; };
  if (b.dy()) {
    if (b.wants(0)) add(z.back(b.dy() * cast(x.dtype, b.in(1))));
    b.give(1, [&] { return b.dy() * z.h; });
    b.give(2, [&] { return b.dy(); });
  }
  SymExpr count = 1;
  for (int64_t a : z.axes) count = count * x.dims[static_cast<size_t>(a)];
  const Term share = 1 / b.size(x.dtype, count);
  if (b.dy(1) && b.wants(0)) add(b.expand(cast(x.dtype, b.dy(1)) * share, x.dims));
  if (b.dy(2) && b.wants(0)) add(-(z.h * (cast(x.dtype, b.dy(2)) * z.inverse * z.inverse * share)));
  b.give(0, [&] { return dx; });
  return b.done();
}

// Without a mean: dx = inverse (g - h mean(g h)).
Gradients grad_rms_norm(GradBuilder& b, const Node& n, Dy) {
  const TensorType x = b.in_type(0);
  const int64_t axis = n.attrs.integer("axis", -1);
  const Axes axes = axes_between(axis < 0 ? axis + x.rank() : axis, x.rank());
  const Term inverse = inverse_root(b.mean(b.in(0) * b.in(0), axes), epsilon_of(n)), h = b.in(0) * inverse;
  const Term d = cast(x.dtype, b.dy());
  b.give(0, [&] {
    const Term g = d * cast(x.dtype, b.in(1));
    return inverse * (g - h * b.mean(g * h, axes));
  });
  b.give(1, [&] { return d * h; });
  return b.done();
}

// ---- groups of channels ---------------------------------------------------------------------------------------------

Gradients grad_instance_norm(GradBuilder& b, const Node& n, Dy) {
  const TensorType x = b.in_type(0);
  const Normalized z = normalize(b.in(0), axes_between(2, x.rank()), epsilon_of(n));
  b.give(0, [&] { return z.back(b.dy() * per_channel(b.in(1), x)); });
  b.give(1, [&] { return channel_sums(b.dy() * z.h); });
  b.give(2, [&] { return channel_sums(b.dy()); });
  return b.done();
}

Gradients grad_group_norm(GradBuilder& b, const Node& n, Dy) {
  const TensorType x = b.in_type(0);
  const int64_t groups = n.attrs.integer("num_groups");
  SymExpr size = floordiv(x.dims[1], groups);
  for (size_t d = 2; d < x.dims.size(); ++d) size = size * x.dims[d];
  const Dims grouped{x.dims[0], groups, size};
  const Normalized z = normalize(b.reshape(b.in(0), grouped), {2}, epsilon_of(n));
  b.give(0, [&] { return b.reshape(z.back(b.reshape(b.dy() * per_channel(b.in(1), x), grouped)), x.dims); });
  b.give(1, [&] { return channel_sums(b.dy() * b.reshape(z.h, x.dims)); });
  b.give(2, [&] { return channel_sums(b.dy()); });
  return b.done();
}

// ---- other norms ------------------------------------------------------------------------------------------------------

// sum over s in [first, last] of v shifted by s channels, zeros from outside.
static Term neighbour_sum(Term v, int64_t first, int64_t last) {
  const Dims dims = v.type().dims;
  if (dims[1].is_constant()) first = std::max(first, 1 - dims[1].constant()), last = std::min(last, dims[1].constant() - 1);
  std::vector<Term> parts;
  for (int64_t s = first; s <= last; ++s) {
    Dims starts(dims.size(), 0);
    starts[1] = -s;
    parts.push_back(s == 0 ? v : v.b->node("Unslice", {v}, {{"dims", dims}, {"starts", starts}, {"steps", Dims(dims.size(), 1)}}));
  }
  return v.b->node("Sum", parts);
}

// y = x q^-beta with q = bias + f sum of neighbours' squares: dx = d q^-beta - 2 f beta x sum of neighbours' (d x q^(-beta-1)).
Gradients grad_lrn(GradBuilder& b, const Node& n, Dy) {
  const int64_t size = n.attrs.integer("size"), before = (size - 1) / 2, after = size - 1 - before;
  const double factor = n.attrs.number("alpha", 1e-4) / static_cast<double>(size), beta = n.attrs.number("beta", 0.75);
  if (size > 64) return b.fail("has a gradient for sizes up to 64");
  const Term x = b.in(0), d = b.dy(), q = neighbour_sum(x * x, -before, after) * factor + n.attrs.number("bias", 1);
  const auto power = [&](double e) { return b.node("Pow", {q, b.number(q.type().dtype, e)}); };
  b.give(0, [&] { return d * power(-beta) - x * neighbour_sum(d * x * power(-beta - 1), -after, before) * (2 * factor * beta); });
  return b.done();
}

// y = x / norm: dx = (d - u sum(d y)) / norm, where u is the slope of the norm, y for p = 2 and sign(x) for p = 1.
Gradients grad_lp_norm(GradBuilder& b, const Node& n, Dy) {
  const int64_t rank = b.in_type(0).rank(), axis = n.attrs.integer("axis", -1);
  const Axes axes{axis < 0 ? axis + rank : axis};
  const bool absolute = n.attrs.integer("p", 2) == 1;
  const Term x = b.in(0), y = b.out(), d = b.dy();
  const Term norm = absolute ? b.sum(fn("Abs", x), axes) : fn("Sqrt", b.sum(x * x, axes));
  const Term is_zero = equal(norm, 0);
  b.give(0, [&] {
    const Term g = (d - (absolute ? fn("Sign", x) : y) * b.sum(d * y, axes)) / where(is_zero, 1, norm);
    return where(is_zero, 0, g);
  });
  return b.done();
}

// y = c r with c = x - mean, r = 1 / (s + epsilon), s = sqrt(mean(c^2)): dc = d r - c mean(d c) r^2 / s.
Gradients grad_mean_variance(GradBuilder& b, const Node& n, Dy) {
  const int64_t rank = b.in_type(0).rank();
  Axes axes = n.attrs.integers("axes", {0, 2, 3});
  for (int64_t& a : axes) a += a < 0 ? rank : 0;
  std::sort(axes.begin(), axes.end());
  const Term c = b.in(0) - b.mean(b.in(0), axes), s = fn("Sqrt", b.mean(c * c, axes)), r = 1 / (s + 1e-9), d = b.dy();
  b.give(0, [&] {
    const Term dc = d * r - c * (b.mean(d * c, axes) * r * r / where(equal(s, 0), 1, s));
    return dc - b.mean(dc, axes);
  });
  return b.done();
}

}  // namespace fcc
