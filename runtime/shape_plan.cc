#include "shape_plan.h"

#include <algorithm>

#include "text.h"

namespace fcc::runtime {

Stages::Stages(const fcc_entry& entry)
    : of_step(entry.n_steps), of_buffer(entry.n_buffers), of_output(entry.n_outputs, UINT32_MAX) {
  uint32_t stage = 0;
  for (uint32_t i = 0; i < entry.n_steps; ++i) {
    const fcc_step& step = entry.steps[i];
    of_step[i] = stage;
    for (uint32_t a = 0; a < step.n_args; ++a)
      if (step.args[a].space == FCC_OUTPUT)
        of_output[step.args[a].index] = std::min(of_output[step.args[a].index], stage);
    if (step.flags & FCC_STEP_DEFINES_SYMBOLS) ++stage;
  }
  count = stage + 1;
  for (uint32_t i = 0; i < entry.n_buffers; ++i) of_buffer[i] = of_step[entry.buffers[i].first_step];
  for (uint32_t& output : of_output) output = output == UINT32_MAX ? stage : output;  // never written: the last
}

fcc_status PlanCache::find(const std::vector<int64_t>& symbols, const ShapePlan** plan) {
  ++clock_;
  for (ShapePlan& known : plans_)
    if (known.last_used > 0 && known.sizes.symbols == symbols) {
      known.last_used = clock_;
      *plan = &known;
      return FCC_OK;
    }
  if (plans_.empty()) plans_.reserve(kKept);
  ShapePlan* fresh;
  if (plans_.size() < kKept) {
    fresh = &plans_.emplace_back();
  } else {  // the memory of the least recently used: planning again allocates nothing
    fresh = &*std::min_element(plans_.begin(), plans_.end(),
                               [](const ShapePlan& a, const ShapePlan& b) { return a.last_used < b.last_used; });
  }
  fresh->last_used = 0;
  FCC_RETURN_IF_FAILED(make(symbols, fresh));
  fresh->last_used = clock_;
  ++plans_made_;
  *plan = fresh;
  return FCC_OK;
}

fcc_status PlanCache::make(const std::vector<int64_t>& symbols, ShapePlan* plan) {
  plan->sizes.symbols = symbols;
  plan->sizes.derived.assign(entry_.n_derived, 0);
  plan->sizes.derive(entry_);
  FCC_RETURN_IF_FAILED(collect(0, plan->sizes));
  plan->workspace_bytes = std::max(planner_.place(items_), entry_.workspace_bytes);
  plan->offsets.assign(entry_.n_buffers, kUnplaced);
  for (size_t i = 0; i < items_.size(); ++i) plan->offsets[item_buffers_[i]] = items_[i].offset;
  return FCC_OK;
}

fcc_status PlanCache::place_late(uint32_t stage, const Sizes& sizes, std::vector<int64_t>* offsets, int64_t* bytes) {
  FCC_RETURN_IF_FAILED(collect(stage, sizes));
  *bytes = planner_.place(items_);
  for (size_t i = 0; i < items_.size(); ++i) (*offsets)[item_buffers_[i]] = items_[i].offset;
  return FCC_OK;
}

// The buffers of a stage as plan items. Offsets from compile time hold in the workspace of stage 0 only.
fcc_status PlanCache::collect(uint32_t stage, const Sizes& sizes) {
  constexpr int64_t kLimit = int64_t{1} << 48;  // no workspace is larger; the sum of two cannot overflow
  items_.clear();
  item_buffers_.clear();
  items_.reserve(entry_.n_buffers);
  item_buffers_.reserve(entry_.n_buffers);
  for (uint32_t i = 0; i < entry_.n_buffers; ++i) {
    const fcc_buffer& buffer = entry_.buffers[i];
    bool fixed = buffer.offset >= 0;
    if (fixed ? stage != 0 : stages_.of_buffer[i] != stage) continue;
    int64_t bytes = sizes(buffer.bytes);
    if (bytes < 0)
      return fail(FCC_FAULT, "entry \"%s\": the sizes read from the data give a temporary of %lld bytes", entry_.name,
                  static_cast<long long>(bytes));
    if (bytes > kLimit)
      return fail(FCC_OUT_OF_MEMORY,
                  "entry \"%s\" needs a temporary of %lld bytes for this shape\n hint: use smaller dims", entry_.name,
                  static_cast<long long>(bytes));
    items_.push_back({bytes, buffer.first_step, buffer.last_step, fixed ? buffer.offset : kUnplaced});
    item_buffers_.push_back(i);
  }
  return FCC_OK;
}

}  // namespace fcc::runtime
