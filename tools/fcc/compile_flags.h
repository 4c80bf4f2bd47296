#pragma once
// The options of compiling, for the commands that compile: fcc itself, verify and dump.
#include "tools/driver/compile.h"
#include "tools/fcc/command.h"

namespace fcc {

class CompileFlags {
 public:
  void add(CLI::App& app);
  void add_compact(CLI::App& app);  // for those who compile no training step
  // Throws UsageError when a dimension is malformed, or when a pass or a target does not exist.
  CompileOptions options() const;

 private:
  CompileOptions options_;
  std::string target_ = "host";
};

// The targets of a list as texts that the driver understands. Throws UsageError.
std::vector<std::string> targets_named(const std::string& list);

// A line on stderr for each thing what the driver assumed or ignored.
void print_notes(const CompileReport&);

}  // namespace fcc
