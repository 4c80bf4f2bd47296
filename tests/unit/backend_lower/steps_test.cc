// How many kernels the networks of the performance page become, and that none of them only changes a layout. Channels
// are narrow, everything else is as in torchvision.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/joint_buffers.h"
#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

Attrs window(int64_t kernel, int64_t stride, int64_t group = 1) {
  return {{"strides", std::vector<int64_t>{stride, stride}}, {"pads", std::vector<int64_t>(4, kernel / 2)}, {"group", group}};
}

ValueId relu(GraphMaker& g, ValueId x) { return g("Relu", {x}); }

Graph classifier(GraphMaker& g, ValueId x, int64_t channels) {
  x = g("Flatten", {g("GlobalAveragePool", {x})}, {{"axis", int64_t{1}}});
  return g.finish({g("Add", {g("MatMul", {x, g.constant({channels, 10}, 0.1)}), g.constant({10}, 0.1)})});
}

ValueId stem_pool(GraphMaker& g, ValueId x) {
  return g("MaxPool", {x}, {{"kernel_shape", std::vector<int64_t>{3, 3}}, {"strides", std::vector<int64_t>{2, 2}}, {"pads", std::vector<int64_t>(4, 1)}});
}

Graph resnet50(const SymExpr& batch) {
  GraphMaker g;
  ValueId x = stem_pool(g, relu(g, g.conv(g.input({batch, 3, 64, 64}), 16, 7, window(7, 2))));
  for (const auto& [width, blocks] : {std::pair(16, 3), std::pair(32, 4), std::pair(48, 6), std::pair(64, 3)})
    for (int i = 0; i < blocks; ++i) {
      const int64_t stride = i == 0 && width > 16 ? 2 : 1;
      ValueId y = relu(g, g.conv(x, width, 1));
      y = relu(g, g.conv(y, width, 3, window(3, stride)));
      y = g.conv(y, 4 * width, 1);
      x = relu(g, g("Add", {y, i == 0 ? g.conv(x, 4 * width, 1, window(1, stride)) : x}));
    }
  return classifier(g, x, 256);
}

Graph mobilenet_v2(const SymExpr& batch) {
  GraphMaker g;
  ValueId x = relu(g, g.conv(g.input({batch, 3, 64, 64}), 32, 3, window(3, 2)));
  int64_t channels = 32;
  struct Stage {
    int64_t expand, out;
    int blocks;
    int64_t stride;
  };
  for (const Stage& s : {Stage{1, 16, 1, 1}, Stage{2, 24, 2, 2}, Stage{2, 32, 3, 2}, Stage{2, 64, 4, 2}, Stage{2, 96, 3, 1}, Stage{2, 160, 3, 2}, Stage{2, 320, 1, 1}})
    for (int i = 0; i < s.blocks; ++i) {
      const int64_t stride = i == 0 ? s.stride : 1, wide = channels * s.expand;
      ValueId y = x;
      if (s.expand > 1) y = relu(g, g.conv(y, wide, 1));
      y = relu(g, g.conv(y, wide, 3, window(3, stride, wide)));
      y = g.conv(y, s.out, 1);
      x = stride == 1 && channels == s.out ? g("Add", {x, y}) : y;
      channels = s.out;
    }
  return classifier(g, relu(g, g.conv(x, 640, 1)), 640);
}

Graph squeeze_and_dense(const SymExpr& batch) {  // SqueezeNet's fire modules, then a DenseNet block
  GraphMaker g;
  ValueId x = stem_pool(g, relu(g, g.conv(g.input({batch, 3, 64, 64}), 32, 3, window(3, 2))));
  for (int i = 0; i < 4; ++i) {
    const ValueId s = relu(g, g.conv(x, 16, 1));
    x = g("Concat", {relu(g, g.conv(s, 32, 1)), relu(g, g.conv(s, 32, 3, window(3, 1)))}, {{"axis", int64_t{1}}});
  }
  std::vector<ValueId> features{x};
  for (int64_t i = 0, channels = 64; i < 4; ++i, channels += 16) {
    const ValueId joined = features.size() == 1 ? x : g("Concat", features, {{"axis", int64_t{1}}});
    ValueId y = relu(g, g("Add", {g("Mul", {joined, g.constant({channels, 1, 1}, 0.3)}), g.constant({channels, 1, 1}, 0.3)}));
    y = relu(g, g.conv(y, 32, 1));
    features.push_back(g.conv(y, 16, 3, window(3, 1)));
  }
  x = relu(g, g.conv(g("Concat", features, {{"axis", int64_t{1}}}), 64, 1));
  return classifier(g, x, 64);
}

// Steps of a run: kernels, without the Concats that cost nothing.
size_t steps(const Graph& g) {
  const backend::JointBuffers joint(g);
  size_t n = 0;
  for (NodeId id : g.order()) n += g.node(id).op->strategy == Strategy::kernel && !joint.is_placed(id);
  return n;
}

TEST(Steps, FewAndNoneForLayouts) {
  for (const SymExpr& batch : {SymExpr(1), SymExpr::symbol("N")}) {
    const Graph resnet = optimized(resnet50(batch)), mobilenet = optimized(mobilenet_v2(batch)), joined = optimized(squeeze_and_dense(batch));
    EXPECT_LE(steps(resnet), 60u);
    EXPECT_LE(steps(mobilenet), 40u);
    EXPECT_LE(steps(joined), 1 + 1 + 4 * 3 + 4 * 2 + 1 + 1 + 1 + 1);
    for (const Graph* g : {&resnet, &mobilenet, &joined})
      for (const std::string& kernel : kernels_of(*g)) EXPECT_EQ(kernel.find("packC16") + kernel.find("PackC16"), 2 * std::string::npos) << kernel;
  }
}

}  // namespace
}  // namespace fcc::test
