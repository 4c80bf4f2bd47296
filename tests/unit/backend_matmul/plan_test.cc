// Of the committed networks: workspace at most a tenth above the peak of what is alive at once; steps of a layer.
#include <gtest/gtest.h>

#include "backend/joint_buffers.h"
#include "backend/memory_plan.h"
#include "backend/schedule.h"
#include "ir/op.h"
#include "passes/manager.h"
#include "tests/unit/passes/test_models.h"

namespace fcc::test {
namespace {

TEST(Plan, WorkspaceIsNearThePeakOfLiveActivations) {
  int planned = 0;
  for (const std::string& path : tests::model_files()) {
    if (!path.ends_with("_static/model.onnx")) continue;
    Result<Import> import = import_file(path);
    ASSERT_TRUE(import.has_value()) << path;
    PassContext context{.target = Target::level(Isa::x86_64_v4), .notes = {}};
    ASSERT_TRUE(run_passes(import->graph, context, {}).has_value()) << path;
    VariantImage variant;
    variant.target = context.target;
    backend::ConstantPool pool;
    backend::StatePool states(pool);
    Result<EntryImage> entry = backend::schedule(import->graph, "infer", context.target, {}, variant, pool, states);
    ASSERT_TRUE(entry.has_value()) << path;
    if (entry->workspace_bytes <= 0) continue;
    std::vector<backend::BufferLife> lives;
    for (const BufferImage& b : entry->buffers) lives.push_back({b.bytes.constant(), b.first_step, b.last_step});
    EXPECT_LE(static_cast<double>(entry->workspace_bytes), 1.1 * static_cast<double>(backend::peak_bytes(lives))) << path;
    ++planned;
  }
  EXPECT_GE(planned, 10);
}

// Steps from one attention to the next: a layer.
TEST(Plan, ATransformerLayerTakesFewSteps) {
  int layers = 0;
  for (const std::string& path : tests::model_files()) {
    if (path.find("/bert") == path.npos && path.find("/gpt") == path.npos && path.find("/encoder") == path.npos) continue;
    Result<Import> import = import_file(path);
    ASSERT_TRUE(import.has_value()) << path;
    PassContext context{.target = Target::level(Isa::x86_64_v4), .notes = {}};
    ASSERT_TRUE(run_passes(import->graph, context, {}).has_value()) << path;
    const Graph& g = import->graph;
    const backend::JointBuffers joint(g);
    int since = -1;  // steps after the last attention; -1: there was none
    for (NodeId id : g.order()) {
      const Node& n = g.node(id);
      if (n.op->strategy != Strategy::kernel || joint.is_placed(id)) continue;
      const bool attention = n.body->order().size() == 1 && n.body->node(n.body->order()[0]).op->name == "FusedAttention";
      if (since >= 0) ++since;
      if (!attention) continue;
      if (since >= 0) {
        EXPECT_LE(since, 8) << path;
        ++layers;
      }
      since = 0;
    }
  }
  EXPECT_GE(layers, 3);
}

}  // namespace
}  // namespace fcc::test
