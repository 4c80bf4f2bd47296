// Failure codes with text, inside the runtime.
// A failing function calls fail(), which stores a sentence for the thread and returns the code; callers pass the code
// on. Text lives in a fixed thread-local buffer so that running out of memory can be reported too. It is not
// Result<T> of the compiler: the runtime includes nothing of ir/.
#pragma once

#include <cstdint>
#include <new>
#include <string>

#include "fcc/fcc.h"

namespace fcc::runtime {

inline constexpr size_t kErrorTextBytes = 2048;

// Stores the sentence of this thread and returns `code`.
[[gnu::format(printf, 2, 3)]] fcc_status fail(fcc_status code, const char* format, ...);

// The sentence of this thread, to be carried to another one.
const char* error_text();
void set_error_text(const char* text);

// Runs `body` so that nothing is thrown past it: for every function of the C interface.
template <class Body>
fcc_status guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(FCC_OUT_OF_MEMORY, "not enough memory");
  } catch (...) {
    return fail(FCC_INTERNAL, "unexpected exception inside the runtime; this is a bug");
  }
}

}  // namespace fcc::runtime

// Returns from the enclosing function when `expression` is not FCC_OK.
#define FCC_RETURN_IF_FAILED(expression)                                                  \
  do {                                                                                    \
    if (fcc_status fcc_status_ = (expression); fcc_status_ != FCC_OK) return fcc_status_; \
  } while (0)
