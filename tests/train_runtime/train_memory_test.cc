// No allocation in a step after the first at a shape, shuffled batches included.
#include <atomic>

#include "train_support.h"

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
static std::atomic<int64_t> allocations{0};
void* malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void* realloc(void* block, size_t bytes) {
  ++allocations;
  return __libc_realloc(block, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
}

namespace fcc::test {
namespace {

TEST(TrainMemory, NoAllocationInAStep) {
  for (fcc_on_nonfinite policy : {FCC_NONFINITE_STOP, FCC_NONFINITE_SKIP}) {
    Clouds data(203);
    TrainerOptions options;
    options.on_nonfinite = policy;
    options.good_copy_steps = 3;
    options.threads = 1;
    Trainer trainer = open_trainer(options);
    trainer.schedule("cosine(steps=100, warmup=5)");
    trainer.freeze("fc.bias");
    BatchOptions batch;
    batch.size = 20, batch.shuffle = true;
    auto all = batches(data.x, data.labels, batch);
    auto epoch = [&](int64_t e) {
      all.set_epoch(e);
      for (auto [x, y] : all) trainer.step(x, y);
    };
    epoch(0);
    int64_t before = allocations;
    epoch(1);
    epoch(2);
    EXPECT_EQ(allocations - before, 0) << policy;
  }
}

}  // namespace
}  // namespace fcc::test
