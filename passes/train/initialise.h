#pragma once
// First values of parameters by rule: keep what the file has, or draw anew as PyTorch's torch.nn.init does.
// Deterministic: numbers come from (seed, parameter name, element). The fans of a weight follow from how it is used,
// not from its shape.
#include "passes/train/parameters.h"

namespace fcc {

class Initialisers {
 public:
  // "RE=kaiming_normal(nonlinearity=relu)", or a rule alone for all parameters.
  static Result<Initialisers> parse(const std::vector<std::string>& texts, int64_t seed);
  // The value of a weight of a graph in which it still is a constant.
  Result<Tensor> value(const Graph&, ValueId weight, const std::string& name) const;

 private:
  struct Rule {
    NamePattern pattern;
    std::string text;
  };
  std::vector<Rule> rules_;
  int64_t seed_ = 0;
};

}  // namespace fcc
