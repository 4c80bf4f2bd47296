// Pooling: MaxPool AveragePool LpPool and their global forms. With blocked=1 the operand and the results are
// [N,ceil(C/16),H,W,16]; lanes are independent, so undefined ones stay in their lane.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/grads.h"
#include "ir/ops/numeric.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::ReduceOp;
using loop::UnaryOp;
using Index = std::span<const Expr>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// ---- shapes -------------------------------------------------------------------------------------------------

std::span<const SymExpr> spatial(const Attrs& attrs, const Dims& x) {
  return std::span(x).subspan(2, x.size() - 2 - attrs.flag("blocked"));
}

Status check_operand(InferContext& c) {
  const bool blocked = c.attrs.flag("blocked");
  const int64_t n = c.rank(0) - 2 - blocked;
  if (n < 1 || n > 3 || (blocked && (n != 2 || !c.dims(0).back().is(kChannelBlock))))
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 3 to 5",
                  "the operand is [N,C,W], [N,C,H,W] or [N,C,D,H,W]");
  return {};
}

Status check_float(InferContext& c) {
  if (is_float(c.dtype(0))) return {};
  return c.fail("the operand is " + std::string(name(c.dtype(0))) + ", expected a floating-point type",
                "cast the operand to f32");
}

// A window that sees nothing but padding has neither a largest element nor an average.
Status check_pads(InferContext& c, const WindowAxis& a) {
  for (const SymExpr& pad : {a.pad_begin, a.pad_end})
    if (pad.is_constant() && pad.constant() >= a.span())
      return c.fail("a pad of " + pad.text() + " holds a whole window of " + std::to_string(a.span()) + " positions",
                    "pads must be smaller than the kernel; put a Pad node before it for more");
  return {};
}

Status set_pooled(InferContext& c) {
  FCC_CHECKED(check_operand(c));
  FCC_TRY(Window w, infer_window(c, spatial(c.attrs, c.dims(0)), c.attrs.integers("kernel_shape")));
  for (const WindowAxis& a : w) FCC_CHECKED(check_pads(c, a));
  Dims dims = c.dims(0);
  for (size_t d = 0; d < w.size(); ++d) dims[2 + d] = w[d].out;
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

Window geometry(const Attrs& attrs, const Dims& x) {
  auto w = window_of(attrs, spatial(attrs, x), attrs.integers("kernel_shape"));
  FCC_CHECK(w, "{}", w.error().what);
  return *std::move(w);
}

Status infer_max_pool(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the operand"));
  FCC_CHECKED(set_pooled(c));
  if (c.n_out() < 2) return {};
  if (c.attrs.flag("blocked")) return c.fail("has no indices in the blocked layout");
  c.set(1, DType::i64, c.out_types[0].dims);
  return {};
}

Status infer_float_pool(InferContext& c) {
  FCC_CHECKED(check_float(c));
  if (c.attrs.integer("p", 2) < 1)
    return c.fail("p is " + std::to_string(c.attrs.integer("p")) + ", expected 1 or more");
  return set_pooled(c);
}

Status infer_global(InferContext& c) {
  if (c.op.name != "GlobalMaxPool") FCC_CHECKED(check_float(c));
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the operand"));
  if (c.rank(0) < 3 + c.attrs.flag("blocked"))
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 3 or more",
                  "the operand is [N,C,spatial...]");
  if (c.attrs.integer("p", 2) < 1)
    return c.fail("p is " + std::to_string(c.attrs.integer("p")) + ", expected 1 or more");
  Dims dims = c.dims(0);
  const size_t n = spatial(c.attrs, dims).size();
  std::fill_n(dims.begin() + 2, n, SymExpr(1));
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

// ---- eval ---------------------------------------------------------------------------------------------------

// The operand as [outer, D, H, W, lanes].
struct View {
  int64_t outer, lanes;
  PlainWindow w;
};

View view_of(const Attrs& attrs, const Tensor& x, const Window& w) {
  return {x.shape()[0] * x.shape()[1], attrs.flag("blocked") ? kChannelBlock : 1, plain_window(w)};
}

// What one position of the result sees: the window's place, and visit(flat position in the operand, d, h, w) for
// every operand element inside.
struct Place {
  const View& v;
  int64_t outer, at[3], lane;

  template <class Visit>
  void for_each(Visit visit) const {
    const PlainWindow& w = v.w;
    for (int64_t kd = 0; kd < w[0].kernel; ++kd)
      for (int64_t kh = 0; kh < w[1].kernel; ++kh)
        for (int64_t kw = 0; kw < w[2].kernel; ++kw) {
          const int64_t d = position(0, kd), h = position(1, kh), c = position(2, kw);
          if (d < 0 || d >= w[0].in || h < 0 || h >= w[1].in || c < 0 || c >= w[2].in) continue;
          visit((((outer * w[0].in + d) * w[1].in + h) * w[2].in + c) * v.lanes + lane, d, h, c);
        }
  }
  int64_t position(size_t axis, int64_t k) const {
    const PlainAxis& a = v.w[axis];
    return at[axis] * a.stride - a.pad_begin + k * a.dilation;
  }
  // Window positions within operand and padding; ceil_mode may cut some off.
  int64_t padded_count() const {
    int64_t n = 1;
    for (size_t axis = 0; axis < 3; ++axis) {
      int64_t inside = 0;
      for (int64_t k = 0; k < v.w[axis].kernel; ++k) inside += position(axis, k) < v.w[axis].in + v.w[axis].pad_end;
      n *= inside;
    }
    return n;
  }
};

template <class Body>
void for_each_place(const View& v, Body body) {
  int64_t flat = 0;
  for (int64_t o = 0; o < v.outer; ++o)
    for (int64_t d = 0; d < v.w[0].out; ++d)
      for (int64_t h = 0; h < v.w[1].out; ++h)
        for (int64_t c = 0; c < v.w[2].out; ++c)
          for (int64_t l = 0; l < v.lanes; ++l) body(flat++, Place{v, o, {d, h, c}, l});
}

double lowest(DType t) {
  if (is_float(t)) return -kInfinity;
  if (!is_signed_int(t)) return 0;
  return -std::ldexp(1.0, static_cast<int>(8 * byte_size(t) - 1));
}

void eval_max_pool(EvalContext& c) {
  if (c.out[0].empty()) return;
  const Tensor& x = *c.in[0];
  const View v = view_of(c.attrs, x, geometry(c.attrs, x.type().dims));
  const bool column_major = c.attrs.flag("storage_order"), with_indices = c.out.size() > 1;
  for_each_place(v, [&](int64_t flat, const Place& p) {
    double best = lowest(x.dtype());
    int64_t best_at = 0;
    bool any = false;
    p.for_each([&](int64_t i, int64_t d, int64_t h, int64_t w) {
      const double e = x.get_double(i);
      if (any && !(e > best || (std::isnan(e) && !std::isnan(best)))) return;
      any = true;
      best = e;
      const PlainWindow& g = v.w;
      best_at = column_major ? p.outer * g[0].in * g[1].in * g[2].in + (w * g[1].in + h) * g[0].in + d : i;
    });
    c.out[0].set_double(flat, best);
    if (with_indices) c.out[1].set_int(flat, best_at);
  });
}

void eval_average_pool(EvalContext& c) {
  if (c.out[0].empty()) return;
  const View v = view_of(c.attrs, *c.in[0], geometry(c.attrs, c.in[0]->type().dims));
  const bool include_pad = c.attrs.flag("count_include_pad");
  for_each_place(v, [&](int64_t flat, const Place& p) {
    double sum = 0;
    int64_t inside = 0;
    p.for_each([&](int64_t i, int64_t, int64_t, int64_t) {
      sum += c.in[0]->get_double(i);
      ++inside;
    });
    c.out[0].set_double(flat, sum / static_cast<double>(std::max<int64_t>(include_pad ? p.padded_count() : inside, 1)));
  });
}

void eval_lp_pool(EvalContext& c) {
  if (c.out[0].empty()) return;
  const View v = view_of(c.attrs, *c.in[0], geometry(c.attrs, c.in[0]->type().dims));
  const auto power = static_cast<double>(c.attrs.integer("p", 2));
  for_each_place(v, [&](int64_t flat, const Place& p) {
    double sum = 0;
    p.for_each(
        [&](int64_t i, int64_t, int64_t, int64_t) { sum += std::pow(std::fabs(c.in[0]->get_double(i)), power); });
    c.out[0].set_double(flat, std::pow(sum, 1 / power));
  });
}

// Calls body(flat position in the result, visit): visit calls back with the flat positions of the elements.
template <class Body>
void for_each_global(const EvalContext& c, Body body) {
  const Tensor& x = *c.in[0];
  const int64_t lanes = c.attrs.flag("blocked") ? kChannelBlock : 1, outer = x.shape()[0] * x.shape()[1];
  const int64_t size = outer > 0 ? x.elements() / (outer * lanes) : 0;
  for (int64_t o = 0; o < outer * lanes; ++o)
    body(o, size, [&](auto visit) {
      for (int64_t i = 0; i < size; ++i) visit(x.get_double((o / lanes * size + i) * lanes + o % lanes));
    });
}

void eval_global_average(EvalContext& c) {
  for_each_global(c, [&](int64_t o, int64_t size, auto each) {
    double sum = 0;
    each([&](double e) { sum += e; });
    c.out[0].set_double(o, sum / static_cast<double>(size));
  });
}
void eval_global_max(EvalContext& c) {
  for_each_global(c, [&](int64_t o, int64_t, auto each) {
    double best = lowest(c.in[0]->dtype());
    each([&](double e) { best = e > best || std::isnan(e) ? e : best; });
    c.out[0].set_double(o, best);
  });
}
void eval_global_lp(EvalContext& c) {
  const auto power = static_cast<double>(c.attrs.integer("p", 2));
  for_each_global(c, [&](int64_t o, int64_t, auto each) {
    double sum = 0;
    each([&](double e) { sum += std::pow(std::fabs(e), power); });
    c.out[0].set_double(o, std::pow(sum, 1 / power));
  });
}

// ---- define -------------------------------------------------------------------------------------------------

Expr number(DType t, double v) {
  return loop::constant(loop::compute_type(t), v);
}

// The operand at window position `at` of the result's index; `otherwise` in the padding.
Expr load(DefineContext& c, const Window& w, Index index, Index at, const Expr& otherwise) {
  std::vector<Expr> from;
  for (size_t d = 0; d < w.size(); ++d) from.push_back(window_position(w[d], index[2 + d], at[d]));
  return window_load(c, 0, w, index.first(2), from, index.subspan(2 + w.size()), otherwise);
}

Expr window_max(DefineContext& c, const Window& w, Index index) {
  const Expr low = number(c.dtype(0), lowest(c.dtype(0)));
  return reduce_window(c, ReduceOp::max, w, [&](Index at) { return load(c, w, index, at, low); });
}

// The first window position, in row-major order, that holds the maximum (or a NaN), then the place it stands for.
Expr window_argmax(DefineContext& c, const Window& w, Index index) {
  const Expr best = window_max(c, w, index), none = loop::index(std::numeric_limits<int64_t>::max());
  const Expr low = number(c.dtype(0), lowest(c.dtype(0)));
  const Expr first = reduce_window(c, ReduceOp::min, w, [&](Index at) {
    Expr rank = loop::index(0), inside = loop::boolean(true);
    for (size_t d = 0; d < w.size(); ++d) {
      rank = rank * w[d].kernel + at[d];
      inside = loop::both(inside, in_range(window_position(w[d], index[2 + d], at[d]), loop::from_sym(w[d].in)));
    }
    const Expr e = load(c, w, index, at, low);
    Expr hit = loop::eq(e, best);
    if (is_float(e->type)) hit = loop::binary(BinaryOp::logical_or, hit, loop::unary(UnaryOp::is_nan, e));
    return loop::select(loop::both(hit, inside), rank, none);
  });
  std::vector<Expr> at(w.size());
  Expr rest = first;
  for (size_t d = w.size(); d-- > 0;) {
    const Expr kernel = loop::index(w[d].kernel);
    at[d] = window_position(w[d], index[2 + d], d == 0 ? rest : mod(rest, kernel));
    rest = floordiv(rest, kernel);
  }
  Expr flat = index[0] * c.dim(0, 1) + index[1];
  for (const WindowAxis& a : w) flat = flat * loop::from_sym(a.in);
  Expr inner = loop::index(0);
  const bool column_major = c.attrs->flag("storage_order");
  for (size_t i = 0; i < w.size(); ++i) {
    const size_t d = column_major ? w.size() - 1 - i : i;
    inner = inner * loop::from_sym(w[d].in) + at[d];
  }
  return flat + inner;
}

Expr define_max_pool(DefineContext& c, size_t result, Index index) {
  const Window w = geometry(*c.attrs, c.dims(0));
  return result == 0 ? window_max(c, w, index) : window_argmax(c, w, index);
}

Expr define_average_pool(DefineContext& c, size_t, Index index) {
  const Window w = geometry(*c.attrs, c.dims(0));
  const Expr zero = number(c.dtype(0), 0);
  const bool include_pad = c.attrs->flag("count_include_pad");
  Expr count = loop::index(1);
  for (size_t d = 0; d < w.size(); ++d) count = count * window_count(w[d], index[2 + d], include_pad);
  const Expr sum = reduce_window(c, ReduceOp::add, w, [&](Index at) { return load(c, w, index, at, zero); });
  return sum / loop::cast(zero->type, loop::is_constant(count) ? count : loop::max(count, loop::index(1)));
}

// |x|^p and its inverse; p = 1 and 2 without a pow.
Expr to_power(const Expr& x, int64_t p) {
  if (p == 2) return x * x;
  const Expr a = loop::unary(UnaryOp::abs, x);
  return p == 1 ? a : loop::binary(BinaryOp::pow, a, loop::constant(x->type, static_cast<double>(p)));
}
Expr to_root(const Expr& x, int64_t p) {
  if (p == 1) return x;
  return p == 2 ? loop::unary(UnaryOp::sqrt, x)
                : loop::binary(BinaryOp::pow, x, loop::constant(x->type, 1.0 / static_cast<double>(p)));
}

Expr define_lp_pool(DefineContext& c, size_t, Index index) {
  const Window w = geometry(*c.attrs, c.dims(0));
  const int64_t p = c.attrs->integer("p", 2);
  const Expr zero = number(c.dtype(0), 0);
  return to_root(reduce_window(c, ReduceOp::add, w, [&](Index at) { return to_power(load(c, w, index, at, zero), p); }),
                 p);
}

// Reduces body(element) over all spatial axes.
Expr reduce_spatial(DefineContext& c, ReduceOp op, Index index, const std::function<Expr(Expr)>& body) {
  const size_t n = spatial(*c.attrs, c.dims(0)).size();
  std::vector<Expr> at(index.begin(), index.end());
  std::function<Expr(size_t)> nest = [&](size_t d) -> Expr {
    if (d == n) return body(c.in(0, at));
    return c.reduce(op, "s" + std::to_string(d), c.dim(0, 2 + d), [&](Expr i) {
      at[2 + d] = i;
      return nest(d + 1);
    });
  };
  return nest(0);
}

Expr define_global_average(DefineContext& c, size_t, Index index) {
  const Expr sum = reduce_spatial(c, ReduceOp::add, index, [](Expr e) { return e; });
  return sum / loop::cast(sum->type, loop::from_sym(product(spatial(*c.attrs, c.dims(0)))));
}
Expr define_global_max(DefineContext& c, size_t, Index index) {
  return reduce_spatial(c, ReduceOp::max, index, [](Expr e) { return e; });
}
Expr define_global_lp(DefineContext& c, size_t, Index index) {
  const int64_t p = c.attrs->integer("p", 2);
  return to_root(reduce_spatial(c, ReduceOp::add, index, [&](Expr e) { return to_power(e, p); }), p);
}

}  // namespace

void register_pool(Registry& r) {
  const AttrSpec blocked{"blocked", AttrType::integer}, p{"p", AttrType::integer};
  const std::vector<AttrSpec> window{{"auto_pad", AttrType::string},
                                     {"ceil_mode", AttrType::integer},
                                     {"dilations", AttrType::integers},
                                     {"kernel_shape", AttrType::integers, true},
                                     {"pads", AttrType::integers},
                                     {"strides", AttrType::integers},
                                     blocked};
  std::vector<AttrSpec> max = window, average = window, lp = window;
  max.push_back({"storage_order", AttrType::integer});
  average.push_back({"count_include_pad", AttrType::integer});
  lp.push_back(p);
  r.add({.name = "MaxPool",
         .doc = "maximum over a window; second result: where it is",
         .attrs = max,
         .in = {1, 1},
         .out = {1, 2},
         .strategy = Strategy::window,
         .infer = infer_max_pool,
         .eval = eval_max_pool,
         .define = define_max_pool,
         .grad = grad_max_pool});
  r.add({.name = "AveragePool",
         .doc = "mean over a window",
         .attrs = average,
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_float_pool,
         .eval = eval_average_pool,
         .define = define_average_pool,
         .grad = grad_average_pool});
  r.add({.name = "LpPool",
         .doc = "p-norm over a window",
         .attrs = lp,
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_float_pool,
         .eval = eval_lp_pool,
         .define = define_lp_pool,
         .grad = grad_lp_pool});
  r.add({.name = "GlobalAveragePool",
         .doc = "mean over all spatial axes",
         .attrs = {blocked},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_global,
         .eval = eval_global_average,
         .define = define_global_average,
         .grad = grad_global_average_pool});
  r.add({.name = "GlobalMaxPool",
         .doc = "maximum over all spatial axes",
         .attrs = {blocked},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_global,
         .eval = eval_global_max,
         .define = define_global_max,
         .grad = grad_global_max_pool});
  r.add({.name = "GlobalLpPool",
         .doc = "p-norm over all spatial axes",
         .attrs = {blocked, p},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_global,
         .eval = eval_global_lp,
         .define = define_global_lp,
         .grad = grad_global_lp_pool});
}

}  // namespace fcc
