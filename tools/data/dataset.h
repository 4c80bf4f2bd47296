#pragma once
// Files as training data: whatever format, arrays with the same number of rows that a model's inputs and targets take.
//
// IDX (also .gz), .npy, .npz, CSV, folders of PGM/PPM images. Formats are told by content. Bytes become floats between
// 0 and 1, as ToTensor of torchvision does; labels become int64. What does not fit the model is refused before the
// first step, with the row that is at fault.
#include <optional>
#include <string>
#include <vector>

#include "fcc/data.hpp"
#include "fcc/model_abi.h"
#include "ir/base/diagnostic.h"

namespace fcc {

struct DataFiles {
  std::vector<std::string> data;     // NAME=FILE for several inputs
  std::vector<std::string> targets;  // NAME=FILE for several targets; none: in the data's file
  int64_t target_columns = 1;        // of a CSV that holds both: the last ones
};

// How numbers become inputs: factor * value, then (x - mean) / deviation.
struct Preparation {
  std::optional<double> scale;  // default: 1/255 for bytes, 1 for the rest
  double mean = 0, deviation = 1;
  std::optional<Moments> columns;  // standardise each column by these
};

struct DataSet {
  std::vector<Array> inputs, targets;  // in the order of the entry's inputs
  std::vector<std::string> classes;    // names, when a folder gave them
  int64_t rows() const { return inputs.empty() ? 0 : inputs[0].rows(); }
};

// For the inputs of `entry` (train_step or evaluate), of which the first `data_inputs` are the model's.
Result<DataSet> load_data(const DataFiles&, const fcc_entry& entry, uint32_t data_inputs);
// Types of the entry's inputs, rows of the right size, labels in range; classes[k] of target k, 0 when it is no class
// index. `what` says which set it is: "training data".
Status prepare_data(DataSet&, const fcc_entry& entry, uint32_t data_inputs, const Preparation&,
                    const std::vector<int64_t>& classes, std::string_view what);
DataSet take_rows(const DataSet&, const std::vector<int64_t>& rows);

}  // namespace fcc
