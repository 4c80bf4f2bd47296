#pragma once
// The optimizer's part of a training step: parameter groups from texts, and from gradients the next values of
// parameters and slots. The formulas are in ir/ops/optimizers.h.
#include "ir/op.h"
#include "ir/ops/optimizers.h"
#include "passes/train/training.h"

namespace fcc {

struct OptimizerPlan {
  const OptimizerSpec* spec = nullptr;
  std::vector<ParameterGroup> groups;
  std::string text;  // complete with defaults
};

// Reads --optimizer and --group; gives every trained parameter its group, and freezes those of a group that says so.
Result<OptimizerPlan> plan_optimizer(const TrainOptions&, std::vector<TrainingState>& parameters);

struct ParameterGradient {
  const TrainingState* parameter;
  ValueId state, gradient;
};
// Adds clipping, Optimize nodes and updates to a graph; states that are not there yet (hyper/..., optim/...) are added
// to both the graph and `states`. `step` is the state hyper/step.
Status add_optimizer(Graph&, const OptimizerPlan&, const TrainOptions&, std::vector<ParameterGradient>, ValueId step,
                     std::vector<TrainingState>& states);

// A state of the graph and of the list, once each.
ValueId ensure_state(Graph&, std::vector<TrainingState>&, const std::string& name, const TensorType&, Tensor initial,
                     StateRole);

}  // namespace fcc
