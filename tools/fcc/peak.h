#pragma once
// What this machine can do at best, measured: fused multiply-adds a second, and bytes read a second by size of the
// working set. The yardstick of `fcc bench --profile`; a short hand loop with the best instruction set of the CPU.
// Not a model of the machine: turbo, neighbours and noise are in the figure, as they are in the kernels'.
#include <cstdint>
#include <map>

namespace fcc {

// f32 operations a second (a multiply-add counts two), with that many threads at once.
double measure_peak_flops(int threads);

class ReadBandwidth {
 public:
  explicit ReadBandwidth(int threads) : threads_(threads) {}
  // Bytes a second when reading `bytes` again and again, shared by the threads; measured once a power of four.
  double at(int64_t bytes);

 private:
  int threads_;
  std::map<int64_t, double> measured_;
};

}  // namespace fcc
