// How many steps the committed transformers become: a layer of BERT is seven (projection of q, k and v; attention;
// projection; sum and norm; two products; sum and norm). A pass that stops recognising something shows here.
#include <gtest/gtest.h>

#include <map>

#include "ir/op.h"
#include "passes/manager.h"
#include "tests/unit/passes/test_models.h"

namespace fcc::tests {
namespace {

struct Limit {
  int64_t kernels, attentions;  // at most; exactly
};

TEST(Steps, OfTransformers) {
  const std::map<std::string, Limit> limits = {{"bert_new_open", {22, 2}},    {"bert_old_open", {23, 2}},
                                               {"gpt_new_open", {12, 1}},     {"gpt_old_open", {12, 1}},
                                               {"encoder_new_open", {14, 2}}, {"vit_new_open", {23, 2}},
                                               {"swin_new_open", {43, 3}},    {"convnext_tiny_old_static", {34, 0}}};
  size_t seen = 0;
  for (const std::string& path : model_files()) {
    const auto limit = limits.find(model_name(path));
    if (limit == limits.end()) continue;
    ++seen;
    Result<Import> import = import_file(path);
    ASSERT_TRUE(import.has_value()) << import.error().text();
    Graph& g = import->graph;
    PassContext context;
    const Status done = run_passes(g, context, {});
    ASSERT_TRUE(done.has_value()) << done.error().text();
    int64_t kernels = 0, attentions = 0;
    for (NodeId n : g.order()) {
      kernels += g.node(n).op->name == "Kernel";
      attentions += g.node(n).attrs.string("what") == "FusedAttention";
    }
    EXPECT_LE(kernels, limit->second.kernels) << limit->first;
    EXPECT_EQ(attentions, limit->second.attentions) << limit->first;
  }
  EXPECT_EQ(seen, limits.size());
}

}  // namespace
}  // namespace fcc::tests
