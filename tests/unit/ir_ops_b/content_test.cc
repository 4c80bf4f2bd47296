// Shape arithmetic: half of a model exported with an open batch is this, and it must vanish while compiling.
#include <gtest/gtest.h>

#include "ir/eval.h"
#include "ir/op.h"

namespace fcc {
namespace {

using I = int64_t;
const SymExpr N = SymExpr::symbol("N"), S = SymExpr::symbol("S");

struct Builder {
  Graph g;
  GraphBuilder b{g, {}};
  ValueId input(Dims dims, DType dtype = DType::f32) { return g.add_input("x", {dtype, std::move(dims)}); }
  ValueId operator()(std::string_view op, std::vector<ValueId> in, Attrs attrs = {}) {
    ValueId v = b(op, std::move(in), std::move(attrs));
    EXPECT_TRUE(b.status()) << b.status().error().text();
    return v;
  }
  ValueId ints(std::vector<I> v) { return b.ints(std::move(v)); }
  ValueId number(I v) { return b.scalar(DType::i64, static_cast<double>(v)); }
  const Dims& dims(ValueId v) const { return g.value(v).type.dims; }
  std::vector<SymExpr> content(ValueId v) const {
    return g.value(v).content ? g.value(v).content->elements : std::vector<SymExpr>{};
  }
};

TEST(Content, FlattenOfAnOpenBatch) {
  Builder b;
  const ValueId x = b.input({N, 1, 28, 28});
  const ValueId batch = b("Gather", {b("Shape", {x}), b.number(0)});
  const ValueId target = b("Concat", {b("Unsqueeze", {batch, b.ints({0})}), b.ints({-1})}, {{"axis", I{0}}});
  const ValueId y = b("Reshape", {x, target});
  EXPECT_EQ(b.dims(y), (Dims{N, 784}));
}

TEST(Content, AttentionHeads) {
  Builder b;
  const ValueId x = b.input({N, S, 768}), shape = b("Shape", {x});
  const ValueId lead = b("Slice", {shape, b.ints({0}), b.ints({-1}), b.ints({0})});
  const ValueId y = b("Reshape", {x, b("Concat", {lead, b.ints({12, 64})}, {{"axis", I{0}}})});
  EXPECT_EQ(b.dims(y), (Dims{N, S, 12, 64}));
  const ValueId parts = b("Squeeze", {b("Slice", {shape, b.ints({-1}), b.ints({INT64_MAX})}), b.ints({0})});
  EXPECT_EQ(b.content(parts), (std::vector<SymExpr>{768}));
  const ValueId back = b("Reshape", {y, b("Concat", {lead, b.ints({-1})}, {{"axis", I{0}}})});
  EXPECT_EQ(b.dims(back), (Dims{N, S, 768}));
}

TEST(Content, ThroughEveryShapeOperator) {
  Builder b;
  const ValueId x = b.input({N, S}), shape = b("Shape", {x});
  EXPECT_EQ(b.content(b("Size", {x})), (std::vector<SymExpr>{N * S}));
  EXPECT_EQ(b.dims(b("ConstantOfShape", {shape})), (Dims{N, S}));
  EXPECT_EQ(b.content(b("ConstantOfShape", {b.ints({3})}, {{"value", Tensor::ints(std::vector<I>{5})}})),
            (std::vector<SymExpr>{5, 5, 5}));
  EXPECT_EQ(b.dims(b("Expand", {b.ints({1}), shape})), (Dims{N, S}));
  EXPECT_EQ(b.content(b("Expand", {b.ints({4}), b.ints({2})})), (std::vector<SymExpr>{4, 4}));
  EXPECT_EQ(b.content(b("Tile", {shape, b.ints({2})})), (std::vector<SymExpr>{N, S, N, S}));
  EXPECT_EQ(b.dims(b("Range", {b.number(0), b("Gather", {shape, b.number(1)}), b.number(1)})), (Dims{S}));
  EXPECT_EQ(b.content(b("Range", {b.number(1), b.number(7), b.number(3)})), (std::vector<SymExpr>{1, 4}));
  EXPECT_EQ(b.content(b("Transpose", {shape})), (std::vector<SymExpr>{N, S}));
  const std::vector<ValueId> halves = b.b.many("Split", {shape}, {{"num_outputs", I{2}}}, 2);
  EXPECT_EQ(b.content(halves[1]), (std::vector<SymExpr>{S}));
  EXPECT_EQ(b.content(b("Gather", {shape, b.ints({-1, 0})})), (std::vector<SymExpr>{S, N}));
}

TEST(Content, LastRowsOfAnOpenAxis) {
  Builder b;
  const ValueId x = b.input({N, 8});
  EXPECT_EQ(b.dims(b("Slice", {x, b.ints({-1}), b.ints({INT64_MAX}), b.ints({0})}))[0], min(N, 1));
  EXPECT_EQ(b.dims(b("Slice", {x, b.ints({0}), b.ints({INT64_MAX}), b.ints({0})}))[0], N);
  EXPECT_EQ(b.dims(b("Slice", {x, b.ints({-1}), b.ints({INT64_MIN}), b.ints({0}), b.ints({-1})}))[0].text(), "N");
}

// What a shape operand seen only while running leaves: expressions of its elements.
TEST(Content, SeenLate) {
  Builder b;
  const ValueId x = b.input({N, 12}), target = b.input({2}, DType::i64);
  const ValueId y = b("Reshape", {x, target});
  const Dims dims = b.dims(y);
  const auto at = [&](const SymExpr& e, I n, I first, I second) {
    return e.evaluate([&](std::string_view s) {
      return s == "N" ? n : b.g.value(target).content->elements[0].text() == s ? first : second;
    });
  };
  EXPECT_EQ(at(dims[0], 5, -1, 6), 10);
  EXPECT_EQ(at(dims[1], 5, -1, 6), 6);
  EXPECT_EQ(at(dims[0], 5, 0, -1), 5);
  EXPECT_EQ(at(dims[1], 5, 0, -1), 12);
  EXPECT_EQ(at(dims[1], 5, 20, 3), 3);
  EXPECT_TRUE(b.g.value(target).observed);
}

// What only a run can tell is written down, to be checked before the model computes.
TEST(Content, AssumptionsOfOpenExtents) {
  const auto assumed = [](auto build) {
    Builder b;
    build(b);
    std::string text;
    for (const auto& a : b.g.assumptions) text += a.a.text() + "=" + a.b.text() + ";";
    return text;
  };
  EXPECT_EQ(assumed([](Builder& b) { b("Reshape", {b.input({N, 6}), b.ints({-1, 6})}); }), "");
  EXPECT_EQ(assumed([](Builder& b) { b("Reshape", {b.input({N, 6}), b.ints({2, 9})}); }), "6*N=18;");
  EXPECT_EQ(assumed([](Builder& b) { b("Reshape", {b.input({N, 6}), b.ints({-1, 4})}); }),
            "6*N=4*N+4*floordiv(2*N,4);");
  EXPECT_EQ(assumed([](Builder& b) { b("Concat", {b.input({N, 6}), b.input({S, 2})}, {{"axis", I{1}}}); }), "N=S;");
  EXPECT_EQ(assumed([](Builder& b) { b.b.many("Split", {b.input({N}), b.ints({2, 3})}, {}, 2); }), "5=N;");
  EXPECT_EQ(assumed([](Builder& b) { b("Conv", {b.input({1, N, 5}), b.input({2, 3, 1})}); }), "N=3;");
}

TEST(Content, OneLateExtentFollowsFromTheOthers) {
  Builder b;
  const ValueId x = b.input({N, 12}), late = b.input({1}, DType::i64);
  const ValueId target = b("Concat", {late, b.ints({12})}, {{"axis", I{0}}});
  EXPECT_EQ(b.dims(b("Reshape", {x, target})).size(), 2u);
}

TEST(Content, LateAxesOfSqueezeAndUnsqueeze) {
  Builder b;
  const ValueId x = b.input({1, 3, 4, 5}), axes = b.input({1}, DType::i64);
  EXPECT_EQ(b.dims(b("Squeeze", {x, axes})), (Dims{3, 4, 5}));  // there is no other axis of extent 1
  const Dims wider = b.dims(b("Unsqueeze", {x, axes}));
  const auto at = [&](const SymExpr& e, I axis) { return e.evaluate([&](std::string_view) { return axis; }); };
  for (I axis : {2, -3}) {
    EXPECT_EQ(at(wider[1], axis), 3);
    EXPECT_EQ(at(wider[2], axis), 1);
    EXPECT_EQ(at(wider[4], axis), 5);
  }
}

TEST(Content, WindowsOverOpenImages) {
  Builder b;
  const SymExpr h = SymExpr::symbol("H");
  const ValueId x = b.input({N, 3, h, h}), w = b.b.constant(Tensor(DType::f32, {8, 3, 3, 3}));
  EXPECT_EQ(b.dims(b("Conv", {x, w}, {{"pads", std::vector<I>{1, 1, 1, 1}}})), (Dims{N, 8, h, h}));
  EXPECT_EQ(b.dims(b("MaxPool", {x}, {{"kernel_shape", std::vector<I>{2, 2}}, {"strides", std::vector<I>{2, 2}}}))[2],
            floordiv(h - 2, 2) + 1);
  EXPECT_EQ(b.dims(b("Resize", {x}, {{"scales", std::vector<double>{1, 1, 2, 0.5}}})),
            (Dims{N, 3, h * 2, floordiv(h, 2)}));
}

}  // namespace
}  // namespace fcc
