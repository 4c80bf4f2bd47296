#include "passes/train/training.h"

#include <algorithm>
#include <set>

#include "ir/op.h"
#include "passes/graph/grad.h"
#include "passes/train/convert.h"
#include "passes/train/loss.h"
#include "passes/train/optimizer.h"
#include "passes/train/parameters.h"
#include "passes/train/training_mode.h"

namespace fcc {
namespace {

const TensorType kCount{DType::i64, {}};

void put_first(Graph& g, std::string name, ValueId v) {
  g.outputs.insert(g.outputs.begin(), v);
  g.output_names.insert(g.output_names.begin(), std::move(name));
}

ValueId state_named(const Graph& g, const std::string& name) {
  for (ValueId v : g.states())
    if (g.value(v).name == name) return v;
  FCC_UNREACHABLE("no state {}", name);
}

class TrainingBuilder {
 public:
  TrainingBuilder(const TrainOptions& options, const EarlyPasses& early) : options_(options), early_(early) {}

  Result<Training> run(const Graph& model, const std::vector<std::pair<std::string, ValueId>>& initializers) {
    FCC_CHECKED(prepare(model, initializers));
    FCC_TRY(plan_, plan_optimizer(options_, out_.states));
    out_.groups = plan_.groups;
    out_.optimizer = plan_.text;
    parameters_ = out_.states;
    add_entry("infer", base_);
    FCC_CHECKED(evaluate_entry());
    FCC_CHECKED(step_entry());
    if (options_.gradients) FCC_CHECKED(gradient_entries());
    return std::move(out_);
  }

  Result<TrainingCheck> check(const Graph& model, const std::vector<std::pair<std::string, ValueId>>& initializers) {
    TrainingCheck found;
    FCC_CHECKED(prepare(model, initializers));
    FCC_TRY(plan_, plan_optimizer(options_, out_.states));
    parameters_ = out_.states;
    Backward w;
    FCC_TRY(const GradRequest request, forward(w));
    for (const MissingGradient& m : missing_gradients(w.g, request)) found.missing.push_back({m.reason, m.behind});
    found.states = parameters_;
    found.notes = out_.notes;
    return found;
  }

 private:
  Status prepare(const Graph& model, std::vector<std::pair<std::string, ValueId>> initializers) {
    base_ = model;
    if (!model.states().empty() || !model.updates.empty())
      return fail("the model trains itself already (TrainingInfo)", "", "compile it as it is");
    if (options_.f64) {
      std::vector<ValueId> map;
      FCC_TRY(base_, in_double(model, &map));
      for (auto& [name, v] : initializers) v = map[static_cast<size_t>(v)];
    }
    ratios_ = dropout_ratios(base_);
    FCC_CHECKED(to_evaluation_mode(base_));
    FCC_TRY(out_.states, make_states(base_, initializers, options_, out_.notes));
    base_.erase_dead();
    for (const auto& [name, v] : initializers)
      if (name.starts_with("onnx::Conv_")) {
        out_.notes.push_back(
            "the exporter has folded a BatchNormalization into \"" + name +
            "\" (and maybe others): it is trained as part of the convolution; export in training mode to keep it");
        break;
      }
    return {};
  }

  void add_entry(std::string name, Graph g) { out_.entries.push_back({std::move(name), std::move(g)}); }

  Status evaluate_entry() {
    Graph g = base_;
    std::vector<TrainingTarget> targets;
    FCC_TRY(const ValueId loss, add_loss(g, options_.loss, targets));
    out_.targets = targets;
    if (loss != kNoValue) put_first(g, "loss", loss);
    add_entry("evaluate", std::move(g));
    return {};
  }

  struct Backward {
    Graph g;
    ValueId step = kNoValue, count = kNoValue;
    std::vector<ParameterGradient> gradients;
  };

  // Forward in training mode and loss; what the gradients are asked of.
  Result<GradRequest> forward(Backward& w, bool accumulating = false) {
    w.g = base_;
    Graph& g = w.g;
    std::vector<TrainingState> hyper;
    const ValueId seed = ensure_state(g, hyper, "hyper/seed", kCount,
                                      Tensor::scalar(DType::i64, static_cast<double>(options_.seed)), StateRole::hyper);
    w.step = ensure_state(g, hyper, "hyper/step", kCount, {}, StateRole::hyper);
    std::vector<std::string> notes;
    ValueId draw = w.step;
    if (accumulating) {  // micro-batches of one step draw different numbers, the first those of train_step
      w.count = ensure_state(g, hyper, "hyper/accumulated", kCount, {}, StateRole::hyper);
      GraphBuilder b(g, {"gradients", -1, 0});
      const std::vector<NodeId> order = g.order();
      if (!order.empty()) g.set_insert_point(order[0]);
      draw = b("Add", {w.step, b("Mul", {w.count, g.add_constant("stride", Tensor::scalar(DType::i64, 0x1p40))})});
      g.set_insert_point(kNoNode);
      FCC_CHECKED(b.status());
    }
    FCC_TRY(const ModeChange mode, to_training_mode(g, options_, ratios_, seed, draw, notes));
    if (std::none_of(out_.states.begin(), out_.states.end(),
                     [](const TrainingState& s) { return s.name == "hyper/step"; })) {
      out_.states.push_back(hyper[1]);
      if (mode.draws) out_.states.push_back(hyper[0]);
      out_.notes.insert(out_.notes.end(), notes.begin(), notes.end());
    }
    FCC_CHECKED(early_(g));
    return seeds(g);
  }

  // The gradient of every trained parameter.
  Result<Backward> backward(bool accumulating = false) {
    Backward w;
    FCC_TRY(const GradRequest request, forward(w, accumulating));
    Graph& g = w.g;
    FCC_TRY(const std::vector<ValueId> gradients, add_gradients(g, request));
    for (size_t k = 0; k < gradients.size(); ++k) {
      if (gradients[k] == kNoValue) {
        note_once("\"" + g.value(request.wrt[k]).name + "\" does not influence the loss: it stays as it is");
        continue;
      }
      const auto p = std::find_if(parameters_.begin(), parameters_.end(),
                                  [&](const TrainingState& s) { return s.name == g.value(request.wrt[k]).name; });
      w.gradients.push_back({&*p, request.wrt[k], gradients[k]});
    }
    return w;
  }

  void note_once(std::string text) {
    if (std::find(out_.notes.begin(), out_.notes.end(), text) == out_.notes.end())
      out_.notes.push_back(std::move(text));
  }

  // Loss and outputs of the step; where the gradients begin.
  Result<GradRequest> seeds(Graph& g) {
    GradRequest request;
    for (const TrainingState& s : parameters_)
      if (s.trainable) request.wrt.push_back(state_named(g, s.name));
    std::vector<TrainingTarget> targets;
    const std::vector<ValueId> outputs = g.outputs;
    FCC_TRY(const ValueId loss, add_loss(g, options_.loss, targets));
    if (loss == kNoValue) {
      for (size_t i = 0; i < outputs.size(); ++i) {
        if (!is_float(g.value(outputs[i]).type.dtype)) continue;
        request.seeds.emplace_back(outputs[i], g.add_input("grad." + g.output_names[i], g.value(outputs[i]).type));
      }
      return request;
    }
    request.seeds.emplace_back(loss, kNoValue);
    GraphBuilder b(g, {"loss", -1, 0});
    const ValueId checked = b("CheckFinite", {loss}, {{"what", std::string("the loss")}});
    FCC_CHECKED(b.status());
    put_first(g, "loss", checked);
    return request;
  }

  Status step_entry() {
    FCC_TRY(Backward w, backward());
    FCC_CHECKED(add_optimizer(w.g, plan_, options_, w.gradients, w.step, out_.states));
    add_entry("train_step", std::move(w.g));
    return {};
  }

  // gradients: adds to grad/...; apply: the optimizer's step from there.
  Status gradient_entries() {
    FCC_TRY(Backward w, backward(true));
    Graph apply;
    apply.name = base_.name;
    apply.file = base_.file;
    std::vector<ParameterGradient> list;
    GraphBuilder a(apply, {"apply", -1, 0}), b(w.g, {"gradients", -1, 0});
    const ValueId apply_step = ensure_state(apply, out_.states, "hyper/step", kCount, {}, StateRole::hyper);
    const ValueId count = ensure_state(w.g, out_.states, "hyper/accumulated", kCount, {}, StateRole::hyper);
    const ValueId apply_count = ensure_state(apply, out_.states, "hyper/accumulated", kCount, {}, StateRole::hyper);
    w.g.updates.emplace_back(count, b("Add", {count, w.g.add_constant("one", Tensor::scalar(DType::i64, 1))}));
    const ValueId many = a("Max", {apply_count, apply.add_constant("one", Tensor::scalar(DType::i64, 1))});
    for (const ParameterGradient& p : w.gradients) {
      const TensorType type = w.g.value(p.state).type;
      const std::string name = "grad/" + p.parameter->name;
      const ValueId sum = ensure_state(w.g, out_.states, name, type, {}, StateRole::gradient);
      w.g.updates.emplace_back(sum, b("Add", {sum, p.gradient}));
      const ValueId state = apply.add_state(p.parameter->name, type, p.parameter->initial);
      const ValueId own = apply.add_state(name, type, {});
      const ValueId mean = a("Div", {own, a("Cast", {many}, {{"to", type.dtype}})});
      list.push_back({p.parameter, state, mean});
      apply.updates.emplace_back(own, zeros(a, type));
    }
    apply.updates.emplace_back(apply_count, apply.add_constant("zero", Tensor::scalar(DType::i64, 0)));
    FCC_CHECKED(a.status());
    FCC_CHECKED(b.status());
    FCC_CHECKED(add_optimizer(apply, plan_, options_, std::move(list), apply_step, out_.states));
    add_entry("gradients", std::move(w.g));
    add_entry("apply", std::move(apply));
    return {};
  }

  static ValueId zeros(GraphBuilder& b, const TensorType& type) {
    if (type.rank() == 0) return b.scalar(type.dtype, 0);
    return b("ConstantOfShape", {b.dims(type.dims)}, {{"value", Tensor::scalar(type.dtype, 0).reshaped({1})}});
  }

  const TrainOptions& options_;
  const EarlyPasses& early_;
  Training out_;
  Graph base_;
  OptimizerPlan plan_;
  std::vector<TrainingState> parameters_;  // with buffers: those of the base
  std::vector<std::pair<std::string, double>> ratios_;
};

}  // namespace

Result<Training> build_training(const Graph& model, const std::vector<std::pair<std::string, ValueId>>& initializers,
                                const TrainOptions& options, const EarlyPasses& early) {
  return TrainingBuilder(options, early).run(model, initializers);
}

Result<TrainingCheck> check_training(const Graph& model,
                                     const std::vector<std::pair<std::string, ValueId>>& initializers,
                                     const TrainOptions& options, const EarlyPasses& early) {
  return TrainingBuilder(options, early).check(model, initializers);
}

}  // namespace fcc
