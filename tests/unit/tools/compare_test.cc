// The comparer judges every other test, so each way in which a result can be wrong must be noticed here.
#include "tools/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace fcc {
namespace {

using testing::HasSubstr;

Tensor floats(std::vector<float> v) {
  return Tensor::of<float>(DType::f32, {static_cast<int64_t>(v.size())}, v);
}
Tensor bytes(std::vector<uint8_t> v) {
  return Tensor::of<uint8_t>(DType::u8, {static_cast<int64_t>(v.size())}, v);
}

bool equal(const Tensor& actual, const Tensor& expected, int64_t reduction_length = 1) {
  return compare(actual, expected, tolerance_for(expected.dtype(), reduction_length)).equal;
}

TEST(Compare, AcceptsEqualTensorsOfEveryType) {
  for (int k = 1; k <= kDTypeCount; ++k) {
    Tensor t(static_cast<DType>(k), {3});
    t.set_double(1, 1);
    EXPECT_TRUE(equal(t, t)) << name(t.dtype());
  }
}

TEST(Compare, NoticesASingleWrongElementAnywhere) {
  const std::vector<float> good(100, 1.0f);
  for (size_t k = 0; k < good.size(); ++k) {
    std::vector<float> bad = good;
    bad[k] = 1.001f;
    const Comparison c = compare(floats(bad), floats(good), tolerance_for(DType::f32, 1));
    EXPECT_FALSE(c.equal);
    EXPECT_EQ(c.differing, 1);
    EXPECT_THAT(c.mismatch, HasSubstr(fmt::format("the worst at [{}]: 1.00100005, expected 1,", k)));
  }
}

TEST(Compare, NoticesWrongTypeAndShape) {
  EXPECT_FALSE(equal(Tensor(DType::f64, {2}), Tensor(DType::f32, {2})));
  EXPECT_FALSE(equal(Tensor(DType::f32, {2, 1}), Tensor(DType::f32, {1, 2})));
  const Comparison c = compare(Tensor(DType::f32, {2, 1}), Tensor(DType::f32, {2}), {});
  EXPECT_EQ(c.mismatch, "type f32[2,1], expected f32[2]");
}

TEST(Compare, TreatsNanAndInfinityAsValues) {
  EXPECT_TRUE(equal(floats({NAN, 1}), floats({NAN, 1})));
  EXPECT_FALSE(equal(floats({NAN, 1}), floats({0, 1})));
  EXPECT_FALSE(equal(floats({0, 1}), floats({NAN, 1})));
  EXPECT_TRUE(equal(floats({INFINITY, -INFINITY}), floats({INFINITY, -INFINITY})));
  EXPECT_FALSE(equal(floats({INFINITY}), floats({-INFINITY})));
  EXPECT_FALSE(equal(floats({INFINITY, 1}), floats({3e38f, 1})));
  EXPECT_FALSE(equal(floats({3e38f, 1}), floats({INFINITY, 1})));
  // An infinity elsewhere in the tensor does not widen what is allowed.
  EXPECT_FALSE(equal(floats({INFINITY, 1.1f}), floats({INFINITY, 1})));
}

TEST(Compare, DoesNotTakeZerosForTinyValues) {
  const Comparison c = compare(floats({0, 0}), floats({1e-9f, -2e-9f}), tolerance_for(DType::f32, 1000));
  EXPECT_FALSE(c.equal);
  EXPECT_TRUE(c.vanishing);
  EXPECT_TRUE(
      compare(floats({1, 1e-9f}), floats({1, 0}), tolerance_for(DType::f32, 1)).equal);  // small beside its neighbours
  EXPECT_FALSE(compare(floats({1}), floats({1}), tolerance_for(DType::f32, 1)).vanishing);
}

TEST(Compare, GrowsWithTheReductionAndTheTypesPrecision) {
  const Tensor expected = floats({1});
  EXPECT_TRUE(equal(floats({1 + 5e-7f}), expected, 1));
  EXPECT_FALSE(equal(floats({1 + 5e-6f}), expected, 1));
  EXPECT_TRUE(equal(floats({1 + 5e-6f}), expected, 10000));
  EXPECT_FALSE(equal(floats({1 + 5e-5f}), expected, 10000));
  Tensor half(DType::f16, {1}), near(DType::f16, {1}), far(DType::f16, {1});
  half.set_double(0, 1), near.set_double(0, 1.002), far.set_double(0, 1.01);
  EXPECT_TRUE(equal(near, half));
  EXPECT_FALSE(equal(far, half));
}

TEST(Compare, WantsIntegersExactButQuantisedOnesWithinOne) {
  const int64_t big = int64_t{1} << 60;
  EXPECT_FALSE(equal(Tensor::ints(std::vector{big + 1}), Tensor::ints(std::vector{big})));
  EXPECT_FALSE(equal(bytes({2}), bytes({1}), 1));
  EXPECT_TRUE(equal(bytes({2}), bytes({1}), 100));
  EXPECT_FALSE(equal(bytes({3}), bytes({1}), 100));
  const Comparison c = compare(bytes({7, 3}), bytes({7, 250}), tolerance_for(DType::u8, 1));
  EXPECT_EQ(c.mismatch, "1 of 2 elements differ, the worst at [1]: 3, expected 250");
}

TEST(Compare, IsNumPysAllcloseForOnnxData) {
  const Tolerance t = allclose_tolerance();
  EXPECT_TRUE(compare(floats({1.0009f}), floats({1}), t).equal);
  EXPECT_FALSE(compare(floats({1.0011f}), floats({1}), t).equal);
  EXPECT_TRUE(compare(floats({0.9e-7f}), floats({0}), t).equal);
  EXPECT_FALSE(compare(floats({1.1e-7f}), floats({0}), t).equal);
}

TEST(Compare, AcceptsEmptyTensors) {
  const Comparison c = compare(floats({}), floats({}), {});
  EXPECT_TRUE(c.equal);
  EXPECT_FALSE(c.vanishing);
}

}  // namespace
}  // namespace fcc
