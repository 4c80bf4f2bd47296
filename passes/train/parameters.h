#pragma once
// Which constants of a model are weights, and their change into states: merged initializers apart again, statistics of
// BatchNormalization as buffers.
#include <string>
#include <vector>

#include "passes/train/training.h"

namespace fcc {

// A regular expression of the command line, or a diagnostic. Matches anywhere in the name, as grep does.
class NamePattern {
 public:
  static Result<NamePattern> compile(const std::string& text, std::string_view option);
  bool matches(const std::string& name) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::shared_ptr<const void> regex_;
};
Result<std::vector<NamePattern>> compile_all(const std::vector<std::string>& texts, std::string_view option);
bool any_matches(const std::vector<NamePattern>&, const std::string& name);

// Rewrites the graph: parameters and buffers become states (in the order of the initializers), named as in the file.
Result<std::vector<TrainingState>> make_states(Graph&, const std::vector<std::pair<std::string, ValueId>>& initializers,
                                               const TrainOptions&, std::vector<std::string>& notes);

}  // namespace fcc
