#pragma once
// What must hold of a ModelProto before its nodes are looked at one by one: versions, names, single assignment,
// order. ONNX's own checker is not used: it knows opset 17 only, and is no boundary against hostile files.
#include "frontend/onnx/faults.h"
#include "frontend/onnx/functions.h"

namespace fcc {

struct ModelFacts {
  int64_t ir_version = 0, opset = 0;
  std::vector<std::string> notes;
};

// Versions and opset imports.
Result<ModelFacts> check_header(const onnx::ModelProto& model);
// Names, duplicates, order and outputs of the graph, its subgraphs and the function bodies; all faults at once.
void check_structure(const onnx::ModelProto& model, const FunctionTable& functions, const std::string& file,
                     int64_t opset, Faults& faults);

// `Conv "backbone/conv1"`, safe to print.
std::string describe(const onnx::NodeProto& node);
// `resnet.onnx, node 12, opset 17`
std::string place(const std::string& file, int64_t node, int64_t opset);

}  // namespace fcc
