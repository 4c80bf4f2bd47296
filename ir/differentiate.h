#pragma once
// Reverse-mode differentiation of a graph: adds the nodes that compute the gradients of given values. It is no pass of
// the inference pipeline; whoever builds a training step calls it before the passes run, and they then serve the
// backward nodes as any others. The rules are those of the operators (OpDef::grad, ir/grad.h).
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace fcc {

class GraphBuilder;

struct GradRequest {
  std::vector<std::pair<ValueId, ValueId>> seeds;  // a value, and its gradient (kNoValue: ones)
  std::vector<ValueId> wrt;                        // whose gradients are asked for: any values, usually parameters
  // Sees every gradient that a rule gives to an operand, and may put another in its place: tests break rules with it.
  std::function<ValueId(GraphBuilder&, const Node&, size_t operand, ValueId)> adjust = nullptr;
};

// The gradients of sum(seeds), parallel to wrt and in its types; zeros where a seed does not depend on it. Appends the
// backward nodes. Only nodes on a path from wrt to the seeds are visited, so frozen parameters and inputs cost nothing;
// the contributions of a value's users are summed in the reverse order of the users, each as soon as it is there.
// Fails, naming all of them, when some operators on the way have no rule; the graph then holds dead nodes.
Result<std::vector<ValueId>> add_gradients(Graph&, const GradRequest&);

// A node on a path from wrt to the seeds through which no gradient goes.
struct MissingGradient {
  NodeId node = kNoNode;
  Diagnostic reason;                // why, and what to do about it
  std::vector<std::string> behind;  // the names of the wrt values that cannot learn because of it
};
// All of them at once, from the seeds to the inputs. Leaves the graph alone.
std::vector<MissingGradient> missing_gradients(const Graph&, const GradRequest&);

}  // namespace fcc
