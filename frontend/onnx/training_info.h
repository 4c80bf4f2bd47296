#pragma once
// ModelProto.training_info: a model that brings its own training step. ONNX defines the step as the model's graph and
// the algorithm's joined into one; so the joining happens on the protobuf, before anything else looks at it, and every
// check and the importer see one ordinary graph. Private to frontend/onnx.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "frontend/onnx/import.h"
#include "frontend/onnx/proto.h"

namespace fcc {

struct TrainingBindings {
  std::set<std::string, std::less<>> states;                 // initializers that a step gives new values
  std::set<std::string, std::less<>> rates;                  // initializers that a program sets: learning rates
  std::vector<std::pair<std::string, std::string>> updates;  // initializer, the value that replaces it
  std::vector<std::string> slots;                            // those of `states` that the algorithm brings
  int64_t model_outputs = 0;                                 // how many outputs come from the model itself
};

bool has_training_info(const onnx::ModelProto&);

// Gives initializers the values of the initialization graph and, with `step`, appends the algorithm.
Result<TrainingBindings> join_training(onnx::ModelProto&, OwnTraining);

}  // namespace fcc
