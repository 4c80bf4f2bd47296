// Steps run backwards: every tile once, the last piece first, a thread's share from behind and its own in any
// direction.
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "runtime/execution.h"
#include "runtime/sharing_balance.h"

namespace fcc::runtime {
namespace {

struct Record {
  std::mutex mutex;
  std::vector<std::pair<int64_t, int64_t>> ranges;
};

int32_t note_range(void* const* args, int64_t*, int64_t first, int64_t last, void*) {
  auto* record = static_cast<Record*>(args[0]);
  std::lock_guard lock(record->mutex);
  record->ranges.emplace_back(first, last);
  return 0;
}

// All ranges sorted touch each other from 0 to tiles.
void expect_every_tile_once(std::vector<std::pair<int64_t, int64_t>> ranges, int64_t tiles) {
  std::sort(ranges.begin(), ranges.end());
  int64_t at = 0;
  for (auto [first, last] : ranges) {
    EXPECT_EQ(first, at);
    EXPECT_LT(first, last);
    at = last;
  }
  EXPECT_EQ(at, tiles);
}

TEST(Execution, BackwardsTakesTheLastPieceFirst) {
  Record record;
  void* args[] = {&record};
  Execution execution;
  execution.steps = {{&note_range, args, 10, 0, 0, 0, 4}};
  execution.run_alone();
  EXPECT_EQ(record.ranges.size(), 1u);
  record.ranges.clear();
  execution.backwards = true;
  execution.run_alone();
  EXPECT_EQ(record.ranges, (std::vector<std::pair<int64_t, int64_t>>{{7, 10}, {5, 7}, {2, 5}, {0, 2}}));
}

// A pool of one thread per participant would leave the order to chance; this one claims in the caller only.
class CallerOnly final : public Pool {
 public:
  uint32_t threads() const override { return 2; }
  void reserve(uint32_t) override {}
  bool run(Job& job, uint32_t participants) override {
    board_.open(job, participants, false);
    board_.work(0);
    return true;
  }

 private:
  Board board_;
};

TEST(Execution, BackwardsStaysInItsShare) {
  for (uint32_t chunks : {2u, 3u, 5u, 8u, 32u})
    for (bool backwards : {false, true}) {
      Record record;
      void* args[] = {&record};
      Execution execution;
      execution.steps = {{&note_range, args, 64, chunks, 0, 0, 4}};
      execution.backwards = backwards;
      CallerOnly pool;
      execution.run_with(pool, 2);
      expect_every_tile_once(record.ranges, 64);
      // The caller's own share comes first, whatever the direction.
      const int64_t own = 64 * (chunks / 2) / chunks;
      int64_t seen = 0;
      for (size_t i = 0; seen < own; ++i) {
        EXPECT_LE(record.ranges[i].second, own) << chunks << (backwards ? " backwards" : "");
        seen += record.ranges[i].second - record.ranges[i].first;
      }
    }
}

// Helpers are given up when they cost more than they brought, and not for a single slice after a good time.
TEST(SharingBalance, WeighsLossesAgainstGains) {
  SharingBalance balance;
  EXPECT_TRUE(balance.loss_prevails(4'000'000));  // nothing was gained before
  for (int i = 0; i < 100; ++i) balance.add_run(250'000);
  EXPECT_FALSE(balance.loss_prevails(4'000'000));  // 12.5 ms gained, 8.5 left
  EXPECT_FALSE(balance.loss_prevails(4'000'000));
  EXPECT_TRUE(balance.loss_prevails(5'000'000));
  EXPECT_TRUE(balance.loss_prevails(1'000'000));  // and the account is empty
  for (int i = 0; i < 100'000; ++i) balance.add_run(250'000);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(balance.loss_prevails(4'000'000));
  EXPECT_TRUE(balance.loss_prevails(4'000'000));  // however long the good time was
}

}  // namespace
}  // namespace fcc::runtime
