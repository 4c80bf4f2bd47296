// Memory: no allocation in a run after the first at a shape, and every allocation that can fail does, once.
#include <atomic>
#include <cerrno>

#include "abi_support.h"

// The C library's allocator, counted; allocation number `fail_at` in this thread fails.
extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

static std::atomic<int64_t> allocations{0};  // in every thread
static thread_local int64_t countdown = 0;   // 0: never fails

static bool allowed() {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (countdown == 0 || --countdown > 0) return true;
  errno = ENOMEM;
  return false;
}
void* malloc(size_t bytes) {
  return allowed() ? __libc_malloc(bytes) : nullptr;
}
void* calloc(size_t count, size_t bytes) {
  return allowed() ? __libc_calloc(count, bytes) : nullptr;
}
void* realloc(void* block, size_t bytes) {
  return allowed() ? __libc_realloc(block, bytes) : nullptr;
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  return allowed() ? __libc_memalign(alignment, bytes) : nullptr;
}
void* memalign(size_t alignment, size_t bytes) {
  return allowed() ? __libc_memalign(alignment, bytes) : nullptr;
}
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  *block = allowed() ? __libc_memalign(alignment, bytes) : nullptr;
  return *block ? 0 : ENOMEM;
}
}

namespace fcc::test {
namespace {

// Binds `rows` rows of x and room for both outputs, without allocating.
struct Bound {
  std::vector<float> x = sample_rows(2000), logits = std::vector<float>(6000), probabilities = std::vector<float>(6000);
  void bind(Session& session, int64_t rows) {
    const int64_t dims[] = {rows, 4};
    fcc_tensor tensor{x.data(), FCC_F32, 2, dims, nullptr};
    ASSERT_EQ(fcc_session_bind_input(session.handle(), 0, &tensor), FCC_OK);
    ASSERT_EQ(fcc_session_bind_output(session.handle(), 0, FCC_F32, logits.data(), 24000), FCC_OK);
    ASSERT_EQ(fcc_session_bind_output(session.handle(), 1, FCC_F32, probabilities.data(), 24000), FCC_OK);
  }
};

TEST(Memory, NoAllocationAfterTheFirstRunAtAShape) {
  for (uint32_t threads : {1u, 2u, 3u}) {
    Session session = open_model("mlp_open").session({threads});
    Bound bound;
    for (int64_t rows : {2000, 64, 1}) {
      bound.bind(session, rows);
      session.run();
    }
    int64_t before = allocations;
    for (int i = 0; i < 100; ++i) ASSERT_EQ(fcc_session_run(session.handle()), FCC_OK);
    for (int i = 0; i < 100; ++i)
      for (int64_t rows : {64, 2000, 1}) {
        bound.bind(session, rows);
        ASSERT_EQ(fcc_session_run(session.handle()), FCC_OK);
      }
    EXPECT_EQ(allocations - before, 0) << threads << " threads";
  }
}

TEST(Memory, NoAllocationWithOutputsOfTheRuntime) {
  Session session = open_model("counted").session({1});
  std::vector<float> x = {3, -1, 20, 0, 11, 5};
  session.bind_input("x", x);
  session.run();
  int64_t before = allocations;
  for (int i = 0; i < 100; ++i) {
    x[1] = static_cast<float>(i % 2);
    ASSERT_EQ(fcc_session_run(session.handle()), FCC_OK);
  }
  EXPECT_EQ(allocations - before, 0);
}

// The whole life of a session with one allocation failing; true when none did.
bool life_with_failure(int64_t fail_at, const std::vector<float>& expected) {
  const std::string path = model_path("mlp_open");
  Bound bound;
  fcc_library* library = nullptr;
  fcc_session* session = nullptr;
  fcc_session_options options{sizeof options, 1, nullptr, nullptr};
  const int64_t dims[] = {50, 4};
  fcc_tensor tensor{bound.x.data(), FCC_F32, 2, dims, nullptr}, out{};
  countdown = fail_at;
  fcc_status status = fcc_library_open(path.c_str(), &library);
  if (status == FCC_OK) status = fcc_session_create(library, &options, &session);
  if (status == FCC_OK) status = fcc_session_bind_input(session, 0, &tensor);
  if (status == FCC_OK) status = fcc_session_run(session);
  if (status != FCC_OK && session != nullptr) {  // nothing is broken: the same again works
    bool out_of_memory = status == FCC_OUT_OF_MEMORY;
    EXPECT_TRUE(out_of_memory) << fcc_error_text();
    status = fcc_session_bind_input(session, 0, &tensor);
    if (status == FCC_OK) status = fcc_session_run(session);
    EXPECT_EQ(status, FCC_OK) << fcc_error_text();
  }
  bool failed = countdown == 0;
  countdown = 0;
  if (session != nullptr) {
    EXPECT_EQ(fcc_session_output(session, 0, &out), FCC_OK);
    EXPECT_EQ(0, memcmp(out.data, expected.data(), 50 * 3 * 4));
  } else {
    EXPECT_TRUE(status == FCC_OUT_OF_MEMORY || status == FCC_BAD_LIBRARY)
        << fcc_error_text();  // dlopen has its own words
  }
  fcc_session_close(session);
  fcc_library_close(library);
  return !failed;
}

TEST(Memory, EveryAllocationMayFail) {
  Session session = open_model("mlp_open").session({1});
  std::vector<float> x = sample_rows(50);
  std::vector<float> expected = session.run({{"x", x}})["logits"].copy<float>();
  int64_t fail_at = 1;
  while (!life_with_failure(fail_at, expected)) {
    ASSERT_LT(++fail_at, 1000);
  }
  EXPECT_GT(fail_at, 20);  // the test did see allocations
}

TEST(Memory, HugeShapesAreRefusedNotTried) {
  Session session = open_model("counted").session({1});
  float x = 1;
  const int64_t dims[] = {int64_t{1} << 62};
  fcc_tensor tensor{&x, FCC_F32, 1, dims, nullptr};
  EXPECT_EQ(fcc_session_bind_input(session.handle(), 0, &tensor), FCC_BAD_SHAPE);
  EXPECT_STREQ(fcc_error_text(), "input \"x\" wants f32[N], got f32[4611686018427387904]: larger than any memory");
}

}  // namespace
}  // namespace fcc::test
