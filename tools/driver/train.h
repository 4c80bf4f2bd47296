#pragma once
// The road of a training library: ONNX file -> training graphs (passes/train) -> passes -> kernels -> model.so with the
// entries infer, evaluate and train_step (docs/training.md).
#include "passes/train/training.h"
#include "tools/driver/compile.h"

namespace fcc {

struct TrainReport {
  CompileReport compile;
  std::string optimizer;                // complete text
  int64_t parameters = 0, trained = 0;  // elements
  int64_t state_bytes = 0;
  int64_t step_bytes = 0;  // workspace of train_step, for the batch below
  int64_t batch = 0;       // the size that open dimensions were given for it; 0: all sizes are fixed
  std::vector<TrainingState> states;
};

// What else comes of a training library.
struct TrainFiles {
  std::string schedule;   // text for the runtime, stored as it is
  std::string emit_onnx;  // a file to write: the model with its step as ONNX's training_info
};

// own_step: a step that the file brings (training_info) is taken instead of making one by the options.
Result<TrainReport> train_file(const std::string& model, const std::string& output, const TrainOptions&,
                               const TrainFiles&, const CompileOptions&, bool own_step = false);
// Whether the file brings one.
Result<bool> brings_training(const std::string& model, const CompileOptions&);

// The graph of an entry before the pipeline ("train_step", "evaluate", ...), for tests and fcc dump.
Result<Training> training_graphs(const std::string& model, const TrainOptions&, const CompileOptions&);

Result<TrainingCheck> check_train_file(const std::string& model, const TrainOptions&, const CompileOptions&);

}  // namespace fcc
