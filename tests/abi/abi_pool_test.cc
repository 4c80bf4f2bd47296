// Pools: the host's, TBB's, OpenMP's and the runtime's own give the same bits; threads end, forks and exits are
// survived.
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "abi_support.h"
#ifdef FCC_TEST_pool_tbb
#include "fcc/pool_tbb.h"
#endif
#ifdef FCC_TEST_pool_openmp
#include "fcc/pool_openmp.h"
#endif

// ThreadSanitizer ends a child of fork that starts threads, unless asked not to.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() {
  return "die_after_fork=0";
}

namespace fcc::test {
namespace {

std::vector<float> run_mlp(Session& session, size_t rows = 1000) {
  std::vector<float> x = sample_rows(rows);
  return session.run({{"x", x}})["probabilities"].copy<float>();
}

std::vector<float> expected_rows() {
  static const std::vector<float> expected = [] {
    Session session = open_model("mlp_open").session({1});
    return run_mlp(session);
  }();
  return expected;
}

void expect_pool_works(const fcc_host_pool& host, uint32_t threads) {
  Pool pool(host);
  Session session = open_model("mlp_open").session({threads, &pool});
  for (int i = 0; i < 50; ++i) ASSERT_EQ(run_mlp(session), expected_rows());
  EXPECT_EQ(session.stats().forked_runs, 50);
}

// A host that makes threads on the spot, in reverse order.
void threads_on_the_spot(void* calls, uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
  ++*static_cast<int*>(calls);
  std::vector<std::thread> threads;
  for (uint32_t i = n; i-- > 1;) threads.emplace_back([=] { fn(arg, i); });
  fn(arg, 0);
  for (auto& thread : threads) thread.join();
}

TEST(HostPool, CallsBack) {
  int calls = 0;
  expect_pool_works({&calls, 3, threads_on_the_spot}, 0);
  EXPECT_EQ(calls, 50);
}

TEST(HostPool, MayDoLessThanAsked) {
  auto nobody = [](void*, uint32_t, void (*)(void*, uint32_t), void*) {};
  expect_pool_works({nullptr, 4, nobody}, 0);
  auto one_after_the_other = [](void*, uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
    for (uint32_t i = 0; i < n + 5; ++i) fn(arg, n + 4 - i);  // too many, and backwards
  };
  expect_pool_works({nullptr, 4, one_after_the_other}, 0);
}

TEST(HostPool, NullCallback) {
  fcc_host_pool host{};
  fcc_pool* pool = nullptr;
  EXPECT_EQ(fcc_pool_from_host(&host, &pool), FCC_BAD_ARGUMENT);
  EXPECT_STREQ(fcc_error_text(), "fcc_pool_from_host: host->parallel is null");
}

#ifdef FCC_TEST_pool_tbb
TEST(TbbPool, GivesTheSameBits) {
  expect_pool_works(fcc_tbb_pool(3), 3);
}
#endif
#ifdef FCC_TEST_pool_openmp
TEST(OpenMpPool, GivesTheSameBits) {
  expect_pool_works(fcc_openmp_pool(3), 3);
}
#endif

TEST(OwnPool, MayBeShared) {
  Pool pool(3);
  Model model = open_model("mlp_open");
  Session a = model.session({0, &pool}), b = model.session({2, &pool});
  EXPECT_EQ(a.stats().threads, 3u);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(run_mlp(a), expected_rows());
    ASSERT_EQ(run_mlp(b), expected_rows());
  }
}

TEST(OwnPool, OutlivesItsHandle) {
  auto pool = std::make_unique<Pool>(2);
  Session session = open_model("mlp_open").session({0, pool.get()});
  pool.reset();
  EXPECT_EQ(run_mlp(session), expected_rows());
}

TEST(OwnPool, ManyPoolsComeAndGo) {
  Model model = open_model("mlp_open");
  for (int i = 0; i < 50; ++i) {
    Pool pool(4);
    Session session = model.session({0, &pool});
    ASSERT_EQ(run_mlp(session), expected_rows());
  }
}

// The child of a fork runs with threads of its own and exits in order.
void expect_fork_works(Session& session) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool same = run_mlp(session) == expected_rows() && run_mlp(session) == expected_rows();
    std::exit(same ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Fork, BeforeAnyRun) {
  expected_rows();
  Session session = open_model("mlp_open").session({3});
  expect_fork_works(session);
}

TEST(Fork, AfterRuns) {
  Session session = open_model("mlp_open").session({3});
  for (int i = 0; i < 10; ++i) run_mlp(session);
  for (int i = 0; i < 3; ++i) expect_fork_works(session);
  EXPECT_EQ(run_mlp(session), expected_rows());
}

TEST(Fork, FromAnotherThreadWhileRunning) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the child may find the sanitizer's allocator locked, and waits in its leak check";
#endif
  Model model = open_model("mlp_open");
  Session session = model.session({3}), spare = model.session({3});
  run_mlp(spare);
  std::atomic<bool> stop{false};
  std::thread runner([&] {
    while (!stop) run_mlp(session);
  });
  for (int i = 0; i < 10; ++i) expect_fork_works(spare);
  stop = true;
  runner.join();
}

}  // namespace
}  // namespace fcc::test
