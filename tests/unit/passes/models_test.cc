// Two truths over every committed model: after any pass the program verifies, prints and parses back to itself; and
// its outputs, by the interpreter, stay within what rounding explains of the imported program's.
#include <gtest/gtest.h>

#include "ir/eval.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/manager.h"
#include "tests/unit/passes/test_models.h"
#include "tools/compare.h"

namespace fcc {
namespace {

class Models : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    Result<Import> import = import_file(GetParam());
    if (!import && import.error().what.ends_with("not supported yet")) GTEST_SKIP() << import.error().what;
    ASSERT_TRUE(import.has_value()) << import.error().text();
    graph_ = std::move(import->graph);
    inputs_ = tests::random_inputs(graph_);
    Result<EvalResult> result = evaluate(graph_, inputs_);
    ASSERT_TRUE(result.has_value()) << result.error().text();
    expected_ = std::move(result->outputs);
    const std::vector<int64_t> lengths = reduction_lengths(graph_, tests::sizes_of(graph_));
    for (size_t k = 0; k < expected_.size(); ++k)
      tolerances_.push_back(tolerance_for(expected_[k].dtype(), lengths.at(static_cast<size_t>(graph_.outputs[k]))));
  }

  void check(const Graph& g, std::string_view after) {
    const Status valid = verify(g);
    ASSERT_TRUE(valid.has_value()) << "after " << after << ": " << valid.error().text();
    const Status text = verify_text(g);
    ASSERT_TRUE(text.has_value()) << "after " << after << ": " << text.error().text();
    Result<EvalResult> result = evaluate(g, inputs_);
    ASSERT_TRUE(result.has_value()) << "after " << after << ": " << result.error().text();
    for (size_t k = 0; k < expected_.size(); ++k) {
      const Comparison c = compare(result->outputs[k], expected_[k], tolerances_[k]);
      ASSERT_TRUE(c.equal) << "after " << after << ", output " << g.output_names[k] << ": " << c.mismatch;
      ASSERT_FALSE(c.vanishing) << "output " << g.output_names[k] << " is too small to say anything";
    }
  }

  Graph graph_;
  std::vector<Tensor> inputs_, expected_;
  std::vector<Tolerance> tolerances_;
};

TEST_P(Models, keep_their_meaning_after_every_pass) {
  if (HasFatalFailure() || IsSkipped()) return;
  check(graph_, "import");
  PassContext context;
  PassOptions options;
  options.on_change = [&](int index, std::string_view pass, const Graph& g) {
    if (!HasFatalFailure()) check(g, std::to_string(index) + " " + std::string(pass));
  };
  const Status done = run_passes(graph_, context, options);
  ASSERT_TRUE(done.has_value()) << done.error().text();
}

INSTANTIATE_TEST_SUITE_P(committed, Models, testing::ValuesIn(tests::model_files()),
                         [](const testing::TestParamInfo<std::string>& info) { return tests::model_name(info.param); });

}  // namespace
}  // namespace fcc
