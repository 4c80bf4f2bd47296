#pragma once
// The small language of options: name(value, key=value, ...), as in adam(lr=1e-3) or mse(y0)+0.1*l1(y1). Losses,
// optimizers, schedules and initialisers are all written in it. It only takes apart; who asks for an argument checks
// it.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

struct CallText {
  std::string name;
  std::vector<std::string> values;                           // without a key, in order
  std::vector<std::pair<std::string, std::string>> options;  // key, value
};

// `what` is how messages call the text: optimizer "adam(lr=1e-3".
Result<CallText> parse_call(std::string_view text, std::string_view what);
// factor*call + call + ...
Result<std::vector<std::pair<double, CallText>>> parse_sum(std::string_view text, std::string_view what);

// Hands out the arguments of a call, each once, and complains about those that nobody asked for.
class Arguments {
 public:
  Arguments(const CallText& call, std::string_view what)
      : call_(call), what_(what), used_(call.options.size(), false) {}

  // The option, or `otherwise` when absent; true and false are 1 and 0.
  Result<double> number(std::string_view key, double otherwise);
  std::string text(std::string_view key, std::string_view otherwise);
  // Fails when an option was never asked for, or when there are more than `most` values.
  Status finish(size_t most_values = 0) const;

 private:
  const std::string* take(std::string_view key);
  const CallText& call_;
  std::string what_;
  std::vector<bool> used_;
  std::vector<std::string> asked_;
};

// The number that the whole text is.
Result<double> parse_number(std::string_view text, std::string_view what);

}  // namespace fcc
