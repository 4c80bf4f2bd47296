#pragma once
// Scalar expressions of the loop IR: the formulas of operators and the index arithmetic of kernels.
//
// What may be assumed:
//  - Expressions are pure. Sharing a node (same pointer) means "compute once"; emitters memoise by pointer.
//  - Every expression has one element type; both sides of a binary agree (cast explicitly). Comparisons and
//    logic give boolean. Index arithmetic is i64.
//  - Integer arithmetic wraps. div on ints truncates towards zero, floordiv and mod round towards minus
//    infinity, rem has the sign of the dividend (fmod on floats). Integer division by 0 gives 0.
//  - Float min/max propagate NaN (NumPy). Float to int casts saturate, NaN becomes 0. Casts to boolean test != 0.
//    f16 and bf16 values exist only in memory: a load widens to f32 and a store rounds, so no expression has
//    type f16 or bf16.
//  - A guarded load whose guard is false yields `otherwise` and touches no memory out of bounds.
//  - reduce(op, v in [lo,hi)) accumulates from the identity of op (add 0, mul 1, min/max the extreme, and true,
//    or false). Its order is fixed by the emitter at compile time, never by thread count.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/types.h"

namespace fcc::loop {

using VarId = int32_t;     // index into Kernel::vars
using BufferId = int32_t;  // index into Kernel::buffers

enum class UnaryOp : uint8_t {
  neg, abs, sign, floor, ceil, round /* half to even */, trunc, sqrt, reciprocal, exp, exp2, expm1, log, log1p, log2,
  sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh, erf, sigmoid, logical_not, bit_not, is_nan, is_inf,
};
inline constexpr int kUnaryCount = 33;
enum class BinaryOp : uint8_t {
  add, sub, mul, div, floordiv, mod, rem, min, max, pow, logical_and, logical_or, logical_xor, bit_and, bit_or, bit_xor, shl, shr,
  eq, ne, lt, le, gt, ge, atan2,
};
inline constexpr int kBinaryCount = 25;
std::string_view name(UnaryOp);
std::string_view name(BinaryOp);

enum class ReduceOp : uint8_t { add, mul, min, max, logical_and, logical_or };
std::string_view name(ReduceOp);

enum class ExprKind : uint8_t { constant, var, symbol, load, unary, binary, select, cast, fma, reduce };

struct ExprNode;
using Expr = std::shared_ptr<const ExprNode>;

struct ExprNode {
  ExprKind kind;
  DType type;
  double f = 0;              // constant of a float type
  int64_t i = 0;             // constant of an int type or boolean
  VarId var = -1;            // var; the variable of a reduce
  std::string symbol;        // open dimension
  BufferId buffer = -1;      // load
  UnaryOp unary{};
  BinaryOp binary{};
  ReduceOp reduce{};
  int32_t lanes = 1;         // reduce: > 1 asks the emitter to vectorise over its variable
  bool unroll = false;       // reduce: short constant trip count, unroll fully
  // load: indices..., and when guarded also guard, otherwise at the end; select: cond, then, else;
  // fma: a*b+c; reduce: lo, hi, body.
  std::vector<Expr> args;
  bool guarded = false;      // load
  std::vector<VarId> free;   // free variables, sorted
};

// ---- builders: fold constants and trivial identities, check types ----------------------------------------
Expr constant(DType, double);
Expr constant_int(DType, int64_t);
inline Expr index(int64_t v) { return constant_int(DType::i64, v); }
Expr boolean(bool);
Expr var(VarId, DType = DType::i64);
Expr symbol(std::string_view name);
Expr from_sym(const SymExpr&);  // i64
Expr load(BufferId, DType element, std::vector<Expr> indices);  // type: element, or f32 when element is f16/bf16
Expr load_guarded(BufferId, DType element, std::vector<Expr> indices, Expr guard, Expr otherwise);
Expr unary(UnaryOp, Expr);
Expr binary(BinaryOp, Expr, Expr);
Expr select(Expr cond, Expr then, Expr otherwise);
Expr cast(DType, Expr);
Expr fma(Expr a, Expr b, Expr c);
Expr reduce(ReduceOp, VarId, Expr lo, Expr hi, Expr body, int32_t lanes = 1, bool unroll = false);

Expr operator+(Expr, Expr);
Expr operator-(Expr, Expr);
Expr operator*(Expr, Expr);
Expr operator/(Expr, Expr);  // BinaryOp::div
Expr operator-(Expr);
Expr operator+(Expr, int64_t);
Expr operator-(Expr, int64_t);
Expr operator*(Expr, int64_t);
inline Expr floordiv(Expr a, Expr b) { return binary(BinaryOp::floordiv, std::move(a), std::move(b)); }
inline Expr mod(Expr a, Expr b) { return binary(BinaryOp::mod, std::move(a), std::move(b)); }
inline Expr min(Expr a, Expr b) { return binary(BinaryOp::min, std::move(a), std::move(b)); }
inline Expr max(Expr a, Expr b) { return binary(BinaryOp::max, std::move(a), std::move(b)); }
inline Expr lt(Expr a, Expr b) { return binary(BinaryOp::lt, std::move(a), std::move(b)); }
inline Expr ge(Expr a, Expr b) { return binary(BinaryOp::ge, std::move(a), std::move(b)); }
inline Expr eq(Expr a, Expr b) { return binary(BinaryOp::eq, std::move(a), std::move(b)); }
inline Expr both(Expr a, Expr b) { return binary(BinaryOp::logical_and, std::move(a), std::move(b)); }

bool is_constant(const Expr&);
bool is_constant_int(const Expr&, int64_t);
bool uses(const Expr&, VarId);
// The expression with a variable replaced; sharing is kept.
Expr substitute(const Expr&, VarId, const Expr& value);
Expr substitute(const Expr&, std::span<const std::pair<VarId, Expr>>);
// Coefficient c when e == c*v + (something free of v) with a constant c; nothing when not provably linear.
std::optional<int64_t> linear_coefficient(const Expr& e, VarId v);
// Structural equality (same formula, same vars and buffers).
bool same(const Expr&, const Expr&);
// The type an f16/bf16 element has inside expressions (f32), others unchanged.
inline DType compute_type(DType t) { return t == DType::f16 || t == DType::bf16 ? DType::f32 : t; }

}  // namespace fcc::loop
