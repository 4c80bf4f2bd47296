#pragma once
// FCC_CHECK: an invariant of fcc itself. A failure is our bug, never the user's; the tools print the text
// and exit with status 3. User faults go through Result<T> (diagnostic.h).
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace fcc {

struct InternalError : std::logic_error {
  using std::logic_error::logic_error;
};

[[noreturn]] inline void internal_error(const char* file, int line, const char* condition, std::string text) {
  std::string_view path = file;
  if (auto slash = path.rfind('/'); slash != path.npos) path.remove_prefix(slash + 1);
  throw InternalError(fmt::format("internal error: {}:{}: {}{}{}", path, line, condition, text.empty() ? "" : ": ", text));
}

}  // namespace fcc

#define FCC_CHECK(condition, ...)                                                                  \
  do {                                                                                             \
    if (!(condition)) [[unlikely]]                                                                 \
      ::fcc::internal_error(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__));        \
  } while (0)
#define FCC_UNREACHABLE(...) ::fcc::internal_error(__FILE__, __LINE__, "unreachable", ::fmt::format("" __VA_ARGS__))
