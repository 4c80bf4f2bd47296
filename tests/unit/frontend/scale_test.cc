// Row 34: large models import in time that grows with their size, not with its square, and without recursion.
#include <ctime>

#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

// Processor time, so that a busy machine does not matter.
double seconds_used() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

double seconds_to_import(const ModelMaker& m) {
  const std::string bytes = m.bytes();
  const double start = seconds_used();
  const Result<Import> r = import_string(bytes);
  const double seconds = seconds_used() - start;
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
  const double start = seconds_used();
  EXPECT_FALSE(import_string(bytes));
  EXPECT_LT(seconds_used() - start, 5);
}

}  // namespace
}  // namespace fcc::test
