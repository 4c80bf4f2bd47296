// pow, atan2, fmod and mod against libm: random pairs and every pair of special values.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <random>

#include "tests/unit/math/jit.h"
#include "tests/unit/math/ulp.h"

namespace fcc::test {
namespace {

enum class Op { pow, atan2, fmod, mod };

template <class T>
T oracle(Op op, T x, T y) {
  switch (op) {
    case Op::pow:
      return std::pow(x, y);
    case Op::atan2:
      return std::atan2(x, y);
    case Op::fmod:
      return std::fmod(x, y);
    case Op::mod: {
      const T r = std::fmod(x, y);
      if (r == 0) return std::copysign(T{0}, y);
      return std::signbit(r) != std::signbit(y) ? r + y : r;
    }
  }
  return 0;
}

Emit emit_of(Op op) {
  return [op](llvm::IRBuilderBase& b, const MathTarget& t, llvm::Value* x, llvm::Value* y) {
    switch (op) {
      case Op::pow:
        return emit_pow(b, t, x, y);
      case Op::atan2:
        return emit_atan2(b, t, x, y);
      case Op::fmod:
        return emit_fmod(b, t, x, y);
      case Op::mod:
        return emit_mod(b, t, x, y);
    }
    return x;
  };
}

template <class T>
struct Pairs {
  std::vector<T> x, y;
  void add(T a, T b) {
    x.push_back(a);
    y.push_back(b);
  }
};

template <class T>
Pairs<T> pairs_for(Op op) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  using Limits = std::numeric_limits<T>;
  Pairs<T> p;
  std::mt19937_64 random(7);
  // f64 remainders are promised up to a ratio of 2^150 only.
  const bool any_bits = !(sizeof(T) == 8 && (op == Op::fmod || op == Op::mod));
  if (any_bits)
    for (int i = 0; i < 100000; ++i)
      p.add(std::bit_cast<T>(static_cast<Bits>(random())), std::bit_cast<T>(static_cast<Bits>(random())));
  std::uniform_real_distribution<T> small(-20, 20), unit(0, 2), near(T(0.99), T(1.01)), large(-3000, 3000);
  for (int i = 0; i < 100000; ++i) p.add(small(random), small(random));
  for (int i = 0; i < 100000; ++i) p.add(unit(random), large(random));
  for (int i = 0; i < 100000; ++i) p.add(near(random), large(random) * 20);
  for (int i = 0; i < 20000; ++i) p.add(std::round(small(random)), std::round(small(random)));
  const T special[] = {0,
                       -T{0},
                       1,
                       -1,
                       2,
                       -2,
                       3,
                       -3,
                       T(0.5),
                       T(-0.5),
                       T(1.5),
                       T(-2.5),
                       1e9f,
                       -1e9f,
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::quiet_NaN(),
                       Limits::denorm_min(),
                       -Limits::denorm_min(),
                       Limits::min(),
                       Limits::max(),
                       Limits::lowest(),
                       1 + Limits::epsilon(),
                       1 - Limits::epsilon() / 2};
  for (T a : special)
    for (T b : special)
      if (any_bits || std::isinf(a) || std::isinf(b) || a == 0 || b == 0 || std::fabs(a / b) < T(0x1p100)) p.add(a, b);
  while (p.x.size() % 16) p.add(1, 1);
  return p;
}

template <class T, class Exact>
void check(Op op, DType dtype, double limit) {
  const Pairs<T> p = pairs_for<T>(op);
  std::vector<Exact> exact;
  for (size_t i = 0; i < p.x.size(); ++i) exact.push_back(oracle<Exact>(op, p.x[i], p.y[i]));
  std::vector<T> got(p.x.size());
  for (const Level& level : host_levels()) {
    for (int width : {1, 4, 8, 16}) {
      const ArrayFunction f(level, dtype, width, emit_of(op));
      ASSERT_TRUE(f.undefined().empty()) << level.cpu << " calls " << f.undefined()[0];
      f(p.x.data(), p.y.data(), got.data(), static_cast<int64_t>(got.size()));
      const Worst w = worst_of(got, exact);
      EXPECT_LE(w.error, limit) << level.cpu << " width " << width << " at " << std::hexfloat << p.x[w.at] << ", "
                                << p.y[w.at] << ": " << got[w.at] << ", exact " << static_cast<double>(exact[w.at]);
      if (std::getenv("FCC_MATH_PRINT"))
        fmt::print("binary {} {} {} x{:<2} {:8.3f} ULP, {} instructions\n", static_cast<int>(op), name(dtype),
                   level.cpu, width, w.error, f.instructions());
    }
  }
}

TEST(BinaryAccuracy, PowF32) {
  check<float, double>(Op::pow, DType::f32, 0.51);
}
TEST(BinaryAccuracy, PowF64) {
  check<double, long double>(Op::pow, DType::f64, 1.5);
}
TEST(BinaryAccuracy, Atan2F32) {
  check<float, double>(Op::atan2, DType::f32, 0.51);
}
TEST(BinaryAccuracy, Atan2F64) {
  check<double, long double>(Op::atan2, DType::f64, 2.5);
}
TEST(BinaryAccuracy, FmodF32) {
  check<float, double>(Op::fmod, DType::f32, 0);
}
TEST(BinaryAccuracy, FmodF64) {
  check<double, long double>(Op::fmod, DType::f64, 0);
}
// r + y rounds once.
TEST(BinaryAccuracy, ModF32) {
  check<float, double>(Op::mod, DType::f32, 0.51);
}
TEST(BinaryAccuracy, ModF64) {
  check<double, long double>(Op::mod, DType::f64, 0.51);
}

}  // namespace
}  // namespace fcc::test
