#include "backend/lower/collapse.h"

#include <algorithm>

#include "ir/op.h"

namespace fcc::backend {

bool is_pointwise(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  return std::all_of(order.begin(), order.end(), [&](NodeId n) { return is_elementwise(body.node(n)); });
}

// Does an operand span output axis d (rather than being repeated along it)?
static bool spans(const Dims& operand, const Dims& out, size_t d) {
  const size_t lead = out.size() - operand.size();
  return d >= lead && (!operand[d - lead].is(1) || out[d].is(1));
}

static bool merges(const Dims& operand, const Dims& out, size_t d) {  // axes d and d+1
  const size_t lead = out.size() - operand.size();
  const bool unit_a = out[d].is(1), unit_b = out[d + 1].is(1);
  const bool has_a = spans(operand, out, d), has_b = spans(operand, out, d + 1);
  if (unit_a || unit_b) return d >= lead || !has_b || unit_a || unit_b;
  return has_a == has_b;
}

static bool is_used(const Graph& body, ValueId v) { return !body.users(v).empty() || body.is_output(v); }

std::vector<AxisGroup> mergeable_axes(const Graph& body, bool keep_last) {
  const Dims& out = body.value(body.outputs[0]).type.dims;
  std::vector<ValueId> operands;
  for (ValueId v : body.inputs())
    if (is_used(body, v)) operands.push_back(v);
  std::vector<AxisGroup> groups;
  for (size_t d = 0; d < out.size(); ++d) {
    bool merge = d > 0 && !(keep_last && d + 1 == out.size());
    for (ValueId v : operands) merge = merge && merges(body.value(v).type.dims, out, d - 1);
    // All axes of the group so far must agree with the new one, units aside.
    for (size_t a = merge ? groups.back().begin : d; merge && a < d; ++a)
      for (ValueId v : operands) {
        const Dims& dims = body.value(v).type.dims;
        if (!out[a].is(1) && !out[d].is(1)) merge = merge && spans(dims, out, a) == spans(dims, out, d);
      }
    if (merge) {
      groups.back().end = d + 1;
    } else {
      groups.push_back({d, d + 1});
    }
  }
  return groups;
}

static Dims collapse_dims(const Dims& operand, const Dims& out, const std::vector<AxisGroup>& groups) {
  const size_t lead = out.size() - operand.size();
  Dims merged;
  for (const AxisGroup& g : groups) {
    SymExpr extent = 1;
    for (size_t d = std::max(g.begin, lead); d < g.end; ++d) extent = extent * operand[d - lead];
    merged.push_back(extent);
  }
  return merged;
}

Graph collapse(const Graph& body, const std::vector<AxisGroup>& groups) {
  const Dims& out = body.value(body.outputs[0]).type.dims;
  Graph g;
  std::vector<ValueId> map(static_cast<size_t>(body.value_count()), kNoValue);
  for (ValueId v : body.inputs()) {
    const Value& value = body.value(v);
    const Dims dims = is_used(body, v) ? collapse_dims(value.type.dims, out, groups) : value.type.dims;
    map[static_cast<size_t>(v)] = g.add_input(value.name, {value.type.dtype, dims});
  }
  auto mapped = [&](ValueId v) {
    if (v == kNoValue) return kNoValue;
    if (map[static_cast<size_t>(v)] == kNoValue) {
      const Value& value = body.value(v);
      FCC_CHECK(value.role == Role::constant && value.data.elements() == 1, "{} is no scalar", value.name);
      map[static_cast<size_t>(v)] = g.add_constant(value.name, value.data.reshaped({}));
    }
    return map[static_cast<size_t>(v)];
  };
  for (NodeId n : body.order()) {
    const Node& node = body.node(n);
    std::vector<ValueId> in;
    for (ValueId v : node.in) in.push_back(mapped(v));
    Result<NodeId> added = g.add(*node.op, std::move(in), node.attrs, node.loc, {body.value(node.out[0]).name}, nullptr, static_cast<int32_t>(node.out.size()));
    FCC_CHECK(added.has_value(), "{}", added.error().text());
    for (size_t k = 0; k < node.out.size(); ++k) map[static_cast<size_t>(node.out[k])] = g.node(*added).out[k];
  }
  for (ValueId v : body.outputs) g.add_output("out", mapped(v));
  return g;
}

}  // namespace fcc::backend
