// What the tests of training share: the model by hand, data it can learn, and comparisons of whole states.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "fcc/train.hpp"

namespace fcc::test {

inline std::string train_model(const char* name = "softmax") {
  return std::string(FCC_TRAIN_MODELS "/") + name + ".so";
}
inline Trainer open_trainer(const TrainerOptions& options = {}, const char* name = "softmax") {
  return Trainer::load(train_model(name), options);
}

template <class Body>
std::string error_of(fcc_status code, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_STREQ(fcc_status_name(error.code()), fcc_status_name(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

// Three clouds around three corners.
struct Clouds {
  Array x, labels;
  explicit Clouds(int64_t rows, uint64_t seed = 3)
      : x(Array::of<float>({rows, 4})), labels(Array::of<int64_t>({rows})) {
    Philox random(seed, 0);
    for (int64_t r = 0; r < rows; ++r) {
      auto at = static_cast<size_t>(r);
      int64_t label = r % 3;
      labels.as<int64_t>()[at] = label;
      for (int64_t i = 0; i < 4; ++i)
        x.as<float>()[at * 4 + static_cast<size_t>(i)] =
            static_cast<float>((i == label ? 2.0 : 0.0) + 0.7 * random.normal(static_cast<uint64_t>(r * 4 + i)));
    }
  }
};

// The bytes of every state.
inline std::vector<std::vector<char>> all_states(Trainer& trainer) {
  std::vector<std::vector<char>> states;
  const fcc_model& model = trainer.model().table();
  for (uint32_t i = 0; i < model.n_states; ++i) {
    Values values = trainer.state(model.states[i].name);
    const char* data = static_cast<const char*>(values.data());
    states.emplace_back(data, data + values.bytes());
  }
  return states;
}

inline void train_epoch(Trainer& trainer, const Clouds& data, int64_t epoch, int64_t first = 0,
                        int64_t most = 1 << 30) {
  int64_t done = 0;
  BatchOptions options;
  options.size = 20, options.shuffle = true, options.seed = 5, options.epoch = epoch, options.first = first;
  for (auto [x, y] : batches(data.x, data.labels, options))
    if (done++ < most) trainer.step(x, y);
}

inline std::string scratch(const std::string& name) {
  return ::testing::TempDir() + "fcc_train_" + std::to_string(::getpid()) + "_" + name;
}

}  // namespace fcc::test
