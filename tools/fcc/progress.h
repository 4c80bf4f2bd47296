#pragma once
// A line on stderr that shows how far a long command is; nothing at all when stderr is not a terminal.
#include <string_view>

namespace fcc {

class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(std::string_view text);
  void clear();
  bool on_terminal() const { return terminal_; }

 private:
  bool terminal_, shown_ = false;
};

}  // namespace fcc
