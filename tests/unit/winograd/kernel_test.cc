// Winograd kernels with fused epilogues, compiled for every instruction set of the host: values against the graph
// interpreter over random shapes around tile edges, between unreadable pages; registers; multiply-adds.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <cstring>
#include <random>
#include <regex>
#include <set>
#include <sstream>

#include "backend/lower/winograd.h"
#include "backend/lower/winograd_weight.h"
#include "backend/lower/winograd_weight_grad.h"
#include "ir/eval.h"
#include "ir/loop/text.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;

struct Layer {
  I n = 1, h = 8, w = 8, c = 16, k = 16, groups = 1, m = 4;
  Ints pads{1, 1, 1, 1};
  bool residual = false, relu = false, open = false;
  const char* pool = nullptr;
  I nr() const { return k / groups % 32 == 0 || k / groups > 48 || tail() ? 32 : 16; }
  // As the layout chooses it: of some of the layers of one group.
  I tail() const {
    const I lanes = (k + 7) / 8 * 8, rest = lanes % 32;
    return groups > 1 || k % 2 || lanes <= 16 ? 0 : rest == 0 ? 0 : rest <= 16 && lanes > 32 ? rest + 32 : rest;
  }
  std::string text() const {
    return fmt::format("n={} {}x{} c={} k={} groups={} m={} pads={},{},{},{} residual={} relu={} open={} {}", n, h, w,
                       c, k, groups, m, pads[0], pads[1], pads[2], pads[3], residual, relu, open, pool ? pool : "");
  }
};

// The body of a fused kernel: x, U, bias and perhaps a residual.
Graph body_of(const Layer& l) {
  Graph g;
  auto dim = [&](const char* name, I size) { return l.open ? SymExpr::symbol(name) : SymExpr(size); };
  const I alpha = l.m + 2,
          blocks = l.groups == 1 ? (l.k + l.nr() - 1) / l.nr() : l.groups * ((l.k / l.groups + l.nr() - 1) / l.nr()),
          out_blocks = (l.k + 15) / 16;
  const ValueId x = g.add_input("x", {DType::f32, {dim("N", l.n), l.c / 16, dim("H", l.h), dim("W", l.w), 16}});
  const I lanes = (l.k + 7) / 8 * 8;
  const ValueId u = g.add_input("u", {DType::f32, {alpha * alpha, l.tail() ? 1 : blocks, l.c / l.groups, l.tail() ? lanes : l.nr()}});
  const ValueId bias = g.add_input("bias", {DType::f32, {1, out_blocks, 1, 1, 16}});
  GraphBuilder b(g, {});
  ValueId y =
      b("WinogradConv", {x, u},
        {{"m", l.m}, {"nr", l.nr()}, {"group", l.groups}, {"tail", l.tail()}, {"pads", l.pads}, {"channels", l.c}, {"out_channels", l.k}});
  const TensorType type = g.value(y).type;
  y = b("Add", {y, bias});
  if (l.residual) y = b("Add", {y, g.add_input("residual", type)});
  if (l.relu) y = b("Relu", {y});
  if (l.pool) y = b(l.pool, {y}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"blocked", I{1}}});
  g.add_output("y", y);
  EXPECT_TRUE(b.status()) << b.status().error().text();
  return g;
}

Tensor weights(const Layer& l, uint32_t seed) {
  const Tensor w = random(DType::f32, {l.k, l.c / l.groups, 3, 3}, seed);
  Graph g;
  const ValueId in = g.add_input("w", w.type());
  GraphBuilder b(g, {});
  g.add_output("u", b("PackWinogradWeight", {in}, {{"m", l.m}, {"nr", l.nr()}, {"group", l.groups}, {"tail", l.tail()}}));
  return evaluate(g, std::vector<Tensor>{w})->outputs[0];
}

loop::Kernel kernel_of(const Graph& body, const Target& target) {
  loop::Kernel k = backend::lower_winograd(body, body.order()[0], target);
  const Status s = loop::verify(k);
  EXPECT_TRUE(s) << s.error().text();
  return k;
}

// Compares the true channels of y; the bound of tools/compare.h for 9 C products.
void expect_close(const Tensor& actual, const Tensor& expected, const Layer& l, const std::string& what) {
  constexpr double u = 0x1p-24;
  double largest = 0;
  for (I i = 0; i < expected.elements(); ++i) largest = std::max(largest, std::fabs(expected.get_double(i)));
  const double allowed = (8 * u + 4 * u * std::sqrt(9.0 * static_cast<double>(l.c / l.groups))) * largest;
  const I lanes = expected.shape()[2] * expected.shape()[3] * 16, blocks = expected.shape()[1];
  for (I i = 0; i < expected.elements(); ++i) {
    const I channel = i / lanes % blocks * 16 + i % 16;
    if (channel >= l.k) continue;
    const double error = std::fabs(actual.get_double(i) - expected.get_double(i));
    ASSERT_LE(error, allowed) << l.text() << " " << what << " element " << i << ": " << actual.get_double(i)
                              << " instead of " << expected.get_double(i);
  }
}

void check(const Layer& l, uint32_t seed) {
  const Graph body = body_of(l);
  std::vector<Tensor> args;
  const std::map<std::string, I> symbols =
      l.open ? std::map<std::string, I>{{"N", l.n}, {"H", l.h}, {"W", l.w}} : std::map<std::string, I>{};
  auto size = [&](const SymExpr& e) {
    return e.evaluate([&](std::string_view s) { return symbols.at(std::string(s)); });
  };
  for (ValueId v : body.inputs()) {
    std::vector<I> shape;
    for (const SymExpr& d : body.value(v).type.dims) shape.push_back(size(d));
    args.push_back(body.value(v).name == "u" ? weights(l, seed) : random(DType::f32, shape, ++seed));
  }
  auto expected = evaluate(body, args);
  ASSERT_TRUE(expected) << l.text() << expected.error().text();
  const bool emulate = std::getenv("FCC_TEST_AARCH64") && can_run_aarch64();
  for (const Target& target : emulate ? std::vector{Target::level(Isa::aarch64)} : host_targets()) {
    const loop::Kernel k = kernel_of(body, target);
    std::vector<Tensor> all = args;
    all.emplace_back(DType::f32, expected->outputs[0].shape());
    emulate ? run_on_aarch64(k, all, symbols) : run(k, target, all, symbols);
    expect_close(all.back(), expected->outputs[0], l, target.text() + "\n" + k.note);
  }
}

TEST(Kernel, RandomShapesMatchTheInterpreter) {
  std::mt19937 engine(7);
  auto any = [&](I low, I high) { return low + static_cast<I>(engine() % static_cast<uint32_t>(high - low + 1)); };
  for (int i = 0; i < 16; ++i) {
    Layer l{
        .n = any(1, 3), .h = any(1, 20), .w = any(1, 20), .c = 16 * any(1, 4), .k = any(16, 64), .m = i % 2 ? 4 : 2};
    if (i % 4 == 3) l.groups = 2, l.c = 64, l.k = 32 * any(1, 2);
    l.pads = {any(0, 2), any(0, 2), any(0, 2), any(0, 2)};
    for (I& p : l.pads)
      if (l.h < 3 || l.w < 3) p = std::max<I>(p, 1);
    l.residual = any(0, 1), l.relu = any(0, 1);
    check(l, static_cast<uint32_t>(100 * i));
    if (HasFatalFailure()) return;
  }
}

TEST(Kernel, PooledPairsMatchTheInterpreter) {
  for (const char* pool : {"MaxPool", "AveragePool"})
    for (I m : {2, 4}) {
      check({.n = 2, .h = 9, .w = 14, .c = 32, .k = 40, .m = m, .residual = true, .relu = true, .pool = pool}, 20);
      check({.h = 16, .w = 8, .c = 16, .k = 64, .m = m, .pool = pool}, 21);
      check({.n = 2, .h = 7, .w = 11, .c = 16, .k = 32, .m = m, .relu = true, .open = true, .pool = pool}, 22);
      if (HasFatalFailure()) return;
    }
}

TEST(Kernel, OpenSizesMatchTheInterpreter) {
  for (auto [n, h, w] : std::vector<std::array<I, 3>>{{1, 1, 1}, {2, 7, 5}, {1, 13, 22}, {3, 16, 16}}) {
    check({.n = n, .h = h, .w = w, .c = 32, .k = 48, .m = 4, .residual = true, .relu = true, .open = true}, 5);
    check({.n = n, .h = h, .w = w, .c = 16, .k = 32, .m = 2, .pads = {1, 1, 1, 1}, .open = true}, 6);
    if (HasFatalFailure()) return;
  }
}

// What a compact library prepares has the bits that compiling gives.
TEST(Kernel, TransformsWeightsToTheSameBits) {
  for (const Layer& l : {Layer{.c = 32, .k = 64}, Layer{.c = 16, .k = 104}, Layer{.c = 16, .k = 24, .m = 2}, Layer{.c = 64, .k = 64, .groups = 2}, Layer{.c = 16, .k = 48, .m = 4}}) {
    const Tensor w = random(DType::f32, {l.k, l.c / l.groups, 3, 3}, 11);
    const Attrs packing{{"nr", l.nr()}, {"group", l.groups}, {"tail", l.tail()}};
    Attrs transform = packing;
    for (const auto& [name, value] : {std::pair("m", l.m), std::pair("channels", l.c / l.groups), std::pair("out_channels", l.k)}) transform.set(name, value);
    Graph pack;
    GraphBuilder a(pack, {});
    pack.add_output("p", a("PackConvWeight", {pack.add_input("w", w.type())}, packing));
    const Tensor packed = evaluate(pack, std::vector<Tensor>{w})->outputs[0];
    Graph body;
    GraphBuilder b(body, {});
    body.add_output("u", b("TransformWinogradWeight", {body.add_input("p", packed.type())}, transform));
    ASSERT_TRUE(b.status()) << b.status().error().text();
    ASSERT_TRUE(backend::is_weight_transform(body));
    const Tensor expected = weights(l, 11);
    for (const Target& target : host_targets()) {
      const loop::Kernel k = backend::lower_weight_transform(body);
      ASSERT_TRUE(loop::verify(k)) << loop::verify(k).error().text();
      std::vector<Tensor> all{packed, Tensor(DType::f32, expected.shape())};
      run(k, target, all, {});
      EXPECT_EQ(std::memcmp(all[1].raw(), expected.raw(), static_cast<size_t>(expected.bytes())), 0) << l.text() << target.text();
    }
  }
}

// Weights that stream: several tiles a panel, requests spread over them; parts of the panels and several passes.
TEST(Kernel, ManyChannelsMatchTheInterpreter) {
  check({.h = 30, .w = 15, .c = 256, .k = 256, .relu = true}, 8);
  check({.h = 7, .w = 7, .c = 320, .k = 288, .m = 2}, 9);
}

// Trained weights are transformed by a kernel of their own in every run.
TEST(Kernel, TransformsOfWeightsMatchTheInterpreter) {
  std::mt19937 engine(11);
  auto any = [&](I low, I high) { return low + static_cast<I>(engine() % static_cast<uint32_t>(high - low + 1)); };
  for (int i = 0; i < 8; ++i) {
    const I k = i < 4 ? 16 * any(1, 5) : any(1, 80), c = any(1, 50), nr = 16 * any(1, 2), m = i % 2 ? 4 : 2;
    const I mirrored = i / 2 % 2;
    Graph g;
    const Ints shape = mirrored ? Ints{c, k, 3, 3} : Ints{k, c, 3, 3};
    const Tensor w = random(DType::f32, shape, static_cast<uint32_t>(i));
    const ValueId in = g.add_input("w", w.type());
    GraphBuilder b(g, {});
    g.add_output("u", b("PackWinogradWeight", {in}, {{"m", m}, {"nr", nr}, {"mirrored", mirrored}}));
    ASSERT_TRUE(b.status());
    ASSERT_TRUE(backend::is_winograd_weight(g));
    const auto expected = evaluate(g, std::vector<Tensor>{w});
    ASSERT_TRUE(expected);
    for (const Target& target : host_targets()) {
      const loop::Kernel kernel = backend::lower_winograd_weight(g, target);
      ASSERT_TRUE(loop::verify(kernel));
      std::vector<Tensor> all{w, Tensor(DType::f32, expected->outputs[0].shape())};
      run(kernel, target, all);
      for (I e = 0; e < all[1].elements(); ++e)
        ASSERT_NEAR(all[1].get_double(e), expected->outputs[0].get_double(e), 2e-6)
            << "k=" << k << " c=" << c << " nr=" << nr << " m=" << m << " mirrored=" << mirrored << " element " << e;
    }
  }
}

// The gradient of the weight over shapes around the edges of tiles, parts of channels and groups of tiles.
TEST(Kernel, GradientsOfWeightsMatchTheInterpreter) {
  struct Shape {
    I n, c, k, h, w, top, left, bottom, right;
  };
  std::vector<Shape> shapes{{1, 16, 16, 8, 8, 1, 1, 1, 1}, {2, 64, 48, 30, 21, 1, 1, 1, 1}, {3, 40, 20, 7, 7, 1, 1, 1, 1}};
  std::mt19937 engine(13);
  auto any = [&](I low, I high) { return low + static_cast<I>(engine() % static_cast<uint32_t>(high - low + 1)); };
  for (int i = 0; i < 4; ++i)
    shapes.push_back({any(1, 3), any(1, 70), any(1, 70), any(3, 14), any(3, 14), any(0, 2), any(0, 2), any(0, 2), any(0, 2)});
  uint32_t seed = 40;
  for (const Shape& s : shapes) {
    const I oh = s.h + s.top + s.bottom - 2, ow = s.w + s.left + s.right - 2;
    Graph g;
    const ValueId x = g.add_input("x", {DType::f32, {s.n, (s.c + 15) / 16, s.h, s.w, 16}});
    const ValueId dy = g.add_input("dy", {DType::f32, {s.n, (s.k + 15) / 16, oh, ow, 16}});
    GraphBuilder b(g, {});
    g.add_output("dw", b("ConvWeightGrad", {x, dy},
                         {{"weight", Ints{s.k, s.c, 3, 3}}, {"pads", Dims{s.top, s.left}}, {"blocked", I{1}}, {"blocked_in", I{1}}, {"m", I{4}}}));
    ASSERT_TRUE(b.status()) << b.status().error().text();
    ASSERT_TRUE(backend::is_winograd_weight_grad(g));
    std::vector<Tensor> args;
    for (ValueId v : g.inputs()) args.push_back(random(DType::f32, g.value(v).type.extents(), ++seed));
    const auto expected = evaluate(g, args);
    ASSERT_TRUE(expected);
    const Tensor& dw = expected->outputs[0];
    double largest = 0;
    for (I i = 0; i < dw.elements(); ++i) largest = std::max(largest, std::fabs(dw.get_double(i)));
    const double allowed = (8 + 4 * std::sqrt(static_cast<double>(s.n * oh * ow))) * 0x1p-24 * largest;
    for (const Target& target : host_targets()) {
      const loop::Kernel kernel = backend::lower_winograd_weight_grad(g, target);
      ASSERT_TRUE(loop::verify(kernel));
      std::vector<Tensor> all = args;
      all.emplace_back(DType::f32, dw.shape());
      run(kernel, target, all);
      for (I i = 0; i < dw.elements(); ++i)
        ASSERT_NEAR(all[2].get_double(i), dw.get_double(i), allowed)
            << s.n << " " << s.c << " " << s.k << " " << s.h << "x" << s.w << " element " << i << " " << kernel.note;
    }
  }
}

std::string assembly_of(const loop::Kernel& k, const Target& t) {
  Result<CompiledKernel> c = compile_kernel(k, t, {}, {}, "kernel", {.want_ir = false, .want_asm = true});
  EXPECT_TRUE(c);
  return c->assembly;
}

std::vector<Layer> layers() {
  return {{.h = 28, .w = 28, .c = 64, .k = 64, .relu = true},
          {.h = 14, .w = 14, .c = 256, .k = 256},
          {.h = 13, .w = 13, .c = 48, .k = 48, .m = 2},
          {.h = 56, .w = 56, .c = 256, .k = 256, .residual = true},
          {.h = 112, .w = 112, .c = 64, .k = 64, .relu = true, .pool = "MaxPool"}};
}

// Instructions that put a vector on the stack or take one from there.
int vectors_on_stack(const std::string& assembly) {
  static const std::regex vector_register("%[xyz]mm|[ \t,{]q[0-9]");
  std::istringstream in(assembly);
  int n = 0;
  for (std::string line; std::getline(in, line);)
    if (line.find("(%rsp") != line.npos || line.find("[sp") != line.npos) n += std::regex_search(line, vector_register);
  return n;
}

// Nowhere in a kernel, not only in its loops, is a vector spilled. Exceptions, none of them in a product: 16 registers
// and instructions of two operands; two lines of a tile pooled at once (8 values beside the transform's); on AArch64 a
// constant that waits outside of the loops.
TEST(Kernel, VectorsStayInRegisters) {
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64})
    for (const Layer& l : layers()) {
      const Target target = Target::level(isa);
      const int allowed = isa == Isa::x86_64_v4 ? 0 : l.pool ? 32 : isa == Isa::x86_64_v3 ? 0 : 8;
      EXPECT_LE(vectors_on_stack(assembly_of(kernel_of(body_of(l), target), target)), allowed)
          << target.text() << " " << l.text();
    }
}

int count(const std::string& text, const std::string& word) {
  int n = 0;
  for (size_t at = 0; (at = text.find(word, at)) != text.npos; at += word.size()) ++n;
  return n;
}

// Each multiply-add of the loop nest is at most one instruction: rows x columns of the register tiles, and those that
// the factored transforms spell out, 6 of 16 and 6 of 12 instructions.
TEST(Kernel, SpendsNoMoreMultiplyAddsThanTheFormula) {
  const Target target = Target::level(Isa::x86_64_v4);
  for (const Layer& l : layers()) {
    const loop::Kernel k = kernel_of(body_of(l), target);
    int products = 0, transforms = 0;
    loop::walk(k.body, [&](const loop::Stmt& s) {
      if (s.contract) {
        int copies = s.contract->rows * s.contract->cols / 16;
        for (const auto& r : s.contract->reductions)
          if (r.unroll) copies *= static_cast<int>(r.extent->i);
        products += copies;
      }
      std::set<const loop::ExprNode*> seen;
      const std::function<void(const loop::Expr&)> visit = [&](const loop::Expr& e) {
        if (!e || !seen.insert(e.get()).second) return;
        transforms += e->kind == loop::ExprKind::fma;
        for (const loop::Expr& a : e->args) visit(a);
      };
      visit(s.value);
    });
    const bool four = l.m == 4;
    EXPECT_GT(products, 0);
    // Two input transforms (inside, at the border) of two directions; the inverse once down, once or twice across, a
    // line or a pair of lines at a time.
    EXPECT_LE(transforms, four ? 4 * 6 + (l.pool ? 5 : 3) * 6 : 0) << l.text();
    const int emitted = count(assembly_of(k, target), "vfmadd");
    EXPECT_GE(emitted, products) << l.text();
    EXPECT_LE(emitted, products + transforms) << l.text();
  }
}

}  // namespace
}  // namespace fcc::test
