// What a model.so is as a file: it needs nothing but memcpy and its kin, exports one symbol, its bytes depend on the
// model and the options alone, and there is either a whole file or none.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/e2e/e2e_support.h"
#include "tools/files.h"

namespace fcc::test {
namespace {

namespace fs = std::filesystem;

// "U memcpy" and "T fcc_model_query" lines, the type first.
std::vector<std::string> dynamic_symbols(const std::string& library) {
  const Outcome nm = shell(fmt::format("nm -D --format=posix '{}'", library));
  EXPECT_EQ(nm.status, 0) << nm.text;
  std::vector<std::string> symbols;
  std::istringstream lines(nm.text);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    symbols.push_back(line.substr(space + 1, 1) + " " + line.substr(0, space));
  }
  return symbols;
}

class EveryNetwork : public testing::TestWithParam<Network> {};
INSTANTIATE_TEST_SUITE_P(, EveryNetwork, testing::ValuesIn(networks()), test_name);

TEST_P(EveryNetwork, NeedsNothingButMemcpy) {
  const std::string library = compiled(GetParam());
  ASSERT_NE(library, "");
  int defined = 0;
  for (const std::string& symbol : dynamic_symbols(library)) {
    if (symbol[0] == 'U') {
      EXPECT_THAT(symbol, testing::AnyOf("U memcpy", "U memmove", "U memset"));
    } else {
      EXPECT_EQ(symbol, "T fcc_model_query");
      ++defined;
    }
  }
  EXPECT_EQ(defined, 1);
  const Outcome needed = shell(fmt::format("readelf -d '{}' | grep -E 'NEEDED|R(UN)?PATH|TEXTREL'", library));
  EXPECT_EQ(needed.text, "");
}

TEST(File, NeedsNothingButMemcpyForAnyTarget) {
  const std::vector<std::string> none;
  for (const char* name : {"gpt.new_open", "digit_cnn.new_open", "swin.new_open", "unet.old_open"})
    for (const std::vector<std::string>& targets :
         {std::vector<std::string>{"x86-64-v2", "x86-64-v3", "x86-64-v4"}, {"aarch64"}})
      for (const std::string& symbol : dynamic_symbols(compiled(network(name), targets)))
        EXPECT_THAT(symbol, testing::AnyOf("U memcpy", "U memmove", "U memset", "T fcc_model_query")) << name;
}

// The same model compiled by the command under other circumstances.
TEST(File, BytesDependOnModelAndOptionsAlone) {
  const std::string elsewhere = work_folder() + "/else where";
  fs::create_directories(elsewhere);
  for (const char* name : {"bert.new_open", "resnet18.old_static", "digits_mlp"}) {
    const Network& n = network(name);
    fs::copy_file(n.model, elsewhere + "/renamed.onnx", fs::copy_options::overwrite_existing);
    const std::string commands[] = {
        fmt::format("cd / && '{}' '{}' -o '{}/a.so' --jobs 1", FCC_COMMAND, n.model, work_folder()),
        fmt::format(
            "cd '{0}' && TZ=Asia/Tokyo LANG=tr_TR.UTF-8 LC_ALL=de_DE.UTF-8 '{1}' '{2}' -o b.longer.name.so --jobs 2",
            elsewhere, FCC_COMMAND, n.model),
        fmt::format("cd '{0}' && TZ=UTC SOURCE_DATE_EPOCH=1 HOME=/ '{1}' renamed.onnx -o c.so --jobs 2", elsewhere,
                    FCC_COMMAND)};
    for (const std::string& command : commands) {
      const Outcome o = shell(command);
      ASSERT_EQ(o.status, 0) << o.text;
    }
    const auto a = read_file(work_folder() + "/a.so"), b = read_file(elsewhere + "/b.longer.name.so"),
               c = read_file(elsewhere + "/c.so");
    EXPECT_TRUE(*a == *b) << name << ": other bytes in another folder, time zone, language or number of jobs";
    EXPECT_TRUE(*a == *c) << name << ": other bytes for a copy of the model";
    EXPECT_TRUE(*a == *read_file(compiled(n))) << name << ": the command and the library differ";
  }
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

// Half of a real model, one with an operator that does not exist, and a mistyped command: no trace is left.
TEST(File, IsWholeOrAbsent) {
  const std::string folder = work_folder() + "/faults";
  fs::create_directories(folder);
  const auto bytes = *read_file(network("digits_mlp").model);
  const std::span<const std::byte> half = std::span(bytes).first(bytes.size() / 2);
  ASSERT_TRUE(write_file(work_folder() + "/half.onnx", {{half}}));
  std::string unknown(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t operator_name = unknown.find("Gemm");
  ASSERT_NE(operator_name, std::string::npos);
  unknown.replace(operator_name, 4, "Gemn");
  ASSERT_TRUE(write_text_file(work_folder() + "/unknown.onnx", unknown));
  const auto fcc = [&](const std::string& arguments) {
    return shell(fmt::format("cd '{}' && '{}' {}", folder, FCC_COMMAND, arguments));
  };
  EXPECT_EQ(fcc("../half.onnx -o m.so").status, 1);
  EXPECT_EQ(fcc("../unknown.onnx -o m.so").status, 1);
  EXPECT_EQ(fcc(network("digits_mlp").model + " -o m.so --no-such-option").status, 2);
  EXPECT_THAT(files_in(folder), testing::IsEmpty());
  ASSERT_TRUE(write_text_file(folder + "/m.so", "precious"));
  EXPECT_EQ(fcc("../half.onnx -o m.so").status, 1);
  EXPECT_EQ(*read_text_file(folder + "/m.so"), "precious") << "a failed compilation must leave the old file alone";
}

}  // namespace
}  // namespace fcc::test
