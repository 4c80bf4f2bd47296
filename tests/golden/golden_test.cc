// Runs tests/golden/<pass>/*.fcc: a program, "---- expect", and what the pass must make of it. A first line
// "# passes: a b" names other passes than the folder's. FCC_GOLDEN_REWRITE=1 writes what came out into the files;
// the diff is then reviewed. Whatever the text says, the interpreter must give the same results before and after.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ir/eval.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/manager.h"
#include "tools/compare.h"
#include "tools/random_input.h"

namespace fcc {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSeparator = "---- expect\n";

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream s;
  s << in.rdbuf();
  return s.str();
}

struct Case {
  fs::path path;
  std::string input, expected;
  std::vector<std::string> passes;
};

Case load(const fs::path& path) {
  Case c{path, read(path), "", {path.parent_path().filename()}};
  if (const size_t at = c.input.find(kSeparator); at != c.input.npos) {
    c.expected = c.input.substr(at + kSeparator.size());
    c.input.resize(at);
  }
  if (c.input.starts_with("# passes: ")) {
    std::istringstream names(c.input.substr(10, c.input.find('\n') - 10));
    c.passes.assign(std::istream_iterator<std::string>(names), {});
  }
  return c;
}

// Comment lines belong to the file, not to the program.
std::string program_of(const std::string& input) {
  std::istringstream in(input);
  std::string program, line;
  while (std::getline(in, line)) program += line.starts_with("#") ? "\n" : line + "\n";
  return program;
}

const PassInfo& pass_named(std::string_view name) {
  for (const PassInfo& p : all_passes())
    if (p.name == name) return p;
  throw std::runtime_error("there is no pass " + std::string(name));
}

constexpr int64_t kOpenSize = 3;
constexpr int64_t kReductionLength = 64;  // at least that of any golden program

std::vector<Tensor> interpreted(const Graph& g) {
  std::vector<Tensor> inputs;
  for (ValueId v : g.inputs()) {
    std::vector<int64_t> shape;
    for (const SymExpr& d : g.value(v).type.dims) shape.push_back(d.evaluate([](std::string_view) { return kOpenSize; }));
    inputs.push_back(random_tensor(g.value(v).name, g.value(v).type.dtype, std::move(shape), {}));
  }
  Result<EvalResult> result = evaluate(g, inputs);
  if (!result) throw std::runtime_error(result.error().text());
  return result->outputs;
}

std::vector<fs::path> files() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(FCC_SOURCE_DIR) / "tests/golden"))
    if (entry.path().extension() == ".fcc") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

class Golden : public testing::TestWithParam<fs::path> {};

TEST_P(Golden, matches) {
  const Case c = load(GetParam());
  Result<Graph> g = parse_graph(program_of(c.input));
  ASSERT_TRUE(g.has_value()) << g.error().text();
  const std::vector<Tensor> before = interpreted(*g);
  PassContext context;
  for (const std::string& name : c.passes) {
    Result<bool> changed = pass_named(name).run(*g, context);
    ASSERT_TRUE(changed.has_value()) << changed.error().text();
    if (*changed) g->erase_dead();
    verify_or_die(*g, name);
  }
  const std::vector<Tensor> after = interpreted(*g);
  for (size_t k = 0; k < before.size(); ++k) {
    const Comparison same = compare(after[k], before[k], tolerance_for(before[k].dtype(), kReductionLength));
    EXPECT_TRUE(same.equal) << g->output_names[k] << ": " << same.mismatch;
  }
  const std::string actual = print(*g);
  if (std::getenv("FCC_GOLDEN_REWRITE")) {
    std::ofstream(c.path) << c.input << kSeparator << actual;
  } else {
    EXPECT_EQ(actual, c.expected) << c.path << "\nFCC_GOLDEN_REWRITE=1 rewrites the file";
  }
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.parent_path().filename().string() + "_" + info.param.stem().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(files, Golden, testing::ValuesIn(files()), test_name);

TEST(golden, every_pass_has_one) {
  std::vector<std::string> covered;
  for (const fs::path& path : files())
    for (const std::string& pass : load(path).passes) covered.push_back(pass);
  for (const PassInfo& p : all_passes()) EXPECT_NE(std::find(covered.begin(), covered.end(), p.name), covered.end()) << "no golden file runs " << p.name;
}

}  // namespace
}  // namespace fcc
