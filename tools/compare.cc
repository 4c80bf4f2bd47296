#include "tools/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fcc {
namespace {

// Half a unit in the last place of 1: the relative error of one rounding.
double rounding_unit(DType t) {
  switch (t) {
    case DType::f64:
      return 0x1p-53;
    case DType::f16:
      return 0x1p-11;
    case DType::bf16:
      return 0x1p-8;
    default:
      return 0x1p-24;
  }
}

std::string index_text(std::span<const int64_t> shape, int64_t flat) {
  std::string text;
  for (size_t k = shape.size(); k-- > 0;) {
    text = fmt::format("{}{}{}", flat % shape[k], text.empty() ? "" : ",", text);
    flat /= shape[k];
  }
  return "[" + text + "]";
}

struct Worst {
  int64_t at = -1;
  double ratio = 0, actual = 0, expected = 0, allowed = 0;
};

// Error over allowance; infinite where nothing is allowed, 0 where the two are the same.
double error_ratio(double actual, double expected, double allowed) {
  if (std::isnan(actual) && std::isnan(expected)) return 0;
  if (actual == expected) return 0;
  const double error = std::fabs(actual - expected);
  if (!std::isfinite(error) || allowed == 0) return std::numeric_limits<double>::infinity();
  return error / allowed;
}

double largest_finite(std::span<const double> values) {
  double largest = 0;
  for (double v : values) {
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  }
  return largest;
}

// 64-bit integers do not fit a double, and integer results are exact anyway.
Comparison compare_integers(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance) {
  const std::vector<int64_t> a = actual.to_ints(), e = expected.to_ints();
  Comparison c;
  int64_t worst_at = -1;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error =
        a[i] == e[i] ? 0 : std::max(1.0, std::fabs(static_cast<double>(a[i]) - static_cast<double>(e[i])));
    c.largest_expected = std::max(c.largest_expected, std::fabs(static_cast<double>(e[i])));
    const double allowed = tolerance.absolute + tolerance.relative * std::fabs(static_cast<double>(e[i]));
    if (error <= allowed) continue;
    ++c.differing;
    c.worst_ratio = std::numeric_limits<double>::infinity();
    if (error > c.worst_error) worst_at = static_cast<int64_t>(i);
    c.worst_error = std::max(c.worst_error, error);
  }
  c.equal = c.differing == 0;
  if (!c.equal) {
    const auto i = static_cast<size_t>(worst_at);
    c.mismatch = fmt::format("{} of {} elements differ, the worst at {}: {}, expected {}", c.differing, a.size(),
                             index_text(expected.shape(), worst_at), a[i], e[i]);
  }
  return c;
}

Comparison compare_floats(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance) {
  const std::vector<double> a = actual.to_doubles(), e = expected.to_doubles();
  Comparison c;
  c.largest_expected = largest_finite(e);
  c.vanishing = !e.empty() && c.largest_expected < kVanishing &&
                std::ranges::all_of(e, [](double v) { return std::isfinite(v); });
  Worst worst;
  for (size_t i = 0; i < a.size(); ++i) {
    const double magnitude = std::isfinite(e[i]) ? std::fabs(e[i]) : 0;
    const double allowed =
        tolerance.relative * magnitude + tolerance.of_largest * c.largest_expected + tolerance.absolute;
    const double ratio = error_ratio(a[i], e[i], allowed);
    if (std::isfinite(a[i] - e[i])) c.worst_error = std::max(c.worst_error, std::fabs(a[i] - e[i]));
    if (ratio > 1) ++c.differing;
    if (ratio > worst.ratio) worst = {static_cast<int64_t>(i), ratio, a[i], e[i], allowed};
  }
  c.worst_ratio = worst.ratio;
  c.equal = c.differing == 0;
  if (!c.equal) {
    c.mismatch = fmt::format(
        "{} of {} elements differ, the worst at {}: {:.9g}, expected {:.9g}, allowed error {:.2g} (largest magnitude "
        "{:.3g})",
        c.differing, a.size(), index_text(expected.shape(), worst.at), worst.actual, worst.expected, worst.allowed,
        c.largest_expected);
  }
  return c;
}

}  // namespace

Tolerance tolerance_for(DType dtype, int64_t reduction_length) {
  if (is_float(dtype)) {
    // Eight roundings for the elementwise functions on the way (a polynomial exp or tanh costs up to four), and four
    // for each step of a random walk: the product, the addition, and what Winograd's transforms add to either.
    const double unit = rounding_unit(dtype);
    const double accumulate = std::min(unit, rounding_unit(DType::f32));  // narrow types add up in f32
    const double of_largest =
        unit * 8 + accumulate * 4 * std::sqrt(static_cast<double>(std::max<int64_t>(reduction_length, 0)));
    return {.relative = 2 * unit, .of_largest = of_largest, .absolute = unit * unit};
  }
  const bool quantised = reduction_length > 1 && (dtype == DType::i8 || dtype == DType::u8);
  return {.absolute = quantised ? 1.0 : 0.0};
}

Tolerance allclose_tolerance(double rtol, double atol) {
  return {.relative = rtol, .absolute = atol};
}

Comparison compare(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance) {
  if (actual.dtype() != expected.dtype() || actual.shape() != expected.shape()) {
    Comparison c;
    c.equal = false;
    c.worst_ratio = std::numeric_limits<double>::infinity();
    c.mismatch = fmt::format("type {}, expected {}", shape_text(actual.dtype(), actual.shape()),
                             shape_text(expected.dtype(), expected.shape()));
    return c;
  }
  return is_float(expected.dtype()) ? compare_floats(actual, expected, tolerance)
                                    : compare_integers(actual, expected, tolerance);
}

std::string shape_text(DType dtype, std::span<const int64_t> shape) {
  return fmt::format("{}[{}]", name(dtype), fmt::join(shape, ","));
}

}  // namespace fcc
