// name(key=value, ...): how schedules and initialisers are written, on the command line and in programs alike.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"

namespace fcc::runtime {

class CallText {
 public:
  // what: "schedule", for messages.
  static fcc_status parse(const char* what, std::string_view text, CallText* call);

  const std::string& name() const { return name_; }
  bool has(std::string_view key) const;
  // The value of a key, which counts as used then; *value stays when there is none.
  fcc_status number(std::string_view key, double* value);
  fcc_status numbers(std::string_view key, std::vector<double>* values);  // 30:80
  fcc_status word(std::string_view key, std::string* value);
  // Refuses keys that nobody asked for; known: for the message.
  fcc_status all_used(const char* known) const;

 private:
  struct Argument {
    std::string key, value;
    bool used = false;
  };
  Argument* find(std::string_view key);

  const char* what_ = "";
  std::string text_, name_;
  std::vector<Argument> arguments_;
};

}  // namespace fcc::runtime
