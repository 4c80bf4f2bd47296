// The runtime's own pool: threads that spin briefly after a job and then sleep, kept off the caller's CPU.
//
// Nested or concurrent use declines (try-lock). So does a crowded machine, for a while: a helper put off its CPU in the
// middle of a chunk costs the caller milliseconds. After fork the child has no threads: the pool notices by process id
// and starts afresh, leaving the parent's memory alone. Workers block all signals, so that a host's handlers never run
// on them. It is not where work is divided; that is the board.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>

#include "clock.h"
#include "pool.h"
#include "sharing_balance.h"
#include "topology.h"

namespace fcc::runtime {
namespace {

// CPU time of the calling thread; a system call, some 150 ns.
int64_t thread_cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Everything that belongs to one process; a forked child makes its own.
class Crew {
 public:
  Crew() : pid_(::getpid()), online_(online_cpus()), allowed_(CpuSet::of_this_thread()), others_(allowed_) {}
  bool of_this_process() const { return pid_ == ::getpid(); }
  bool try_lock() { return !busy_.exchange(true, std::memory_order_acquire); }
  void unlock() { busy_.store(false, std::memory_order_release); }

  // Starts workers up to `wanted` participants, also while a job runs: it has no share for them. How many there are
  // then, at most `wanted`; fewer when the system refuses to make them.
  uint32_t ensure(uint32_t wanted) {
    if (n_workers_.load(std::memory_order_acquire) + 1 < wanted) {
      while (starting_.exchange(true, std::memory_order_acquire)) ::sched_yield();
      while (n_workers_.load(std::memory_order_relaxed) + 1 < wanted && start_worker()) {
      }
      starting_.store(false, std::memory_order_release);
    }
    return std::min(wanted, n_workers_.load(std::memory_order_acquire) + 1);
  }

  // With the lock held. A worker stacked on the caller's CPU would wait for the caller, and the caller for nothing. Not
  // at every move of the caller: threads that take turns would spend more on placing than on work.
  void keep_off(int cpu) {
    constexpr int64_t kPlacementNs = 10'000'000;
    uint32_t n = n_workers_.load(std::memory_order_acquire);
    bool more = n != placed_;
    if (cpu < 0 || (cpu == excluded_cpu_ && !more) || n + 1 > allowed_.count()) return;
    int64_t now = now_ns();
    if (!more && placed_ns_ > 0 && now - placed_ns_ < kPlacementNs) return;
    others_.assign_without(allowed_, static_cast<uint32_t>(cpu));
    if (others_.count() == 0) return;
    for (uint32_t i = 0; i < n; ++i) {
      int id = workers_[i]->thread_id.load(std::memory_order_acquire);
      if (id == 0) return;  // it has not started; once more in the next run
      others_.apply_to(id);
    }
    placed_ = n;
    excluded_cpu_ = cpu;
    placed_ns_ = now;
  }

  // With the lock held. Is it too early to try again after a crowded run? A rest ends with a look at the machine: while
  // others keep the CPUs busy it goes on, since a try that fails costs a time slice.
  bool resting(uint32_t participants) {
    if (!resting_) return false;
    int64_t now = now_ns();
    if (now < rest_until_ns_) return true;
    uint32_t runnable = runnable_threads();
    resting_ = runnable > 0 && runnable - 1 + participants > online_;
    if (resting_) rest_until_ns_ = now + kLeastRestNs;
    return resting_;
  }

  // With the lock held: the job, and a look at what it cost.
  void run(Job& job, uint32_t participants) {
    constexpr int64_t kNoticedNs = 500'000;
    // A brief job that is noticed has lost nearly all of that time: no need to pay for its CPU clock each time.
    int64_t expected = job.expected_ns();
    bool brief = expected > 0 && expected < kNoticedNs / 2;
    int64_t start = now_ns(), cpu_start = brief ? 0 : thread_cpu_ns();
    board_.open(job, participants, /*wake_all_at_end=*/false);
    board_.work(0);
    int64_t end = now_ns(), wall = end - start;
    if (wall < kNoticedNs) {
      if (board_.was_helped()) balance_.add_run(wall);
      return;
    }
    Board::Join join = board_.last_join();
    int64_t on_cpu = brief ? expected : thread_cpu_ns() - cpu_start;
    int64_t off_cpu = std::max<int64_t>(wall - on_cpu - join.slept_ns, 0);
    int64_t lost = off_cpu + (join.helper_preempted ? join.slept_ns : 0);
    if (lost <= kNoticedNs || lost <= wall / 2) {
      if (board_.was_helped()) balance_.add_run(wall);
    } else if (balance_.loss_prevails(lost)) {
      rest(end);
    }
  }

  void stop() {
    board_.stop();
    for (uint32_t i = 0; i < n_workers_.load(); ++i) {
      ::pthread_join(workers_[i]->thread, nullptr);
      delete workers_[i];
    }
    n_workers_ = 0;
  }

 private:
  struct Worker {
    Board* board;
    uint32_t participant;
    pthread_t thread;
    std::atomic<int> thread_id{0};
  };

  // More threads are busy than there are CPUs, and sharing lost more than it gains. Crowded again soon after a rest:
  // rest twice as long.
  void rest(int64_t now) {
    constexpr int64_t kMostNs = 160'000'000;
    bool again = rest_until_ns_ > 0 && now - rest_until_ns_ < 4 * rest_ns_;
    rest_ns_ = again ? std::min(2 * rest_ns_, kMostNs) : kLeastRestNs;
    rest_until_ns_ = now + rest_ns_;
    resting_ = true;
  }

  bool start_worker() {
    constexpr size_t kStackBytes = size_t{1} << 20;
    std::unique_ptr<Worker> worker(new (std::nothrow) Worker());
    if (worker == nullptr) return false;
    worker->board = &board_;
    uint32_t n = n_workers_.load(std::memory_order_relaxed);
    if (n + 1 >= kMaxParticipants) return false;
    worker->participant = n + 1;
    sigset_t all, before;
    ::sigfillset(&all);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, kStackBytes);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = ::pthread_create(&worker->thread, &attributes, &Crew::worker_main, worker.get());
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::pthread_attr_destroy(&attributes);
    if (error != 0) return false;
    workers_[n] = worker.release();
    n_workers_.store(n + 1, std::memory_order_release);
    return true;
  }

  static void* worker_main(void* arg) {
    auto* worker = static_cast<Worker*>(arg);
    ::pthread_setname_np(::pthread_self(), "fcc-worker");
    worker->thread_id.store(static_cast<int>(::syscall(SYS_gettid)), std::memory_order_release);
    worker->board->serve(worker->participant);
    return nullptr;
  }

  static constexpr int64_t kLeastRestNs = 10'000'000;

  const pid_t pid_;
  const uint32_t online_;
  const CpuSet allowed_;
  std::atomic<bool> busy_{false}, starting_{false};
  // Of the lock's holder: where the workers may run, without one CPU, and how many of them know.
  CpuSet others_;
  int excluded_cpu_ = -1;
  uint32_t placed_ = 0;
  int64_t placed_ns_ = 0;
  bool resting_ = false;
  int64_t rest_until_ns_ = 0, rest_ns_ = 0;
  std::array<Worker*, kMaxParticipants> workers_{};  // the first n_workers_ are complete
  std::atomic<uint32_t> n_workers_{0};
  SharingBalance balance_;
  Board board_;
};

class WorkerPool final : public Pool {
 public:
  explicit WorkerPool(uint32_t threads) : threads_(threads) {}

  ~WorkerPool() override {
    Crew* crew = crew_.load();
    if (crew == nullptr || !crew->of_this_process()) return;  // a forked child leaves the parent's threads alone
    crew->stop();
    delete crew;
  }

  uint32_t threads() const override { return threads_; }

  void reserve(uint32_t participants) override {
    if (Crew* crew = this_process_crew()) crew->ensure(participants);
  }

  bool run(Job& job, uint32_t participants) override {
    Crew* crew = this_process_crew();
    if (crew == nullptr || !crew->try_lock()) return false;
    participants = crew->resting(participants) ? 1 : crew->ensure(participants);
    if (participants > 1) {
      crew->keep_off(::sched_getcpu());
      crew->run(job, participants);
    }
    crew->unlock();
    return participants > 1;
  }

 private:
  Crew* this_process_crew() {
    Crew* crew = crew_.load(std::memory_order_acquire);
    if (crew != nullptr && crew->of_this_process()) return crew;
    try {
      auto fresh = std::make_unique<Crew>();
      // When another thread was first, `crew` becomes its crew and ours goes.
      if (crew_.compare_exchange_strong(crew, fresh.get(), std::memory_order_acq_rel)) return fresh.release();
      return crew;
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  const uint32_t threads_;
  std::atomic<Crew*> crew_{nullptr};
};

}  // namespace

std::shared_ptr<Pool> make_worker_pool(uint32_t threads) {
  return std::make_shared<WorkerPool>(threads);
}

std::shared_ptr<Pool> process_pool() {
  static std::shared_ptr<Pool> pool = [] {
    uint32_t threads = 1;
    if (default_threads(&threads) != FCC_OK) threads = usable_cores();
    return make_worker_pool(threads);
  }();
  return pool;
}

}  // namespace fcc::runtime
