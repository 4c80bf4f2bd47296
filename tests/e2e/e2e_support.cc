#include "tests/e2e/e2e_support.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "frontend/onnx/import.h"
#include "ir/target.h"
#include "tools/files.h"
#include "tools/random_input.h"

namespace fcc::test {
namespace {

namespace fs = std::filesystem;

std::set<std::string> expected_failures() {
  std::set<std::string> names;
  std::ifstream file(FCC_SOURCE_DIR "/tests/e2e/expected_failures.txt");
  for (std::string line; std::getline(file, line);) names.insert(line.substr(0, line.find(':')));
  return names;
}

std::vector<fs::path> sorted(const fs::path& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

std::vector<Network> find_networks() {
  const std::set<std::string> failures = expected_failures();
  std::vector<Network> found;
  for (const fs::path& folder : sorted(FCC_SOURCE_DIR "/tests/models")) {
    const std::string name = folder.filename().string();
    if (!fs::exists(folder / "model.onnx") || failures.contains(name)) continue;
    found.push_back({name, (folder / "model.onnx").string(), {}});
    for (const fs::path& path : sorted(folder))
      if (fs::is_directory(path)) found.back().data_sets.push_back(path.string());
  }
  for (const fs::path& folder : sorted(FCC_SOURCE_DIR "/examples")) {
    if (!fs::is_directory(folder)) continue;
    for (const fs::path& path : sorted(folder))
      if (path.extension() == ".onnx") {
        const std::string stem = path.stem().string(), folder_name = folder.filename().string();
        const bool taken = std::ranges::find(found, stem, &Network::name) != found.end();
        found.push_back({taken ? folder_name + "." + stem : stem, path.string(), {}});
      }
  }
  return found;
}

std::vector<Tensor> read_tensors(const fs::path& folder, const std::string& prefix) {
  std::vector<Tensor> tensors;
  for (int i = 0;; ++i) {
    const fs::path path = folder / fmt::format("{}{}.pb", prefix, i);
    if (!fs::exists(path)) return tensors;
    auto tensor = read_tensor_proto(path.string());
    if (!tensor) {
      ADD_FAILURE() << tensor.error().text();
      return {};
    }
    tensors.push_back(std::move(tensor->tensor));
  }
}

// The runtime's failure as a failure of the test.
bool good(fcc_status status) {
  if (status != FCC_OK) ADD_FAILURE() << fcc_error_text();
  return status == FCC_OK;
}

void expect_within(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected, const Tolerance& tolerance,
                   const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const Comparison c = compare(actual[i], expected[i], tolerance);
    EXPECT_TRUE(c.equal) << what << ", output " << i << ": " << c.mismatch;
    EXPECT_FALSE(c.vanishing) << what << ", output " << i << ": zeros would pass";
  }
}

}  // namespace

const std::vector<Network>& networks() {
  static const std::vector<Network> all = find_networks();
  return all;
}

const Network& network(const std::string& name) {
  auto found = std::ranges::find(networks(), name, &Network::name);
  FCC_CHECK(found != networks().end(), "no network {}", name);
  return *found;
}

std::string test_name(const testing::TestParamInfo<Network>& info) {
  std::string name = info.param.name;
  std::ranges::replace(name, '.', '_');
  return name;
}

void PrintTo(const Network& n, std::ostream* out) {
  *out << n.name;
}

const std::string& work_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

std::string compiled(const Network& n, const std::vector<std::string>& targets, const std::vector<std::string>& dims) {
  const std::string library =
      fmt::format("{}/{} {} {}.so", work_folder(), n.name, fmt::join(targets, "+"), fmt::join(dims, " "));
  if (fs::exists(library)) return library;
  CompileOptions options;
  options.targets = targets;
  options.dims = dims;
  options.jobs = 1;
  auto report = compile_file(n.model, library, options);
  if (report) return library;
  ADD_FAILURE() << n.name << ": " << report.error().text();
  return "";
}

Data read_data_set(const std::string& folder) {
  return {read_tensors(folder, "input_"), read_tensors(folder, "output_")};
}

std::vector<Tensor> make_inputs(const fcc_entry& entry, int64_t size) {
  std::vector<Tensor> inputs;
  for (const fcc_slot& slot : std::span(entry.inputs, entry.n_inputs)) {
    std::vector<int64_t> shape;
    for (const fcc_size& dim : std::span(slot.dims, slot.rank))
      shape.push_back(dim.kind == FCC_SIZE_FIXED ? dim.value : size);
    inputs.push_back(random_tensor(slot.name, static_cast<DType>(slot.dtype), std::move(shape), {}));
  }
  return inputs;
}

std::vector<std::vector<Tensor>> sample_inputs(const Network& n, const std::string& library) {
  std::vector<std::vector<Tensor>> samples;
  for (const std::string& folder : n.data_sets) samples.push_back(read_data_set(folder).inputs);
  if (!samples.empty()) return samples;
  auto model = CompiledModel::open(library);
  if (!model) {
    ADD_FAILURE() << model.error().text();
    return {};
  }
  return {make_inputs(model->table(), 3)};
}

std::vector<Tensor> run(const std::string& library, const std::vector<Tensor>& inputs, int threads,
                        const fcc_host_pool* host) {
  fcc_library* opened = nullptr;
  fcc_pool* pool = nullptr;
  fcc_session* session = nullptr;
  fcc_session_options options = {sizeof options, static_cast<uint32_t>(threads), nullptr, nullptr};
  bool ok = good(fcc_library_open(library.c_str(), &opened)) &&
            good(host ? fcc_pool_from_host(host, &pool) : fcc_pool_create(options.threads, &pool));
  options.pool = pool;
  ok = ok && good(fcc_session_create(opened, &options, &session));
  for (uint32_t i = 0; ok && i < inputs.size(); ++i) {
    const Tensor& t = inputs[i];
    const fcc_tensor tensor = {const_cast<std::byte*>(t.raw()), static_cast<uint32_t>(t.dtype()),
                               static_cast<uint32_t>(t.rank()), t.shape().data(), nullptr};
    ok = good(fcc_session_bind_input(session, i, &tensor));
  }
  ok = ok && good(fcc_session_run(session));
  std::vector<Tensor> outputs;
  for (uint32_t i = 0; ok && i < fcc_session_table(session)->n_outputs; ++i) {
    fcc_tensor view = {};
    ok = good(fcc_session_output(session, i, &view));
    Tensor t(static_cast<DType>(view.dtype), std::vector<int64_t>(view.dims, view.dims + view.rank));
    if (!t.empty()) std::memcpy(t.raw(), view.data, static_cast<size_t>(t.bytes()));
    outputs.push_back(std::move(t));
  }
  fcc_session_close(session);
  fcc_pool_release(pool);
  fcc_library_close(opened);
  return outputs;
}

void expect_agree(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected, const std::string& what) {
  // Of all the additions behind an output of these small networks, there are fewer than a million in a row.
  expect_within(actual, expected, tolerance_for(DType::f32, 1'000'000), what);
}

void expect_same_bits(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_TRUE(actual[i].same_bits(expected[i])) << what << ", output " << i;
}

Outcome shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  FCC_CHECK(pipe, "popen");
  std::string text;
  for (char block[4096]; size_t n = std::fread(block, 1, sizeof block, pipe);) text.append(block, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text};
}

bool host_runs(const std::string& target) {
  const uint32_t needs = Target::parse(target)->isa_bits(), has = Target::host()->isa_bits();
  return (needs & ~has) == 0;
}

}  // namespace fcc::test
