// Gradients of gathers and scatters: what one reads, the other adds. GatherGrad, the transpose of Gather, is here; those
// of the others are ScatterElements and ScatterND with reduction=add. All add in the order of the indices, so that the
// sums do not depend on threads.
#include "ir/ops/grads.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using Index = std::span<const Expr>;
using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;

// ---- GatherGrad(dy, indices): dx[.., j, ..] = sum of dy[.., u, ..] over the u with indices[u] == j ----------------

struct GatherShape {
  size_t axis, n;  // the axis of dims; how many axes the indices have in dy
  Dims places;     // extents of the indices
};
GatherShape gather_shape(const Attrs& attrs, const Dims& indices) {
  return {axis_of(attrs, static_cast<int64_t>(attrs.dims("dims").size())), indices.size(), indices};
}

Status infer_gather_grad(InferContext& c) {
  const Dims dims = c.attrs.dims("dims");
  if (!is_int(c.dtype(1)) || dims.empty() || c.rank(0) != static_cast<int64_t>(dims.size()) - 1 + c.rank(1))
    return c.fail("dy, indices and dims do not belong to one Gather");
  c.set(0, c.dtype(0), dims);
  return {};
}

void eval_gather_grad(EvalContext& c) {
  const GatherShape s = gather_shape(c.attrs, c.in[1]->type().dims);
  const std::vector<int64_t>& shape = c.out[0].shape();
  const int64_t outer = product(std::span(shape).first(s.axis)), inner = product(std::span(shape).subspan(s.axis + 1)), extent = shape[s.axis],
                n = c.in[1]->elements();
  std::vector<double> sum(static_cast<size_t>(c.out[0].elements()), 0);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t u = 0; u < n; ++u) {
      int64_t j = c.in[1]->get_int(u);
      j += j < 0 ? extent : 0;
      FCC_CHECK(j >= 0 && j < extent, "{}: index {} out of range", c.op.name, j);
      for (int64_t i = 0; i < inner; ++i)
        sum[static_cast<size_t>((o * extent + j) * inner + i)] += c.in[0]->get_double((o * n + u) * inner + i);
    }
  for (size_t i = 0; i < sum.size(); ++i) c.out[0].set_double(static_cast<int64_t>(i), sum[i]);
}

// Searches all indices: work proportional to both. The fast form is in backend/lower.
Expr define_gather_grad(DefineContext& c, size_t, Index index) {
  const GatherShape s = gather_shape(*c.attrs, c.dims(1));
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0), extent = loop::from_sym(c.out_types[0]->dims[s.axis]);
  return c.reduce(ReduceOp::add, "u", loop::from_sym(product(s.places)), [&](Expr u) {
    const std::vector<Expr> place = reshape_index(s.places, {product(s.places)}, {&u, 1});
    const Expr raw = loop::cast(DType::i64, c.in(1, place));
    const Expr j = loop::select(loop::lt(raw, loop::index(0)), raw + extent, raw);
    std::vector<Expr> at(index.begin(), index.begin() + static_cast<int64_t>(s.axis));
    at.insert(at.end(), place.begin(), place.end());
    at.insert(at.end(), index.begin() + static_cast<int64_t>(s.axis) + 1, index.end());
    return c.in_guarded(0, at, loop::eq(j, index[s.axis]), zero);
  });
}

Gradients grad_gather_grad(GradBuilder& b, const Node& n, Dy) {
  b.give(0, [&] { return b.node("Gather", {b.dy(), b.in(1)}, {{"axis", n.attrs.integer("axis", 0)}}); });
  return b.done();
}

// ---- scatters ---------------------------------------------------------------------------------------------------

// One way to name places of a tensor by indices: by index tuples or element by element.
struct Places {
  GradBuilder& b;
  Term indices;
  bool tuples;
  int64_t axis;

  Term put(Term base, Term updates, const char* how) const {
    Attrs a{{"reduction", std::string(how)}};
    if (!tuples) a.set("axis", axis);
    return b.node(tuples ? "ScatterND" : "ScatterElements", {base, indices, updates}, a);
  }
  Term take(Term from) const {
    if (tuples) return b.node("GatherND", {from, indices});
    return b.node("GatherElements", {from, indices}, {{"axis", axis}});
  }
};

Term numbers(Term condition, DType t) { return cast(t, condition); }

// reduction none: of several updates of one place the last one counts; it finds its own number there.
void give_replaced(GradBuilder& b, const Places& p) {
  const TensorType updates = b.in_type(2), data = b.in_type(0);
  b.give(0, [&] { return p.put(b.dy(), b.zeros(updates), "none"); });
  b.give(2, [&] {
    const Term order = b.term(b("Range", {b.scalar(DType::i64, 0), b.size(DType::i64, updates.elements()).v, b.scalar(DType::i64, 1)}));
    const Term mine = b.reshape(order, updates.dims), last = p.take(p.put(b.full({DType::i64, data.dims}, -1), mine, "none"));
    return where(equal(last, mine), p.take(b.dy()), 0);
  });
}

// reduction mul: the product of all others, as for ReduceProd.
void give_factors(GradBuilder& b, const Places& p) {
  const DType t = b.in_type(0).dtype;
  const auto nonzero = [](Term v) { return where(equal(v, 0), 1, v); };
  const Term data = b.in(0), updates = b.in(2), product = p.put(nonzero(data), nonzero(updates), "mul");
  const Term zeros = p.put(numbers(equal(data, 0), t), numbers(equal(updates, 0), t), "add");
  const auto slope = [&](Term v, Term product_here, Term zeros_here) {
    return where(equal(v, 0), where(equal(zeros_here, 1), product_here, 0), where(equal(zeros_here, 0), product_here / nonzero(v), 0));
  };
  b.give(0, [&] { return b.dy() * slope(data, product, zeros); });
  b.give(2, [&] { return p.take(b.dy()) * slope(updates, p.take(product), p.take(zeros)); });
}

// reduction min, max: all that have the extreme share.
void give_extremes(GradBuilder& b, const Places& p) {
  const DType t = b.in_type(0).dtype;
  const Term y = b.out(), data_hits = numbers(equal(b.in(0), y), t), update_hits = numbers(equal(b.in(2), p.take(y)), t);
  const Term share = b.dy() / p.put(data_hits, update_hits, "add");
  b.give(0, [&] { return where(equal(data_hits, 0), 0, share); });
  b.give(2, [&] { return update_hits * p.take(share); });
}

Gradients scatter_gradient(GradBuilder& b, const Node& n, const Places& p) {
  const std::string how = n.attrs.string("reduction", "none");
  if (how == "none") give_replaced(b, p);
  if (how == "mul") give_factors(b, p);
  if (how == "min" || how == "max") give_extremes(b, p);
  if (how == "add") {
    b.give(0, [&] { return b.dy(); });
    b.give(2, [&] { return p.take(b.dy()); });
  }
  return b.done();
}

}  // namespace

Gradients grad_gather(GradBuilder& b, const Node& n, Dy) {
  b.give(0, [&] { return b.node("GatherGrad", {b.dy(), b.in(1)}, {{"axis", n.attrs.integer("axis", 0)}, {"dims", b.dims(0)}}); });
  return b.done();
}

Gradients grad_gather_elements(GradBuilder& b, const Node& n, Dy) {
  b.give(0, [&] { return Places{b, b.in(1), false, n.attrs.integer("axis", 0)}.put(b.zeros(b.in_type(0)), b.dy(), "add"); });
  return b.done();
}

// Index tuples within a batch become whole ones with the batch's position in front.
Gradients grad_gather_nd(GradBuilder& b, const Node& n, Dy) {
  const int64_t batch = n.attrs.integer("batch_dims", 0);
  const Dims indices = b.dims(1);
  Dims column = indices;
  column.back() = 1;
  std::vector<Term> tuple;
  for (int64_t d = 0; d < batch; ++d) {
    Dims along(column.size(), 1);
    along[static_cast<size_t>(d)] = column[static_cast<size_t>(d)];
    const Term extent = b.size(DType::i64, column[static_cast<size_t>(d)]);
    const Term order = b.term(b("Range", {b.scalar(DType::i64, 0), extent.v, b.scalar(DType::i64, 1)}));
    tuple.push_back(b.expand(b.reshape(order, along), column));
  }
  tuple.push_back(cast(DType::i64, b.in(1)));
  b.give(0, [&] {
    const Term whole = batch ? b.node("Concat", tuple, {{"axis", int64_t{-1}}}) : b.in(1);
    return Places{b, whole, true, 0}.put(b.zeros(b.in_type(0)), b.dy(), "add");
  });
  return b.done();
}

Gradients grad_scatter_elements(GradBuilder& b, const Node& n, Dy) {
  return scatter_gradient(b, n, {b, b.in(1), false, n.attrs.integer("axis", 0)});
}
Gradients grad_scatter_nd(GradBuilder& b, const Node& n, Dy) { return scatter_gradient(b, n, {b, b.in(1), true, 0}); }

void register_gather_grad(Registry& r) {
  r.add({.name = "GatherGrad",
         .doc = "the gradient of Gather's data from dy and indices",
         .attrs = {{"axis", AttrType::integer}, {"dims", AttrType::dims, true}},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_gather_grad,
         .eval = eval_gather_grad,
         .define = define_gather_grad,
         .grad = grad_gather_grad});
}

}  // namespace fcc
