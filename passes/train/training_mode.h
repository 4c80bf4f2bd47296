#pragma once
// A model in training mode: Dropout draws from a counter-based generator, BatchNormalization takes the statistics of
// the batch and moves its running ones. And the reverse, for the entries that evaluate.
#include "passes/train/training.h"

namespace fcc {

// Every Dropout does nothing and every BatchNormalization uses its stored statistics, whatever the file says.
Status to_evaluation_mode(Graph&);

struct ModeChange {
  bool draws = false;  // random numbers: the graph has the states hyper/seed and hyper/step
  int64_t dropouts = 0, batch_norms = 0;
};
// seed, step: i64[] states of the graph, used by dropout. Adds the updates of running statistics.
Result<ModeChange> to_training_mode(Graph&, const TrainOptions&,
                                    const std::vector<std::pair<std::string, double>>& dropout_ratios, ValueId seed,
                                    ValueId step, std::vector<std::string>& notes);

// The ratios that the file has, by name of the result: taken before to_evaluation_mode forgets them.
std::vector<std::pair<std::string, double>> dropout_ratios(const Graph&);

}  // namespace fcc
