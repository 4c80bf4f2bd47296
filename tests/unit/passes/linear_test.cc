// nn.Linear models written in every usual way become one kernel a layer: bias, activation, BatchNorm and dropout ride
// along with the product.
#include <gtest/gtest.h>

#include <map>

#include "ir/op.h"
#include "ir/text.h"
#include "passes/manager.h"
#include "tests/unit/passes/test_models.h"

namespace fcc {
namespace {

// Kernels of each model of tests/models/linear_models.py. More than its layers where a row must be complete before it
// can go on: a softmax, a LayerNorm, a sum, a concatenation, a sum with
// what the product itself reads.
const std::map<std::string, int> kKernels = {
    {"one", 1},           {"no_bias", 1},       {"one_output", 1},    {"wide", 2},       {"relu_stack", 4},
    {"sigmoid_stack", 3}, {"tanh_stack", 3},    {"leaky_stack", 3},   {"mixed_stack", 5}, {"no_bias_stack", 2},
    {"dropout", 2},       {"batch_norm", 2},    {"batch_norm_after", 2}, {"layer_norm", 3}, {"softmax", 3},
    {"log_softmax", 3},   {"functional", 1},    {"matmul_t", 1},      {"matmul", 1},     {"mm_bias_first", 1},
    {"addmm", 1},         {"weight_first", 1},  {"einsum", 1},        {"bilinear", 2},   {"shared", 3},
    {"tied", 2},          {"residual", 6},      {"sequence", 2},      {"sequence_matmul_t", 1}};

std::vector<std::string> linear_files() {
  std::vector<std::string> paths = tests::model_files();
  std::erase_if(paths, [](const std::string& p) { return !tests::model_name(p).starts_with("linear_"); });
  return paths;
}

class Linear : public testing::TestWithParam<std::string> {};

TEST_P(Linear, one_kernel_a_layer) {
  std::string name = tests::model_name(GetParam()).substr(7);
  for (std::string_view kind : {"_old_static", "_old_open", "_new_static", "_new_open"})
    if (name.ends_with(kind)) name.resize(name.size() - kind.size());
  ASSERT_TRUE(kKernels.contains(name)) << "say how many kernels " << name << " becomes";
  Result<Import> import = import_file(GetParam());
  ASSERT_TRUE(import.has_value()) << import.error().text();
  PassContext context;
  ASSERT_TRUE(run_passes(import->graph, context, {}).has_value());
  int kernels = 0;
  for (NodeId n : import->graph.order()) kernels += import->graph.node(n).op->strategy == Strategy::kernel;
  EXPECT_EQ(kernels, kKernels.at(name)) << print(import->graph);
}

INSTANTIATE_TEST_SUITE_P(committed, Linear, testing::ValuesIn(linear_files()),
                         [](const testing::TestParamInfo<std::string>& info) { return tests::model_name(info.param); });

}  // namespace
}  // namespace fcc
