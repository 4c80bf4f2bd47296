#pragma once
// What went wrong with the user's model or data, in four parts: what, where, seen against expected, hint.
// Lives at the bottom of the include graph because every stage reports through it. It is not for our own
// bugs (see check.h) and not for run time (see runtime/include/fcc/fcc.h).
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace fcc {

struct Diagnostic {
  std::string what;   // one sentence naming the culprit: Conv "backbone/conv1": weight wants 4 input channels, the input has 3
  std::string where;  // file, node index, opset
  std::string seen;   // operands with types, or "seen X, expected Y"
  std::string hint;   // what to do about it
  std::vector<Diagnostic> more;  // further faults of the same stage, so that a user sees all of them at once

  // Several lines without a trailing newline:
  //   error: <what>
  //      at: <where>;  <seen>
  //    hint: <hint>
  std::string text() const;
};

template <class T>
using Result = std::expected<T, Diagnostic>;
using Status = std::expected<void, Diagnostic>;

// A Diagnostic ready to return from a function of type Result<T>.
inline std::unexpected<Diagnostic> fail(std::string what, std::string seen = {}, std::string hint = {}) {
  return std::unexpected(Diagnostic{.what = std::move(what), .where = {}, .seen = std::move(seen), .hint = std::move(hint), .more = {}});
}
inline std::unexpected<Diagnostic> fail(Diagnostic d) { return std::unexpected(std::move(d)); }

// The candidate nearest to `name` by edit distance, or "" when none is near: for "did you mean" hints.
std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& candidates);

}  // namespace fcc

// FCC_TRY(auto x, f()): declares x from a Result, or returns its diagnostic from the enclosing function.
#define FCC_CONCAT_(a, b) a##b
#define FCC_CONCAT(a, b) FCC_CONCAT_(a, b)
#define FCC_TRY_(tmp, decl, expr)                          \
  auto&& tmp = (expr);                                     \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  decl = *std::move(tmp)
#define FCC_TRY(decl, ...) FCC_TRY_(FCC_CONCAT(fcc_try_, __LINE__), decl, (__VA_ARGS__))
// FCC_CHECKED(f()): the same for a Status.
#define FCC_CHECKED(...)                                                        \
  do {                                                                          \
    auto&& fcc_status = (__VA_ARGS__);                                          \
    if (!fcc_status) return std::unexpected(std::move(fcc_status).error());     \
  } while (0)
