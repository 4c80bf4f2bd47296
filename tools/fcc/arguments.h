#pragma once
// Argument forms that several commands share: NAME=SIZE for open dimensions, NAME=FILE.npy for inputs, ranges.
#include "tools/compiled_model.h"
#include "tools/fcc/command.h"
#include "tools/random_input.h"

namespace fcc {

// "N=64": throws UsageError on any other form.
DimSizes parse_dim_sizes(const std::vector<std::string>& texts);
// "-1..1"
RandomRange parse_range(const std::string& text, uint64_t seed);

// What a model wants, from whichever table describes it.
struct WantedInput {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  // used when no file is given
};
// -i NAME=x.npy, or -i x.npy for the only input. Inputs without a file are random; files for unknown inputs, files
// of the wrong type and unreadable files are refused. `random_allowed` false: every input needs a file.
Result<std::vector<Tensor>> gather_inputs(const std::vector<std::string>& files, const std::vector<WantedInput>& wanted,
                                          const RandomRange* random);

// Shapes by --dim, else the smallest size; what was not given is noted in `assumed`.
std::vector<WantedInput> wanted_inputs(const CompiledModel&, const DimSizes& given, DimSizes* assumed);

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
