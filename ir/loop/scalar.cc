#include "ir/loop/scalar.h"

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "ir/base/check.h"

namespace fcc::loop {
namespace {

// ---- floats: T is float or double, computed in double ---------------------------------------------------

template <class T>
Value rounded(double x) {
  return float_value(static_cast<double>(static_cast<T>(x)));
}

double sign_of(double x) {
  return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
}
double python_mod(double a, double b) {
  double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}
double nan_min(double a, double b) {
  return std::isnan(a) ? a : std::isnan(b) ? b : a < b ? a : b;
}
double nan_max(double a, double b) {
  return std::isnan(a) ? a : std::isnan(b) ? b : a > b ? a : b;
}

double float_unary(UnaryOp op, double x) {
  using U = UnaryOp;
  switch (op) {
    case U::neg:
      return -x;
    case U::abs:
      return std::fabs(x);
    case U::sign:
      return sign_of(x);
    case U::floor:
      return std::floor(x);
    case U::ceil:
      return std::ceil(x);
    case U::round:
      return std::nearbyint(x);
    case U::trunc:
      return std::trunc(x);
    case U::sqrt:
      return std::sqrt(x);
    case U::reciprocal:
      return 1 / x;
    case U::exp:
      return std::exp(x);
    case U::exp2:
      return std::exp2(x);
    case U::expm1:
      return std::expm1(x);
    case U::log:
      return std::log(x);
    case U::log1p:
      return std::log1p(x);
    case U::log2:
      return std::log2(x);
    case U::sin:
      return std::sin(x);
    case U::cos:
      return std::cos(x);
    case U::tan:
      return std::tan(x);
    case U::asin:
      return std::asin(x);
    case U::acos:
      return std::acos(x);
    case U::atan:
      return std::atan(x);
    case U::sinh:
      return std::sinh(x);
    case U::cosh:
      return std::cosh(x);
    case U::tanh:
      return std::tanh(x);
    case U::asinh:
      return std::asinh(x);
    case U::acosh:
      return std::acosh(x);
    case U::atanh:
      return std::atanh(x);
    case U::erf:
      return std::erf(x);
    case U::sigmoid:
      return 1 / (1 + std::exp(-x));
    case U::logical_not:
    case U::bit_not:
    case U::is_nan:
    case U::is_inf:
      break;
  }
  FCC_UNREACHABLE("{}", name(op));
}

template <class T, UnaryOp op>
Value float_unary_value(Value x) {
  if constexpr (op == UnaryOp::is_nan) return int_value(std::isnan(x.f));
  if constexpr (op == UnaryOp::is_inf) return int_value(std::isinf(x.f));
  return rounded<T>(float_unary(op, x.f));
}

template <class T>
double float_arithmetic(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::add:
      return a + b;
    case BinaryOp::sub:
      return a - b;
    case BinaryOp::mul:
      return a * b;
    case BinaryOp::div:
      return a / b;
    case BinaryOp::floordiv:
      return std::floor(static_cast<double>(static_cast<T>(a / b)));
    case BinaryOp::mod:
      return python_mod(a, b);
    case BinaryOp::rem:
      return std::fmod(a, b);
    case BinaryOp::min:
      return nan_min(a, b);
    case BinaryOp::max:
      return nan_max(a, b);
    case BinaryOp::pow:
      return std::pow(a, b);
    case BinaryOp::atan2:
      return std::atan2(a, b);
    default:
      FCC_UNREACHABLE("{}", name(op));
  }
}

template <class T>
bool compare(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::eq:
      return a == b;
    case BinaryOp::ne:
      return a != b;
    case BinaryOp::lt:
      return a < b;
    case BinaryOp::le:
      return a <= b;
    case BinaryOp::gt:
      return a > b;
    case BinaryOp::ge:
      return a >= b;
    default:
      FCC_UNREACHABLE("{}", name(op));
  }
}

constexpr bool is_comparison(BinaryOp op) {
  return op >= BinaryOp::eq && op <= BinaryOp::ge;
}

template <class T, BinaryOp op>
Value float_binary_value(Value a, Value b) {
  if constexpr (is_comparison(op)) return int_value(compare(op, a.f, b.f));
  return rounded<T>(float_arithmetic<T>(op, a.f, b.f));
}

// ---- integers and boolean: T is the C++ type ----------------------------------------------------------------

template <class T>
Value wrapped(T v) {
  return int_value(static_cast<int64_t>(v));
}
template <class T>
T as(Value v) {
  return static_cast<T>(v.i);
}

template <class T>
T truncating_quotient(T a, T b) {
  if (b == T{0}) return T{0};
  if constexpr (std::is_signed_v<T>)
    if (b == T(-1)) return static_cast<T>(0 - static_cast<uint64_t>(a));  // the lowest value wraps onto itself
  return static_cast<T>(a / b);
}
template <class T>
T floor_quotient(T a, T b) {
  const T q = truncating_quotient(a, b);
  if constexpr (std::is_signed_v<T>)
    if (b != 0 && b != T(-1) && a % b != 0 && (a < 0) != (b < 0)) return static_cast<T>(q - 1);
  return q;
}
template <class T>
T minus_product(T a, T q, T b) {
  return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(q) * static_cast<uint64_t>(b));
}
// Whole powers by squaring, wrapping; a negative exponent gives the truncated reciprocal, 0^negative gives 0.
template <class T>
T int_power(T base, T exponent) {
  if constexpr (std::is_signed_v<T>) {
    if (exponent < 0) {
      if (base == 1) return 1;
      if (base == T(-1)) return exponent % 2 ? T(-1) : T(1);
      return 0;
    }
  }
  uint64_t result = 1, power = static_cast<uint64_t>(base);
  for (auto e = static_cast<uint64_t>(exponent); e; e >>= 1, power *= power)
    if (e & 1) result *= power;
  return static_cast<T>(result);
}
// A shift by the width or more, or by a negative amount, shifts everything out.
template <class T>
T shift_left(T a, T b) {
  if (b < T{0} || static_cast<uint64_t>(b) >= sizeof(T) * 8) return T{0};
  return static_cast<T>(static_cast<uint64_t>(a) << static_cast<uint64_t>(b));
}
template <class T>
T shift_right(T a, T b) {
  if (b < T{0} || static_cast<uint64_t>(b) >= sizeof(T) * 8) return a < T{0} ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> b);
}

template <class T>
T int_arithmetic(BinaryOp op, T a, T b) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  switch (op) {
    case BinaryOp::add:
      return static_cast<T>(ua + ub);
    case BinaryOp::sub:
      return static_cast<T>(ua - ub);
    case BinaryOp::mul:
      return static_cast<T>(ua * ub);
    case BinaryOp::div:
      return truncating_quotient(a, b);
    case BinaryOp::floordiv:
      return floor_quotient(a, b);
    case BinaryOp::mod:
      return b == T{0} ? T{0} : minus_product(a, floor_quotient(a, b), b);
    case BinaryOp::rem:
      return b == T{0} ? T{0} : minus_product(a, truncating_quotient(a, b), b);
    case BinaryOp::min:
      return b < a ? b : a;
    case BinaryOp::max:
      return a < b ? b : a;
    case BinaryOp::pow:
      return int_power(a, b);
    case BinaryOp::logical_and:
      return static_cast<T>(a && b);
    case BinaryOp::logical_or:
      return static_cast<T>(a || b);
    case BinaryOp::logical_xor:
      return static_cast<T>(!a != !b);
    case BinaryOp::bit_and:
      return static_cast<T>(ua & ub);
    case BinaryOp::bit_or:
      return static_cast<T>(ua | ub);
    case BinaryOp::bit_xor:
      return static_cast<T>(ua ^ ub);
    case BinaryOp::shl:
      return shift_left(a, b);
    case BinaryOp::shr:
      return shift_right(a, b);
    default:
      FCC_UNREACHABLE("{}", name(op));
  }
}

template <class T, BinaryOp op>
Value int_binary_value(Value a, Value b) {
  if constexpr (is_comparison(op)) return int_value(compare(op, as<T>(a), as<T>(b)));
  return wrapped(int_arithmetic(op, as<T>(a), as<T>(b)));
}

template <class T, UnaryOp op>
Value int_unary_value(Value v) {
  const T x = as<T>(v);
  const auto negated = static_cast<T>(0 - static_cast<uint64_t>(x));
  switch (op) {
    case UnaryOp::neg:
      return wrapped(negated);
    case UnaryOp::abs:
      return wrapped(x < T{0} ? negated : x);
    case UnaryOp::sign:
      return int_value(x > T{0} ? 1 : x < T{0} ? -1 : 0);
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc:
      return v;
    case UnaryOp::logical_not:
      return int_value(!x);
    case UnaryOp::bit_not:
      return std::is_same_v<T, bool> ? int_value(!x) : wrapped(static_cast<T>(~static_cast<uint64_t>(x)));
    case UnaryOp::is_nan:
    case UnaryOp::is_inf:
      return int_value(0);
    default:
      FCC_UNREACHABLE("{}", name(op));
  }
}

// ---- casts ------------------------------------------------------------------------------------------------

template <class T>
Value float_to_int(Value v) {
  if constexpr (std::is_same_v<T, bool>) return int_value(v.f != 0);
  using Limits = std::numeric_limits<T>;
  const double lowest = static_cast<double>(Limits::min()), past = std::ldexp(1.0, Limits::digits);
  if (std::isnan(v.f)) return int_value(0);
  if (v.f <= lowest) return wrapped(Limits::min());
  if (v.f >= past) return wrapped(Limits::max());
  return wrapped(static_cast<T>(v.f));
}
template <class From, class To>
Value int_to_float(Value v) {
  return float_value(static_cast<double>(static_cast<To>(as<From>(v))));
}
template <class To>
Value int_to_int(Value v) {
  return wrapped(as<To>(v));
}
Value int_to_boolean(Value v) {
  return int_value(v.i != 0);
}
Value identity(Value v) {
  return v;
}

// ---- dispatch: a table of functions a type ------------------------------------------------------------------

template <class Visit>
auto with_type(DType t, Visit visit) {
  switch (t) {
    case DType::f32:
      return visit(float{});
    case DType::f64:
      return visit(double{});
    case DType::i8:
      return visit(int8_t{});
    case DType::i16:
      return visit(int16_t{});
    case DType::i32:
      return visit(int32_t{});
    case DType::i64:
      return visit(int64_t{});
    case DType::u8:
      return visit(uint8_t{});
    case DType::u16:
      return visit(uint16_t{});
    case DType::u32:
      return visit(uint32_t{});
    case DType::u64:
      return visit(uint64_t{});
    case DType::boolean:
      return visit(bool{});
    case DType::f16:
    case DType::bf16:
      break;
  }
  FCC_UNREACHABLE("no expression has type {}", name(t));
}

template <class T, size_t... op>
UnaryFn unary_of(UnaryOp which, std::index_sequence<op...>) {
  if constexpr (std::is_floating_point_v<T>) {
    static constexpr UnaryFn kTable[] = {&float_unary_value<T, static_cast<UnaryOp>(op)>...};
    return kTable[static_cast<size_t>(which)];
  } else {
    static constexpr UnaryFn kTable[] = {&int_unary_value<T, static_cast<UnaryOp>(op)>...};
    return kTable[static_cast<size_t>(which)];
  }
}
template <class T, size_t... op>
BinaryFn binary_of(BinaryOp which, std::index_sequence<op...>) {
  if constexpr (std::is_floating_point_v<T>) {
    static constexpr BinaryFn kTable[] = {&float_binary_value<T, static_cast<BinaryOp>(op)>...};
    return kTable[static_cast<size_t>(which)];
  } else {
    static constexpr BinaryFn kTable[] = {&int_binary_value<T, static_cast<BinaryOp>(op)>...};
    return kTable[static_cast<size_t>(which)];
  }
}

Value double_add(Value a, Value b) {
  return float_value(a.f + b.f);
}
Value double_mul(Value a, Value b) {
  return float_value(a.f * b.f);
}

BinaryOp step_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::add:
      return BinaryOp::add;
    case ReduceOp::mul:
      return BinaryOp::mul;
    case ReduceOp::min:
      return BinaryOp::min;
    case ReduceOp::max:
      return BinaryOp::max;
    case ReduceOp::logical_and:
      return BinaryOp::logical_and;
    case ReduceOp::logical_or:
      return BinaryOp::logical_or;
  }
  FCC_UNREACHABLE();
}

}  // namespace

bool is_defined(UnaryOp op, DType t) {
  using U = UnaryOp;
  if (op == U::logical_not) return t == DType::boolean;
  if (op == U::bit_not) return !is_float(t);
  if (is_float(t)) return t == DType::f32 || t == DType::f64;
  if (op == U::is_nan || op == U::is_inf) return true;
  return t != DType::boolean && op <= U::trunc;
}

bool is_defined(BinaryOp op, DType t) {
  using B = BinaryOp;
  if (op == B::logical_and || op == B::logical_or || op == B::logical_xor) return t == DType::boolean;
  if (op >= B::bit_and && op <= B::bit_xor) return !is_float(t);
  if (op == B::shl || op == B::shr) return is_int(t);
  if (op == B::atan2) return t == DType::f32 || t == DType::f64;
  if (is_comparison(op) || op == B::min || op == B::max) return t != DType::f16 && t != DType::bf16;
  return t != DType::f16 && t != DType::bf16 && t != DType::boolean;
}

bool is_defined(ReduceOp op, DType t) {
  return is_defined(step_of(op), t);
}

UnaryFn unary_function(UnaryOp op, DType t) {
  FCC_CHECK(is_defined(op, t), "{} of {}", name(op), name(t));
  return with_type(t, [&](auto tag) { return unary_of<decltype(tag)>(op, std::make_index_sequence<kUnaryCount>()); });
}

BinaryFn binary_function(BinaryOp op, DType t) {
  FCC_CHECK(is_defined(op, t), "{} of {}", name(op), name(t));
  return with_type(t, [&](auto tag) { return binary_of<decltype(tag)>(op, std::make_index_sequence<kBinaryCount>()); });
}

UnaryFn cast_function(DType to, DType from) {
  if (is_float(to) && is_float(from))
    return to == DType::f32 ? UnaryFn{[](Value v) { return rounded<float>(v.f); }} : &identity;
  if (is_float(from))
    return with_type(to, [](auto tag) -> UnaryFn {
      if constexpr (std::is_floating_point_v<decltype(tag)>)
        return nullptr;
      else
        return &float_to_int<decltype(tag)>;
    });
  if (is_float(to))
    return with_type(from, [&](auto tag) -> UnaryFn {
      return to == DType::f32 ? &int_to_float<decltype(tag), float> : &int_to_float<decltype(tag), double>;
    });
  if (to == DType::boolean) return &int_to_boolean;
  return with_type(to, [](auto tag) -> UnaryFn { return &int_to_int<decltype(tag)>; });
}

Value reduce_identity(ReduceOp op, DType t) {
  const bool lowest = op == ReduceOp::max;
  switch (op) {
    case ReduceOp::add:
      return is_float(t) ? float_value(0) : int_value(0);
    case ReduceOp::mul:
      return is_float(t) ? float_value(1) : int_value(1);
    case ReduceOp::logical_and:
      return int_value(1);
    case ReduceOp::logical_or:
      return int_value(0);
    case ReduceOp::min:
    case ReduceOp::max:
      break;
  }
  return with_type(t, [&](auto tag) {
    using Limits = std::numeric_limits<decltype(tag)>;
    if constexpr (Limits::has_infinity)
      return float_value(lowest ? -Limits::infinity() : Limits::infinity());
    else
      return wrapped(lowest ? Limits::min() : Limits::max());
  });
}

BinaryFn reduce_function(ReduceOp op, DType t) {
  if (is_float(t) && op == ReduceOp::add) return &double_add;
  if (is_float(t) && op == ReduceOp::mul) return &double_mul;
  return binary_function(step_of(op), t);
}

Value round_to(DType t, Value v) {
  return t == DType::f32 ? rounded<float>(v.f) : v;
}

}  // namespace fcc::loop
