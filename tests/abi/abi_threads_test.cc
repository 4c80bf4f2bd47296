// Many threads at once, and threads in odd states: small stacks, other rounding, a storm of signals. Run it under TSan.
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <cfenv>
#include <thread>

#include "abi_support.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fcc::test {
namespace {

std::vector<float> run_mlp(Session& session, size_t rows = 1000) {
  std::vector<float> x = sample_rows(rows);
  return session.run({{"x", x}})["probabilities"].copy<float>();
}

TEST(Threads, OneLibraryManySessions) {
  Model model = open_model("mlp_open");
  Session alone = model.session({1});
  const std::vector<float> expected = run_mlp(alone);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      Session session = model.session({3});
      for (int i = 0; i < FCC_THREAD_RUNS; ++i) wrong += run_mlp(session) != expected;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, SessionsComeAndGoEverywhere) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 30; ++i) {
        Session session = open_model("mlp_open").session({2});
        run_mlp(session, 200);
      }
    });
  for (auto& thread : threads) thread.join();
}

TEST(Threads, OneSessionInTwoThreadsIsRefusedNotRaced) {
  Session session = open_model("mlp_open").session({1});
  std::vector<float> x = sample_rows(4096);
  session.bind_input("x", x.data(), {4096, 4});
  session.run();
  std::atomic<int> done{0}, busy{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        fcc_status status = fcc_session_run(session.handle());
        if (status == FCC_OK) ++done;
        if (status == FCC_BUSY) {
          ++busy;
          EXPECT_EQ(std::string(fcc_error_text()).find("this session (or a sibling with the same state) is running"),
                    0u);
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done + busy, 200);
  EXPECT_GT(done, 0);
}

TEST(Threads, ErrorTextIsOfTheThread) {
  fcc_session_run(nullptr);
  std::thread([] { EXPECT_STREQ(fcc_error_text(), ""); }).join();
  EXPECT_STREQ(fcc_error_text(), "fcc_session_run: session is null");
}

TEST(Threads, SmallStack) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, FCC_SMALL_STACK), 0);
  pthread_t thread;
  auto body = [](void*) -> void* {
    Session session = open_model("mlp_open").session({3});
    static std::vector<float> result;
    result = run_mlp(session);
    return &result;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, nullptr), 0);
  void* result = nullptr;
  pthread_join(thread, &result);
  EXPECT_EQ(static_cast<std::vector<float>*>(result)->size(), 3000u);
}

#if defined(__x86_64__)
TEST(FloatingPoint, CallersModeHoldsForHelpersAndIsLeftAlone) {
  constexpr unsigned kFlushToZero = 0x8000, kRoundDown = 0x2000;
  Model model = open_model("mlp_open");
  Session alone = model.session({1}), shared = model.session({3});
  std::vector<float> nearest = run_mlp(shared);
  unsigned before = _mm_getcsr();
  _mm_setcsr(before | kFlushToZero | kRoundDown);
  std::vector<float> down_alone = run_mlp(alone);
  std::vector<float> down_shared;
  for (int i = 0; i < 20; ++i) {
    down_shared = run_mlp(shared);
    EXPECT_EQ(down_shared, down_alone);
  }
  EXPECT_EQ(_mm_getcsr() & (kFlushToZero | kRoundDown), kFlushToZero | kRoundDown);
  _mm_setcsr(before);
  EXPECT_NE(down_alone, nearest);       // the mode did reach the kernels
  EXPECT_EQ(run_mlp(shared), nearest);  // and the helpers are back to theirs
}
#endif

TEST(Signals, StormDuringRuns) {
  static std::atomic<int> alarms{0};
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { ++alarms; };
  ::sigaction(SIGALRM, &action, &before);
  itimerval often{{0, 200}, {0, 200}}, never{};
  Session alone = open_model("mlp_open").session({1}), shared = open_model("mlp_open").session({3});
  std::vector<float> expected = run_mlp(alone);
  ::setitimer(ITIMER_REAL, &often, nullptr);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(run_mlp(shared), expected);
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(alarms, 0);
}

}  // namespace
}  // namespace fcc::test
