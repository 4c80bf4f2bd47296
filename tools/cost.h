#pragma once
// What a graph costs, as expressions of its open dimensions: arithmetic, additions behind one element, memory.
//
// Estimates from the graph as imported, before fusion: `fcc check` prints them, `fcc verify` derives tolerances. The
// exact costs of a compiled step are in its table (model_abi.h).
#include <map>

#include "ir/graph.h"

namespace fcc {

struct NodeCost {
  SymExpr flops;      // a multiply-add counts two
  SymExpr reduction;  // elements summed up (or compared) for one element of the result
};
NodeCost cost_of(const Graph&, const Node&);

SymExpr total_flops(const Graph&);

// Sizes of open dimensions; those not listed count as 1.
using Sizes = std::map<std::string, int64_t, std::less<>>;
int64_t evaluate_size(const SymExpr&, const Sizes&);

// Bytes of temporaries alive at once, at the worst node.
int64_t peak_activation_bytes(const Graph&, const Sizes&);

// For each value, the longest chain of additions from inputs and constants to one of its elements.
std::vector<int64_t> reduction_lengths(const Graph&, const Sizes&);

}  // namespace fcc
