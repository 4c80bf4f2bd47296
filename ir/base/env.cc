#include "ir/base/env.h"

#include <cstdlib>

#include "ir/base/check.h"

namespace fcc {

static constexpr EnvVar kTable[] = {
    {"FCC_DUMP", "folder that receives every changed stage, numbered (same as --dump)"},
    {"FCC_SKIP", "comma-separated passes to leave out (same as --skip)"},
    {"FCC_STOP_AFTER", "run only the first n passes, to bisect a wrong result"},
    {"FCC_VERIFY", "1: verify, print and parse back the program after every pass"},
    {"FCC_LOG", "1: print the choices made for each kernel on stderr"},
    {"FCC_MAX_ISA", "cap the instruction set, at compile time for --target host and at load: x86-64-v2, -v3 or -v4"},
    {"XDG_CACHE_HOME", "folder of the user's caches: compiled kernels are kept in its folder fcc (default: ~/.cache)"},
    {"FCC_NUM_THREADS", "threads of the runtime's pool (default: affinity mask and cgroup quota)"},
};

std::span<const EnvVar> env_table() { return kTable; }

std::string env(std::string_view name) {
  for (const EnvVar& v : kTable) {
    if (v.name != name) continue;
    const char* value = std::getenv(v.name.data());
    return value ? value : "";
  }
  FCC_UNREACHABLE("environment variable {} is not in the table", name);
}

}  // namespace fcc
