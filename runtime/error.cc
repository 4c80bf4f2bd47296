#include "error.h"

#include <cstdarg>
#include <cstdio>

namespace fcc::runtime {
namespace {
thread_local char last_error[kErrorTextBytes];
}

fcc_status fail(fcc_status code, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return code;
}

const char* error_text() {
  return last_error;
}

void set_error_text(const char* text) {
  std::snprintf(last_error, sizeof last_error, "%s", text);
}

}  // namespace fcc::runtime
