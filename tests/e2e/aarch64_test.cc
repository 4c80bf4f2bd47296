// Code for AArch64 made on this machine, run under an emulator by a C host of one file, against PyTorch's outputs.
// Skipped, with a word, where the cross compiler or the emulator is missing.
#include <filesystem>

#include "tests/e2e/e2e_support.h"
#include "tools/files.h"

namespace fcc::test {
namespace {

constexpr std::string_view kCompiler = FCC_AARCH64_CC, kEmulator = FCC_AARCH64_EMULATOR;
bool available() {
  return !kCompiler.ends_with("NOTFOUND") && !kEmulator.ends_with("NOTFOUND");
}

// The C host, built once.
const std::string& host() {
  static const std::string path = [] {
    std::string program = work_folder() + "/file_host";
    const Outcome o = shell(fmt::format("{0} -std=c11 -O1 -I{1}/runtime/include {1}/tests/e2e/file_host.c -o {2} -ldl",
                                        kCompiler, FCC_SOURCE_DIR, program));
    EXPECT_EQ(o.status, 0) << o.text;
    return program;
  }();
  return path;
}

// The open sizes in the order of the table, read off the inputs. The table of the file for this machine is the same.
std::vector<int64_t> symbols_of(const fcc_entry& entry, const std::vector<Tensor>& inputs) {
  std::vector<int64_t> sizes;
  for (const fcc_symbol& s : std::span(entry.symbols, entry.n_symbols))
    sizes.push_back(s.origin == 0 ? inputs[s.input].shape()[s.axis] : 0);
  return sizes;
}

std::string write_bytes(const std::string& name, const Tensor& t) {
  const std::string path = work_folder() + "/" + name;
  const std::span<const std::byte> bytes(t.raw(), static_cast<size_t>(t.bytes()));
  EXPECT_TRUE(write_file(path, {{bytes}}));
  return path;
}

std::vector<Tensor> run_emulated(const std::string& library, const std::vector<int64_t>& symbols, const Data& data) {
  std::string command =
      fmt::format("{} -L {} {} '{}' {} --", kEmulator, FCC_AARCH64_ROOT, host(), library, fmt::join(symbols, " "));
  for (size_t i = 0; i < data.inputs.size(); ++i)
    command += fmt::format(" '{}'", write_bytes(fmt::format("in_{}.bin", i), data.inputs[i]));
  command += " --";
  for (size_t i = 0; i < data.expected.size(); ++i) command += fmt::format(" '{}/out_{}.bin'", work_folder(), i);
  const Outcome o = shell(command);
  EXPECT_EQ(o.status, 0) << o.text;
  if (o.status != 0) return {};
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < data.expected.size(); ++i) {
    Tensor t(data.expected[i].dtype(), data.expected[i].shape());
    const auto bytes = read_file(fmt::format("{}/out_{}.bin", work_folder(), i));
    EXPECT_TRUE(bytes && static_cast<int64_t>(bytes->size()) == t.bytes());
    if (!bytes || static_cast<int64_t>(bytes->size()) != t.bytes()) return {};
    std::copy(bytes->begin(), bytes->end(), t.raw());
    outputs.push_back(std::move(t));
  }
  return outputs;
}

class Aarch64 : public testing::TestWithParam<Network> {};
INSTANTIATE_TEST_SUITE_P(, Aarch64, testing::ValuesIn(networks()), test_name);

TEST_P(Aarch64, AgreesWithPyTorch) {
  if (!available()) GTEST_SKIP() << "needs aarch64-linux-gnu-gcc and qemu-aarch64-static";
  if (GetParam().data_sets.empty()) GTEST_SKIP() << "no data set";
  const std::string library = compiled(GetParam(), {"aarch64"});
  ASSERT_NE(library, "");
  auto here = CompiledModel::open(compiled(GetParam()));
  ASSERT_TRUE(here) << here.error().text();
  for (const std::string& folder : GetParam().data_sets) {
    const Data data = read_data_set(folder);
    expect_agree(run_emulated(library, symbols_of(here->table(), data.inputs), data), data.expected, folder);
  }
}

}  // namespace
}  // namespace fcc::test
