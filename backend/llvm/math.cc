#include "backend/llvm/math.h"

#include <limits>

#include "backend/llvm/math_num.h"
#include "ir/base/check.h"

namespace fcc::math {

const Format& format(Num x) {
  static const Format f32{23, 12582912.0, 0x1p-126, -104.0, 89.0, 89.7, 0.693359375, -2.12194440e-4};
  static const Format f64{
      52, 6755399441055744.0, 0x1p-1022, -746.0, 710.0, 710.7, 6.93147180369123816490e-01, 1.90821492927058770002e-10};
  return x.is_f64() ? f64 : f32;
}

// Exact: with fma by its remainder, else by Dekker's splitting into halves.
Two two_product(Num a, Num b) {
  const Num p = a * b;
  if (a.lab->target.fma) return {p, fma(a, b, -p)};
  const double splitter = a.is_f64() ? 134217729.0 : 4097.0;
  const Num ca = a * splitter, cb = b * splitter;
  const Num ah = ca - (ca - a), al = a - ah, bh = cb - (cb - b), bl = b - bh;
  return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

namespace {

// A builder without fast-math flags, as it was afterwards.
struct Strict {
  llvm::IRBuilderBase::FastMathFlagGuard guard;
  explicit Strict(llvm::IRBuilderBase& b) : guard(b) { b.clearFastMathFlags(); }
};

bool is_f64_only(loop::UnaryOp op) {
  using U = loop::UnaryOp;
  return op == U::tan || op == U::asin || op == U::acos || op == U::atan || op == U::asinh || op == U::acosh ||
         op == U::atanh;
}

Num sign(Num x) {
  const Num one = copysign(x.like(1), x);
  return select((x < 0.0) | (x > 0.0), one, x + 0.0);  // NaN stays, -0 becomes 0
}

Num apply(loop::UnaryOp op, Num x) {
  using U = loop::UnaryOp;
  switch (op) {
    case U::neg:
      return -x;
    case U::abs:
      return abs(x);
    case U::sign:
      return sign(x);
    case U::floor:
      return unary_intrinsic(llvm::Intrinsic::floor, x);
    case U::ceil:
      return unary_intrinsic(llvm::Intrinsic::ceil, x);
    case U::round:
      return unary_intrinsic(llvm::Intrinsic::roundeven, x);
    case U::trunc:
      return trunc(x);
    case U::sqrt:
      return sqrt(x);
    case U::reciprocal:
      return 1.0 / x;
    case U::exp:
      return exp(x);
    case U::exp2:
      return exp2(x);
    case U::expm1:
      return expm1(x);
    case U::log:
      return log(x);
    case U::log1p:
      return log1p(x);
    case U::log2:
      return log2(x);
    case U::sin:
      return sin(x);
    case U::cos:
      return cos(x);
    case U::tan:
      return tan(x);
    case U::asin:
      return asin(x);
    case U::acos:
      return acos(x);
    case U::atan:
      return atan(x);
    case U::sinh:
      return sinh(x);
    case U::cosh:
      return cosh(x);
    case U::tanh:
      return tanh(x);
    case U::asinh:
      return asinh(x);
    case U::acosh:
      return acosh(x);
    case U::atanh:
      return atanh(x);
    case U::erf:
      return erf(x);
    case U::sigmoid:
      return sigmoid(x);
    case U::logical_not:
    case U::bit_not:
    case U::is_nan:
    case U::is_inf:
      break;
  }
  FCC_UNREACHABLE("{} of a float", loop::name(op));
}

}  // namespace
}  // namespace fcc::math

namespace fcc {

using math::Lab;
using math::Num;

llvm::Value* emit_unary_math(llvm::IRBuilderBase& b, const MathTarget& target, loop::UnaryOp op, llvm::Value* x) {
  const math::Strict strict(b);
  Lab lab{b, target};
  const Num n{x, &lab};
  if (op == loop::UnaryOp::is_nan) return b.CreateFCmpUNO(x, x);
  if (op == loop::UnaryOp::is_inf) return (math::abs(n) == std::numeric_limits<double>::infinity()).v;
  if (math::is_f64_only(op) && !n.is_f64()) return math::narrow(math::apply(op, math::widen(n))).v;
  return math::apply(op, n).v;
}

llvm::Value* emit_pow(llvm::IRBuilderBase& b, const MathTarget& target, llvm::Value* x, llvm::Value* y) {
  const math::Strict strict(b);
  Lab lab{b, target};
  return math::pow({x, &lab}, {y, &lab}).v;
}

llvm::Value* emit_atan2(llvm::IRBuilderBase& b, const MathTarget& target, llvm::Value* y, llvm::Value* x) {
  const math::Strict strict(b);
  Lab lab{b, target};
  const Num ny{y, &lab}, nx{x, &lab};
  if (nx.is_f64()) return math::atan2(ny, nx).v;
  return math::narrow(math::atan2(math::widen(ny), math::widen(nx))).v;
}

llvm::Value* emit_fmod(llvm::IRBuilderBase& b, const MathTarget& target, llvm::Value* x, llvm::Value* y) {
  const math::Strict strict(b);
  Lab lab{b, target};
  return math::fmod({x, &lab}, {y, &lab}).v;
}

llvm::Value* emit_mod(llvm::IRBuilderBase& b, const MathTarget& target, llvm::Value* x, llvm::Value* y) {
  const math::Strict strict(b);
  Lab lab{b, target};
  const Num divisor{y, &lab}, r = math::fmod({x, &lab}, divisor);
  const math::Mask opposite = math::is_negative(math::bits(r) ^ math::bits(divisor));
  return math::select(r == 0.0, math::copysign(r, divisor), math::select(opposite, r + divisor, r)).v;
}

llvm::Value* emit_fma(llvm::IRBuilderBase& b, const MathTarget& target, llvm::Value* x, llvm::Value* y,
                      llvm::Value* z) {
  const math::Strict strict(b);
  Lab lab{b, target};
  return math::fma({x, &lab}, {y, &lab}, {z, &lab}).v;
}

int math_cost(loop::UnaryOp op, DType type) {
  using U = loop::UnaryOp;
  const bool f64 = type == DType::f64;
  switch (op) {
    case U::exp:
      return f64 ? 32 : 22;
    case U::exp2:
      return f64 ? 31 : 20;
    case U::expm1:
      return f64 ? 37 : 26;
    case U::log:
    case U::log2:
      return f64 ? 63 : 40;
    case U::log1p:
      return f64 ? 75 : 53;
    case U::sin:
    case U::cos:
      return f64 ? 78 : 48;
    case U::tan:
      return f64 ? 86 : 180;
    case U::asin:
      return f64 ? 45 : 100;
    case U::acos:
      return f64 ? 48 : 106;
    case U::atan:
      return f64 ? 54 : 117;
    case U::sinh:
      return f64 ? 51 : 40;
    case U::cosh:
      return f64 ? 38 : 28;
    case U::tanh:
      return f64 ? 45 : 34;
    case U::sigmoid:
      return f64 ? 49 : 38;
    case U::asinh:
      return f64 ? 90 : 180;
    case U::acosh:
      return f64 ? 86 : 170;
    case U::atanh:
      return f64 ? 95 : 190;
    case U::erf:
      return f64 ? 100 : 54;
    case U::sqrt:
    case U::reciprocal:
      return 8;
    case U::sign:
      return 5;
    default:
      return 1;
  }
}

int math_cost(loop::BinaryOp op, DType type) {
  using B = loop::BinaryOp;
  const bool f64 = type == DType::f64;
  if (!is_float(type))
    return op == B::div || op == B::floordiv || op == B::mod || op == B::rem ? 40 : op == B::pow ? 100 : 1;
  switch (op) {
    case B::pow:
      return f64 ? 290 : 240;
    case B::atan2:
      return f64 ? 80 : 170;
    case B::rem:
      return f64 ? 75 : 380;
    case B::mod:
      return f64 ? 83 : 390;
    case B::div:
      return 8;
    case B::floordiv:
      return 9;
    case B::min:
    case B::max:
      return 3;
    default:
      return 1;
  }
}

}  // namespace fcc
