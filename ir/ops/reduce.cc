// Reductions over axes, positions of extremes, and running sums.
#include <cmath>

#include "ir/grad.h"
#include "ir/loop/scalar.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using loop::UnaryOp;
using In = std::span<const Expr>;

// ---- which axes are reduced -----------------------------------------------------------------------------------
// Axes may be known only while running: then they are '$' symbols, and everything that depends on them is an
// expression that folds away when they are numbers.

struct Axes {
  std::vector<SymExpr> reduced;   // a dim each: 1, 0, or an expression with one of these values
  std::vector<SymExpr> position;  // a dim each: where it is in the result when it is kept
  int64_t result_rank = 0;
};

// axes: null when absent.
Axes axes_of(const SymTensor* axes, int64_t rank, const Attrs& attrs) {
  const bool none = !axes || axes->elements.empty(), keepdims = attrs.flag("keepdims", true);
  const bool noop = attrs.flag("noop_with_empty_axes");
  Axes a;
  SymExpr kept = 0;
  for (int64_t d = 0; d < rank; ++d) {
    SymExpr reduced = none && !noop ? 1 : 0;
    if (!none)
      for (const SymExpr& axis : axes->elements) reduced = select_eq(axis, d, 1, select_eq(axis, d - rank, 1, reduced));
    a.position.push_back(keepdims ? SymExpr(d) : kept);
    kept = kept + 1 - reduced;
    a.reduced.push_back(std::move(reduced));
  }
  const int64_t dropped = none ? (noop ? 0 : rank) : static_cast<int64_t>(axes->elements.size());
  a.result_rank = keepdims ? rank : rank - dropped;
  return a;
}

Dims result_dims(const Axes& a, const Dims& dims, bool keepdims) {
  Dims out;
  for (int64_t j = 0; j < a.result_rank; ++j) {
    SymExpr extent = 0;
    if (keepdims)
      extent = select_eq(a.reduced[static_cast<size_t>(j)], 1, 1, dims[static_cast<size_t>(j)]);
    else
      for (size_t d = 0; d < dims.size(); ++d)
        extent = select_eq(a.reduced[d], 0, select_eq(a.position[d], j, dims[d], extent), extent);
    out.push_back(std::move(extent));
  }
  return out;
}

Result<Axes> infer_axes(InferContext& c) {
  const SymTensor* axes = nullptr;
  if (c.has(1)) {
    FCC_CHECKED(ops::require_type(c, 1, ops::kInts, "axes"));
    FCC_CHECKED(ops::status_of(c.observe(1)));
    axes = c.content(1);
    if (static_cast<int64_t>(axes->elements.size()) > c.rank(0))
      return c.fail("has " + std::to_string(axes->elements.size()) + " axes, the input has rank " +
                    std::to_string(c.rank(0)));
    if (axes->is_constant()) FCC_CHECKED(ops::status_of(normalize_axes(c, axes->constants(), c.rank(0), false)));
  }
  return axes_of(axes, c.rank(0), c.attrs);
}

// ---- reductions -----------------------------------------------------------------------------------------------

enum class Kind : uint8_t { sum, mean, max, min, prod, l1, l2, log_sum, log_sum_exp, sum_square };

constexpr bool is_extreme(Kind k) {
  return k == Kind::max || k == Kind::min;
}
constexpr bool needs_float(Kind k) {
  return k == Kind::l2 || k == Kind::log_sum || k == Kind::log_sum_exp;
}
ReduceOp step(Kind k, bool boolean) {
  if (k == Kind::max) return boolean ? ReduceOp::logical_or : ReduceOp::max;
  if (k == Kind::min) return boolean ? ReduceOp::logical_and : ReduceOp::min;
  return k == Kind::prod ? ReduceOp::mul : ReduceOp::add;
}
// The type a reduction computes in: roots and logarithms of integers go through double.
DType work_type(Kind k, DType t) {
  if (is_float(t)) return loop::compute_type(t);
  if (needs_float(k)) return DType::f64;
  return k == Kind::mean && t != DType::u64 ? DType::i64 : t;
}

// Whole numbers of a shape: ReduceProd(Shape(x)) and the like.
void propagate_content(Kind kind, InferContext& c, const Axes& axes) {
  const SymTensor* x = c.content(0);
  if (!x || x->rank != 1 || c.dtype(0) == DType::boolean || !axes.reduced[0].is(1) || x->elements.empty()) return;
  if (kind != Kind::sum && kind != Kind::prod && !is_extreme(kind)) return;
  SymExpr e = x->elements[0];
  for (size_t i = 1; i < x->elements.size(); ++i) {
    const SymExpr& y = x->elements[i];
    e = kind == Kind::sum ? e + y : kind == Kind::prod ? e * y : kind == Kind::max ? max(e, y) : min(e, y);
  }
  c.set_content(0, SymTensor{axes.result_rank, {std::move(e)}});
}

template <Kind kind>
Status infer_reduce(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, is_extreme(kind) ? ops::kAnything : ops::kNumbers, "the input"));
  FCC_TRY(Axes axes, infer_axes(c));
  c.set(0, c.dtype(0), result_dims(axes, c.dims(0), c.attrs.flag("keepdims", true)));
  propagate_content(kind, c, axes);
  return {};
}

template <class T>
T apply_step(Kind kind, T a, T b) {
  if (kind == Kind::prod) return ops::times(a, b);
  if (!is_extreme(kind)) return ops::plus(a, b);
  if constexpr (std::is_same_v<T, double>) {
    if (std::isnan(a)) return a;
    if (std::isnan(b)) return b;
  }
  return kind == Kind::max ? std::max(a, b) : std::min(a, b);
}
template <class T>
T before_step(Kind kind, T x) {
  if (kind == Kind::l1) return x < T{0} ? ops::times(x, static_cast<T>(-1)) : x;
  if (kind == Kind::l2 || kind == Kind::sum_square) return ops::times(x, x);
  return x;
}
template <class T>
T after_steps(Kind kind, T x, int64_t count) {
  if constexpr (std::is_same_v<T, double>) {
    if (kind == Kind::l2) return std::sqrt(x);
    if (kind == Kind::log_sum) return std::log(x);
    if (kind == Kind::mean) return x / static_cast<double>(count);
  }
  if (kind == Kind::mean) return count == 0 ? T{0} : x / static_cast<T>(count);
  return x;
}
template <class T>
T identity_of(Kind kind, DType t) {
  const loop::Value v = loop::reduce_identity(step(kind, t == DType::boolean), loop::compute_type(t));
  return std::is_same_v<T, double> ? static_cast<T>(v.f) : static_cast<T>(v.i);
}

// Where each element of the input goes in the result, as strides; and how many elements meet in one.
std::vector<int64_t> result_strides(const EvalContext& c, int64_t& count) {
  const std::vector<int64_t>& shape = c.in[0]->shape();
  SymTensor axes{1, {}};
  if (c.has(1))
    for (int64_t a : c.in[1]->to_ints()) axes.elements.emplace_back(a);
  const Axes a = axes_of(c.has(1) ? &axes : nullptr, c.in[0]->rank(), c.attrs);
  const std::vector<int64_t> own = strides_of(c.out[0].shape());
  std::vector<int64_t> strides;
  count = 1;
  for (size_t d = 0; d < shape.size(); ++d) {
    const bool reduced = a.reduced[d].is(1);
    strides.push_back(reduced ? 0 : own[static_cast<size_t>(a.position[d].constant())]);
    if (reduced) count *= shape[d];
  }
  return strides;
}

// log sum exp(x) = m + log sum exp(x - m) with the largest finite m.
void eval_log_sum_exp(EvalContext& c) {
  int64_t count = 0;
  const std::vector<int64_t> strides = result_strides(c, count);
  const std::vector<double> x = c.in[0]->to_doubles();
  std::vector<double> top(static_cast<size_t>(c.out[0].elements()), -HUGE_VAL), sum(top.size(), 0);
  ops::for_each_strided(c.in[0]->shape(), strides,
                        [&](size_t i, size_t o) { top[o] = apply_step(Kind::max, top[o], x[i]); });
  for (double& m : top)
    if (std::isinf(m)) m = 0;
  ops::for_each_strided(c.in[0]->shape(), strides, [&](size_t i, size_t o) { sum[o] += std::exp(x[i] - top[o]); });
  for (size_t o = 0; o < sum.size(); ++o) sum[o] = top[o] + std::log(sum[o]);
  ops::store(c.out[0], sum);
}

template <Kind kind, class T>
void eval_reduce_as(EvalContext& c) {
  int64_t count = 0;
  const std::vector<int64_t> strides = result_strides(c, count);
  const std::vector<T> x = ops::numbers<T>(*c.in[0]);
  const T start = is_extreme(kind) ? identity_of<T>(kind, c.in[0]->dtype()) : kind == Kind::prod ? T{1} : T{0};
  std::vector<T> out(static_cast<size_t>(c.out[0].elements()), start);
  ops::for_each_strided(c.in[0]->shape(), strides,
                        [&](size_t i, size_t o) { out[o] = apply_step(kind, out[o], before_step(kind, x[i])); });
  for (T& v : out) v = after_steps(kind, v, count);
  ops::store(c.out[0], out);
}

template <Kind kind>
void eval_reduce(EvalContext& c) {
  if constexpr (kind == Kind::log_sum_exp) return eval_log_sum_exp(c);
  if (needs_float(kind)) return eval_reduce_as<kind, double>(c);
  ops::with_number(c.in[0]->dtype(), [&](auto zero) { eval_reduce_as<kind, decltype(zero)>(c); });
}

// The elements that meet in one element of the result: their extents, and one of them given the loop variables.
struct Group {
  std::vector<Expr> extents;
  std::function<std::vector<Expr>(In vars)> index;
};

// Position p of the result's index when p may be known only while running.
Expr coordinate(In index, const SymExpr& position) {
  if (position.is_constant())
    return position.constant() < static_cast<int64_t>(index.size()) ? index[static_cast<size_t>(position.constant())]
                                                                    : loop::index(0);
  Expr e = loop::index(0);
  for (size_t j = 0; j < index.size(); ++j)
    e = loop::select(loop::eq(loop::from_sym(position), loop::index(static_cast<int64_t>(j))), index[j], e);
  return e;
}

Group group_of(DefineContext& c, In index) {
  const SymTensor* known = c.has(1) ? c.contents[1] : nullptr;
  FCC_CHECK(!c.has(1) || known, "axes of {} were not observed", c.op->name);
  const Axes axes = axes_of(known, c.rank(0), *c.attrs);
  Group g;
  std::vector<Expr> base, is_reduced;  // is_reduced: null for a kept axis
  SymExpr count = 0;
  for (size_t d = 0; d < axes.reduced.size(); ++d) {
    const SymExpr& reduced = axes.reduced[d];
    count = count + reduced;
    base.push_back(coordinate(index, axes.position[d]));
    is_reduced.push_back(reduced.is(0) ? nullptr : loop::eq(loop::from_sym(reduced), loop::index(1)));
    if (is_reduced[d]) g.extents.push_back(loop::select(is_reduced[d], c.dim(0, d), loop::index(1)));
  }
  if (known && !known->elements.empty())
    ops::fault_if(c,
                  loop::binary(loop::BinaryOp::ne, loop::from_sym(count),
                               loop::index(static_cast<int64_t>(known->elements.size()))),
                  "an axis is out of range or named twice");
  g.index = [base, is_reduced](In vars) {
    std::vector<Expr> at;
    size_t next = 0;
    for (size_t d = 0; d < base.size(); ++d)
      at.push_back(is_reduced[d] ? loop::select(is_reduced[d], vars[next++], base[d]) : base[d]);
    return at;
  };
  return g;
}

Expr finite_or_zero(const Expr& x) {
  return loop::select(loop::unary(UnaryOp::is_inf, x), ops::number(x, 0), x);
}

template <Kind kind>
Expr define_reduce(DefineContext& c, size_t, In index) {
  const Group g = group_of(c, index);
  const DType work = work_type(kind, c.dtype(0));
  const auto element = [&](In vars) { return loop::cast(work, c.in(0, g.index(vars))); };
  const auto over = [&](ReduceOp op, const std::function<Expr(Expr)>& body) {
    return ops::reduce_over(c, op, g.extents, [&](In vars) { return body(element(vars)); });
  };
  Expr e;
  if constexpr (kind == Kind::log_sum_exp) {
    const Expr top = finite_or_zero(over(ReduceOp::max, [](Expr x) { return x; }));
    e = top +
        loop::unary(UnaryOp::log, over(ReduceOp::add, [&](Expr x) { return loop::unary(UnaryOp::exp, x - top); }));
  } else {
    e = over(step(kind, work == DType::boolean), [](Expr x) {
      if (kind == Kind::l1) return loop::unary(UnaryOp::abs, x);
      return kind == Kind::l2 || kind == Kind::sum_square ? x * x : x;
    });
    if (kind == Kind::mean) e = e / loop::cast(work, ops::product(g.extents));
    if (kind == Kind::l2) e = loop::unary(UnaryOp::sqrt, e);
    if (kind == Kind::log_sum) e = loop::unary(UnaryOp::log, e);
  }
  return loop::cast(loop::compute_type(c.out_types[0]->dtype), e);
}

// ---- ArgMax, ArgMin -------------------------------------------------------------------------------------------

Status infer_arg(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the input"));
  FCC_TRY(const int64_t axis, c.axis(c.attrs.integer("axis"), c.rank(0)));
  if (c.dims(0)[static_cast<size_t>(axis)].is(0))
    return c.fail("axis " + std::to_string(axis) + " has no elements to choose from");
  Dims dims = c.dims(0);
  if (c.attrs.flag("keepdims", true))
    dims[static_cast<size_t>(axis)] = 1;
  else
    dims.erase(dims.begin() + axis);
  c.set(0, DType::i64, std::move(dims));
  return {};
}

int64_t arg_axis(const Attrs& attrs, int64_t rank) {
  const int64_t axis = attrs.integer("axis");
  return axis < 0 ? axis + rank : axis;
}

// Whether a replaces b; the first NaN beats every number.
template <class T>
bool beats(bool largest, bool last, T a, T b) {
  if constexpr (std::is_same_v<T, double>) {
    if (std::isnan(b)) return std::isnan(a) && last;
    if (std::isnan(a)) return true;
  }
  return (largest ? a > b : a < b) || (last && a == b);
}

template <bool largest>
void eval_arg(EvalContext& c) {
  const ops::Lines lines(c.in[0]->shape(), arg_axis(c.attrs, c.in[0]->rank()));
  const bool last = c.attrs.flag("select_last_index");
  ops::with_number(c.in[0]->dtype(), [&](auto zero) {
    const auto x = ops::numbers<decltype(zero)>(*c.in[0]);
    int64_t flat = 0;
    lines.each([&](size_t first) {
      int64_t best = 0;
      for (int64_t k = 1; k < lines.n; ++k)
        if (beats(largest, last, x[lines.at(first, k)], x[lines.at(first, best)])) best = k;
      c.out[0].set_int(flat++, best);
    });
  });
}

// The extreme first, then the smallest (or largest) position that holds it; a NaN is the extreme of its line.
template <bool largest>
Expr define_arg(DefineContext& c, size_t, In index) {
  const int64_t axis = arg_axis(*c.attrs, c.rank(0));
  const bool last = c.attrs->flag("select_last_index");
  std::vector<Expr> at(index.begin(), index.end());
  if (!c.attrs->flag("keepdims", true)) at.insert(at.begin() + axis, loop::index(0));
  const Expr extent = c.dim(0, static_cast<size_t>(axis));
  const auto element = [&](Expr k) { return c.in(0, ops::replaced(at, axis, std::move(k))); };
  const Expr extreme = c.reduce(largest ? ReduceOp::max : ReduceOp::min, "k", extent, element);
  return c.reduce(last ? ReduceOp::max : ReduceOp::min, "k", extent, [&](Expr k) {
    const Expr x = element(k);
    Expr hit = loop::eq(x, extreme);
    if (is_float(x->type)) hit = loop::binary(loop::BinaryOp::logical_or, hit, loop::unary(UnaryOp::is_nan, x));
    return loop::select(hit, k, last ? loop::index(-1) : extent);
  });
}

// ---- CumSum ---------------------------------------------------------------------------------------------------

Status infer_cumsum(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the input"));
  FCC_CHECKED(ops::require_type(c, 1, ops::kInts, "the axis"));
  if (c.rank(1) > 1 || (c.rank(1) == 1 && !c.dims(1)[0].is(1)))
    return c.fail("axis has shape " + text(c.dims(1)) + ", expected a scalar");
  if (const SymTensor* axis = c.content(1); axis && axis->is_constant())
    FCC_CHECKED(ops::status_of(c.axis(axis->constants()[0], c.rank(0))));
  if (c.rank(0) == 0) return c.fail("the input is a scalar, which has no axis");
  c.set(0, c.type(0));
  return {};
}

void eval_cumsum(EvalContext& c) {
  const int64_t axis = c.in[1]->get_int(0);
  const ops::Lines lines(c.in[0]->shape(), axis < 0 ? axis + c.in[0]->rank() : axis);
  const bool exclusive = c.attrs.flag("exclusive"), reverse = c.attrs.flag("reverse");
  ops::with_number(c.in[0]->dtype(), [&](auto zero) {
    auto x = ops::numbers<decltype(zero)>(*c.in[0]);
    lines.each([&](size_t first) {
      auto sum = zero;
      for (int64_t k = 0; k < lines.n; ++k) {
        auto& v = x[lines.at(first, reverse ? lines.n - 1 - k : k)];
        const auto next = ops::plus(sum, v);
        v = exclusive ? sum : next;
        sum = next;
      }
    });
    ops::store(c.out[0], x);
  });
}

// sum of x[j] over j in [0,i], [0,i), [i,n) or (i,n)
Expr define_cumsum(DefineContext& c, size_t, In index) {
  const int64_t rank = c.rank(0);
  Expr axis = c.element(1, 0);
  axis = loop::select(loop::lt(axis, loop::index(0)), axis + rank, axis);
  ops::fault_if(
      c, loop::binary(loop::BinaryOp::logical_or, loop::lt(axis, loop::index(0)), loop::ge(axis, loop::index(rank))),
      "the axis is out of range");
  Expr i = loop::index(0), n = loop::index(0);
  std::vector<Expr> is_axis;
  for (int64_t d = 0; d < rank; ++d) {
    is_axis.push_back(loop::eq(axis, loop::index(d)));
    i = loop::select(is_axis.back(), index[static_cast<size_t>(d)], i);
    n = loop::select(is_axis.back(), c.dim(0, static_cast<size_t>(d)), n);
  }
  const bool exclusive = c.attrs->flag("exclusive"), reverse = c.attrs->flag("reverse");
  const Expr lo = !reverse ? loop::index(0) : exclusive ? i + 1 : i;
  const Expr hi = reverse ? n : exclusive ? i : i + 1;
  const loop::VarId j = c.fresh_var("j");
  std::vector<Expr> at;
  for (size_t d = 0; d < index.size(); ++d) at.push_back(loop::select(is_axis[d], loop::var(j), index[d]));
  return loop::reduce(ReduceOp::add, j, lo, hi, c.in(0, at));
}

// ---- gradients ------------------------------------------------------------------------------------------------

// How x changes y: dL/dx from d = dL/dy and y, both with the reduced axes kept as 1.
struct Reduction {
  Term x, y, d;
  std::vector<int64_t> axes;
  SymExpr count = 1;  // elements that meet in one
  Term sum(Term t) const { return x.b->sum(t, axes); }
  Term as_number(Term condition) const { return cast(x.type().dtype, condition); }
};

// The product of all others. Zeros make the quotient y/x useless: with one of them only its own slope is not 0.
Term slope_of_product(const Reduction& r) {
  if (r.axes.empty()) return r.x.b->full(r.x.type(), 1);
  const Term is_zero = equal(r.x, 0), zeros = r.sum(r.as_number(is_zero)), nonzero = where(is_zero, 1, r.x);
  const Term product = r.x.b->term((*r.x.b)("ReduceProd", {nonzero.v, r.x.b->ints(r.axes)}));
  return where(is_zero, where(equal(zeros, 1), product, 0), where(equal(zeros, 0), product / nonzero, 0));
}

template <Kind kind>
Term reduction_gradient(const Reduction& r) {
  if constexpr (kind == Kind::sum) return r.d;
  if constexpr (kind == Kind::mean) return r.d / r.x.b->size(r.x.type().dtype, r.count);
  if constexpr (is_extreme(kind)) {  // ties share
    const Term hit = r.as_number(equal(r.x, r.y));
    return hit * (r.d / r.sum(hit));
  }
  if constexpr (kind == Kind::prod) return r.d * slope_of_product(r);
  if constexpr (kind == Kind::l1) return r.d * fn("Sign", r.x);
  if constexpr (kind == Kind::l2) return r.x * (r.d / where(equal(r.y, 0), 1, r.y));  // 0 where the norm is 0
  if constexpr (kind == Kind::log_sum) return r.d / r.sum(r.x);
  if constexpr (kind == Kind::log_sum_exp) return r.d * fn("Exp", r.x - r.y);
  if constexpr (kind == Kind::sum_square) return r.x * (r.d * 2);
}

template <Kind kind>
Result<std::vector<ValueId>> grad_reduce(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  SymTensor known{1, {}};
  if (b.has(1)) {
    FCC_TRY(const std::vector<int64_t> axes, b.constants(1, "axes"));
    known.elements.assign(axes.begin(), axes.end());
  }
  Reduction r{b.in(0), b.out(), b.dy(), {}};
  Dims kept = b.dims(0);
  const Axes axes = axes_of(b.has(1) ? &known : nullptr, static_cast<int64_t>(kept.size()), n.attrs);
  for (size_t d = 0; d < kept.size(); ++d)
    if (axes.reduced[d].is(1)) {
      r.axes.push_back(static_cast<int64_t>(d));
      r.count = r.count * std::exchange(kept[d], 1);
    }
  r.y = b.reshape(r.y, kept);
  r.d = b.reshape(r.d, kept);
  b.give(0, [&] { return b.expand(reduction_gradient<kind>(r), b.dims(0)); });
  return b.done();
}

// y_i sums x_j over j <= i, so dx_j sums dy_i over i >= j.
Result<std::vector<ValueId>> grad_cumsum(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  Attrs attrs = n.attrs;
  attrs.set("reverse", int64_t{!n.attrs.flag("reverse")});
  b.give(0, [&] { return b.node("CumSum", {b.dy(), b.in(1)}, attrs); });
  return b.done();
}

template <Kind kind>
void add(Registry& r, std::string_view name, std::string_view doc) {
  r.add({.name = name,
         .doc = doc,
         .attrs = {{"keepdims", AttrType::integer}, {"noop_with_empty_axes", AttrType::integer}},
         .in = {1, 2},
         .out = {1, 1},
         .shape_operands = {1},
         .infer = infer_reduce<kind>,
         .eval = eval_reduce<kind>,
         .define = define_reduce<kind>,
         .grad = grad_reduce<kind>});
}
template <bool largest>
void add_arg(Registry& r, std::string_view name, std::string_view doc) {
  r.add({.name = name,
         .doc = doc,
         .attrs = {{"axis", AttrType::integer},
                   {"keepdims", AttrType::integer},
                   {"select_last_index", AttrType::integer}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_arg,
         .eval = eval_arg<largest>,
         .define = define_arg<largest>,
         .no_grad = "its result is a position"});
}

}  // namespace

void register_reduce(Registry& r) {
  add<Kind::sum>(r, "ReduceSum", "sum over axes");
  add<Kind::mean>(r, "ReduceMean", "mean over axes; of integers truncated");
  add<Kind::max>(r, "ReduceMax", "largest over axes; NaN wins");
  add<Kind::min>(r, "ReduceMin", "smallest over axes; NaN wins");
  add<Kind::prod>(r, "ReduceProd", "product over axes");
  add<Kind::l1>(r, "ReduceL1", "sum |x| over axes");
  add<Kind::l2>(r, "ReduceL2", "sqrt(sum x^2) over axes");
  add<Kind::log_sum>(r, "ReduceLogSum", "log(sum x) over axes");
  add<Kind::log_sum_exp>(r, "ReduceLogSumExp", "log(sum exp(x)) over axes, without overflow");
  add<Kind::sum_square>(r, "ReduceSumSquare", "sum x^2 over axes");
  add_arg<true>(r, "ArgMax", "position of the largest element along an axis");
  add_arg<false>(r, "ArgMin", "position of the smallest element along an axis");
  r.add({.name = "CumSum",
         .doc = "running sum along an axis",
         .attrs = {{"exclusive", AttrType::integer}, {"reverse", AttrType::integer}},
         .in = {2, 2},
         .out = {1, 1},
         .shape_operands = {1},
         .infer = infer_cumsum,
         .eval = eval_cumsum,
         .define = define_cumsum,
         .grad = grad_cumsum});
}

}  // namespace fcc
