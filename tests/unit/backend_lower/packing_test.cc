// How many bytes the packed weights of a convolution take: hardly more than the weights, four times as many where
// Winograd's transform takes them.
#include <gtest/gtest.h>

#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

struct Layer {
  int64_t in, out, kernel = 1, stride = 1;
};

// Bytes of the weight of the one convolution after all passes, and of the weight itself.
std::pair<double, double> bytes_of(const Layer& l, bool* transformed) {
  GraphMaker g;
  const ValueId x = g("Relu", {g.conv(g.input({1, 3, 28, 28}), l.in, 3)});
  const Attrs attrs{{"strides", std::vector<int64_t>{l.stride, l.stride}}, {"pads", std::vector<int64_t>(4, l.kernel / 2)}};
  const Graph graph = optimized(g.finish({g.conv(x, l.out, l.kernel, attrs, false)}));
  for (NodeId id : graph.order()) {
    const Node& kernel = graph.node(id);
    if (!kernel.body) continue;
    for (NodeId inside : kernel.body->order()) {
      const Node& n = kernel.body->node(inside);
      *transformed = n.op->name == "WinogradConv";
      if ((n.op->name != "Conv" && !*transformed) || !n.attrs.flag("blocked_in")) continue;
      const double plain = static_cast<double>(l.in * l.out * l.kernel * l.kernel);
      return {static_cast<double>(kernel.body->value(n.in[1]).type.elements().constant()), plain};
    }
  }
  ADD_FAILURE() << "no convolution " << l.in << " to " << l.out;
  return {1, 1};
}

// Layers of a network that fill no whole panels, as in torchvision.
TEST(Packing, HardlyMoreThanTheWeights) {
  const std::vector<std::pair<const char*, std::vector<Layer>>> networks{
      {"RegNetY-400MF", {{32, 48}, {48, 104}, {48, 104, 1, 2}, {104, 104}, {104, 208}, {208, 208}, {208, 440}, {440, 440}}},
      {"EfficientNet-B0", {{16, 96}, {96, 24}, {24, 144}, {144, 24}, {144, 40}, {40, 240}, {240, 80}, {80, 480}, {480, 112}, {112, 672}, {672, 192}, {1152, 192}, {192, 1152}}},
      {"MobileNetV3-small", {{16, 72}, {72, 24}, {24, 88}, {88, 24}, {24, 96}, {96, 40}, {40, 240}, {240, 40}, {40, 120}, {120, 48}, {48, 144}, {288, 96}, {96, 576}}},
      {"ShuffleNetV2", {{24, 58}, {58, 58}, {116, 116}, {232, 232}, {464, 1024}}},
      {"GoogLeNet", {{192, 96}, {192, 16}, {16, 32, 5}, {480, 208}, {480, 16}, {512, 112}, {512, 24}, {24, 64, 5}, {528, 160}, {832, 384}, {48, 128, 5}}}};
  for (const auto& [name, layers] : networks) {
    double packed = 0, plain = 0;
    for (const Layer& l : layers) {
      bool transformed = false;
      const auto [p, w] = bytes_of(l, &transformed);
      EXPECT_FALSE(transformed) << name << ": " << l.in << " to " << l.out;
      EXPECT_LE(p, static_cast<double>((l.out + 7) / 8 * 8) / static_cast<double>(l.out) * w) << name << ": " << l.in << " to " << l.out;
      packed += p, plain += w;
    }
    EXPECT_LE(packed, 1.02 * plain) << name;
  }
}

TEST(Packing, FourTimesTheWeightsWhenTransformed) {
  int seen = 0;
  for (const Layer& l : {Layer{64, 64, 3}, Layer{64, 192, 3}, Layer{96, 208, 3}, Layer{112, 224, 3}, Layer{96, 96, 3}, Layer{48, 48, 3}, Layer{128, 80, 3}}) {
    bool transformed = false;
    const auto [p, w] = bytes_of(l, &transformed);
    seen += transformed;
    EXPECT_LE(p, (transformed ? 4 : 1) * w) << l.in << " to " << l.out;
  }
  EXPECT_GE(seen, 5);
}

}  // namespace
}  // namespace fcc::test
