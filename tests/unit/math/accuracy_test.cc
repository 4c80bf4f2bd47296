// Every emitted function against libm one precision up, in ULP: a stride over all floats, random doubles, special
// values; on each CPU level this machine has, scalar and at vector widths 4, 8 and 16.
// FCC_MATH_STRIDE=1 tests every one of the 2^32 floats, FCC_MATH_PRINT=1 prints errors and instruction counts.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <tuple>

#include "tests/unit/math/jit.h"
#include "tests/unit/math/ulp.h"

namespace fcc::test {
namespace {

using loop::UnaryOp;

// limit: worst error allowed, in units of the last place.
struct Function {
  UnaryOp op;
  double (*f32_oracle)(double);
  long double (*f64_oracle)(long double);
  double f32_limit, f64_limit;
};

void PrintTo(const Function& f, std::ostream* out) {
  *out << loop::name(f.op);
}

#define FCC_BOTH(fn) \
  [](double x) -> double { return std::fn(x); }, [](long double x) -> long double { return std::fn(x); }
template <class T>
T sigmoid_of(T x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
const Function kFunctions[] = {
    {UnaryOp::exp, FCC_BOTH(exp), 1.0, 1.0},
    {UnaryOp::exp2, FCC_BOTH(exp2), 1.5, 1.5},
    {UnaryOp::expm1, FCC_BOTH(expm1), 2.0, 2.0},
    {UnaryOp::log, FCC_BOTH(log), 1.0, 1.0},
    {UnaryOp::log1p, FCC_BOTH(log1p), 2.0, 2.0},
    {UnaryOp::log2, FCC_BOTH(log2), 2.5, 2.0},
    {UnaryOp::sin, FCC_BOTH(sin), 2.0, 1.0},
    {UnaryOp::cos, FCC_BOTH(cos), 2.0, 1.0},
    {UnaryOp::tan, FCC_BOTH(tan), 1.0, 3.0},
    {UnaryOp::asin, FCC_BOTH(asin), 1.0, 3.0},
    {UnaryOp::acos, FCC_BOTH(acos), 1.0, 3.0},
    {UnaryOp::atan, FCC_BOTH(atan), 1.0, 2.0},
    {UnaryOp::sinh, FCC_BOTH(sinh), 3.0, 3.0},
    {UnaryOp::cosh, FCC_BOTH(cosh), 2.0, 2.0},
    {UnaryOp::tanh, FCC_BOTH(tanh), 3.0, 3.0},
    {UnaryOp::asinh, FCC_BOTH(asinh), 1.0, 3.0},
    {UnaryOp::acosh, FCC_BOTH(acosh), 1.0, 3.0},
    {UnaryOp::atanh, FCC_BOTH(atanh), 1.0, 3.0},
    {UnaryOp::erf, FCC_BOTH(erf), 2.0, 2.0},
    {UnaryOp::sigmoid, &sigmoid_of<double>, &sigmoid_of<long double>, 3.0, 3.0},
    {UnaryOp::sqrt, FCC_BOTH(sqrt), 0.51, 0.51},
    {UnaryOp::reciprocal, [](double x) { return 1 / x; }, [](long double x) { return 1 / x; }, 0.51, 0.51},
    {UnaryOp::floor, FCC_BOTH(floor), 0, 0},
    {UnaryOp::ceil, FCC_BOTH(ceil), 0, 0},
    {UnaryOp::round, FCC_BOTH(nearbyint), 0, 0},
    {UnaryOp::trunc, FCC_BOTH(trunc), 0, 0},
    {UnaryOp::abs, FCC_BOTH(fabs), 0, 0},
};

uint64_t stride() {
  const char* s = std::getenv("FCC_MATH_STRIDE");
  return s ? std::strtoull(s, nullptr, 10) : 10007;
}

// Arguments come in chunks, so that all 2^32 floats fit; a vector of the chunk with that number, empty past the end.
std::vector<float> float_chunk(int number) {
  // clang-format off
  static const float kSpecial[] = {
      0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, -1.0f, 0.5f, -0.5f, 2.0f, 3.0f, 0x1p-149f, -0x1p-149f, 0x1p-126f,
      0x1.fffffep127f, -0x1.fffffep127f, 88.72284f, 88.722839f, -87.33655f, -103.97208f, -104.0f, 89.415985f,
      0.92773438f, 1 + 0x1p-23f, 1 - 0x1p-24f, 1.5707964f, 3.1415927f};
  // clang-format on
  constexpr uint64_t kChunk = 1 << 20;
  if (number == 0) return {std::begin(kSpecial), std::end(kSpecial)};
  std::vector<float> v;
  for (uint64_t i = 0, b = (static_cast<uint64_t>(number) - 1) * kChunk * stride();
       i < kChunk && b < (uint64_t{1} << 32); ++i, b += stride())
    v.push_back(std::bit_cast<float>(static_cast<uint32_t>(b)));
  return v;
}

std::vector<double> double_chunk(int number) {
  // clang-format off
  static const double kSpecial[] = {
      0.0, -0.0, INFINITY, -INFINITY, NAN, 1.0, -1.0, 0.5, -0.5, 2, 3, 1e-300, 0x1p-1074, -0x1p-1074, 0x1p-1022,
      0x1.fffffffffffffp1023, 709.78, -708.4, -745.13, -746, 710.47, M_PI, M_PI_2, 1 + 0x1p-52, 1 - 0x1p-53};
  // clang-format on
  if (number == 0) return {std::begin(kSpecial), std::end(kSpecial)};
  std::vector<double> v;
  if (number > 1) return v;
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-60, 10), sign(-1, 1);
  for (int i = 0; i < 50000; ++i) v.push_back(std::bit_cast<double>(random()));
  for (int i = 0; i < 100000; ++i) v.push_back(std::copysign(std::exp2(exponent(random)), sign(random)));
  for (int i = 0; i < 50000; ++i) v.push_back(sign(random) * 8);
  return v;
}

Emit unary_emit(UnaryOp op) {
  return [op](llvm::IRBuilderBase& b, const MathTarget& t, llvm::Value* x, llvm::Value*) {
    return emit_unary_math(b, t, op, x);
  };
}

// One function compiled for one level and width, and the worst it did.
template <class T>
struct Variant {
  std::string name;
  ArrayFunction run;
  double error = 0;
  T at = 0, got = 0;
  double exact = 0;
};

template <class T>
std::vector<Variant<T>> all_variants(UnaryOp op, DType dtype) {
  std::vector<Variant<T>> variants;
  for (const Level& level : host_levels())
    for (int width : {1, 4, 8, 16})
      variants.push_back({fmt::format("{} {} {} x{}", loop::name(op), name(dtype), level.cpu, width),
                          ArrayFunction(level, dtype, width, unary_emit(op))});
  return variants;
}

bool is_circular(UnaryOp op) {
  return op == UnaryOp::sin || op == UnaryOp::cos || op == UnaryOp::tan;
}

template <class T, class Exact>
void check(UnaryOp op, DType dtype, std::vector<T> (*chunk)(int), Exact (*oracle)(Exact), double limit) {
  auto variants = all_variants<T>(op, dtype);
  for (const auto& v : variants) ASSERT_TRUE(v.run.undefined().empty()) << v.name << " calls " << v.run.undefined()[0];
  const double reach = !is_circular(op) ? INFINITY : dtype == DType::f32 ? 1e6 : 1e5;
  for (int number = 0;; ++number) {
    std::vector<T> x = chunk(number);
    if (x.empty()) break;
    std::erase_if(x, [&](T v) { return std::fabs(v) > reach && !std::isinf(v); });
    do x.push_back(0);  // at least one: a whole chunk may be out of reach
    while (x.size() % 16);
    std::vector<Exact> exact;
    for (T v : x) exact.push_back(oracle(v));
    std::vector<T> got(x.size());
    for (Variant<T>& v : variants) {
      v.run(x.data(), x.data(), got.data(), static_cast<int64_t>(x.size()));
      const Worst w = worst_of(got, exact);
      if (w.error > v.error)
        std::tie(v.error, v.at, v.got, v.exact) =
            std::tuple(w.error, x[w.at], got[w.at], static_cast<double>(exact[w.at]));
    }
  }
  for (const Variant<T>& v : variants) {
    EXPECT_LE(v.error, limit) << v.name << " at " << std::hexfloat << v.at << ": " << v.got << ", exact " << v.exact;
    if (std::getenv("FCC_MATH_PRINT"))
      fmt::print("{:24} {:6.3f} ULP at {:.9g}, {} instructions\n", v.name, v.error, v.at, v.run.instructions());
  }
}

class Accuracy : public ::testing::TestWithParam<Function> {};

TEST_P(Accuracy, F32) {
  check<float, double>(GetParam().op, DType::f32, float_chunk, GetParam().f32_oracle, GetParam().f32_limit);
}
TEST_P(Accuracy, F64) {
  check<double, long double>(GetParam().op, DType::f64, double_chunk, GetParam().f64_oracle, GetParam().f64_limit);
}

INSTANTIATE_TEST_SUITE_P(Math, Accuracy, ::testing::ValuesIn(kFunctions),
                         [](const auto& info) { return std::string(loop::name(info.param.op)); });

// Far beyond the promised range sin and cos stay within [-1, 1].
TEST(Circular, StaysBounded) {
  std::vector<float> x, got(1024);
  for (int i = 0; i < 1024; ++i) x.push_back(std::ldexp(1.0f + static_cast<float>(i) / 1024, i / 9));
  for (const Level& level : host_levels()) {
    for (UnaryOp op : {UnaryOp::sin, UnaryOp::cos}) {
      ArrayFunction(level, DType::f32, 8, unary_emit(op))(x.data(), x.data(), got.data(), 1024);
      for (float v : got) ASSERT_LE(std::fabs(v), 1.0f) << level.cpu;
    }
  }
}

// Levels this machine may lack: at least nothing is called.
TEST(NoCalls, OnAnyTarget) {
  const std::string x86 = "x86_64-unknown-linux-gnu", arm = "aarch64-unknown-linux-gnu";
  const Level levels[] = {{"x86-64-v2", {.fma = false}, x86},
                          {"x86-64-v3", {.fma = true}, x86},
                          {"x86-64-v4", {.fma = true, .avx512 = true}, x86},
                          {"generic", {.fma = true}, arm}};
  for (const Level& level : levels) {
    for (const Function& f : kFunctions)
      for (DType t : {DType::f32, DType::f64})
        for (int width : {1, 16})
          EXPECT_THAT(undefined_symbols(level, t, width, unary_emit(f.op)), ::testing::IsEmpty())
              << level.cpu << " " << loop::name(f.op) << " " << name(t);
    for (auto* emit : {emit_pow, emit_atan2, emit_fmod, emit_mod})
      for (DType t : {DType::f32, DType::f64})
        EXPECT_THAT(undefined_symbols(level, t, 8, emit), ::testing::IsEmpty()) << level.cpu;
  }
}

// Fast-math flags on the caller's builder must not reach the formulas.
TEST(FastMath, FlagsAreIgnoredAndKept) {
  const Level level = host_levels().back();
  const ArrayFunction f(level, DType::f32, 8,
                        [](llvm::IRBuilderBase& b, const MathTarget& t, llvm::Value* x, llvm::Value*) {
                          llvm::FastMathFlags flags;
                          flags.setFast();
                          b.setFastMathFlags(flags);
                          auto* y = emit_unary_math(b, t, UnaryOp::log1p, x);
                          EXPECT_TRUE(b.getFastMathFlags().isFast());
                          b.clearFastMathFlags();
                          return y;
                        });
  const std::vector<float> x{1e-7f, -1e-7f, 3e-6f, INFINITY, NAN, -1.0f, -2.0f, 0.0f};
  std::vector<float> got(8);
  f(x.data(), x.data(), got.data(), 8);
  for (int i = 0; i < 8; ++i) EXPECT_LE(ulp_error(got[i], std::log1p(static_cast<double>(x[i]))), 2.0) << x[i];
}

}  // namespace
}  // namespace fcc::test
