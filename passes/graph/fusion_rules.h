#pragma once
// What may join one kernel, and why: the judgement of the fuse pass, apart from its mechanics.
#include <optional>
#include <set>
#include <vector>

#include "ir/graph.h"

namespace fcc {

// Reshape and its kin: a view costs nothing, because its result is its operand's memory.
bool is_view(const Node& n);
// Nodes that become no kernel by themselves: views of memory, and Dims.
bool needs_kernel(const Node& n);

// A group of nodes that will be one kernel; the sink's result is its output, or several of one shape are.
struct Cluster {
  NodeId sink = kNoNode;
  ValueId output = kNoValue;
  std::vector<ValueId> outputs;  // output first
  std::set<NodeId> members;
  NodeId root = kNoNode;  // its contraction or window node
};

// A maximum or average over 2x2 windows that neither overlap nor hang over the border, in the blocked layout.
bool pools_pairs(const Graph& g, const Node& n);

// May the producer of v, all of whose uses are inside the cluster, join it?
bool may_absorb(const Graph& g, const Cluster& c, ValueId v);

// The axes a normalising or reducing operator runs over, sorted; nothing when it does not reduce.
std::optional<std::vector<int64_t>> reduced_axes(const Graph& g, const Node& n);

}  // namespace fcc
