// Comparisons, boolean logic, and choosing between two values.
#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;
using In = std::span<const Expr>;

template <UnaryOp op>
Expr apply(const FormulaContext&, In in) {
  return loop::unary(op, in[0]);
}
template <BinaryOp op>
Expr apply2(const FormulaContext&, In in) {
  return loop::binary(op, in[0], in[1]);
}

Expr choose(const FormulaContext&, In in) {
  return loop::select(in[0], in[1], in[2]);
}
Status infer_where(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kBooleans, "the condition"));
  if (c.dtype(1) != c.dtype(2))
    return c.fail("chooses between " + std::string(name(c.dtype(1))) + " and " + std::string(name(c.dtype(2))),
                  "both values must have one element type; convert one with a Cast");
  return ops::broadcast_operands(c, c.dtype(1));
}

Result<std::vector<ValueId>> grad_where(GradBuilder& b, const Node&, std::span<const ValueId>) {
  b.give(1, [&] { return where(b.in(0), b.dy(), 0); });
  b.give(2, [&] { return where(b.in(0), 0, b.dy()); });
  return b.done();
}

Expr is_inf(const FormulaContext& c, In in) {
  const bool negative = c.attrs.flag("detect_negative", true), positive = c.attrs.flag("detect_positive", true);
  const Expr& x = in[0];
  if (!negative && !positive) return loop::boolean(false);
  const Expr infinite = loop::unary(UnaryOp::is_inf, x);
  if (negative && positive) return infinite;
  return loop::both(infinite, loop::binary(negative ? BinaryOp::lt : BinaryOp::gt, x, ops::number(x, 0)));
}

DType boolean_result(const InferContext&) {
  return DType::boolean;
}

void add(Registry& r, std::string_view name, std::string_view doc, Expr (*formula)(const FormulaContext&, In),
         Status (*infer)(InferContext&), Arity in, std::vector<AttrSpec> attrs = {}) {
  r.add({.name = name,
         .doc = doc,
         .attrs = std::move(attrs),
         .in = in,
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = infer,
         .result_dtype = boolean_result,
         .formula = formula,
         .no_grad = "its result is a truth value"});
}

}  // namespace

void register_logic(Registry& r) {
  const auto anything = ops::infer_same_type<ops::kAnything>, numbers = ops::infer_same_type<ops::kNumbers>;
  const auto booleans = ops::infer_same_type<ops::kBooleans>, floats = ops::infer_same_type<ops::kFloats>;
  const Arity one{1, 1}, two{2, 2};
  add(r, "Equal", "a == b", apply2<BinaryOp::eq>, anything, two);
  add(r, "Greater", "a > b", apply2<BinaryOp::gt>, numbers, two);
  add(r, "GreaterOrEqual", "a >= b", apply2<BinaryOp::ge>, numbers, two);
  add(r, "Less", "a < b", apply2<BinaryOp::lt>, numbers, two);
  add(r, "LessOrEqual", "a <= b", apply2<BinaryOp::le>, numbers, two);
  add(r, "And", "a and b", apply2<BinaryOp::logical_and>, booleans, two);
  add(r, "Or", "a or b", apply2<BinaryOp::logical_or>, booleans, two);
  add(r, "Xor", "a != b of truth values", apply2<BinaryOp::logical_xor>, booleans, two);
  add(r, "Not", "not a", apply<UnaryOp::logical_not>, booleans, one);
  add(r, "IsNaN", "x is no number", apply<UnaryOp::is_nan>, floats, one);
  add(r, "IsInf", "x is infinite, of the chosen signs", is_inf, floats, one,
      {{"detect_negative", AttrType::integer}, {"detect_positive", AttrType::integer}});
  r.add({.name = "Where",
         .doc = "condition ? a : b",
         .in = {3, 3},
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = infer_where,
         .formula = choose,
         .grad = grad_where});
}

}  // namespace fcc
