// Hand values: small enough to check on paper, chosen where a wrong rule would show.
#include <gtest/gtest.h>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/movement.h"
#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;

std::vector<double> values(const Case& c, size_t result = 0) {
  auto r = interpret(c);
  EXPECT_TRUE(r) << r.error().text();
  return r ? (*r)[result].to_doubles() : std::vector<double>{};
}
using V = std::vector<double>;

Tensor counting(Ints shape) {
  Tensor t(DType::f32, std::move(shape));
  for (I i = 0; i < t.elements(); ++i) t.set_double(i, static_cast<double>(i + 1));
  return t;
}
Tensor list(Ints v) {
  return Tensor::ints(v);
}

TEST(Values, Slice) {
  const Tensor x = counting({5});
  EXPECT_EQ(values({"Slice", {x, list({-2}), list({INT64_MAX})}}), (V{4, 5}));
  EXPECT_EQ(values({"Slice", {x, list({-1}), list({INT64_MIN}), list({0}), list({-2})}}), (V{5, 3, 1}));
  EXPECT_EQ(values({"Slice", {x, list({3}), list({0}), list({0}), list({-1})}}), (V{4, 3, 2}));
  EXPECT_EQ(values({"Slice", {x, list({2}), list({2})}}), V{});
}

TEST(Values, DepthToSpaceModes) {
  const Tensor x = counting({1, 8, 1, 1});
  EXPECT_EQ(values({"DepthToSpace", {x}, {{"blocksize", I{2}}}}), (V{1, 3, 5, 7, 2, 4, 6, 8}));
  EXPECT_EQ(values({"DepthToSpace", {x}, {{"blocksize", I{2}}, {"mode", "CRD"}}}), (V{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Values, SplitGivesTheLastPartTheRest) {
  const Case c{"Split", {counting({7})}, {{"num_outputs", I{3}}}, 3};
  EXPECT_EQ(values(c, 0), (V{1, 2, 3}));
  EXPECT_EQ(values(c, 2), (V{7}));
}

TEST(Values, Pad) {
  const Tensor x = counting({3});
  EXPECT_EQ(values({"Pad", {x, list({2, 1})}, {{"mode", "reflect"}}}), (V{3, 2, 1, 2, 3, 2}));
  EXPECT_EQ(values({"Pad", {x, list({5, 0})}, {{"mode", "reflect"}}}), (V{2, 1, 2, 3, 2, 1, 2, 3}));
  EXPECT_EQ(values({"Pad", {x, list({2, 1})}, {{"mode", "wrap"}}}), (V{2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(values({"Pad", {x, list({2, 1})}, {{"mode", "edge"}}}), (V{1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(values({"Pad", {x, list({-1, 2}), floats({}, {9})}}), (V{2, 3, 9, 9}));
}

TEST(Values, RangeCountsDownAndStopsBeforeTheLimit) {
  EXPECT_EQ(values({"Range", {ints({}, {10}), ints({}, {-3}), ints({}, {-4})}}), (V{10, 6, 2, -2}));
  EXPECT_EQ(values({"Range", {ints({}, {0}), ints({}, {4}), ints({}, {2})}}), (V{0, 2}));
}

TEST(Values, OneHotIgnoresWhatIsOutOfRange) {
  EXPECT_EQ(values({"OneHot", {ints({3}, {1, -1, 3}), ints({}, {3}), floats({2}, {0, 5})}}),
            (V{0, 5, 0, 0, 0, 5, 0, 0, 0}));
}

TEST(Values, ScatterLastUpdateWinsAndReductionsAccumulate) {
  const Tensor data = counting({3}), at = list({1, 1}), updates = floats({2}, {10, 20});
  EXPECT_EQ(values({"ScatterElements", {data, at, updates}}), (V{1, 20, 3}));
  EXPECT_EQ(values({"ScatterElements", {data, at, updates}, {{"reduction", "add"}}}), (V{1, 32, 3}));
  EXPECT_EQ(values({"ScatterElements", {data, at, updates}, {{"reduction", "min"}}}), (V{1, 2, 3}));
}

TEST(Values, Convolution) {
  const Tensor x = counting({1, 1, 3, 3}), ones = floats({1, 1, 2, 2}, {1, 1, 1, 1});
  EXPECT_EQ(values({"Conv", {x, ones}}), (V{12, 16, 24, 28}));
  EXPECT_EQ(values({"Conv", {x, ones, floats({1}, {0.5})}, {{"pads", Ints{1, 1, 0, 0}}, {"strides", Ints{2, 2}}}}),
            (V{1.5, 5.5, 11.5, 28.5}));
  EXPECT_EQ(values({"ConvTranspose", {counting({1, 1, 2}), floats({1, 1, 3}, {1, 10, 100})}, {{"strides", Ints{2}}}}),
            (V{1, 10, 102, 20, 200}));
}

// The sum of a window that starts in the padding and the count that ceil_mode cuts off (as PyTorch does).
TEST(Values, AveragePoolCounts) {
  const Tensor x = counting({1, 1, 4});
  const Attrs window{{"kernel_shape", Ints{3}}, {"strides", Ints{2}}, {"pads", Ints{1, 1}}, {"ceil_mode", I{1}}};
  EXPECT_EQ(values({"AveragePool", {x}, window}), (V{1.5, 3, 4}));
  Attrs include = window;
  include.set("count_include_pad", I{1});
  EXPECT_EQ(values({"AveragePool", {x}, include}), (V{1, 3, 2}));
}

TEST(Values, MaxPoolIndicesFollowTheStorageOrder) {
  const Tensor x = counting({1, 1, 3, 2});
  const Attrs window{{"kernel_shape", Ints{2, 2}}};
  Attrs column_major = window;
  column_major.set("storage_order", I{1});
  EXPECT_EQ(values({"MaxPool", {x}, window, 2}, 1), (V{3, 5}));
  EXPECT_EQ(values({"MaxPool", {x}, column_major, 2}, 1), (V{4, 5}));
}

TEST(Values, Resize) {
  const Tensor x = counting({4});
  const auto sized = [&](I n, const Attrs& attrs) {
    return values({"Resize", {x, Tensor(), Tensor(), list({n})}, attrs});
  };
  EXPECT_EQ(sized(8, {{"coordinate_transformation_mode", "asymmetric"}, {"nearest_mode", "floor"}}),
            (V{1, 1, 2, 2, 3, 3, 4, 4}));
  EXPECT_EQ(sized(8, {{"mode", "linear"}}), (V{1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4}));
  EXPECT_EQ(sized(7, {{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}),
            (V{1, 1.5, 2, 2.5, 3, 3.5, 4}));
  EXPECT_EQ(sized(1, {{"mode", "linear"}, {"coordinate_transformation_mode", "align_corners"}}), (V{1}));
  EXPECT_EQ(sized(2, {{"mode", "linear"}, {"antialias", I{1}}}).size(), 2u);
  const auto scaled = [&](double s, Attrs attrs) {
    attrs.set("scales", std::vector<double>{s});
    return values({"Resize", {x}, attrs});
  };
  EXPECT_EQ(scaled(0.6f, {}).size(), 2u);
  EXPECT_EQ(scaled(1.75f, {}).size(), 7u);  // 4 * 1.75 exactly, however the float rounds
}

// ---- index maps ---------------------------------------------------------------------------------------------

std::vector<loop::Expr> variables(size_t n) {
  std::vector<loop::Expr> v;
  for (size_t i = 0; i < n; ++i) v.push_back(loop::var(static_cast<loop::VarId>(i)));
  return v;
}

TEST(ReshapeIndex, UntouchedAndMergedAxesStayLinear) {
  const SymExpr n = SymExpr::symbol("N"), s = SymExpr::symbol("S");
  const std::vector<loop::Expr> index = variables(4);
  const auto merged = reshape_index({n, s, 768}, {n, s, 12, 64}, index);
  EXPECT_EQ(loop::linear_coefficient(merged[2], 2), 64);
  EXPECT_EQ(loop::linear_coefficient(merged[2], 3), 1);
  EXPECT_TRUE(loop::same(merged[0], index[0]) && loop::same(merged[1], index[1]));
  const auto split = reshape_index({n * s, 12, 64}, {n, s, 768}, std::span(index).first(3));
  EXPECT_FALSE(loop::uses(split[0], 2));
  EXPECT_FALSE(loop::uses(split[1], 0) || loop::uses(split[2], 1));
}

TEST(ReshapeIndex, AxesOfExtentOneMapToZero) {
  const auto at = reshape_index({1, 4, 1}, {4, 1, 1}, variables(3));
  EXPECT_TRUE(loop::is_constant_int(at[0], 0) && loop::is_constant_int(at[2], 0));
  EXPECT_TRUE(loop::same(at[1], loop::var(0)));
}

TEST(ResizeIndex, DoublingIsAShift) {
  const Case c{"Resize", {counting({1, 1, 4, 4}), Tensor(), Tensor(), list({1, 1, 8, 8})}};
  EXPECT_EQ(values(c)[0], 1);
  EXPECT_EQ(values(c)[63], 16);
  EXPECT_EQ(values(c)[8 * 3 + 5], 7);
}

// ---- windows ------------------------------------------------------------------------------------------------

WindowAxis axis_of(const Attrs& attrs, SymExpr in, I kernel) {
  auto w = window_of(attrs, {&in, 1}, {&kernel, 1});
  EXPECT_TRUE(w);
  return w->at(0);
}

TEST(Window, OpenExtents) {
  const SymExpr h = SymExpr::symbol("H");
  EXPECT_EQ(axis_of({{"pads", Ints{1, 1}}}, h, 3).out, h);
  EXPECT_EQ(axis_of({{"auto_pad", "SAME_UPPER"}}, h, 3).out, h);
  EXPECT_EQ(axis_of({{"auto_pad", "SAME_UPPER"}}, h, 3).pad_begin, SymExpr(1));
  EXPECT_TRUE(axis_of({{"strides", Ints{2}}}, h, 3).is_inside());
  EXPECT_FALSE(axis_of({{"pads", Ints{1, 1}}}, h, 3).is_inside());
}

TEST(Window, CeilModeDropsAWindowBehindTheOperand) {
  EXPECT_EQ(axis_of({{"strides", Ints{2}}, {"ceil_mode", I{1}}}, 5, 2).out, SymExpr(3));
  EXPECT_EQ(axis_of({{"strides", Ints{2}}, {"pads", Ints{1, 1}}, {"ceil_mode", I{1}}}, 4, 1).out, SymExpr(3));
}

}  // namespace
}  // namespace fcc::test
