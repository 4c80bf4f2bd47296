#pragma once
// Gradient rules against numbers. A Case is one node on given operands; the harness differentiates it on the graph and
// by five-point differences of the interpreter's forward run in double. Each family of operators has a file of cases.
#include <functional>
#include <string>
#include <vector>

#include "ir/op.h"
#include "passes/graph/grad.h"

namespace fcc::test {

struct Case {
  std::string op;
  std::vector<Tensor> in;  // a default Tensor for an absent operand; gradients are taken of all f64 operands
  Attrs attrs = {};
  int32_t n_results = 1;
  std::vector<size_t> fixed = {};  // f64 operands that are not differentiated
  bool open = true;                // run once more with every extent above 1 of the f64 operands an open dimension
  // At kinks and other edges: the gradient of each differentiated operand when those of the results are ones.
  // Differences are not taken then.
  std::vector<std::vector<double>> expected = {};
};
std::string text(const Case&);

// All cases, family by family.
const std::vector<Case>& all_cases();

// ---- operands
Tensor reals(std::vector<int64_t> shape, std::vector<double> values);
Tensor whole(std::vector<int64_t> shape, std::vector<int64_t> values);
Tensor truths(std::vector<int64_t> shape, std::vector<int64_t> values);
// Reproducible values within [low, high), no two alike.
Tensor random(std::vector<int64_t> shape, double low = -2, double high = 2);

// ---- checks
using Adjust = std::function<ValueId(GraphBuilder&, const Node&, size_t operand, ValueId)>;
struct Gradients {
  std::vector<size_t> operands;         // those differentiated
  std::vector<std::vector<double>> of;  // parallel to operands
};
std::string text(const Gradients&);
// By the rules on the graph, of sum(weights * results). open: see Case.
Result<Gradients> by_rule(const Case&, bool open, const Adjust& = {});
// By differences, of the same sum.
Gradients by_differences(const Case&);
// The largest error, each relative to its gradient (and a hundredth of the operand's largest one).
double error(const Gradients& a, const Gradients& b);
// The largest difference, relative to a result's largest element, between eval and define over all nodes of the case's
// graph with its gradients: the generated code follows define. The operator of the worst node is put into `worst`.
double define_error(const Case&, bool open, std::string& worst);
// |<Jv,w> - <v,J'w>| relative to the terms of the right side, for one direction v through all operands.
double adjoint_error(const Case&, const Gradients&);

}  // namespace fcc::test
