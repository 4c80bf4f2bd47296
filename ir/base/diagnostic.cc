#include "ir/base/diagnostic.h"

#include <algorithm>

namespace fcc {

std::string Diagnostic::text() const {
  std::string out = "error: " + what;
  if (!where.empty() || !seen.empty()) {
    out += "\n   at: " + where;
    if (!where.empty() && !seen.empty()) out += ";  ";
    out += seen;
  }
  if (!hint.empty()) out += "\n hint: " + hint;
  for (const Diagnostic& d : more) out += "\n" + d.text();
  return out;
}

static size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string_view nearest_name(std::string_view name, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (std::string_view c : candidates) {
    if (name.size() > 256 || c.size() > 256) continue;
    size_t d = edit_distance(name, c);
    if (d < best_distance) best_distance = d, best = c;
  }
  return best;
}

}  // namespace fcc
