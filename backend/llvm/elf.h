#pragma once
// The little of ELF64 that fcc handles by hand: a relocatable object that carries the constants and the info text
// (streamed, since weights may be larger than what one wants in memory twice), and reading one section of a file.
// Everything else about ELF is LLVM's and LLD's business.
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"
#include "ir/target.h"

namespace fcc {

struct DataObject {
  bool aarch64 = false;
  std::string_view symbol;  // hidden symbol at the start of the constants
  int64_t bytes = 0;        // of the constants
  std::string_view info;    // contents of .fcc_info
};

// Takes the bytes of an object in order; false stops the writing.
using ByteSink = std::function<bool(const void* data, size_t bytes)>;

// Writes the object. `constants` must hand exactly `bytes` bytes to the sink it gets.
bool write_data_object(const DataObject&, const ByteSink& sink, const std::function<bool(const ByteSink&)>& constants);

struct ElfSummary {
  std::vector<std::string> undefined;  // names of undefined dynamic symbols
  std::vector<std::string> exported;   // names of defined dynamic symbols
};

// The contents of a section of an ELF64 little-endian file, nothing when there is no such section. Never reads
// outside the file, whatever it holds.
Result<std::optional<std::string>> read_section(const std::string& path, std::string_view section);
Result<ElfSummary> read_dynamic_symbols(const std::string& path);

}  // namespace fcc
