#include "tools/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/eval.h"
#include "ir/op.h"
#include "tools/compare.h"

namespace fcc {
namespace {

constexpr uint64_t kRuns = 3;  // a change that one run happens to cancel is seen by the others

// Results that are sums of products of the operands.
constexpr std::string_view kSums[] = {"MatMul",    "Gemm",       "Conv",        "ConvTranspose",     "Einsum",
                                      "ReduceSum", "ReduceMean", "AveragePool", "GlobalAveragePool", "CumSum"};

double largest_finite(const Tensor& t) {
  double largest = 0;
  for (double v : t.to_doubles())
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  return largest;
}

Tensor magnitudes(const Tensor& t) {
  if (!is_float(t.dtype())) return t;
  Tensor out(t.dtype(), t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) out.set_double(i, std::fabs(t.get_double(i)));
  return out;
}

double largest_change(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  double largest = 0;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i)
    if (std::isfinite(x[i] - y[i])) largest = std::max(largest, std::fabs(x[i] - y[i]));
  return largest;
}

// One run of the interpreter in which every computed value is shaken.
class ShakenRun {
 public:
  ShakenRun(const Graph& graph, std::span<const Tensor> inputs, const Sizes& sizes, uint64_t seed)
      : graph_(graph), inputs_(inputs), sizes_(sizes), random_(seed), seen_(static_cast<size_t>(graph.value_count())) {
    for (size_t i = 0; i < inputs.size(); ++i) seen_[static_cast<size_t>(graph.inputs()[i])] = inputs[i];
  }

  Result<EvalResult> run() {
    return evaluate(graph_, inputs_, {}, [&](ValueId v, Tensor& t) {
      const Node* node = graph_.def(v);
      const bool computed = node && !node->op->movement && node->op->strategy != Strategy::none;
      if (computed && is_float(t.dtype())) shake(*node, v, t);
      seen_[static_cast<size_t>(v)] = t;
    });
  }

 private:
  // By up to what rounding at this node allows. A sum errs like its largest terms, anything else like the element
  // itself; what only moves data is exact.
  void shake(const Node& node, ValueId v, Tensor& t) {
    const int64_t additions = evaluate_size(cost_of(graph_, node).reduction, sizes_);
    const Tolerance allowed = tolerance_for(t.dtype(), additions);
    const double of_sum = additions > 1 ? allowed.of_largest * largest_terms(node, v, t) : 0;
    const double of_element = additions > 1 ? allowed.relative : tolerance_for(t.dtype(), 0).of_largest;
    for (int64_t i = 0; i < t.elements(); ++i) {
      const double unit = static_cast<double>(random_() >> 11) * 0x1p-52 - 1;  // [-1, 1)
      const double x = t.get_double(i);
      t.set_double(i, x + unit * (of_element * std::fabs(x) + of_sum));
    }
  }

  // The largest sum of the terms' magnitudes, however much of it cancels in the result.
  double largest_terms(const Node& node, ValueId v, const Tensor& t) const {
    if (std::ranges::find(kSums, node.op->name) == std::end(kSums)) return largest_finite(t);
    std::vector<Tensor> operands;
    for (ValueId in : node.in) {
      const bool constant = in != kNoValue && graph_.is_constant(in);
      operands.push_back(
          in == kNoValue ? Tensor() : magnitudes(constant ? graph_.value(in).data : seen_.at(static_cast<size_t>(in))));
    }
    std::vector<const Tensor*> pointers;
    for (size_t k = 0; k < operands.size(); ++k) pointers.push_back(node.in[k] == kNoValue ? nullptr : &operands[k]);
    const auto sums = evaluate_node(graph_, graph_.value(v).def, pointers);
    return sums ? largest_finite(sums->front()) : largest_finite(t);
  }

  const Graph& graph_;
  std::span<const Tensor> inputs_;
  const Sizes& sizes_;
  std::mt19937_64 random_;
  std::vector<Tensor> seen_;
};

}  // namespace

Result<std::vector<double>> output_sensitivity(const Graph& graph, std::span<const Tensor> inputs, const Sizes& sizes,
                                               std::span<const Tensor> outputs) {
  std::vector<double> sensitivity(outputs.size(), 0);
  for (uint64_t seed = 1; seed <= kRuns; ++seed) {
    FCC_TRY(EvalResult shaken, ShakenRun(graph, inputs, sizes, seed).run());
    for (size_t k = 0; k < outputs.size(); ++k)
      sensitivity[k] = std::max(sensitivity[k], largest_change(shaken.outputs[k], outputs[k]));
  }
  return sensitivity;
}

}  // namespace fcc
