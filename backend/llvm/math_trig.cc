// Circular functions, their inverses, and fmod. Coefficients: scripts/minimax.py.
#include <cmath>
#include <limits>

#include "backend/llvm/math_num.h"
#include "backend/llvm/math_tables.h"

namespace fcc::math {

namespace t = math_tables;

namespace {

constexpr double kPi = 3.141592653589793, kPiLow = 1.2246467991473532e-16;
// pi/2 in parts of 33 bits, as in Sun's fdlibm: n times a part is exact for n < 2^20.
constexpr double kPio2[] = {1.57079632673412561417e+00, 6.07710050630396597660e-11, 2.02226624871116645580e-21};
constexpr double kPio2After1 = 6.07710050650619224932e-11, kPio2After3 = 8.47842766036889956997e-32;

// x = n*pi/2 + r + low, |r| <= pi/4. Beyond |x| about 1e9 (f32) or 1e6 (f64) r loses accuracy, at last it is 0.
struct Turn {
  Int n;  // n in the low bits
  Num r, low;
};

Num bounded(Num r) {
  return select(abs(r) > 0.79, 0.0, r);
}

Turn reduce_f64(Num x) {
  const double magic = format(x).magic;
  const Num shifted = fma(x, 2 / kPi, x.like(magic)), n = shifted - magic;
  const Num r0 = fma(n, -kPio2[0], x);
  const Two r1 = two_sum(r0, n * -kPio2[1]);
  const Two r2 = two_sum(r1.hi, n * -kPio2[2]);
  const Two r = fast_two_sum(r2.hi, fma(n, -kPio2After3, r2.lo + r1.lo));
  return {bits(shifted), bounded(r.hi), r.lo};
}

// The same for f32, reduced in f64: one subtraction less delicate than in f32, and good far beyond 1e5.
Turn reduce_f32(Num x) {
  const Num wide = widen(x);
  const double magic = format(wide).magic;
  const Num shifted = fma(wide, 2 / kPi, wide.like(magic)), n = shifted - magic;
  const Num r = narrow(fma(n, -kPio2After1, fma(n, -kPio2[0], wide)));
  return {narrow(bits(shifted)), bounded(r), r.like(0)};
}

// sin and cos on |r| <= pi/4, with the low part's first-order term for f64 (fdlibm's kernels, refitted).
Num sin_kernel(const Turn& a) {
  const Num s = a.r * a.r;
  if (!a.r.is_f64()) return fma(a.r * s, polynomial(s, t::kSin32), a.r);
  const Num tail = fma(s * a.r, polynomial(s, t::kSin64), a.low * (1.0 - s * 0.5));
  return a.r + tail;
}
Num cos_kernel(const Turn& a) {
  const Num s = a.r * a.r;
  if (!a.r.is_f64()) return fma(s, fma(s, polynomial(s, t::kCos32), -0.5), 1);
  const Num half = s * 0.5, w = 1.0 - half;
  return w + (((1.0 - w) - half) + fma(s * s, polynomial(s, t::kCos64), -(a.r * a.low)));
}

// sin(x + quarter*pi/2).
Num sin_or_cos(const Turn& a, int quarter) {
  const Int n = quarter ? a.n + a.n.like(1) : a.n;
  const Num value = select(is_zero(n & 1), sin_kernel(a), cos_kernel(a));
  const int to_sign = format(a.r).mantissa == 52 ? 62 : 30;
  return from_bits(bits(value) ^ ((n & 2) << to_sign));
}

Turn reduce(Num x) {
  return x.is_f64() ? reduce_f64(x) : reduce_f32(x);
}

// asin on [0, 1/2] from x and x^2.
Num asin_kernel(Num x, Num square) {
  return fma(x * square, polynomial(square, t::kAsin64), x);
}

// atan(num/den) for num, den >= 0, num <= den unless `any`; one division: beyond tan(pi/8) the argument turns by pi/4.
Num atan_of_ratio(Num num, Num den) {
  const Mask turn = num > den * 0.4142135623730950;
  const Num q = select(turn, num - den, num) / select(turn, num + den, den);
  const Num square = q * q;
  const Num base = select(turn, kPi / 4, q.like(0)), base_low = select(turn, kPiLow / 4, q.like(0));
  return base + (fma(q * square, polynomial(square, t::kAtan64), base_low) + q);
}

}  // namespace

Num sin(Num x) {
  const Num value = sin_or_cos(reduce(x), 0);
  return select(x == 0.0, x, value);
}
Num cos(Num x) {
  return sin_or_cos(reduce(x), 1);
}

// sin/cos, or -cos/sin in odd quarters.
Num tan(Num x) {
  const Turn a = reduce(x);
  const Num s = sin_kernel(a), c = cos_kernel(a);
  const Mask even = is_zero(a.n & 1);
  return select(x == 0.0, x, select(even, s, -c) / select(even, c, s));
}

// |x| <= 1/2: polynomial; else pi/2 - 2 asin(sqrt((1-|x|)/2)).
Num asin(Num x) {
  const Num a = abs(x);
  const Mask large = a > 0.5;
  const Num square = select(large, (1.0 - a) * 0.5, a * a);
  const Num p = asin_kernel(select(large, sqrt(square), a), square);
  const Num value = select(large, (kPi / 2) - (p * 2 - kPiLow / 2), p);
  return copysign(value, x);
}

// |x| <= 1/2: pi/2 - asin(x); else 2 asin(sqrt((1-|x|)/2)), taken from pi for negative x.
Num acos(Num x) {
  const Num a = abs(x);
  const Mask large = a > 0.5, negative = x < 0.0;
  const Num square = select(large, (1.0 - a) * 0.5, a * a);
  const Num p = asin_kernel(select(large, sqrt(square), x), square);
  const Num near_zero = (kPi / 2) - (p - kPiLow / 2);
  const Num near_one = select(negative, kPi - (p * 2 - kPiLow), p * 2);
  return select(large, near_one, near_zero);
}

// |x| > 1: pi/2 - atan(1/|x|).
Num atan(Num x) {
  const Num a = abs(x);
  const Mask steep = a > 1;
  const Num value = atan_of_ratio(select(steep, 1.0, a), select(steep, a, x.like(1)));
  return copysign(select(steep, (kPi / 2) - (value - kPiLow / 2), value), x);
}

// The angle of (|x|, |y|) in the first quadrant, mirrored for negative x (the sign bit counts), sign of y.
Num atan2(Num y, Num x) {
  const Num ax = abs(x), ay = abs(y);
  const Mask steep = ay > ax;
  // Halved where a sum would overflow; both zero and both infinite count as the angles of (1,0) and (1,1).
  const Num scale = select((ax > 1e300) | (ay > 1e300), x.like(0.5), x.like(1));
  const Num num = select(steep, ax, ay) * scale, den = select(steep, ay, ax) * scale;
  const Mask infinite = num == std::numeric_limits<double>::infinity();
  const Num value = atan_of_ratio(select(infinite, 1.0, num), select((den == 0.0) | infinite, 1.0, den));
  const Num first = select(steep, (kPi / 2) - (value - kPiLow / 2), value);
  const Num angle = select(sign_bit(x), kPi - (first - kPiLow), first);
  const Mask nan = compare(llvm::CmpInst::FCMP_UNO, x, y);
  return select(nan, x + y, copysign(angle, y));
}

namespace {

// One long-division step: r mod d, for 0 <= r < 2^50 d. `short_factors`: trunc(r/d)*d fits in one number.
Num remainder_step(Num r, Num d, bool short_factors) {
  const Num q = trunc(r / d);
  Num left = fma(-q, d, r);
  if (!short_factors && !r.lab->target.fma) {
    const Two product = two_product(q, d);
    left = (r - product.hi) - product.lo;
  }
  const Num up = select(left < 0.0, left + d, left);  // the quotient may have been rounded up to the next integer
  return select(up < d, up, up - d);
}

// An infinite divisor leaves x as it is; the remainder of an infinite x is NaN.
Num with_fmod_specials(Num x, Num divisor, Num r) {
  const double inf = std::numeric_limits<double>::infinity();
  const Num a = abs(x), value = select((divisor == inf) & (a < inf), a, r);
  return copysign(select(a < inf, value, x - x), x);
}

}  // namespace

// Long division: |x| mod |y| * 2^(step*i) for i = n..1,0. f32 computes in f64, where 2^28 * y is exact.
Num fmod(Num x, Num y) {
  const bool f64 = x.is_f64();
  const Num wide = f64 ? x : widen(x), divisor = abs(f64 ? y : widen(y));
  const int steps = f64 ? 3 : 10, step_bits = f64 ? 50 : 28;
  // Splitting products into halves, where there is no fma, must not overflow.
  const bool scaled = f64 && !x.lab->target.fma;
  const Num scale = scaled ? select((divisor > 0x1p900) | (abs(wide) > 0x1p900), wide.like(0x1p-100), 1.0) : wide;
  const Num d = scaled ? divisor * scale : divisor;
  Num r = scaled ? abs(wide) * scale : abs(wide);
  for (int i = steps - 1; i >= 0; --i) {
    const Num part = d * std::ldexp(1.0, step_bits * i);
    const Num next = remainder_step(r, part, !f64);
    r = f64 ? select(part < (scaled ? 0x1p950 : std::numeric_limits<double>::infinity()), next,
                     select(part == part, r, part))
            : next;
  }
  if (scaled) r = select(abs(wide) < divisor, abs(wide), r / scale);
  const Num result = with_fmod_specials(wide, divisor, r);
  return f64 ? result : narrow(result);
}

}  // namespace fcc::math
