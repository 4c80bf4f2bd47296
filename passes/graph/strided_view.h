#pragma once
// Which elements of a contiguous tensor a chain of Reshape, Transpose, Expand, Slice, Split and Gather of one index
// shows, as strides: so that the operator behind the chain can read its source in place. An axis of the view may be
// made of several axes of the source (batch and heads merged by a Reshape); it is then a list of atoms, outermost
// first.
#include <optional>
#include <vector>

#include "ir/graph.h"

namespace fcc {

struct Atom {
  SymExpr extent, stride;  // in elements of the source
};
using Axis = std::vector<Atom>;  // empty: extent 1

// a / b when b divides every term of a.
std::optional<SymExpr> divide_exactly(const SymExpr& a, const SymExpr& b);
// The same elements in the same order as axes of these extents; nothing when an atom would have to be cut unevenly.
std::optional<std::vector<Axis>> regroup(const Axis& atoms, const Dims& extents);
// Cuts the atoms of all axes at common places, so that they have the same extents; false when that is impossible.
bool refine(std::span<Axis* const> axes);

class StridedView {
 public:
  // The whole of a row-major tensor.
  explicit StridedView(const Dims& dims);
  SymExpr offset = 0;
  std::vector<Axis> axes;

  // Is n a node that apply() knows?
  static bool is_view(const Graph& g, const Node& n);
  // The view of result `result` of n, whose operand 0 this was; false when strides cannot say it.
  bool apply(const Graph& g, const Node& n, int32_t result);

 private:
  bool reshape(const Dims& to);
  bool transpose(const Node& n);
  bool expand(const Dims& to);
  bool slice(const Graph& g, const Node& n);
  bool part(size_t axis, const SymExpr& start, const SymExpr& extent);
};

}  // namespace fcc
