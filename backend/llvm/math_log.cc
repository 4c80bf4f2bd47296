// log and what is built on it, and powers. Coefficients: scripts/minimax.py.
#include <cmath>
#include <limits>

#include "backend/llvm/math_num.h"
#include "backend/llvm/math_tables.h"

namespace fcc::math {

namespace t = math_tables;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kLog2e = 1.4426950408889634, kLog2eLow = 2.0355273740931033e-17;

// u = 2^k * (1 + f): 1+f in [2/3, 4/3] for f32, [1/sqrt2, sqrt2] for f64.
struct Split {
  Num k, f;
};

// low: a correction to u that u itself cannot hold (0 <= |low| < last bit of u); null for none.
// positive_normal: u is known to be neither zero nor denormal.
Split split(Num u, const Num* low, bool positive_normal) {
  const Format& fmt = format(u);
  Num k0 = u.like(0);
  if (!positive_normal) {
    const Mask tiny = u < fmt.min_normal;
    k0 = select(tiny, u.like(-fmt.mantissa - 1), 0.0);
    u = select(tiny, u * std::ldexp(1.0, fmt.mantissa + 1), u);
  }
  const Int centre = bits(u.like(u.is_f64() ? 0.70710678118654752 : 2.0 / 3.0));
  const Int above = bits(u) - centre;
  const Int exponent = above & (~uint64_t{0} << fmt.mantissa);  // k in the exponent field
  Num f = from_bits(bits(u) - exponent) - 1;
  if (low) {
    // low * 2^-k; huge k, where 2^-k has no exponent field and low does not matter, is cut off.
    const Num shrink = from_bits(bits(u.like(1)) - exponent);
    f = f + *low * select(u < 1e30, shrink, 0.0);
  }
  auto& b = u.lab->b;
  const Int k = {b.CreateAShr(exponent.v, exponent.like(static_cast<uint64_t>(fmt.mantissa)).v), u.lab};
  if (!u.is_f64()) return {Num{b.CreateSIToFP(k.v, u.v->getType()), u.lab} + k0, f};
  return {from_bits(k + bits(u.like(fmt.magic))) - fmt.magic + k0, f};
}

// log(1+f).
// f32: f - f^2/2 + f^3 P(f). f64: with s = f/(2+f), log(1+f) = f - f^2/2 + s*(f^2/2 + R(s)) as in Sun's fdlibm.
Num log_mantissa(Num f, Num k_low) {
  if (!f.is_f64()) return fma(f * f, fma(f, polynomial(f, t::kLog32), -0.5), f);
  const Num s = f / (f + 2), z = s * s, half_square = f * f * 0.5;
  return f - (half_square - fma(s, fma(z, polynomial(z, t::kLog64), half_square), k_low));
}

Num log_of(Split u) {
  const Format& fmt = format(u.f);
  if (u.f.is_f64()) return fma(u.k, fmt.ln2_hi, log_mantissa(u.f, u.k * fmt.ln2_lo));
  const Num r = log_mantissa(u.f, u.f);
  if (u.f.lab->target.fma) return fma(u.k, 0.6931471805599453, r);
  return u.k * fmt.ln2_hi + (u.k * fmt.ln2_lo + r);
}

// log(x) of zero, negative numbers, infinity and NaN, where `value` is right elsewhere.
Num with_log_specials(Num x, Num value) {
  const Num finite = select(x < kInf, value, x);
  return select(x > 0.0, finite, select(x == 0.0, x.like(-kInf), select(x < 0.0, x.like(kNan), x)));
}

// log(1 + x) + shift*ln2 where sum = 1+x exactly.
Num log_of_sum(Two sum, Num shift) {
  Split u = split(sum.hi, &sum.lo, true);
  u.k = u.k + shift;
  return log_of(u);
}

}  // namespace

Num log(Num x) {
  return with_log_specials(x, log_of(split(x, nullptr, false)));
}

// k + log(m)*log2(e), the constant in two parts.
Num log2(Num x) {
  const Split u = split(x, nullptr, false);
  const Num m = log_mantissa(u.f, u.f.like(0));
  return with_log_specials(x, fma(m, kLog2e, fma(m, x.is_f64() ? kLog2eLow : 1.925963033500e-8, u.k)));
}

// log(u) with u = 1+x rounded, and the rounding error of u put back into the mantissa.
Num log1p(Num x) {
  const Two sum = two_sum(x.like(1), x);
  const Num value = with_log_specials(sum.hi, log_of_sum(sum, x.like(0)));
  return copysign(value, x);
}

// log1p(|x| + x^2 / (1 + sqrt(1 + x^2))); for large |x| log(2|x|).
Num asinh(Num x) {
  const Num a = abs(x), square = a * a;
  const Mask large = a > 1e9;
  const Two sum = two_sum(x.like(1), a + square / (sqrt(square + 1) + 1));
  const Num value = log_of_sum({select(large, a, sum.hi), select(large, 0.0, sum.lo)}, select(large, x.like(1), 0.0));
  return copysign(select(a < kInf, value, a), x);
}

// With d = x-1: log1p(d + sqrt(2d + d^2)); for large x log(2x). NaN below 1.
Num acosh(Num x) {
  const Mask large = x > 1e9;
  const Num d = x - 1;
  const Two sum = two_sum(x.like(1), d + sqrt(fma(d, d, d * 2)));
  const Num value = log_of_sum({select(large, x, sum.hi), select(large, 0.0, sum.lo)}, select(large, x.like(1), 0.0));
  return select(x < 1, kNan, select(x < kInf, value, x));
}

// log1p(2|x| / (1-|x|)) / 2.
Num atanh(Num x) {
  const Num a = abs(x);
  return copysign(log1p(a * 2 / (1.0 - a)) * 0.5, x);
}

// ---- powers ------------------------------------------------------------------------------------------------

namespace {

// log(u) to about 2^-66: with s = f/(2+f) in two parts, 2s + 2/3 s^3 + s^5 P(s^2), the first two terms in two parts.
Two precise_log(Num u) {
  const Split x = split(u, nullptr, false);
  const Two den = two_sum(u.like(2), x.f);
  const Num s = x.f / den.hi;
  // Remainder of the division: f - s*den.
  const Two back = two_product(s, den.hi);
  const Num s_low = ((x.f - back.hi) - back.lo - s * den.lo) / den.hi;
  const Two square = two_product(s, s);
  const Num z_low = fma(s * 2, s_low, square.lo);
  // s^3 in two parts, times 2/3.
  const Two cube = two_product(square.hi, s);
  const Num cube_low = fma(square.hi, s_low, fma(z_low, s, cube.lo));
  const double third = 2.0 / 3.0, third_low = 3.7007434154171882e-17;
  const Two term = two_product(cube.hi, u.like(third));
  const Num term_low = fma(cube.hi, third_low, fma(cube_low, third, term.lo));
  const Num rest = cube.hi * square.hi * polynomial(square.hi, t::kPowLog64);
  // k*ln2 in two parts (the first exact), then the sum, largest first.
  const Format& fmt = format(u);
  const Num k_hi = x.k * fmt.ln2_hi;
  const Two k_lo = two_product(x.k, u.like(fmt.ln2_lo));
  const Two a = two_sum(k_hi, s * 2), c = two_sum(a.hi, k_lo.hi), d = two_sum(c.hi, term.hi), e = two_sum(d.hi, rest);
  // What ln2_lo itself lacks: ln2 = ln2_hi + ln2_lo + 5.7e-27 or so.
  const Num low = (a.lo + c.lo) + (d.lo + e.lo) + (s_low * 2 + term_low + k_lo.lo);
  return fast_two_sum(e.hi, low);
}

// |x|^y for x != 0, y finite, by exp(y log|x|).
Num power_f64(Num a, Num y) {
  const Two l = precise_log(a);
  const Two product = two_product(y, l.hi);
  const Num low = fma(y, l.lo, product.lo);
  const Num exact = exp_with_low(product.hi, low);
  // Infinite or zero |x|, infinite y: the sign of the product decides.
  const Num limit = y * log(a);
  const Mask plain = (abs(limit) < 1e4) & (abs(y) < 1e300);
  return select(plain, exact, exp(select(a == 1, 0.0, limit)));
}

Num power_f32(Num a, Num y) {
  const Num l = log(widen(a));
  return narrow(exp(select(l == 0.0, 0.0, widen(y) * l)));
}

}  // namespace

// |x|^y with the sign and the special cases of C99: pow(x,0) = pow(1,y) = 1, NaN for a negative base with a
// fractional exponent. f32 computes in f64.
Num pow(Num x, Num y) {
  const Num magnitude = x.is_f64() ? power_f64(abs(x), y) : power_f32(abs(x), y);
  const Mask whole = trunc(y) == y;
  const Num half = y * 0.5;
  const Mask odd = whole & !(trunc(half) == half);
  const Num with_sign = select(odd & sign_bit(x), -magnitude, magnitude);
  const Mask undefined = (x < 0.0) & (x > -kInf) & !whole;
  return select((y == 0.0) | (x == 1), 1.0, select(undefined, kNan, with_sign));
}

}  // namespace fcc::math
