#pragma once
// Invariants of a graph: topological order, use lists, arities, attribute types, result types as infer gives them,
// unique names, and that the text form parses back to the same program.
#include <string_view>

#include "ir/graph.h"

namespace fcc {

Status verify(const Graph&);
// Does the text form parse back to the same program?
Status verify_text(const Graph&);
// Both, after a pass: a violation is our bug; prints the graph and stops.
void verify_or_die(const Graph&, std::string_view after);

}  // namespace fcc
