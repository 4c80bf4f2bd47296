// Where the threads of one run meet: chunks are claimed here, and nobody waits for a thread that claimed nothing.
//
// A job is a sequence of regions; a region is a number of independent chunks. Whoever finishes the last chunk of a
// region holds the baton: it alone calls Job::advance, which runs the serial work in between and names the next region.
// So a join costs one atomic add, a serial step costs no handing over, and a thread that the system put to sleep before
// it claimed anything delays nobody. Each participant starts with its own share of the chunks, the same in every run,
// so that weights stay in its cache; when its share is empty it takes from the ends of the others.
//
// A thread that arrives late, even one that slept through several jobs, must not touch a job that is over. Claims are
// compare-and-swap on words that carry the generation of their region, so it fails there; only a successful claim
// allows a look at the job, because the claim itself keeps the job alive. It knows nothing of models or steps.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace fcc::runtime {

inline constexpr uint32_t kMaxParticipants = 128;

struct Region {
  uint32_t chunks;  // 0: the job is over
  bool wake;        // is it worth waking sleeping threads?
};

class Job {
 public:
  virtual void run_chunk(uint32_t chunk, uint32_t participant) = 0;
  virtual Region advance(uint32_t participant) = 0;
  // At most this long on one thread, by estimate; 0: unknown.
  virtual int64_t expected_ns() const { return 0; }

 protected:
  ~Job() = default;
};

class Board {
 public:
  // Makes the job the board's; runs its serial head here. One job at a time.
  void open(Job& job, uint32_t participants, bool wake_all_at_end);
  // Takes part until the job is over. Safe to call late, or after the end.
  void work(uint32_t participant);
  // Takes part in whatever jobs come until stop().
  void serve(uint32_t participant);
  void stop();
  // Of the last job, to be read by its caller after work(0).
  struct Join {
    int64_t slept_ns;       // that the caller slept, waiting for helpers
    bool helper_preempted;  // the system put a helper off its CPU meanwhile
  };
  Join last_join();
  bool was_helped() const { return helped_.load(std::memory_order_relaxed); }  // someone else ran chunks of it

 private:
  struct alignas(64) Share {
    std::atomic<uint64_t> word{0};
  };

  bool help(uint32_t participant);
  bool claim(uint32_t participant, uint32_t* chunk);
  void pass_baton(uint32_t participant);
  void publish(Region region, uint32_t participant);
  void finish();
  void note_preemption();
  void wait(uint32_t seen_epoch, uint32_t participant, int64_t spin_ns);

  // Read by claimers after a claim, written by the baton's holder: never both at once.
  Job* job_ = nullptr;
  uint32_t participants_ = 0;
  uint32_t generation_ = 0;
  uint32_t fp_control_ = 0;  // rounding and denormal mode of the caller
  bool wake_all_at_end_ = false;

  alignas(64) std::atomic<uint32_t> epoch_{0};  // changes when there may be something to do; also the futex
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> preempted_{false};  // a helper was, while the caller slept in the join
  std::atomic<bool> helped_{false};     // by anyone but the caller
  int64_t caller_slept_ns_ = 0;         // touched by the caller only
  std::atomic<bool> running_{false};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<uint32_t> pending_{0};  // chunks of the region not yet finished
  std::array<Share, kMaxParticipants> shares_;
};

// How long a thread spins before it sleeps. Longer than the gaps inside a run and between back-to-back calls, short
// enough to leave the CPU to others: docs/abi.md has the measurements.
inline constexpr int64_t kWorkerSpinNs = 40'000;
inline constexpr int64_t kJoinSpinNs = 20'000;

}  // namespace fcc::runtime
