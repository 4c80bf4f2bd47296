// exp and what is built on it. Coefficients: scripts/minimax.py.
#include <llvm/IR/IntrinsicsX86.h>

#include <cmath>

#include "backend/llvm/math_num.h"
#include "backend/llvm/math_tables.h"

namespace fcc::math {

namespace t = math_tables;

namespace {

std::span<const double> exp_table(Num x) {
  if (x.is_f64()) return t::kExp64;
  return t::kExp32;
}

constexpr double kLog2e = 1.4426950408889634;

// x = n*ln2 + r with |r| <= ln2/2 (Cody and Waite).
struct Reduced {
  Int raw;  // bits of n + magic: n in the low bits, whatever above
  Num n, r;
};

Reduced reduce(Num x) {
  const Format& f = format(x);
  const Num shifted = fma(x, kLog2e, x.like(f.magic)), n = shifted - f.magic;
  return {bits(shifted), n, fma(n, -f.ln2_lo, fma(n, -f.ln2_hi, x))};
}

// e^r - 1, with relative accuracy.
Num expm1_of(Num r) {
  return fma(r * r, polynomial(r, exp_table(r)), r);
}

// e^r. With fma the last step rounds 1 + r*s once; without it, what 1 + r loses is added back.
Num exp_of(Num r) {
  const Num rest = polynomial(r, exp_table(r));
  if (r.lab->target.fma) return fma(fma(rest, r, 1), r, 1);
  const Two sum = fast_two_sum(r.like(1), r);
  return sum.hi + (sum.lo + r * r * rest);
}

// 2^n * 2^shift, for n + shift in the range of normal numbers.
Num power_of_two(const Reduced& e, int shift) {
  const Format& f = format(e.n);
  return from_bits((e.raw << f.mantissa) + bits(e.n.like(std::ldexp(1.0, shift))));
}

llvm::Intrinsic::ID scalef_intrinsic(Num x) {
  const auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(x.v->getType());
  if (!x.lab->target.avx512 || !vector) return llvm::Intrinsic::not_intrinsic;
  switch (vector->getPrimitiveSizeInBits().getFixedValue()) {
    case 128:
      return x.is_f64() ? llvm::Intrinsic::x86_avx512_mask_scalef_pd_128
                        : llvm::Intrinsic::x86_avx512_mask_scalef_ps_128;
    case 256:
      return x.is_f64() ? llvm::Intrinsic::x86_avx512_mask_scalef_pd_256
                        : llvm::Intrinsic::x86_avx512_mask_scalef_ps_256;
    case 512:
      return x.is_f64() ? llvm::Intrinsic::x86_avx512_mask_scalef_pd_512
                        : llvm::Intrinsic::x86_avx512_mask_scalef_ps_512;
    default:
      return llvm::Intrinsic::not_intrinsic;
  }
}

// y * 2^n for y in [1/2, 2), with overflow to infinity and gradual underflow.
Num scale(Num y, const Reduced& e) {
  const Format& f = format(y);
  auto& b = y.lab->b;
  if (auto id = scalef_intrinsic(y); id != llvm::Intrinsic::not_intrinsic) {
    const auto lanes = llvm::cast<llvm::FixedVectorType>(y.v->getType())->getNumElements();
    llvm::SmallVector<llvm::Value*, 5> args{y.v, e.n.v, y.v,
                                            llvm::Constant::getAllOnesValue(b.getIntNTy(std::max(lanes, 8u)))};
    if (y.v->getType()->getPrimitiveSizeInBits().getFixedValue() == 512)
      args.push_back(b.getInt32(4));  // rounding mode as set
    return {b.CreateIntrinsic(id, {}, args), y.lab};
  }
  // Two factors of about half of n each, since 2^n alone may be no normal number; the second product rounds.
  const Int one = bits(y.like(1));
  const Int half = shift_right_logical(e.raw, 1) << f.mantissa, rest = (e.raw << f.mantissa) - half;
  return y * from_bits(half + one) * from_bits(rest + one);
}

Num clamp_to_exp(Num x) {
  return at_most(at_least(x, format(x).exp_lo), format(x).exp_hi);
}

// (e^x - 1) / 2 without premature overflow; x >= -ln(2)*(mantissa bits) or so.
Num half_expm1(Num x) {
  const Reduced e = reduce(at_most(at_least(x, -45), format(x).half_exp_hi));
  const Num s = power_of_two(e, -2);
  return fma(s, expm1_of(e.r), s - 0.25) * 2;
}

}  // namespace

// e^x = 2^n * (1 + p): Cody-Waite reduction, minimax polynomial of degree 6 (f32) or 12 (f64).
Num exp(Num x) {
  const Reduced e = reduce(clamp_to_exp(x));
  return scale(exp_of(e.r), e);
}

Num exp_with_low(Num x, Num lo) {
  const Num clamped = clamp_to_exp(x);
  const Reduced e = reduce(clamped);
  const Num p = expm1_of(e.r);
  // e^(r+lo) = e^r + lo*e^r up to lo^2.
  const Num tail = select((clamped == x) & (abs(lo) < 1), lo, 0.0);
  return scale(fma(tail, p + 1, p) + 1, e);
}

// 2^x = 2^n * e^((x-n) ln2), n the nearest integer: x-n is exact.
Num exp2(Num x) {
  const Format& f = format(x);
  const Num y = at_most(at_least(x, x.is_f64() ? -1080 : -152), x.is_f64() ? 1026 : 130);
  const Num shifted = y + f.magic, n = shifted - f.magic;
  const Num r = (y - n) * 0.6931471805599453;
  return scale(exp_of(r), {bits(shifted), n, r});
}

// 2^n p + (2^n - 1).
Num expm1(Num x) {
  return copysign(half_expm1(x) * 2, x);
}

// With h = (e^|x| - 1)/2: sinh = h + h/(2h+1), which neither cancels nor overflows early.
Num sinh(Num x) {
  const Num h = half_expm1(abs(x)), finite = at_most(h, 1e30);
  return copysign(h + finite / (finite * 2 + 1), x);
}

// With e = e^|x|/2: cosh = e + 1/(4e).
Num cosh(Num x) {
  const Reduced r = reduce(at_most(abs(x), format(x).half_exp_hi));
  const Num e = power_of_two(r, -2) * exp_of(r.r) * 2;
  return e + 0.25 / e;
}

// With e = expm1(2|x|): tanh|x| = e / (e + 2). One polynomial and one division, relative accuracy everywhere; the
// error of e counts for 2/(e+2) of itself only.
Num tanh(Num x) {
  const Reduced r = reduce(at_most(abs(x) * 2, x.is_f64() ? 40 : 18.1));
  const Num s = power_of_two(r, 0);
  const Num e = fma(s, expm1_of(r.r), s - 1);
  return copysign(e / (e + 2), x);
}

// n / d for d in [1, 2]. A division of 16 floats keeps a port busy for 16 cycles; the reciprocal to 14 bits, one step of
// Newton and one correction of the quotient are five multiply-adds, and within an ulp of it.
static Num divide_by_small(Num n, Num d) {
  auto* type = llvm::dyn_cast<llvm::FixedVectorType>(d.v->getType());
  if (d.is_f64() || !d.lab->target.avx512 || !type || type->getNumElements() != 16) return n / d;
  llvm::IRBuilderBase& b = d.lab->b;
  llvm::Value* all = llvm::ConstantInt::getSigned(b.getInt16Ty(), -1);
  Num r{b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_rcp14_ps_512, {}, {d.v, llvm::Constant::getNullValue(type), all}), d.lab};
  r = fma(fma(-d, r, d.like(1)), r, r);
  const Num q = n * r;
  return fma(fma(-q, d, n), r, q);
}

// With z = e^-|x|: z/(1+z) for negative x, 1/(1+z) else. Never overflows, keeps denormal results.
Num sigmoid(Num x) {
  const Num a = at_least(-abs(x), format(x).exp_lo);
  const Reduced r = reduce(a);
  const Num z = scale(exp_of(r.r), r);
  return divide_by_small(select(x < 0.0, z, 1.0), z + 1);
}

// Small: x + x*P(x^2). Large: 1 - exp(t*Q(t) - t), a polynomial for log(erfc). The split (0.92773 for f32) and the
// form are those of N. Juffa's public erff; coefficients refitted.
Num erf(Num x) {
  const bool f64 = x.is_f64();
  const std::span<const double> small_table = f64 ? std::span<const double>(t::kErf64) : t::kErf32;
  const std::span<const double> large_table = f64 ? std::span<const double>(t::kErfc64) : t::kErfc32;
  const Num a = abs(x), limited = at_most(a, f64 ? 6 : 4);
  const Num small = fma(polynomial(x * x, small_table), x, x);
  const Reduced e = reduce(fma(polynomial(limited, large_table), limited, -limited));
  const Num large = 1.0 - power_of_two(e, 0) * exp_of(e.r);
  return select(a > (f64 ? 1.0 : 0.927734375), copysign(large, x), small);
}

}  // namespace fcc::math
