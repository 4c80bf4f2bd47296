#pragma once
// Training from files without writing a program: the loop behind `fcc fit`.
//
// It owns the order of things: data, weights, epochs, validation, the best so far, checkpoints, export, report. The
// arithmetic is the compiled model's, the state the trainer's (fcc/train.hpp). Several processes may run it together
// (tools/fit/ranks.h): each on its share of every batch, with gradients averaged.
#include <functional>
#include <optional>

#include "fcc/train.h"
#include "tools/data/dataset.h"
#include "tools/fit/history.h"

namespace fcc {

struct FitOptions {
  std::string model;
  DataFiles data, validation;
  double validation_split = 0;  // share of the training rows, when there are no validation files
  Preparation preparation;      // without columns
  bool standardize = false;
  int64_t epochs = 1, batch_size = 64;
  bool shuffle = true, drop_last = false;
  std::optional<double> lr;
  std::string schedule;  // "": the model's, else constant
  uint64_t seed = 0;
  std::vector<std::string> freeze, init;  // init: PATTERN=INITIALIZER
  fcc_on_nonfinite on_nonfinite = FCC_NONFINITE_STOP;
  int threads = 0;
  std::string resume, weights;                // files to start from
  std::string output, save, checkpoint, log;  // files to write; "": none
  int64_t checkpoint_steps = 0;               // also within an epoch
  bool collect = false;                       // what a report needs: profile, outputs
};

// Rows of the confusion matrix are labels, columns what the model said.
struct Confusion {
  std::vector<std::string> classes;
  std::vector<int64_t> counts;
  bool validation = false;  // else on the training data
};

struct WeightPicture {
  std::string name, shape;
  std::vector<float> before, after;  // values, at most some thousands of them
  bool trained = true;
};

struct StepTime {
  std::string name, what;
  double seconds = 0;
  int64_t calls = 0;
  double flops = 0;  // of one call
};

struct FitResult {
  History history;
  int64_t epochs_done = 0, steps = 0, parameters = 0;
  int64_t best_epoch = 0;  // 0: there was no validation
  double best_loss = 0, best_accuracy = 0;
  int64_t train_rows = 0, validation_rows = 0;
  bool interrupted = false;
  std::vector<std::string> notes;
  // with collect
  std::optional<Confusion> confusion;
  std::vector<WeightPicture> weights;
  std::vector<StepTime> step_times;
  DataSet sample;          // some rows, prepared
  std::string onnx_bytes;  // the exported model
};

struct FitEvents {
  std::function<void(const std::string&)> progress;  // a line that replaces the one before
  std::function<void(const EpochRow&)> epoch;        // after each
  std::function<bool()> interrupted;                 // asked after each step
};

class Ranks;
// ranks: null for one process.
Result<FitResult> fit(const FitOptions&, const std::string& model_schedule, const FitEvents&, Ranks* ranks = nullptr);

}  // namespace fcc
