#pragma once
// The little of ELF64 that fcc handles by hand: objects that carry the info text and the source, the constants put into the file
// after the link (weights may be larger than what one wants in memory twice, so LLD only reserves their addresses),
// and reading one section or the dynamic symbols of a file. Everything else about ELF is LLVM's and LLD's business.
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

// Takes bytes in order; false stops the writing.
using ByteSink = std::function<bool(const void* data, size_t bytes)>;

// A relocatable object with one section that is not loaded: ".fcc_info" or ".fcc_source".
std::string unloaded_object(bool aarch64, std::string_view section, std::string_view contents);

// Names the constants' section and symbol in a linked file.
inline constexpr const char* kConstantsSection = ".fcc_constants";
inline constexpr const char* kConstantsSymbol = "fcc_constants";
// The linker script that lays out a model file: tables and code as usual, then a segment of `bytes` addresses for
// the constants without a byte in the file.
std::string layout_script(int64_t bytes);
// Appends the constants to a file linked with that script and points the segment at them. `constants` must hand
// exactly the announced number of bytes to the sink it gets. False with errno set when the file cannot be written.
bool append_constants(int fd, int64_t bytes, const std::function<bool(const ByteSink&)>& constants);

struct ElfSummary {
  std::vector<std::string> undefined;  // names of undefined dynamic symbols
  std::vector<std::string> exported;   // names of defined dynamic symbols
};

// The contents of a section of an ELF64 little-endian file, nothing when there is no such section. Never reads
// outside the file, whatever it holds.
Result<std::optional<std::string>> read_section(const std::string& path, std::string_view section);
Result<ElfSummary> read_dynamic_symbols(const std::string& path);

}  // namespace fcc
