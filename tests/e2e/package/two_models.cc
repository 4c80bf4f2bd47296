// Two compiled models in one program, four threads at once, all on a thread pool that belongs to the program: each
// answer has the bits that a single thread gets. Run it under ThreadSanitizer.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <fcc/fcc.hpp>
#include <functional>
#include <mutex>
#include <thread>

namespace {

// A plain queue of jobs, as many programs have one.
class JobQueue {
 public:
  explicit JobQueue(unsigned threads) {
    for (unsigned i = 0; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~JobQueue() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  // What fcc asks of a pool: n calls, returning when those made have returned.
  void parallel(uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
    std::atomic<uint32_t> left{n - 1};
    for (uint32_t i = 1; i < n; ++i)
      push([=, &left] {
        fn(arg, i);
        left.fetch_sub(1, std::memory_order_release);
      });
    fn(arg, 0);
    while (left.load(std::memory_order_acquire) > 0)
      if (!run_one()) std::this_thread::yield();
    helped_ += n > 1;
  }
  int helped() const { return helped_; }

 private:
  void push(std::function<void()> job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }
  bool run_one() {
    std::function<void()> job;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (jobs_.empty()) return false;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
    return true;
  }
  void work() {
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (stop_) return;
      }
      run_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> workers_;
  std::atomic<int> helped_{0};
  bool stop_ = false;
};

std::vector<float> images(size_t count) {
  std::vector<float> pixels(count * 784);
  unsigned seed = 1;
  for (float& p : pixels) p = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 24);
  return pixels;
}

std::vector<float> scores(fcc::Session& session, const std::vector<float>& pixels) {
  return session.run({{"image", pixels}})["scores"].copy<float>();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  const fcc::Model models[] = {fcc::Model(argv[1]), fcc::Model(argv[2])};
  const std::vector<float> pixels = images(64);
  std::vector<float> expected[2];
  for (int m : {0, 1}) {
    fcc::Session alone = models[m].session({1});
    expected[m] = scores(alone, pixels);
  }
  JobQueue queue(3);
  fcc_host_pool host{&queue, 4, [](void* self, uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
                       static_cast<JobQueue*>(self)->parallel(n, fn, arg);
                     }};
  fcc::Pool pool(host);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      try {
        fcc::Session session = models[t % 2].session({0, &pool});
        for (int i = 0; i < 20; ++i) wrong += scores(session, pixels) != expected[t % 2];
      } catch (const fcc::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::printf("%d wrong answers, %d runs on the program's threads\n", wrong.load(), queue.helped());
  return wrong != 0 || queue.helped() == 0;
} catch (const fcc::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
