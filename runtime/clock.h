// Nanoseconds of the steady clock: one reading costs some 25 ns.
#pragma once

#include <chrono>
#include <cstdint>

namespace fcc::runtime {

inline int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace fcc::runtime
