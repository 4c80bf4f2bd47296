#pragma once
// The one table of environment variables fcc reads, shown by `fcc --help-env`. Only the compiler side;
// the runtime reads its own two (FCC_NUM_THREADS, FCC_MAX_ISA), listed here for the help text.
#include <span>
#include <string>
#include <string_view>

namespace fcc {

struct EnvVar {
  std::string_view name, what;
};
std::span<const EnvVar> env_table();
// The value of a variable of the table, "" when unset. Asking for a name outside the table is a bug.
std::string env(std::string_view name);

}  // namespace fcc
