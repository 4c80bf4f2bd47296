// First values of weights, by PyTorch's rules (torch.nn.init and the defaults of Linear and Conv).
//
//   default                                Linear and Conv: U(+-1/sqrt(fan_in)), bias too; norms: 1 and 0
//   kaiming_normal(nonlinearity=relu, mode=fan_in, a=0)     kaiming_uniform(...)
//   xavier_normal(gain=1)   xavier_uniform(gain=1)   orthogonal(gain=1)
//   normal(mean=0, std=1)   trunc_normal(mean=0, std=1, a=-2, b=2)   uniform(low=0, high=1)
//   constant(value)   zeros   ones
//
// fan_in and fan_out come from the shape as PyTorch lays weights out, [out, in, kernel...]; layout=in_out is for
// weights of MatMul nodes, [in, out]. What needs a fan leaves parameters of rank below 2 as they are. Values are drawn
// from a counter-based generator, keyed by seed and name: they depend on neither threads nor the order of parameters.
#pragma once

#include <string>
#include <vector>

#include "error.h"

namespace fcc::runtime {

struct InitTarget {
  const char* name;
  uint32_t dtype;
  std::vector<int64_t> dims;
  void* data;
  // Of the weight that a bias belongs to ("fc1.weight" for "fc1.bias"); empty when there is none.
  std::vector<int64_t> weight_dims;
};

// *changed: whether the target was drawn anew.
fcc_status initialize(const std::string& text, uint64_t seed, const InitTarget& target, bool* changed);

}  // namespace fcc::runtime
