#include "fcc/pool_tbb.h"

#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

namespace {

// A task an index. The caller runs those that nobody stole, which then find the work done.
void parallel(void*, uint32_t n, void (*fn)(void* arg, uint32_t index), void* arg) {
  // Isolated: while waiting, the caller must not pick up an outer task that runs the same session again.
  tbb::this_task_arena::isolate(
      [&] { tbb::parallel_for(0u, n, [=](uint32_t index) { fn(arg, index); }, tbb::simple_partitioner()); });
}

}  // namespace

fcc_host_pool fcc_tbb_pool(uint32_t threads) {
  if (threads == 0) threads = static_cast<uint32_t>(tbb::info::default_concurrency());
  return {nullptr, threads, parallel};
}
