// Old forms of operators give what their opset promised: hand values, through the interpreter.
#include <cmath>

#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

using onnx::AttributeProto;
using Build = std::function<void(ModelMaker&, onnx::NodeProto&)>;

void floats(onnx::NodeProto& n, const std::string& name, std::vector<float> values) {
  auto& a = attribute(n, name, AttributeProto::FLOATS);
  for (float v : values) a.add_floats(v);
}
void weight(ModelMaker& m, onnx::NodeProto& n, const std::string& name, Ints dims, std::vector<float> values) {
  m.floats(name, dims, values);
  n.add_input(name);
}
void ints(ModelMaker& m, onnx::NodeProto& n, const std::string& name, Ints values) {
  m.ints(name, {static_cast<int64_t>(values.size())}, values);
  n.add_input(name);
}

// y = op(x, ...) at the given opset.
std::vector<Tensor> old(
    const std::string& op, int64_t opset, const Tensor& x, const Build& build = [](ModelMaker&, onnx::NodeProto&) {},
    int results = 1) {
  ModelMaker m(opset);
  std::vector<MadeDim> dims(x.shape().begin(), x.shape().end());
  m.input("x", dims);
  auto& n = m.node(op, {"x"}, {"y"}, "n");
  m.output("y");
  for (int k = 1; k < results; ++k) {
    n.add_output("y" + std::to_string(k));
    m.output("y" + std::to_string(k));
  }
  build(m, n);
  return run(m, {x});
}
Doubles values(const std::vector<Tensor>& t, size_t k = 0) {
  return t.at(k).to_doubles();
}

TEST(Upgrade, SqueezeUnsqueeze11) {
  EXPECT_EQ(old("Squeeze", 11, iota({1, 2, 1}), [](auto&, auto& n) { set(n, "axes", Ints{0, -1}); })[0].shape(),
            (Ints{2}));
  EXPECT_EQ(old("Squeeze", 11, iota({1, 2, 1}))[0].shape(), (Ints{2}));
  EXPECT_EQ(old("Unsqueeze", 11, iota({2}), [](auto&, auto& n) { set(n, "axes", Ints{0, 2}); })[0].shape(),
            (Ints{1, 2, 1}));
}

TEST(Upgrade, Split) {
  const std::vector<Tensor> sized = old("Split", 11, iota({5}), [](auto&, auto& n) { set(n, "split", Ints{2, 3}); }, 2);
  EXPECT_EQ(values(sized), (Doubles{0, 1}));
  EXPECT_EQ(values(sized, 1), (Doubles{2, 3, 4}));
  for (int64_t opset : {11, 13, 17})
    EXPECT_EQ(values(old("Split", opset, iota({4}), [](auto&, auto&) {}, 2), 1), (Doubles{2, 3}));
  EXPECT_EQ(
      values(old("Split", 13, iota({5}), [](auto& m, auto& n) { ints(m, n, "sizes", {4, 1}); }, 2), 1), (Doubles{4}));
}

TEST(Upgrade, Reductions) {
  const Build axis1 = [](auto&, auto& n) { set(set(n, "axes", Ints{1}), "keepdims", 0); };
  EXPECT_EQ(values(old("ReduceSum", 11, iota({2, 3}), axis1)), (Doubles{3, 12}));
  for (int64_t opset : {7, 13, 17}) {
    EXPECT_EQ(values(old("ReduceMean", opset, iota({2, 3}), axis1)), (Doubles{1, 4}));
    EXPECT_EQ(values(old("ReduceMax", opset, iota({2, 3}), axis1)), (Doubles{2, 5}));
  }
  EXPECT_EQ(values(old("ReduceMin", 11, iota({2, 3}))), (Doubles{0}));
  EXPECT_EQ(values(old("ReduceSum", 13, iota({2, 3}), [](auto& m, auto& n) { ints(m, n, "axes", {0}); })),
            (Doubles{3, 5, 7}));
}

TEST(Upgrade, Slice1) {
  EXPECT_EQ(values(old("Slice", 9, iota({2, 3}),
                       [](auto&, auto& n) { set(set(set(n, "axes", Ints{1}), "starts", Ints{1}), "ends", Ints{9}); })),
            (Doubles{1, 2, 4, 5}));
  EXPECT_EQ(values(old("Slice", 9, iota({2, 3}),
                       [](auto&, auto& n) { set(set(n, "starts", Ints{1, 0}), "ends", Ints{2, -1}); })),
            (Doubles{3, 4}));
}

TEST(Upgrade, Pad2) {
  EXPECT_EQ(values(old("Pad", 10, iota({2}), [](auto&, auto& n) { set(set(n, "pads", Ints{1, 2}), "value", 9.0f); })),
            (Doubles{9, 0, 1, 9, 9}));
  EXPECT_EQ(
      values(old("Pad", 10, iota({3}), [](auto&, auto& n) { set(set(n, "pads", Ints{1, 1}), "mode", "reflect"); })),
      (Doubles{1, 0, 1, 2, 1}));
}

TEST(Upgrade, Clip6) {
  const Tensor x = f32({4}, {-9, -1, 1, 9});
  EXPECT_EQ(values(old("Clip", 6, x, [](auto&, auto& n) { set(set(n, "min", -2.0f), "max", 2.0f); })),
            (Doubles{-2, -1, 1, 2}));
  EXPECT_EQ(values(old("Clip", 10, x, [](auto&, auto& n) { set(n, "max", 0.0f); })), (Doubles{-9, -1, 0, 0}));
  EXPECT_EQ(values(old("Clip", 10, x)), (Doubles{-9, -1, 1, 9}));
}

TEST(Upgrade, DropoutIsTheIdentity) {
  EXPECT_EQ(values(old("Dropout", 7, iota({3}), [](auto&, auto& n) { set(n, "ratio", 0.9f); })), (Doubles{0, 1, 2}));
  EXPECT_EQ(values(old("Dropout", 10, iota({3}), [](auto&, auto& n) { set(n, "ratio", 0.9f); })), (Doubles{0, 1, 2}));
  const std::vector<Tensor> masked = old("Dropout", 7, iota({3}), [](auto&, auto&) {}, 2);
  EXPECT_EQ(masked.at(1).dtype(), DType::f32);  // a mask of the data's type before opset 10
  EXPECT_EQ(values(masked, 1), (Doubles{1, 1, 1}));
  EXPECT_EQ(old("Dropout", 10, iota({3}), [](auto&, auto&) {}, 2).at(1).dtype(), DType::boolean);
}

Build batch_norm_weights() {
  return [](ModelMaker& m, onnx::NodeProto& n) {
    weight(m, n, "scale", {2}, {1, 2});
    weight(m, n, "bias", {2}, {0, 1});
    weight(m, n, "mean", {2}, {1, 1});
    weight(m, n, "var", {2}, {1, 4});
    set(n, "epsilon", 0.0f);
  };
}

TEST(Upgrade, BatchNormalization) {
  const Tensor x = f32({1, 2, 2}, {1, 2, 3, 5});
  const Doubles expected = {0, 1, 3, 5};
  for (int64_t opset : {7, 9, 14, 15})
    EXPECT_EQ(values(old("BatchNormalization", opset, x, batch_norm_weights())), expected) << opset;
  EXPECT_EQ(values(old("BatchNormalization", 8, x,
                       [](auto& m, auto& n) {
                         batch_norm_weights()(m, n);
                         set(n, "spatial", 1);
                       })),
            expected);
}

TEST(Upgrade, SoftmaxCountedAllLaterAxesAsOne) {
  const Tensor x = f32({2, 2, 2}, std::vector<float>(8, 0));
  EXPECT_EQ(values(old("Softmax", 11, x)), Doubles(8, 0.25));  // default axis 1: rows of 4
  EXPECT_EQ(values(old("Softmax", 11, x, [](auto&, auto& n) { set(n, "axis", 0); })), Doubles(8, 0.125));  // rows of 8
  EXPECT_EQ(values(old("Softmax", 11, x, [](auto&, auto& n) { set(n, "axis", -1); })), Doubles(8, 0.5));   // rows of 2
  EXPECT_EQ(values(old("Softmax", 13, x, [](auto&, auto& n) { set(n, "axis", 1); })),
            Doubles(8, 0.5));  // the axis alone
  EXPECT_EQ(values(old("Hardmax", 11, f32({1, 2, 2}, {1, 5, 3, 2}))), (Doubles{0, 1, 0, 0}));
  EXPECT_NEAR(values(old("LogSoftmax", 11, x))[0], std::log(0.25), 1e-6);
}

TEST(Upgrade, SoftmaxStaysOneNodeWhereItCan) {
  ModelMaker m(11);
  m.input("x", {"N", 10, 1, 1});
  m.node("Softmax", {"x"}, {"y"});
  m.output("y");
  EXPECT_EQ(import_good(m).graph.order().size(), 1u);
  ModelMaker open(11);
  open.input("x", {"N", 3, "W"});
  open.node("Softmax", {"x"}, {"y"});
  open.output("y");
  const Import i = import_good(open);
  EXPECT_EQ(i.graph.value(i.graph.outputs[0]).type.text(), "f32[N,3,W]");
  EXPECT_EQ(i.graph.value(i.graph.outputs[0]).name, "y");
}

TEST(Upgrade, UpsampleAndOldResize) {
  const Tensor x = f32({1, 1, 1, 2}, {1, 2});
  const Doubles doubled = {1, 1, 2, 2, 1, 1, 2, 2};
  EXPECT_EQ(values(old("Upsample", 7, x, [](auto&, auto& n) { floats(n, "scales", {1, 1, 2, 2}); })), doubled);
  EXPECT_EQ(values(old("Upsample", 9, x, [](auto& m, auto& n) { weight(m, n, "s", {4}, {1, 1, 2, 2}); })), doubled);
  EXPECT_EQ(values(old("Resize", 10, x, [](auto& m, auto& n) { weight(m, n, "s", {4}, {1, 1, 2, 2}); })), doubled);
  // linear was asymmetric: samples at 0, 0.5, 1, 1.5, held at the end
  EXPECT_EQ(values(old("Resize", 10, x,
                       [](auto& m, auto& n) {
                         weight(m, n, "s", {4}, {1, 1, 1, 2});
                         set(n, "mode", "linear");
                       })),
            (Doubles{1, 1.5, 2, 2}));
}

TEST(Upgrade, Resize11MarksAbsentOperandsByEmptyTensors) {
  EXPECT_EQ(values(old("Resize", 11, f32({1, 1, 1, 2}, {1, 2}),
                       [](auto& m, auto& n) {
                         weight(m, n, "roi", {0}, {});
                         weight(m, n, "scales", {0}, {});
                         ints(m, n, "sizes", {1, 1, 1, 4});
                       })),
            (Doubles{1, 1, 2, 2}));
}

TEST(Upgrade, TopK1) {
  if (!registry().find("TopK")) GTEST_SKIP() << "TopK is not implemented yet";
  const std::vector<Tensor> t = old("TopK", 9, f32({4}, {3, 9, 1, 7}), [](auto&, auto& n) { set(n, "k", 2); }, 2);
  EXPECT_EQ(values(t), (Doubles{9, 7}));
  EXPECT_EQ(values(t, 1), (Doubles{1, 3}));
}

TEST(Upgrade, ScatterIsScatterElements) {
  EXPECT_EQ(values(old("Scatter", 9, iota({4}),
                       [](auto& m, auto& n) {
                         ints(m, n, "i", {2, 0});
                         weight(m, n, "u", {2}, {7, 8});
                       })),
            (Doubles{8, 1, 7, 3}));
}

TEST(Upgrade, CastAndCastLike) {
  EXPECT_EQ(old("Cast", 9, f32({2}, {1.7f, 2}), [](auto&, auto& n) { set(n, "to", kInt64); })[0].to_ints(),
            (Ints{1, 2}));
  const std::vector<Tensor> like = old("CastLike", 19, f32({2}, {1.7f, 2}), [](auto& m, auto& n) {
    ints(m, n, "like", {0});
    set(n, "saturate", 1);
  });
  EXPECT_EQ(like[0].dtype(), DType::i64);
  EXPECT_EQ(like[0].to_ints(), (Ints{1, 2}));
}

TEST(Upgrade, GroupNormalization18ScalesByGroup) {
  // two groups of two channels, each group normalised to -1, 1, -1, 1
  const Tensor x = f32({1, 4, 2}, {0, 2, 0, 2, 5, 9, 5, 9});
  const std::vector<Tensor> y = old("GroupNormalization", 18, x, [](auto& m, auto& n) {
    weight(m, n, "scale", {2}, {1, 10});
    weight(m, n, "bias", {2}, {0, 100});
    set(set(n, "num_groups", 2), "epsilon", 0.0f);
  });
  EXPECT_EQ(values(y), (Doubles{-1, 1, -1, 1, 90, 110, 90, 110}));
}

TEST(Upgrade, BroadcastBefore7) {
  const Tensor x = iota({2, 3, 2});
  const Build at_axis_1 = [](ModelMaker& m, onnx::NodeProto& n) {
    weight(m, n, "b", {3}, {100, 200, 300});
    set(set(n, "broadcast", 1), "axis", 1);
  };
  EXPECT_EQ(values(old("Add", 6, x, at_axis_1)), (Doubles{100, 101, 202, 203, 304, 305, 106, 107, 208, 209, 310, 311}));
  EXPECT_EQ(values(old("Mul", 6, iota({2, 2}),
                       [](auto& m, auto& n) {
                         weight(m, n, "b", {2}, {10, 100});
                         set(n, "broadcast", 1);
                       })),
            (Doubles{0, 100, 20, 300}));
}

TEST(Upgrade, PReluBefore7TookASlopePerChannel) {
  EXPECT_EQ(
      values(old("PRelu", 6, f32({1, 2, 2}, {-1, 1, -1, 1}), [](auto& m, auto& n) { weight(m, n, "s", {2}, {2, 3}); })),
      (Doubles{-2, 1, -3, 1}));
}

TEST(Upgrade, HintsAndTestModeBefore7) {
  EXPECT_EQ(values(old("Relu", 1, f32({2}, {-1, 1}), [](auto&, auto& n) { set(n, "consumed_inputs", Ints{0}); })),
            (Doubles{0, 1}));
  EXPECT_EQ(values(old("Dropout", 6, iota({2}), [](auto&, auto& n) { set(n, "is_test", 1); })), (Doubles{0, 1}));
  EXPECT_EQ(old("Reshape", 1, iota({2, 2}), [](auto&, auto& n) { set(n, "shape", Ints{4}); })[0].shape(), (Ints{4}));
  EXPECT_EQ(old("Cast", 1, iota({2}), [](auto&, auto& n) { set(n, "to", "INT32"); })[0].dtype(), DType::i32);
}

// Two tensors at once; v' = alpha v + g, x' = x - r v'; with Nesterov x' = x - r (g + alpha v').
TEST(Upgrade, PreviewOptimizerIsSpelledOut) {
  for (const bool nesterov : {false, true}) {
    ModelMaker m;
    m.import("ai.onnx.preview.training", 1);
    m.floats("r", {}, {0.5f});
    m.ints("t", {}, {3});
    for (const char* name : {"x1", "x2", "g1", "g2", "v1", "v2"}) m.input(name, {1});
    auto& n = m.node("Momentum", {"r", "t", "x1", "x2", "g1", "g2", "v1", "v2"}, {"nx1", "nx2", "nv1", "nv2"});
    n.set_domain("ai.onnx.preview.training");
    set(set(set(set(n, "alpha", 0.5f), "beta", 1.0f), "norm_coefficient", 0.0f), "mode",
        nesterov ? "nesterov" : "standard");
    for (const char* name : {"nx1", "nx2", "nv1", "nv2"}) m.output(name);
    const std::vector<Tensor> y =
        run(m, {f32({1}, {10}), f32({1}, {20}), f32({1}, {1}), f32({1}, {2}), f32({1}, {4}), f32({1}, {8})});
    ASSERT_EQ(y.size(), 4u);
    EXPECT_EQ(values(y, 2), (Doubles{3}));
    EXPECT_EQ(values(y, 3), (Doubles{6}));
    EXPECT_EQ(values(y, 0), (Doubles{nesterov ? 8.75 : 8.5}));
    EXPECT_EQ(values(y, 1), (Doubles{nesterov ? 17.5 : 17.0}));
  }
}

// ONNX's case test_adam_multiple, with the epsilon that its file leaves out although its outputs were computed with it.
TEST(Upgrade, PreviewAdamOfSeveralTensors) {
  ModelMaker m;
  m.import("ai.onnx.preview.training", 1);
  m.floats("r", {}, {0.1f});
  m.ints("t", {}, {0});
  for (const char* name : {"x", "g", "v", "h"}) {
    m.input(std::string(name) + "1", {1});
    m.input(std::string(name) + "2", {2});
  }
  auto& n = m.node("Adam", {"r", "t", "x1", "x2", "g1", "g2", "v1", "v2", "h1", "h2"}, {"nx1", "nx2", "nv1", "nv2", "nh1", "nh2"});
  n.set_domain("ai.onnx.preview.training");
  set(set(set(set(n, "alpha", 0.95f), "beta", 0.85f), "norm_coefficient", 0.001f), "epsilon", 0.01f);
  for (const char* name : {"nx1", "nx2", "nv1", "nv2", "nh1", "nh2"}) m.output(name);
  const std::vector<Tensor> y = run(m, {f32({1}, {1}), f32({2}, {1, 2}), f32({1}, {-1}), f32({2}, {-1, -3}), f32({1}, {2}), f32({2}, {4, 1}),
                                        f32({1}, {0.5f}), f32({2}, {1, 10})});
  ASSERT_EQ(y.size(), 6u);
  const std::vector<std::vector<double>> expected = {{0.75913626}, {0.6286528, 1.9745853}, {1.85005}, {3.75005, 0.80009997}, {0.5747002}, {0.9997002, 9.848201}};
  for (size_t k = 0; k < y.size(); ++k)
    for (size_t i = 0; i < expected[k].size(); ++i) EXPECT_NEAR(y[k].get_double(static_cast<int64_t>(i)), expected[k][i], 2.5e-7 * std::max(1.0, expected[k][i]));
}

TEST(Upgrade, ArgumentsOfTheNewestFormPassUnchanged) {
  EXPECT_EQ(values(old("ReduceSum", 18, iota({2, 3}), [](auto& m, auto& n) { ints(m, n, "axes", {0}); })),
            (Doubles{3, 5, 7}));
  EXPECT_EQ(values(old("Clip", 13, f32({3}, {-9, 0, 9}), [](auto& m, auto& n) { weight(m, n, "low", {}, {-1}); })),
            (Doubles{-1, 0, 9}));
}

}  // namespace
}  // namespace fcc::test
