#pragma once
// Which ONNX operators exist, since when, and which of them fcc can take. The registry (ir/op.h) says what is
// implemented; the table onnx_ops.def keeps names of fcc's own operators from being reachable from a file.
#include <string>
#include <vector>

#include "frontend/onnx/functions.h"
#include "frontend/onnx/import.h"

namespace fcc {

struct Refusal {
  std::string reason, hint;
};
// Why a node of this operator cannot be taken, or nothing.
std::optional<Refusal> refusal(std::string_view domain, std::string_view op, int64_t opset);

struct UnsupportedSite {
  std::string op, node;
  int64_t index = -1, opset = 0;
  Refusal why;
};
// All nodes of the graph and of the functions that cannot be taken.
std::vector<UnsupportedSite> unsupported_nodes(const onnx::ModelProto& model, const FunctionTable& functions,
                                               int64_t opset);
// One diagnostic an operator and reason, however many nodes there are.
std::vector<Diagnostic> describe_unsupported(const std::vector<UnsupportedSite>& sites, const std::string& file);

}  // namespace fcc
