// Losses and their gradients in double, against PyTorch's (tests/train/export_losses.py).
#include "passes/train/loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "ir/eval.h"
#include "passes/graph/grad.h"

namespace fcc {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const Json& fixture() {
  static const Json json = Json::parse(std::ifstream(FCC_SOURCE_DIR "/tests/train/losses.json"));
  return json;
}

Tensor doubles(const Json& values, const Json& shape) {
  return Tensor::of<double>(DType::f64, shape.get<std::vector<int64_t>>(), values.get<std::vector<double>>());
}

struct LossGraph {
  Graph g;
  ValueId y = kNoValue, loss = kNoValue;
  std::vector<TrainingTarget> targets;
};
Result<LossGraph> loss_graph(const std::string& text, const TensorType& type) {
  LossGraph l;
  l.y = l.g.add_input("y", type);
  l.g.add_output("scores", l.y);
  FCC_TRY(l.loss, add_loss(l.g, text, l.targets));
  return l;
}

TEST(Loss, ValuesAndGradientsAreThoseOfPyTorch) {
  for (const Json& c : fixture()["cases"]) {
    const std::string text = c["loss"];
    const Tensor y = doubles(c["y"], c["shape"]);
    Result<LossGraph> l = loss_graph(text, y.type());
    ASSERT_TRUE(l) << l.error().text();
    const Result<std::vector<ValueId>> gradient = add_gradients(l->g, {.seeds = {{l->loss, kNoValue}}, .wrt = {l->y}});
    ASSERT_TRUE(gradient) << text << ": " << gradient.error().text();
    l->g.outputs.clear();
    l->g.output_names.clear();
    l->g.add_output("loss", l->loss);
    l->g.add_output("gradient", (*gradient)[0]);
    ASSERT_EQ(l->g.inputs().size(), 2u) << text;
    EXPECT_EQ(l->g.value(l->g.inputs()[1]).name, "target");
    Tensor target = doubles(c["target"], c["target_shape"]);
    if (c["target_is_label"]) {
      const auto labels = c["target"].get<std::vector<int64_t>>();
      target = Tensor::ints(labels).reshaped(target.shape());
      EXPECT_EQ(l->targets[0].classes, y.shape()[1]) << text;
    }
    const Result<EvalResult> r = evaluate(l->g, std::vector<Tensor>{y, target});
    ASSERT_TRUE(r) << r.error().text();
    EXPECT_NEAR(r->outputs[0].get_double(0), c["value"].get<double>(),
                1e-12 * std::max(1.0, std::abs(c["value"].get<double>())))
        << text;
    EXPECT_THAT(r->outputs[1].to_doubles(),
                testing::Pointwise(testing::DoubleNear(1e-12), c["gradient"].get<std::vector<double>>()))
        << text;
  }
}

TEST(Loss, EveryLossHasACase) {
  for (const LossName& l : losses()) {
    const bool found = std::any_of(fixture()["cases"].begin(), fixture()["cases"].end(),
                                   [&](const Json& c) { return c["loss"].get<std::string>().starts_with(l.name); });
    EXPECT_TRUE(found) << l.name;
  }
}

TEST(Loss, SumsOverOutputs) {
  Graph g;
  g.add_output("y0", g.add_input("a", {DType::f64, {2}}));
  g.add_output("y1", g.add_input("b", {DType::f64, {2}}));
  std::vector<TrainingTarget> targets;
  const Result<ValueId> loss = add_loss(g, "mse(y0)+0.5*l1(y1)", targets);
  ASSERT_TRUE(loss) << loss.error().text();
  ASSERT_EQ(targets.size(), 2u);
  EXPECT_EQ(targets[1].input, "target.y1");
  g.outputs = {*loss};
  g.output_names = {"loss"};
  const auto t = [](double a, double b) {
    const double v[] = {a, b};
    return Tensor::of<double>(DType::f64, {2}, v);
  };
  const auto r = evaluate(g, std::vector<Tensor>{t(1, 2), t(5, 5), t(0, 0), t(4, 8)});
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_DOUBLE_EQ(r->outputs[0].get_double(0), 2.5 + 0.5 * 2);
}

TEST(Loss, TheModelsOwn) {
  const Result<LossGraph> l = loss_graph("output:scores", {DType::f32, {4}});
  ASSERT_TRUE(l) << l.error().text();
  EXPECT_EQ(l->g.op_of(l->loss).name, "ReduceMean");
  EXPECT_TRUE(l->targets.empty());
  EXPECT_EQ(loss_graph("none", {DType::f32, {4}})->loss, kNoValue);
}

TEST(Loss, Refuses) {
  const auto refusal = [](const std::string& text, const TensorType& type = {DType::f32, {5, 4}}) {
    const auto l = loss_graph(text, type);
    return l ? "accepted" : l.error().text();
  };
  EXPECT_EQ(refusal("crossentropy"), "error: there is no loss \"crossentropy\"\n hint: did you mean cross_entropy?");
  EXPECT_EQ(refusal("mse(score)"), "error: loss mse: the model has no output \"score\"\n hint: did you mean scores?");
  EXPECT_THAT(refusal("huber(beta=1)"), HasSubstr("error: loss huber has no argument \"beta\""));
  EXPECT_EQ(refusal("cross_entropy", {DType::f32, {5}}),
            "error: loss cross_entropy wants an output of shape [N,classes,...], it is f32[5]");
  EXPECT_EQ(refusal("mse", {DType::i64, {5}}), "error: loss mse: output \"scores\" is i64[5], no float");
  EXPECT_EQ(refusal("nll(weights=[1,2])"), "error: loss nll: 2 weights for 4 classes");
  EXPECT_THAT(refusal("mse+l1"), HasSubstr("two losses want the target input"));
  EXPECT_THAT(refusal("mse(reduction=none)"), HasSubstr("expected mean or sum"));
}

}  // namespace
}  // namespace fcc
