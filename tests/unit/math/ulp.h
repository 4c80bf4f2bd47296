#pragma once
// Error of a computed float in units of the last place, against a value of a wider type.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace fcc::test {

// Infinite where the kinds differ: NaN, infinities beside finite values, the sign of an exact zero.
template <class T, class Exact>
double ulp_error(T got, Exact exact) {
  using Limits = std::numeric_limits<T>;
  constexpr double kWrong = std::numeric_limits<double>::infinity();
  if (std::isnan(exact)) return std::isnan(got) ? 0 : kWrong;
  if (std::isnan(got)) return kWrong;
  if (exact == 0) return got == 0 && std::signbit(got) == std::signbit(exact) ? 0 : kWrong;
  if (std::isinf(static_cast<T>(exact)) && std::isinf(got))
    return std::signbit(got) == std::signbit(exact) ? 0 : kWrong;
  if (std::isinf(exact)) return kWrong;
  // An infinite result counts as the first power of two that T lacks.
  const Exact value =
      std::isinf(got) ? std::copysign(std::ldexp(Exact{1}, Limits::max_exponent), Exact{got}) : Exact{got};
  const int exponent = std::clamp(std::ilogb(exact), Limits::min_exponent - 1, Limits::max_exponent - 1);
  return static_cast<double>(std::fabs(value - exact) / std::ldexp(Exact{1}, exponent - Limits::digits + 1));
}

struct Worst {
  double error = 0;
  size_t at = 0;
};

template <class T, class Exact>
Worst worst_of(const std::vector<T>& got, const std::vector<Exact>& exact) {
  Worst w;
  for (size_t i = 0; i < got.size(); ++i)
    if (const double e = ulp_error(got[i], exact[i]); e > w.error) w = {e, i};
  return w;
}

}  // namespace fcc::test
