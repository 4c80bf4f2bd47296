#include "passes/graph/mirrored_weight.h"

#include <algorithm>

#include "ir/op.h"

namespace fcc {
namespace {

const std::vector<int64_t>* numbers(const Graph& g, const Node& n, size_t operand, std::vector<int64_t>& to) {
  if (operand >= n.in.size() || n.in[operand] == kNoValue) return nullptr;
  const auto& content = g.value(n.in[operand]).content;
  if (!content || !content->is_constant()) return nullptr;
  to = content->constants();
  return &to;
}

// The axes that a Slice reverses and takes whole, or nothing when it does anything else.
std::optional<std::vector<int64_t>> reversed_axes(const Graph& g, const Node& n) {
  std::vector<int64_t> starts, ends, axes, steps;
  if (!numbers(g, n, 1, starts) || !numbers(g, n, 2, ends) || !numbers(g, n, 3, axes) || !numbers(g, n, 4, steps))
    return std::nullopt;
  const Dims& dims = g.value(n.in[0]).type.dims;
  for (size_t k = 0; k < axes.size(); ++k) {
    const SymExpr& extent = dims.at(static_cast<size_t>(axes[k]));
    const bool last = starts[k] == -1 || extent.is(starts[k] + 1);
    if (steps[k] != -1 || !last || !extent.is_constant() || ends[k] > -extent.constant() - 1) return std::nullopt;
  }
  return axes;
}

}  // namespace

ValueId mirrored_weight(const Graph& g, ValueId v) {
  const Node* swap = g.def(v);
  if (!swap || swap->op->name != "Transpose" || swap->attrs.integers("perm") != std::vector<int64_t>{1, 0, 2, 3})
    return kNoValue;
  const ValueId w = swap->in[0];
  const Dims& dims = g.value(w).type.dims;
  const Node* slice = g.def(w);
  std::vector<int64_t> axes;
  ValueId source = w;
  if (slice && slice->op->name == "Slice")
    if (auto found = reversed_axes(g, *slice)) axes = *found, source = slice->in[0];
  for (int64_t d : {2, 3})
    if (!dims[static_cast<size_t>(d)].is(1) && std::find(axes.begin(), axes.end(), d) == axes.end()) return kNoValue;
  const bool channels = std::any_of(axes.begin(), axes.end(), [](int64_t a) { return a < 2; });
  return channels ? kNoValue : source;
}

}  // namespace fcc
