#include "execution.h"

#include <algorithm>
#include <cstdio>

#include "clock.h"

namespace fcc::runtime {
namespace {

constexpr uint64_t kNoFault = ~uint64_t{0};

}  // namespace

Execution::Outcome Execution::run_alone() {
  return clocks ? run_steps<true>() : run_steps<false>();
}

template <bool kProfile>
Execution::Outcome Execution::run_steps() {
  outcome_ = {FCC_OK, 0, 0, false};
  for (uint32_t i = 0; i < steps.size(); ++i) {
    int64_t start = kProfile ? now_ns() : 0;
    if (!run_whole(i, scratch)) break;
    if constexpr (kProfile) add_time(i, start);
  }
  return outcome_;
}

// Tiles [first, last), from behind when the run goes backwards.
inline int32_t Execution::run_tiles(const StepCall& step, int64_t first, int64_t last, int64_t pieces,
                                    std::byte* own_scratch) const {
  if (!backwards || pieces <= 1) return step.run(step.args, symbols, first, last, own_scratch);
  const int64_t tiles = last - first;
  for (int64_t piece = pieces; piece-- > 0;)
    step.run(step.args, symbols, first + tiles * piece / pieces, first + tiles * (piece + 1) / pieces, own_scratch);
  return 0;  // steps that may fault have one piece
}

// All tiles of a step in this thread; false, with the outcome set, when it failed.
inline bool Execution::run_whole(uint32_t index, std::byte* own_scratch) {
  const StepCall& step = steps[index];
  if (step.tiles <= 0) return true;
  if (int32_t fault = run_tiles(step, 0, step.tiles, step.pieces, own_scratch); fault != 0) [[unlikely]] {
    outcome_ = {FCC_FAULT, index, fault, outcome_.forked};
    return false;
  }
  if (!(step.flags & FCC_STEP_DEFINES_SYMBOLS) || listener == nullptr) return true;
  fcc_status status = guarded([&] { return listener->symbols_defined(index); });
  if (status == FCC_OK) return true;
  outcome_ = {status, index, 0, outcome_.forked};
  std::snprintf(error_, sizeof error_, "%s", error_text());  // this may be another thread than the caller's
  return false;
}

Execution::Outcome Execution::run_with(Pool& pool, uint32_t participants) {
  current_ = 0;
  region_open_ = false;
  participants_ = participants;
  outcome_ = {FCC_OK, 0, 0, true};
  first_fault_.store(kNoFault, std::memory_order_relaxed);
  if (!pool.run(*this, participants)) return run_alone();
  if (outcome_.status != FCC_OK && outcome_.status != FCC_FAULT) set_error_text(error_);
  return outcome_;
}

// The chunk at the same distance from the other end of the same participant's share (board.cc): a thread goes through
// its share from behind, and its weights stay in its cache.
uint32_t Execution::mirrored(uint32_t chunk, uint32_t chunks) const {
  uint32_t owner = ((chunk + 1) * participants_ - 1) / chunks;
  return chunks * owner / participants_ + chunks * (owner + 1) / participants_ - 1 - chunk;
}

void Execution::run_chunk(uint32_t chunk, uint32_t participant) {
  const StepCall& step = steps[current_];
  if (backwards && step.pieces > 1) chunk = mirrored(chunk, step.chunks);
  int64_t first = step.tiles * chunk / step.chunks, last = step.tiles * (chunk + 1) / step.chunks;
  int64_t pieces = std::min(last - first, (step.pieces + step.chunks - 1) / step.chunks);
  int32_t fault = run_tiles(step, first, last, pieces, scratch + participant * scratch_stride);
  if (fault == 0) return;
  // The fault of the lowest tiles wins, whatever the number of threads.
  uint64_t seen = first_fault_.load(std::memory_order_relaxed);
  uint64_t mine = uint64_t{chunk} << 32 | static_cast<uint32_t>(fault);
  while (mine < seen && !first_fault_.compare_exchange_weak(seen, mine, std::memory_order_relaxed)) {
  }
}

// The baton: ends the region that was open, runs the steps that are not shared, opens the next one.
Region Execution::advance(uint32_t participant) {
  constexpr Region kOver{0, false};
  if (region_open_) {
    region_open_ = false;
    if (clocks) add_time(current_, region_start_);
    if (uint64_t fault = first_fault_.load(std::memory_order_relaxed); fault != kNoFault) {
      outcome_ = {FCC_FAULT, current_, static_cast<int32_t>(fault), true};
      return kOver;
    }
    ++current_;
  }
  for (; current_ < steps.size(); ++current_) {
    const StepCall& step = steps[current_];
    int64_t start = clocks ? now_ns() : 0;
    if (step.chunks > 0) {
      region_open_ = true;
      region_start_ = start;
      return {step.chunks, step.remaining_ns >= worth_waking_ns};
    }
    if (!run_whole(current_, scratch + participant * scratch_stride)) return kOver;
    if (clocks) add_time(current_, start);
  }
  return kOver;
}

void Execution::add_time(uint32_t step, int64_t since) {
  clocks[step].calls += 1;
  clocks[step].ns += now_ns() - since;
}

}  // namespace fcc::runtime
