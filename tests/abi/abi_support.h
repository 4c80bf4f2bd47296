// What the tests of tests/abi share: model paths, error texts, and the arithmetic of the hand-written models again.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "fcc/fcc.hpp"

namespace fcc::test {

inline std::string model_path(const char* name) {
  return std::string(FCC_ABI_MODELS "/") + name + ".so";
}
inline Model open_model(const char* name) {
  return Model(model_path(name));
}

// The error that `body` throws; fails the test when it throws none.
template <class Body>
std::string error_of(fcc_status code, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(fcc_status_name(error.code()), std::string(fcc_status_name(code)));
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

// An environment variable for the length of a scope.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~ScopedEnv() { ::unsetenv(name_); }

 private:
  const char* name_;
};

// Rows of four small multiples of 1/8, so that every sum of the models is exact.
inline std::vector<float> sample_rows(size_t rows, unsigned seed = 1) {
  std::vector<float> x(rows * 4);
  for (float& value : x) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 24) - 128) / 8;
  }
  return x;
}

}  // namespace fcc::test
