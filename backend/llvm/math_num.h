#pragma once
// Values of emitted code with operators, so that the formulas of math_*.cc read like formulas. A Num is a float or
// double (or a vector of them), an Int its bit pattern, a Mask the result of a comparison. Internal to math*.cc.
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Intrinsics.h>

#include <span>

#include "backend/llvm/math.h"

namespace fcc::math {

struct Lab {
  llvm::IRBuilderBase& b;
  const MathTarget& target;
};

struct Mask {
  llvm::Value* v;
  Lab* lab;
};

struct Int {
  llvm::Value* v;
  Lab* lab;
  Int like(uint64_t k) const { return {llvm::ConstantInt::get(v->getType(), k), lab}; }
};

struct Num {
  llvm::Value* v;
  Lab* lab;
  Num like(double k) const { return {llvm::ConstantFP::get(v->getType(), k), lab}; }
  bool is_f64() const { return v->getType()->getScalarType()->isDoubleTy(); }
};

inline Num operator+(Num a, Num b) {
  return {a.lab->b.CreateFAdd(a.v, b.v), a.lab};
}
inline Num operator-(Num a, Num b) {
  return {a.lab->b.CreateFSub(a.v, b.v), a.lab};
}
inline Num operator*(Num a, Num b) {
  return {a.lab->b.CreateFMul(a.v, b.v), a.lab};
}
inline Num operator/(Num a, Num b) {
  return {a.lab->b.CreateFDiv(a.v, b.v), a.lab};
}
inline Num operator-(Num a) {
  return {a.lab->b.CreateFNeg(a.v), a.lab};
}
inline Num operator+(Num a, double k) {
  return a + a.like(k);
}
inline Num operator-(Num a, double k) {
  return a - a.like(k);
}
inline Num operator*(Num a, double k) {
  return a * a.like(k);
}
inline Num operator-(double k, Num a) {
  return a.like(k) - a;
}
inline Num operator/(double k, Num a) {
  return a.like(k) / a;
}

inline Num fma(Num a, Num b, Num c) {
  if (!a.lab->target.fma) return a * b + c;
  return {a.lab->b.CreateIntrinsic(llvm::Intrinsic::fma, {a.v->getType()}, {a.v, b.v, c.v}), a.lab};
}
inline Num fma(Num a, double k, Num c) {
  return fma(a, a.like(k), c);
}
inline Num fma(Num a, Num b, double k) {
  return fma(a, b, a.like(k));
}

// Horner; coefficients lowest degree first.
inline Num polynomial(Num x, std::span<const double> c) {
  Num sum = x.like(c.back());
  for (size_t i = c.size() - 1; i-- > 0;) sum = fma(sum, x, c[i]);
  return sum;
}

inline Num unary_intrinsic(llvm::Intrinsic::ID id, Num a) {
  return {a.lab->b.CreateUnaryIntrinsic(id, a.v), a.lab};
}
inline Num abs(Num a) {
  return unary_intrinsic(llvm::Intrinsic::fabs, a);
}
inline Num sqrt(Num a) {
  return unary_intrinsic(llvm::Intrinsic::sqrt, a);
}
inline Num trunc(Num a) {
  return unary_intrinsic(llvm::Intrinsic::trunc, a);
}
inline Num copysign(Num magnitude, Num sign) {
  return {magnitude.lab->b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude.v, sign.v), magnitude.lab};
}

inline Mask compare(llvm::CmpInst::Predicate p, Num a, Num b) {
  return {a.lab->b.CreateFCmp(p, a.v, b.v), a.lab};
}
// Ordered comparisons: false for NaN.
inline Mask operator<(Num a, Num b) {
  return compare(llvm::CmpInst::FCMP_OLT, a, b);
}
inline Mask operator>(Num a, Num b) {
  return compare(llvm::CmpInst::FCMP_OGT, a, b);
}
inline Mask operator==(Num a, Num b) {
  return compare(llvm::CmpInst::FCMP_OEQ, a, b);
}
inline Mask operator<(Num a, double k) {
  return a < a.like(k);
}
inline Mask operator>(Num a, double k) {
  return a > a.like(k);
}
inline Mask operator==(Num a, double k) {
  return a == a.like(k);
}
inline Mask operator&(Mask a, Mask b) {
  return {a.lab->b.CreateAnd(a.v, b.v), a.lab};
}
inline Mask operator|(Mask a, Mask b) {
  return {a.lab->b.CreateOr(a.v, b.v), a.lab};
}
inline Mask operator!(Mask a) {
  return {a.lab->b.CreateNot(a.v), a.lab};
}

inline Num select(Mask m, Num a, Num b) {
  return {a.lab->b.CreateSelect(m.v, a.v, b.v), a.lab};
}
inline Num select(Mask m, Num a, double k) {
  return select(m, a, a.like(k));
}
inline Num select(Mask m, double k, Num b) {
  return select(m, b.like(k), b);
}
// One instruction on x86, and NaN in x comes through.
inline Num at_least(Num x, double k) {
  return select(x < k, k, x);
}
inline Num at_most(Num x, double k) {
  return select(x > k, k, x);
}

inline Int operator+(Int a, Int b) {
  return {a.lab->b.CreateAdd(a.v, b.v), a.lab};
}
inline Int operator-(Int a, Int b) {
  return {a.lab->b.CreateSub(a.v, b.v), a.lab};
}
inline Int operator&(Int a, uint64_t k) {
  return {a.lab->b.CreateAnd(a.v, a.like(k).v), a.lab};
}
inline Int operator^(Int a, Int b) {
  return {a.lab->b.CreateXor(a.v, b.v), a.lab};
}
inline Int operator<<(Int a, int n) {
  return {a.lab->b.CreateShl(a.v, a.like(static_cast<uint64_t>(n)).v), a.lab};
}
inline Int shift_right_logical(Int a, int n) {
  return {a.lab->b.CreateLShr(a.v, a.like(static_cast<uint64_t>(n)).v), a.lab};
}
inline Mask is_negative(Int a) {
  return {a.lab->b.CreateICmpSLT(a.v, a.like(0).v), a.lab};
}
inline Mask is_zero(Int a) {
  return {a.lab->b.CreateICmpEQ(a.v, a.like(0).v), a.lab};
}

inline llvm::Type* with_element(llvm::Type* shape, llvm::Type* element) {
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(shape))
    return llvm::FixedVectorType::get(element, vector->getNumElements());
  return element;
}
inline Int bits(Num a) {
  auto* element = a.lab->b.getIntNTy(a.v->getType()->getScalarSizeInBits());
  return {a.lab->b.CreateBitCast(a.v, with_element(a.v->getType(), element)), a.lab};
}
inline Num from_bits(Int a) {
  auto& b = a.lab->b;
  auto* element = a.v->getType()->getScalarSizeInBits() == 64 ? b.getDoubleTy() : b.getFloatTy();
  return {b.CreateBitCast(a.v, with_element(a.v->getType(), element)), a.lab};
}
inline Num widen(Num a) {
  return {a.lab->b.CreateFPExt(a.v, with_element(a.v->getType(), a.lab->b.getDoubleTy())), a.lab};
}
inline Num narrow(Num a) {
  return {a.lab->b.CreateFPTrunc(a.v, with_element(a.v->getType(), a.lab->b.getFloatTy())), a.lab};
}
inline Int narrow(Int a) {
  return {a.lab->b.CreateTrunc(a.v, with_element(a.v->getType(), a.lab->b.getInt32Ty())), a.lab};
}
inline Mask sign_bit(Num a) {
  return is_negative(bits(a));
}

// The two element types.
struct Format {
  int mantissa;  // explicit bits
  double magic;  // 1.5 * 2^mantissa: x + magic rounds x to an integer kept in the low bits
  double min_normal;
  double exp_lo, exp_hi;  // beyond these exp is 0 or infinite
  double half_exp_hi;     // beyond this exp(x)/2 is infinite
  double ln2_hi, ln2_lo;  // n*ln2_hi is exact for exponents n
};
const Format& format(Num);

// Sum of two numbers and its rounding error, exactly (Knuth).
struct Two {
  Num hi, lo;
};
inline Two two_sum(Num a, Num b) {
  const Num s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
// The same when |a| >= |b| (Dekker).
inline Two fast_two_sum(Num a, Num b) {
  const Num s = a + b;
  return {s, b - (s - a)};
}
Two two_product(Num a, Num b);

// ---- one function a file of formulas; all take f32 or f64 unless said
Num exp(Num), exp2(Num), expm1(Num), sinh(Num), cosh(Num), tanh(Num), sigmoid(Num), erf(Num);
// exp(x + lo) for |lo| far below x's last bit times 2^12.
Num exp_with_low(Num x, Num lo);
Num log(Num), log1p(Num), log2(Num);
Num asinh(Num), acosh(Num), atanh(Num);  // f64
Num pow(Num x, Num y);
Num sin(Num), cos(Num);
Num tan(Num), asin(Num), acos(Num), atan(Num);  // f64
Num atan2(Num y, Num x);                        // f64
Num fmod(Num x, Num y);

}  // namespace fcc::math
