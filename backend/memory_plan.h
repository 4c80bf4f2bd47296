#pragma once
// Where temporaries live in the workspace: buffers whose lifetimes overlap get disjoint ranges. plan_verify.h checks
// the result with code of its own.
#include <cstdint>
#include <span>
#include <vector>

namespace fcc::backend {

// Live from the start of step `first` to the end of step `last`, both included.
struct BufferLife {
  int64_t bytes;
  uint32_t first, last;
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // 64-byte aligned, parallel to the buffers
  int64_t bytes = 0;
};

MemoryPlan plan_memory(std::span<const BufferLife> buffers);
// The largest sum of bytes live in one step: no plan can be smaller.
int64_t peak_bytes(std::span<const BufferLife> buffers);

}  // namespace fcc::backend
