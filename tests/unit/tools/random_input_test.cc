#include "tools/random_input.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace fcc {
namespace {

TEST(RandomInput, IsTheSameForTheSameSeedAndName) {
  const Tensor a = random_tensor("x", DType::f32, {100}, {}), b = random_tensor("x", DType::f32, {100}, {});
  EXPECT_TRUE(a.same_bits(b));
  EXPECT_FALSE(a.same_bits(random_tensor("y", DType::f32, {100}, {})));
  EXPECT_FALSE(a.same_bits(random_tensor("x", DType::f32, {100}, {.seed = 2})));
  // The values themselves are part of what scripts compare: they stay.
  EXPECT_EQ(random_tensor("x", DType::i64, {8}, {}).to_ints(), (std::vector<int64_t>{1, 3, 1, 1, 0, 1, 0, 1}));
}

TEST(RandomInput, FillsTheRangeEvenly) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    std::vector<double> v = random_tensor("x", dtype, {20000}, {.low = -2, .high = 6}).to_doubles();
    double sum = 0;
    for (double x : v) sum += x;
    EXPECT_NEAR(sum / 20000, 2, 0.06) << name(dtype);
    auto [low, high] = std::ranges::minmax(v);
    EXPECT_GE(low, -2);
    EXPECT_LE(high, 6);
    EXPECT_LT(low, -1.9);
    EXPECT_GT(high, 5.9);
  }
}

TEST(RandomInput, GivesSmallIntegersAndBooleans) {
  for (DType dtype : {DType::i8, DType::u8, DType::i32, DType::i64, DType::u64}) {
    const std::vector<int64_t> v = random_tensor("x", dtype, {1000}, {}).to_ints();
    EXPECT_EQ(std::set(v.begin(), v.end()), (std::set<int64_t>{0, 1, 2, 3})) << name(dtype);
  }
  const std::vector<int64_t> b = random_tensor("x", DType::boolean, {1000}, {}).to_ints();
  EXPECT_EQ(std::set(b.begin(), b.end()), (std::set<int64_t>{0, 1}));
}

}  // namespace
}  // namespace fcc
