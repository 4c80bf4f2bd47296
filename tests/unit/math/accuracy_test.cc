// Every emitted function against libm one precision up, in ULP: a stride over all floats, random doubles, special
// values; on each CPU level this machine has, scalar and at vector widths 4, 8 and 16.
// FCC_MATH_STRIDE=1 tests every one of the 2^32 floats, FCC_MATH_PRINT=1 prints errors and instruction counts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "tests/unit/math/jit.h"
#include "tests/unit/math/ulp.h"

namespace fcc::test {
namespace {

using loop::UnaryOp;
using Oracle = long double (*)(long double);
using DoubleOracle = double (*)(double);

// limit: worst error allowed, in units of the last place.
struct Function {
  UnaryOp op;
  DoubleOracle f32_oracle;
  Oracle f64_oracle;
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
    {UnaryOp::log2, FCC_BOTH(log2), 2.0, 2.0},
    {UnaryOp::sin, FCC_BOTH(sin), 2.0, 1.0},
    {UnaryOp::cos, FCC_BOTH(cos), 2.0, 1.0},
    {UnaryOp::tan, FCC_BOTH(tan), 1.0, 3.0},
    {UnaryOp::asin, FCC_BOTH(asin), 1.0, 3.0},
    {UnaryOp::acos, FCC_BOTH(acos), 1.0, 3.0},
    {UnaryOp::atan, FCC_BOTH(atan), 1.0, 2.0},
    {UnaryOp::sinh, FCC_BOTH(sinh), 3.0, 3.0},
    {UnaryOp::cosh, FCC_BOTH(cosh), 2.0, 2.0},
    {UnaryOp::tanh, FCC_BOTH(tanh), 2.5, 2.5},
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
  return s ? std::strtoull(s, nullptr, 10) : 1009;
}

std::vector<float> all_floats(uint64_t step) {
  std::vector<float> v;
  for (uint64_t b = 0; b < (uint64_t{1} << 32); b += step) v.push_back(std::bit_cast<float>(static_cast<uint32_t>(b)));
  const float special[] = {0.0f,
                           -0.0f,
                           INFINITY,
                           -INFINITY,
                           NAN,
                           1.0f,
                           -1.0f,
                           0.5f,
                           -0.5f,
                           0x1p-149f,
                           -0x1p-149f,
                           0x1p-126f,
                           0x1.fffffep127f,
                           -0x1.fffffep127f,
                           88.72284f,
                           88.722839f,
                           -87.33655f,
                           -103.97208f,
                           -104.0f,
                           89.415985f,
                           0.92773438f,
                           1 + 0x1p-23f,
                           1 - 0x1p-24f,
                           2.0f,
                           3.0f,
                           1.5707964f,
                           3.1415927f};
  v.insert(v.end(), std::begin(special), std::end(special));
  while (v.size() % 16) v.push_back(0);
  return v;
}

std::vector<double> many_doubles() {
  std::mt19937_64 random(1);
  std::vector<double> v;
  for (int i = 0; i < 150000; ++i) v.push_back(std::bit_cast<double>(random()));
  std::uniform_real_distribution<double> exponent(-60, 10), sign(-1, 1);
  for (int i = 0; i < 300000; ++i) v.push_back(std::copysign(std::exp2(exponent(random)), sign(random)));
  for (int i = 0; i < 150000; ++i) v.push_back(sign(random) * 8);
  const double special[] = {0.0,
                            -0.0,
                            INFINITY,
                            -INFINITY,
                            NAN,
                            1.0,
                            -1.0,
                            0.5,
                            -0.5,
                            0x1p-1074,
                            -0x1p-1074,
                            0x1p-1022,
                            0x1.fffffffffffffp1023,
                            709.78,
                            -708.4,
                            -745.13,
                            -746,
                            710.47,
                            M_PI,
                            M_PI_2,
                            1 + 0x1p-52,
                            1 - 0x1p-53,
                            2,
                            3,
                            1e-300};
  v.insert(v.end(), std::begin(special), std::end(special));
  while (v.size() % 16) v.push_back(0);
  return v;
}

Emit unary_emit(UnaryOp op) {
  return [op](llvm::IRBuilderBase& b, const MathTarget& t, llvm::Value* x, llvm::Value*) {
    return emit_unary_math(b, t, op, x);
  };
}

bool is_circular(UnaryOp op) {
  return op == UnaryOp::sin || op == UnaryOp::cos || op == UnaryOp::tan;
}

class Accuracy : public ::testing::TestWithParam<Function> {};

template <class T, class Exact, class Compute>
void check(UnaryOp op, DType dtype, std::vector<T> x, Compute compute, double limit) {
  const double reach = dtype == DType::f32 ? 1e6 : 1e5;
  if (is_circular(op)) std::erase_if(x, [&](T v) { return std::fabs(v) > reach && !std::isinf(v); });
  while (x.size() % 16) x.push_back(0);
  std::vector<Exact> exact;
  for (T v : x) exact.push_back(compute(static_cast<Exact>(v)));
  std::vector<T> got(x.size());
  for (const Level& level : host_levels()) {
    for (int width : {1, 4, 8, 16}) {
      const ArrayFunction f(level, dtype, width, unary_emit(op));
      ASSERT_TRUE(f.undefined().empty()) << level.cpu << " width " << width << " calls " << f.undefined()[0];
      f(x.data(), x.data(), got.data(), static_cast<int64_t>(x.size()));
      const Worst w = worst_of(got, exact);
      EXPECT_LE(w.error, limit) << level.cpu << " width " << width << " at " << std::hexfloat << x[w.at] << ": "
                                << got[w.at] << ", exact " << static_cast<double>(exact[w.at]);
      if (std::getenv("FCC_MATH_PRINT"))
        fmt::print("{:10} {} {} x{:<2} {:8.3f} ULP at {:.9g}, {} instructions\n", loop::name(op), name(dtype),
                   level.cpu, width, w.error, x[w.at], f.instructions());
    }
  }
}

TEST_P(Accuracy, F32) {
  check<float, double>(GetParam().op, DType::f32, all_floats(stride()), GetParam().f32_oracle, GetParam().f32_limit);
}
TEST_P(Accuracy, F64) {
  check<double, long double>(GetParam().op, DType::f64, many_doubles(), GetParam().f64_oracle, GetParam().f64_limit);
}

INSTANTIATE_TEST_SUITE_P(Math, Accuracy, ::testing::ValuesIn(kFunctions),
                         [](const auto& info) { return std::string(loop::name(info.param.op)); });

}  // namespace
}  // namespace fcc::test
