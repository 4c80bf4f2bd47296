// Softmax and its relatives along one axis.
#include <cmath>

#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using loop::UnaryOp;
using In = std::span<const Expr>;

Status infer_softmax(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  FCC_CHECKED(ops::status_of(c.axis(c.attrs.integer("axis", -1), c.rank(0))));
  c.set(0, c.type(0));
  return {};
}

int64_t axis_of(const Attrs& attrs, int64_t rank) {
  const int64_t axis = attrs.integer("axis", -1);
  return axis < 0 ? axis + rank : axis;
}

// Replaces every line along the axis: line(count, get, set).
template <class Line>
void eval_lines(EvalContext& c, Line line) {
  std::vector<double> x = c.in[0]->to_doubles();
  const ops::Lines lines(c.in[0]->shape(), axis_of(c.attrs, c.in[0]->rank()));
  lines.each([&](size_t first) { line(lines.n, [&](int64_t k) -> double& { return x[lines.at(first, k)]; }); });
  ops::store(c.out[0], x);
}

template <bool logarithm>
void eval_softmax(EvalContext& c) {
  eval_lines(c, [](int64_t n, auto x) {
    double top = -HUGE_VAL, sum = 0;
    for (int64_t k = 0; k < n; ++k) top = std::isnan(x(k)) || x(k) > top ? x(k) : top;
    for (int64_t k = 0; k < n; ++k) sum += std::exp(x(k) - top);
    for (int64_t k = 0; k < n; ++k) x(k) = logarithm ? x(k) - top - std::log(sum) : std::exp(x(k) - top) / sum;
  });
}

void eval_hardmax(EvalContext& c) {
  eval_lines(c, [](int64_t n, auto x) {
    int64_t best = 0;
    for (int64_t k = 1; k < n; ++k)
      if (x(k) > x(best) || (std::isnan(x(k)) && !std::isnan(x(best)))) best = k;
    for (int64_t k = 0; k < n; ++k) x(k) = k == best;
  });
}

struct Line {
  int64_t axis;
  Expr extent;
  std::function<Expr(Expr)> element;
};
Line line_of(DefineContext& c, In index) {
  const int64_t axis = axis_of(*c.attrs, c.rank(0));
  return {axis, c.dim(0, static_cast<size_t>(axis)),
          [&c, axis, at = std::vector<Expr>(index.begin(), index.end())](Expr k) {
            return c.in(0, ops::replaced(at, axis, std::move(k)));
          }};
}

// e^x for x <= 0, where less than e^-87 (f64: e^-708) counts as 0: results that leave the normal numbers cost an assist
// of about 200 cycles a vector, and masked scores have nothing else.
Expr exp_of_negative(const Expr& x) {
  const Expr limit = ops::number(x, x->type == DType::f64 ? -708 : -87), tiny = loop::lt(x, limit);
  return loop::select(tiny, ops::number(x, 0), loop::unary(UnaryOp::exp, loop::select(tiny, limit, x)));
}

// exp(x - m) / sum exp(x - m). The quotient is a product with 1/sum, which is computed once a line.
template <bool logarithm>
Expr define_softmax(DefineContext& c, size_t, In index) {
  const Line line = line_of(c, index);
  const Expr top = c.reduce(ReduceOp::max, "k", line.extent, line.element);
  const Expr sum = c.reduce(ReduceOp::add, "k", line.extent,
                            [&](Expr k) { return exp_of_negative(line.element(std::move(k)) - top); });
  const Expr shifted = c.in(0, index) - top;
  if (logarithm) return shifted - loop::unary(UnaryOp::log, sum);
  return exp_of_negative(shifted) * (ops::number(sum, 1) / sum);
}

Expr define_hardmax(DefineContext& c, size_t, In index) {
  const Line line = line_of(c, index);
  const Expr top = c.reduce(ReduceOp::max, "k", line.extent, line.element);
  const Expr position = c.reduce(ReduceOp::min, "k", line.extent, [&](Expr k) {
    const Expr x = line.element(k);
    const Expr hit = loop::binary(loop::BinaryOp::logical_or, loop::eq(x, top), loop::unary(UnaryOp::is_nan, x));
    return loop::select(hit, k, line.extent);
  });
  return loop::select(loop::eq(index[static_cast<size_t>(line.axis)], position), ops::number(top, 1),
                      ops::number(top, 0));
}

// y (d - sum d y), and d - exp(y) sum d
Term softmax_gradient(const Chain& c) {
  return c.y * (c.d - c.b()->sum(c.d * c.y, {axis_of(c.attrs, c.x.type().rank())}));
}
Term log_softmax_gradient(const Chain& c) {
  return c.d - fn("Exp", c.y) * c.b()->sum(c.d, {axis_of(c.attrs, c.x.type().rank())});
}

void add(Registry& r, std::string_view name, std::string_view doc, void (*eval)(EvalContext&),
         Expr (*define)(DefineContext&, size_t, In), GradRule grad) {
  r.add({.name = name,
         .doc = doc,
         .attrs = {{"axis", AttrType::integer}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_softmax,
         .eval = eval,
         .define = define,
         .grad = grad});
}

}  // namespace

void register_softmax(Registry& r) {
  add(r, "Softmax", "exp(x) / sum exp(x) along an axis", eval_softmax<false>, define_softmax<false>,
      chain_rule<softmax_gradient>);
  add(r, "LogSoftmax", "x - log(sum exp(x)) along an axis", eval_softmax<true>, define_softmax<true>,
      chain_rule<log_softmax_gradient>);
  add(r, "Hardmax", "1 at the first largest element along an axis, 0 elsewhere", eval_hardmax, define_hardmax,
      zero_gradient);
}

}  // namespace fcc
