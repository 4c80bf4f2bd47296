#pragma once
// Graph -> ONNX: a model together with its training step (ModelProto.training_info), for `fcc train --emit-onnx`.
// The inverse of the importer, and like it the only other place that writes protobuf. Operators of ONNX stay what they
// are; those that fcc adds for gradients and optimizers are spelled out in ONNX's (emit_gradients.cc) where ONNX can
// say them, else they keep their name in the domain "fcc", which the importer reads back.
#include <string>
#include <vector>

#include "ir/graph.h"

namespace fcc {

struct EmittedState {
  std::string name;
  Tensor value;
  bool of_model = false;  // a weight or running statistic, not a slot of the optimizer
};

struct EmittedModel {
  std::string bytes;
  std::vector<std::string> foreign;  // operators that are left in the domain "fcc"
};

// infer: the model. step: one training step, with updates. Both refer to `states` by name.
Result<EmittedModel> emit_training_model(const Graph& infer, const Graph& step,
                                         const std::vector<EmittedState>& states);

}  // namespace fcc
