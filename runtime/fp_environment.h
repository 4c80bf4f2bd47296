// The floating-point control of a thread: rounding, denormals, traps.
// Helpers run with the control word of the thread that called run, and get their own back afterwards, so that the bits
// of a result do not depend on which thread computed them. The caller's is never changed.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fcc::runtime {

inline uint32_t read_fp_control() {
#if defined(__x86_64__)
  return _mm_getcsr();
#elif defined(__aarch64__)
  uint64_t word;
  __asm__ volatile("mrs %0, fpcr" : "=r"(word));
  return static_cast<uint32_t>(word);
#else
  return 0;
#endif
}

inline void write_fp_control(uint32_t word) {
#if defined(__x86_64__)
  _mm_setcsr(word);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" ::"r"(static_cast<uint64_t>(word)));
#endif
}

}  // namespace fcc::runtime
