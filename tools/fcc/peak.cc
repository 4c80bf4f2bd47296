#include "tools/fcc/peak.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace fcc {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kSliceSeconds = 0.004;  // of one trial; the best of kTrials counts
constexpr int kTrials = 12;
constexpr int kRounds = 2000;  // loop rounds between two looks at the clock

// Independent accumulators hide the latency of the multiply-add: 4 cycles x 2 ports on current cores, with room.
// Twelve, because 16 registers (AVX2) must hold them, both factors and a spare.
constexpr int kChains = 12;

// GCC's generic vectors: the loop is the same for every width, the target attribute picks the instruction.
#define FCC_FMA_LOOP(function, lanes, ...)                                                        \
  __VA_ARGS__ double function(int rounds) {                                                       \
    typedef float Vector __attribute__((vector_size(lanes * 4)));                                 \
    Vector factor = Vector{} + 0.999f, term = Vector{} + 1e-3f;                                   \
    Vector sum[kChains];                                                                          \
    for (int i = 0; i < kChains; ++i) sum[i] = Vector{} + static_cast<float>(i);                  \
    asm volatile("" : "+m"(factor), "+m"(term)); /* unknown to the optimiser */                   \
    for (int r = 0; r < rounds; ++r) {                                                            \
      _Pragma("GCC unroll 16") for (int i = 0; i < kChains; ++i) sum[i] = sum[i] * factor + term; \
    }                                                                                             \
    for (int i = 1; i < kChains; ++i) sum[0] += sum[i];                                           \
    asm volatile("" ::"m"(sum[0]));                                                               \
    return 2.0 * lanes * kChains * rounds;                                                        \
  }

// Sums 64-byte lines into several vectors, so that loads are the only limit.
#define FCC_READ_LOOP(function, ...)                                          \
  __VA_ARGS__ void function(const std::byte* data, int64_t bytes) {           \
    typedef int64_t Vector __attribute__((vector_size(64)));                  \
    Vector sum[4] = {};                                                       \
    const Vector* v = reinterpret_cast<const Vector*>(data);                  \
    const int64_t n = bytes / 64;                                             \
    for (int64_t i = 0; i + 4 <= n; i += 4) {                                 \
      _Pragma("GCC unroll 4") for (int k = 0; k < 4; ++k) sum[k] ^= v[i + k]; \
    }                                                                         \
    sum[0] ^= sum[1] ^ sum[2] ^ sum[3];                                       \
    asm volatile("" ::"m"(sum[0]));                                           \
  }

#if defined(__x86_64__)
FCC_FMA_LOOP(fma_avx512, 16, __attribute__((target("avx512f,fma,prefer-vector-width=512"))))
FCC_FMA_LOOP(fma_avx2, 8, __attribute__((target("avx2,fma"))))
FCC_FMA_LOOP(fma_plain, 4, )
FCC_READ_LOOP(read_avx512, __attribute__((target("avx512f,prefer-vector-width=512"))))
FCC_READ_LOOP(read_avx2, __attribute__((target("avx2"))))
FCC_READ_LOOP(read_plain, )
auto best_fma() {
  if (__builtin_cpu_supports("avx512f")) return fma_avx512;
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2") ? fma_avx2 : fma_plain;
}
auto best_read() {
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  return __builtin_cpu_supports("avx2") ? read_avx2 : read_plain;
}
#else
FCC_FMA_LOOP(fma_plain, 4, )
FCC_READ_LOOP(read_plain, )
auto best_fma() {
  return fma_plain;
}
auto best_read() {
  return read_plain;
}
#endif

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Runs work(thread) on every thread at once; the sum over threads of (amount done / seconds taken), best trial.
template <class Work>
double best_rate(int threads, const Work& work) {
  std::vector<std::vector<double>> rates(kTrials, std::vector<double>(static_cast<size_t>(threads)));
  std::barrier together(threads);
  auto body = [&](int thread) {
    for (int trial = 0; trial < kTrials; ++trial) {
      together.arrive_and_wait();
      const Clock::time_point start = Clock::now();
      double amount = 0, seconds = 0;
      do {
        amount += work(thread);
        seconds = seconds_since(start);
      } while (seconds < kSliceSeconds);
      rates[static_cast<size_t>(trial)][static_cast<size_t>(thread)] = amount / seconds;
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int t = 1; t < threads; ++t) helpers.emplace_back(body, t);
    body(0);
  }
  double best = 0;
  for (const std::vector<double>& trial : rates) {
    double sum = 0;
    for (double r : trial) sum += r;
    best = std::max(best, sum);
  }
  return best;
}

struct FreeMemory {
  void operator()(std::byte* p) const { std::free(p); }
};

}  // namespace

double measure_peak_flops(int threads) {
  auto fma = best_fma();
  return best_rate(threads, [fma](int) { return fma(kRounds); });
}

double ReadBandwidth::at(int64_t bytes) {
  constexpr int64_t kSmallest = 16 << 10, kLargest = 256 << 20;
  int64_t size = kSmallest;
  while (size < bytes && size < kLargest) size *= 4;
  auto [entry, added] = measured_.try_emplace(size, 0);
  if (!added) return entry->second;
  const int64_t share = std::max<int64_t>(size / threads_ & -256, 256);
  std::unique_ptr<std::byte, FreeMemory> memory(
      static_cast<std::byte*>(std::aligned_alloc(256, static_cast<size_t>(share * threads_))));
  if (!memory) return 0;
  std::memset(memory.get(), 1, static_cast<size_t>(share * threads_));
  auto read = best_read();
  // Small sets are read several times between two looks at the clock.
  const int64_t repeats = std::max<int64_t>(1, (1 << 20) / share);
  entry->second = best_rate(threads_, [&](int thread) {
    for (int64_t r = 0; r < repeats; ++r) read(memory.get() + thread * share, share);
    return static_cast<double>(share * repeats);
  });
  return entry->second;
}

}  // namespace fcc
