// Parts and their joining: Concat Split Slice, and Unslice, the transpose of Slice.
#include <algorithm>
#include <limits>
#include <numeric>

#include "ir/grad.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using Index = std::span<const Expr>;

// ---- Concat -------------------------------------------------------------------------------------------------

void concat_content(InferContext& c) {
  SymTensor s{1, {}};
  for (size_t k = 0; k < c.n_in(); ++k) {
    const SymTensor* part = c.content(k);
    if (!part || part->rank != 1 || s.elements.size() + part->elements.size() > kMaxSymElements) return;
    s.elements.insert(s.elements.end(), part->elements.begin(), part->elements.end());
  }
  c.set_content(0, std::move(s));
}

Status infer_concat(InferContext& c) {
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis"), c.rank(0)));
  Dims dims = c.dims(0);
  const auto a = static_cast<size_t>(axis);
  for (size_t k = 1; k < c.n_in(); ++k) {
    if (!c.has(k)) return c.fail("operand " + std::to_string(k) + " is missing");
    if (c.rank(k) != c.rank(0) || c.dtype(k) != c.dtype(0))
      return c.fail("operand " + std::to_string(k) + " is " + c.type(k).text() + ", the first is " + c.type(0).text(),
                    "all operands need one element type and one rank");
    for (size_t d = 0; d < dims.size(); ++d) {
      const SymExpr& e = c.dims(k)[d];
      if (d == a) {
        dims[d] = dims[d] + e;
      } else if (dims[d].is_constant() && e.is_constant() && !(dims[d] == e)) {
        return c.fail("operand " + std::to_string(k) + " has extent " + e.text() + " at axis " + std::to_string(d) +
                          ", the others have " + dims[d].text(),
                      "operands may differ only along axis " + std::to_string(axis));
      } else {
        assume_equal(c, dims[d], e);
        if (e.is_constant()) dims[d] = e;
      }
    }
  }
  c.set(0, c.dtype(0), std::move(dims));
  if (c.rank(0) == 1) concat_content(c);
  return {};
}

void eval_concat(EvalContext& c) {
  const size_t a = axis_of(c.attrs, c.out[0].rank());
  const std::vector<int64_t> strides = strides_of(c.out[0].shape());
  int64_t at = 0;
  for (const Tensor* part : c.in) {
    strided_copy(part->shape(), c.out[0], {at * strides[a], strides}, *part, {0, strides_of(part->shape())});
    at += part->shape()[a];
  }
}

// A chain of guarded loads, each the `otherwise` of the one before.
Expr define_concat(DefineContext& c, size_t, Index index) {
  const size_t a = axis_of(*c.attrs, c.rank(0)), n = c.in_types.size();
  std::vector<SymExpr> offset(n + 1, 0);
  for (size_t k = 0; k < n; ++k) offset[k + 1] = offset[k] + c.dims(k)[a];
  Expr value = loop::constant(loop::compute_type(c.dtype(0)), 0);
  bool last = true;
  for (size_t k = n; k-- > 0;) {
    if (c.dims(k)[a].is(0)) continue;
    std::vector<Expr> at(index.begin(), index.end());
    const Expr lo = loop::from_sym(offset[k]), hi = loop::from_sym(offset[k + 1]);
    at[a] = index[a] - lo;
    Expr guard = offset[k].is(0) ? loop::boolean(true) : loop::ge(index[a], lo);
    if (!last) guard = loop::both(guard, loop::lt(index[a], hi));
    value = loop::is_constant(guard) ? c.in(k, at) : c.in_guarded(k, at, guard, value);
    last = false;
  }
  return value;
}

// ---- Split --------------------------------------------------------------------------------------------------

// Extents of n parts of near-equal size: ceil(extent/n), the last one smaller.
std::vector<SymExpr> equal_parts(const SymExpr& extent, int64_t n) {
  const SymExpr chunk = mod(extent, n).is(0) ? floordiv(extent, n) : ceildiv(extent, n);
  std::vector<SymExpr> parts;
  for (int64_t i = 0; i < n; ++i)
    parts.push_back(mod(extent, n).is(0) ? chunk : max(min(chunk, extent - chunk * i), 0));
  return parts;
}

Result<std::vector<SymExpr>> split_parts(InferContext& c, const SymExpr& extent, int64_t axis) {
  const auto n = static_cast<int64_t>(c.n_out());
  if (!c.has(1)) {
    const int64_t wanted = c.attrs.integer("num_outputs", n);
    if (wanted != n)
      return c.fail("num_outputs is " + std::to_string(wanted) + ", but it has " + std::to_string(n) + " results");
    if (extent.is_constant() && n > 1 && extent.constant() < saturating_multiply(n - 1, ceildiv(extent, n).constant()))
      return c.fail("extent " + extent.text() + " cannot be split into " + std::to_string(n) +
                        " parts of equal size and a smaller last one",
                    "give the parts with the operand `split`");
    return equal_parts(extent, n);
  }
  FCC_TRY(SymTensor split, c.observe(1));
  if (static_cast<int64_t>(split.elements.size()) != n)
    return c.fail("split has " + std::to_string(split.elements.size()) + " entries for " + std::to_string(n) +
                  " results");
  const SymExpr sum = std::accumulate(split.elements.begin(), split.elements.end(), SymExpr(0));
  for (const SymExpr& e : split.elements)
    if (e.is_constant() && e.constant() < 0)
      return c.fail("split has the negative entry " + e.text(), "the size of a part is 0 or more");
  if (const SymExpr difference = sum - extent; difference.is_constant() && !difference.is(0))
    return c.fail("the parts sum to " + sum.text() + ", axis " + std::to_string(axis) + " has extent " + extent.text(),
                  "the entries of split must sum to the extent");
  assume_equal(c, sum, extent);
  return split.elements;
}

Status infer_split(InferContext& c) {
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis", 0), c.rank(0)));
  const auto a = static_cast<size_t>(axis);
  FCC_TRY(std::vector<SymExpr> parts, split_parts(c, c.dims(0)[a], axis));
  size_t at = 0;
  bool known = true;
  for (size_t r = 0; r < parts.size(); ++r) {
    Dims dims = c.dims(0);
    dims[a] = parts[r];
    c.set(r, c.dtype(0), std::move(dims));
    known = known && parts[r].is_constant();
    if (!known || !c.content(0) || c.content(0)->rank != 1) continue;
    const auto first = c.content(0)->elements.begin() + static_cast<int64_t>(at);
    at += static_cast<size_t>(parts[r].constant());
    c.set_content(r, {1, {first, first + parts[r].constant()}});
  }
  return {};
}

void eval_split(EvalContext& c) {
  const size_t a = axis_of(c.attrs, c.in[0]->rank());
  const std::vector<int64_t> strides = strides_of(c.in[0]->shape());
  int64_t at = 0;
  for (Tensor& part : c.out) {
    strided_copy(part.shape(), part, {0, strides_of(part.shape())}, *c.in[0], {at * strides[a], strides});
    at += part.shape()[a];
  }
}

Expr define_split(DefineContext& c, size_t result, Index index) {
  const size_t a = axis_of(*c.attrs, c.rank(0));
  SymExpr before = 0;
  for (size_t r = 0; r < result; ++r) before = before + c.out_types[r]->dims[a];
  std::vector<Expr> at(index.begin(), index.end());
  at[a] = index[a] + loop::from_sym(before);
  return c.in(0, at);
}

// ---- Slice --------------------------------------------------------------------------------------------------

// One axis: element i of the result is element start + i*step of the operand.
struct AxisSlice {
  SymExpr start = 0, step = 1, length = 0;
};

constexpr int64_t kEndless =
    std::numeric_limits<int32_t>::max();  // exporters write INT32_MAX or INT64_MAX for "to the end"

// Bound b of an axis wrapped and clamped to [lo, extent + hi].
SymExpr clamp_bound(const SymExpr& b, const SymExpr& extent, int64_t lo, int64_t hi) {
  if (b.is_constant() && b.constant() >= kEndless && !extent.is_constant()) return extent + hi;
  if (b.is_constant() && b.constant() <= -kEndless && !extent.is_constant()) return lo;
  return max(min(wrap_negative(b, extent), extent + hi), lo);
}

AxisSlice slice_forward(const SymExpr& extent, const SymExpr& start, const SymExpr& end, const SymExpr& step) {
  const SymExpr first = clamp_bound(start, extent, 0, 0), last = clamp_bound(end, extent, 0, 0);
  if (start.is_constant() && start.constant() < 0 && last == extent && step.is(1))
    return {first, step, min(extent, saturating_multiply(start.constant(), -1))};  // the last few
  return {first, step, max(-floordiv(first - last, step), 0)};
}

AxisSlice slice_backward(const SymExpr& extent, const SymExpr& start, const SymExpr& end, const SymExpr& step) {
  const SymExpr first = clamp_bound(start, extent, -1, -1), last = clamp_bound(end, extent, -1, -1);
  return {first, step, max(-floordiv(first - last, step), 0)};
}

AxisSlice slice_axis(const SymExpr& extent, const SymExpr& start, const SymExpr& end, const SymExpr& step) {
  if (step.provably_positive()) return slice_forward(extent, start, end, step);
  if ((-step).provably_positive()) return slice_backward(extent, start, end, step);
  const AxisSlice f = slice_forward(extent, start, end, step), b = slice_backward(extent, start, end, step);
  return {select_lt(step, 0, b.start, f.start), step, select_lt(step, 0, b.length, f.length)};
}

// Operands of Slice as numbers: starts, ends, axes, steps; the last two may be empty.
struct SliceOperands {
  std::vector<SymExpr> starts, ends, axes, steps;
};

std::vector<AxisSlice> slice_axes(const Dims& in, const SliceOperands& o) {
  std::vector<AxisSlice> out;
  for (size_t d = 0; d < in.size(); ++d) {
    AxisSlice whole{0, 1, in[d]};
    for (size_t k = 0; k < o.starts.size(); ++k) {
      const SymExpr axis =
          o.axes.empty() ? SymExpr(static_cast<int64_t>(k)) : wrap_negative(o.axes[k], static_cast<int64_t>(in.size()));
      const auto here = static_cast<int64_t>(d);
      if (axis.is_constant() && !axis.is(here)) continue;
      const AxisSlice s = slice_axis(in[d], o.starts[k], o.ends[k], o.steps.empty() ? SymExpr(1) : o.steps[k]);
      whole = {select_eq(axis, here, s.start, whole.start), select_eq(axis, here, s.step, whole.step),
               select_eq(axis, here, s.length, whole.length)};
    }
    out.push_back(std::move(whole));
  }
  return out;
}

Status check_slice(InferContext& c, const SliceOperands& o) {
  const size_t n = o.starts.size();
  const auto same = [&](const std::vector<SymExpr>& v) { return v.empty() || v.size() == n; };
  if (o.ends.size() != n || !same(o.axes) || !same(o.steps))
    return c.fail("starts, ends, axes and steps have " + std::to_string(n) + ", " + std::to_string(o.ends.size()) +
                      ", " + std::to_string(o.axes.size()) + " and " + std::to_string(o.steps.size()) + " entries",
                  "they must have the same length");
  if (static_cast<int64_t>(n) > c.rank(0))
    return c.fail("slices " + std::to_string(n) + " axes of an operand of rank " + std::to_string(c.rank(0)));
  for (const SymExpr& s : o.steps) {
    if (s.is(0)) return c.fail("a step is 0", "a step is any number but 0; -1 reverses the axis");
    assume_not(c, s, 0);
  }
  for (const SymExpr& a : o.axes) assume_axis(c, a, c.rank(0));
  const bool known = std::all_of(o.axes.begin(), o.axes.end(), [](const SymExpr& a) { return a.is_constant(); });
  if (!known) return {};
  std::vector<int64_t> axes;
  for (const SymExpr& a : o.axes) axes.push_back(a.constant());
  FCC_TRY(auto normal, normalize_axes(c, axes, c.rank(0), false));
  return {};
}

Status infer_slice(InferContext& c) {
  SliceOperands o;
  std::vector<SymExpr>* parts[] = {&o.starts, &o.ends, &o.axes, &o.steps};
  for (size_t k = 0; k < 4; ++k) {
    if (!c.has(k + 1)) continue;
    FCC_TRY(SymTensor t, c.observe(k + 1));
    *parts[k] = t.elements;
  }
  FCC_CHECKED(check_slice(c, o));
  const std::vector<AxisSlice> slices = slice_axes(c.dims(0), o);
  Dims dims;
  for (const AxisSlice& s : slices) dims.push_back(s.length);
  c.set(0, c.dtype(0), std::move(dims));
  const SymTensor* content = c.content(0);
  if (!content || content->rank != 1) return {};
  const AxisSlice& s = slices[0];
  if (!s.start.is_constant() || !s.step.is_constant() || !s.length.is_constant()) return {};
  SymTensor out{1, {}};
  for (int64_t i = 0; i < s.length.constant(); ++i)
    out.elements.push_back(content->elements.at(static_cast<size_t>(s.start.constant() + i * s.step.constant())));
  c.set_content(0, std::move(out));
  return {};
}

void eval_slice(EvalContext& c) {
  SliceOperands o;
  std::vector<SymExpr>* parts[] = {&o.starts, &o.ends, &o.axes, &o.steps};
  for (size_t k = 0; k < 4; ++k)
    if (c.has(k + 1)) *parts[k] = numbers_of(*c.in[k + 1]);
  const std::vector<AxisSlice> slices = slice_axes(c.in[0]->type().dims, o);
  StridedSide from{0, strides_of(c.in[0]->shape())};
  for (size_t d = 0; d < slices.size(); ++d) {
    from.offset += slices[d].start.constant() * from.strides[d];
    from.strides[d] = saturating_multiply(from.strides[d], slices[d].step.constant());
  }
  strided_copy(c.out[0].shape(), c.out[0], {0, strides_of(c.out[0].shape())}, *c.in[0], from);
}

Expr define_slice(DefineContext& c, size_t, Index index) {
  SliceOperands o;
  std::vector<SymExpr>* parts[] = {&o.starts, &o.ends, &o.axes, &o.steps};
  for (size_t k = 0; k < 4; ++k)
    if (c.has(k + 1)) *parts[k] = known_elements(c, k + 1);
  const std::vector<AxisSlice> slices = slice_axes(c.dims(0), o);
  std::vector<Expr> at;
  for (size_t d = 0; d < slices.size(); ++d)
    at.push_back(index[d] * loop::from_sym(slices[d].step) + loop::from_sym(slices[d].start));
  return c.in(0, at);
}

// ---- Unslice ------------------------------------------------------------------------------------------------
// Zeros of the extents `dims` in which element i of the operand stands at starts + i*steps; what falls outside is
// dropped. It takes back a Slice, a Pad with a constant (negative starts) and the stride of a convolution.

Status infer_unslice(InferContext& c) {
  const Dims dims = c.attrs.dims("dims");
  const auto rank = static_cast<size_t>(c.rank(0));
  if (dims.size() != rank || c.attrs.dims("starts").size() != rank || c.attrs.dims("steps").size() != rank)
    return c.fail("dims, starts and steps need one entry an axis");
  c.set(0, c.dtype(0), dims);
  return {};
}

void eval_unslice(EvalContext& c) {
  const Dims starts = c.attrs.dims("starts"), steps = c.attrs.dims("steps");
  const std::vector<int64_t>& shape = c.out[0].shape();
  int64_t flat = 0;
  for_each_index(c.in[0]->shape(), [&](std::span<const int64_t> index) {
    int64_t to = 0;
    bool inside = true;
    for (size_t d = 0; d < index.size(); ++d) {
      const int64_t at = starts[d].constant() + index[d] * steps[d].constant();
      inside = inside && at >= 0 && at < shape[d];
      to = to * shape[d] + at;
    }
    if (inside) strided_copy({}, c.out[0], {to, {}}, *c.in[0], {flat, {}});
    ++flat;
  });
}

Expr define_unslice(DefineContext& c, size_t, Index index) {
  const Dims starts = c.attrs->dims("starts"), steps = c.attrs->dims("steps");
  std::vector<Expr> at;
  Expr guard = loop::boolean(true);
  for (size_t d = 0; d < index.size(); ++d) {
    if (starts[d].is(0) && steps[d].is(1) && c.dims(0)[d] == c.out_types[0]->dims[d]) {
      at.push_back(index[d]);
      continue;
    }
    const Expr t = index[d] + loop::from_sym(-starts[d]), step = loop::from_sym(steps[d]);
    at.push_back(steps[d].is(1) ? t : floordiv(t, step));
    if (!steps[d].is(1)) guard = loop::both(guard, loop::eq(at[d] * step, t));
    guard = loop::both(guard, in_range(at[d], c.dim(0, d)));
  }
  if (loop::is_constant(guard)) return c.in(0, at);
  return c.in_guarded(0, at, guard, loop::constant_int(loop::compute_type(c.dtype(0)), 0));
}

// ---- gradients ----------------------------------------------------------------------------------------------

using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;

Term unslice(GradBuilder& b, Term x, Dims dims, Dims starts, Dims steps) {
  return b.node("Unslice", {x}, {{"dims", std::move(dims)}, {"starts", std::move(starts)}, {"steps", std::move(steps)}});
}

Gradients grad_concat(GradBuilder& b, const Node& n, Dy) {
  const Dims whole = b.dy().type().dims;
  const auto axis = static_cast<int64_t>(axis_of(n.attrs, static_cast<int64_t>(whole.size())));
  Dims extents;
  for (size_t k = 0; k < n.in.size(); ++k) extents.push_back(b.dims(k)[static_cast<size_t>(axis)]);
  const bool open = std::any_of(extents.begin(), extents.end(), [](const SymExpr& e) { return !e.is_constant(); });
  // A Slice whose bounds are open would get a clamped extent; a Split has exactly those it is given.
  std::vector<ValueId> parts;
  if (open) parts = b.many("Split", {b.dy().v, b.GraphBuilder::dims(extents)}, {{"axis", axis}}, static_cast<int32_t>(n.in.size()));
  int64_t at = 0;
  for (size_t k = 0; k < n.in.size(); ++k) {
    const int64_t start = at;
    if (!open) at += extents[k].constant();
    b.give(k, [&] {
      if (open) return b.term(parts[k]);
      return b.term(b("Slice", {b.dy().v, b.ints({start}), b.ints({at}), b.ints({axis})}));
    });
  }
  return b.done();
}

Gradients grad_split(GradBuilder& b, const Node& n, Dy) {
  std::vector<Term> parts;
  for (size_t r = 0; r < n.out.size(); ++r) parts.push_back(b.dy(r) ? b.dy(r) : b.zeros(b.out(r).type()));
  b.give(0, [&] { return b.node("Concat", parts, {{"axis", n.attrs.integer("axis", 0)}}); });
  return b.done();
}

Gradients grad_slice(GradBuilder& b, const Node& n, Dy) {
  SliceOperands o;
  std::vector<SymExpr>* parts[] = {&o.starts, &o.ends, &o.axes, &o.steps};
  for (size_t k = 0; k < 4; ++k)
    if (b.has(k + 1)) *parts[k] = b.graph.value(n.in[k + 1]).content->elements;
  Dims starts, steps;
  for (const AxisSlice& s : slice_axes(b.dims(0), o)) {
    starts.push_back(s.start);
    steps.push_back(s.step);
  }
  b.give(0, [&] { return unslice(b, b.dy(), b.dims(0), starts, steps); });
  return b.done();
}

// The elements that lie inside, at the same places.
Gradients grad_unslice(GradBuilder& b, const Node& n, Dy) {
  const Dims starts = n.attrs.dims("starts"), steps = n.attrs.dims("steps"), own = b.dims(0);
  Dims back;
  for (size_t d = 0; d < own.size(); ++d) {
    if (!steps[d].is(1)) return b.fail("has a gradient for steps of 1 only");
    back.push_back(-starts[d]);
  }
  b.give(0, [&] { return unslice(b, b.dy(), own, back, steps); });
  return b.done();
}

}  // namespace

void register_slice(Registry& r) {
  const AttrSpec axis{"axis", AttrType::integer};
  r.add({.name = "Concat",
         .doc = "operands one after another along an axis",
         .attrs = {{"axis", AttrType::integer, true}},
         .in = {1, -1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_concat,
         .eval = eval_concat,
         .define = define_concat,
         .grad = grad_concat});
  r.add({.name = "Split",
         .doc = "consecutive parts along an axis",
         .attrs = {axis, {"num_outputs", AttrType::integer}},
         .in = {1, 2},
         .out = {1, -1},
         .movement = true,
         .shape_operands = {1},
         .infer = infer_split,
         .eval = eval_split,
         .define = define_split,
         .grad = grad_split});
  r.add({.name = "Slice",
         .doc = "every step-th element from start to end",
         .in = {3, 5},
         .out = {1, 1},
         .movement = true,
         .shape_operands = {1, 2, 3, 4},
         .infer = infer_slice,
         .eval = eval_slice,
         .define = define_slice,
         .grad = grad_slice});
  r.add({.name = "Unslice",
         .doc = "zeros of given extents with the operand at starts + i*steps: the transpose of Slice",
         .attrs = {{"dims", AttrType::dims, true}, {"starts", AttrType::dims, true}, {"steps", AttrType::dims, true}},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_unslice,
         .eval = eval_unslice,
         .define = define_unslice,
         .grad = grad_unslice});
}

}  // namespace fcc
