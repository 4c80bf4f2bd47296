// The matrices compute correlations; PackWinogradWeight and WinogradConv mean the plain convolution, evaluated and
// element by element; the plan cuts work that exists.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "ir/ops/winograd.h"
#include "ir/winograd_plan.h"
#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;

TEST(Winograd, MatricesComputeCorrelations) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<double> any(-1, 1);
  for (I m : {2, 4}) {
    const WinogradMatrices& f = winograd_matrices(m);
    const auto alpha = static_cast<size_t>(f.alpha);
    std::vector<double> d(alpha), w(3), product(alpha);
    for (double& v : d) v = any(engine);
    for (double& v : w) v = any(engine);
    for (size_t i = 0; i < alpha; ++i) {
      double u = 0, v = 0;
      for (size_t k = 0; k < 3; ++k) u += f.g[i][k] * w[k];
      for (size_t k = 0; k < alpha; ++k) v += f.bt[i][k] * d[k];
      product[i] = u * v;
    }
    for (size_t i = 0; i < static_cast<size_t>(m); ++i) {
      double y = 0;
      for (size_t k = 0; k < alpha; ++k) y += f.at[i][k] * product[k];
      EXPECT_NEAR(y, d[i] * w[0] + d[i + 1] * w[1] + d[i + 2] * w[2], 1e-14);
    }
    for (size_t a = 0; a < 3; ++a)
      for (size_t b = 0; b < 3; ++b) {
        double one = 0;
        for (size_t k = 0; k < alpha; ++k) one += f.recover[a][k] * f.g[k][b];
        EXPECT_NEAR(one, a == b, 1e-14);
      }
  }
}

Tensor run(const Case& c) {
  auto r = interpret(c);
  EXPECT_TRUE(r) << text(c) << r.error().text();
  return r->at(0);
}

// Of the largest magnitude of b.
double relative(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double worst = 0, largest = 0;
  for (I i = 0; i < b.elements(); ++i) {
    worst = std::max(worst, std::fabs(a.get_double(i) - b.get_double(i)));
    largest = std::max(largest, std::fabs(b.get_double(i)));
  }
  return worst / largest;
}

// w[C,K,3,3] as the weight [K,C,3,3] of the gradient of the convolution's input.
Tensor mirrored(const Tensor& w) {
  const std::vector<I>& s = w.shape();
  Tensor to(DType::f32, {s[1], s[0], s[2], s[3]});
  const I taps = s[2] * s[3];
  for (I c = 0; c < s[0]; ++c)
    for (I k = 0; k < s[1]; ++k)
      for (I t = 0; t < taps; ++t)
        to.set_double((k * s[0] + c) * taps + t, w.get_double((c * s[1] + k) * taps + taps - 1 - t));
  return to;
}

TEST(Winograd, PacksMirroredWeightsWithoutACopy) {
  const Tensor w = random_tensor(5, DType::f32, {24, 40, 3, 3}), flat = random_tensor(6, DType::f32, {24, 40, 1, 1});
  for (const auto& [weight, pack] :
       std::vector<std::pair<Tensor, Case>>{{w, {"PackWinogradWeight", {w}, {{"m", I{4}}, {"nr", I{32}}}}},
                                            {w, {"PackWinogradWeight", {w}, {{"m", I{2}}, {"nr", I{16}}}}},
                                            {w, {"PackConvWeight", {w}, {{"nr", I{32}}}}},
                                            {flat, {"PackConvWeight", {flat}, {{"nr", I{16}}}}}}) {
    Case direct = pack, plain = pack;
    direct.attrs.set("mirrored", I{1});
    plain.in = {mirrored(weight)};
    EXPECT_EQ(run(direct).to_doubles(), run(plain).to_doubles()) << text(pack);
    const auto defined = run_define(direct, Mode::fixed);
    ASSERT_TRUE(defined) << defined.error().text();
    EXPECT_LE(relative(defined->out[0], run(plain)), 1e-6) << text(pack);
  }
}

TEST(Winograd, MeansThePlainConvolution) {
  struct Layer {
    I channels, out_channels, group, nr, m;
    Ints pads;
    I tail = 0;
  };
  uint32_t seed = 1;
  for (const Layer& l : std::vector<Layer>{{16, 16, 1, 16, 4, {1, 1, 1, 1}},
                                           {16, 40, 1, 32, 4, {0, 0, 0, 0}},
                                           {32, 48, 1, 16, 2, {1, 0, 2, 1}},
                                           {16, 40, 1, 16, 4, {0, 1, 1, 0}, 24},
                                           {16, 12, 1, 16, 2, {1, 1, 1, 1}, 16},
                                           {32, 32, 2, 16, 4, {1, 1, 1, 1}},
                                           {48, 48, 3, 16, 2, {0, 2, 1, 0}}}) {
    const Tensor x = random_tensor(seed++, DType::f32, {2, l.channels, 4, 5}),
                 w = random_tensor(seed++, DType::f32, {l.out_channels, l.channels / l.group, 3, 3});
    const Tensor expected = run({"Conv", {x, w}, {{"pads", l.pads}, {"group", l.group}}});
    const Case pack{"PackWinogradWeight", {w}, {{"m", l.m}, {"nr", l.nr}, {"group", l.group}, {"tail", l.tail}}};
    const Tensor u = run(pack);
    const auto packed = run_define(pack, Mode::fixed);
    ASSERT_TRUE(packed) << packed.error().text();
    EXPECT_LE(relative(packed->out[0], u), 1e-6);
    // The same from the packed weight: bit for bit, by eval and by define.
    const Attrs layout{{"nr", l.nr}, {"group", l.group}, {"tail", l.tail}};
    Attrs transform = layout;
    for (const auto& [name, value] : {std::pair("m", l.m), std::pair("channels", l.channels / l.group), std::pair("out_channels", l.out_channels)})
      transform.set(name, value);
    const Case later{"TransformWinogradWeight", {run({"PackConvWeight", {w}, layout})}, transform};
    const auto by_define = run_define(later, Mode::fixed);
    ASSERT_TRUE(by_define) << by_define.error().text();
    for (const Tensor& t : {run(later), by_define->out[0]}) {
      ASSERT_EQ(t.shape(), u.shape());
      EXPECT_EQ(std::memcmp(t.raw(), u.raw(), static_cast<size_t>(u.bytes())), 0) << l.channels << " to " << l.out_channels;
    }
    const Case convolution{"WinogradConv",
                           {run({"PackC16", {x}}), u},
                           {{"m", l.m},
                            {"nr", l.nr},
                            {"group", l.group},
                            {"tail", l.tail},
                            {"pads", l.pads},
                            {"channels", l.channels},
                            {"out_channels", l.out_channels}}};
    const auto defined = run_define(convolution, Mode::fixed);
    ASSERT_TRUE(defined) << defined.error().text();
    for (const Tensor& y : {run(convolution), defined->out[0]})
      EXPECT_LE(relative(run({"UnpackC16", {y}, {{"channels", l.out_channels}}}), expected), 2e-6)
          << l.channels << " " << l.out_channels << " " << l.group;
  }
}

TEST(Winograd, RefusesWhatItCannotMean) {
  const Tensor x = random_tensor(1, DType::f32, {1, 1, 6, 6, 16}), u = random_tensor(2, DType::f32, {36, 1, 16, 16});
  const Attrs good{{"m", I{4}}, {"nr", I{16}}, {"channels", I{16}}, {"out_channels", I{16}}};
  EXPECT_TRUE(result_types({"WinogradConv", {x, u}, good}));
  for (const auto& [name, value] : std::vector<std::pair<std::string, AttrValue>>{{"m", I{3}},
                                                                                  {"m", I{2}},
                                                                                  {"channels", I{32}},
                                                                                  {"out_channels", I{48}},
                                                                                  {"strides", Ints{2, 1}},
                                                                                  {"dilations", Ints{1, 2}},
                                                                                  {"nr", I{32}}}) {
    Attrs bad = good;
    bad.set(name, value);
    EXPECT_FALSE(result_types({"WinogradConv", {x, u}, bad})) << name;
  }
  EXPECT_FALSE(result_types(
      {"PackWinogradWeight", {random_tensor(3, DType::f32, {16, 16, 1, 3})}, {{"m", I{4}}, {"nr", I{16}}}}));
}

TEST(Plan, CutsWorkThatExists) {
  std::mt19937 engine(3);
  auto any = [&](I low, I high) { return low + static_cast<I>(engine() % static_cast<uint32_t>(high - low + 1)); };
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64})
    for (int i = 0; i < 40; ++i) {
      const WinogradShape s{.batch = any(1, 4),
                            .oh = any(1, 60),
                            .ow = any(1, 60),
                            .channels = 16 * any(1, 32),
                            .out_channels = 16 * any(1, 32),
                            .groups = any(1, 3),
                            .nr = 16 * any(1, 2)};
      for (I m : {2, 4}) {
        const WinogradPlan p = plan_winograd(s, m, Target::level(isa));
        const I panels = (s.out_channels + s.nr - 1) / s.nr,
                tiles = s.batch * ((s.oh + m - 1) / m) * ((s.ow + m - 1) / m);
        EXPECT_EQ(p.tiles % p.rows, 0);
        EXPECT_LT(p.tiles, tiles + p.rows + 1);
        EXPECT_LE(p.splits, panels);
        EXPECT_LE(p.panels, (panels + p.splits - 1) / p.splits);
        EXPECT_LE(p.v_bytes + p.m_bytes, 24 << 20);
        EXPECT_TRUE(std::isfinite(p.slots)) << p.text();
      }
    }
}

// Where the transform must win and where it must not, on any target with caches of the last ten years.
TEST(Plan, ChoosesByShape) {
  for (Isa isa : {Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64}) {
    const Target t = Target::level(isa);
    EXPECT_EQ(choose_winograd({.oh = 224, .ow = 224, .channels = 64, .out_channels = 64}, t).m, 4);
    EXPECT_EQ(choose_winograd({.oh = 56, .ow = 56, .channels = 256, .out_channels = 256}, t).m, 4);
    EXPECT_NE(choose_winograd({.oh = 14, .ow = 14, .channels = 256, .out_channels = 256}, t).m, 0);
    EXPECT_EQ(choose_winograd({.oh = 1, .ow = 1, .channels = 512, .out_channels = 512}, t).m, 0);
  }
}

}  // namespace
}  // namespace fcc::test
