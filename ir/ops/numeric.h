#pragma once
// What several operator families share: operand type checks with one wording, plain host arithmetic for the
// oracles (eval), and a few shapes of loop expression (define). Lives here so that a family file holds only
// mathematics. It is no part of an operator's contract; that is ir/op.h.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/op.h"

namespace fcc::ops {

// ---- infer ------------------------------------------------------------------------------------------------

struct TypeSet {
  bool (*has)(DType);
  std::string_view text;
};
inline constexpr TypeSet kNumbers{[](DType t) { return t != DType::boolean; }, "a number type"};
inline constexpr TypeSet kFloats{[](DType t) { return is_float(t); }, "a float type"};
inline constexpr TypeSet kSigned{[](DType t) { return is_float(t) || is_signed_int(t); }, "a signed type"};
inline constexpr TypeSet kInts{[](DType t) { return is_int(t); }, "an integer type"};
inline constexpr TypeSet kBooleans{[](DType t) { return t == DType::boolean; }, "bool"};
inline constexpr TypeSet kAnything{[](DType) { return true; }, "any type"};

// Operand k is present and of one of these types. The name is how the message calls it.
Status require_type(const InferContext&, size_t k, const TypeSet&, std::string_view operand_name);
// Operand k, when present, has the element type of operand 0.
Status require_same_type(const InferContext&, size_t k, std::string_view operand_name);
// A Result of which only the fault matters.
template <class T>
Status status_of(const Result<T>& r) {
  if (!r) return std::unexpected(r.error());
  return {};
}
// Provably different extents.
bool clash(const SymExpr& a, const SymExpr& b);
// Of two extents that must agree, the one that says more: a number before an open dim.
const SymExpr& better_known(const SymExpr& a, const SymExpr& b);
// Broadcasting aligns the operand's extents with the result's: open ones that differ as expressions must turn out equal.
void assume_broadcast(InferContext&, const Dims& result, const Dims& operand);
// Result 0 becomes the broadcast of the operands; known contents follow the formula.
Status broadcast_operands(InferContext&, DType result);

// Pointwise over operands of one type of a set; the result has op.result_dtype, or the operands' type.
template <const TypeSet& set>
Status infer_same_type(InferContext& c) {
  for (size_t k = 0; k < c.n_in(); ++k) {
    FCC_CHECKED(require_type(c, k, set, "operand " + std::to_string(k)));
    FCC_CHECKED(require_same_type(c, k, "operand " + std::to_string(k)));
  }
  return broadcast_operands(c, c.op.result_dtype ? c.op.result_dtype(c) : c.dtype(0));
}

// ---- eval -------------------------------------------------------------------------------------------------

// Calls f with a zero of the type in which an oracle computes: double, uint64_t or int64_t.
template <class F>
decltype(auto) with_number(DType t, F&& f) {
  if (is_float(t)) return f(double{});
  if (is_unsigned_int(t)) return f(uint64_t{});
  return f(int64_t{});
}

template <class T>
std::vector<T> numbers(const Tensor& t) {
  if constexpr (std::is_same_v<T, double>) return t.to_doubles();
  std::vector<T> v(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<T>(t.get_int(static_cast<int64_t>(i)));
  return v;
}
// Integers wrap to the tensor's width; doubles into an integer tensor truncate, saturate, and NaN becomes 0.
void store(Tensor&, std::span<const double>);
void store(Tensor&, std::span<const int64_t>);
void store(Tensor&, std::span<const uint64_t>);

// Integer arithmetic that wraps instead of overflowing.
template <class T>
T plus(T a, T b) {
  if constexpr (std::is_same_v<T, double>)
    return a + b;
  else
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <class T>
T times(T a, T b) {
  if constexpr (std::is_same_v<T, double>)
    return a * b;
  else
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// A row-major shape seen along one axis: lines of n elements, `inner` apart.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Lines(std::span<const int64_t> shape, int64_t axis);
  // visit(offset of the line's first element)
  template <class F>
  void each(F visit) const {
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) visit(static_cast<size_t>(o * n * inner + i));
  }
  size_t at(size_t first, int64_t k) const { return first + static_cast<size_t>(k * inner); }
};

// Strides of an operand along a result of that rank: 0 where it is broadcast.
std::vector<int64_t> broadcast_strides(std::span<const int64_t> operand, size_t result_rank);
// Visits every index of a shape in row-major order together with an offset that moves by these strides.
void for_each_strided(std::span<const int64_t> shape, std::span<const int64_t> strides,
                      const std::function<void(size_t flat, size_t offset)>& visit);

// ---- define -----------------------------------------------------------------------------------------------

inline loop::Expr number(const loop::Expr& like, double v) {
  return loop::constant(like->type, v);
}
// The index with one coordinate replaced.
std::vector<loop::Expr> replaced(std::span<const loop::Expr> index, int64_t axis, loop::Expr value);
// Nested reductions over [0, extents[i]), the last one innermost.
loop::Expr reduce_over(DefineContext&, loop::ReduceOp, std::span<const loop::Expr> extents,
                       const std::function<loop::Expr(std::span<const loop::Expr>)>& body);
loop::Expr product(std::span<const loop::Expr> extents);
// DefineContext::fault_if, unless the condition is known to be false.
void fault_if(DefineContext&, loop::Expr condition, std::string_view text);
// Stops the run when two extents that were assumed equal while compiling are not.
void require_equal(DefineContext&, const SymExpr& a, const SymExpr& b, std::string_view text);

}  // namespace fcc::ops
