// Where the temporaries of one shape live in one workspace.
// Used for models with open dimensions, whose sizes exist only once a shape is seen; fixed models carry offsets planned
// at compile time, and this respects them. A pure function of sizes and lifetimes: the same items give the same plan.
#pragma once

#include <cstdint>
#include <vector>

namespace fcc::runtime {

struct PlanItem {
  int64_t bytes;
  uint32_t first_step, last_step;  // inclusive: live from the start of the first to the end of the last
  int64_t offset;                  // in: where it must be, or kUnplaced; out: where it is
};
inline constexpr int64_t kUnplaced = -1;

class Planner {
 public:
  // Places every unplaced item so that no two items alive in the same step overlap, offsets aligned to FCC_ALIGNMENT.
  // Returns the bytes of workspace needed: the best of greedy best fit in a few orders. Keeps its memory between calls,
  // so planning again for no more items allocates nothing.
  int64_t place(std::vector<PlanItem>& items);

 private:
  using Key = int64_t (*)(const PlanItem&);  // items with the largest key are placed first
  int64_t place_by(Key key, std::vector<PlanItem>& items);
  int64_t best_offset(const std::vector<PlanItem>& items, const PlanItem& item) const;
  void insert_placed(const std::vector<PlanItem>& items, uint32_t index);

  std::vector<uint32_t> order_;               // items still to place
  std::vector<uint32_t> placed_;              // items already placed, by offset
  std::vector<PlanItem> unplaced_, attempt_;  // the items as given, and under another order
};

}  // namespace fcc::runtime
