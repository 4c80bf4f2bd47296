#include "passes/train/own_step.h"

#include <algorithm>

#include "ir/op.h"
#include "passes/train/convert.h"

namespace fcc {
namespace {

bool is_statistic(const Graph& g, ValueId state) {
  return std::any_of(g.users(state).begin(), g.users(state).end(), [&](NodeId id) {
    const Node& n = g.node(id);
    return n.op->name == "BatchNormalization" && (n.in[3] == state || n.in[4] == state);
  });
}

StateRole role_of(const OwnStep& own, ValueId state) {
  const std::string& name = own.step.value(state).name;
  if (name.starts_with("hyper/")) return StateRole::hyper;
  if (std::find(own.slots.begin(), own.slots.end(), name) != own.slots.end()) return StateRole::slot;
  return is_statistic(own.step, state) ? StateRole::buffer : StateRole::parameter;
}

// The number among the algorithm's results: what is called loss, else the first.
Result<size_t> find_loss(const OwnStep& own) {
  const Graph& g = own.step;
  std::optional<size_t> found;
  for (size_t i = own.model_outputs; i < g.outputs.size(); ++i) {
    const TensorType& t = g.value(g.outputs[i]).type;
    if (!is_float(t.dtype) || !t.elements().is(1)) continue;
    if (!found || g.output_names[i] == "loss") found = i;
  }
  if (found) return *found;
  return fail("the model's training step gives no loss", "none of its results is a single floating-point number",
              "make the loss an output of the algorithm");
}

class OwnBuilder {
 public:
  OwnBuilder(OwnStep own, const TrainOptions& options) : own_(std::move(own)), options_(options) {}

  Result<Training> run() {
    if (options_.f64) {
      FCC_TRY(own_.infer, in_double(own_.infer));
      FCC_TRY(own_.step, in_double(own_.step));
    }
    FCC_CHECKED(lead_with_loss());
    for (ValueId v : own_.step.states()) state(v);
    for (size_t i = own_.infer.inputs().size(); i < own_.step.inputs().size(); ++i) target(own_.step.inputs()[i]);
    out_.optimizer = "of the model";
    Graph evaluate = own_.step;
    evaluate.updates.clear();
    evaluate.outputs.resize(1 + own_.model_outputs);
    evaluate.output_names.resize(1 + own_.model_outputs);
    evaluate.erase_dead();
    own_.infer.erase_dead();
    own_.step.erase_dead();
    out_.entries.push_back({"infer", std::move(own_.infer)});
    out_.entries.push_back({"evaluate", std::move(evaluate)});
    out_.entries.push_back({"train_step", std::move(own_.step)});
    return std::move(out_);
  }

 private:
  // Outputs: the loss, which must be finite, the model's, whatever else the algorithm gives.
  Status lead_with_loss() {
    Graph& g = own_.step;
    FCC_TRY(const size_t at, find_loss(own_));
    GraphBuilder b(g, {"loss", -1, 0});
    ValueId loss = g.outputs[at];
    if (b.type(loss).rank() > 0) loss = b("Reshape", {loss, b.ints({})}, {{"allowzero", int64_t{1}}});
    loss = b("CheckFinite", {loss}, {{"what", std::string("the loss")}});
    FCC_CHECKED(b.status());
    const auto i = static_cast<std::ptrdiff_t>(at);
    g.outputs.erase(g.outputs.begin() + i);
    g.output_names.erase(g.output_names.begin() + i);
    g.outputs.insert(g.outputs.begin(), loss);
    g.output_names.insert(g.output_names.begin(), "loss");
    return {};
  }

  void state(ValueId v) {
    const Value& value = own_.step.value(v);
    const StateRole role = role_of(own_, v);
    out_.states.push_back({value.name, value.type, value.data, role, role == StateRole::parameter,
                           role == StateRole::parameter ? 0 : -1});
    if (value.name.starts_with("hyper/lr")) out_.groups.push_back({"", value.name, value.data.get_double(0), 1, {}});
  }

  // A label stands where the scores have a vector of classes.
  void target(ValueId v) {
    const Graph& g = own_.step;
    TrainingTarget t{g.value(v).name, own_.model_outputs > 0 ? g.output_names[1] : "", "of the model"};
    if (own_.model_outputs > 0) {
      Dims scores = g.value(g.outputs[1]).type.dims;
      if (scores.size() >= 2 && scores[1].is_constant() && is_int(g.value(v).type.dtype)) {
        const int64_t classes = scores[1].constant();
        scores.erase(scores.begin() + 1);
        if (scores == g.value(v).type.dims) t.classes = classes;
      }
    }
    out_.targets.push_back(std::move(t));
  }

  OwnStep own_;
  const TrainOptions& options_;
  Training out_;
};

}  // namespace

Result<Training> build_own_training(OwnStep own, const TrainOptions& options) {
  return OwnBuilder(std::move(own), options).run();
}

}  // namespace fcc
