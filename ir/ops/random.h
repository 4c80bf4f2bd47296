#pragma once
// Uniform numbers of [0, 1) as NumPy's RandomState(seed).uniform draws them: for operators that ONNX tests by its data.
#include <cstdint>
#include <vector>

namespace fcc {

std::vector<double> numpy_uniform(uint32_t seed, int64_t n);

}  // namespace fcc
