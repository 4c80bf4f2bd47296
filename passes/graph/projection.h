#pragma once
// v = MatMul(x, W) or MatMul(x, W) + b with constants W[K,N] and b that treat all rows of x alike: nn.Linear.
#include <optional>

#include "ir/graph.h"

namespace fcc {

struct Projection {
  NodeId product = kNoNode;
  ValueId x = kNoValue, weight = kNoValue, bias = kNoValue;  // bias: rank 0 or 1, or kNoValue
  ValueId result = kNoValue;
};
std::optional<Projection> projection(const Graph& g, ValueId v);

}  // namespace fcc
