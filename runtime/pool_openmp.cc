// Calls libomp by its entry points instead of -fopenmp: with g++ that flag would link libgomp, whose static split waits
// for threads that the system has put to sleep. libomp exports the same two functions.
#include "fcc/pool_openmp.h"

extern "C" {
void GOMP_parallel(void (*fn)(void* arg), void* arg, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_max_threads(void);
}

namespace {

struct Call {
  void (*fn)(void* arg, uint32_t index);
  void* arg;
};

void team_member(void* arg) {
  auto* call = static_cast<Call*>(arg);
  call->fn(call->arg, static_cast<uint32_t>(omp_get_thread_num()));
}

void parallel(void*, uint32_t n, void (*fn)(void* arg, uint32_t index), void* arg) {
  Call call{fn, arg};
  GOMP_parallel(team_member, &call, n, 0);
}

}  // namespace

fcc_host_pool fcc_openmp_pool(uint32_t threads) {
  if (threads == 0) threads = static_cast<uint32_t>(omp_get_max_threads());
  return {nullptr, threads, parallel};
}
