#pragma once
// What a training run leaves behind for people: a row an epoch, and the loss of every step.
//
// The CSV log is this table; the report draws it. A resumed run reads the log of the run before, so both go on.
#include <string>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

struct EpochRow {
  int64_t epoch = 0, steps = 0;           // epoch counts from 1; steps since the beginning
  double lr = 0, loss = 0, accuracy = 0;  // NaN where there is none
  double val_loss = 0, val_accuracy = 0, seconds = 0, rows_per_second = 0;
};

struct History {
  std::vector<EpochRow> epochs;
  std::vector<float> step_losses;  // of this process
};

std::string csv_of(const History&);
// Rows up to and including `last_epoch`.
Result<History> read_history(const std::string& path, int64_t last_epoch);
// "epoch 3/5  loss 0.2311  accuracy 93.20 %  ..."
std::string line_of(const EpochRow&, int64_t epochs);

}  // namespace fcc
