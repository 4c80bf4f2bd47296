#include "tools/fcc/forked_jobs.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "ir/base/check.h"

namespace fcc {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int32_t kNoMoreJobs = -1;

bool read_exactly(int fd, void* data, size_t bytes) {
  for (char* at = static_cast<char*>(data); bytes > 0;) {
    ssize_t n = ::read(fd, at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

bool write_exactly(int fd, const void* data, size_t bytes) {
  for (const char* at = static_cast<const char*>(data); bytes > 0;) {
    ssize_t n = ::write(fd, at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

// A child process that takes job numbers from one pipe and writes texts to another.
class Worker {
 public:
  explicit Worker(const std::function<std::string(int)>& job) {
    int to_child[2], from_child[2];
    FCC_CHECK(::pipe(to_child) == 0 && ::pipe(from_child) == 0, "{}", std::strerror(errno));
    std::fflush(nullptr);  // or the child would print our buffers again
    pid_ = ::fork();
    FCC_CHECK(pid_ >= 0, "fork: {}", std::strerror(errno));
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(to_child[1]);
      ::close(from_child[0]);
      serve(to_child[0], from_child[1], job);
    }
    ::close(to_child[0]);
    ::close(from_child[1]);
    commands_ = to_child[1];
    results_ = from_child[0];
  }
  ~Worker() {
    // Closing the pipe is not enough: workers forked later hold its writing end too.
    if (pid_ > 0) write_exactly(commands_, &kNoMoreJobs, sizeof kNoMoreJobs);
    ::close(commands_);
    ::close(results_);
    if (pid_ > 0) wait();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start(int32_t job, double timeout_seconds) {
    job_ = job;
    deadline_ =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_seconds));
    write_exactly(commands_, &job, sizeof job);  // a dead worker shows when its result is read
  }
  bool busy() const { return job_ >= 0; }
  int job() const { return job_; }
  int results() const { return results_; }
  bool late() const { return busy() && Clock::now() > deadline_; }

  // The finished job's text; or how the worker died, and then it must be replaced.
  JobOutcome take_result() {
    job_ = -1;
    uint64_t bytes = 0;
    JobOutcome outcome;
    if (read_exactly(results_, &bytes, sizeof bytes)) {
      outcome.text.resize(bytes);
      outcome.finished = read_exactly(results_, outcome.text.data(), bytes);
    }
    if (!outcome.finished) outcome.text = death(wait());
    return outcome;
  }
  void kill() {
    job_ = -1;
    ::kill(pid_, SIGKILL);
    wait();
  }
  bool alive() const { return pid_ > 0; }

 private:
  [[noreturn]] static void serve(int commands, int results, const std::function<std::string(int)>& job) {
    int32_t number = 0;
    while (read_exactly(commands, &number, sizeof number) && number != kNoMoreJobs) {
      const std::string text = job(number);
      const uint64_t bytes = text.size();
      if (!write_exactly(results, &bytes, sizeof bytes) || !write_exactly(results, text.data(), text.size())) break;
    }
    ::_exit(0);
  }
  static std::string death(int status) {
    if (WIFSIGNALED(status)) return fmt::format("crashed: {}", strsignal(WTERMSIG(status)));
    return fmt::format("the process ended with status {}", WEXITSTATUS(status));
  }
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

  pid_t pid_ = -1;
  int commands_ = -1, results_ = -1;
  int32_t job_ = -1;
  Clock::time_point deadline_;
};

// Passes outcomes on in the order of the jobs.
class InOrder {
 public:
  explicit InOrder(const std::function<void(int, const JobOutcome&)>& report) : report_(report) {}
  void add(int job, JobOutcome outcome) {
    waiting_.emplace(job, std::move(outcome));
    for (auto it = waiting_.begin(); it != waiting_.end() && it->first == next_; it = waiting_.erase(it), ++next_) {
      report_(it->first, it->second);
    }
  }

 private:
  const std::function<void(int, const JobOutcome&)>& report_;
  std::map<int, JobOutcome> waiting_;
  int next_ = 0;
};

using Workers = std::vector<std::unique_ptr<Worker>>;

void wait_for_results(const Workers& workers) {
  std::vector<pollfd> fds;
  for (const auto& w : workers) fds.push_back({w->busy() ? w->results() : -1, POLLIN, 0});
  constexpr int kLookForLateOnesMs = 200;
  ::poll(fds.data(), fds.size(), kLookForLateOnesMs);
}

bool has_result(const Worker& w) {
  pollfd fd{w.results(), POLLIN, 0};
  return w.busy() && ::poll(&fd, 1, 0) > 0;
}

}  // namespace

void run_jobs(int jobs, int workers, double timeout_seconds, const std::function<std::string(int)>& job,
              const std::function<void(int, const JobOutcome&)>& report) {
  if (workers == 0) {
    for (int i = 0; i < jobs; ++i) report(i, {.finished = true, .text = job(i)});
    return;
  }
  ::signal(SIGPIPE, SIG_IGN);  // a worker that died between two jobs
  InOrder in_order(report);
  Workers pool;
  int next = 0, finished = 0;
  while (finished < jobs) {
    while (static_cast<int>(pool.size()) < std::min(workers, jobs)) pool.push_back(std::make_unique<Worker>(job));
    for (auto& w : pool) {
      if (!w->busy() && next < jobs) w->start(next++, timeout_seconds);
    }
    wait_for_results(pool);
    for (auto& w : pool) {
      const int number = w->job();
      if (has_result(*w)) {
        in_order.add(number, w->take_result());
        ++finished;
      } else if (w->late()) {
        w->kill();
        in_order.add(number,
                     {.finished = false, .text = fmt::format("no result after {:.0f} seconds", timeout_seconds)});
        ++finished;
      }
    }
    std::erase_if(pool, [](const auto& w) { return !w->alive(); });
  }
}

}  // namespace fcc
