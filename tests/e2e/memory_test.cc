// A run after the first allocates nothing: the C library's allocator, counted in every thread.
#include <malloc.h>

#include <atomic>
#include <cerrno>

#include "tests/e2e/e2e_support.h"

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

static std::atomic<int64_t> allocations{0};

void* malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* block, size_t bytes) {
  ++allocations;
  return __libc_realloc(block, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  ++allocations;
  *block = __libc_memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
}

namespace fcc::test {
namespace {

class EveryNetwork : public testing::TestWithParam<Network> {};
INSTANTIATE_TEST_SUITE_P(, EveryNetwork, testing::ValuesIn(networks()), test_name);

TEST_P(EveryNetwork, AllocatesNothingAfterTheFirstRun) {
  const std::string library = compiled(GetParam());
  ASSERT_NE(library, "");
  for (int threads : {1, 2, 3}) {
    auto model = CompiledModel::open(library, {.threads = threads});
    ASSERT_TRUE(model) << model.error().text();
    const std::vector<std::vector<Tensor>> samples = sample_inputs(GetParam(), library);
    for (const std::vector<Tensor>& inputs : samples) {
      ASSERT_TRUE(model->bind(inputs));
      ASSERT_TRUE(model->call());
    }
    const int64_t before = allocations;
    for (int i = 0; i < 3; ++i) {
      for (const std::vector<Tensor>& inputs : samples) {  // back at a shape seen before
        ASSERT_TRUE(model->bind(inputs));
        ASSERT_TRUE(model->call());
      }
    }
    EXPECT_EQ(allocations - before, 0) << threads << " threads";
  }
}

TEST(Memory, TheCounterCounts) {
  const int64_t before = allocations;
  std::free(std::malloc(static_cast<size_t>(before % 7 + 100)));
  std::vector<int> v(static_cast<size_t>(before % 5 + 10));
  EXPECT_GE(allocations - before, 1) << v.size();
}

}  // namespace
}  // namespace fcc::test
