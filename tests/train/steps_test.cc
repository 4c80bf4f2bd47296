// From ONNX file to trained weights: 200 steps of small networks against PyTorch (export_steps.py), in double and
// float, and what a training library promises around it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/train/state.h"
#include "tools/compiled_model.h"
#include "tools/driver/train.h"

namespace fcc {
namespace {

using Json = nlohmann::json;

const Json& fixture() {
  static const Json json = Json::parse(std::ifstream(FCC_SOURCE_DIR "/tests/train/steps.json"));
  return json;
}

// Numbers of [-1, 1]: those of export_steps.py.
std::vector<double> sequence(size_t n, uint64_t offset) {
  std::vector<double> v;
  for (uint64_t i = offset; i < offset + n; ++i) {
    uint64_t x = i * 2862933555777941757u + 3037000493u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    v.push_back(static_cast<double>(x >> 40) / 8388608.0 - 1);
  }
  return v;
}

Tensor tensor(DType type, std::vector<int64_t> shape, const std::vector<double>& values) {
  Tensor t(type, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) t.set_double(static_cast<int64_t>(i), values[i]);
  return t;
}

struct Batch {
  std::vector<Tensor> inputs;  // x, target
};
Batch batch_of(const Json& net, DType type, int64_t step, int64_t size) {
  const int64_t classes = net["classes"];
  std::vector<int64_t> shape{size};
  size_t row = 1;
  for (int64_t d : net["row"].get<std::vector<int64_t>>()) {
    shape.push_back(d);
    row *= static_cast<size_t>(d);
  }
  const std::vector<double> x = sequence(static_cast<size_t>(size) * row, 1000003 * static_cast<uint64_t>(step % 8));
  Batch b;
  b.inputs.push_back(tensor(type, shape, x));
  if (classes > 0) {
    std::vector<int64_t> labels;
    for (double u : sequence(static_cast<size_t>(size), 7919 * static_cast<uint64_t>(step % 8)))
      labels.push_back(
          std::clamp<int64_t>(static_cast<int64_t>((u + 1) / 2 * static_cast<double>(classes)), 0, classes - 1));
    b.inputs.push_back(Tensor::ints(labels));
  } else {
    std::vector<double> t;
    for (size_t r = 0; r < static_cast<size_t>(size); ++r) t.push_back(std::sin(3 * x[r * row]) + x[r * row + 1]);
    b.inputs.push_back(tensor(type, {size, 1}, t));
  }
  return b;
}

class Library {
 public:
  Library(const std::string& name, const TrainOptions& options) {
    static int count = 0;
    path = std::filesystem::temp_directory_path() /
           ("fcc_train_" + std::to_string(getpid()) + "_" + std::to_string(count++) + ".so");
    const auto made = train_file(std::string(FCC_SOURCE_DIR "/tests/train/") + name + ".onnx", path, options, {}, {});
    EXPECT_TRUE(made) << made.error().text();
    if (made) report = *made;
  }
  ~Library() { std::filesystem::remove(path); }
  CompiledModel open(const std::string& entry, int threads = 1) const {
    Result<CompiledModel> m = CompiledModel::open(path, {.threads = threads, .entry = entry});
    EXPECT_TRUE(m) << m.error().text();
    return std::move(*m);
  }
  std::string path;
  TrainReport report;
};

const Json& net_named(const std::string& name) {
  for (const Json& n : fixture()["nets"])
    if (n["name"] == name) return n;
  ADD_FAILURE() << name;
  return fixture()["nets"][0];
}

TrainOptions options_for(const Json& net, bool f64 = false) {
  TrainOptions o;
  o.loss = net["loss"];
  o.optimizer = net["optimizer"];
  o.f64 = f64;
  return o;
}

class Steps : public testing::TestWithParam<const char*> {};

// Losses and weights within max(1e-9, 5 gap) in double and max(1e-3, 5 gap) in float, gap: what PyTorch shows against
// itself.
TEST_P(Steps, FollowPyTorch) {
  const Json& net = net_named(GetParam());
  for (const bool f64 : {true, false}) {
    const Json& expected = net[f64 ? "f64" : "f32"];
    const double least = f64 ? 1e-9 : 1e-3;
    const Library library(net["name"], options_for(net, f64));
    CompiledModel model = library.open("train_step");
    const double tolerance = std::max(least, 5 * expected["loss_gap"].get<double>());
    for (size_t step = 0; step < expected["losses"].size(); ++step) {
      const Batch b = batch_of(net, f64 ? DType::f64 : DType::f32, static_cast<int64_t>(step), net["batch"]);
      const auto outputs = model.run(b.inputs);
      ASSERT_TRUE(outputs) << outputs.error().text();
      const double loss = (*outputs)[0].get_double(0), want = expected["losses"][step];
      ASSERT_LE(std::abs(loss - want), tolerance * std::max(1.0, std::abs(want)))
          << net["name"] << (f64 ? " f64" : " f32") << " step " << step << ": " << loss << " for " << want;
    }
    for (const auto& [name, summary] : expected["weights"].items()) {
      const std::vector<double> w = state_of(model, name);
      ASSERT_FALSE(w.empty()) << name;
      double norm = 0, projection = 0;
      for (size_t i = 0; i < w.size(); ++i)
        norm += w[i] * w[i], projection += w[i] * std::cos(static_cast<double>(i) + 1);
      const double near = std::max(least, 5 * expected["weight_gaps"][name].get<double>());
      const double want_norm = summary[0], want_projection = summary[1];
      EXPECT_LE(std::abs(std::sqrt(norm) - want_norm), near * std::max(1.0, want_norm))
          << name << (f64 ? " f64" : " f32");
      EXPECT_LE(std::abs(projection - want_projection), near * std::max(1.0, std::abs(want_projection)))
          << name << (f64 ? " f64" : " f32");
    }
    EXPECT_EQ(state_of(model, "hyper/step"), std::vector<double>{static_cast<double>(expected["losses"].size())});
  }
}
INSTANTIATE_TEST_SUITE_P(Nets, Steps, testing::Values("mlp", "bn_mlp", "cnn", "encoder", "recurrent"),
                         [](const auto& info) { return std::string(info.param); });

// The bits of the weights do not depend on the threads, and a library compiled twice has the same bytes.
TEST(Train, SameBitsForAnyThreads) {
  const Json& net = net_named("mlp");
  TrainOptions options = options_for(net);
  options.dropout = {"relu|Relu=0.3"};
  options.clip_norm = 0.5;
  const Library library("mlp", options);
  std::vector<std::vector<double>> weights;
  for (int threads : {1, 2, 3}) {
    CompiledModel model = library.open("train_step", threads);
    for (int64_t step = 0; step < 10; ++step) {
      const Batch b = batch_of(net, DType::f32, step, 200);
      ASSERT_TRUE(model.run(b.inputs));
    }
    weights.push_back(state_of(model, "2.weight"));
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_EQ(weights[0], weights[2]);
}

// gradients + apply is train_step, and three micro-batches of a third are one step of the whole.
TEST(Train, AccumulatedGradientsAreOneStep) {
  const Json& net = net_named("mlp");
  TrainOptions options = options_for(net, true);
  options.gradients = true;
  const Library library("mlp", options);
  CompiledModel whole = library.open("train_step"), parts = library.open("gradients");
  fcc_session* apply = nullptr;
  ASSERT_EQ(fcc_session_entry(parts.session(), "apply", &apply), FCC_OK);
  for (int64_t step = 0; step < 4; ++step) {
    const Batch b = batch_of(net, DType::f64, step, 12);
    ASSERT_TRUE(whole.run(b.inputs));
    for (int64_t part = 0; part < 3; ++part) {
      std::vector<Tensor> inputs;
      for (const Tensor& t : b.inputs) {
        std::vector<int64_t> shape = t.shape();
        shape[0] = 4;
        inputs.push_back(
            Tensor::view(t.dtype(), shape, t.raw() + part * 4 * (t.bytes() / 12), std::make_shared<Tensor>(t)));
      }
      ASSERT_TRUE(parts.run(inputs));
    }
    EXPECT_EQ(state_of(parts, "hyper/accumulated"), std::vector<double>{3});
    ASSERT_EQ(fcc_session_run(apply), FCC_OK) << fcc_error_text();
    EXPECT_EQ(state_of(parts, "hyper/accumulated"), std::vector<double>{0});
    for (const char* name : {"0.weight", "2.bias", "4.weight"})
      EXPECT_THAT(state_of(parts, name), testing::Pointwise(testing::DoubleNear(1e-9), state_of(whole, name)))
          << name << " step " << step;
  }
  fcc_session_close(apply);
}

// A label out of range: the run says so and nothing has changed.
TEST(Train, BadLabelsLeaveTheWeightsAlone) {
  const Json& net = net_named("mlp");
  const Library library("mlp", options_for(net));
  CompiledModel model = library.open("train_step");
  Batch b = batch_of(net, DType::f32, 0, 8);
  ASSERT_TRUE(model.run(b.inputs));
  const std::vector<double> before = state_of(model, "0.weight"), slot = state_of(model, "optim/0.weight/v");
  b.inputs[1].set_int(5, 10);
  const auto refused = model.run(b.inputs);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("a label is outside of the classes"));
  b.inputs[1].set_int(5, 1);
  b.inputs[0].set_double(3, NAN);
  const auto not_finite = model.run(b.inputs);
  ASSERT_FALSE(not_finite);
  EXPECT_THAT(not_finite.error().text(), testing::HasSubstr("the loss is not finite"));
  EXPECT_EQ(state_of(model, "0.weight"), before);
  EXPECT_EQ(state_of(model, "optim/0.weight/v"), slot);
  EXPECT_EQ(state_of(model, "hyper/step"), std::vector<double>{1});
}

TEST(Train, ABatchOfOneThroughBatchNormIsRefused) {
  const Json& net = net_named("bn_mlp");
  const Library library("bn_mlp", options_for(net));
  CompiledModel model = library.open("train_step");
  const auto refused = model.run(batch_of(net, DType::f32, 0, 1).inputs);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("more than one value a channel"));
  ASSERT_TRUE(model.run(batch_of(net, DType::f32, 0, 2).inputs));
}

// infer and evaluate see the live weights and keep the stored statistics; a short batch works.
TEST(Train, EntriesShareTheWeights) {
  const Json& net = net_named("bn_mlp");
  const Library library("bn_mlp", options_for(net));
  CompiledModel model = library.open("train_step");
  fcc_session *evaluate = nullptr, *infer = nullptr;
  ASSERT_EQ(fcc_session_entry(model.session(), "evaluate", &evaluate), FCC_OK);
  ASSERT_EQ(fcc_session_entry(model.session(), "infer", &infer), FCC_OK);
  const auto loss_now = [&] {
    const Batch b = batch_of(net, DType::f32, 0, 5);
    for (uint32_t k = 0; k < 2; ++k) {
      const fcc_tensor t{const_cast<std::byte*>(b.inputs[k].raw()), static_cast<uint32_t>(b.inputs[k].dtype()),
                         static_cast<uint32_t>(b.inputs[k].rank()), b.inputs[k].shape().data(), nullptr};
      EXPECT_EQ(fcc_session_bind_input(evaluate, k, &t), FCC_OK) << fcc_error_text();
    }
    EXPECT_EQ(fcc_session_run(evaluate), FCC_OK) << fcc_error_text();
    fcc_tensor loss{};
    EXPECT_EQ(fcc_session_output(evaluate, 0, &loss), FCC_OK);
    return *static_cast<const float*>(loss.data);
  };
  const float before = loss_now();
  EXPECT_EQ(before, loss_now());  // evaluating changes nothing
  for (int64_t step = 0; step < 100; ++step) ASSERT_TRUE(model.run(batch_of(net, DType::f32, step, 12).inputs));
  EXPECT_LT(loss_now(), 0.5F * before);
  EXPECT_STREQ(fcc_session_table(infer)->outputs[0].name, "y");
  fcc_session_close(evaluate);
  fcc_session_close(infer);
}

TEST(Train, FrozenParametersStayAndCostNothing) {
  const Json& net = net_named("mlp");
  TrainOptions options = options_for(net);
  options.trainable = {"^4\\."};
  const Library frozen("mlp", options), full("mlp", options_for(net));
  EXPECT_LT(frozen.report.trained, frozen.report.parameters);
  CompiledModel model = frozen.open("train_step"), all = full.open("train_step");
  EXPECT_LT(model.table().n_steps, all.table().n_steps);
  const std::vector<double> before = state_of(model, "0.weight"), head = state_of(model, "4.weight");
  ASSERT_TRUE(model.run(batch_of(net, DType::f32, 0, 8).inputs));
  EXPECT_EQ(state_of(model, "0.weight"), before);
  EXPECT_NE(state_of(model, "4.weight"), head);
  EXPECT_TRUE(state_of(model, "optim/0.weight/m").empty());
}

// Dropout: its mean is the value, each step draws anew, and the seed decides.
TEST(Train, DropoutDrawsByStepAndSeed) {
  const Json& net = net_named("mlp");
  TrainOptions options = options_for(net);
  options.optimizer = "sgd(lr=0)";
  options.dropout = {"Relu=0.5"};
  const Library library("mlp", options);
  CompiledModel model = library.open("train_step");
  const Batch b = batch_of(net, DType::f32, 0, 4);
  const auto first = model.run(b.inputs), second = model.run(b.inputs);
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)[0].get_double(0), (*second)[0].get_double(0));
  ASSERT_EQ(fcc_session_reset_state(model.session()), FCC_OK);
  const auto again = model.run(b.inputs);
  EXPECT_EQ((*first)[0].get_double(0), (*again)[0].get_double(0));
}

}  // namespace
}  // namespace fcc
