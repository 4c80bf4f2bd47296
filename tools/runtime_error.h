#pragma once
// Errors of the C++ headers of the runtime (fcc.hpp, train.hpp, data.hpp) as diagnostics of the tools.
#include "fcc/fcc.hpp"
#include "ir/base/diagnostic.h"

namespace fcc {

inline Diagnostic diagnostic_of(const Error& e) {
  const std::string text = e.what();
  const size_t hint = text.find("\n hint: ");
  Diagnostic d;
  d.what = text.substr(0, hint);
  if (hint != text.npos) d.hint = text.substr(hint + 8);
  return d;
}

// The value of body(), or its Error as a diagnostic.
template <class Body>
auto caught(Body&& body) -> Result<decltype(body())> {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return {};
    } else {
      return body();
    }
  } catch (const Error& e) {
    return fail(diagnostic_of(e));
  }
}

}  // namespace fcc
