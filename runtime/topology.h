// How many threads this process may use, and where.
// Affinity mask, physical cores and cgroup quota of this machine, and FCC_NUM_THREADS. Read when a pool is made; only
// how busy the machine is, between two runs.
#pragma once

#include <sched.h>

#include <cstdint>
#include <vector>

#include "error.h"

namespace fcc::runtime {

// A set of CPU numbers of any size, in the form the kernel wants.
class CpuSet {
 public:
  static CpuSet of_this_thread();
  uint32_t count() const;
  bool contains(uint32_t cpu) const;
  // Takes over the other set without one CPU; no allocation between sets of one size.
  void assign_without(const CpuSet& other, uint32_t cpu);
  // Moves a thread (kernel thread id) to these CPUs. Best effort.
  void apply_to(int thread_id) const;

 private:
  std::vector<unsigned long> words_;
};

// min(affinity, physical cores, cgroup quota rounded down), at least 1.
uint32_t usable_cores();

uint32_t online_cpus();

// Threads of any process that run or want to at this moment, the caller's among them; 0 when the system does not say.
// Three system calls, some 10 us, and no allocation.
uint32_t runnable_threads();

// FCC_NUM_THREADS when set, else usable_cores(). Fails on nonsense in the variable.
fcc_status default_threads(uint32_t* threads);

}  // namespace fcc::runtime
