// Training steps that a file brings (ONNX's training_info): emitted by fcc and compiled again they give the same
// losses; written by others they are read as ONNX says, with initialization, bindings, and the preview optimizers.
#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "frontend/onnx/import.h"
#include "tests/train/state.h"
#include "tools/compiled_model.h"
#include "tools/driver/train.h"

namespace fcc {
namespace {

namespace fs = std::filesystem;

class OwnStep : public testing::Test {
 protected:
  OwnStep() : folder_(fs::temp_directory_path() / ("fcc_own_step_" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~OwnStep() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ / name; }

  // A training library of a file, by its own step or by the options.
  CompiledModel compile(const std::string& model, bool own, const TrainOptions& options = {},
                        const std::string& emit = "") {
    const std::string library = path("net" + std::to_string(count_++) + ".so");
    const auto made = train_file(model, library, options, {"", emit}, {}, own);
    EXPECT_TRUE(made) << made.error().text();
    if (made) notes_ = made->compile.notes;
    Result<CompiledModel> m = CompiledModel::open(library, {.threads = 1, .entry = "train_step"});
    EXPECT_TRUE(m) << m.error().text();
    return std::move(*m);
  }

  fs::path folder_;
  int count_ = 0;
  std::vector<std::string> notes_;
};

Tensor wave(DType type, std::vector<int64_t> shape, double phase) {
  Tensor t(type, std::move(shape));
  for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, std::sin(1.7 * static_cast<double>(i) + phase));
  return t;
}

struct Emitted {
  const char *model, *optimizer;
  std::vector<int64_t> row;
  int64_t classes;
};

// 20 steps in double of the step that fcc makes, and of the one that comes back from the file.
TEST_F(OwnStep, EmittedStepsGiveTheSameLosses) {
  const Emitted cases[] = {{"mlp", "adam(lr=0.01)", {20}, 10},
                           {"bn_mlp", "rmsprop(momentum=0.9)", {8}, 0},
                           {"cnn", "sgd(lr=0.02,momentum=0.9,dampening=0.1)", {1, 12, 12}, 10},
                           {"encoder", "adamw(lr=0.003)", {6, 5}, 4}};
  for (const Emitted& c : cases) {
    TrainOptions options;
    options.f64 = true;
    options.loss = c.classes ? "cross_entropy" : "mse";
    options.optimizer = c.optimizer;
    options.clip_norm = 1;
    const std::string file = path(std::string(c.model) + ".onnx");
    CompiledModel made = compile(std::string(FCC_SOURCE_DIR "/tests/train/") + c.model + ".onnx", false, options, file);
    for (const std::string& note : notes_) EXPECT_EQ(note.find("domain"), note.npos) << c.model << ": " << note;
    if (HasFailure()) return;
    CompiledModel back = compile(file, true);
    if (HasFailure()) return;
    std::vector<int64_t> shape{6};
    shape.insert(shape.end(), c.row.begin(), c.row.end());
    for (int step = 0; step < 20; ++step) {
      std::vector<Tensor> inputs{wave(DType::f64, shape, step), Tensor()};
      if (c.classes) {
        std::vector<int64_t> labels;
        for (int64_t i = 0; i < 6; ++i) labels.push_back((7 * i + step) % c.classes);
        inputs[1] = Tensor::ints(labels);
      } else {
        inputs[1] = wave(DType::f64, {6, 1}, 0.3 * step);
      }
      const auto a = made.run(inputs), b = back.run(inputs);
      ASSERT_TRUE(a) << a.error().text();
      ASSERT_TRUE(b) << b.error().text();
      EXPECT_NEAR((*a)[0].get_double(0), (*b)[0].get_double(0), 1e-10) << c.model << " step " << step;
    }
    EXPECT_EQ(state_of(made, "hyper/step"), state_of(back, "hyper/step"));
    EXPECT_EQ(state_of(made, "hyper/lr"), state_of(back, "hyper/lr"));
  }
}

// ---- a file of somebody else: y = x w, the loss its mean square distance to t, ONNX's Gradient and Momentum
// ------------

onnx::NodeProto& node(onnx::GraphProto& g, const char* op, std::vector<const char*> in, std::vector<const char*> out,
                      const char* domain = "") {
  onnx::NodeProto& n = *g.add_node();
  n.set_op_type(op);
  n.set_domain(domain);
  for (const char* s : in) n.add_input(s);
  for (const char* s : out) n.add_output(s);
  return n;
}
void value(onnx::ValueInfoProto& v, const char* name, onnx::TensorProto::DataType type, std::vector<int64_t> shape) {
  v.set_name(name);
  auto& t = *v.mutable_type()->mutable_tensor_type();
  t.set_elem_type(type);
  t.mutable_shape();
  for (int64_t d : shape) t.mutable_shape()->add_dim()->set_dim_value(d);
}
void floats(onnx::TensorProto& t, const char* name, std::vector<int64_t> shape, std::vector<float> values) {
  t.set_name(name);
  t.set_data_type(onnx::TensorProto::FLOAT);
  for (int64_t d : shape) t.add_dims(d);
  for (float v : values) t.add_float_data(v);
}
void strings(onnx::NodeProto& n, const char* name, std::vector<const char*> values) {
  onnx::AttributeProto& a = *n.add_attribute();
  a.set_name(name);
  if (std::string_view(name) == "y") {
    a.set_type(onnx::AttributeProto::STRING), a.set_s(values[0]);
    return;
  }
  a.set_type(onnx::AttributeProto::STRINGS);
  for (const char* v : values) a.add_strings(v);
}
void number(onnx::NodeProto& n, const char* name, float v) {
  onnx::AttributeProto& a = *n.add_attribute();
  a.set_name(name), a.set_type(onnx::AttributeProto::FLOAT), a.set_f(v);
}

onnx::ModelProto foreign_model() {
  using onnx::TensorProto;
  constexpr const char* kPreview = "ai.onnx.preview.training";
  onnx::ModelProto m;
  m.set_ir_version(8);
  m.add_opset_import()->set_version(17);
  auto& preview = *m.add_opset_import();
  preview.set_domain(kPreview), preview.set_version(1);
  onnx::GraphProto& g = *m.mutable_graph();
  g.set_name("line");
  value(*g.add_input(), "x", TensorProto::FLOAT, {4, 2});
  value(*g.add_output(), "y", TensorProto::FLOAT, {4, 1});
  floats(*g.add_initializer(), "w", {2, 1}, {0, 0});
  node(g, "MatMul", {"x", "w"}, {"y"});

  onnx::TrainingInfoProto& training = *m.add_training_info();
  onnx::GraphProto& a = *training.mutable_algorithm();
  a.set_name("step");
  value(*a.add_input(), "t", TensorProto::FLOAT, {4, 1});
  floats(*a.add_initializer(), "R", {}, {0.1f});
  floats(*a.add_initializer(), "v", {2, 1}, {0, 0});
  TensorProto& count = *a.add_initializer();
  count.set_name("T"), count.set_data_type(TensorProto::INT64), count.add_int64_data(0);
  TensorProto& one = *a.add_initializer();
  one.set_name("one"), one.set_data_type(TensorProto::INT64), one.add_int64_data(1);
  node(a, "Sub", {"y", "t"}, {"d"});
  node(a, "Mul", {"d", "d"}, {"squares"});
  onnx::NodeProto& mean = node(a, "ReduceMean", {"squares"}, {"cost"});
  onnx::AttributeProto& keep = *mean.add_attribute();
  keep.set_name("keepdims"), keep.set_type(onnx::AttributeProto::INT), keep.set_i(0);
  onnx::NodeProto& gradient = node(a, "Gradient", {"w"}, {"dw"}, kPreview);
  strings(gradient, "xs", {"w"});
  strings(gradient, "y", {"cost"});
  onnx::NodeProto& momentum = node(a, "Momentum", {"R", "T", "w", "dw", "v"}, {"w_next", "v_next"}, kPreview);
  number(momentum, "alpha", 0.9f), number(momentum, "beta", 1), number(momentum, "norm_coefficient", 0);
  onnx::AttributeProto& mode = *momentum.add_attribute();
  mode.set_name("mode"), mode.set_type(onnx::AttributeProto::STRING), mode.set_s("standard");
  node(a, "Add", {"T", "one"}, {"T_next"});
  value(*a.add_output(), "cost", TensorProto::FLOAT, {});
  value(*a.add_output(), "w_next", TensorProto::FLOAT, {2, 1});
  value(*a.add_output(), "v_next", TensorProto::FLOAT, {2, 1});
  value(*a.add_output(), "T_next", TensorProto::INT64, {});
  for (auto [key, next] : {std::pair{"w", "w_next"}, {"v", "v_next"}, {"T", "T_next"}}) {
    auto& binding = *training.add_update_binding();
    binding.set_key(key), binding.set_value(next);
  }

  onnx::GraphProto& first = *training.mutable_initialization();
  first.set_name("first");
  onnx::NodeProto& draw = node(first, "RandomUniform", {}, {"drawn"});
  number(draw, "low", 2), number(draw, "high", 3), number(draw, "seed", 5);
  onnx::AttributeProto& shape = *draw.add_attribute();
  shape.set_name("shape"), shape.set_type(onnx::AttributeProto::INTS), shape.add_ints(2), shape.add_ints(1);
  node(first, "Neg", {"drawn"}, {"w_first"});
  value(*first.add_output(), "w_first", TensorProto::FLOAT, {2, 1});
  auto& binding = *training.add_initialization_binding();
  binding.set_key("w"), binding.set_value("w_first");
  return m;
}

std::string write(const onnx::ModelProto& m, const std::string& path) {
  std::ofstream(path, std::ios::binary) << m.SerializeAsString();
  return path;
}

TEST_F(OwnStep, OfAnotherTool) {
  CompiledModel net = compile(write(foreign_model(), path("line.onnx")), true);
  std::vector<double> w = state_of(net, "w"), v(2, 0);
  ASSERT_EQ(w.size(), 2u);
  for (double first : w) EXPECT_TRUE(first > -3 && first <= -2) << first;  // drawn, then negated
  EXPECT_NEAR(state_of(net, "hyper/lr").at(0), 0.1, 1e-7);
  const Tensor x = wave(DType::f32, {4, 2}, 0.5), t = wave(DType::f32, {4, 1}, 2);
  for (int step = 0; step < 10; ++step) {
    double loss = 0, g[2] = {0, 0};
    for (int64_t i = 0; i < 4; ++i) {
      const double d = x.get_double(2 * i) * w[0] + x.get_double(2 * i + 1) * w[1] - t.get_double(i);
      loss += d * d / 4;
      for (int64_t k = 0; k < 2; ++k) g[k] += d * x.get_double(2 * i + k) / 2;
    }
    const Tensor inputs[] = {x, t};
    const auto out = net.run(inputs);
    ASSERT_TRUE(out) << out.error().text();
    EXPECT_NEAR((*out)[0].get_double(0), loss, 1e-5 * std::max(1.0, loss)) << step;
    for (size_t k = 0; k < 2; ++k) v[k] = 0.9 * v[k] + g[k], w[k] -= 0.1 * v[k];
  }
  for (size_t k = 0; k < 2; ++k) EXPECT_NEAR(state_of(net, "w")[k], w[k], 1e-5);
  EXPECT_EQ(state_of(net, "T"), std::vector<double>{10});
}

TEST_F(OwnStep, BadBindingsAreRefused) {
  const auto refusal = [&](const std::function<void(onnx::ModelProto&)>& change) {
    onnx::ModelProto m = foreign_model();
    change(m);
    const auto made = train_file(write(m, path("bad.onnx")), path("bad.so"), {}, {}, {}, true);
    return made ? "accepted" : made.error().what;
  };
  EXPECT_EQ(refusal([](auto&) {}), "accepted");
  EXPECT_EQ(refusal([](auto& m) { m.mutable_training_info(0)->mutable_update_binding(0)->set_key("u"); }),
            "the training updates \"u\", which is no initializer");
  EXPECT_EQ(refusal([](auto& m) { m.mutable_training_info(0)->mutable_update_binding(0)->set_value("u"); }),
            "the training updates \"w\" by \"u\", which nothing makes");
  EXPECT_EQ(refusal([](auto& m) { m.mutable_training_info(0)->mutable_update_binding(2)->set_value("v_next"); }),
            "the training updates \"T\" of type i64[] by \"v_next\" of type f32[2,1]");
  EXPECT_EQ(refusal([](auto& m) { m.mutable_training_info(0)->mutable_update_binding(1)->set_key("w"); }),
            "the training updates \"w\" twice");
  EXPECT_EQ(
      refusal([](auto& m) { m.mutable_training_info(0)->mutable_algorithm()->mutable_output()->DeleteSubrange(0, 1); }),
      "the model's training step gives no loss");
  EXPECT_EQ(refusal([](auto& m) { *m.add_training_info() = m.training_info(0); }),
            "the model has 2 training_info; one is supported");
}

}  // namespace
}  // namespace fcc
