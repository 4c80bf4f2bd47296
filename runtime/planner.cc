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

int64_t by_bytes(const PlanItem& item) {
  return item.bytes;
}
int64_t by_bytes_and_steps(const PlanItem& item) {
  return item.bytes * (item.last_step - item.first_step + 1);
}
int64_t by_first_step(const PlanItem& item) {
  return -int64_t{item.first_step};
}
int64_t by_steps(const PlanItem& item) {
  return item.last_step - item.first_step;
}

}  // namespace

// No order wins everywhere: on random graphs of one result a step the first alone takes 7.5 % more than the peak of
// live bytes, the best of the four 3.4 %.
int64_t Planner::place(std::vector<PlanItem>& items) {
  unplaced_ = items;
  int64_t least = place_by(by_bytes, items);
  for (Key key : {by_bytes_and_steps, by_first_step, by_steps}) {
    attempt_ = unplaced_;
    int64_t total = place_by(key, attempt_);
    if (total >= least) continue;
    least = total;
    items.swap(attempt_);
  }
  return least;
}

int64_t Planner::place_by(Key key, std::vector<PlanItem>& items) {
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
    int64_t key_a = key(items[a]), key_b = key(items[b]);
    return key_a != key_b ? key_a > key_b : a < b;
  });
  int64_t total = 0;
  for (uint32_t index : order_) {
    items[index].offset = best_offset(items, items[index]);
    insert_placed(items, index);
  }
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
