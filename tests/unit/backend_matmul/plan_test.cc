// The workspace of the committed networks: at most a tenth above the peak of what is alive at once.
#include <gtest/gtest.h>

#include "backend/memory_plan.h"
#include "backend/schedule.h"
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

}  // namespace
}  // namespace fcc::test
