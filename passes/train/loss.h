#pragma once
// Loss texts as graph: cross_entropy, mse, 0.1*l1(y1)+mse(y0), ... PyTorch's definitions, mean over the elements unless
// reduction=sum is asked for.
#include "ir/op.h"
#include "passes/train/training.h"

namespace fcc {

// Adds the target inputs and the loss, a scalar, to a graph whose outputs are the model's. kNoValue for "none".
Result<ValueId> add_loss(Graph&, const std::string& text, std::vector<TrainingTarget>& targets);

struct LossName {
  std::string_view name, formula;
};
std::span<const LossName> losses();

}  // namespace fcc
