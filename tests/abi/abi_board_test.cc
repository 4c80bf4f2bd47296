// The board alone: every chunk once, regions in order, late and sleeping participants harmless. Run it under TSan.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "runtime/board.h"

namespace fcc::runtime {
namespace {

// Regions of the given numbers of chunks; checks that each chunk runs once, in its region, with one baton.
class CountingJob final : public Job {
 public:
  CountingJob(std::vector<uint32_t> regions, uint32_t participants)
      : regions_(std::move(regions)), participants_(participants) {
    for (uint32_t chunks : regions_) counts_.emplace_back(chunks);
  }
  void run_chunk(uint32_t chunk, uint32_t participant) override {
    if (participant >= participants_) uninvited_ = true;  // there is no scratch for it
    counts_[region_].at(chunk).fetch_add(1, std::memory_order_relaxed);
    if (++busy_by_[participant] != 1) shared_ = true;  // two threads under one number would share scratch
    --busy_by_[participant];
    plain_sum_[participant] += chunk;
  }
  Region advance(uint32_t) override {
    if (open_)
      for (auto& count : counts_[region_])
        if (count.load(std::memory_order_relaxed) != 1) wrong_ = true;
    region_ += open_;
    open_ = region_ < regions_.size();
    return {open_ ? regions_[region_] : 0, true};
  }
  bool complete() const { return !wrong_ && !shared_ && !uninvited_ && region_ == regions_.size(); }

 private:
  std::vector<uint32_t> regions_;
  uint32_t participants_;
  std::vector<std::vector<std::atomic<int>>> counts_;
  std::array<std::atomic<int>, kMaxParticipants> busy_by_{};
  std::array<uint64_t, kMaxParticipants> plain_sum_{};
  uint32_t region_ = 0;
  bool open_ = false, wrong_ = false;
  std::atomic<bool> shared_{false}, uninvited_{false};
};

// A board with threads that serve it.
class Served {
 public:
  explicit Served(uint32_t workers) {
    for (uint32_t i = 0; i < workers; ++i) threads_.emplace_back([this, i] { board.serve(i + 1); });
  }
  ~Served() {
    board.stop();
    for (auto& thread : threads_) thread.join();
  }
  bool run(std::vector<uint32_t> regions, uint32_t participants) {
    CountingJob job(std::move(regions), participants);
    board.open(job, participants, false);
    board.work(0);
    return job.complete();
  }
  Board board;

 private:
  std::vector<std::thread> threads_;
};

TEST(Board, NobodyHelps) {
  Served served(0);
  EXPECT_TRUE(served.run({1, 5, 100, 4000}, 1));
  EXPECT_TRUE(served.run({1, 5, 100, 4000}, 8));  // seven participants that never come
  EXPECT_TRUE(served.run({}, 4));
}

TEST(Board, ManyJobsOfChangingSizes) {
  Served served(5);
  for (uint32_t i = 0; i < FCC_BOARD_JOBS; ++i) ASSERT_TRUE(served.run({1 + i % 7, 1, 1 + i % 40, 3}, 1 + i % 6)) << i;
}

TEST(Board, WorkersThatSleepBetweenJobs) {
  Served served(3);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(served.run({8, 8, 8}, 4));
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

TEST(Board, CallerThatSleepsInTheJoin) {
  class SlowJob final : public Job {
   public:
    void run_chunk(uint32_t, uint32_t participant) override {
      if (participant == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      helped_ = true;
    }
    Region advance(uint32_t) override { return {left_ > 0 ? (left_--, 64u) : 0u, true}; }
    int left_ = 5;
    std::atomic<bool> helped_{false};
  } job;
  Served served(2);
  served.board.open(job, 3, false);
  served.board.work(0);
  EXPECT_EQ(job.left_, 0);
}

TEST(Board, GuestsThatComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    Board board;
    CountingJob job({16, 1, 16, 16}, 3);
    std::vector<std::thread> guests;
    board.open(job, 3, true);
    for (uint32_t g = 1; g < 3; ++g) guests.emplace_back([&board, g] { board.work(g); });
    board.work(0);
    for (auto& guest : guests) guest.join();
    ASSERT_TRUE(job.complete());
  }
}

}  // namespace
}  // namespace fcc::runtime
