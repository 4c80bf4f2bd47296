// Matrix products with packed weights: lowered kernels against the plain sum and, compiled, against the interpreter;
// no row or column is computed twice; inner loops keep everything in registers; the order of tasks.
#include <gtest/gtest.h>

#include <random>

#include "backend/lower/lower.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "passes/manager.h"
#include "tests/unit/backend_llvm/count_macs.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

struct Layer {
  int64_t rows;  // 0: open, called M
  int64_t k, n;
};

// relu(x * w + b) after all passes. The weights are an input's copy of random numbers.
Graph layer_graph(const Layer& l) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, {l.rows ? SymExpr(l.rows) : SymExpr::symbol("M"), l.k}});
  const ValueId w = g.add_constant("w", random(DType::f32, {l.k, l.n}, 2)),
                b = g.add_constant("b", random(DType::f32, {l.n}, 3));
  GraphBuilder build(g, {});
  const ValueId y = build("Relu", {build("Add", {build("MatMul", {x, w}), b})});
  FCC_CHECK(build.status().has_value(), "{}", build.status().error().text());
  g.add_output("y", y);
  return g;
}

struct Lowered {
  loop::Kernel kernel;
  std::vector<Tensor> constants;  // of its arguments after x
};

Lowered lower(const Layer& l, const Target& target) {
  Graph g = layer_graph(l);
  PassContext context{.target = target, .notes = {}};
  const Status passed = run_passes(g, context, {});
  FCC_CHECK(passed.has_value(), "{}", passed.error().text());
  Lowered out;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.op->strategy != Strategy::kernel) continue;
    Result<loop::Kernel> k = backend::lower_kernel(g, n, target);
    FCC_CHECK(k.has_value(), "{}", k.error().text());
    out.kernel = std::move(*k);
    for (size_t i = 1; i < n.in.size(); ++i) out.constants.push_back(g.value(n.in[i]).data);
  }
  return out;
}

std::vector<Tensor> arguments(const Lowered& l, int64_t rows, int64_t k, int64_t n) {
  std::vector<Tensor> args{random(DType::f32, {rows, k}, 1)};
  args.insert(args.end(), l.constants.begin(), l.constants.end());
  args.emplace_back(DType::f32, std::vector<int64_t>{rows, n});
  return args;
}

const Target& level(Isa isa) {
  static const std::vector<Target> all = {Target::level(Isa::x86_64_v2), Target::level(Isa::x86_64_v3),
                                          Target::level(Isa::x86_64_v4), Target::level(Isa::aarch64)};
  return all[static_cast<size_t>(isa)];
}
constexpr Isa kLevels[] = {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64};

void expect_right(const Layer& l, Isa isa, const std::vector<int64_t>& rows) {
  const Lowered lowered = lower(l, level(isa));
  for (int64_t m : rows)
    expect_same(lowered.kernel, arguments(lowered, m, l.k, l.n), {{"M", m}}, static_cast<double>(l.k) + 8, 16);
}

TEST(MatMul, AgreesWithTheInterpreterAtAnyNumberOfRows) {
  expect_right({0, 37, 10}, Isa::x86_64_v4, {1, 7, 29});
  expect_right({0, 20, 70}, Isa::x86_64_v4, {13, 40});
  expect_right({0, 37, 70}, Isa::x86_64_v3, {4, 11});
  expect_right({13, 37, 70}, Isa::x86_64_v4, {13});
}

// Shapes around the edges of tiles and panels, tall and flat, rows known and open, for every instruction set.
TEST(MatMul, AgreesWithTheInterpreterAroundEdgesOfTiles) {
  std::mt19937 random(5);
  const auto pick = [&](std::initializer_list<int64_t> list) { return list.begin()[random() % list.size()]; };
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4})
    for (int i = 0; i < 4; ++i) {
      const int64_t mr = backend::most_rows(level(isa), 32), rows = std::max<int64_t>(1, mr * pick({0, 1, 2, 3}) + pick({-1, 0, 1, 2}));
      const int64_t k = pick({1, 2, 3, 7, 16, 31, 64}), n = pick({1, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 97});
      SCOPED_TRACE(level(isa).text() + " " + std::to_string(rows) + "x" + std::to_string(k) + "x" + std::to_string(n));
      expect_right({i % 2 == 0 ? rows : 0, k, n}, isa, {rows});
    }
}

TEST(MatMul, IsTheSumOfProducts) {
  const int64_t rows = 15, k = 9, n = 33;
  const Lowered l = lower({0, k, n}, level(Isa::x86_64_v4));
  std::vector<Tensor> args = arguments(l, rows, k, n);
  std::vector<Tensor*> pointers;
  for (Tensor& t : args) pointers.push_back(&t);
  ASSERT_TRUE(loop::evaluate(l.kernel, pointers, {{"M", rows}}).has_value());
  const Tensor x = random(DType::f32, {rows, k}, 1), w = random(DType::f32, {k, n}, 2), b = random(DType::f32, {n}, 3);
  auto at = [](const Tensor& t, int64_t i) { return loop::read_element(t, i).f; };
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += at(x, r * k + i) * at(w, i * n + c);
      EXPECT_NEAR(at(args.back(), r * n + c), std::max(sum + at(b, c), 0.0), 1e-4) << r << "," << c;
    }
}

TEST(MatMul, ComputesNoRowTwiceAndNoColumnThatIsNotPacked) {
  for (Isa isa : kLevels)
    for (const auto& [k, n, packed] :
         {std::tuple(784, 512, 512), std::tuple(512, 10, 16), std::tuple(64, 1000, 1024), std::tuple(2048, 96, 96)}) {
      const Lowered open = lower({0, k, n}, level(isa));
      for (int64_t rows : {1, 2, 3, 7, 8, 13, 31, 64, 100, 256}) {
        const int64_t expected = rows * k * packed;
        EXPECT_EQ(count_macs(open.kernel, {{"M", rows}}), expected) << level(isa).text() << " " << rows << "x" << k << "x" << n;
        EXPECT_EQ(count_macs(lower({rows, k, n}, level(isa)).kernel), expected)
            << level(isa).text() << " " << rows << "x" << k << "x" << n;
      }
    }
}

// Columns are filled up to whole panels of 16 or 32. Below 64 columns that may be up to 15 more, whose cost is under a
// microsecond at any K that such layers have; above, at most 31: 2 % from 1024 columns on.
TEST(MatMul, PacksFewColumnsMore) {
  for (int64_t n : {1, 4, 10, 16, 17, 32, 33, 48, 64, 100, 128, 512, 1000, 1024, 1025, 2048}) {
    const Lowered l = lower({8, 16, n}, level(Isa::x86_64_v4));
    const int64_t columns = l.constants[0].elements() / 16;
    EXPECT_GE(columns, n);
    EXPECT_LT(columns - n, n < 64 ? 16 : 32) << n;
    if (n % 32 == 0 || n >= 1600) {
      EXPECT_LE(static_cast<double>(columns), 1.02 * static_cast<double>(n)) << n;
    }
  }
}

TEST(MatMul, InnerLoopsDoNotSpill) {
  for (Isa isa : kLevels)
    for (const Layer& l : {Layer{0, 784, 512}, Layer{0, 2048, 2048}, Layer{64, 784, 512}, Layer{64, 2048, 2048},
                           Layer{1, 784, 512}, Layer{4, 512, 10}, Layer{100, 300, 10}}) {
      const Lowered lowered = lower(l, level(isa));
      Result<CompiledKernel> c = compile_kernel(lowered.kernel, level(isa),
                                                l.rows ? std::vector<std::string>{} : std::vector<std::string>{"M"}, {},
                                                "kernel", {.want_asm = true});
      ASSERT_TRUE(c);
      EXPECT_EQ(stack_traffic_in_loops(c->assembly), 0)
          << level(isa).text() << " " << l.rows << "x" << l.k << "x" << l.n << "\n"
          << c->assembly;
    }
}

// Rows 4096 bytes apart share a set of L1: with more of them than the set has ways, every read of A would miss.
TEST(Tiles, HoldNoMoreRowsThanFitOneSetOfL1) {
  const Target& v4 = level(Isa::x86_64_v4);
  ASSERT_EQ(v4.l1_bytes, 32 << 10);
  EXPECT_EQ(backend::rows_that_stay_in_l1(v4, 4096), 8);
  EXPECT_EQ(backend::rows_that_stay_in_l1(v4, 8192), 8);
  EXPECT_EQ(backend::rows_that_stay_in_l1(v4, 2048), 16);
  EXPECT_GE(backend::rows_that_stay_in_l1(v4, 784 * 4), 14);
  Target wide = v4;
  wide.l1_bytes = 48 << 10;
  EXPECT_EQ(backend::rows_that_stay_in_l1(wide, 4096), 12);
  EXPECT_EQ(lower({64, 2048, 64}, v4).kernel.name, "matmul_f32_8x32");
}

// A layer of a few microseconds still falls into enough tasks for two threads to finish together.
TEST(Tasks, ManyEnoughForTwoThreads) {
  for (const Layer& l : {Layer{1, 784, 512}, Layer{64, 784, 128}, Layer{64, 784, 512}, Layer{8, 2048, 2048}})
    EXPECT_GE(lower(l, level(Isa::x86_64_v4)).kernel.tiles.constant(), 16) << l.rows << "x" << l.k << "x" << l.n;
  EXPECT_LE(lower({64, 16, 32}, level(Isa::x86_64_v4)).kernel.tiles.constant(), 2);
}

}  // namespace
}  // namespace fcc::test
