// Reading and writing at indices: Gather GatherElements GatherND ScatterElements ScatterND.
// A negative index counts from the end. An index out of range is refused at compile time when it is known, and stops
// the run otherwise. The interpreter reports it as a bug of its caller, who checks data before evaluating.
#include <algorithm>
#include <limits>

#include "ir/ops/grads.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::ReduceOp;
using Index = std::span<const Expr>;

constexpr const char* kOutOfRange = "an index is out of range";

// ---- indices ------------------------------------------------------------------------------------------------

Status check_index_type(InferContext& c, size_t k) {
  if (is_int(c.dtype(k))) return {};
  return c.fail("indices are " + std::string(name(c.dtype(k))) + ", expected integers", "cast the indices to i64");
}

// Refuses known indices that cannot be within the extent.
Status check_known_indices(InferContext& c, size_t k, const SymExpr& extent) {
  const SymTensor* known = c.content(k);
  if (!known || !extent.is_constant()) return {};
  for (const SymExpr& e : known->elements)
    if (e.is_constant() && (e.constant() < -extent.constant() || e.constant() >= extent.constant()))
      return c.fail(
          "index " + e.text() + " is out of range for an axis of extent " + extent.text(),
          "indices go from " + std::to_string(-extent.constant()) + " to " + std::to_string(extent.constant() - 1));
  return {};
}

int64_t checked_index(const OpDef& op, int64_t i, int64_t extent) {
  FCC_CHECK(i >= -extent && i < extent, "{}: index {} out of range for an axis of extent {}", op.name, i, extent);
  return i < 0 ? i + extent : i;
}

Expr wrapped(const Expr& i, const Expr& extent) {
  return loop::select(loop::lt(i, loop::index(0)), i + extent, i);
}

// The index behind a raw operand element, with its run-time check.
Expr checked(DefineContext& c, const Expr& raw, const SymExpr& extent) {
  if (loop::is_constant(raw) && extent.is_constant())
    return loop::index(raw->i < 0 ? raw->i + extent.constant() : raw->i);
  const Expr n = loop::from_sym(extent), i = wrapped(raw, n);
  c.fault_if(loop::unary(loop::UnaryOp::logical_not, in_range(i, n)), kOutOfRange);
  return i;
}

// An element of an index operand: from what is known of it, else loaded.
Expr index_element(DefineContext& c, size_t k, Index at) {
  if (c.contents.at(k)) {
    if (at.empty()) return loop::from_sym(c.contents[k]->elements.at(0));
    if (loop::is_constant(at[0])) return loop::from_sym(c.contents[k]->elements.at(static_cast<size_t>(at[0]->i)));
    if (c.contents[k]->elements.size() == 1) return loop::from_sym(c.contents[k]->elements[0]);
  }
  return loop::cast(DType::i64, c.in(k, at));
}

// ---- Gather -------------------------------------------------------------------------------------------------

void gather_content(InferContext& c) {
  const SymTensor *data = c.content(0), *indices = c.content(1);
  if (!data || data->rank != 1 || !indices || !indices->is_constant()) return;
  SymTensor s{indices->rank, {}};
  const auto n = static_cast<int64_t>(data->elements.size());
  for (int64_t i : indices->constants()) s.elements.push_back(data->elements[static_cast<size_t>(i < 0 ? i + n : i)]);
  c.set_content(0, std::move(s));
}

Status infer_gather(InferContext& c) {
  FCC_CHECKED(check_index_type(c, 1));
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis", 0), c.rank(0)));
  FCC_CHECKED(check_known_indices(c, 1, c.dims(0)[static_cast<size_t>(axis)]));
  Dims dims(c.dims(0).begin(), c.dims(0).begin() + axis);
  dims.insert(dims.end(), c.dims(1).begin(), c.dims(1).end());
  dims.insert(dims.end(), c.dims(0).begin() + axis + 1, c.dims(0).end());
  c.set(0, c.dtype(0), std::move(dims));
  gather_content(c);
  return {};
}

void eval_gather(EvalContext& c) {
  const Tensor &data = *c.in[0], &indices = *c.in[1];
  const size_t axis = axis_of(c.attrs, data.rank());
  const std::span<const int64_t> shape = data.shape();
  const int64_t outer = product(shape.first(axis)), inner = product(shape.subspan(axis + 1)), extent = shape[axis],
                n = indices.elements();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = checked_index(c.op, indices.get_int(i), extent);
    const std::vector<int64_t> extents{outer, inner};
    strided_copy(extents, c.out[0], {i * inner, {n * inner, 1}}, data, {at * inner, {extent * inner, 1}});
  }
}

Expr define_gather(DefineContext& c, size_t, Index index) {
  const size_t axis = axis_of(*c.attrs, c.rank(0)), n = c.dims(1).size();
  const Expr raw = index_element(c, 1, index.subspan(axis, n));
  std::vector<Expr> at(index.begin(), index.begin() + static_cast<int64_t>(axis));
  at.push_back(checked(c, raw, c.dims(0)[axis]));
  at.insert(at.end(), index.begin() + static_cast<int64_t>(axis + n), index.end());
  return c.in(0, at);
}

// ---- GatherElements -----------------------------------------------------------------------------------------

// Indices may be smaller than the data along axes that are not indexed.
Status check_elements(InferContext& c, size_t axis) {
  if (c.rank(1) != c.rank(0))
    return c.fail("indices have rank " + std::to_string(c.rank(1)) + ", data has rank " + std::to_string(c.rank(0)),
                  "both need the same rank");
  for (size_t d = 0; d < c.dims(0).size(); ++d) {
    const SymExpr excess = c.dims(1)[d] - c.dims(0)[d];
    if (d != axis && excess.provably_positive())
      return c.fail("indices have extent " + c.dims(1)[d].text() + " at axis " + std::to_string(d) + ", data has " +
                        c.dims(0)[d].text(),
                    "along axes that are not indexed, indices must fit into data");
  }
  return check_known_indices(c, 1, c.dims(0)[axis]);
}

Status infer_gather_elements(InferContext& c) {
  FCC_CHECKED(check_index_type(c, 1));
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis", 0), c.rank(0)));
  FCC_CHECKED(check_elements(c, static_cast<size_t>(axis)));
  c.set(0, c.dtype(0), c.dims(1));
  gather_content(c);
  return {};
}

void copy_element(Tensor& to, int64_t i, const Tensor& from, int64_t j) {
  strided_copy({}, to, {i, {}}, from, {j, {}});
}

void eval_gather_elements(EvalContext& c) {
  const size_t axis = axis_of(c.attrs, c.in[0]->rank());
  const std::vector<int64_t> strides = strides_of(c.in[0]->shape());
  int64_t flat = 0;
  for_each_index(c.out[0].shape(), [&](std::span<const int64_t> index) {
    int64_t from = 0;
    for (size_t d = 0; d < index.size(); ++d)
      from += strides[d] * (d == axis ? checked_index(c.op, c.in[1]->get_int(flat), c.in[0]->shape()[d]) : index[d]);
    copy_element(c.out[0], flat++, *c.in[0], from);
  });
}

Expr define_gather_elements(DefineContext& c, size_t, Index index) {
  const size_t axis = axis_of(*c.attrs, c.rank(0));
  std::vector<Expr> at(index.begin(), index.end());
  at[axis] = checked(c, index_element(c, 1, index), c.dims(0)[axis]);
  for (size_t d = 0; d < index.size(); ++d)
    if (d != axis && !(c.dims(0)[d] - c.dims(1)[d]).provably_nonnegative())
      c.fault_if(loop::lt(c.dim(0, d), c.dim(1, d)), "indices exceed data at axis " + std::to_string(d));
  return c.in(0, at);
}

// ---- GatherND, ScatterND ------------------------------------------------------------------------------------

// How many leading axes of the data one index tuple names.
Result<int64_t> tuple_length(InferContext& c, int64_t batch_dims) {
  FCC_CHECKED(check_index_type(c, 1));
  if (c.rank(1) < 1 || !c.dims(1).back().is_constant())
    return c.fail("the last extent of indices must be known at compile time", "it says how many axes an index names");
  const int64_t n = c.dims(1).back().constant();
  if (n + batch_dims > c.rank(0))
    return c.fail("an index names " + std::to_string(n) + " axes after " + std::to_string(batch_dims) +
                      " batch axes, data has rank " + std::to_string(c.rank(0)),
                  "the last extent of indices may be at most rank(data) - batch_dims");
  return n;
}

Status infer_gather_nd(InferContext& c) {
  const int64_t batch = c.attrs.integer("batch_dims", 0);
  if (batch < 0 || batch >= std::min(c.rank(0), c.rank(1)) + (c.rank(0) == 0))
    return c.fail("batch_dims is " + std::to_string(batch),
                  "batch_dims must be smaller than the ranks of data and indices");
  FCC_TRY(int64_t n, tuple_length(c, batch));
  for (int64_t d = 0; d < batch; ++d) {
    const SymExpr &x = c.dims(0)[static_cast<size_t>(d)], &y = c.dims(1)[static_cast<size_t>(d)];
    if (x.is_constant() && y.is_constant() && !(x == y))
      return c.fail(
          "batch axis " + std::to_string(d) + " has extent " + x.text() + " in data and " + y.text() + " in indices",
          "the first batch_dims extents must agree");
    assume_equal(c, x, y);
  }
  if (n == 1 && c.rank(1) == 1) FCC_CHECKED(check_known_indices(c, 1, c.dims(0)[static_cast<size_t>(batch)]));
  Dims dims(c.dims(1).begin(), c.dims(1).end() - 1);
  dims.insert(dims.end(), c.dims(0).begin() + batch + n, c.dims(0).end());
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

void eval_gather_nd(EvalContext& c) {
  const Tensor &data = *c.in[0], &indices = *c.in[1];
  const int64_t batch = c.attrs.integer("batch_dims", 0), n = indices.shape().back();
  const std::span<const int64_t> shape = data.shape();
  const std::vector<int64_t> strides = strides_of(shape);
  const auto named = static_cast<size_t>(batch + n);
  const int64_t slice = product(shape.subspan(named)), batches = product(shape.first(static_cast<size_t>(batch)));
  const int64_t tuples = n ? indices.elements() / n : c.out[0].elements() / std::max<int64_t>(slice, 1);
  const int64_t batch_stride = batches ? data.elements() / batches : 0;
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t from = t / (tuples / batches) * batch_stride;
    for (int64_t k = 0; k < n; ++k) {
      const auto d = static_cast<size_t>(batch + k);
      from += strides[d] * checked_index(c.op, indices.get_int(t * n + k), shape[d]);
    }
    const std::vector<int64_t> extents{slice};
    strided_copy(extents, c.out[0], {t * slice, {1}}, data, {from, {1}});
  }
}

Expr define_gather_nd(DefineContext& c, size_t, Index index) {
  const auto batch = static_cast<size_t>(c.attrs->integer("batch_dims", 0));
  const int64_t n = c.dims(1).back().constant();
  const size_t outer = c.dims(1).size() - 1;
  std::vector<Expr> at(index.begin(), index.begin() + static_cast<int64_t>(batch)),
      tuple(index.begin(), index.begin() + static_cast<int64_t>(outer));
  tuple.emplace_back();
  for (int64_t k = 0; k < n; ++k) {
    tuple.back() = loop::index(k);
    at.push_back(checked(c, index_element(c, 1, tuple), c.dims(0)[batch + static_cast<size_t>(k)]));
  }
  at.insert(at.end(), index.begin() + static_cast<int64_t>(outer), index.end());
  return c.in(0, at);
}

// ---- reductions of Scatter ----------------------------------------------------------------------------------

Status check_reduction(InferContext& c) {
  const std::string r = c.attrs.string("reduction", "none");
  for (std::string_view known : {"none", "add", "mul", "min", "max"})
    if (r == known)
      return c.dtype(0) == c.dtype(2) ? Status{} : Status(c.fail("data and updates have different element types"));
  return c.fail("reduction is \"" + r + "\"", "reduction is one of none, add, mul, min, max");
}

template <class T>
T combine(std::string_view how, T a, T b) {
  if (how == "add") return a + b;
  if (how == "mul") return a * b;
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
  }
  return how == "min" ? std::min(a, b) : std::max(a, b);
}

void scatter_element(Tensor& to, int64_t i, const Tensor& updates, int64_t j, std::string_view how) {
  if (how == "none") return copy_element(to, i, updates, j);
  if (is_float(to.dtype())) {
    to.set_double(i, combine(how, to.get_double(i), updates.get_double(j)));
  } else if (how == "add" || how == "mul") {  // unsigned: wraps without overflow
    to.set_int(i, static_cast<int64_t>(
                      combine(how, static_cast<uint64_t>(to.get_int(i)), static_cast<uint64_t>(updates.get_int(j)))));
  } else if (to.dtype() == DType::u64) {
    to.set_int(i, static_cast<int64_t>(
                      combine(how, static_cast<uint64_t>(to.get_int(i)), static_cast<uint64_t>(updates.get_int(j)))));
  } else {
    to.set_int(i, combine(how, to.get_int(i), updates.get_int(j)));
  }
}

// data with the updates applied whose position matches. n: how many updates to search; match(u): update u lands
// here; update(u, guard, otherwise): its element. Of several without a reduction the last one wins.
template <class Match, class Update>
Expr scattered(DefineContext& c, const Expr& data, const Expr& n, Match match, Update update) {
  const std::string how = c.attrs->string("reduction", "none");
  if (how == "none") {
    const Expr none = loop::index(-1);
    const Expr last = c.reduce(ReduceOp::max, "u", n, [&](Expr u) { return loop::select(match(u), u, none); });
    const Expr hit = loop::ge(last, loop::index(0));
    return update(last, hit, data);
  }
  const ReduceOp op = how == "add"   ? ReduceOp::add
                      : how == "mul" ? ReduceOp::mul
                      : how == "min" ? ReduceOp::min
                                     : ReduceOp::max;
  const DType type = data->type;
  if (op == ReduceOp::add || op == ReduceOp::mul) {
    const Expr identity = loop::constant_int(type, op == ReduceOp::mul);
    const Expr total = c.reduce(op, "u", n, [&](Expr u) { return update(u, match(u), identity); });
    return op == ReduceOp::add ? data + total : data * total;
  }
  // The data itself is the identity of min and max here.
  const Expr extreme = c.reduce(op, "u", n, [&](Expr u) { return update(u, match(u), data); });
  return op == ReduceOp::min ? loop::min(data, extreme) : loop::max(data, extreme);
}

// ---- ScatterElements ----------------------------------------------------------------------------------------

Status infer_scatter_elements(InferContext& c) {
  FCC_CHECKED(check_index_type(c, 1));
  FCC_CHECKED(check_reduction(c));
  FCC_TRY(int64_t axis, c.axis(c.attrs.integer("axis", 0), c.rank(0)));
  FCC_CHECKED(check_elements(c, static_cast<size_t>(axis)));
  if (c.dims(1).size() != c.dims(2).size() ||
      (c.type(1).is_static() && c.type(2).is_static() && c.dims(1) != c.dims(2)))
    return c.fail("indices are " + text(c.dims(1)) + ", updates are " + text(c.dims(2)), "both need the same shape");
  for (size_t d = 0; d < c.dims(1).size(); ++d) assume_equal(c, c.dims(1)[d], c.dims(2)[d]);
  c.set(0, c.type(0));
  return {};
}

void copy_data(EvalContext& c) {
  std::copy_n(c.in[0]->raw(), c.out[0].bytes(), c.out[0].raw());
}

void eval_scatter_elements(EvalContext& c) {
  copy_data(c);
  const size_t axis = axis_of(c.attrs, c.in[0]->rank());
  const std::vector<int64_t> strides = strides_of(c.in[0]->shape());
  const std::string how = c.attrs.string("reduction", "none");
  int64_t flat = 0;
  for_each_index(c.in[1]->shape(), [&](std::span<const int64_t> index) {
    int64_t to = 0;
    for (size_t d = 0; d < index.size(); ++d)
      to += strides[d] * (d == axis ? checked_index(c.op, c.in[1]->get_int(flat), c.in[0]->shape()[d]) : index[d]);
    scatter_element(c.out[0], to, *c.in[2], flat++, how);
  });
}

// Searches the indices along the axis; the other coordinates of an update are those of its target.
Expr define_scatter_elements(DefineContext& c, size_t, Index index) {
  const size_t axis = axis_of(*c.attrs, c.rank(0));
  const Expr extent = c.dim(0, axis), data = c.in(0, index);
  Expr reachable = loop::boolean(true);
  for (size_t d = 0; d < index.size(); ++d)
    if (d != axis && !(c.dims(1)[d] == c.dims(0)[d]))
      reachable = loop::both(reachable, loop::lt(index[d], c.dim(1, d)));
  const auto at = [&](const Expr& u) {
    std::vector<Expr> i(index.begin(), index.end());
    i[axis] = u;
    return i;
  };
  const auto raw = [&](const Expr& u) {
    const Expr outside = loop::constant(loop::compute_type(c.dtype(1)), 0);
    return loop::cast(DType::i64, c.in_guarded(1, at(u), reachable, outside));
  };
  const Expr bad = c.reduce(ReduceOp::logical_or, "u", c.dim(1, axis), [&](Expr u) {
    return loop::both(reachable, loop::unary(loop::UnaryOp::logical_not, in_range(wrapped(raw(u), extent), extent)));
  });
  c.fault_if(bad, kOutOfRange);
  return scattered(
      c, data, c.dim(1, axis),
      [&](const Expr& u) { return loop::both(reachable, loop::eq(wrapped(raw(u), extent), index[axis])); },
      [&](const Expr& u, const Expr& guard, const Expr& otherwise) {
        return c.in_guarded(2, at(u), guard, otherwise);
      });
}

// ---- ScatterND ----------------------------------------------------------------------------------------------

Status infer_scatter_nd(InferContext& c) {
  FCC_CHECKED(check_reduction(c));
  FCC_TRY(int64_t n, tuple_length(c, 0));
  Dims wanted(c.dims(1).begin(), c.dims(1).end() - 1);
  wanted.insert(wanted.end(), c.dims(0).begin() + n, c.dims(0).end());
  const TensorType expected{c.dtype(2), wanted};
  if (c.rank(2) != expected.rank() || (expected.is_static() && c.type(2).is_static() && wanted != c.dims(2)))
    return c.fail("updates are " + text(c.dims(2)) + ", expected " + text(wanted),
                  "updates are indices.shape[:-1] + data.shape[n:], n the length of an index");
  for (size_t d = 0; d < wanted.size(); ++d) assume_equal(c, wanted[d], c.dims(2)[d]);
  c.set(0, c.type(0));
  return {};
}

void eval_scatter_nd(EvalContext& c) {
  copy_data(c);
  const Tensor& indices = *c.in[1];
  const int64_t n = indices.shape().back();
  const std::span<const int64_t> shape = c.in[0]->shape();
  const std::vector<int64_t> strides = strides_of(shape);
  const int64_t slice = product(shape.subspan(static_cast<size_t>(n)));
  const int64_t tuples = product(std::span(indices.shape()).first(indices.shape().size() - 1));
  const std::string how = c.attrs.string("reduction", "none");
  for (int64_t t = 0; t < tuples; ++t) {
    int64_t to = 0;
    for (int64_t k = 0; k < n; ++k) {
      const auto d = static_cast<size_t>(k);
      to += strides[d] * checked_index(c.op, indices.get_int(t * n + k), shape[d]);
    }
    for (int64_t i = 0; i < slice; ++i) scatter_element(c.out[0], to + i, *c.in[2], t * slice + i, how);
  }
}

// Searches all index tuples: work proportional to data times updates, for few updates only.
Expr define_scatter_nd(DefineContext& c, size_t, Index index) {
  const auto n = static_cast<size_t>(c.dims(1).back().constant());
  const Dims batch(c.dims(1).begin(), c.dims(1).end() - 1);
  const Expr tuples = loop::from_sym(product(batch));
  const auto place = [&](const Expr& u) { return reshape_index(batch, {product(batch)}, {&u, 1}); };
  const auto coordinate = [&](const Expr& u, size_t k) {
    std::vector<Expr> at = place(u);
    at.push_back(loop::index(static_cast<int64_t>(k)));
    return wrapped(loop::cast(DType::i64, c.in(1, at)), c.dim(0, k));
  };
  const Expr bad = c.reduce(ReduceOp::logical_or, "u", tuples, [&](Expr u) {
    Expr any = loop::boolean(false);
    for (size_t k = 0; k < n; ++k)
      any = loop::binary(BinaryOp::logical_or, any,
                         loop::unary(loop::UnaryOp::logical_not, in_range(coordinate(u, k), c.dim(0, k))));
    return any;
  });
  c.fault_if(bad, kOutOfRange);
  const auto match = [&](const Expr& u) {
    Expr all = loop::boolean(true);
    for (size_t k = 0; k < n; ++k) all = loop::both(all, loop::eq(coordinate(u, k), index[k]));
    return all;
  };
  return scattered(c, c.in(0, index), tuples, match, [&](const Expr& u, const Expr& guard, const Expr& otherwise) {
    std::vector<Expr> at = place(u);
    at.insert(at.end(), index.begin() + static_cast<int64_t>(n), index.end());
    return c.in_guarded(2, at, guard, otherwise);
  });
}

}  // namespace

void register_gather(Registry& r) {
  const AttrSpec axis{"axis", AttrType::integer}, reduction{"reduction", AttrType::string};
  r.add({.name = "Gather",
         .doc = "slices of data at indices along an axis",
         .attrs = {axis},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_gather,
         .eval = eval_gather,
         .define = define_gather,
         .grad = grad_gather});
  r.add({.name = "GatherElements",
         .doc = "data at indices along an axis, element by element",
         .attrs = {axis},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_gather_elements,
         .eval = eval_gather_elements,
         .define = define_gather_elements,
         .grad = grad_gather_elements});
  r.add({.name = "GatherND",
         .doc = "slices of data at index tuples",
         .attrs = {{"batch_dims", AttrType::integer}},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_gather_nd,
         .eval = eval_gather_nd,
         .define = define_gather_nd,
         .grad = grad_gather_nd});
  r.add({.name = "ScatterElements",
         .doc = "data with updates at indices along an axis",
         .attrs = {axis, reduction},
         .in = {3, 3},
         .out = {1, 1},
         .infer = infer_scatter_elements,
         .eval = eval_scatter_elements,
         .define = define_scatter_elements,
         .grad = grad_scatter_elements});
  r.add({.name = "ScatterND",
         .doc = "data with slices replaced at index tuples",
         .attrs = {reduction},
         .in = {3, 3},
         .out = {1, 1},
         .infer = infer_scatter_nd,
         .eval = eval_scatter_nd,
         .define = define_scatter_nd,
         .grad = grad_scatter_nd});
}

}  // namespace fcc
