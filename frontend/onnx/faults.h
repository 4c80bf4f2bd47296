#pragma once
// Diagnostics of the importer: quoting of names that come from a file, and a collector that reports every fault
// of a model at once instead of the first.
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

// A name from a file, safe to print: in double quotes, control bytes and bad UTF-8 escaped, long ones shortened.
std::string quoted(std::string_view name);
// The same without the quotes.
std::string printable(std::string_view name);
bool is_utf8(std::string_view);

class Faults {
 public:
  void add(Diagnostic d);
  bool empty() const { return list_.empty(); }
  bool full() const { return list_.size() > kMost; }  // time to stop looking
  // The first fault with the others behind it, or success.
  Status status();

 private:
  static constexpr size_t kMost = 20;  // more would only scroll the first ones away
  std::vector<Diagnostic> list_;
};

}  // namespace fcc
