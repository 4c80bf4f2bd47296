// Schedules follow PyTorch's; initialisers have the moments they promise; the generator is Philox.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fcc/random.hpp"
#include "training/initialize.h"
#include "training/schedule.h"

namespace fcc::runtime {
namespace {

struct Recorded {
  const char* text;
  std::vector<double> rates;
};
const Recorded kRecorded[] = {
#include "schedules.inc"
};

// What reduce-on-plateau was shown when it was recorded.
double metric(int64_t t) {
  const double first[] = {1.0, 0.9, 0.95, 0.94, 0.93, 0.92, 0.91, 0.9, 0.89999, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6};
  return t < 16 ? first[t] : 0.4;
}

TEST(Schedule, FollowsPyTorch) {
  for (const Recorded& recorded : kRecorded) {
    Schedule schedule;
    ASSERT_EQ(Schedule::parse(recorded.text, &schedule), FCC_OK) << error_text();
    for (int64_t t = 0; t < static_cast<int64_t>(recorded.rates.size()); ++t) {
      double expected = recorded.rates[static_cast<size_t>(t)];
      EXPECT_NEAR(schedule.rate(0.05, 0.05, t), expected, 1e-14 + 1e-12 * expected) << recorded.text << " at " << t;
      Schedule restored;  // as a checkpoint does
      ASSERT_EQ(Schedule::parse(schedule.text(), &restored), FCC_OK);
      ASSERT_TRUE(restored.remember(schedule.memory()));
      schedule = restored;
      schedule.observe(metric(t));
    }
  }
}

TEST(Schedule, GroupsKeepTheirRatioInOneCycle) {
  Schedule schedule;
  ASSERT_EQ(Schedule::parse("onecycle(steps=10, max_lr=0.4)", &schedule), FCC_OK);
  for (int64_t t = 0; t < 10; ++t) EXPECT_NEAR(schedule.rate(0.5, 0.05, t), 10 * schedule.rate(0.05, 0.05, t), 1e-12);
}

TEST(Schedule, BadTextsSayWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"cosin(steps=3)", "there is no schedule \"cosin\""},
      {"cosine", "lacks its length"},
      {"cosine(steps=3", "cannot be read"},
      {"cosine(steps=3, gamma)", "cannot be read"},
      {"cosine(steps=3, steps=4)", "cannot be read"},
      {"cosine(steps=three)", "expected numbers"},
      {"cosine(steps=0)", "whole numbers from 1"},
      {"cosine(steps=2.5)", "whole numbers from 1"},
      {"cosine(steps=3, epochs=4)", "either steps or epochs"},
      {"cosine(steps=3, gamma=4)", "does not take \"gamma\""},
      {"step(steps=3, eps=4)", "does not take \"eps\""},
      {"exponential(gamma=x)", "expected a number"},
      {"exponential(per=hour)", "expected step or epoch"},
      {"restarts(steps=3, mult=0.5)", "out of range"},
      {"plateau(mode=up)", "out of range"},
      {"", "cannot be read"},
  };
  for (const auto& [text, said] : cases) {
    Schedule schedule;
    EXPECT_EQ(Schedule::parse(text, &schedule), FCC_BAD_ARGUMENT) << text;
    EXPECT_NE(std::string(error_text()).find(said), std::string::npos) << text << ": " << error_text();
  }
}

// Known answers of Philox4x32-10 from the Random123 distribution.
TEST(Random, IsPhilox) {
  EXPECT_EQ(Philox(0, 0).block(0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~uint64_t{0}, ~uint64_t{0}).block(~uint64_t{0}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, ShufflesAreFairPermutations) {
  std::vector<int64_t> order;
  std::vector<int> first(5);
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    shuffled_order(int64_t{5}, seed, 0, &order);
    ++first[static_cast<size_t>(order[0])];
    std::vector<bool> seen(5);
    for (int64_t i : order) seen[static_cast<size_t>(i)] = true;
    for (bool s : seen) ASSERT_TRUE(s);
  }
  for (int count : first) EXPECT_NEAR(count, 1000, 5 * std::sqrt(800.0));
}

struct Drawn {
  double mean, deviation, least, most;
};
Drawn drawn(const std::string& text, std::vector<int64_t> dims, const char* name = "w",
            std::vector<int64_t> weight = {}) {
  size_t n = 1;
  for (int64_t dim : dims) n *= static_cast<size_t>(dim);
  std::vector<double> values(n, 42);
  bool changed = false;
  EXPECT_EQ(initialize(text, 5, {name, FCC_F64, dims, values.data(), weight}, &changed), FCC_OK) << error_text();
  Drawn d{0, 0, values[0], values[0]};
  for (double v : values) d.mean += v / static_cast<double>(n);
  for (double v : values) {
    d.deviation += (v - d.mean) * (v - d.mean) / static_cast<double>(n);
    d.least = std::min(d.least, v), d.most = std::max(d.most, v);
  }
  d.deviation = std::sqrt(d.deviation);
  return d;
}

// Of 200 x 300 values the deviation is known to about 0.3 %.
TEST(Initialize, HasTheMomentsOfPyTorch) {
  const double tolerance = 0.015;
  const std::pair<const char*, double> deviations[] = {
      {"kaiming_normal(nonlinearity=relu)", std::sqrt(2 / 300.0)},
      {"kaiming_normal(nonlinearity=relu, mode=fan_out)", std::sqrt(2 / 200.0)},
      {"kaiming_normal(nonlinearity=relu, layout=in_out)", std::sqrt(2 / 200.0)},
      {"kaiming_uniform(nonlinearity=tanh)", 5.0 / 3 / std::sqrt(300.0)},
      {"kaiming_uniform(a=0.5)", std::sqrt(2 / 1.25 / 300)},
      {"xavier_normal", std::sqrt(2 / 500.0)},
      {"xavier_uniform(gain=2)", 2 * std::sqrt(2 / 500.0)},
      {"normal(mean=3, std=0.5)", 0.5},
      {"uniform(low=-1, high=2)", 3 / std::sqrt(12.0)},
      {"default", 1 / std::sqrt(3 * 300.0)},
      {"trunc_normal(std=0.02, a=-0.04, b=0.04)", 0.02 * 0.8796},
  };
  for (const auto& [text, deviation] : deviations) {
    Drawn d = drawn(text, {200, 300});
    EXPECT_NEAR(d.deviation, deviation, tolerance * deviation) << text;
  }
  EXPECT_NEAR(drawn("normal(mean=3, std=0.5)", {200, 300}).mean, 3, 0.01);
  EXPECT_LE(drawn("default", {200, 300}).most, 1 / std::sqrt(300.0));
  EXPECT_LE(drawn("trunc_normal(std=0.02, a=-0.04, b=0.04)", {200, 300}).most, 0.04);
  EXPECT_NEAR(drawn("kaiming_normal(nonlinearity=relu)", {64, 10, 3, 3}).deviation, std::sqrt(2 / 90.0), 0.005);
}

TEST(Initialize, BiasesAndNormsByTheirDefaults) {
  EXPECT_NEAR(drawn("default", {5000}, "fc.bias", {5000, 25}).most, 0.2, 0.001);
  EXPECT_EQ(drawn("default", {50}, "norm.weight").most, 1);
  EXPECT_EQ(drawn("default", {50}, "norm.bias", {50}).most, 0);
  EXPECT_EQ(drawn("constant(0.25)", {50}).most, 0.25);
  EXPECT_EQ(drawn("ones", {50}).most, 1);
  EXPECT_EQ(drawn("keep", {50}).most, 42);
}

TEST(Initialize, OrthogonalRowsOrColumns) {
  for (std::vector<int64_t> dims : {std::vector<int64_t>{20, 50}, {50, 20}, {16, 4, 3, 3}}) {
    int64_t rows = dims[0], columns = 1;
    for (size_t i = 1; i < dims.size(); ++i) columns *= dims[i];
    std::vector<double> w(static_cast<size_t>(rows * columns));
    bool changed = false;
    ASSERT_EQ(initialize("orthogonal(gain=2)", 1, {"w", FCC_F64, dims, w.data(), {}}, &changed), FCC_OK);
    bool wide = columns > rows;
    int64_t n = wide ? rows : columns, length = wide ? columns : rows;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < length; ++k)
          dot += wide ? w[static_cast<size_t>(i * columns + k)] * w[static_cast<size_t>(j * columns + k)]
                      : w[static_cast<size_t>(k * columns + i)] * w[static_cast<size_t>(k * columns + j)];
        EXPECT_NEAR(dot, i == j ? 4.0 : 0.0, 1e-12);
      }
  }
}

}  // namespace
}  // namespace fcc::runtime
