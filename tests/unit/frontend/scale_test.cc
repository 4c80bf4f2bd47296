// Row 34: large models import in time that grows with their size, not with its square, and without recursion.
#include <chrono>

#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_to_import(const ModelMaker& m) {
  const std::string bytes = m.bytes();
  const auto start = Clock::now();
  const Result<Import> r = import_string(bytes);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  EXPECT_TRUE(r) << r.error().text();
  return seconds;
}

ModelMaker chain(int nodes) {
  ModelMaker m;
  m.input("v0", {"N", 8});
  for (int k = 0; k < nodes; ++k)
    m.node(k % 2 ? "Relu" : "Sigmoid", {"v" + std::to_string(k)}, {"v" + std::to_string(k + 1)},
           "n" + std::to_string(k));
  m.output("v" + std::to_string(nodes));
  return m;
}

TEST(Scale, ChainOf100000Nodes) {
  EXPECT_LT(seconds_to_import(chain(100'000)), 10);
}

TEST(Scale, MillionInitializers) {
  ModelMaker m = relu_model();
  for (int k = 0; k < 1'000'000; ++k) m.floats("w" + std::to_string(k), {1}, {static_cast<float>(k)});
  EXPECT_LT(seconds_to_import(m), 20);
}

TEST(Scale, EveryNodeReadsOneValue) {
  ModelMaker m;
  m.input("x", {8});
  for (int k = 0; k < 50'000; ++k) m.node("Relu", {"x"}, {"v" + std::to_string(k)});
  for (int k = 0; k < 50'000; k += 100) m.output("v" + std::to_string(k));
  EXPECT_LT(seconds_to_import(m), 10);
}

// Refusals must not search the graph once a fault.
TEST(Scale, UnsortedChainIsRefusedQuickly) {
  ModelMaker m = chain(100'000);
  for (int k = 0; k < 50'000; ++k) m.g().mutable_node()->SwapElements(k, 99'999 - k);
  const std::string bytes = m.bytes();
  const auto start = Clock::now();
  EXPECT_FALSE(import_string(bytes));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace fcc::test
