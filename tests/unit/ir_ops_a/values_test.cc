// Hand values: what NumPy and the ONNX specification say about single elements, edge cases first.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

void expect(const Case& c, const Tensor& want, double tolerance = 1e-6, Mode mode = Mode::constant) {
  const Result<std::vector<Tensor>> got = interpret(c, mode);
  ASSERT_TRUE(got) << got.error().text();
  ASSERT_EQ(got->at(0).type().text(), want.type().text()) << text(c);
  EXPECT_LE(difference(got->at(0), want), tolerance) << text(c);
}
Tensor row(std::vector<double> v, DType t = DType::f32) {
  const auto n = static_cast<I>(v.size());
  return floats({n}, std::move(v), t);
}
Tensor row_of_ints(std::vector<I> v, DType t = DType::i64) {
  const auto n = static_cast<I>(v.size());
  return ints({n}, std::move(v), t);
}
Tensor row_of_bools(std::vector<I> v) {
  return row_of_ints(std::move(v), DType::boolean);
}

TEST(Elementwise, IntegerDivisionTruncatesAndNeverTraps) {
  const I low = std::numeric_limits<I>::min();
  expect({"Div", {row_of_ints({7, -7, 7, -7, 5, low}), row_of_ints({2, 2, -2, -2, 0, -1})}},
         row_of_ints({3, -3, -3, 3, 0, low}), 0, Mode::fixed);
  expect({"Div", {row_of_ints({7, 200}, DType::u8), row_of_ints({2, 3}, DType::u8)}}, row_of_ints({3, 66}, DType::u8));
  expect({"Div", {row({1, -1, 0}), row({0, 0, 0})}}, row({kInf, -kInf, kNan}));
}
TEST(Elementwise, ModTakesTheDivisorsSignUnlessFmod) {
  expect({"Mod", {row_of_ints({-4, 7, 5, 4, -7, 8, 3}), row_of_ints({2, -3, 8, -2, 3, 5, 0})}},
         row_of_ints({0, -2, 5, 0, 2, 3, 0}), 0, Mode::fixed);
  expect({"Mod", {row_of_ints({-4, 7, -7}), row_of_ints({3, -3, 3})}, {{"fmod", I{1}}}}, row_of_ints({-1, 1, -1}));
  expect({"Mod", {row({-4.3, 7.2, 5}), row({2.1, -3.4, 8})}, {{"fmod", I{1}}}}, row({-0.1, 0.4, 5}));
}
TEST(Elementwise, PowKeepsTheTypeOfTheBase) {
  expect({"Pow", {row({1, 2, 3}), row_of_ints({4, 5, 6})}}, row({1, 32, 729}));
  expect({"Pow", {row_of_ints({1, 2, 3}), row_of_ints({4, 5, 6}, DType::u32)}}, row_of_ints({1, 32, 729}));
  expect({"Pow", {row_of_ints({4, 9, 2}, DType::i32), row({0.5, 0.5, 3.0})}}, row_of_ints({2, 3, 8}, DType::i32));
  expect({"Pow", {row({2, 3}), floats({}, {2})}}, row({4, 9}));
  expect({"Pow", {row({0, -8, 4}, DType::f16), row({0, 3, -0.5}, DType::f16)}}, row({1, -512, 0.5}, DType::f16));
}
TEST(Elementwise, MinAndMaxPropagateNan) {
  expect({"Max", {row({1, kNan, 3}), row({kNan, 2, 5})}}, row({kNan, kNan, 5}));
  expect({"Min", {row({1, kNan, 3}), row({0, 2, kNan}), floats({}, {0.5})}}, row({0, kNan, kNan}));
  expect({"Min", {row_of_ints({3, -1}, DType::u64), row_of_ints({5, 7}, DType::u64)}}, row_of_ints({3, 7}, DType::u64));
  expect({"Max", {row({1, 2})}}, row({1, 2}));
}
TEST(Elementwise, VariadicSumAndMeanBroadcast) {
  expect({"Sum", {row({1, 2}), floats({2, 1}, {10, 20}), floats({}, {100})}}, floats({2, 2}, {111, 112, 121, 122}));
  expect({"Mean", {row({1, 2}), row({3, 4}), row({8, 9})}}, row({4, 5}));
}
TEST(Elementwise, ClipWithEitherBoundAbsent) {
  const Tensor x = row({-2, 0, 2});
  expect({"Clip", {x}}, x);
  expect({"Clip", {x, floats({}, {-1})}}, row({-1, 0, 2}));
  expect({"Clip", {x, Tensor(), floats({}, {1})}}, row({-2, 0, 1}));
  expect({"Clip", {x, floats({}, {3}), floats({}, {1})}}, row({1, 1, 1}));  // low > high: high
  expect({"Clip", {row_of_ints({-9, 9}, DType::i8), ints({}, {-3}, DType::i8), ints({1}, {4}, DType::i8)}},
         row_of_ints({-3, 4}, DType::i8));
}
TEST(Elementwise, RoundingFunctions) {
  const Tensor x = row({-2.5, -1.5, -0.4, 0.5, 1.5, 2.5, kNan});
  expect({"Round", {x}}, row({-2, -2, 0, 0, 2, 2, kNan}));
  expect({"Floor", {x}}, row({-3, -2, -1, 0, 1, 2, kNan}));
  expect({"Ceil", {x}}, row({-2, -1, 0, 1, 2, 3, kNan}));
  expect({"Sign", {x}}, row({-1, -1, -1, 1, 1, 1, kNan}));
  expect({"Sign", {row_of_ints({-5, 0, 5}, DType::i16)}}, row_of_ints({-1, 0, 1}, DType::i16));
  expect({"Abs", {row_of_ints({-128, -1, 5}, DType::i8)}}, row_of_ints({-128, 1, 5}, DType::i8));
  expect({"Neg", {row({1, -2})}}, row({-1, 2}));
}
TEST(Elementwise, Functions) {
  const struct {
    const char* op;
    double x, y;
  } kValues[] = {
      {"Exp", 1, 2.718281828},    {"Log", 10, 2.302585093},   {"Sqrt", 2, 1.414213562},  {"Reciprocal", 4, 0.25},
      {"Erf", 0.5, 0.520499878},  {"Sin", 1, 0.841470985},    {"Cos", 1, 0.540302306},   {"Tan", 1, 1.557407725},
      {"Asin", 0.5, 0.523598776}, {"Acos", 0.5, 1.047197551}, {"Atan", 2, 1.107148718},  {"Sinh", 1, 1.175201194},
      {"Cosh", 1, 1.543080635},   {"Asinh", 2, 1.443635475},  {"Acosh", 2, 1.316957897}, {"Atanh", 0.5, 0.549306144}};
  for (const auto& [name, x, y] : kValues)
    for (DType t : {DType::f32, DType::f64, DType::bf16})
      expect({name, {row({x}, t)}}, row({y}, t), t == DType::f64 ? 1e-9 : 1e-6);
}
TEST(Elementwise, BitOperations) {
  const DType t = DType::u8;
  expect({"BitShift",
          {row_of_ints({16, 4, 1, 255}, t), row_of_ints({1, 2, 3, 9}, t)},
          {{"direction", std::string("LEFT")}}},
         row_of_ints({32, 16, 8, 0}, t));
  expect({"BitShift",
          {row_of_ints({16, 4, 1, 255}, t), row_of_ints({1, 2, 3, 4}, t)},
          {{"direction", std::string("RIGHT")}}},
         row_of_ints({8, 1, 0, 15}, t));
  expect({"BitwiseAnd", {row_of_ints({12, -1}), row_of_ints({10, 5})}}, row_of_ints({8, 5}));
  expect({"BitwiseOr", {row_of_ints({12, -1}), row_of_ints({10, 5})}}, row_of_ints({14, -1}));
  expect({"BitwiseXor", {row_of_ints({12, -1}), row_of_ints({10, 5})}}, row_of_ints({6, -6}));
  expect({"BitwiseNot", {row_of_ints({0, 200}, t)}}, row_of_ints({255, 55}, t));
}
TEST(Elementwise, CastsSaturate) {
  const auto to = [](DType t) { return Attrs{{"to", t}}; };
  const Tensor x = row({-1.7, 2.9, 300, -1e20, kNan, kInf});
  expect({"Cast", {x}, to(DType::i8)}, row_of_ints({-1, 2, 127, -128, 0, 127}, DType::i8));
  expect({"Cast", {x}, to(DType::boolean)}, row_of_bools({1, 1, 1, 1, 1, 1}));
  expect({"Cast", {row_of_ints({300, -1})}, to(DType::u8)}, row_of_ints({44, 255}, DType::u8));
  expect({"Cast", {row({0.1, 70000})}, to(DType::f16)}, row({0.0999755859375, kInf}, DType::f16), 0);
  expect({"Cast", {row_of_bools({0, 1})}, to(DType::f32)}, row({0, 1}));
  expect({"CastLike", {x, ints({2, 2}, {0, 0, 0, 0}, DType::i8)}}, row_of_ints({-1, 2, 127, -128, 0, 127}, DType::i8));
}
TEST(Elementwise, CastLikeExpandsToACast) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, {SymExpr::symbol("N")}}),
                like = g.add_input("like", {DType::f64, {3}});
  const Result<NodeId> n = g.add(op("CastLike"), {x, like});
  ASSERT_TRUE(n);
  GraphBuilder b(g, {});
  const auto out = op("CastLike").expand(b, g.node(*n));
  ASSERT_TRUE(out);
  EXPECT_EQ(g.op_of(out->at(0)).name, "Cast");
  EXPECT_EQ(g.value(out->at(0)).type, g.value(g.node(*n).out[0]).type);
}
TEST(Elementwise, DropoutMaskKeepsEverything) {
  const Result<std::vector<Tensor>> got = interpret({"Dropout", {row({1, 2}), floats({}, {0.5})}, {}, 2});
  ASSERT_TRUE(got);
  EXPECT_EQ(difference((*got)[0], row({1, 2})), 0);
  EXPECT_EQ(difference((*got)[1], row_of_bools({1, 1})), 0);
  expect({"Dropout", {row({1, 2}), floats({}, {0}), ints({}, {1}, DType::boolean)}},
         row({1, 2}));  // training, but ratio 0
}
TEST(Elementwise, ShapeArithmeticKeepsItsContents) {
  Graph g;
  const SymExpr n = SymExpr::symbol("N");
  const ValueId x = g.add_input("x", {DType::f32, {n, 4}});
  GraphBuilder b(g, {});
  const ValueId dims = b("Dims", {}, {{"dims", Dims{n, 4}}});
  const ValueId doubled = b("Mul", {dims, b.ints({2, 3})}), total = b("ReduceProd", {doubled}, {{"keepdims", I{0}}});
  const ValueId like = b("CastLike", {total, b.scalar(DType::i32, 0)});
  ASSERT_TRUE(b.status()) << x;
  EXPECT_EQ(g.value(doubled).content->elements, (Dims{n * 2, 12}));
  EXPECT_EQ(*g.value(total).content, (SymTensor{0, {n * 24}}));
  EXPECT_EQ(*g.value(like).content, (SymTensor{0, {n * 24}}));
}

TEST(Logic, ComparisonsAndChoice) {
  expect({"Equal", {row({1, kNan, 3}), row({1, kNan, 4})}}, row_of_bools({1, 0, 0}));
  expect({"Equal", {row_of_bools({1, 0}), row_of_bools({1, 1})}}, row_of_bools({1, 0}));
  expect({"Greater", {row_of_ints({1, -1}, DType::u64), row_of_ints({0, 5}, DType::u64)}}, row_of_bools({1, 1}));
  expect({"Less", {row({1, kNan}), row({2, 2})}}, row_of_bools({1, 0}));
  expect({"LessOrEqual", {row_of_ints({1, 2, 3}), row_of_ints({2, 2, 2})}}, row_of_bools({1, 1, 0}));
  expect({"GreaterOrEqual", {row_of_ints({1, 2, 3}), row_of_ints({2, 2, 2})}}, row_of_bools({0, 1, 1}));
  expect({"Where", {row_of_bools({1, 0}), floats({2, 1}, {1, 2}), floats({}, {9})}}, floats({2, 2}, {1, 9, 2, 9}));
}
TEST(Logic, TruthTables) {
  const Tensor a = row_of_bools({0, 0, 1, 1}), b = row_of_bools({0, 1, 0, 1});
  expect({"And", {a, b}}, row_of_bools({0, 0, 0, 1}));
  expect({"Or", {a, b}}, row_of_bools({0, 1, 1, 1}));
  expect({"Xor", {a, b}}, row_of_bools({0, 1, 1, 0}));
  expect({"Not", {b}}, row_of_bools({1, 0, 1, 0}));
}
TEST(Logic, InfinitiesBySign) {
  const Tensor x = row({-kInf, 1, kInf, kNan});
  expect({"IsNaN", {x}}, row_of_bools({0, 0, 0, 1}));
  expect({"IsInf", {x}}, row_of_bools({1, 0, 1, 0}));
  expect({"IsInf", {x}, {{"detect_positive", I{0}}}}, row_of_bools({1, 0, 0, 0}));
  expect({"IsInf", {x}, {{"detect_negative", I{0}}}}, row_of_bools({0, 0, 1, 0}));
  expect({"IsInf", {x}, {{"detect_negative", I{0}}, {"detect_positive", I{0}}}}, row_of_bools({0, 0, 0, 0}));
}

TEST(Reduce, EmptySets) {
  const Tensor none = floats({2, 0}, {});
  const Tensor axis = Tensor::ints(std::vector<I>{1});
  const Attrs flat{{"keepdims", I{0}}};
  const auto both = [](double v) { return row({v, v}); };
  expect({"ReduceSum", {none, axis}, flat}, both(0));
  expect({"ReduceProd", {none, axis}, flat}, both(1));
  expect({"ReduceMax", {none, axis}, flat}, both(-kInf));
  expect({"ReduceMin", {none, axis}, flat}, both(kInf));
  expect({"ReduceMean", {none, axis}, flat}, both(kNan));
  expect({"ReduceLogSum", {none, axis}, flat}, both(-kInf));
  expect({"ReduceLogSumExp", {none, axis}, flat}, both(-kInf));
  expect({"ReduceMax", {ints({0}, {}, DType::i32)}, flat}, ints({}, {std::numeric_limits<int32_t>::min()}, DType::i32));
}
TEST(Reduce, Values) {
  const Tensor x = floats({2, 2}, {1, -2, 3, 4});
  const Tensor last = Tensor::ints(std::vector<I>{-1});
  expect({"ReduceSum", {x}}, floats({1, 1}, {6}));
  expect({"ReduceMean", {x, last}}, floats({2, 1}, {-0.5, 3.5}));
  expect({"ReduceL1", {x, last}}, floats({2, 1}, {3, 7}));
  expect({"ReduceL2", {x, last}}, floats({2, 1}, {std::sqrt(5.0), 5}));
  expect({"ReduceSumSquare", {x, last}}, floats({2, 1}, {5, 25}));
  expect({"ReduceProd", {x, last}}, floats({2, 1}, {-2, 12}));
  expect({"ReduceLogSum", {x}}, floats({1, 1}, {std::log(6.0)}));
  expect({"ReduceLogSumExp", {floats({2}, {1000, 1000})}}, floats({1}, {1000 + std::log(2.0)}));
  expect({"ReduceMean", {ints({3}, {-1, -2, -2})}}, ints({1}, {-1}));
  expect({"ReduceSumSquare", {x}, {{"noop_with_empty_axes", I{1}}}}, floats({2, 2}, {1, 4, 9, 16}));
  expect({"ReduceSum", {ints({2}, {std::numeric_limits<I>::max(), 1})}}, ints({1}, {std::numeric_limits<I>::min()}));
}
TEST(Reduce, OpenAxesGiveSymbolicExtents) {
  const Case c{
      "ReduceSum", {random_tensor(1, DType::f32, {2, 3, 4}), Tensor::ints(std::vector<I>{1})}, {{"keepdims", I{0}}}};
  const auto types = result_types(c, Mode::fixed);
  ASSERT_TRUE(types);
  EXPECT_EQ(types->at(0).rank(), 2);
  EXPECT_FALSE(types->at(0).is_static());
}
TEST(Reduce, PositionsAndRunningSums) {
  const Tensor x = floats({2, 3}, {2, 2, 1, 3, kNan, 9});
  expect({"ArgMax", {x}, {{"axis", I{1}}, {"keepdims", I{0}}}}, row_of_ints({0, 1}));
  expect({"ArgMax", {x}, {{"axis", I{1}}, {"keepdims", I{0}}, {"select_last_index", I{1}}}}, row_of_ints({1, 1}));
  expect({"ArgMin", {x}, {{"axis", I{1}}}}, ints({2, 1}, {2, 1}));
  const Tensor axis = ints({}, {0});
  expect({"CumSum", {row({1, 2, 3}), axis}}, row({1, 3, 6}));
  expect({"CumSum", {row({1, 2, 3}), axis}, {{"exclusive", I{1}}}}, row({0, 1, 3}));
  expect({"CumSum", {row({1, 2, 3}), axis}, {{"reverse", I{1}}}}, row({6, 5, 3}));
  expect({"CumSum", {row({1, 2, 3}), axis}, {{"reverse", I{1}}, {"exclusive", I{1}}}}, row({5, 3, 0}));
}

TEST(Softmax, Values) {
  expect({"Softmax", {row({1, 2, 3})}}, row({0.09003057, 0.24472847, 0.66524096}));
  expect({"Softmax", {row({10000, 10001, 10002})}}, row({0.09003057, 0.24472847, 0.66524096}));
  expect({"LogSoftmax", {row({1, 2, 3})}}, row({-2.40760596, -1.40760596, -0.40760596}));
  expect({"Hardmax", {row({1, 3, 3})}}, row({0, 1, 0}));
}
TEST(Norm, Values) {
  expect({"LayerNormalization", {floats({2, 2}, {1, 3, -1, 5}), row({1, 2}), row({0, 10})}, {{"epsilon", 0.0}}},
         floats({2, 2}, {-1, 12, -1, 12}));
  expect({"RMSNormalization", {row({3, 4}), row({1, 1})}, {{"epsilon", 0.0}}}, row({0.84852814, 1.13137085}));
  expect({"BatchNormalization",
          {floats({1, 2, 1}, {1, 2}), row({2, 3}), row({1, -1}), row({0, 1}), row({4, 1})},
          {{"epsilon", 0.0}}},
         floats({1, 2, 1}, {2, 2}));
  expect({"InstanceNormalization", {floats({1, 2, 2}, {1, 3, 2, 6}), row({1, 2}), row({0, 1})}, {{"epsilon", 0.0}}},
         floats({1, 2, 2}, {-1, 1, -1, 3}));
  expect({"GroupNormalization",
          {floats({1, 2, 1}, {1, 3}), row({1, 2}), row({0, 1})},
          {{"num_groups", I{1}}, {"epsilon", 0.0}}},
         floats({1, 2, 1}, {-1, 3}));
  expect({"LRN", {floats({1, 3, 1}, {1, 2, 3})}, {{"size", I{2}}, {"alpha", 2.0}, {"beta", 1.0}, {"bias", 1.0}}},
         floats({1, 3, 1}, {1.0 / 6, 2.0 / 14, 0.3}));
  expect({"LpNormalization", {row({3, -4})}}, row({0.6, -0.8}));
  expect({"LpNormalization", {row({3, -1})}, {{"p", I{1}}}}, row({0.75, -0.25}));
  expect({"MeanVarianceNormalization", {floats({1, 1, 1, 2}, {1, 3})}}, floats({1, 1, 1, 2}, {-1, 1}));
}
TEST(MatMul, Values) {
  const Tensor a = floats({2, 2}, {1, 2, 3, 4}), b = floats({2, 2}, {5, 6, 7, 8});
  expect({"MatMul", {a, b}}, floats({2, 2}, {19, 22, 43, 50}));
  expect({"MatMul", {row({1, 2}), b}}, row({19, 22}));
  expect({"MatMul", {a, row({1, 2})}}, row({5, 11}));
  expect({"MatMul", {row({1, 2}), row({3, 4})}}, floats({}, {11}));
  expect({"Gemm", {a, b, row({1, 2})}, {{"transB", I{1}}, {"alpha", 2.0}, {"beta", 10.0}}},
         floats({2, 2}, {44, 66, 88, 126}));
  expect({"Gemm", {a, b}, {{"transA", I{1}}}}, floats({2, 2}, {26, 30, 38, 44}));
}
TEST(Einsum, Values) {
  const auto equation = [](const char* s) { return Attrs{{"equation", std::string(s)}}; };
  const Tensor a = floats({2, 2}, {1, 2, 3, 4});
  expect({"Einsum", {a, a}, equation("ij , jk -> ki")}, floats({2, 2}, {7, 15, 10, 22}));
  expect({"Einsum", {a}, equation("ii->i")}, row({1, 4}));
  expect({"Einsum", {a}, equation("ii")}, floats({}, {5}));
  expect({"Einsum", {a}, equation("ba")}, floats({2, 2}, {1, 3, 2, 4}));
  expect({"Einsum", {a, row({1, 10})}, equation("...j,j->...")}, row({21, 43}));
}

}  // namespace
}  // namespace fcc::test
