#pragma once
// The tables of a model file as an LLVM module: constant structs laid out as model_abi.h says, derive() functions
// generated from size expressions, and fcc_model_query, the one exported function. Split from link.cc because it
// knows the ABI and nothing of files.
#include <map>
#include <string>
#include <vector>

#include "backend/llvm/model_image.h"

namespace fcc {

// What the writer found out about a compiled kernel as an entry sees it.
struct PlacedKernel {
  std::string function;  // symbol name
  int64_t scratch_bytes = 0;
  bool may_fault = false, defines_symbols = false;
};

struct TablesInput {
  const ModelImage& image;
  // [variant][entry][step]
  std::vector<std::vector<std::vector<PlacedKernel>>> placed;
  // [variant][entry]: sentences by index
  std::vector<std::vector<std::vector<std::string>>> faults;
};

// The object with all tables, for the lowest level of the variants' processor family.
std::string compile_tables(const TablesInput&);

}  // namespace fcc
