#include "backend/plan_verify.h"

#include <string>

namespace fcc::backend {

// Every pair, by the definition: two buffers alive in a common step must not share a byte.
Status verify_plan(std::span<const BufferLife> buffers, const MemoryPlan& plan) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const int64_t begin = plan.offsets[i], end = begin + buffers[i].bytes;
    if (begin < 0 || begin % 64 != 0 || end > plan.bytes) return fail("memory plan: buffer " + std::to_string(i) + " is outside of the workspace or not aligned");
    for (size_t j = 0; j < i; ++j) {
      const bool together = buffers[i].first <= buffers[j].last && buffers[j].first <= buffers[i].last;
      const bool overlap = begin < plan.offsets[j] + buffers[j].bytes && plan.offsets[j] < end;
      if (together && overlap && buffers[i].bytes > 0 && buffers[j].bytes > 0)
        return fail("memory plan: buffers " + std::to_string(j) + " and " + std::to_string(i) + " overlap while both are alive");
    }
  }
  return {};
}

}  // namespace fcc::backend
