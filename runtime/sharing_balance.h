// Whether helpers still pay on a machine that others use too.
//
// A helper put off its CPU in the middle of a chunk costs the caller a time slice, some milliseconds. Seldom, that is
// the price of being twice as fast in between; often, it is more than helpers can earn. This keeps the account: what
// runs with helpers gained since the last losses, against what they lost. It decides nothing but that.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fcc::runtime {

class SharingBalance {
 public:
  // A run of this length that helpers took part in; two threads saved up to as much again, half is taken for certain.
  void add_run(int64_t wall_ns) { gained_ns_ = std::min(gained_ns_ + wall_ns / 2, kMostNs); }
  // A run lost so much. True: more than what was gained before.
  bool loss_prevails(int64_t lost_ns) {
    gained_ns_ -= lost_ns;
    if (gained_ns_ >= 0) return false;
    gained_ns_ = 0;
    return true;
  }

 private:
  // A long good time pays for a few lost slices, not for a bad time as long.
  static constexpr int64_t kMostNs = 20'000'000;
  int64_t gained_ns_ = 0;
};

}  // namespace fcc::runtime
