#pragma once
// What the end-to-end tests share: the committed networks, compiling one, inputs of any size, and running on a pool
// of the test's choice. It goes through compile_file and the C interface, as a user would; it knows no pass or kernel.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tools/compare.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"

namespace fcc::test {

// A network of tests/models with the data sets beside it, or one of examples/ without.
struct Network {
  std::string name, model;
  std::vector<std::string> data_sets;  // folders
};
// Those that compile: the expected failures are left out.
const std::vector<Network>& networks();
const Network& network(const std::string& name);
// For INSTANTIATE_TEST_SUITE_P: names with only letters, digits and underscores.
std::string test_name(const testing::TestParamInfo<Network>& info);
void PrintTo(const Network&, std::ostream*);

// A folder for this process's files, removed at its end.
const std::string& work_folder();
// Compiles into work_folder(); the same arguments compile once. Fails the test and returns "" when it does not compile.
std::string compiled(const Network&, const std::vector<std::string>& targets = {"host"},
                     const std::vector<std::string>& dims = {});

struct Data {
  std::vector<Tensor> inputs, expected;
};
Data read_data_set(const std::string& folder);
// Values for every input; each open dimension at the size given, else at `size`.
std::vector<Tensor> make_inputs(const fcc_entry&, int64_t size);
// Data sets, or for a network without any, made inputs of size 3.
std::vector<std::vector<Tensor>> sample_inputs(const Network&, const std::string& library);

// Outputs of a run; pool null: threads of the runtime's own.
std::vector<Tensor> run(const std::string& library, const std::vector<Tensor>& inputs, int threads,
                        const fcc_host_pool* pool = nullptr);

// Fails the test when the outputs are not those expected, errors relative to the largest magnitude of an output as
// everywhere but in ONNX's rule (docs/numerics.md), which asks for more digits near zero than a sum in f32 has.
void expect_agree(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected, const std::string& what);
// Fails the test when any bit differs.
void expect_same_bits(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected, const std::string& what);

// Exit status and everything printed.
struct Outcome {
  int status;
  std::string text;
};
Outcome shell(const std::string& command);

// Does this CPU run code for the target?
bool host_runs(const std::string& target);

}  // namespace fcc::test
