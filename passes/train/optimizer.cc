#include "passes/train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ir/base/call_text.h"
#include "passes/train/parameters.h"

namespace fcc {
namespace {

// The values of the table with what a text overrides.
Result<std::vector<double>> hyper_values(const OptimizerSpec& spec, const std::vector<double>& base,
                                         Arguments& arguments) {
  std::vector<double> values;
  for (size_t k = 0; k < spec.hyper.size(); ++k) {
    FCC_TRY(const double v, arguments.number(spec.hyper[k].name, base[k]));
    values.push_back(v);
  }
  return values;
}

Status check_values(const OptimizerSpec& spec, const std::vector<double>& values) {
  for (size_t k = 0; k < values.size(); ++k) {
    const std::string_view name = spec.hyper[k].name;
    const bool below_one = name.starts_with("beta") || name == "rho" || (name == "alpha" && spec.name == "rmsprop");
    if (values[k] < 0 || (below_one && spec.name != "onnx.momentum" && values[k] >= 1))
      return fail(fmt::format("optimizer {}: {} is {}, expected {}", spec.name, name, values[k],
                              below_one ? "at least 0 and below 1" : "no negative number"));
  }
  HyperValues h(spec.hyper, values);
  if (spec.name == "sgd" && h.on("nesterov") && (!h.on("momentum") || h.on("dampening")))
    return fail("optimizer sgd: nesterov needs a momentum and no dampening");
  return {};
}

std::string text_of(const OptimizerSpec& spec, const std::vector<double>& values) {
  std::string s;
  for (size_t k = 0; k < values.size(); ++k) s += fmt::format("{}{}={:g}", k ? "," : "", spec.hyper[k].name, values[k]);
  return fmt::format("{}({})", spec.name, s);
}

Result<const OptimizerSpec*> spec_named(const std::string& name) {
  if (const OptimizerSpec* spec = find_optimizer(name)) return spec;
  std::vector<std::string_view> names;
  std::string all;
  for (const OptimizerSpec& s : optimizers()) {
    names.push_back(s.name);
    all += (all.empty() ? "" : ", ") + std::string(s.name);
  }
  const std::string_view near = nearest_name(name, names);
  return fail("there is no optimizer \"" + name + "\"", "",
              near.empty() ? "optimizers are " + all : "did you mean " + std::string(near) + "?");
}

struct GroupText {
  NamePattern pattern;
  CallText call;
};
// "RE: lr*=0.1, weight_decay=0" or "RE: freeze"
Result<GroupText> parse_group(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos)
    return fail("--group \"" + text + "\": expected RE: key=value, ...", "",
                "such as --group 'head: lr*=10, weight_decay=0'");
  std::string body = text.substr(colon + 1);
  if (const size_t star = body.find("lr*"); star != body.npos) body.replace(star, 3, "lr_factor");
  FCC_TRY(NamePattern pattern, NamePattern::compile(text.substr(0, colon), "--group"));
  FCC_TRY(CallText call, parse_call("group(" + body + ")", "--group"));
  return GroupText{std::move(pattern), std::move(call)};
}

class StepBuilder {
 public:
  StepBuilder(Graph& g, const OptimizerPlan& plan, std::vector<TrainingState>& states, ValueId step)
      : g_(g), b_(g, {"optimizer", -1, 0}), plan_(plan), states_(states), step_(step) {}

  Status run(const TrainOptions& options, std::vector<ParameterGradient> list) {
    const ValueId next_step = b_("Add", {step_, b_.graph.add_constant("one", Tensor::scalar(DType::i64, 1))});
    g_.updates.emplace_back(step_, next_step);
    t_ = b_("Cast", {next_step}, {{"to", DType::f64}});
    if (options.clip_value > 0)
      for (ParameterGradient& p : list) {
        const DType type = b_.type(p.gradient).dtype;
        p.gradient =
            b_("Clip", {p.gradient, b_.scalar(type, -options.clip_value), b_.scalar(type, options.clip_value)});
      }
    if (options.clip_norm > 0) clip_norm(options.clip_norm, list);
    for (const ParameterGradient& p : list) one(p);
    FCC_CHECKED(b_.status());
    return {};
  }

 private:
  ValueId f64(double v) { return b_.scalar(DType::f64, v); }

  // The factor min(1, c / (norm + 1e-6)) of all gradients together; their norm is summed in double.
  void clip_norm(double limit, std::vector<ParameterGradient>& list) {
    ValueId total = kNoValue;
    for (const ParameterGradient& p : list) {
      const TensorType type = b_.type(p.gradient);
      ValueId squares = b_("Cast", {p.gradient}, {{"to", DType::f64}});
      if (type.rank() > 1) {  // rows on any number of threads, then the rest
        std::vector<int64_t> axes;
        for (int64_t d = 1; d < type.rank(); ++d) axes.push_back(d);
        squares = b_("ReduceSumSquare", {squares, b_.ints(axes)}, {{"keepdims", int64_t{0}}});
        squares = b_("ReduceSum", {squares}, {{"keepdims", int64_t{0}}});
      } else {
        squares = b_("ReduceSumSquare", {squares}, {{"keepdims", int64_t{0}}});
      }
      total = total == kNoValue ? squares : b_("Add", {total, squares});
    }
    if (total == kNoValue) return;
    const ValueId factor = b_("Min", {f64(1), b_("Div", {f64(limit), b_("Add", {b_("Sqrt", {total}), f64(1e-6)})})});
    for (ParameterGradient& p : list) p.gradient = b_("Mul", {p.gradient, in_type(factor, b_.type(p.gradient).dtype)});
  }

  ValueId in_type(ValueId scalar, DType type) {
    if (b_.type(scalar).dtype == type) return scalar;
    auto [it, fresh] = casts_.try_emplace({scalar, type}, kNoValue);
    if (fresh) it->second = b_("Cast", {scalar}, {{"to", type}});
    return it->second;
  }

  // What a group's parameters share, once.
  const std::vector<ValueId>& scalars(size_t group, const HyperValues& h) {
    if (auto it = scalars_.find(group); it != scalars_.end()) return it->second;
    const ParameterGroup& p = plan_.groups[group];
    ScalarContext s{
        b_, h, ensure_state(g_, states_, p.state, {DType::f64, {}}, Tensor::scalar(DType::f64, p.lr), StateRole::hyper),
        t_};
    ValueId product = kNoValue;
    if (plan_.spec->running_product)
      product = s.product = ensure_state(g_, states_, "optim/mu_product" + (group ? "." + std::to_string(group) : ""),
                                         {DType::f64, {}}, Tensor::scalar(DType::f64, 1), StateRole::slot);
    std::vector<ValueId> v = plan_.spec->scalars(s);
    if (product != kNoValue) g_.updates.emplace_back(product, s.next_product);
    return scalars_[group] = std::move(v);
  }

  void one(const ParameterGradient& p) {
    const auto group = static_cast<size_t>(p.parameter->group);
    const HyperValues h(plan_.spec->hyper, plan_.groups[group].hyper);
    const TensorType type = b_.type(p.state);
    std::vector<ValueId> in{p.state, p.gradient}, owned{p.state};
    for (ValueId v : scalars(group, h)) in.push_back(in_type(v, type.dtype));
    for (const OptimizerSlot& slot : plan_.spec->slots(h)) {
      Tensor first;
      if (slot.initial != 0) {
        first = Tensor(type.dtype, type.extents());
        for (int64_t i = 0; i < first.elements(); ++i) first.set_double(i, slot.initial);
      }
      owned.push_back(ensure_state(g_, states_, "optim/" + p.parameter->name + "/" + std::string(slot.name), type,
                                   first, StateRole::slot));
      in.push_back(owned.back());
    }
    const std::vector<ValueId> next =
        b_.many("Optimize", in, {{"kind", std::string(plan_.spec->name)}, {"hyper", h.values()}},
                static_cast<int32_t>(owned.size()));
    for (size_t k = 0; k < owned.size(); ++k) {
      if (next[k] == kNoValue) return;
      g_.rename(next[k], g_.value(owned[k]).name + ".next");
      g_.updates.emplace_back(owned[k], next[k]);
    }
  }

  Graph& g_;
  GraphBuilder b_;
  const OptimizerPlan& plan_;
  std::vector<TrainingState>& states_;
  ValueId step_, t_ = kNoValue;
  std::map<std::pair<ValueId, DType>, ValueId> casts_;
  std::map<size_t, std::vector<ValueId>> scalars_;
};

}  // namespace

ValueId ensure_state(Graph& g, std::vector<TrainingState>& states, const std::string& name, const TensorType& type,
                     Tensor initial, StateRole role) {
  if (std::none_of(states.begin(), states.end(), [&](const TrainingState& s) { return s.name == name; }))
    states.push_back({name, type, initial, role});
  for (ValueId v : g.states())
    if (g.value(v).name == name) return v;
  return g.add_state(name, type, std::move(initial));
}

Result<OptimizerPlan> plan_optimizer(const TrainOptions& options, std::vector<TrainingState>& parameters) {
  FCC_TRY(CallText call, parse_call(options.optimizer, "optimizer"));
  OptimizerPlan plan;
  FCC_TRY(plan.spec, spec_named(call.name));
  std::vector<double> defaults;
  for (const HyperParameter& h : plan.spec->hyper) defaults.push_back(h.otherwise);
  Arguments arguments(call, "optimizer");
  FCC_TRY(const std::vector<double> base, hyper_values(*plan.spec, defaults, arguments));
  FCC_CHECKED(arguments.finish());
  FCC_CHECKED(check_values(*plan.spec, base));
  plan.text = text_of(*plan.spec, base);
  plan.groups.push_back({"", "hyper/lr", base[0], 1, base});
  for (TrainingState& p : parameters) p.group = p.trainable ? 0 : -1;
  std::vector<std::pair<NamePattern, int32_t>> patterns;  // group -1: frozen
  for (const std::string& text : options.groups) {
    FCC_TRY(GroupText group, parse_group(text));
    const bool freeze = group.call.values.size() == 1 && group.call.values[0] == "freeze";
    Arguments own(group.call, "--group \"" + text + "\":");
    FCC_TRY(const double factor, own.number("lr_factor", 1));
    FCC_TRY(std::vector<double> values, hyper_values(*plan.spec, base, own));
    FCC_CHECKED(own.finish(freeze ? 1 : 0));
    FCC_CHECKED(check_values(*plan.spec, values));
    if (freeze) {
      patterns.emplace_back(group.pattern, -1);
      continue;
    }
    values[0] *= factor;
    patterns.emplace_back(group.pattern, static_cast<int32_t>(plan.groups.size()));
    plan.groups.push_back(
        {group.pattern.text(), "hyper/lr." + std::to_string(plan.groups.size()), values[0], factor, values});
  }
  for (TrainingState& p : parameters)
    for (const auto& [pattern, group] : patterns)
      if (p.trainable && pattern.matches(p.name)) {
        p.group = group;
        p.trainable = group >= 0;
        break;
      }
  if (std::none_of(parameters.begin(), parameters.end(), [](const TrainingState& s) { return s.trainable; }))
    return fail("no parameter is left to train: the groups freeze them all");
  return plan;
}

Status add_optimizer(Graph& g, const OptimizerPlan& plan, const TrainOptions& options,
                     std::vector<ParameterGradient> list, ValueId step, std::vector<TrainingState>& states) {
  return StepBuilder(g, plan, states, step).run(options, std::move(list));
}

}  // namespace fcc
