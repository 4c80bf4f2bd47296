// Depthwise convolution and pooling in the blocked layout, at the borders of the image and of their pixel groups.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

struct Shape {
  int64_t channels, h, w, kernel, stride, pad, dilation = 1;
};

Attrs window_attrs(const Shape& s) {
  return {{"strides", std::vector<int64_t>{s.stride, s.stride}}, {"pads", std::vector<int64_t>(4, s.pad)}, {"dilations", std::vector<int64_t>{s.dilation, s.dilation}}};
}

Graph window(const Shape& s, std::string_view op, const SymExpr& batch, const SymExpr& h, const SymExpr& w) {
  GraphMaker g;
  ValueId x = g("Relu", {g.conv(g.input({batch, 16, h, w}), s.channels, 1)});
  Attrs attrs = window_attrs(s);
  ValueId y = kNoValue;
  if (op == "Conv") {
    attrs.set("group", s.channels);
    y = g("Relu", {g.conv(x, s.channels, s.kernel, attrs)});
  } else {
    attrs.set("kernel_shape", std::vector<int64_t>{s.kernel, s.kernel});
    if (op == "AveragePool") attrs.set("count_include_pad", int64_t{1});
    y = g(op, {x}, attrs);
  }
  // The second output keeps x in memory: a depthwise convolution is then a kernel of its own.
  return g.finish({g.conv(y, 16, 1), g.conv(x, 16, 1)});
}

class Window : public testing::TestWithParam<Shape> {};
TEST_P(Window, MatchesTheInterpreter) {
  const Shape& s = GetParam();
  for (std::string_view op : {"Conv", "MaxPool", "AveragePool"}) {
    if (op != "Conv" && s.pad * 2 > s.kernel) continue;
    std::string names;
    expect_lowered_right(window(s, op, 1, s.h, s.w), {}, [&](const loop::Kernel& k) { names += k.name; });
    const bool found = names.find("depthwise") != names.npos || names.find("pool") != names.npos;
    EXPECT_TRUE(found) << names;
  }
}
INSTANTIATE_TEST_SUITE_P(Shapes, Window,
                         testing::Values(Shape{32, 14, 14, 3, 1, 1}, Shape{16, 7, 7, 3, 1, 1}, Shape{24, 13, 29, 3, 2, 1}, Shape{16, 9, 3, 5, 1, 2},
                                         Shape{20, 15, 20, 5, 2, 2}, Shape{16, 6, 40, 2, 2, 0}, Shape{16, 1, 2, 3, 1, 1}, Shape{16, 12, 31, 3, 1, 2, 2},
                                         Shape{16, 5, 140, 3, 1, 1}));

TEST(Window, OpenSizes) {
  const SymExpr n = SymExpr::symbol("N"), h = SymExpr::symbol("H"), w = SymExpr::symbol("W");
  for (std::string_view op : {"Conv", "MaxPool", "AveragePool"}) {
    const Graph open = window({16, 0, 0, 3, 2, 1}, op, n, h, w);
    for (const auto& [a, b, c] : {std::tuple(1, 7, 7), std::tuple(2, 9, 131), std::tuple(1, 1, 1)}) expect_lowered_right(open, {{"N", a}, {"H", b}, {"W", c}});
    expect_lowered_right(window({16, 0, 12, 3, 1, 1}, op, n, h, 12), {{"N", 2}, {"H", 5}});
  }
}

// A 1x1 convolution and the depthwise one after it are one kernel: tiles of several short lines, strips, odd panels.
TEST(Window, ExpansionAndDepthwiseTogether) {
  struct Case {
    SymExpr batch;
    int64_t in, channels, h, w, kernel, stride, pad;
  };
  for (const Case& s : {Case{1, 16, 48, 7, 7, 3, 1, 1}, Case{SymExpr::symbol("N"), 32, 40, 9, 20, 5, 2, 2}, Case{2, 16, 96, 14, 14, 3, 2, 1}, Case{1, 24, 80, 5, 3, 5, 1, 2},
                        Case{1, 16, 32, 40, 30, 3, 1, 1}, Case{1, 16, 64, 12, 17, 3, 2, 0}}) {
    GraphMaker g;
    const ValueId x = g.conv(g.input({s.batch, 16, s.h, s.w}), s.in, 1);
    const ValueId wide = g("HardSwish", {g.conv(x, s.channels, 1)});
    const ValueId y = g("Relu", {g.conv(wide, s.channels, s.kernel, {{"strides", std::vector<int64_t>{s.stride, s.stride}}, {"pads", std::vector<int64_t>(4, s.pad)}, {"group", s.channels}})});
    const Graph graph = g.finish({g.conv(y, 16, 1)});
    expect_lowered_right(graph, {{"N", 3}});
    const std::vector<std::string> kernels = kernels_of(optimized(graph));
    EXPECT_TRUE(std::find(kernels.begin(), kernels.end(), "Conv+Add+HardSwish+Conv+Add+Relu") != kernels.end());
  }
}

// Partial windows and counts without the padding keep their meaning.
TEST(Window, PoolingOfPartialWindows) {
  for (std::string_view op : {"MaxPool", "AveragePool"})
    for (int64_t pad : {0, 1}) {
      GraphMaker g;
      const ValueId x = g.conv(g.input({1, 16, 11, 12}), 32, 1);
      Attrs attrs = window_attrs({32, 11, 12, 3, 2, pad});
      attrs.set("kernel_shape", std::vector<int64_t>{3, 3});
      attrs.set("ceil_mode", int64_t{1});
      expect_lowered_right(g.finish({g.conv(g(op, {x}, attrs), 16, 1)}));
    }
}

}  // namespace
}  // namespace fcc::test
