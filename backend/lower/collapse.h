#pragma once
// Merging adjacent axes of a pointwise body: the fewer loops, the longer the vectors.
#include "ir/graph.h"

namespace fcc::backend {

// Axes [begin, end) of the output become one.
struct AxisGroup {
  size_t begin, end;
};
// Operands that no node uses are ignored. The coarsest groups such that every operand of the body either spans a whole group or is constant along it.
// keep_last: the last axis stays alone.
std::vector<AxisGroup> mergeable_axes(const Graph& body, bool keep_last);
bool is_pointwise(const Graph& body);
// The body over merged axes: same operators, operands reshaped. Only for pointwise bodies.
Graph collapse(const Graph& body, const std::vector<AxisGroup>& groups);

}  // namespace fcc::backend
