#pragma once
// A model in double: every f32 of it becomes f64. For comparisons in which rounding must not matter.
#include "ir/graph.h"

namespace fcc {

// map, when given, receives the new id of every old value (kNoValue for dead ones).
Result<Graph> in_double(const Graph&, std::vector<ValueId>* map = nullptr);

}  // namespace fcc
