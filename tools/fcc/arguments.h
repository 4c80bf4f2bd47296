#pragma once
// Argument forms that several commands share: NAME=SIZE for open dimensions, NAME=FILE.npy for inputs, ranges.
#include <map>

#include "tools/compiled_model.h"
#include "tools/fcc/command.h"
#include "tools/random_input.h"

namespace fcc {

// Sizes for open dimensions.
using DimSizes = std::map<std::string, int64_t>;
// "N=64": throws UsageError on any other form.
DimSizes parse_dim_sizes(const std::vector<std::string>& texts);
// "-1..1"
RandomRange parse_range(const std::string& text, uint64_t seed);

// What a model wants, from whichever table describes it.
struct WantedDim {
  SymExpr size;  // a number, an open dimension, or an expression of some
  int64_t min = 0, max = INT64_MAX;
};
struct WantedInput {
  std::string name;
  DType dtype;
  std::vector<WantedDim> dims;
};
std::vector<WantedInput> wanted_inputs(const CompiledModel&);

// Where inputs come from: -i NAME=x.npy (-i x.npy for the only input), else random.
struct InputSource {
  std::vector<std::string> files;
  const RandomRange* random = nullptr;  // null: every input needs a file
  DimSizes sizes;                       // of open dimensions, for random inputs
  int64_t usual_size = 1;               // of those that neither `sizes` nor a file tells, inside their bounds
};
// One tensor for each input. Files for unknown inputs, of another type, or unreadable, are refused; their shapes
// are the model's to judge. `assumed` receives the sizes that nobody gave.
Result<std::vector<Tensor>> gather_inputs(const InputSource&, const std::vector<WantedInput>& wanted,
                                          DimSizes* assumed);

struct ThreadOption {
  int threads = 0;
  void add(CLI::App& app);
};

// "N=2, T=1" for a line that says what was assumed.
std::string text(const DimSizes&);

// 1234567 -> "1.23 M"; bytes -> "1.2 MiB"; nanoseconds -> "1.23 ms".
std::string count_text(double n);
std::string bytes_text(double bytes);
std::string duration_text(double ns);

}  // namespace fcc
