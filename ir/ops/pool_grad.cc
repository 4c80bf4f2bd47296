// Gradients of pooling, also in the blocked layout (blocked=1: every operand is [N,ceil(C/16),H,W,16]). Position i of the operand belongs to the windows of several results o, o stride - pad +
// k dilation = i; both operators here go from i back to those.
#include <algorithm>
#include <cmath>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/grads.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::ReduceOp;
using loop::UnaryOp;
using Index = std::span<const Expr>;
using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;

std::span<const SymExpr> spatial(const Attrs& attrs, const Dims& x) { return std::span(x).subspan(2, x.size() - 2 - attrs.flag("blocked")); }

Window geometry(const Attrs& attrs, const Dims& x) {
  auto w = window_of(attrs, spatial(attrs, x), attrs.integers("kernel_shape"));
  FCC_CHECK(w, "{}", w.error().what);
  return *std::move(w);
}

// ---- the windows around a position ----------------------------------------------------------------------------

struct Covering {
  std::vector<Expr> result, tap;  // o and k along each axis
  Expr guard;                     // there is such an o
};

// Sums body over all windows around the position. Where windows do not overlap there is at most one, and no loop.
Expr sum_over_windows(DefineContext& c, const Window& w, Index position, const std::function<Expr(const Covering&)>& body) {
  Covering at{{}, {}, loop::boolean(true)};
  const std::function<Expr(size_t)> nest = [&](size_t d) -> Expr {
    if (d == w.size()) return body(at);
    const WindowAxis& a = w[d];
    const Expr stride = loop::index(a.stride), shifted = position[d] + loop::from_sym(a.pad_begin), outer = at.guard;
    const auto with = [&](Expr o, Expr k, Expr guard) {
      at.guard = loop::both(loop::both(outer, std::move(guard)), in_range(o, loop::from_sym(a.out)));
      at.result.push_back(std::move(o));
      at.tap.push_back(std::move(k));
      Expr e = nest(d + 1);
      at.result.pop_back();
      at.tap.pop_back();
      at.guard = outer;
      return e;
    };
    if (a.dilation == 1 && a.kernel <= a.stride) {
      const Expr k = mod(shifted, stride);
      return with(floordiv(shifted, stride), k, a.kernel == a.stride ? loop::boolean(true) : loop::lt(k, loop::index(a.kernel)));
    }
    return c.reduce(ReduceOp::add, "k" + std::to_string(d), loop::index(a.kernel), [&](Expr k) {
      const Expr t = shifted - k * a.dilation, o = a.stride == 1 ? t : floordiv(t, stride);
      return with(o, k, a.stride == 1 ? loop::boolean(true) : loop::eq(o * a.stride, t));
    });
  };
  return nest(0);
}

// The index with other spatial positions; lanes stay.
std::vector<Expr> moved(Index index, Index positions) {
  std::vector<Expr> i(index.begin(), index.begin() + 2);
  i.insert(i.end(), positions.begin(), positions.end());
  i.insert(i.end(), index.begin() + 2 + static_cast<int64_t>(positions.size()), index.end());
  return i;
}

// For oracles: visit(flat result position, flat operand position, rank of the tap) for all that lie inside.
template <class Visit>
void for_each_tap(const PlainWindow& w, int64_t outer, int64_t lanes, Visit visit) {
  int64_t flat = 0;
  for (int64_t n = 0; n < outer; ++n)
    for (int64_t d = 0; d < w[0].out; ++d)
      for (int64_t h = 0; h < w[1].out; ++h)
        for (int64_t v = 0; v < w[2].out; ++v, ++flat)
          for (int64_t k = 0; k < w[0].kernel * w[1].kernel * w[2].kernel; ++k) {
            const int64_t taps[] = {k / (w[1].kernel * w[2].kernel), k / w[2].kernel % w[1].kernel, k % w[2].kernel}, o[] = {d, h, v};
            int64_t at = n;
            bool inside = true;
            for (size_t a = 0; a < 3; ++a) {
              const int64_t i = o[a] * w[a].stride - w[a].pad_begin + taps[a] * w[a].dilation;
              inside = inside && i >= 0 && i < w[a].in;
              at = at * w[a].in + i;
            }
            for (int64_t lane = 0; inside && lane < lanes; ++lane) visit(flat * lanes + lane, at * lanes + lane, k);
          }
}

// ---- MaxPoolGrad(x, y, dy): dy where x is the first of its window to equal y ------------------------------------

Status infer_max_pool_grad(InferContext& c) {
  if (c.rank(0) < 3 + c.attrs.flag("blocked")) return c.fail("x has too few axes");
  FCC_TRY(const Window w, infer_window(c, spatial(c.attrs, c.dims(0)), c.attrs.integers("kernel_shape")));
  if (c.rank(1) != c.rank(0) || c.rank(2) != c.rank(0)) return c.fail("x, y and dy need one rank");
  for (size_t d = 0; d < w.size(); ++d) assume_equal(c, w[d].out, c.dims(2)[2 + d]);
  c.set(0, c.type(0));
  return {};
}

void eval_max_pool_grad(EvalContext& c) {
  const Tensor &x = *c.in[0], &y = *c.in[1], &dy = *c.in[2];
  std::vector<bool> found(static_cast<size_t>(y.elements()), false);
  const int64_t lanes = c.attrs.flag("blocked") ? kChannelBlock : 1;
  for_each_tap(plain_window(geometry(c.attrs, x.type().dims)), x.shape()[0] * x.shape()[1], lanes, [&](int64_t o, int64_t i, int64_t) {
    const double e = x.get_double(i);
    if (found[static_cast<size_t>(o)] || !(e == y.get_double(o) || std::isnan(e))) return;
    found[static_cast<size_t>(o)] = true;
    c.out[0].set_double(i, c.out[0].get_double(i) + dy.get_double(o));
  });
}

Expr define_max_pool_grad(DefineContext& c, size_t, Index index) {
  const Window w = geometry(*c.attrs, c.dims(0));
  const Expr x = c.in(0, index), zero = loop::constant(x->type, 0);
  const auto rank = [&](Index taps) {
    Expr r = loop::index(0);
    for (size_t d = 0; d < w.size(); ++d) r = r * w[d].kernel + taps[d];
    return r;
  };
  return sum_over_windows(c, w, index.subspan(2, w.size()), [&](const Covering& at) {
    const std::vector<Expr> o = moved(index, at.result);
    const Expr y = c.in_guarded(1, o, at.guard, zero), mine = rank(at.tap);
    const Expr earlier = reduce_window(c, ReduceOp::logical_or, w, [&](Index taps) {
      std::vector<Expr> from;
      for (size_t d = 0; d < w.size(); ++d) from.push_back(window_position(w[d], at.result[d], taps[d]));
      Expr inside = at.guard;
      for (size_t d = 0; d < w.size(); ++d) inside = loop::both(inside, in_range(from[d], loop::from_sym(w[d].in)));
      const Expr e = c.in_guarded(0, moved(index, from), inside, zero);
      const Expr hit = loop::binary(BinaryOp::logical_or, loop::eq(e, y), loop::unary(UnaryOp::is_nan, e));
      return loop::both(loop::both(inside, hit), loop::lt(rank(taps), mine));
    });
    const Expr hit = loop::binary(BinaryOp::logical_or, loop::eq(x, y), loop::unary(UnaryOp::is_nan, x));
    return loop::select(loop::both(hit, loop::unary(UnaryOp::logical_not, earlier)), c.in_guarded(2, o, at.guard, zero), zero);
  });
}

// ---- AveragePoolGrad(dy): each window's dy over its number of elements; with sum=1 without the division ----------

Status infer_average_pool_grad(InferContext& c) {
  const Dims dims = c.attrs.dims("dims");
  if (c.rank(0) != static_cast<int64_t>(dims.size()) || c.rank(0) < 3 + c.attrs.flag("blocked")) return c.fail("dims and dy need one rank");
  FCC_TRY(const Window w, infer_window(c, spatial(c.attrs, dims), c.attrs.integers("kernel_shape")));
  for (size_t d = 0; d < w.size(); ++d) assume_equal(c, w[d].out, c.dims(0)[2 + d]);
  c.set(0, c.dtype(0), dims);
  return {};
}

void eval_average_pool_grad(EvalContext& c) {
  const Tensor& dy = *c.in[0];
  const PlainWindow w = plain_window(geometry(c.attrs, c.out[0].type().dims));
  const int64_t outer = dy.shape()[0] * dy.shape()[1], size = w[0].out * w[1].out * w[2].out, lanes = c.attrs.flag("blocked") ? kChannelBlock : 1;
  std::vector<double> count(static_cast<size_t>(dy.elements()), 1);
  if (!c.attrs.flag("sum") && c.attrs.flag("count_include_pad")) {
    for (int64_t o = 0; o < dy.elements(); ++o) {
      const int64_t pixel = o / lanes % size, at[] = {pixel / (w[1].out * w[2].out), pixel / w[2].out % w[1].out, pixel % w[2].out};
      for (size_t a = 0; a < 3; ++a) {
        int64_t inside = 0;
        for (int64_t k = 0; k < w[a].kernel; ++k)
          inside += at[a] * w[a].stride - w[a].pad_begin + k * w[a].dilation < w[a].in + w[a].pad_end;
        count[static_cast<size_t>(o)] *= static_cast<double>(inside);
      }
    }
  } else if (!c.attrs.flag("sum")) {
    std::fill(count.begin(), count.end(), 0);
    for_each_tap(w, outer, lanes, [&](int64_t o, int64_t, int64_t) { ++count[static_cast<size_t>(o)]; });
  }
  for_each_tap(w, outer, lanes, [&](int64_t o, int64_t i, int64_t) {
    c.out[0].set_double(i, c.out[0].get_double(i) + dy.get_double(o) / count[static_cast<size_t>(o)]);
  });
}

Expr define_average_pool_grad(DefineContext& c, size_t, Index index) {
  const Window w = geometry(*c.attrs, c.attrs->dims("dims"));
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0);
  return sum_over_windows(c, w, index.subspan(2, w.size()), [&](const Covering& at) {
    const Expr d = c.in_guarded(0, moved(index, at.result), at.guard, zero);
    if (c.attrs->flag("sum")) return d;
    Expr count = loop::index(1);
    for (size_t a = 0; a < w.size(); ++a) count = count * window_count(w[a], at.result[a], c.attrs->flag("count_include_pad"));
    return d / loop::cast(zero->type, loop::is_constant(count) ? count : loop::max(count, loop::index(1)));
  });
}

// ---- rules ----------------------------------------------------------------------------------------------------

Attrs window_attrs(const Node& n) {
  Attrs a;
  for (const auto& [name, value] : n.attrs.items())
    if (name != "storage_order" && name != "blocked" && name != "p") a.set(name, value);
  return a;
}

Term spread(GradBuilder& b, const Node& n, Term d, bool sum) {
  Attrs a = window_attrs(n);
  a.set("dims", b.dims(0));
  a.set("sum", int64_t{sum});
  return b.node("AveragePoolGrad", {d}, a);
}

// |x|^(p-1) sign(x)
Term power_sign(Term x, int64_t p) {
  if (p == 1) return fn("Sign", x);
  if (p == 2) return x;
  return fn("Sign", x) * x.b->node("Pow", {fn("Abs", x), x.b->number(x.type().dtype, static_cast<double>(p - 1))});
}
// d y^(1-p), 0 where the norm is 0
Term over_norm(Term d, Term y, int64_t p) {
  if (p == 1) return d;
  const Term safe = where(equal(y, 0), 1, y);
  const Term root = p == 2 ? safe : y.b->node("Pow", {safe, y.b->number(y.type().dtype, static_cast<double>(p - 1))});
  return where(equal(y, 0), 0, d / root);
}

SymExpr pixels(const Dims& x) { return product(std::span(x).subspan(2)); }

}  // namespace

Gradients grad_max_pool(GradBuilder& b, const Node& n, Dy) {
  if (n.attrs.flag("blocked")) return b.fail("has no gradient in the blocked layout");
  b.give(0, [&] { return b.node("MaxPoolGrad", {b.in(0), b.out(), b.dy()}, window_attrs(n)); });
  return b.done();
}

Gradients grad_average_pool(GradBuilder& b, const Node& n, Dy) {
  if (n.attrs.flag("blocked")) return b.fail("has no gradient in the blocked layout");
  b.give(0, [&] { return spread(b, n, b.dy(), false); });
  return b.done();
}

Gradients grad_lp_pool(GradBuilder& b, const Node& n, Dy) {
  if (n.attrs.flag("blocked")) return b.fail("has no gradient in the blocked layout");
  const int64_t p = n.attrs.integer("p", 2);
  b.give(0, [&] { return power_sign(b.in(0), p) * spread(b, n, over_norm(b.dy(), b.out(), p), true); });
  return b.done();
}

Gradients grad_global_average_pool(GradBuilder& b, const Node&, Dy) {
  const Dims x = b.dims(0);
  b.give(0, [&] { return b.expand(b.dy() / b.size(b.in_type(0).dtype, pixels(x)), x); });
  return b.done();
}

// The first pixel that has the maximum, as a MaxPool over everything has it.
Gradients grad_global_max_pool(GradBuilder& b, const Node&, Dy) {
  const Dims x = b.dims(0), flat{x[0], x[1], pixels(x)};
  const Term position = b.node("ArgMax", {b.reshape(b.in(0), flat)}, {{"axis", int64_t{2}}});
  const Term pixel = b.term(b("Range", {b.scalar(DType::i64, 0), b.size(DType::i64, pixels(x)).v, b.scalar(DType::i64, 1)}));
  b.give(0, [&] { return b.reshape(where(equal(pixel, position), b.reshape(b.dy(), {x[0], x[1], 1}), 0), x); });
  return b.done();
}

Gradients grad_global_lp_pool(GradBuilder& b, const Node& n, Dy) {
  const int64_t p = n.attrs.integer("p", 2);
  b.give(0, [&] { return power_sign(b.in(0), p) * over_norm(b.dy(), b.out(), p); });
  return b.done();
}

void register_pool_grad(Registry& r) {
  const std::vector<AttrSpec> window{{"auto_pad", AttrType::string},
                                     {"ceil_mode", AttrType::integer},
                                     {"dilations", AttrType::integers},
                                     {"kernel_shape", AttrType::integers, true},
                                     {"pads", AttrType::integers},
                                     {"strides", AttrType::integers},
                                     {"blocked", AttrType::integer}};
  std::vector<AttrSpec> average = window;
  average.insert(average.end(), {{"count_include_pad", AttrType::integer}, {"sum", AttrType::integer}, {"dims", AttrType::dims, true}});
  r.add({.name = "MaxPoolGrad",
         .doc = "the gradient of MaxPool's operand from x, y and dy: the first of equal elements gets it",
         .attrs = window,
         .in = {3, 3},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_max_pool_grad,
         .eval = eval_max_pool_grad,
         .define = define_max_pool_grad,
         .no_grad = "it is piecewise linear and its operands are those of MaxPool"});
  r.add({.name = "AveragePoolGrad",
         .doc = "the gradient of AveragePool's operand from dy",
         .attrs = average,
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_average_pool_grad,
         .eval = eval_average_pool_grad,
         .define = define_average_pool_grad,
         .no_grad = "second derivatives of pooling are not offered"});
}

}  // namespace fcc
