// Shapes as data and tensors made from shapes: Shape Size ConstantOfShape Range EyeLike OneHot.
#include "ir/ops/shape.h"

#include <algorithm>
#include <cmath>

#include "ir/grad.h"
#include "ir/ops/movement.h"

namespace fcc {

using loop::Expr;
using Index = std::span<const Expr>;

// ---- helpers ------------------------------------------------------------------------------------------------

std::vector<SymExpr> numbers_of(const Tensor& t) {
  std::vector<SymExpr> v;
  for (int64_t i : t.to_ints()) v.emplace_back(i);
  return v;
}

const std::vector<SymExpr>& known_elements(const DefineContext& c, size_t k) {
  FCC_CHECK(c.contents.at(k), "{}: infer did not look at operand {}", c.op->name, k);
  return c.contents[k]->elements;
}

bool reads_data(const SymExpr& e) {
  if (e.is_constant()) return false;
  const std::vector<std::string> s = e.symbols();
  return std::any_of(s.begin(), s.end(), [](const std::string& n) { return n.starts_with('$'); });
}

SymExpr wrap_negative(const SymExpr& e, const SymExpr& extent) {
  return select_lt(e, 0, e + extent, e);
}

SymExpr product(std::span<const SymExpr> dims) {
  SymExpr p = 1;
  for (const SymExpr& d : dims) p = p * d;
  return p;
}

std::optional<std::vector<int64_t>> constant_extents(std::span<const SymExpr> dims) {
  std::vector<int64_t> extents;
  for (const SymExpr& d : dims) {
    if (!d.is_constant()) return std::nullopt;
    extents.push_back(d.constant());
  }
  return extents;
}

size_t axis_of(const Attrs& attrs, int64_t rank) {
  const int64_t a = attrs.integer("axis", 0);
  return static_cast<size_t>(a < 0 ? a + rank : a);
}

Expr scalar_operand(DefineContext& c, size_t k) {
  const std::vector<Expr> at(static_cast<size_t>(c.rank(k)), loop::index(0));
  return c.in(k, at);
}

Expr select_element(std::span<const SymExpr> elements, const Expr& index) {
  if (elements.empty()) return loop::index(0);
  Expr e = loop::from_sym(elements.back());
  for (size_t i = elements.size() - 1; i-- > 0;)
    e = loop::select(loop::eq(index, loop::index(static_cast<int64_t>(i))), loop::from_sym(elements[i]), e);
  return e;
}

Expr clamp(Expr e, Expr lo, Expr hi) {
  return loop::min(loop::max(std::move(e), std::move(lo)), std::move(hi));
}

Expr in_range(const Expr& e, const Expr& extent) {
  return loop::both(loop::ge(e, loop::index(0)), loop::lt(e, extent));
}

void assume_equal(InferContext& c, const SymExpr& a, const SymExpr& b) {
  if (!(a == b)) c.assumed_equal.emplace_back(a, b);
}

void assume_not(InferContext& c, const SymExpr& a, int64_t forbidden) {
  assume_equal(c, select_eq(a, forbidden, 1, 0), 0);
}

void assume_axis(InferContext& c, const SymExpr& axis, int64_t rank) {
  if (!axis.is_constant()) assume_equal(c, min(max(axis, -rank), rank - 1), axis);
}

void pass_content(InferContext& c, size_t result) {
  const SymTensor* content = c.content(0);
  const Dims& dims = c.out_types[result].dims;
  if (!content || dims.size() > 1) return;
  if (dims.size() == 1 ? dims[0].is(static_cast<int64_t>(content->elements.size())) : content->elements.size() == 1)
    c.set_content(result, {static_cast<int64_t>(dims.size()), content->elements});
}

namespace {

// ---- Shape, Size --------------------------------------------------------------------------------------------

std::vector<SymExpr> shape_part(const Attrs& attrs, const Dims& dims) {
  const auto rank = static_cast<int64_t>(dims.size());
  const auto bound = [&](int64_t b) { return std::clamp<int64_t>(b < 0 ? saturating_add(b, rank) : b, 0, rank); };
  const int64_t start = bound(attrs.integer("start", 0)), end = bound(attrs.integer("end", rank));
  if (end <= start) return {};
  return {dims.begin() + start, dims.begin() + end};
}

Status infer_shape(InferContext& c) {
  SymTensor s{1, shape_part(c.attrs, c.dims(0))};
  c.set(0, DType::i64, {static_cast<int64_t>(s.elements.size())});
  c.set_content(0, std::move(s));
  return {};
}

void eval_shape(EvalContext& c) {
  const std::vector<SymExpr> part = shape_part(c.attrs, c.in[0]->type().dims);
  for (size_t i = 0; i < part.size(); ++i) c.out[0].set_int(static_cast<int64_t>(i), part[i].constant());
}

Expr define_shape(DefineContext& c, size_t, Index index) {
  return select_element(shape_part(*c.attrs, c.dims(0)), index[0]);
}

Status infer_size(InferContext& c) {
  c.set(0, DType::i64, {});
  c.set_content(0, {0, {c.type(0).elements()}});
  return {};
}
void eval_size(EvalContext& c) {
  c.out[0].set_int(0, c.in[0]->elements());
}
Expr define_size(DefineContext& c, size_t, Index) {
  return loop::from_sym(c.in_types[0]->elements());
}

// ---- ConstantOfShape ----------------------------------------------------------------------------------------

Tensor fill_value(const Attrs& attrs) {
  const Tensor* t = attrs.tensor("value");
  return t ? *t : Tensor::scalar(DType::f32, 0);
}

Result<Dims> dims_from(InferContext& c, size_t k) {
  FCC_TRY(SymTensor shape, c.observe(k));
  for (const SymExpr& e : shape.elements)
    if (e.is_constant() && e.constant() < 0)
      return c.fail("asks for the negative extent " + e.text(), "extents must be 0 or more");
  return shape.elements;
}

Status infer_constant_of_shape(InferContext& c) {
  const Tensor value = fill_value(c.attrs);
  if (value.elements() != 1) return c.fail("value has " + std::to_string(value.elements()) + " elements, expected 1");
  FCC_TRY(Dims dims, dims_from(c, 0));
  const bool small =
      dims.empty() || (dims.size() == 1 && dims[0].is_constant() && dims[0].constant() <= kMaxSymElements);
  const double v = value.get_double(0);
  if (small && std::abs(v) < 9e15 && v == std::trunc(v)) {
    const int64_t n = dims.empty() ? 1 : dims[0].constant();
    c.set_content(
        0, {static_cast<int64_t>(dims.size()), std::vector<SymExpr>(static_cast<size_t>(n), static_cast<int64_t>(v))});
  }
  c.set(0, value.dtype(), std::move(dims));
  return {};
}

void eval_constant_of_shape(EvalContext& c) {
  const Tensor value = fill_value(c.attrs);
  const StridedSide still{0, std::vector<int64_t>(c.out[0].shape().size(), 0)};
  strided_copy(c.out[0].shape(), c.out[0], {0, strides_of(c.out[0].shape())}, value, still);
}

Expr number_expr(const Tensor& t) {
  const DType type = loop::compute_type(t.dtype());
  return is_float(type) ? loop::constant(type, t.get_double(0)) : loop::constant_int(type, t.get_int(0));
}

Expr define_constant_of_shape(DefineContext& c, size_t, Index) {
  return number_expr(fill_value(*c.attrs));
}

// ---- Range --------------------------------------------------------------------------------------------------

// ceil((limit - start) / delta) = -floor((start - limit) / delta), 0 when the walk leads away from the limit.
SymExpr range_extent(const SymExpr& start, const SymExpr& limit, const SymExpr& delta) {
  return max(-floordiv(start - limit, delta), 0);
}

Result<SymExpr> infer_range_length(InferContext& c) {
  if (c.has(3)) {
    FCC_TRY(SymTensor n, c.observe(3));
    return max(n.elements.at(0), 0);
  }
  std::vector<SymExpr> x;
  for (size_t k = 0; k < 3; ++k) {
    if (!c.content(k) && is_float(c.dtype(k)))
      return c.fail("its length depends on numbers that are not whole or not known",
                    "give the length as a fourth operand");
    FCC_TRY(SymTensor t, c.observe(k));
    if (t.elements.size() != 1) return c.fail("operand " + std::to_string(k) + " must be one number");
    x.push_back(t.elements[0]);
  }
  if (x[2].is(0)) return c.fail("delta is 0", "a step of 0 never reaches the limit");
  assume_not(c, x[2], 0);
  return range_extent(x[0], x[1], x[2]);
}

Status infer_range(InferContext& c) {
  for (size_t k = 1; k < 3; ++k)
    if (c.dtype(k) != c.dtype(0))
      return c.fail("start, limit and delta have different element types", "give them one element type");
  FCC_TRY(SymExpr n, infer_range_length(c));
  c.set(0, c.dtype(0), {n});
  if (!n.is_constant() || n.constant() > kMaxSymElements || !c.content(0) || !c.content(2)) return {};
  SymTensor s{1, {}};
  for (int64_t i = 0; i < n.constant(); ++i)
    s.elements.push_back(c.content(0)->elements[0] + c.content(2)->elements[0] * i);
  c.set_content(0, std::move(s));
  return {};
}

void eval_range(EvalContext& c) {
  Tensor& out = c.out[0];
  for (int64_t i = 0; i < out.elements(); ++i) {
    if (out.dtype() == DType::f32) {
      out.as<float>()[static_cast<size_t>(i)] =
          c.in[0]->as<float>()[0] + static_cast<float>(i) * c.in[2]->as<float>()[0];
    } else if (is_float(out.dtype())) {
      out.set_double(i, c.in[0]->get_double(0) + static_cast<double>(i) * c.in[2]->get_double(0));
    } else {  // unsigned: wraps without overflow
      out.set_int(i, static_cast<int64_t>(static_cast<uint64_t>(c.in[0]->get_int(0)) +
                                          static_cast<uint64_t>(i) * static_cast<uint64_t>(c.in[2]->get_int(0))));
    }
  }
}

Expr define_range(DefineContext& c, size_t, Index index) {
  const DType type = loop::compute_type(c.dtype(0));
  const auto operand = [&](size_t k) {
    return c.contents[k] ? loop::cast(type, loop::from_sym(c.contents[k]->elements[0])) : scalar_operand(c, k);
  };
  return operand(0) + loop::cast(type, index[0]) * operand(2);
}

// ---- EyeLike ------------------------------------------------------------------------------------------------

Status infer_eye_like(InferContext& c) {
  if (c.rank(0) != 2)
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 2", "EyeLike makes a matrix");
  c.set(0, c.attrs.dtype("dtype", c.dtype(0)), c.dims(0));
  return {};
}

void eval_eye_like(EvalContext& c) {
  const int64_t k = c.attrs.integer("k", 0), rows = c.out[0].shape()[0], cols = c.out[0].shape()[1];
  for (int64_t r = 0; r < rows; ++r)
    if (const int64_t col = saturating_add(r, k); col >= 0 && col < cols) c.out[0].set_double(r * cols + col, 1);
}

Expr define_eye_like(DefineContext& c, size_t, Index index) {
  const DType type = loop::compute_type(c.out_types[0]->dtype);
  return loop::select(loop::eq(index[0] + c.attrs->integer("k", 0), index[1]), loop::constant(type, 1),
                      loop::constant(type, 0));
}

// ---- OneHot -------------------------------------------------------------------------------------------------

size_t one_hot_axis(const Attrs& attrs, int64_t indices_rank) {
  const int64_t a = attrs.integer("axis", -1);
  return static_cast<size_t>(a < 0 ? a + indices_rank + 1 : a);
}

Status infer_one_hot(InferContext& c) {
  FCC_TRY(SymTensor depth, c.observe(1));
  if (depth.elements.size() != 1) return c.fail("depth must be one number");
  if (depth.elements[0].is_constant() && depth.elements[0].constant() < 0)
    return c.fail("depth is " + depth.elements[0].text() + ", expected 0 or more");
  if (c.rank(2) != 1 || (c.dims(2)[0].is_constant() && !c.dims(2)[0].is(2)))
    return c.fail("values is " + c.type(2).text() + ", expected two elements", "values is [off value, on value]");
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis", -1), c.rank(0) + 1));
  Dims dims = c.dims(0);
  dims.insert(dims.begin() + axis, depth.elements[0]);
  c.set(0, c.dtype(2), std::move(dims));
  return {};
}

// Indices from -depth to depth-1 switch one element on, others none.
void eval_one_hot(EvalContext& c) {
  const auto axis = static_cast<int64_t>(one_hot_axis(c.attrs, c.in[0]->rank()));
  const auto& shape = c.out[0].shape();
  const int64_t depth = shape[static_cast<size_t>(axis)],
                inner = product(std::span(shape).subspan(static_cast<size_t>(axis) + 1));
  const int64_t rest = depth ? c.out[0].elements() / depth : 0;
  const StridedSide still{0, {0}};
  strided_copy(std::vector<int64_t>{c.out[0].elements()}, c.out[0], {0, {1}}, *c.in[2], still);
  for (int64_t i = 0; i < rest; ++i) {
    int64_t on = c.in[0]->get_int(i);
    if (on < 0) on += depth;
    if (on < 0 || on >= depth) continue;
    const std::vector<int64_t> one{1};
    strided_copy(one, c.out[0], {(i / inner * depth + on) * inner + i % inner, {1}}, *c.in[2], {1, {1}});
  }
}

Expr define_one_hot(DefineContext& c, size_t, Index index) {
  const size_t axis = one_hot_axis(*c.attrs, c.rank(0));
  std::vector<Expr> at(index.begin(), index.end());
  at.erase(at.begin() + static_cast<int64_t>(axis));
  Expr on = loop::cast(DType::i64, c.in(0, at));
  on = loop::select(loop::lt(on, loop::index(0)), on + loop::from_sym(c.out_types[0]->dims[axis]), on);
  const Expr zero = loop::index(0), one = loop::index(1);
  return loop::select(loop::eq(on, index[axis]), c.in(2, {&one, 1}), c.in(2, {&zero, 1}));
}

// values = [off, on]: their gradients are the sums over the elements that are off and on.
Result<std::vector<ValueId>> grad_one_hot(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  b.give(2, [&] {
    const Term mask = b.term(b.constant(Tensor::of<int64_t>(DType::i64, {2}, std::vector<int64_t>{0, 1})));
    const Term hot = equal(b.node("OneHot", {b.in(0), b.in(1), mask}, n.attrs), 1);
    std::vector<int64_t> axes;
    for (int64_t d = 0; d < b.dy().type().rank(); ++d) axes.push_back(d);
    const auto total = [&](Term t) { return b.reshape(b.sum(t, axes, false), {1}); };
    return b.node("Concat", {total(where(hot, 0, b.dy())), total(where(hot, b.dy(), 0))}, {{"axis", int64_t{0}}});
  });
  return b.done();
}

}  // namespace

ValueId range_length(GraphBuilder& b, ValueId start, ValueId limit, ValueId delta) {
  const Graph& g = b.graph;
  if (g.is_constant(start) && g.is_constant(limit) && g.is_constant(delta)) {
    const auto number = [&](ValueId v) { return g.value(v).data.get_double(0); };
    const double n = std::ceil((number(limit) - number(start)) / number(delta));
    return b.constant(Tensor::scalar(DType::i64, n >= 0 && n < 9e15 ? n : 0), "range_length");
  }
  const ValueId n = b("Ceil", {b("Div", {b("Sub", {limit, start}), delta})});
  return b("Cast", {n}, {{"to", DType::i64}});
}

void register_shape(Registry& r) {
  const AttrSpec axis{"axis", AttrType::integer};
  r.add({.name = "Shape",
         .doc = "the operand's extents from `start` to `end`",
         .attrs = {{"start", AttrType::integer}, {"end", AttrType::integer}},
         .in = {1, 1},
         .out = {1, 1},
         .shape_operands = {0},
         .infer = infer_shape,
         .eval = eval_shape,
         .define = define_shape,
         .no_grad = "its result does not depend on the values of its operands"});
  r.add({.name = "Size",
         .doc = "the operand's number of elements",
         .in = {1, 1},
         .out = {1, 1},
         .shape_operands = {0},
         .infer = infer_size,
         .eval = eval_size,
         .define = define_size,
         .no_grad = "its result does not depend on the values of its operands"});
  r.add({.name = "ConstantOfShape",
         .doc = "one value everywhere",
         .attrs = {{"value", AttrType::tensor}},
         .in = {1, 1},
         .out = {1, 1},
         .shape_operands = {0},
         .infer = infer_constant_of_shape,
         .eval = eval_constant_of_shape,
         .define = define_constant_of_shape,
         .no_grad = "its result does not depend on the values of its operands"});
  r.add({.name = "Range",
         .doc = "start, start+delta, ... before limit; the length may be given as a fourth operand",
         .in = {3, 4},
         .out = {1, 1},
         .shape_operands = {0, 1, 2, 3},
         .infer = infer_range,
         .eval = eval_range,
         .define = define_range,
         .no_grad = "its operands decide a shape"});
  r.add({.name = "EyeLike",
         .doc = "ones on the k-th diagonal",
         .attrs = {{"dtype", AttrType::dtype}, {"k", AttrType::integer}},
         .in = {1, 1},
         .out = {1, 1},
         .shape_operands = {0},
         .infer = infer_eye_like,
         .eval = eval_eye_like,
         .define = define_eye_like,
         .no_grad = "its result does not depend on the values of its operands"});
  r.add({.name = "OneHot",
         .doc = "values[1] where the index along `axis` is the operand's, values[0] elsewhere",
         .attrs = {axis},
         .in = {3, 3},
         .out = {1, 1},
         .shape_operands = {1},
         .infer = infer_one_hot,
         .eval = eval_one_hot,
         .define = define_one_hot,
         .grad = grad_one_hot});
}

}  // namespace fcc
