#pragma once
// The graphs of a training library from a model that brings its own step (ONNX's training_info): nothing is
// differentiated and no optimizer is added; entries, roles and the loss are found in what is there.
#include "passes/train/training.h"

namespace fcc {

struct OwnStep {
  Graph infer;                     // what the step updates are states
  Graph step;                      // the model's graph and the algorithm's, with updates
  size_t model_outputs = 0;        // of the step's outputs: the first so many are the model's
  std::vector<std::string> slots;  // states that the algorithm brings
};

Result<Training> build_own_training(OwnStep own, const TrainOptions&);

}  // namespace fcc
