// Convolutions and pooling.
#include "tests/grad/cases.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;

struct Geometry {
  Ints strides, dilations, pads;
  int64_t group = 1;
  const char* auto_pad = "NOTSET";
};
Attrs attrs_of(const Geometry& g, const Attrs& more = {}) {
  Attrs a = more;
  if (!g.strides.empty()) a.set("strides", g.strides);
  if (!g.dilations.empty()) a.set("dilations", g.dilations);
  if (!g.pads.empty()) a.set("pads", g.pads);
  if (g.group != 1) a.set("group", g.group);
  if (std::string(g.auto_pad) != "NOTSET") a.set("auto_pad", std::string(g.auto_pad));
  return a;
}

}  // namespace

void add_convolution_cases(std::vector<Case>& cases) {
  const auto conv = [&](Ints x, Ints w, const Geometry& g, bool bias = false) {
    std::vector<Tensor> in{random(x), random(w)};
    if (bias) in.push_back(random({w[0]}));
    cases.push_back({"Conv", in, attrs_of(g), 1, {}, false});
  };
  conv({2, 3, 4, 5}, {2, 3, 3, 3}, {{}, {}, {1, 1, 1, 1}}, true);
  conv({1, 2, 5}, {3, 2, 3}, {});
  conv({1, 2, 6}, {3, 2, 3}, {{2}, {}, {1, 0}});
  conv({1, 2, 7}, {2, 2, 2}, {{3}, {2}, {2, 1}});
  conv({1, 2, 5, 6}, {2, 2, 2, 3}, {{2, 3}, {}, {0, 1, 1, 2}});
  conv({1, 2, 6, 6}, {2, 2, 2, 2}, {{1, 1}, {2, 3}, {1, 0, 0, 2}});
  conv({1, 4, 4, 4}, {6, 2, 3, 3}, {{}, {}, {1, 1, 1, 1}, 2});
  conv({1, 3, 4, 4}, {3, 1, 3, 3}, {{}, {}, {1, 1, 1, 1}, 3});  // depthwise
  conv({1, 2, 5, 5}, {4, 1, 3, 3}, {{2, 2}, {}, {1, 1, 1, 1}, 2});
  conv({2, 2, 3, 3}, {3, 2, 1, 1}, {});
  conv({2, 2, 4, 4}, {3, 2, 1, 1}, {{2, 2}});
  conv({1, 1, 3, 3, 3}, {2, 1, 2, 2, 2}, {{}, {}, {0, 1, 0, 1, 0, 0}});
  conv({1, 2, 5, 5}, {2, 2, 3, 2}, {.auto_pad = "SAME_UPPER"});
  conv({1, 2, 5, 5}, {2, 2, 2, 2}, {.strides = {2, 2}, .auto_pad = "SAME_LOWER"});
  conv({1, 1, 3, 3}, {1, 1, 1, 1}, {{}, {}, {1, 1, 1, 1}});  // pads wider than the kernel
  const auto transposed = [&](Ints x, Ints w, const Geometry& g, Attrs more = {}, bool bias = false) {
    std::vector<Tensor> in{random(x), random(w)};
    if (bias) in.push_back(random({w[1] * g.group}));
    cases.push_back({"ConvTranspose", in, attrs_of(g, more), 1, {}, false});
  };
  transposed({1, 2, 3, 3}, {2, 3, 3, 3}, {{}, {}, {1, 1, 1, 1}}, {}, true);
  transposed({1, 2, 3}, {2, 2, 3}, {{2}}, {{"output_padding", Ints{1}}});
  transposed({1, 2, 2, 3}, {2, 2, 2, 3}, {{2, 3}, {}, {0, 1, 1, 0}});
  transposed({1, 4, 3}, {4, 2, 2}, {{2}, {2}, {1, 0}, 2});
  transposed({1, 2, 3}, {2, 1, 3}, {.strides = {2}, .auto_pad = "SAME_UPPER"});
  transposed({1, 2, 3}, {2, 1, 3}, {.strides = {2}}, {{"output_shape", Ints{6}}});
  transposed({1, 1, 2, 2, 2}, {1, 2, 2, 2, 2}, {{1, 2, 1}});
  for (const Geometry& g : {Geometry{{}, {}, {}}, Geometry{{2}, {}, {}, 2}})
    cases.push_back({"ConvWeightGrad",
                     {random({2, 4, 5}), random({2, 2, g.strides.empty() ? 3 : 2})},
                     attrs_of(g, {{"weight", Ints{2, 4 / g.group, 3}}, {"pads", Dims{0}}}),
                     1,
                     {},
                     false});
}

void add_pooling_cases(std::vector<Case>& cases) {
  const auto pool = [&](const char* name, Ints x, Ints kernel, const Geometry& g, Attrs more = {}) {
    more.set("kernel_shape", kernel);
    cases.push_back({name, {random(x)}, attrs_of(g, more), 1, {}, false});
  };
  for (const char* name : {"MaxPool", "AveragePool", "LpPool"}) {
    pool(name, {1, 2, 4, 6}, {2, 2}, {{2, 2}});
    pool(name, {2, 1, 5, 5}, {3, 3}, {{2, 2}, {}, {1, 1, 1, 1}});
    pool(name, {1, 2, 5, 4}, {2, 3}, {{1, 1}, {}, {0, 1, 0, 1}});
    pool(name, {1, 1, 7}, {2}, {{3}});
    pool(name, {1, 2, 8}, {3}, {{2}, {2}, {1, 2}});
    pool(name, {1, 1, 6, 7}, {3, 3}, {{2, 2}}, {{"ceil_mode", int64_t{1}}});
    pool(name, {1, 1, 3, 4, 3}, {2, 2, 2}, {{1, 2, 1}});
    pool(name, {1, 1, 5, 5}, {3, 2}, {.strides = {2, 2}, .auto_pad = "SAME_UPPER"});
  }
  for (int64_t ceil : {0, 1})
    pool("AveragePool", {1, 1, 6, 7}, {3, 3}, {{2, 2}, {}, {1, 0, 1, 1}},
         {{"count_include_pad", int64_t{1}}, {"ceil_mode", ceil}});
  for (int64_t p : {1, 3}) pool("LpPool", {1, 2, 6}, {3}, {{2}, {}, {1, 1}}, {{"p", p}});
  cases.push_back({.op = "MaxPool",
                   .in = {reals({1, 1, 4}, {1, 1, 2, 2})},
                   .attrs = {{"kernel_shape", Ints{3}}},
                   .expected = {{0, 0, 2, 0}}});
  cases.push_back({.op = "MaxPool",
                   .in = {reals({1, 1, 2, 2}, {5, 5, 5, 5})},
                   .attrs = {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{1, 1, 0, 0}}, {"strides", Ints{1, 1}}},
                   .expected = {{4, 0, 0, 0}}});
  for (const char* name : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    cases.push_back({name, {random({2, 3, 4, 5})}});
    cases.push_back({name, {random({2, 1, 6})}});
  }
  cases.push_back({"GlobalLpPool", {random({1, 2, 2, 3})}, {{"p", int64_t{3}}}});
  cases.push_back({"GlobalLpPool", {random({1, 2, 2, 3})}, {{"p", int64_t{1}}}});
  cases.push_back({.op = "GlobalLpPool", .in = {reals({1, 1, 2}, {0, 0})}, .expected = {{0, 0}}});
  cases.push_back({.op = "GlobalMaxPool", .in = {reals({1, 1, 4}, {1, 3, 3, 2})}, .expected = {{0, 1, 0, 0}}});
}

}  // namespace fcc::test
