#pragma once
// When two tensors count as equal: the one rule by which `fcc verify`, `fcc test` and the tests judge results.
//
// An element may differ from the expected one by   relative*|expected| + of_largest*max|expected| + absolute.
// The sum of K rounded terms carries an error that scales with the terms, not with what cancellation left of them,
// hence the largest magnitude of the whole tensor; it grows like sqrt(K) for rounding in random directions, hence the
// reduction length. NaN equals NaN and infinities equal themselves. It is no place for per-test tolerances.
#include <string>

#include "ir/tensor.h"

namespace fcc {

struct Tolerance {
  double relative = 0, of_largest = 0, absolute = 0;
};

// What rounding may do to results of this type behind a chain of reduction_length additions (over all the operators
// on the way). Integers and booleans are exact, except that eight-bit ones behind a float computation are quantised
// results and may be off by one.
Tolerance tolerance_for(DType dtype, int64_t reduction_length);
// The rule of ONNX's own test runner: NumPy's allclose.
Tolerance allclose_tolerance(double rtol = 1e-3, double atol = 1e-7);

struct Comparison {
  bool equal = true;
  std::string mismatch;    // a sentence, when not equal
  int64_t differing = 0;   // elements beyond the tolerance
  double worst_error = 0;  // largest |actual - expected|
  double worst_ratio = 0;  // largest error as a multiple of what was allowed there; infinite for NaN or exact types
  double largest_expected = 0;  // largest finite |expected|
  bool vanishing = false;       // no float element above kVanishing in magnitude: an all-zero result would look right
};
inline constexpr double kVanishing = 1e-6;

Comparison compare(const Tensor& actual, const Tensor& expected, const Tolerance&);

// f32[2,3] of a concrete tensor; for messages.
std::string shape_text(DType dtype, std::span<const int64_t> shape);

}  // namespace fcc
