// Measures what the runtime costs: a call of a tiny model, and fork + join of each pool after different gaps.
// Prints the tables of docs/abi.md. Times are of this machine at this moment: run it on an idle one.
//
//   abi_overhead [calls]
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "fcc/fcc.hpp"
#include "runtime/pool.h"
#ifdef FCC_TEST_pool_tbb
#include "fcc/pool_tbb.h"
#endif
#ifdef FCC_TEST_pool_openmp
#include "fcc/pool_openmp.h"
#endif

namespace {

using Clock = std::chrono::steady_clock;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

void spin_ns(int64_t ns) {
  for (int64_t end = now_ns() + ns; now_ns() < end;) {
  }
}

// Work that takes CPU time, not wall time: being put off the CPU does not finish it.
class Work {
 public:
  explicit Work(int64_t ns) {
    constexpr int64_t kTrial = 1'000'000;
    int64_t best = INT64_MAX;
    for (int i = 0; i < 10; ++i) {
      int64_t start = now_ns();
      turn(kTrial);
      best = std::min(best, now_ns() - start);
    }
    turns_ = ns * kTrial / best;
  }
  void operator()() const { turn(turns_); }

 private:
  static void turn(int64_t turns) {
    for (int64_t i = 0; i < turns; ++i) __asm__ volatile("");
  }
  int64_t turns_;
};

void sleep_ns(int64_t ns) {
  timespec pause{ns / 1'000'000'000, ns % 1'000'000'000};
  ::nanosleep(&pause, nullptr);
}

// Four chunks of the given work, once: the shape of a small parallel step.
class FourChunks final : public fcc::runtime::Job {
 public:
  explicit FourChunks(int64_t chunk_ns) : chunk_ns_(chunk_ns) {}
  void run_chunk(uint32_t, uint32_t) override {
    if (chunk_ns_ > 0) spin_ns(chunk_ns_);
  }
  fcc::runtime::Region advance(uint32_t) override { return {std::exchange(left_, 0u), true}; }

 private:
  int64_t chunk_ns_;
  uint32_t left_ = 4;
};

struct Quantiles {
  double median, p90, p99;
};

Quantiles quantiles(std::vector<double> us) {
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() * 9 / 10], us[us.size() * 99 / 100]};
}

Quantiles fork_join(fcc::runtime::Pool& pool, int64_t chunk_ns, int64_t gap_ns, int count) {
  std::vector<double> us;
  for (int i = 0; i < count + 20; ++i) {
    if (gap_ns >= 1'000'000)
      sleep_ns(gap_ns);
    else
      spin_ns(gap_ns);
    FourChunks job(chunk_ns);
    int64_t start = now_ns();
    if (!pool.run(job, 2)) spin_ns(4 * chunk_ns);  // declined: the caller does it all
    if (i >= 20) us.push_back(static_cast<double>(now_ns() - start) / 1e3);
  }
  return quantiles(std::move(us));
}

// A run as the pool sees it: regions one after the other, each of equal chunks of work.
struct Shape {
  const char* name;
  int regions;
  uint32_t chunks;
  int64_t chunk_ns;
  int runs;
};
constexpr Shape kShapes[] = {{"1 ms in 8 regions of 8", 8, 8, 15'625, 1500},
                             {"40 us in 2 regions of 2", 2, 2, 10'000, 30'000}};

class Regions final : public fcc::runtime::Job {
 public:
  Regions(const Shape& shape, const Work& work) : shape_(shape), work_(work), left_(shape.regions) {}
  void run_chunk(uint32_t, uint32_t) override { work_(); }
  fcc::runtime::Region advance(uint32_t) override { return {left_-- > 0 ? shape_.chunks : 0u, true}; }
  int64_t expected_ns() const override { return shape_.regions * shape_.chunks * shape_.chunk_ns; }

 private:
  const Shape& shape_;
  const Work& work_;
  int left_;
};

enum class Company { none, busy, same };  // what a second process does meanwhile: nothing, computing, the same runs

// Runs back to back.
Quantiles crowded(fcc::runtime::Pool* pool, const Shape& shape, Company company) {
  const Work work(shape.chunk_ns);
  const pid_t parent = ::getpid();
  pid_t other = company == Company::none ? -1 : ::fork();
  if (other == 0 && company == Company::busy)
    while (::getppid() == parent) spin_ns(1'000'000);
  std::vector<double> us;
  for (int i = 0; i < shape.runs || (other == 0 && ::getppid() == parent); ++i) {
    int64_t start = now_ns();
    Regions job(shape, work);
    if (pool == nullptr || !pool->run(job, 2))
      for (uint32_t chunk = 0; chunk < static_cast<uint32_t>(shape.regions) * shape.chunks; ++chunk) work();
    if (other != 0) us.push_back(static_cast<double>(now_ns() - start) / 1e3);
  }
  if (other == 0) ::_exit(0);
  if (other > 0) {
    ::kill(other, SIGKILL);
    ::waitpid(other, nullptr, 0);
  }
  return quantiles(std::move(us));
}

// Each figure in a process of its own: the pools keep threads and memories.
void print_crowded(const char* name, fcc::runtime::Pool* pool, const Shape& shape) {
  std::printf("| %s |", name);
  for (Company company : {Company::none, Company::busy, Company::same}) {
    std::fflush(stdout);
    if (pid_t child = ::fork(); child != 0) {
      ::waitpid(child, nullptr, 0);
      continue;
    }
    Quantiles q = crowded(pool, shape, company);
    std::printf(" %.0f / %.0f / %.0f |", q.median, q.p90, q.p99);
    std::fflush(stdout);
    ::_exit(0);
  }
  std::printf("\n");
}

void print_pool(const char* name, fcc::runtime::Pool& pool) {
  std::printf("| %s |", name);
  for (auto [gap, count] : {std::pair{0ll, 5000}, {30'000ll, 5000}, {1'000'000ll, 500}, {20'000'000ll, 60}}) {
    for (int64_t chunk : {0, 5'000, 50'000}) {
      Quantiles q = fork_join(pool, chunk, gap, chunk == 50'000 ? count / 5 : count);
      std::printf(" %.1f/%.1f", q.median, q.p99);
    }
    std::printf(" |");
  }
  std::printf("\n");
}

double call_ns(fcc::Session& session, int calls) {
  double best = 1e30;
  for (int round = 0; round < 20; ++round) {
    int64_t start = now_ns();
    for (int i = 0; i < calls; ++i) fcc_session_run(session.handle());
    best = std::min(best, static_cast<double>(now_ns() - start) / calls);
  }
  return best;
}

void measure_calls(int calls) {
  fcc::Model model(FCC_ABI_MODELS "/fixed.so");
  fcc::Session session = model.session({1});
  std::vector<float> x(16), y(16);
  const int64_t dims[] = {1, 16};
  fcc_tensor tensor{x.data(), FCC_F32, 2, dims, nullptr};
  session.bind_input("x", x.data(), {1, 16});
  session.bind_output("y", y);
  double bound = call_ns(session, calls);

  // The same kernels called by hand.
  const fcc_entry& entry = session.table();
  alignas(64) float a[16], b[16];
  void* args[3][2] = {{x.data(), a}, {a, b}, {b, y.data()}};
  double bare = 1e30, rebound = 1e30;
  for (int round = 0; round < 20; ++round) {
    int64_t start = now_ns();
    for (int i = 0; i < calls; ++i)
      for (int step = 0; step < 3; ++step) entry.steps[step].run(args[step], nullptr, 0, 1, nullptr);
    bare = std::min(bare, static_cast<double>(now_ns() - start) / calls);
    start = now_ns();
    for (int i = 0; i < calls; ++i) {
      fcc_session_bind_input(session.handle(), 0, &tensor);
      fcc_session_run(session.handle());
    }
    rebound = std::min(rebound, static_cast<double>(now_ns() - start) / calls);
  }
  std::printf(
      "three steps, bound: %.1f ns a call; kernels alone %.1f ns; overhead %.1f ns; rebinding the input %.1f ns\n",
      bound, bare, bound - bare, rebound - bare);
}

}  // namespace

int main(int argc, char** argv) {
  measure_calls(argc > 1 ? std::atoi(argv[1]) : 100000);
  std::vector<std::pair<const char*, std::shared_ptr<fcc::runtime::Pool>>> pools = {
      {"fcc", fcc::runtime::make_worker_pool(2)}};
#ifdef FCC_TEST_pool_tbb
  pools.emplace_back("oneTBB", fcc::runtime::make_host_pool(fcc_tbb_pool(2)));
#endif
#ifdef FCC_TEST_pool_openmp
  pools.emplace_back("LLVM OpenMP", fcc::runtime::make_host_pool(fcc_openmp_pool(2)));
#endif
  // First, while no pool has threads that a fork would lose (the company forks before the first job).
  for (const Shape& shape : kShapes) {
    std::printf("runs of %s, back to back, on two threads, us median / p90 / p99\n", shape.name);
    std::printf("| pool | alone | beside a busy process | beside a process that does the same |\n|---|---|---|---|\n");
    print_crowded("one thread", nullptr, shape);
    for (auto& [name, pool] : pools) print_crowded(name, pool.get(), shape);
  }
  std::printf("fork + join, four chunks of 0 / 5 / 50 us on two threads, us median/p99 after a gap of\n");
  std::printf("| pool | 0 | 30 us | 1 ms asleep | 20 ms asleep |\n|---|---|---|---|---|\n");
  for (auto& [name, pool] : pools) print_pool(name, *pool);
  return 0;
}
