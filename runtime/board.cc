#include "board.h"

#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "clock.h"
#include "fp_environment.h"

namespace fcc::runtime {
namespace {

// A share's word: generation 32, participants 8, next 12, end 12. Chunks [next, end) of that region are unclaimed.
constexpr uint64_t pack(uint32_t generation, uint32_t participants, uint32_t next, uint32_t end) {
  return uint64_t{generation} << 32 | uint64_t{participants} << 24 | uint64_t{next} << 12 | end;
}
constexpr uint32_t participants_of(uint64_t word) {
  return (word >> 24) & 0xff;
}
constexpr uint32_t next_of(uint64_t word) {
  return (word >> 12) & 0xfff;
}
constexpr uint32_t end_of(uint64_t word) {
  return word & 0xfff;
}
constexpr uint64_t kOneNext = 1u << 12;

// Sleepers are woken by bit, so that a pool larger than the job leaves the others asleep.
uint32_t wake_bit(uint32_t participant) {
  return participant == 0 ? 1u : 2u << (participant - 1) % 31;
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t seen, uint32_t bits) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, seen, nullptr, nullptr, bits);
}
void futex_wake(std::atomic<uint32_t>& word, uint32_t bits) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, nullptr, nullptr, bits);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

long preemptions() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}
thread_local long preemptions_seen = 0;

}  // namespace

void Board::open(Job& job, uint32_t participants, bool wake_all_at_end) {
  job_ = &job;
  participants_ = participants;
  fp_control_ = read_fp_control();
  wake_all_at_end_ = wake_all_at_end;
  caller_slept_ns_ = 0;
  helped_.store(false, std::memory_order_relaxed);
  running_.store(true, std::memory_order_relaxed);
  pass_baton(0);
}

void Board::work(uint32_t participant) {
  while (running_.load(std::memory_order_acquire)) {
    uint32_t seen = epoch_.load(std::memory_order_acquire);
    if (help(participant)) continue;
    if (!running_.load(std::memory_order_acquire)) return;
    wait(seen, participant, kJoinSpinNs);
  }
}

void Board::serve(uint32_t participant) {
  preemptions_seen = preemptions();
  while (!stopping_.load(std::memory_order_acquire)) {
    uint32_t seen = epoch_.load(std::memory_order_acquire);
    if (help(participant)) continue;
    if (stopping_.load(std::memory_order_acquire)) return;
    wait(seen, participant, kWorkerSpinNs);
  }
}

void Board::stop() {
  stopping_.store(true, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(epoch_, ~0u);
}

// Claims and runs what there is; false when there was nothing.
bool Board::help(uint32_t participant) {
  bool helped = false;
  uint32_t own_control = 0;
  while (true) {
    uint32_t finished = 0;
    for (uint32_t chunk; claim(participant, &chunk); ++finished) {
      if (!helped) own_control = read_fp_control();
      helped = true;
      // Once a batch: the next batch may belong to another job.
      if (finished == 0 && read_fp_control() != fp_control_) write_fp_control(fp_control_);
      job_->run_chunk(chunk, participant);
    }
    if (finished == 0) break;
    if (participant != 0 && !helped_.load(std::memory_order_relaxed)) helped_.store(true, std::memory_order_relaxed);
    // Chunks not yet reported keep the region open, so everything read above was stable.
    if (pending_.fetch_sub(finished, std::memory_order_acq_rel) != finished) continue;
    if (participant != 0 && caller_sleeps_.load(std::memory_order_relaxed)) note_preemption();
    pass_baton(participant);
  }
  if (helped && read_fp_control() != own_control) write_fp_control(own_control);
  return helped;
}

// Own share from the front, then the others' from the back. A stale own word can only make this look at too few or
// too many shares: too few is repaired by the epoch, which changes after every share is written; a share of a region
// that has no room for this participant is not touched.
bool Board::claim(uint32_t participant, uint32_t* chunk) {
  std::atomic<uint64_t>& own = shares_[participant].word;
  uint64_t word = own.load(std::memory_order_acquire);
  while (next_of(word) < end_of(word)) {
    if (own.compare_exchange_weak(word, word + kOneNext, std::memory_order_acquire)) {
      *chunk = next_of(word);
      return true;
    }
  }
  uint32_t count = participants_of(word);
  for (uint32_t i = 1; i < count && participant < count; ++i) {
    std::atomic<uint64_t>& other = shares_[(participant + i) % count].word;
    word = other.load(std::memory_order_acquire);
    while (next_of(word) < end_of(word) && participant < participants_of(word)) {
      if (other.compare_exchange_weak(word, word - 1, std::memory_order_acquire)) {
        *chunk = end_of(word) - 1;
        return true;
      }
    }
  }
  return false;
}

void Board::pass_baton(uint32_t participant) {
  Region region = job_->advance(participant);
  if (region.chunks == 0)
    finish();
  else
    publish(region, participant);
}

void Board::publish(Region region, uint32_t participant) {
  uint32_t n = participants_, wake_bits = 0;
  pending_.store(region.chunks, std::memory_order_relaxed);
  ++generation_;
  for (uint32_t i = 0; i < n; ++i) {
    uint32_t begin = region.chunks * i / n, end = region.chunks * (i + 1) / n;
    shares_[i].word.store(pack(generation_, n, begin, end), std::memory_order_release);
    if (i != participant) wake_bits |= wake_bit(i);
  }
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  // From here on others may finish the region and even the job: touch nothing but atomics that outlive it.
  if (region.wake && sleepers_.load(std::memory_order_seq_cst) > 0) futex_wake(epoch_, wake_bits);
}

void Board::finish() {
  bool wake_all = wake_all_at_end_;
  running_.store(false, std::memory_order_release);
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (wake_all ? sleepers_.load(std::memory_order_seq_cst) > 0 : caller_sleeps_.load(std::memory_order_seq_cst))
    futex_wake(epoch_, wake_all ? ~0u : wake_bit(0));
}

void Board::wait(uint32_t seen_epoch, uint32_t participant, int64_t spin_ns) {
  auto changed = [&] { return epoch_.load(std::memory_order_acquire) != seen_epoch; };
  int64_t now = now_ns();
  for (const int64_t end = now + spin_ns; now < end; now = now_ns())
    for (int i = 0; i < 16; ++i) {
      if (changed()) return;
      pause();
    }
  bool caller = participant == 0;
  if (caller) caller_sleeps_.store(true, std::memory_order_seq_cst);
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (!changed()) futex_wait(epoch_, seen_epoch, wake_bit(participant));
  sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  if (!caller) return;
  caller_sleeps_.store(false, std::memory_order_seq_cst);
  caller_slept_ns_ += now_ns() - now;
}

// Only when the caller sleeps: it is waiting anyway, so the system call delays nobody who was on time.
void Board::note_preemption() {
  long now = preemptions();
  if (now != preemptions_seen) preempted_.store(true, std::memory_order_relaxed);
  preemptions_seen = now;
}

Board::Join Board::last_join() {
  bool preempted = preempted_.load(std::memory_order_relaxed);
  if (preempted) preempted_.store(false, std::memory_order_relaxed);
  return {caller_slept_ns_, preempted};
}

}  // namespace fcc::runtime
