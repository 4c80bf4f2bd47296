#include "tools/cost.h"

#include <algorithm>
#include <set>

#include "ir/op.h"

namespace fcc {
namespace {

// Normalisations and running sums: the result is as large as the input, but every element depends on many.
constexpr std::string_view kAlongLastAxis[] = {"Softmax",          "LogSoftmax",      "Hardmax", "LayerNormalization",
                                               "RMSNormalization", "LpNormalization", "CumSum",  "CumProd"};
constexpr std::string_view kAlongSpace[] = {"InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"};
constexpr int64_t kNormalisationFlops = 5;  // an element: subtract, square, add, scale, shift

SymExpr product_from(const Dims& dims, size_t first) {
  SymExpr p = 1;
  for (size_t k = first; k < dims.size(); ++k) p = p * dims[k];
  return p;
}

bool listed(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

struct View {
  const Graph& graph;
  const Node& node;
  const Dims& in(size_t k) const { return graph.value(node.in.at(k)).type.dims; }
  bool has(size_t k) const { return k < node.in.size() && node.in[k] != kNoValue; }
  SymExpr in_elements(size_t k) const { return graph.value(node.in.at(k)).type.elements(); }
  SymExpr out_elements() const { return graph.value(node.out.at(0)).type.elements(); }
};

// Letters of the operands of an Einsum with their extents; letters missing from the result are summed.
NodeCost einsum_cost(const View& v) {
  const std::string equation = v.node.attrs.string("equation");
  const std::string result = equation.substr(std::min(equation.find("->"), equation.size()));
  std::set<char> seen;
  SymExpr summed = 1;
  for (size_t k = 0, at = 0; k < v.node.in.size(); ++k, ++at) {
    for (size_t axis = 0; at < equation.size() && equation[at] != ',' && equation[at] != '-'; ++at) {
      const char c = equation[at];
      if (!std::isalpha(static_cast<unsigned char>(c)) || axis >= v.in(k).size()) continue;
      if (seen.insert(c).second && result.find(c) == result.npos) summed = summed * v.in(k)[axis];
      ++axis;
    }
  }
  return {SymExpr(2) * v.out_elements() * summed, summed};
}

// Input elements per output element; 1 for pointwise operators and movements.
NodeCost generic_cost(const View& v) {
  const std::string_view op = v.node.op->name;
  const SymExpr out = v.out_elements();
  if (!v.has(0)) return {SymExpr(0), SymExpr(1)};
  const Dims& in = v.in(0);
  if (listed(kAlongLastAxis, op) && !in.empty()) return {SymExpr(kNormalisationFlops) * out, in.back()};
  if (listed(kAlongSpace, op) && in.size() > 2) return {SymExpr(kNormalisationFlops) * out, product_from(in, 2)};
  if (op == "MaxPool" || op == "AveragePool" || op == "LpPool") {
    SymExpr window = 1;
    for (int64_t k : v.node.attrs.integers("kernel_shape")) window = window * SymExpr(k);
    return {out * window, window};
  }
  if (op.starts_with("Reduce") || op.starts_with("Arg") || op.starts_with("Global")) {
    return {v.in_elements(0), max(floordiv(v.in_elements(0), max(out, SymExpr(1))), SymExpr(1))};
  }
  const bool moves = v.node.op->movement || v.node.op->strategy == Strategy::none;
  return {moves ? SymExpr(0) : out, SymExpr(1)};
}

}  // namespace

NodeCost cost_of(const Graph& graph, const Node& node) {
  const View v{graph, node};
  const std::string_view op = node.op->name;
  auto contraction = [&](const SymExpr& k) { return NodeCost{SymExpr(2) * v.out_elements() * k, k}; };
  if (op == "MatMul" || op == "MatMulInteger") return contraction(v.in(0).back());
  if (op == "Gemm") return contraction(v.in(0).at(node.attrs.flag("transA") ? 0 : 1));
  if (op == "Conv" || op == "ConvInteger") return contraction(product_from(v.in(1), 1));
  if (op == "ConvTranspose") {
    const SymExpr per_input = product_from(v.in(1), 1);
    return {SymExpr(2) * v.in_elements(0) * per_input, product_from(v.in(1), 2) * v.in(1)[0]};
  }
  if (op == "LSTM" || op == "GRU" || op == "RNN") {  // x [seq,batch,in], w [dirs,gates,in], r [dirs,gates,hidden]
    const SymExpr weights = v.in_elements(1) + v.in_elements(2);
    return {SymExpr(2) * v.in(0).at(0) * v.in(0).at(1) * weights, (v.in(0).at(2) + v.in(2).at(2)) * v.in(0).at(0)};
  }
  if (op == "Einsum") return einsum_cost(v);
  return generic_cost(v);
}

SymExpr total_flops(const Graph& graph) {
  SymExpr sum = 0;
  for (NodeId n : graph.order()) sum = sum + cost_of(graph, graph.node(n)).flops;
  return sum;
}

int64_t evaluate_size(const SymExpr& size, const Sizes& sizes) {
  return size.evaluate([&](std::string_view symbol) {
    auto found = sizes.find(symbol);
    return found == sizes.end() ? int64_t{1} : found->second;
  });
}

int64_t peak_activation_bytes(const Graph& graph, const Sizes& sizes) {
  std::vector<int64_t> uses_left(static_cast<size_t>(graph.value_count()));
  for (size_t v = 0; v < uses_left.size(); ++v) uses_left[v] = graph.use_count(static_cast<ValueId>(v));
  auto bytes = [&](ValueId v) {
    return saturating_multiply(evaluate_size(graph.value(v).type.elements(), sizes),
                               byte_size(graph.value(v).type.dtype));
  };
  int64_t alive = 0, peak = 0;
  for (NodeId n : graph.order()) {
    const Node& node = graph.node(n);
    for (ValueId v : node.out) alive = saturating_add(alive, v == kNoValue ? 0 : bytes(v));
    peak = std::max(peak, alive);
    for (ValueId v : node.in) {
      if (v != kNoValue && graph.value(v).role == Role::temp && --uses_left[static_cast<size_t>(v)] == 0)
        alive -= bytes(v);
    }
    for (ValueId v : node.out) {
      if (v != kNoValue && uses_left[static_cast<size_t>(v)] == 0) alive -= bytes(v);
    }
  }
  return peak;
}

std::vector<int64_t> reduction_lengths(const Graph& graph, const Sizes& sizes) {
  std::vector<int64_t> lengths(static_cast<size_t>(graph.value_count()), 0);
  for (NodeId n : graph.order()) {
    const Node& node = graph.node(n);
    int64_t longest = 0;
    for (ValueId v : node.in) {
      if (v != kNoValue) longest = std::max(longest, lengths[static_cast<size_t>(v)]);
    }
    const int64_t own = std::max<int64_t>(evaluate_size(cost_of(graph, node).reduction, sizes), 1);
    for (ValueId v : node.out) {
      if (v != kNoValue) lengths[static_cast<size_t>(v)] = saturating_add(longest, own);
    }
  }
  return lengths;
}

}  // namespace fcc
