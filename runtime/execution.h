// One run of an entry: the steps in order, alone or with helpers.
//
// Built once per shape by the session and reused, so a run touches only this. Alone, it is a loop of a few instructions
// a step. With helpers it is one job: workers stay in it from step to step, steps with too little work are done by
// whichever thread holds the baton. It neither resolves pointers nor plans memory.
#pragma once

#include <atomic>
#include <vector>

#include "board.h"
#include "error.h"
#include "pool.h"

namespace fcc::runtime {

struct StepCall {
  fcc_kernel run;
  void* const* args;
  int64_t tiles;
  uint32_t chunks;       // 0: too little work to share
  uint32_t flags;        // fcc_step_flags
  int64_t remaining_ns;  // estimated sharable work from this step to the end
  int64_t pieces;        // a run backwards goes through the tiles in so many pieces, the last first; 1: never backwards
};

struct StepClock {
  int64_t calls = 0, ns = 0;
};

// Called after a step that defines symbols: sizes, buffers and tile counts of the later steps are then known.
class SymbolListener {
 public:
  virtual fcc_status symbols_defined(uint32_t step) = 0;

 protected:
  ~SymbolListener() = default;
};

class Execution final : private Job {
 public:
  std::vector<StepCall> steps;
  int64_t* symbols = nullptr;
  std::byte* scratch = nullptr;
  int64_t scratch_stride = 0;   // bytes of each participant
  int64_t worth_waking_ns = 0;  // with less work than this left, sleeping helpers are left asleep
  int64_t work_ns = 0;          // estimated, of the whole run
  // Steps that stream weights start at the end, where the run before stopped: what the caches still hold of it is read
  // before it is displaced. A stream that starts at the same end every time finds nothing there.
  bool backwards = false;
  StepClock* clocks = nullptr;  // null: no profile
  SymbolListener* listener = nullptr;

  struct Outcome {
    fcc_status status;  // FCC_FAULT: a kernel refused, see step and fault
    uint32_t step;
    int32_t fault;
    bool forked;
  };
  Outcome run_alone();
  // Falls back to run_alone when the pool declines.
  Outcome run_with(Pool& pool, uint32_t participants);

 private:
  template <bool kProfile>
  Outcome run_steps();
  bool run_whole(uint32_t index, std::byte* own_scratch);
  int32_t run_tiles(const StepCall& step, int64_t first, int64_t last, int64_t pieces, std::byte* own_scratch) const;
  uint32_t mirrored(uint32_t chunk, uint32_t chunks) const;
  int64_t expected_ns() const override { return work_ns; }
  void run_chunk(uint32_t chunk, uint32_t participant) override;
  Region advance(uint32_t participant) override;
  void add_time(uint32_t step, int64_t since);

  // Of a shared run; written by the baton's holder, and faults by everyone.
  uint32_t current_ = 0, participants_ = 1;
  bool region_open_ = false;
  int64_t region_start_ = 0;
  Outcome outcome_{};
  std::atomic<uint64_t> first_fault_{0};
  char error_[kErrorTextBytes];
};

}  // namespace fcc::runtime
