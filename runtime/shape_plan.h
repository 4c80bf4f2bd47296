// What is known once the shapes of the inputs are: all sizes, and where the temporaries go.
// A session keeps the plans of the shapes it saw lately, so that a server alternating between batch sizes plans each of
// them once. Plans hold offsets, not pointers: they survive when the workspace moves.
#pragma once

#include <vector>

#include "error.h"
#include "planner.h"
#include "sizes.h"

namespace fcc::runtime {

struct ShapePlan {
  Sizes sizes;                   // at the start of a run
  std::vector<int64_t> offsets;  // of the buffers whose size is known then; the others kUnplaced
  int64_t workspace_bytes = 0;
  uint64_t last_used = 0;
};

// Which part of an entry is known when: stage 0 before the run, stage k after the k-th step that defines symbols.
struct Stages {
  explicit Stages(const fcc_entry& entry);
  std::vector<uint32_t> of_step, of_buffer, of_output;
  uint32_t count = 1;
};

class PlanCache {
 public:
  PlanCache(const fcc_entry& entry, const Stages& stages) : entry_(entry), stages_(stages) {}
  // The plan of these symbols, made now when it is new. Valid until the next call.
  fcc_status find(const std::vector<int64_t>& symbols, const ShapePlan** plan);
  // Places the buffers of a later stage in an arena of their own.
  fcc_status place_late(uint32_t stage, const Sizes& sizes, std::vector<int64_t>* offsets, int64_t* bytes);
  int64_t plans_made() const { return plans_made_; }

 private:
  fcc_status make(const std::vector<int64_t>& symbols, ShapePlan* plan);
  fcc_status collect(uint32_t stage, const Sizes& sizes);

  static constexpr size_t kKept = 8;
  const fcc_entry& entry_;
  const Stages& stages_;
  Planner planner_;
  std::vector<PlanItem> items_;         // reused between plans
  std::vector<uint32_t> item_buffers_;  // the buffer of each item
  std::vector<ShapePlan> plans_;
  uint64_t clock_ = 0;
  int64_t plans_made_ = 0;
};

}  // namespace fcc::runtime
