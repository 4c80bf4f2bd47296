// Runs the fcc command as a script would. Names of commands and options, exit status and shapes of output are a
// contract (docs/testing.md says which tests guard which promise); a change here is a change for users.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/files.h"
#include "tools/npy.h"
#include "tools/random_input.h"

namespace fcc {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string out, err;
};

const std::string kDigits = FCC_SOURCE_DIR "/examples/digits/digits_mlp.onnx";

// One folder a test; commands run in it.
class Cli : public testing::Test {
 protected:
  Outcome fcc(const std::string& arguments) {
    const std::string command = fmt::format("cd '{0}' && XDG_CACHE_HOME='{0}/.cache' '{1}' {2} > '{0}/.out' 2> '{0}/.err' < /dev/null",
                                            folder.path(), FCC_COMMAND, arguments);
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), *read_text_file(path(".out")),
            *read_text_file(path(".err"))};
  }
  std::string path(const std::string& name) const { return folder.path() + "/" + name; }
  // The digit classifier, compiled.
  std::string digits() {
    const Outcome o = fcc(kDigits + " -o digits.so");
    EXPECT_EQ(o.status, 0) << o.err;
    return "digits.so";
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with('.')) names.push_back(name);
    }
    return names;
  }

  TemporaryFolder folder;
};

TEST_F(Cli, TeachesByExample) {
  const Outcome help = fcc("--help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.err, IsEmpty());
  EXPECT_THAT(help.out, HasSubstr("fcc model.onnx -o model.so\n"));
  for (const char* command : {"check", "info", "run", "bench", "verify", "test", "dump"}) {
    EXPECT_THAT(help.out, HasSubstr(fmt::format("\n  {} ", command)));
    const Outcome page = fcc(std::string(command) + " --help");
    EXPECT_EQ(page.status, 0);
    EXPECT_THAT(page.out, HasSubstr("Examples:\n"));
    EXPECT_THAT(page.out, HasSubstr("Exit status:\n"));
    EXPECT_THAT(page.err, IsEmpty());
  }
}

TEST_F(Cli, DescribesItself) {
  EXPECT_THAT(fcc("--version").out, StartsWith("fcc 0."));
  EXPECT_THAT(fcc("--help-env").out, HasSubstr("FCC_NUM_THREADS"));
  const Outcome man = fcc("--man");
  EXPECT_THAT(man.out, StartsWith(".TH FCC 1"));
  EXPECT_THAT(man.out, HasSubstr(".SH BENCH"));
}

TEST_F(Cli, CompilesTheSameFileFromItsCache) {
  for (const char* arguments : {" -o never.so --no-cache", " -o first.so", " -o second.so"}) {
    EXPECT_EQ(fcc(kDigits + arguments).status, 0);
    EXPECT_EQ(fs::exists(path(".cache/fcc")), std::string(arguments).find("--no-cache") == std::string::npos);
  }
  EXPECT_FALSE(fs::is_empty(path(".cache/fcc")));
  EXPECT_EQ(*read_text_file(path("first.so")), *read_text_file(path("never.so")));
  EXPECT_EQ(*read_text_file(path("second.so")), *read_text_file(path("never.so")));
}

TEST_F(Cli, ReportsWrongUsageWithStatusTwo) {
  for (const char* arguments : {"", "run", "run digits.so", "bench --seconds x m.so", "run m.so -o out --frobnicate",
                                "dump m.onnx --stage soup", "bench m.so --dim N", "bench m.so --dim N=x",
                                "bench m.so --range 1..0", "m.onnx -o m.so --dim =3", "m.onnx --skip soup",
                                "m.onnx -o m.so --target z80", "m.onnx --target x86-64-v3,aarch64",
                                "verify m.onnx --target x86-64-v9", "test . --target z80", "bench m.so --threads 0"}) {
    const Outcome o = fcc(arguments);
    EXPECT_EQ(o.status, 2) << arguments << o.err;
    EXPECT_THAT(o.out, IsEmpty()) << arguments;
    EXPECT_THAT(o.err, testing::Not(IsEmpty())) << arguments;
  }
}

TEST_F(Cli, RefusesBadModelsWithStatusOneAndNoFile) {
  ASSERT_TRUE(write_text_file(path("junk.onnx"), "this is no model"));
  fs::create_directory(path("folder.onnx"));
  for (const char* model : {"missing.onnx", "junk.onnx", "folder.onnx"}) {
    for (const char* command : {"", "check ", "info ", "verify ", "dump "}) {
      const Outcome o = fcc(std::string(command) + model + (*command == '\0' ? " -o m.so" : ""));
      EXPECT_EQ(o.status, 1) << command << model;
      EXPECT_THAT(o.err, StartsWith("error: ")) << command << model;
      EXPECT_THAT(o.err, HasSubstr(model)) << command;
    }
  }
  EXPECT_THAT(files(), testing::UnorderedElementsAre("junk.onnx", "folder.onnx"));
}

TEST_F(Cli, CompilesWithoutAWordAndQuietly) {
  const Outcome o = fcc(kDigits + " -o digits.so");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.out, IsEmpty());
  EXPECT_THAT(o.err, IsEmpty());
  EXPECT_THAT(files(), testing::ElementsAre("digits.so"));
  EXPECT_EQ(fcc("compile " + kDigits + " -o again.so").status, 0);
  EXPECT_EQ(*read_file(path("digits.so")), *read_file(path("again.so")));
}

TEST_F(Cli, NamesTheLibraryAfterTheModel) {
  EXPECT_EQ(fcc(kDigits).status, 0);
  EXPECT_THAT(files(), testing::ElementsAre("digits_mlp.so"));
}

TEST_F(Cli, NeverOverwritesTheModelOrLeavesHalfAFile) {
  fs::copy_file(kDigits, path("m.onnx"));
  const auto before = *read_file(path("m.onnx"));
  EXPECT_EQ(fcc("m.onnx -o m.onnx").status, 2);
  EXPECT_EQ(fcc("m.onnx -o ./m.onnx").status, 2);
  EXPECT_EQ(*read_file(path("m.onnx")), before);
  EXPECT_EQ(fcc("m.onnx -o nowhere/m.so").status, 1);
  EXPECT_THAT(files(), testing::ElementsAre("m.onnx"));
}

TEST_F(Cli, ChecksAModel) {
  const Outcome o = fcc("check " + kDigits + " --json");
  ASSERT_EQ(o.status, 0) << o.err;
  const json j = json::parse(o.out);
  EXPECT_TRUE(j["supported"]);
  EXPECT_EQ(j["operators"]["Gemm"], 3);
  EXPECT_EQ(j["parameters"], 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10);
  EXPECT_EQ(j["open_dims"], json::array({"N"}));
  EXPECT_GT(j["flops"], 2 * (784 * 128 + 128 * 64 + 64 * 10) - 1);
  EXPECT_EQ(fcc("check " + kDigits).status, 0);
}

// What readelf says of the section of instructions; the constants lie elsewhere.
int64_t text_section_bytes(const std::string& file) {
  FILE* lines = popen(
      fmt::format("readelf -SW '{}' | awk '$0 ~ / \\.text / {{ sub(/.*\\]/, \"\"); print $5 }}'", file).c_str(), "r");
  char size[64] = "0";
  EXPECT_NE(std::fgets(size, sizeof size, lines), nullptr);
  pclose(lines);
  const int64_t bytes = std::strtoll(size, nullptr, 16);
  EXPECT_GT(bytes, 1000);
  return bytes;
}

TEST_F(Cli, DescribesBothKindsOfFile) {
  const std::string library = digits();
  for (const std::string& file : {library, kDigits}) {
    const Outcome o = fcc("info " + file + " --json");
    ASSERT_EQ(o.status, 0) << o.err;
    const json j = json::parse(o.out);
    EXPECT_EQ(j["inputs"][0]["name"], "image");
    EXPECT_EQ(j["inputs"][0]["dims"], json::array({"N", 784}));
    EXPECT_EQ(j["outputs"][0]["dtype"], "f32");
    EXPECT_EQ(fcc("info " + file).status, 0);
  }
  const json j = json::parse(fcc("info " + library + " --json").out);
  EXPECT_EQ(j["entries"][0]["name"], "infer");
  EXPECT_EQ(j["code_bytes"], text_section_bytes(path(library)));
  EXPECT_GT(j["constants_bytes"], 4 * 784 * 128);
  EXPECT_FALSE(j["targets"].empty());
}

TEST_F(Cli, ReadsInfoWithoutLoading) {
  digits();
  std::vector<std::byte> bytes = *read_file(path("digits.so"));
  for (size_t keep : {bytes.size() / 2, size_t{100}, size_t{64}, size_t{5}}) {
    const std::span<const std::byte> part = std::span(bytes).first(keep);
    ASSERT_TRUE(write_file(path("cut.so"), std::span(&part, 1)));
    EXPECT_EQ(fcc("info cut.so").status, 1) << keep;
    EXPECT_EQ(fcc("run cut.so --random -o out").status, 1) << keep;
  }
}

TEST_F(Cli, RunsWithNpyFiles) {
  digits();
  const Tensor image = random_tensor("image", DType::f32, {5, 784}, {.low = 0, .high = 1});
  ASSERT_TRUE(write_npy(path("x.npy"), image));
  const Outcome o = fcc("run digits.so -i image=x.npy -o out");
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out, "out/scores.npy f32[5,10]\n");
  EXPECT_THAT(o.err, IsEmpty());
  const Tensor scores = *read_npy(path("out/scores.npy"));
  EXPECT_EQ(scores.shape(), (std::vector<int64_t>{5, 10}));
  double sum = 0;
  for (double v : scores.to_doubles()) sum += std::fabs(v);
  EXPECT_GT(sum, 1);
  for (int threads : {1, 2, 3}) {  // the same bits, with the input's name left out
    ASSERT_EQ(fcc(fmt::format("run digits.so -i x.npy -o t{0} --threads {0}", threads)).status, 0);
    EXPECT_TRUE(read_npy(path(fmt::format("t{}/scores.npy", threads)))->same_bits(scores));
  }
}

TEST_F(Cli, RefusesBadInputs) {
  digits();
  ASSERT_TRUE(write_npy(path("double.npy"), Tensor(DType::f64, {1, 784})));
  ASSERT_TRUE(write_npy(path("short.npy"), Tensor(DType::f32, {1, 783})));
  ASSERT_TRUE(write_npy(path("flat.npy"), Tensor(DType::f32, {784})));
  ASSERT_TRUE(write_npy(path("good.npy"), Tensor(DType::f32, {1, 784})));
  const std::pair<const char*, const char*> cases[] = {
      {"", "no data for 1 of the model's 1 inputs: image (f32)"},
      {"-i double.npy", "astype(\"float32\")"},
      {"-i short.npy", "image"},
      {"-i flat.npy", "image"},
      {"-i missing.npy", "No such file"},
      {"-i imago=good.npy", "did you mean \"image\"?"},
      {"-i good.npy -i image=good.npy", "given twice"},
      {"-i good.npy --entry train_step", "train_step"},
      {"--random --dim M=3", "its open dimensions: N"},
  };
  for (const auto& [arguments, text] : cases) {
    const Outcome o = fcc(fmt::format("run digits.so -o out {}", arguments));
    EXPECT_EQ(o.status, 1) << arguments;
    EXPECT_THAT(o.err, HasSubstr(text));
    EXPECT_THAT(o.out, IsEmpty());
  }
  EXPECT_FALSE(fs::exists(path("out/scores.npy")));
}

TEST_F(Cli, BenchesWithTheAgreedFields) {
  digits();
  const Outcome o = fcc("bench digits.so --dim N=8 --threads 1 --seconds 0.05 --json --profile");
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_THAT(o.err, IsEmpty());
  const json j = json::parse(o.out);
  for (const char* field : {"min_ns", "median_ns", "p90_ns", "p99_ns", "calls", "load_ns", "first_ns", "flops",
                            "peak_gflops", "rss_bytes"}) {
    EXPECT_TRUE(j[field].is_number()) << field;
    EXPECT_GT(j[field], 0) << field;
  }
  EXPECT_LE(j["min_ns"], j["median_ns"]);
  EXPECT_LE(j["median_ns"], j["p90_ns"]);
  EXPECT_LE(j["p90_ns"], j["p99_ns"]);
  EXPECT_GE(j["flops"], 8 * 2 * (784 * 128 + 128 * 64 + 64 * 10));
  EXPECT_EQ(j["steps"].size(), json::parse(fcc("info digits.so --json").out)["entries"][0]["steps"].size());
  const Outcome text = fcc("bench digits.so --seconds 0.05 --profile");
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("most time above what the machine allows"));
  EXPECT_EQ(text.err, "assumed N=1; choose with --dim\n");
}

TEST_F(Cli, VerifiesAgainstTheInterpreter) {
  const Outcome o = fcc("verify " + kDigits + " --at N=7");
  EXPECT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_THAT(o.out, StartsWith("PASS scores: largest error "));
  EXPECT_THAT(o.err, IsEmpty());
}

TEST_F(Cli, DumpsEveryStage) {
  for (const char* stage : {"import", "graph", "loops", "llvm", "asm"}) {
    const Outcome o = fcc("dump " + kDigits + " --stage " + stage);
    EXPECT_EQ(o.status, 0) << stage << o.err;
    EXPECT_GT(o.out.size(), 100u) << stage;
  }
}

TEST_F(Cli, RunsTestFolders) {
  const fs::path relu = fs::path(FCC_ONNX_TESTDATA) / "node" / "test_relu", top = fs::path(FCC_ONNX_TESTDATA) / "node";
  if (!fs::exists(relu)) GTEST_SKIP() << "libonnx-testdata is not installed";
  Outcome o = fcc("test " + relu.string());
  EXPECT_EQ(o.status, 0) << o.out << o.err;
  EXPECT_EQ(o.out, "PASS test_relu\n");
  EXPECT_EQ(fcc("test " + relu.string() + "/ --interpret --jobs 0").out, "PASS test_relu\n");
  // No tolerance is negative, so nothing short of equal bits passes now; exp is not that good.
  o = fcc("test --rtol 0 --atol 0 " + (top / "test_exp").string());
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.out, StartsWith("FAIL test_exp: output 0 "));

  ASSERT_TRUE(write_text_file(path("known"), "# comment\n\ntest_relu: it is broken\n"));
  o = fcc("test --expected-failures known " + relu.string());
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.out, StartsWith("XPASS test_relu: "));
  ASSERT_TRUE(write_text_file(path("known"), "test_exp: rounding\n"));
  o = fcc("test --rtol 0 --atol 0 --expected-failures known " + (top / "test_exp").string());
  EXPECT_EQ(o.status, 0) << o.out;
  EXPECT_EQ(o.out, "XFAIL test_exp: rounding\n");
  ASSERT_TRUE(write_text_file(path("known"), "test_exp\n"));
  EXPECT_EQ(fcc("test --expected-failures known " + relu.string()).status, 1);
  EXPECT_EQ(fcc("test nowhere").status, 1);
  EXPECT_EQ(fcc("test .").status, 1);  // no case in it
}

}  // namespace
}  // namespace fcc
