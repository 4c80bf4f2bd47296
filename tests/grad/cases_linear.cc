// Products, reductions, and movements.
#include "tests/grad/cases.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;
const int64_t kNo = 0, kYes = 1;

}  // namespace

void add_linear_cases(std::vector<Case>& cases) {
  const auto matmul = [&](Ints a, Ints b) {
    cases.push_back({"MatMul", {random(std::move(a)), random(std::move(b))}});
  };
  matmul({2, 3}, {3, 4});
  matmul({3}, {3});
  matmul({3}, {3, 4});
  matmul({2, 3}, {3});
  matmul({3}, {2, 3, 4});
  matmul({2, 4, 3}, {3});
  matmul({2, 4, 3}, {3, 5});
  matmul({4, 3}, {2, 3, 5});
  matmul({2, 4, 3}, {2, 3, 2});
  matmul({2, 1, 4, 3}, {5, 3, 2});
  matmul({1, 4, 3}, {2, 3, 2});
  for (int64_t ta : {0, 1})
    for (int64_t tb : {0, 1})
      cases.push_back({"Gemm",
                       {random(ta ? Ints{3, 2} : Ints{2, 3}), random(tb ? Ints{4, 3} : Ints{3, 4}),
                        random(ta ? Ints{4} : Ints{2, 1})},
                       {{"transA", ta}, {"transB", tb}, {"alpha", 0.7}, {"beta", 1.3}}});
  cases.push_back({"Gemm", {random({2, 3}), random({3, 4}), random({})}});
  cases.push_back({"Gemm", {random({2, 3}), random({3, 4})}});
  for (int64_t axis : {-1, 0, 1})
    for (const char* name : {"Softmax", "LogSoftmax", "Hardmax"})
      cases.push_back({name, {random({3, 4})}, {{"axis", axis}}});
  cases.push_back({.op = "Softmax", .in = {reals({2}, {800, -800})}, .expected = {{0, 0}}});
}

void add_reduction_cases(std::vector<Case>& cases) {
  for (const char* name : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                           "ReduceLogSumExp", "ReduceSumSquare", "ReduceLogSum"}) {
    const double low = name == std::string("ReduceLogSum") ? 0.2 : -2;
    cases.push_back({name, {random({2, 3}, low)}});
    cases.push_back({name, {random({2, 3}, low), whole({1}, {-1})}, {{"keepdims", kNo}}});
    cases.push_back({name, {random({2, 3, 2}, low), whole({2}, {2, 0})}});
    cases.push_back({name, {random({2, 3, 2}, low), whole({2}, {0, 1})}, {{"keepdims", kNo}}});
    cases.push_back({name, {random({2, 3}, low), whole({0}, {})}, {{"noop_with_empty_axes", kYes}}});
    cases.push_back({name, {random({2, 1}, low), whole({1}, {1})}});
  }
  const auto edge = [&](const char* name, std::vector<double> x, std::vector<double> g) {
    const auto n = static_cast<int64_t>(x.size());
    cases.push_back({.op = name, .in = {reals({n}, std::move(x)), whole({1}, {0})}, .expected = {std::move(g)}});
  };
  edge("ReduceMax", {1, 3, 3, 2}, {0, 0.5, 0.5, 0});
  edge("ReduceMin", {1, 1, 1, 2}, {1. / 3, 1. / 3, 1. / 3, 0});
  edge("ReduceL2", {0, 0}, {0, 0});
  edge("ReduceL1", {0, -2}, {0, -1});
  edge("ReduceProd", {2, 0, 3}, {0, 6, 0});
  edge("ReduceProd", {2, 0, 0}, {0, 0, 0});
  edge("ReduceLogSumExp", {1000, 1000}, {0.5, 0.5});
  for (int64_t exclusive : {0, 1})
    for (int64_t reverse : {0, 1})
      cases.push_back({"CumSum",
                       {random({2, 4}), whole({}, {exclusive ? 1 : -1})},
                       {{"exclusive", exclusive}, {"reverse", reverse}}});
  cases.push_back({"CumSum", {random({3, 2}), whole({}, {0})}});
}

void add_movement_cases(std::vector<Case>& cases) {
  cases.push_back({"Reshape", {random({2, 3, 4}), whole({2}, {-1, 6})}});
  cases.push_back({"Reshape", {random({2, 3}), whole({3}, {0, 3, 1})}});
  cases.push_back({"Flatten", {random({2, 3, 2})}, {{"axis", int64_t{2}}}});
  cases.push_back({"Squeeze", {random({2, 1, 3, 1}), whole({1}, {1})}});
  cases.push_back({"Squeeze", {random({1, 3, 1})}});
  cases.push_back({"Unsqueeze", {random({2, 3}), whole({2}, {0, -1})}});
  cases.push_back({"Transpose", {random({2, 3, 4})}, {{"perm", Ints{1, 2, 0}}}});
  cases.push_back({"Transpose", {random({2, 3})}});
  cases.push_back({"Expand", {random({3, 1}), whole({3}, {2, 1, 4})}});
  cases.push_back({"Expand", {random({}), whole({2}, {2, 3})}});
  cases.push_back({"Expand", {random({2, 3}), whole({1}, {3})}, {}, 1, {}, false});
  cases.push_back({"Tile", {random({2, 3}), whole({2}, {3, 2})}});
  cases.push_back({"Tile", {random({2, 1}), whole({2}, {1, 4})}});
  for (const char* mode : {"DCR", "CRD"}) {
    cases.push_back({"DepthToSpace",
                     {random({1, 8, 2, 1})},
                     {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}},
                     1,
                     {},
                     false});
    cases.push_back({"SpaceToDepth",
                     {random({1, 2, 2, 4})},
                     {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}},
                     1,
                     {},
                     false});
  }
  cases.push_back({"Trilu", {random({2, 3, 3})}, {{"upper", kYes}}});
  cases.push_back({"Trilu", {random({3, 4}), whole({}, {-1})}, {{"upper", kNo}}});
  cases.push_back({"Concat", {random({2, 3}), random({2, 1}), random({2, 2})}, {{"axis", int64_t{-1}}}});
  cases.push_back({"Concat", {random({1, 3}), random({2, 3})}, {{"axis", int64_t{0}}}});
  cases.push_back({"Split", {random({6, 2}), whole({3}, {1, 3, 2})}, {{"axis", int64_t{0}}}, 3, {}, false});
  cases.push_back({"Split", {random({2, 5})}, {{"axis", int64_t{1}}, {"num_outputs", int64_t{2}}}, 2});
  const auto slice = [&](Ints shape, Ints starts, Ints ends, Ints axes, Ints steps) {
    const auto n = static_cast<int64_t>(starts.size());
    cases.push_back(
        {"Slice", {random(shape), whole({n}, starts), whole({n}, ends), whole({n}, axes), whole({n}, steps)}});
  };
  slice({6, 3}, {1}, {4}, {0}, {1});
  slice({7, 3}, {1, 0}, {7, 2}, {0, 1}, {2, 1});
  slice({7}, {-1}, {-100}, {0}, {-1});
  slice({7}, {5}, {0}, {0}, {-2});
  slice({5, 4}, {-3, 1}, {1000, -1}, {0, 1}, {1, 1});
  slice({4}, {3}, {1}, {0}, {1});  // nothing
  using D = Dims;
  cases.push_back(
      {"Unslice", {random({2, 3})}, {{"dims", D{4, 5}}, {"starts", D{1, -1}}, {"steps", D{1, 1}}}, 1, {}, false});
}

}  // namespace fcc::test
