#pragma once
// Inputs for a model nobody gave data for: bench, verify, run without -i.
//
// The same seed and name give the same values on every machine. Floats are uniform in [low, high); integers are small
// and never negative (0 to 3), so that they serve as token ids, masks and indices alike; booleans are fair coins.
#include <cstdint>
#include <string_view>

#include "ir/tensor.h"

namespace fcc {

struct RandomRange {
  double low = -1, high = 1;
  uint64_t seed = 1;
};
Tensor random_tensor(std::string_view name, DType dtype, std::vector<int64_t> shape, const RandomRange& range);

}  // namespace fcc
