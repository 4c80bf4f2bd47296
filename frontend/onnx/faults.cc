#include "frontend/onnx/faults.h"

#include <fmt/format.h>

namespace fcc {

// Length of the UTF-8 sequence at the start of s, 0 when malformed (overlong, surrogate, beyond U+10FFFF).
static size_t utf8_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char c = byte(0);
  if (c < 0x80) return 1;
  const size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
  if (c < 0xc2 || c > 0xf4 || s.size() < n) return 0;
  for (size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && byte(1) < 0xa0) || (c == 0xed && byte(1) > 0x9f) || (c == 0xf0 && byte(1) < 0x90) ||
      (c == 0xf4 && byte(1) > 0x8f))
    return 0;
  return n;
}

bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    const size_t n = utf8_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

std::string printable(std::string_view s) {
  static constexpr size_t kMost = 160;
  std::string out;
  while (!s.empty()) {
    if (out.size() >= kMost) return out + fmt::format("... ({} more bytes)", s.size());
    const size_t n = utf8_length(s);
    const auto c = static_cast<unsigned char>(s[0]);
    if (n == 0 || c < 0x20 || c == 0x7f || (c == 0xc2 && static_cast<unsigned char>(s[1]) < 0xa0)) {
      out += fmt::format("\\x{:02x}", c);
      s.remove_prefix(1);
    } else {
      out += s.substr(0, n);
      s.remove_prefix(n);
    }
  }
  return out;
}

std::string quoted(std::string_view s) {
  return "\"" + printable(s) + "\"";
}

void Faults::add(Diagnostic d) {
  std::vector<Diagnostic> more = std::move(d.more);
  d.more.clear();
  if (!full()) list_.push_back(std::move(d));
  for (Diagnostic& m : more) add(std::move(m));
}

Status Faults::status() {
  if (list_.empty()) return {};
  if (full())
    list_.back() = {
        .what = "further faults are not shown", .where = list_.front().where, .hint = "mend those above first"};
  Diagnostic first = std::move(list_.front());
  first.more.assign(std::make_move_iterator(list_.begin() + 1), std::make_move_iterator(list_.end()));
  list_.clear();
  return std::unexpected(std::move(first));
}

}  // namespace fcc
