// Trajectories of 100 steps on recorded gradients in double, against PyTorch's (tests/train/export_trajectories.py), at
// a constant rate and under every schedule: by the interpreter for every case, and compiled for every optimizer.
#include "passes/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "ir/eval.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"
#include "training/schedule.h"

namespace fcc {
namespace {

using Json = nlohmann::json;
constexpr double kTolerance = 1e-10;  // relative, of the largest magnitude of an element on its way

const Json& fixture() {
  static const Json json = Json::parse(std::ifstream(FCC_SOURCE_DIR "/tests/train/trajectories.json"));
  return json;
}

Tensor doubles(const Json& list) {
  const auto v = list.get<std::vector<double>>();
  return Tensor::of<double>(DType::f64, {static_cast<int64_t>(v.size())}, v);
}

struct Step {
  Graph graph;
  OptimizerPlan plan;
};
Step step_of(const Json& test_case) {
  Step s;
  TrainOptions options;
  options.optimizer = test_case["optimizer"];
  if (test_case["options"] == "clip_norm=0.5") options.clip_norm = 0.5;
  const Tensor start = doubles(fixture()["start"]);
  std::vector<TrainingState> states{{"w", start.type(), start, StateRole::parameter, true, 0}};
  Result<OptimizerPlan> plan = plan_optimizer(options, states);
  EXPECT_TRUE(plan) << plan.error().text();
  s.plan = *plan;
  const ValueId w = s.graph.add_state("w", start.type(), start), g = s.graph.add_input("g", start.type());
  const ValueId step = s.graph.add_state("hyper/step", {DType::i64, {}}, {});
  const TrainingState parameter = states[0];
  const Status added = add_optimizer(s.graph, s.plan, options, {{&parameter, w, g}}, step, states);
  EXPECT_TRUE(added) << added.error().text();
  return s;
}

// The rate before every step, as the runtime's schedule gives it; nothing without a schedule.
class Rates {
 public:
  Rates(const Json& test_case, double base) : base_(base), on_(test_case.contains("schedule")) {
    if (!on_) return;
    EXPECT_EQ(runtime::Schedule::parse(test_case["schedule"], &schedule_), FCC_OK) << runtime::error_text();
  }
  bool on() const { return on_; }
  double next() {
    const double rate = schedule_.rate(base_, base_, step_);
    schedule_.observe(fixture()["metrics"][static_cast<size_t>(step_++)]);
    return rate;
  }

 private:
  double base_;
  bool on_;
  int64_t step_ = 0;
  runtime::Schedule schedule_;
};

void expect_near(const Json& expected, std::span<const double> actual, const std::string& what) {
  for (size_t i = 0; i < actual.size(); ++i) {
    const double want = expected[i];
    EXPECT_LE(std::abs(actual[i] - want), kTolerance * std::max(1.0, std::abs(want))) << what << ", element " << i;
  }
}

TEST(Optimizer, TrajectoriesAreThoseOfPyTorch) {
  for (const Json& test_case : fixture()["cases"]) {
    Step s = step_of(test_case);
    std::vector<Tensor> states;
    for (ValueId v : s.graph.states())
      states.push_back(s.graph.value(v).data.raw()
                           ? s.graph.value(v).data
                           : Tensor(s.graph.value(v).type.dtype, s.graph.value(v).type.extents()));
    Rates rates(test_case, s.plan.groups[0].lr);
    const auto lr = std::find_if(s.graph.states().begin(), s.graph.states().end(),
                                 [&](ValueId v) { return s.graph.value(v).name == "hyper/lr"; });
    for (size_t k = 0; k < fixture()["gradients"].size(); ++k) {
      const Tensor g = doubles(fixture()["gradients"][k]);
      if (rates.on())
        states[static_cast<size_t>(lr - s.graph.states().begin())] = Tensor::scalar(DType::f64, rates.next());
      const Result<EvalResult> r = evaluate(s.graph, std::span(&g, 1), states);
      ASSERT_TRUE(r) << r.error().text();
      for (const auto& [state, next] : r->states)
        states[static_cast<size_t>(std::find(s.graph.states().begin(), s.graph.states().end(), state) -
                                   s.graph.states().begin())] = next;
      const std::string key = std::to_string(k + 1);
      if (test_case["steps"].contains(key))
        expect_near(test_case["steps"][key], states[0].as<double>(),
                    test_case["optimizer"].get<std::string>() + " step " + key);
    }
  }
}

TEST(Optimizer, CompiledStepsUpdateTheirStates) {
  std::set<std::string> seen;
  const std::string library =
      std::filesystem::temp_directory_path() / ("fcc_optimizer_" + std::to_string(getpid()) + ".so");
  for (const Json& test_case : fixture()["cases"]) {
    const std::string text = test_case["optimizer"];
    const bool fresh = seen.insert(text.substr(0, text.find('('))).second;
    if (!fresh && test_case["options"] == "" && test_case.value("schedule", "").find("warmup") == std::string::npos)
      continue;
    Step s = step_of(test_case);
    const auto compiled = compile_graph(s.graph, library, {});
    ASSERT_TRUE(compiled) << compiled.error().text();
    Result<CompiledModel> model = CompiledModel::open(library, {.threads = 1});
    ASSERT_TRUE(model) << model.error().text();
    uint32_t w = 0;
    ASSERT_EQ(fcc_session_find_state(model->session(), "w", &w), FCC_OK);
    Rates rates(test_case, s.plan.groups[0].lr);
    uint32_t lr = 0;
    fcc_tensor rate{};
    ASSERT_EQ(fcc_session_find_state(model->session(), "hyper/lr", &lr), FCC_OK);
    ASSERT_EQ(fcc_session_state(model->session(), lr, &rate), FCC_OK);
    for (size_t k = 0; k < fixture()["gradients"].size(); ++k) {
      const Tensor g = doubles(fixture()["gradients"][k]);
      if (rates.on()) *static_cast<double*>(rate.data) = rates.next();
      ASSERT_TRUE(model->run(std::span(&g, 1)));
      const std::string key = std::to_string(k + 1);
      fcc_tensor view{};
      ASSERT_EQ(fcc_session_state(model->session(), w, &view), FCC_OK);
      if (test_case["steps"].contains(key))
        expect_near(test_case["steps"][key],
                    std::span(static_cast<const double*>(view.data), static_cast<size_t>(g.elements())),
                    text + " compiled, step " + key);
    }
  }
  std::filesystem::remove(library);
  EXPECT_EQ(seen.size(), optimizers().size()) << "an optimizer without a trajectory";
}

TEST(Optimizer, RefusesNonsense) {
  const auto refusal = [](const std::string& optimizer, std::vector<std::string> groups = {}) {
    TrainOptions options;
    options.optimizer = optimizer;
    options.groups = std::move(groups);
    std::vector<TrainingState> states{{"w", {DType::f32, {2}}, {}, StateRole::parameter, true, 0}};
    const Result<OptimizerPlan> plan = plan_optimizer(options, states);
    return plan ? "accepted" : plan.error().text();
  };
  EXPECT_EQ(refusal("adm"), "error: there is no optimizer \"adm\"\n hint: did you mean adam?");
  EXPECT_EQ(refusal("adam(beta3=1)"), "error: optimizer adam has no argument \"beta3\"\n hint: did you mean beta1?");
  EXPECT_EQ(refusal("adam(beta2=1)"), "error: optimizer adam: beta2 is 1, expected at least 0 and below 1");
  EXPECT_EQ(refusal("sgd(lr=-1)"), "error: optimizer sgd: lr is -1, expected no negative number");
  EXPECT_EQ(refusal("sgd(nesterov=true)"), "error: optimizer sgd: nesterov needs a momentum and no dampening");
  EXPECT_EQ(refusal("sgd", {"w"}),
            "error: --group \"w\": expected RE: key=value, ...\n hint: such as --group 'head: lr*=10, weight_decay=0'");
  EXPECT_EQ(refusal("sgd", {"w: freeze"}), "error: no parameter is left to train: the groups freeze them all");
  EXPECT_EQ(refusal("sgd", {"(: lr=1"}).substr(0, 38), "error: --group: \"(\" is no regular expr");
}

TEST(Optimizer, GroupsHaveRatesAndDecayOfTheirOwn) {
  TrainOptions options;
  options.optimizer = "adamw(lr=0.01)";
  options.groups = {"bias$: weight_decay=0", "^head: lr*=10"};
  std::vector<TrainingState> states;
  for (const char* name : {"fc.weight", "fc.bias", "head.weight", "head.bias"})
    states.push_back({name, {DType::f32, {2}}, {}, StateRole::parameter, true, 0});
  const Result<OptimizerPlan> plan = plan_optimizer(options, states);
  ASSERT_TRUE(plan) << plan.error().text();
  EXPECT_EQ(plan->text, "adamw(lr=0.01,beta1=0.9,beta2=0.999,eps=1e-08,weight_decay=0.01,amsgrad=0)");
  ASSERT_EQ(plan->groups.size(), 3u);
  EXPECT_EQ(plan->groups[2].state, "hyper/lr.2");
  EXPECT_DOUBLE_EQ(plan->groups[2].lr, 0.1);
  EXPECT_EQ(plan->groups[1].hyper[4], 0);
  EXPECT_EQ(states[0].group, 0);
  EXPECT_EQ(states[1].group, 1);
  EXPECT_EQ(states[2].group, 2);
  EXPECT_EQ(states[3].group, 1);  // the first group that matches
}

}  // namespace
}  // namespace fcc
