#pragma once
// An independent check of a memory plan; shares no code with the planner.
#include "backend/memory_plan.h"
#include "ir/base/diagnostic.h"

namespace fcc::backend {

Status verify_plan(std::span<const BufferLife> buffers, const MemoryPlan& plan);

}  // namespace fcc::backend
