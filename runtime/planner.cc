#include "planner.h"

#include <algorithm>

#include "fcc/model_abi.h"

namespace fcc::runtime {
namespace {

int64_t aligned(int64_t bytes) {
  return (bytes + FCC_ALIGNMENT - 1) / FCC_ALIGNMENT * FCC_ALIGNMENT;
}

bool alive_together(const PlanItem& a, const PlanItem& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

}  // namespace

int64_t Planner::place(std::vector<PlanItem>& items) {
  order_.clear();
  placed_.clear();
  order_.reserve(items.size());
  placed_.reserve(items.size());
  for (uint32_t i = 0; i < items.size(); ++i) {
    if (items[i].offset == kUnplaced)
      order_.push_back(i);
    else
      insert_placed(items, i);
  }
  std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
    return items[a].bytes != items[b].bytes ? items[a].bytes > items[b].bytes : a < b;
  });
  for (uint32_t index : order_) {
    items[index].offset = best_offset(items, items[index]);
    insert_placed(items, index);
  }
  int64_t total = 0;
  for (const PlanItem& item : items) total = std::max(total, item.offset + aligned(item.bytes));
  return total;
}

// The smallest gap between neighbours that holds the item; past the last of them when there is none.
int64_t Planner::best_offset(const std::vector<PlanItem>& items, const PlanItem& item) const {
  int64_t wanted = aligned(item.bytes);
  int64_t end = 0;  // of the neighbours seen so far
  int64_t best = -1, best_gap = INT64_MAX;
  for (uint32_t index : placed_) {
    const PlanItem& other = items[index];
    if (!alive_together(item, other)) continue;
    int64_t gap = other.offset - end;
    if (gap >= wanted && gap < best_gap) best = end, best_gap = gap;
    end = std::max(end, other.offset + aligned(other.bytes));
  }
  return best >= 0 ? best : end;
}

void Planner::insert_placed(const std::vector<PlanItem>& items, uint32_t index) {
  auto at = std::upper_bound(placed_.begin(), placed_.end(), index, [&](uint32_t a, uint32_t b) {
    return items[a].offset != items[b].offset ? items[a].offset < items[b].offset : a < b;
  });
  placed_.insert(at, index);
}

}  // namespace fcc::runtime
