#pragma once
// The batches of an epoch over a data set of any number of arrays: rows in an order that seed and epoch decide.
// (fcc::Batches of data.hpp is the same for programs, which know the number of arrays.)
#include <span>

#include "tools/data/dataset.h"

namespace fcc {

class Gatherer {
 public:
  // Shuffled rows are copied into memory that is made once; the data set must outlive this.
  Gatherer(const DataSet& set, int64_t most_rows, bool shuffle, uint64_t seed);
  void set_epoch(int64_t epoch);
  // Rows [first, first + n) of the epoch's order, inputs and then targets. Valid until the next call.
  std::span<const fcc_tensor> rows(int64_t first, int64_t n);

 private:
  std::vector<const Array*> arrays_;
  std::vector<std::vector<char>> memory_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<fcc_tensor> tensors_;
  std::vector<int64_t> order_;
  bool shuffle_;
  uint64_t seed_;
};

}  // namespace fcc
