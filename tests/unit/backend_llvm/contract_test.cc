// Register tiles: values against the interpreter for many shapes, and no stack traffic in the inner loops of the
// tiles each instruction set is meant to use.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using namespace loop;  // NOLINT: the builders

struct Shape {
  int32_t rows, cols;
  int64_t k;
  int32_t split = 1;
  bool unroll = false;
};

// y[rows, cols] = relu(x[rows, k] * w[k, cols] + bias[cols]), the last column left alone.
Kernel gemm(const Shape& s, DType a, DType b, DType acc, const SymExpr& k_extent) {
  Kernel k;
  k.name = "gemm_" + std::to_string(s.rows) + "x" + std::to_string(s.cols);
  const BufferId x = k.add_buffer({.name = "x", .dtype = a, .dims = {s.rows, k_extent}});
  const BufferId w = k.add_buffer({.name = "w", .dtype = b, .dims = {k_extent, s.cols}, .constant = true});
  const BufferId bias = k.add_buffer({.name = "bias", .dtype = acc, .dims = {s.cols}, .constant = true});
  const BufferId y = k.add_buffer({.name = "y", .dtype = acc, .dims = {s.rows, s.cols}, .space = Space::output});
  k.n_params = 4;
  ContractTile t;
  t.a = x;
  t.b = w;
  t.a_base = index(0);
  t.b_base = index(0);
  t.a_row = from_sym(k_extent);
  t.rows = s.rows;
  t.cols = s.cols;
  t.k_split = s.split;
  t.reductions = {{from_sym(k_extent), index(1), index(s.cols), s.unroll}};
  t.row_var = k.add_var("r");
  t.block_var = k.add_var("b");
  t.lane_var = k.add_var("l");
  t.acc_var = k.add_var("acc", acc);
  const VarId column = k.add_var("c");
  t.epilogue = {let(column, var(t.block_var) * 16 + var(t.lane_var)),
                store(y, {var(t.row_var), var(column)},
                      max(var(t.acc_var, acc) + load(bias, acc, {var(column)}), constant(acc, 0)),
                      lt(var(column), index(s.cols - 1)))};
  const VarId tile = k.add_var("t");
  k.body = {for_loop(tile, index(0), index(1), {contract(t)}, LoopKind::tile)};
  return k;
}

std::vector<Tensor> operands(const Kernel& k, int64_t k_extent) {
  std::vector<Tensor> args;
  for (int32_t i = 0; i < k.n_params; ++i) {
    std::vector<int64_t> shape;
    for (const SymExpr& d : k.buffers[i].dims) shape.push_back(d.is_constant() ? d.constant() : k_extent);
    args.push_back(k.buffers[i].space == Space::output
                       ? Tensor(k.buffers[i].dtype, shape)
                       : random(k.buffers[i].dtype, shape, static_cast<uint32_t>(i) + 1));
  }
  return args;
}

class Gemm : public testing::TestWithParam<Shape> {};
TEST_P(Gemm, MatchesTheTripleLoop) {
  const Shape s = GetParam();
  const Kernel k = gemm(s, DType::f32, DType::f32, DType::f32, s.k);
  expect_same(k, operands(k, s.k), {}, static_cast<double>(s.k) + 8, 16);
}
INSTANTIATE_TEST_SUITE_P(Shapes, Gemm,
                         testing::Values(Shape{8, 32, 37}, Shape{14, 32, 20}, Shape{12, 32, 1}, Shape{6, 64, 9},
                                         Shape{6, 16, 33}, Shape{4, 16, 100}, Shape{1, 128, 50}, Shape{1, 16, 0},
                                         Shape{3, 16, 5, 4}, Shape{1, 16, 103, 8}, Shape{2, 48, 7, 3},
                                         Shape{7, 32, 12, 1, true}, Shape{1, 32, 9, 4, true}));

TEST(Contract, OtherElementTypes) {
  struct Types {
    DType a, b, acc;
  };
  for (const Types& t : {Types{DType::f64, DType::f64, DType::f64}, Types{DType::f16, DType::bf16, DType::f32},
                         Types{DType::f32, DType::bf16, DType::f32}, Types{DType::u8, DType::i8, DType::i32},
                         Types{DType::i32, DType::i32, DType::i32}}) {
    const Kernel k = gemm({5, 32, 21}, t.a, t.b, t.acc, 21);
    expect_same(k, operands(k, 21), {}, 40, 16);
  }
}

TEST(Contract, OpenReductionLength) {
  for (int32_t split : {1, 4}) {
    const Kernel k = gemm({6, 32, 0, split}, DType::f32, DType::f32, DType::f32, SymExpr::symbol("K"));
    for (int64_t n : {0, 1, 4, 7, 50}) expect_same(k, operands(k, n), {{"K", n}}, 64, 16);
  }
}

// A direct convolution 3x3 over blocked channels, taps unrolled, rows are pixels; two spatial reductions around it.
Kernel convolution(int32_t pixels, int32_t cols, int64_t channels_blocks) {
  Kernel k;
  k.name = "conv_" + std::to_string(pixels) + "x" + std::to_string(cols);
  const int64_t width = pixels + 2;
  const BufferId x = k.add_buffer({.name = "x", .dtype = DType::f32, .dims = {channels_blocks, 3, width, 16}});
  const BufferId w =
      k.add_buffer({.name = "w", .dtype = DType::f32, .dims = {channels_blocks, 3, 3, 16, cols}, .constant = true});
  const BufferId y =
      k.add_buffer({.name = "y", .dtype = DType::f32, .dims = {cols / 16, pixels, 16}, .space = Space::output});
  k.n_params = 3;
  ContractTile t;
  t.a = x;
  t.b = w;
  t.a_base = index(0);
  t.b_base = index(0);
  t.a_row = index(16);
  t.rows = pixels;
  t.cols = cols;
  t.reductions = {{index(channels_blocks), index(3 * width * 16), index(9 * 16 * cols), false},
                  {index(16), index(1), index(cols), false},
                  {index(3), index(width * 16), index(3 * 16 * cols), true},
                  {index(3), index(16), index(16 * cols), true}};
  t.row_var = k.add_var("r");
  t.block_var = k.add_var("b");
  t.lane_var = k.add_var("l");
  t.acc_var = k.add_var("acc", DType::f32);
  t.epilogue = {store(y, {var(t.block_var), var(t.row_var), var(t.lane_var)}, var(t.acc_var, DType::f32))};
  const VarId tile = k.add_var("t");
  k.body = {for_loop(tile, index(0), index(1), {contract(t)}, LoopKind::tile)};
  return k;
}

TEST(Contract, DirectConvolution) {
  for (int32_t pixels : {1, 7}) {
    const Kernel k = convolution(pixels, 32, 2);
    expect_same(k, operands(k, 0), {}, 300, 16);
  }
}

std::string assembly_of(const Kernel& k, const Target& t) {
  Result<CompiledKernel> c = compile_kernel(k, t, {}, {}, "kernel", {.want_ir = true, .want_asm = true});
  EXPECT_TRUE(c);
  if (const char* folder = std::getenv("FCC_TEST_IR"))
    std::ofstream(std::string(folder) + "/" + k.name + "_" + t.text() + ".ll") << c->ir;
  return c->assembly;
}

int count(const std::string& text, const std::string& word) {
  int n = 0;
  for (size_t at = 0; (at = text.find(word, at)) != text.npos; at += word.size()) ++n;
  return n;
}

// Rows from two lines of an image, with the next weights fetched ahead, and tiles of eight columns.
TEST(Contract, RowsOfSeveralLines) {
  for (int32_t cols : {8, 32}) {
    Kernel k = gemm({7, cols, 12}, DType::f32, DType::f32, DType::f32, 12);
    k.buffers[0].dims = {2, 5, 12};
    ContractTile t = *k.body[0]->body[0]->contract;
    t.line_rows = 4;
    t.a_line = index(60);
    t.prefetch = index(100);
    t.prefetch_share = 3;
    k.body = {for_loop(k.body[0]->var, index(0), index(1), {contract(t)}, LoopKind::tile)};
    expect_same(k, operands(k, 12), {}, 20, 16);
    EXPECT_EQ(count(assembly_of(k, Target::level(Isa::x86_64_v4)), "prefetch"), 1);
  }
}

TEST(Contract, InnerLoopsDoNotSpill) {
  const Target v2 = Target::level(Isa::x86_64_v2), v3 = Target::level(Isa::x86_64_v3),
               v4 = Target::level(Isa::x86_64_v4), neon = Target::level(Isa::aarch64);
  struct Case {
    const Target& target;
    std::vector<Shape> shapes;
    std::string fma;
  };
  const std::vector<Case> cases = {{v4,
                                    {{4, 32, 0},
                                     {6, 32, 0},
                                     {8, 32, 0},
                                     {12, 32, 0},
                                     {14, 32, 0},
                                     {8, 48, 0},
                                     {6, 64, 0},
                                     {14, 16, 0},
                                     {28, 16, 0},
                                     {1, 128, 0}},
                                    "vfmadd"},
                                   {v3, {{4, 16, 0}, {5, 16, 0}, {6, 16, 0}, {1, 64, 0}}, "vfmadd"},
                                   {neon, {{1, 64, 0}, {4, 16, 0}, {6, 16, 0}}, "fmla"},
                                   {v2, {{1, 16, 0}, {2, 16, 0}}, "mulps"}};
  for (const Case& c : cases)
    for (const Shape& s : c.shapes) {
      const std::string text = assembly_of(gemm(s, DType::f32, DType::f32, DType::f32, 784), c.target);
      EXPECT_EQ(stack_traffic_in_loops(text), 0) << c.target.text() << " " << s.rows << "x" << s.cols << "\n" << text;
      const auto fmas = s.rows * s.cols / static_cast<int>(c.target.lanes(4));
      EXPECT_EQ(count(text, c.fma), fmas) << c.target.text() << " " << s.rows << "x" << s.cols;
    }
  for (auto [pixels, cols] : {std::pair(7, 32), std::pair(14, 16), std::pair(7, 48), std::pair(8, 32),
                              std::pair(14, 32), std::pair(6, 64), std::pair(28, 16)})
    EXPECT_EQ(stack_traffic_in_loops(assembly_of(convolution(pixels, cols, 4), v4)), 0) << pixels << "x" << cols;
  const std::string v3_convolution = assembly_of(convolution(6, 16, 4), v3);
  EXPECT_EQ(stack_traffic_in_loops(v3_convolution), 0) << v3_convolution;
}

}  // namespace
}  // namespace fcc::test
