// Open dimensions: one compiled file at batch 1, 3 and 64 agrees with a file compiled for exactly that batch, and with
// the interpreter where that takes no minutes. The two files may choose other tiles, hence no comparison of bits.
#include "frontend/onnx/import.h"
#include "ir/eval.h"
#include "tests/e2e/e2e_support.h"
#include "tools/random_input.h"

namespace fcc::test {
namespace {

std::vector<Network> open_networks() {
  std::vector<Network> found;
  for (const Network& n : networks()) {
    auto import = import_file(n.model);
    FCC_CHECK(import, "{} was imported before", n.name);
    for (ValueId v : import->graph.inputs())
      if (!import->graph.value(v).type.is_static() && (found.empty() || found.back().name != n.name))
        found.push_back(n);
  }
  return found;
}

// Only the batch varies: the first open dimension of the first input; others take a size they all accept.
constexpr int64_t kOther = 8;
std::map<std::string, int64_t> sizes_for(const fcc_entry& entry, int64_t batch) {
  std::map<std::string, int64_t> sizes;
  for (const fcc_symbol& s : std::span(entry.symbols, entry.n_symbols))
    if (s.origin == 0) sizes[s.name] = s.axis == 0 ? batch : kOther;
  return sizes;
}

std::vector<Tensor> inputs_at(const fcc_entry& entry, const std::map<std::string, int64_t>& sizes) {
  std::vector<Tensor> inputs;
  for (const fcc_slot& slot : std::span(entry.inputs, entry.n_inputs)) {
    std::vector<int64_t> shape;
    for (const fcc_size& dim : std::span(slot.dims, slot.rank))
      shape.push_back(dim.kind == FCC_SIZE_FIXED ? dim.value : sizes.at(entry.symbols[dim.index].name));
    inputs.push_back(random_tensor(slot.name, static_cast<DType>(slot.dtype), std::move(shape), {}));
  }
  return inputs;
}

class OpenNetwork : public testing::TestWithParam<Network> {};
INSTANTIATE_TEST_SUITE_P(, OpenNetwork, testing::ValuesIn(open_networks()), test_name);

TEST_P(OpenNetwork, AgreesWithItsStaticTwin) {
  const std::string open_library = compiled(GetParam());
  ASSERT_NE(open_library, "");
  auto model = CompiledModel::open(open_library, {.threads = 2});
  ASSERT_TRUE(model) << model.error().text();
  for (int64_t batch : {1, 3, 64}) {
    const auto sizes = sizes_for(model->table(), batch);
    const std::vector<Tensor> inputs = inputs_at(model->table(), sizes);
    auto outputs = model->run(inputs);
    ASSERT_TRUE(outputs) << outputs.error().text();
    std::vector<std::string> dims;
    for (const auto& [name, size] : sizes) dims.push_back(fmt::format("{}={}", name, size));
    const std::string twin = compiled(GetParam(), {"host"}, dims);
    ASSERT_NE(twin, "");
    expect_agree(*outputs, run(twin, inputs, 2), fmt::format("batch {}", batch));
  }
}

TEST_P(OpenNetwork, AgreesWithTheInterpreter) {
  auto model = CompiledModel::open(compiled(GetParam()), {.threads = 2});
  ASSERT_TRUE(model) << model.error().text();
  auto import = import_file(GetParam().model);
  const bool cheap = GetParam().name.starts_with("linear") || GetParam().name.ends_with("mlp");
  for (int64_t batch : cheap ? std::vector<int64_t>{1, 3, 64} : std::vector<int64_t>{2}) {
    const std::vector<Tensor> inputs = inputs_at(model->table(), sizes_for(model->table(), batch));
    auto outputs = model->run(inputs);
    ASSERT_TRUE(outputs) << outputs.error().text();
    auto expected = evaluate(import->graph, inputs);
    ASSERT_TRUE(expected) << expected.error().text();
    expect_agree(*outputs, expected->outputs, fmt::format("batch {}", batch));
  }
}

}  // namespace
}  // namespace fcc::test
