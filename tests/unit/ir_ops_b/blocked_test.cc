// The blocked layout NCHW16c: the same numbers as the plain one, with NaN in every lane past the last channel.
#include <gtest/gtest.h>

#include <cmath>

#include "ir/eval.h"
#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;

Tensor run(const Case& c) {
  auto r = interpret(c);
  EXPECT_TRUE(r) << text(c) << r.error().text();
  return r->at(0);
}

Tensor blocked_with_nan(const Tensor& x) {
  Tensor t = run({"PackC16", {x}});
  const I channels = x.shape()[1], blocks = t.shape()[1], spatial = product(std::span(x.shape()).subspan(2));
  for (I n = 0; n < x.shape()[0]; ++n)
    for (I c = channels; c < blocks * 16; ++c)
      for (I i = 0; i < spatial; ++i) t.set_double(((n * blocks + c / 16) * spatial + i) * 16 + c % 16, NAN);
  return t;
}

Tensor plain(const Tensor& blocked, I channels) {
  return run({"UnpackC16", {blocked}, {{"channels", channels}}});
}

struct Convolution {
  I channels, out_channels, group, nr;
  bool blocked_in, blocked_out;
  I tail = 0;
};

TEST(Blocked, ConvIgnoresUndefinedLanes) {
  uint32_t seed = 1;
  for (const Convolution& v : std::vector<Convolution>{{3, 20, 1, 16, false, true},
                                                       {20, 24, 1, 32, true, true},
                                                       {20, 40, 1, 32, true, false},
                                                       {20, 24, 1, 32, true, true, 24},
                                                       {20, 40, 1, 16, true, true, 24},
                                                       {20, 21, 1, 16, true, false, 8},
                                                       {20, 20, 20, 16, true, true},
                                                       {20, 20, 20, 32, true, true},
                                                       {20, 20, 20, 16, false, true},
                                                       {20, 20, 20, 16, true, false},
                                                       {40, 24, 2, 16, true, true},
                                                       {12, 10, 2, 16, true, true}}) {
    const Tensor x = random_tensor(seed++, DType::f32, {2, v.channels, 5, 6}),
                 bias = random_tensor(seed++, DType::f32, {v.out_channels});
    const Tensor w = random_tensor(seed++, DType::f32, {v.out_channels, v.channels / v.group, 3, 3});
    const Attrs window{{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 1}}, {"group", v.group}};
    const Tensor expected = run({"Conv", {x, w, bias}, window});
    Attrs attrs = window;
    for (const auto& [name, value] : std::vector<std::pair<std::string, I>>{{"blocked", 1},
                                                                            {"blocked_in", v.blocked_in},
                                                                            {"blocked_out", v.blocked_out},
                                                                            {"channels", v.channels},
                                                                            {"out_channels", v.out_channels},
                                                                            {"nr", v.nr}})
      attrs.set(name, value);
    Attrs packing{{"nr", v.nr}, {"group", v.group}};
    if (v.tail) {
      attrs.set("tail", v.tail);
      packing.set("tail", v.tail);
    }
    const Tensor packed_w = run({"PackConvWeight", {w}, packing});
    const Tensor packed_bias = run({"PackVector", {bias}, {{"n", (v.out_channels + v.nr - 1) / v.nr * v.nr}}});
    const Case c{"Conv", {v.blocked_in ? blocked_with_nan(x) : x, packed_w, packed_bias}, attrs};
    const auto defined = run_define(c, Mode::fixed);
    ASSERT_TRUE(defined) << defined.error().text();
    for (const Tensor& y : {run(c), defined->out[0]})
      EXPECT_LE(difference(v.blocked_out ? plain(y, v.out_channels) : y, expected), 3e-6)
          << v.channels << " " << v.out_channels << " " << v.group;
  }
}

TEST(Blocked, PoolsKeepLanesApart) {
  const Tensor x = random_tensor(5, DType::f32, {2, 20, 6, 7});
  const Attrs window{{"kernel_shape", Ints{3, 2}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 0, 1, 1}}};
  for (const char* op : {"MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    const Attrs attrs = std::string_view(op).starts_with("Global") ? Attrs{} : window;
    Attrs blocked = attrs;
    blocked.set("blocked", I{1});
    const Case c{op, {blocked_with_nan(x)}, blocked};
    const auto defined = run_define(c, Mode::fixed);
    ASSERT_TRUE(defined) << op << defined.error().text();
    for (const Tensor& y : {run(c), defined->out[0]})
      EXPECT_LE(difference(plain(y, 20), run({op, {x}, attrs})), 3e-6) << op;
  }
}

}  // namespace
}  // namespace fcc::test
