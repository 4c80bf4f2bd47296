#pragma once
// What operators whose operands decide a shape have in common: such operands as symbolic numbers, whichever of
// infer, define or eval asks, so that each rule (the clamping of Slice, the -1 of Reshape) is written once over
// SymExpr. Also the helpers by which a front end completes Range. No operator is declared here.
#include "ir/op.h"

namespace fcc {

// The elements of a tensor as numbers.
std::vector<SymExpr> numbers_of(const Tensor&);
// The elements of a shape operand as infer saw them; a bug when infer did not observe it.
const std::vector<SymExpr>& known_elements(const DefineContext&, size_t k);
// True when a '$' symbol occurs: the value is seen only while running.
bool reads_data(const SymExpr&);
// e, or e + extent when e is negative.
SymExpr wrap_negative(const SymExpr& e, const SymExpr& extent);
SymExpr product(std::span<const SymExpr> dims);
// All of them as numbers; none when one is open.
std::optional<std::vector<int64_t>> constant_extents(std::span<const SymExpr> dims);
// The attribute `axis` (default 0), counted from the front.
size_t axis_of(const Attrs&, int64_t rank);

// The first element of an operand of rank 0, or of rank 1 and length 1, in its own type.
loop::Expr scalar_operand(DefineContext&, size_t k);
// The element of a list of numbers that an index selects, as an i64 expression.
loop::Expr select_element(std::span<const SymExpr> elements, const loop::Expr& index);
// min(max(e, lo), hi).
loop::Expr clamp(loop::Expr e, loop::Expr lo, loop::Expr hi);
// 0 <= e < extent, leaving out what cannot fail.
loop::Expr in_range(const loop::Expr& e, const loop::Expr& extent);

// What only a run can tell: the model checks it before it computes.
void assume_equal(InferContext&, const SymExpr& a, const SymExpr& b);
void assume_not(InferContext&, const SymExpr& a, int64_t forbidden);
void assume_axis(InferContext&, const SymExpr& axis, int64_t rank);  // in [-rank, rank)

// Hands on what is known of operand 0's elements to a result of rank 0 or 1 with the same elements.
void pass_content(InferContext&, size_t result = 0);

// Length of Range(start, limit, delta) as an i64 scalar, to be its fourth operand. Needed when the numbers are
// floats that are not whole, or floats known only while running: an extent cannot be an expression of those.
ValueId range_length(GraphBuilder&, ValueId start, ValueId limit, ValueId delta);

}  // namespace fcc
