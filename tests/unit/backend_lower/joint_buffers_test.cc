// Which Concats cost nothing.
#include "backend/joint_buffers.h"

#include <gtest/gtest.h>

#include "backend/lower/concat.h"
#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

// A DenseNet block of three layers; `read` makes the results of the last Concat.
Graph dense_block(const SymExpr& batch, const std::function<ValueId(GraphMaker&, ValueId)>& read) {
  GraphMaker g;
  std::vector<ValueId> features{g("Relu", {g.conv(g.input({batch, 16, 6, 5}), 32, 1)})};
  ValueId joined = features[0];
  for (int layer = 0; layer < 3; ++layer) {
    features.push_back(g.conv(joined, 16, 3, {{"pads", std::vector<int64_t>(4, 1)}}));
    joined = g("Concat", features, {{"axis", int64_t{1}}});
  }
  return g.finish({read(g, joined)});
}

struct Counts {
  int concats = 0, placed = 0;
  std::vector<int64_t> offsets;  // blocks, of the placed values in order
};

Counts count(const Graph& g) {
  const backend::JointBuffers joint(g);
  Counts c;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.op->strategy != Strategy::kernel) continue;
    if (backend::is_concat(*n.body)) {
      ++c.concats;
      c.placed += joint.is_placed(id);
    } else if (const auto place = joint.of(n.out[0])) {
      c.offsets.push_back(place->first_block);
      EXPECT_EQ(place->block_bytes, 6 * 5 * 16 * 4);
      EXPECT_EQ(joint.image_blocks(n.out[0]), 5);
    }
  }
  return c;
}

TEST(JointBuffers, LayersOfABlockShareOneBuffer) {
  for (const SymExpr& batch : {SymExpr(1), SymExpr(3), SymExpr::symbol("N")}) {
    const Counts c = count(optimized(dense_block(batch, [](GraphMaker& g, ValueId v) { return g.conv(v, 16, 1); })));
    EXPECT_EQ(c.concats, 3);
    EXPECT_EQ(c.placed, 3);
    EXPECT_EQ(c.offsets, (std::vector<int64_t>{0, 2, 3, 4}));
  }
}

// A kernel that merges the axes of images and channels cannot read a part; the block's other Concats are parts of it.
TEST(JointBuffers, PointwiseReadersOfSeveralImagesKeepTheCopy) {
  auto read = [](GraphMaker& g, ValueId v) { return g("Add", {g("Tanh", {v}), g.conv(v, 80, 1)}); };
  EXPECT_EQ(count(optimized(dense_block(1, read))).placed, 3);
  EXPECT_LT(count(optimized(dense_block(SymExpr::symbol("N"), read))).placed, 3);
}

}  // namespace
}  // namespace fcc::test
