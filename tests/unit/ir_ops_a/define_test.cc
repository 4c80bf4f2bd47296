// Every operator of these families that has both eval and define: both must say the same, with sizes known and open.
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/ir_ops_a/harness.h"

namespace fcc {
void register_elementwise(Registry&);
void register_reduce(Registry&);
void register_norm(Registry&);
void register_softmax(Registry&);
void register_matmul(Registry&);
void register_einsum(Registry&);
}  // namespace fcc

namespace fcc::test {
namespace {

uint32_t next_seed = 1;
Tensor x(std::vector<int64_t> shape, DType dtype = DType::f32) {
  return random_tensor(next_seed++, dtype, std::move(shape));
}
Tensor positive(std::vector<int64_t> shape, DType dtype = DType::f32) {
  return random_tensor(next_seed++, dtype, std::move(shape), 0.5, 2);
}
Tensor axes(std::vector<int64_t> v) {
  return Tensor::ints(v);
}
using I = int64_t;

void add_reductions(std::vector<Case>& cases) {
  static constexpr std::string_view kNames[] = {"Sum", "Mean", "Max",    "Min",       "Prod",
                                                "L1",  "L2",   "LogSum", "LogSumExp", "SumSquare"};
  for (std::string_view kind : kNames) {
    const std::string name = "Reduce" + std::string(kind);
    for (I keepdims : {0, 1}) {
      const Attrs keep{{"keepdims", keepdims}}, noop{{"keepdims", keepdims}, {"noop_with_empty_axes", I{1}}};
      cases.push_back({name, {positive({3, 2, 4})}, keep});
      cases.push_back({name, {positive({3, 2, 4}), axes({1})}, keep});
      cases.push_back({name, {positive({3, 2, 4}), axes({-1, 0})}, keep});
      cases.push_back({name, {positive({3, 1, 4}), axes({2, 1, 0})}, keep});
      cases.push_back({name, {positive({3, 2}), axes({})}, keep});
      cases.push_back({name, {positive({3, 2}), axes({})}, noop});
      cases.push_back({name, {positive({3, 2})}, noop});
      cases.push_back({name, {positive({})}, keep});
      cases.push_back({name, {positive({2, 0, 4}), axes({1})}, keep});
      cases.push_back({name, {positive({2, 0, 4}), axes({0})}, keep});
      cases.push_back({name, {positive({5, 2}, DType::i32), axes({0})}, keep});
      cases.push_back({name, {positive({5, 2}, DType::u64), axes({1})}, keep});
      cases.push_back({name, {positive({5, 2}, DType::f64), axes({1})}, keep});
      cases.push_back({name, {positive({3, 4}, DType::bf16), axes({1})}, keep});
      cases.push_back({name, {positive({3, 4}, DType::f16), axes({0})}, keep});
    }
  }
  for (const char* name : {"ReduceMax", "ReduceMin"}) {
    cases.push_back({name, {x({3, 4}, DType::boolean), axes({1})}});
    cases.push_back({name, {x({0, 4}, DType::boolean), axes({0})}});
    cases.push_back({name, {x({0, 4}, DType::i8), axes({0})}});
    cases.push_back({name, {floats({2, 3}, {1, NAN, 3, -INFINITY, 0, INFINITY}), axes({1})}});
  }
  cases.push_back({"ReduceLogSumExp", {floats({3, 2}, {-INFINITY, -INFINITY, INFINITY, 1, 1000, 1001}), axes({1})}});
}

void add_arg_and_cumsum(std::vector<Case>& cases) {
  for (const char* name : {"ArgMax", "ArgMin"})
    for (I keepdims : {0, 1})
      for (I last : {0, 1}) {
        const auto with_axis = [&](I axis) {
          return Attrs{{"axis", axis}, {"keepdims", keepdims}, {"select_last_index", last}};
        };
        cases.push_back({name, {x({3, 4, 2})}, with_axis(1)});
        cases.push_back({name, {x({3, 9}, DType::i8)}, with_axis(-1)});
        cases.push_back({name, {floats({2, 4}, {1, NAN, NAN, 5, 7, 7, -1, -1})}, with_axis(1)});
        cases.push_back({name, {x({0, 4})}, with_axis(1)});
        cases.push_back({name, {x({3, 4}, DType::f16)}, with_axis(0)});
      }
  for (I exclusive : {0, 1})
    for (I reverse : {0, 1}) {
      const Attrs attrs{{"exclusive", exclusive}, {"reverse", reverse}};
      cases.push_back({"CumSum", {x({3, 4, 2}), ints({}, {1})}, attrs});
      cases.push_back({"CumSum", {x({3, 4}), ints({1}, {-2}, DType::i32)}, attrs});
      cases.push_back({"CumSum", {x({5}, DType::i32), ints({}, {0})}, attrs});
      cases.push_back({"CumSum", {x({0, 3}), ints({}, {0})}, attrs});
    }
}

void add_softmax(std::vector<Case>& cases) {
  for (const char* name : {"Softmax", "LogSoftmax", "Hardmax"}) {
    cases.push_back({name, {x({3, 5})}});
    cases.push_back({name, {x({3, 5, 2})}, {{"axis", I{1}}}});
    cases.push_back({name, {x({2, 3}, DType::f16)}, {{"axis", I{0}}}});
    cases.push_back({name, {x({2, 3}, DType::f64)}, {{"axis", I{-2}}}});
    cases.push_back({name, {x({2, 0})}});
    cases.push_back({name, {x({0, 2})}});
    cases.push_back({name, {floats({2, 3}, {1000, 1001, 1001, -1000, -1000, -2000})}});
  }
}

void add_group_norms(std::vector<Case>& cases) {
  const auto params = [](Tensor input, I channels) {
    return std::vector<Tensor>{std::move(input), x({channels}), x({channels})};
  };
  for (std::vector<I> shape : {std::vector<I>{2, 4, 3, 2}, {2, 4, 5}, {0, 4, 3}}) {
    cases.push_back({"InstanceNormalization", params(x(shape), 4), {{"epsilon", 0.01}}});
    for (I groups : {1, 2, 4}) cases.push_back({"GroupNormalization", params(x(shape), 4), {{"num_groups", groups}}});
  }
  cases.push_back({"GroupNormalization", params(x({3, 6}), 6), {{"num_groups", I{3}}}});
  for (std::vector<I> shape : {std::vector<I>{2, 3, 4, 2}, {5, 3}, {0, 3, 2}}) {
    std::vector<Tensor> in = params(x(shape), 3);
    in.push_back(x({3}));
    in.push_back(positive({3}));
    cases.push_back({"BatchNormalization", in, {{"epsilon", 0.001}}});
  }
  cases.push_back({"BatchNormalization", {x({4}), x({1}), x({1}), x({1}), positive({1})}});
  cases.push_back(
      {"BatchNormalization", {x({2, 3}, DType::f16), x({3}), x({3}), x({3}, DType::f64), positive({3}, DType::f64)}});
}

void add_norms(std::vector<Case>& cases) {
  for (I axis : {-1, 1, 0}) {
    const std::vector<I> shape{2, 3, 4}, tail(shape.begin() + (axis < 0 ? 2 : axis), shape.end());
    cases.push_back({"LayerNormalization", {x(shape), x(tail), x(tail)}, {{"axis", axis}}, 3});
    cases.push_back({"LayerNormalization", {x(shape), x({4})}, {{"axis", axis}, {"epsilon", 0.1}}, 2});
    cases.push_back({"RMSNormalization", {x(shape), x(tail)}, {{"axis", axis}}});
  }
  cases.push_back({"LayerNormalization", {x({3, 4}, DType::f16), x({4}, DType::f16), x({1}, DType::f16)}, {}, 3});
  cases.push_back({"LayerNormalization", {x({3, 4}, DType::f64), x({3, 4}, DType::f64)}});
  cases.push_back({"LayerNormalization", {x({0, 4}), x({4})}, {}, 3});
  cases.push_back({"LayerNormalization", {x({2, 0}), x({0})}, {}, 1});
  cases.push_back({"RMSNormalization", {x({3, 4}, DType::f16), x({4})}});
  add_group_norms(cases);
  for (I size : {1, 2, 3, 9})
    cases.push_back({"LRN", {x({2, 5, 3})}, {{"size", size}, {"alpha", 0.5}, {"bias", 1.5}, {"beta", 0.6}}});
  for (I p : {1, 2}) {
    cases.push_back({"LpNormalization", {x({3, 4})}, {{"p", p}}});
    cases.push_back({"LpNormalization", {x({3, 4, 2})}, {{"p", p}, {"axis", I{1}}}});
    cases.push_back({"LpNormalization", {floats({2, 2}, {0, 0, 3, -4})}, {{"p", p}}});
  }
  cases.push_back({"MeanVarianceNormalization", {x({3, 2, 3, 2})}});
  cases.push_back({"MeanVarianceNormalization", {x({3, 4})}, {{"axes", std::vector<I>{-1}}}});
}

void add_matmul(std::vector<Case>& cases) {
  const std::vector<std::pair<std::vector<I>, std::vector<I>>> shapes = {{{3, 4}, {4, 2}},
                                                                         {{4}, {4, 2}},
                                                                         {{3, 4}, {4}},
                                                                         {{4}, {4}},
                                                                         {{5, 3, 4}, {4, 2}},
                                                                         {{3, 4}, {5, 4, 2}},
                                                                         {{2, 1, 3, 4}, {5, 4, 2}},
                                                                         {{4}, {2, 4, 3}},
                                                                         {{2, 3, 4}, {4}},
                                                                         {{3, 0}, {0, 2}},
                                                                         {{0, 4}, {4, 2}},
                                                                         {{1, 1}, {1, 1}},
                                                                         {{2, 0, 3, 4}, {4, 2}}};
  for (const auto& [a, b] : shapes)
    for (DType t : {DType::f32, DType::f64, DType::bf16, DType::i32, DType::u64})
      cases.push_back({"MatMul", {x(a, t), x(b, t)}});
  for (I ta : {0, 1})
    for (I tb : {0, 1})
      for (std::vector<I> bias : {std::vector<I>{2}, {3, 2}, {3, 1}, {1, 2}, {1}, {}}) {
        const std::vector<I> a = ta ? std::vector<I>{4, 3} : std::vector<I>{3, 4},
                             b = tb ? std::vector<I>{2, 4} : std::vector<I>{4, 2};
        const Attrs attrs{{"transA", ta}, {"transB", tb}, {"alpha", 0.5}, {"beta", 2.0}};
        for (DType t : {DType::f32, DType::i32}) cases.push_back({"Gemm", {x(a, t), x(b, t), x(bias, t)}, attrs});
        cases.push_back({"Gemm", {x(a), x(b)}, attrs});
      }
  cases.push_back({"Gemm", {x({3, 0}), x({0, 2}), x({2})}});
}

void add_einsum(std::vector<Case>& cases) {
  const auto einsum = [&](const char* equation, std::vector<Tensor> in) {
    cases.push_back({"Einsum", std::move(in), {{"equation", std::string(equation)}}});
  };
  einsum("ij,jk->ik", {x({3, 4}), x({4, 2})});
  einsum("ij,jk", {x({3, 4}, DType::i32), x({4, 2}, DType::i32)});
  einsum("bhid, bhjd -> bhij", {x({2, 2, 3, 4}), x({2, 2, 5, 4})});
  einsum("ii->i", {x({3, 3})});
  einsum("ii", {x({3, 3})});
  einsum("i->", {x({4})});
  einsum("...ij->...ji", {x({2, 3, 4})});
  einsum("...ij,...jk->...ik", {x({2, 1, 3, 4}), x({5, 4, 2})});
  einsum("...,...", {x({2, 3}), x({3})});
  einsum("b...->...", {x({2, 3})});
  einsum(",a->a", {x({}), x({3})});
  einsum("->", {x({})});
  einsum("ba", {x({2, 3})});
  einsum("Ab,b->A", {x({2, 3}), x({3})});
  einsum("i,j,k->kji", {x({2}), x({3}), x({4})});
  einsum("ij,jk->ik", {x({3, 0}), x({0, 2})});
  einsum("ij,ij->i", {x({3, 1}), x({3, 4})});
}

std::vector<Case> all_cases() {
  next_seed = 1;
  std::vector<Case> cases;
  add_reductions(cases);
  add_arg_and_cumsum(cases);
  add_softmax(cases);
  add_norms(cases);
  add_matmul(cases);
  add_einsum(cases);
  cases.push_back({"Dropout", {x({3, 4})}, {}, 2});
  cases.push_back({"Dropout", {x({3, 4}, DType::f16), floats({}, {0.5}), ints({}, {0}, DType::boolean)}, {}, 1});
  return cases;
}

double tolerance(const Tensor& t) {
  switch (t.dtype()) {
    case DType::f64:
      return 1e-12;
    case DType::f16:
      return 1e-3;
    case DType::bf16:
      return 1e-2;
    default:
      return 2e-6;
  }
}

TEST(Define, AgreesWithEval) {
  for (const Case& c : all_cases()) {
    const Result<std::vector<Tensor>> want = interpret(c);
    ASSERT_TRUE(want) << text(c) << "\n" << want.error().text();
    for (Mode mode : kModes) {
      if (mode != Mode::constant && c.op == "Dropout") continue;  // training_mode has to be known
      const Result<Outcome> got = run_define(c, mode);
      ASSERT_TRUE(got) << text(c) << "\n" << got.error().text();
      EXPECT_EQ(got->faults, std::vector<std::string>()) << text(c);
      for (size_t k = 0; k < want->size(); ++k) {
        ASSERT_EQ(got->out[k].shape(), (*want)[k].shape()) << text(c) << " mode " << static_cast<int>(mode);
        EXPECT_LE(difference(got->out[k], (*want)[k]), tolerance((*want)[k]))
            << text(c) << " result " << k << " mode " << static_cast<int>(mode);
      }
    }
  }
}

TEST(Define, EveryOperatorHasCases) {
  Registry family;
  register_elementwise(family);
  register_reduce(family);
  register_norm(family);
  register_softmax(family);
  register_matmul(family);
  register_einsum(family);
  std::set<std::string> covered;
  for (const Case& c : all_cases()) covered.insert(c.op);
  for (const OpDef* def : family.all())
    EXPECT_TRUE(!def->eval || !def->define || covered.contains(std::string(def->name))) << def->name;
}

TEST(Define, StopsWhereAxesAreWrongOnlyWhileRunning) {
  for (std::vector<I> wrong : {std::vector<I>{3}, {-4}, {1, 1}, {0, -3}}) {
    const Case c{"ReduceSum", {x({2, 3, 4}), axes(wrong)}, {{"keepdims", I{1}}}};
    const Result<Outcome> got = run_define(c, Mode::fixed);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_FALSE(got->faults.empty()) << wrong[0];
    EXPECT_FALSE(run_define(c, Mode::constant));
  }
  const Result<Outcome> got = run_define({"CumSum", {x({2, 3}), ints({}, {2})}}, Mode::fixed);
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->faults.empty());
}

TEST(Define, StopsWhereOpenExtentsTurnOutUnequal) {
  EXPECT_FALSE(run_define({"MatMul", {x({2, 3}), x({4, 2})}}, Mode::open)->faults.empty());
  EXPECT_FALSE(run_define({"Gemm", {x({2, 3}), x({4, 2})}}, Mode::open)->faults.empty());
  EXPECT_FALSE(run_define({"Einsum", {x({2, 3}), x({4, 2})}, {{"equation", std::string("ij,jk->ik")}}}, Mode::open)
                   ->faults.empty());
  EXPECT_FALSE(run_define({"LayerNormalization", {x({2, 3}), x({4})}}, Mode::open)->faults.empty());
  EXPECT_FALSE(run_define({"InstanceNormalization", {x({2, 3, 2}), x({4}), x({3})}}, Mode::open)->faults.empty());
  EXPECT_FALSE(run_define({"GroupNormalization", {x({2, 3, 2}), x({3}), x({3})}, {{"num_groups", I{2}}}}, Mode::open)
                   ->faults.empty());
}

}  // namespace
}  // namespace fcc::test
