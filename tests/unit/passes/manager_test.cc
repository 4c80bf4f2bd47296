// The manager: skipping by name, stopping after n, what it reports, what it refuses.
#include "passes/manager.h"

#include <gtest/gtest.h>

#include "ir/text.h"

namespace fcc {
namespace {

Graph two_adds() {
  Result<Graph> g = parse_graph(R"(graph "g" {
  input x : f32[N,2]
  const a : f32[2] = {1,2}
  const b : f32[2] = {3,4}
  c = Add(a, b) : f32[2]
  y = Add(x, c) : f32[N,2]
  output y = y
})");
  EXPECT_TRUE(g.has_value()) << g.error().text();
  return *std::move(g);
}

std::vector<std::string> changing_passes(PassOptions options, Status* status = nullptr) {
  Graph g = two_adds();
  std::vector<std::string> passes;
  options.on_change = [&](int, std::string_view pass, const Graph&) { passes.emplace_back(pass); };
  PassContext context;
  const Status done = run_passes(g, context, options);
  if (status) *status = done;
  return passes;
}

TEST(pass_manager, reports_passes_that_changed_something_in_order) {
  EXPECT_EQ(changing_passes({}), (std::vector<std::string>{"fold_constants", "fuse"}));
}

TEST(pass_manager, skips_by_name_every_time_the_pass_would_run) {
  EXPECT_EQ(changing_passes({.skip = {"fold_constants"}}).at(0), "fold_shapes");
  EXPECT_EQ(changing_passes({.skip = {"fuse"}}), (std::vector<std::string>{"fold_constants"}));
}

TEST(pass_manager, stops_after_n) {
  EXPECT_EQ(changing_passes({.stop_after = 0}), (std::vector<std::string>{}));
  EXPECT_EQ(changing_passes({.stop_after = 1}), (std::vector<std::string>{"fold_constants"}));
}

TEST(pass_manager, refuses_a_name_that_does_not_exist_and_guesses) {
  Status status;
  changing_passes({.skip = {"fold_constant"}}, &status);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().what.find("fold_constant"), std::string::npos);
  EXPECT_NE(status.error().hint.find("fold_constants"), std::string::npos);
}

TEST(pass_manager, every_pass_of_the_pipeline_exists_and_every_pass_runs) {
  for (std::string_view name : pipeline())
    EXPECT_TRUE(std::any_of(all_passes().begin(), all_passes().end(), [&](const PassInfo& p) { return p.name == name; })) << name;
  for (const PassInfo& p : all_passes()) EXPECT_NE(std::find(pipeline().begin(), pipeline().end(), p.name), pipeline().end()) << p.name;
}

}  // namespace
}  // namespace fcc
