// Convolutions at the edges of their tiles.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

struct Shape {
  int64_t in, out, h, w, kernel, stride = 1, pad = 0, group = 1, batch = 1, dilation = 1;
};

Attrs conv_attrs(const Shape& s) {
  return {{"strides", std::vector<int64_t>{s.stride, s.stride}},
          {"pads", std::vector<int64_t>(4, s.pad)},
          {"dilations", std::vector<int64_t>{s.dilation, s.dilation}},
          {"group", s.group}};
}

Graph conv_relu(const Shape& s, bool residual) {
  GraphMaker g;
  ValueId y = g.conv(g.input({s.batch, s.in, s.h, s.w}), s.out, 1);  // the tested one reads a blocked tensor
  Shape second = s;
  second.in = s.out;
  y = g.conv(y, s.out, s.kernel, conv_attrs(second));
  if (residual) y = g("Add", {y, g.conv(g.input({s.batch, s.in, s.h, s.w}), s.out, s.kernel, conv_attrs(s))});
  return g.finish({g("Relu", {y})});
}

class Convolution : public testing::TestWithParam<Shape> {};
TEST_P(Convolution, MatchesTheInterpreter) { expect_lowered_right(conv_relu(GetParam(), false)); }

INSTANTIATE_TEST_SUITE_P(
    Shapes, Convolution,
    testing::Values(Shape{16, 32, 7, 7, 3, 1, 1},           // tiles of two lines, the last of one
                    Shape{48, 40, 7, 7, 1},                 // 49 pixels, a panel that is not full
                    Shape{32, 64, 14, 14, 1, 2},            // strided, lines gathered
                    Shape{16, 48, 13, 15, 3, 2, 1},         // odd sizes
                    Shape{20, 24, 5, 4, 3, 1, 1, 1, 2},     // three lines a tile, two images
                    Shape{16, 16, 9, 2, 5, 1, 2},           // columns fewer than the window
                    Shape{16, 32, 6, 6, 3, 2, 1},           // 3x3 results
                    Shape{64, 16, 3, 3, 3, 1, 1},           // one tile
                    Shape{16, 96, 10, 30, 3, 1, 2, 1, 1, 2},  // dilated
                    Shape{32, 32, 8, 8, 3, 1, 1, 2},        // two groups of one block
                    Shape{48, 48, 9, 14, 3, 1, 1, 6},       // groups of 8: two a block
                    Shape{24, 24, 7, 7, 3, 2, 1, 3, 2},     // an odd number of them, two images
                    Shape{16, 80, 9, 11, 1},                // panels of one block, tiles of up to 28 rows
                    Shape{16, 144, 5, 7, 3, 1, 1},          // panels of three blocks
                    Shape{24, 104, 9, 14, 1},               // a last panel of 40 columns, its rows in two tiles
                    Shape{104, 72, 7, 7, 1},                // the same where tiles span lines; channels end in half a block
                    Shape{40, 88, 5, 4, 3, 2, 1},           // a last panel of 24; taps unrolled
                    Shape{8, 8, 6, 31, 5, 1, 2},            // half a block in and out
                    Shape{58, 116, 12, 13, 1, 2, 0, 1, 3},  // four lanes of the last eight
                    Shape{3, 24, 17, 19, 3, 2, 1}));        // a stem: plain input

TEST(Convolution, AddsTheOtherBranchAtTheRightPixel) {
  expect_lowered_right(conv_relu({16, 32, 7, 7, 3, 1, 1}, true));
  expect_lowered_right(conv_relu({16, 48, 8, 12, 1, 2}, true));
}

TEST(Convolution, OpenSizes) {
  const SymExpr n = SymExpr::symbol("N"), h = SymExpr::symbol("H"), w = SymExpr::symbol("W");
  GraphMaker g;
  ValueId y = g.conv(g.input({n, 3, h, w}), 24, 3, conv_attrs({.stride = 2, .pad = 1}));
  y = g("Relu", {g.conv(g("Relu", {y}), 40, 3, conv_attrs({.stride = 1, .pad = 1}))});
  const Graph graph = g.finish({g.conv(y, 16, 1)});
  for (const auto& [a, b, c] : {std::tuple(1, 7, 7), std::tuple(2, 28, 61), std::tuple(1, 33, 2), std::tuple(3, 1, 1)})
    expect_lowered_right(graph, {{"N", a}, {"H", b}, {"W", c}});
}

// BatchNorm and ReLU of a Concat, and squeeze-excite's scaling, run inside of the 1x1 convolution that follows.
TEST(Convolution, ComputesItsOperand) {
  for (const SymExpr& n : {SymExpr(1), SymExpr::symbol("N")}) {
    GraphMaker g;
    const ValueId x = g.input({n, 32, 9, 8});
    const ValueId a = g.conv(x, 48, 1), b = g.conv(x, 16, 3, conv_attrs({.pad = 1}));
    const ValueId joined = g("Concat", {a, b, g("MaxPool", {a}, {{"kernel_shape", std::vector<int64_t>{1, 1}}})}, {{"axis", int64_t{1}}});
    ValueId y = g("Mul", {joined, g.constant({112, 1, 1}, 0.4)});
    y = g("Relu", {g("Add", {y, g.constant({112, 1, 1}, 0.2)})});
    y = g("Relu", {g.conv(y, 64, 1)});
    const ValueId gate = g("Sigmoid", {g.conv(g("Relu", {g.conv(g("GlobalAveragePool", {y}), 16, 1)}), 64, 1)});
    const Graph graph = g.finish({g.conv(g("Mul", {y, gate}), 40, 1)});
    expect_lowered_right(graph, {{"N", 3}});
    const std::vector<std::string> kernels = kernels_of(optimized(graph));
    EXPECT_TRUE(std::find(kernels.begin(), kernels.end(), "Mul+Add+Relu+Conv+Add+Relu") != kernels.end());
    EXPECT_TRUE(std::find(kernels.begin(), kernels.end(), "Mul+Conv+Add") != kernels.end());
    EXPECT_TRUE(std::find(kernels.begin(), kernels.end(), "Conv+Add+Sigmoid") != kernels.end());
  }
}

// A short line must not make a short tile: its weights would be read once for seven pixels.
TEST(Convolution, ShortLinesShareATile) {
  int32_t most = 0;
  expect_lowered_right(conv_relu({32, 32, 7, 7, 1, 1, 0}, false), {}, [&](const loop::Kernel& k) {
    loop::walk(k.body, [&](const loop::Stmt& s) {
      if (s.contract) most = std::max(most, s.contract->rows);
    });
  });
  EXPECT_GT(most, 7);
}

}  // namespace
}  // namespace fcc::test
