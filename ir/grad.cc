#include "ir/grad.h"

#include <algorithm>

namespace fcc {

// ---- terms ------------------------------------------------------------------------------------------------

TensorType Term::type() const {
  return v == kNoValue ? TensorType{} : b->type(v);
}

static Term apply(std::string_view op_name, Term x, Term y) {
  return x.b->node(op_name, {x, y});
}
static Term like(Term x, double v) {
  return x.b->number(x.type().dtype, v);
}

Term operator+(Term x, Term y) {
  return apply("Add", x, y);
}
Term operator-(Term x, Term y) {
  return apply("Sub", x, y);
}
Term operator*(Term x, Term y) {
  return apply("Mul", x, y);
}
Term operator/(Term x, Term y) {
  return apply("Div", x, y);
}
Term operator+(Term x, double y) {
  return x + like(x, y);
}
Term operator-(Term x, double y) {
  return x - like(x, y);
}
Term operator*(Term x, double y) {
  return x * like(x, y);
}
Term operator/(Term x, double y) {
  return x / like(x, y);
}
Term operator-(double x, Term y) {
  return like(y, x) - y;
}
Term operator/(double x, Term y) {
  return like(y, x) / y;
}
Term operator-(Term x) {
  return fn("Neg", x);
}
Term fn(std::string_view op_name, Term x) {
  return x.b->node(op_name, {x});
}
Term less(Term x, Term y) {
  return apply("Less", x, y);
}
Term less(Term x, double y) {
  return less(x, like(x, y));
}
Term less_equal(Term x, double y) {
  return apply("LessOrEqual", x, like(x, y));
}
Term greater(Term x, double y) {
  return apply("Greater", x, like(x, y));
}
Term equal(Term x, Term y) {
  return apply("Equal", x, y);
}
Term equal(Term x, double y) {
  return equal(x, like(x, y));
}
Term where(Term condition, Term a, Term b) {
  return a.b->node("Where", {condition, a, b});
}
Term where(Term condition, Term a, double b) {
  return where(condition, a, like(a, b));
}
Term where(Term condition, double a, Term b) {
  return where(condition, like(b, a), b);
}
Term cast(DType to, Term x) {
  return x.type().dtype == to ? x : x.b->node("Cast", {x}, {{"to", to}});
}

// ---- GradBuilder ------------------------------------------------------------------------------------------

GradBuilder::GradBuilder(Graph& g, const Node& n, std::span<const ValueId> dy, std::vector<bool> wanted)
    : GraphBuilder(g, n.loc), node_(n), dy_(dy), wanted_(std::move(wanted)), result_(n.in.size(), kNoValue) {}

Result<std::vector<int64_t>> GradBuilder::constants(size_t k, std::string_view what) const {
  const Value& v = graph.value(node_.in.at(k));
  if (v.content && v.content->is_constant()) return v.content->constants();
  if (v.role == Role::constant) return v.data.to_ints();
  return fail(std::string(what) + " must be known at compile time to have a gradient",
              "make it a constant (an initializer) of the model");
}

void GradBuilder::give_term(size_t k, Term t) {
  if (t) result_[k] = sum_to(cast(in_type(k).dtype, t), dims(k)).v;
}

Result<std::vector<ValueId>> GradBuilder::done() const {
  FCC_CHECKED(status());
  return result_;
}

std::unexpected<Diagnostic> GradBuilder::fail(std::string what, std::string hint) const {
  Diagnostic d{.what = describe(*node_.op, node_.loc) + ": " + std::move(what), .hint = std::move(hint)};
  for (ValueId v : node_.in)
    d.seen += (d.seen.empty() ? "" : "  ") + (v == kNoValue ? std::string("(none)") : type(v).text());
  if (node_.loc.index >= 0)
    d.where = "node " + std::to_string(node_.loc.index) + ", opset " + std::to_string(node_.loc.opset);
  return fcc::fail(std::move(d));
}

Term GradBuilder::node(std::string_view op_name, std::vector<Term> in, Attrs attrs) {
  std::vector<ValueId> operands;
  for (Term t : in) operands.push_back(t.v);
  return {this, (*this)(op_name, std::move(operands), std::move(attrs))};
}

Term GradBuilder::full(const TensorType& t, double value) {
  if (t.rank() == 0) return number(t.dtype, value);
  return {this, (*this)("ConstantOfShape", {GraphBuilder::dims(t.dims)}, {{"value", Tensor::scalar(t.dtype, value)}})};
}

Term GradBuilder::size(DType dtype, const SymExpr& n) {
  if (n.is_constant()) return number(dtype, static_cast<double>(n.constant()));
  return {this, (*this)("Dims", {}, {{"dims", Dims{n}}, {"dtype", dtype}, {"scalar", int64_t{1}}})};
}

Term GradBuilder::reshape(Term t, const Dims& to) {
  if (!t || t.type().dims == to) return t;
  // An extent of 0 is meant as such, not as "copy the operand's".
  return {this, (*this)("Reshape", {t.v, GraphBuilder::dims(to)}, {{"allowzero", int64_t{1}}})};
}

Term GradBuilder::expand(Term t, const Dims& to) {
  if (!t || t.type().dims == to) return t;
  return {this, (*this)("Expand", {t.v, GraphBuilder::dims(to)})};
}

Term GradBuilder::transpose(Term t, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return t;
  return node("Transpose", {t}, {{"perm", std::move(perm)}});
}

Term GradBuilder::sum(Term t, std::vector<int64_t> axes, bool keepdims) {
  if (axes.empty()) return t;
  return {this, (*this)("ReduceSum", {t.v, ints(std::move(axes))}, {{"keepdims", int64_t{keepdims}}})};
}

Term GradBuilder::mean(Term t, std::vector<int64_t> axes) {
  if (axes.empty()) return t;
  return {this, (*this)("ReduceMean", {t.v, ints(std::move(axes))}, {{"keepdims", int64_t{1}}})};
}

Term GradBuilder::sum_to(Term t, const Dims& to) {
  const Dims from = t.type().dims;
  if (!t || from == to) return t;
  const size_t lead = from.size() - std::min(to.size(), from.size());
  std::vector<int64_t> axes;
  for (size_t d = 0; d < from.size(); ++d)
    if (!from[d].is(1) && (d < lead || to[to.size() - from.size() + d].is(1))) axes.push_back(static_cast<int64_t>(d));
  return reshape(sum(t, std::move(axes), false), to);
}

// ---- shared rules -----------------------------------------------------------------------------------------

Result<std::vector<ValueId>> zero_gradient(GradBuilder& b, const Node&, std::span<const ValueId>) {
  return b.done();
}

Result<std::vector<ValueId>> reshape_gradient(GradBuilder& b, const Node&, std::span<const ValueId>) {
  b.give(0, [&] { return b.reshape(b.dy(), b.dims(0)); });
  return b.done();
}

}  // namespace fcc
