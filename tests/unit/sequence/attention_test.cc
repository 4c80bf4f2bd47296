// FusedAttention over random shapes: the loop nest against the interpreter of graphs, and its machine code against the
// interpreter of loops, for every instruction set of this machine, with sizes known and open.
#include "ir/ops/attention.h"

#include <gtest/gtest.h>

#include <random>

#include "backend/lower/lower.h"
#include "ir/base/check.h"
#include "ir/eval.h"
#include "ir/loop/eval.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/count_macs.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc {
namespace {

struct Form {
  int64_t batch = 1, heads = 1, rows = 1, columns = 1, depth = 4, value_depth = 4, kv_group = 1;
  bool causal = false, merged = false, open = false;
  bool sequence_first = false;  // the result as [rows, batch, heads, depth]
  std::vector<std::vector<int64_t>> biases;
  double scale = 0.1;  // scores stay small: softmax turns their absolute errors into relative ones
};

// Projections as exporters leave them: [batch, rows, heads * depth], or one tensor of all three.
struct Program {
  Graph graph;
  std::vector<Tensor> inputs;
  std::map<std::string, int64_t> symbols;
};

Program program(const Form& f) {
  Program p;
  const SymExpr n = f.open ? SymExpr::symbol("N") : SymExpr(f.batch),
                s = f.open ? SymExpr::symbol("S") : SymExpr(f.rows);
  const SymExpr t = f.merged || f.rows == f.columns ? s : f.open ? SymExpr::symbol("T") : SymExpr(f.columns);
  if (f.open) p.symbols = {{"N", f.batch}, {"S", f.rows}, {"T", f.columns}};
  const int64_t kv = f.heads / f.kv_group, wq = f.heads * f.depth, wk = kv * f.depth, wv = kv * f.value_depth;
  const int64_t width = f.merged ? wq + wk + wv : 0;
  uint32_t seed = 1;
  const auto input = [&](const char* name, const Dims& dims, std::vector<int64_t> shape) {
    p.inputs.push_back(test::random(DType::f32, std::move(shape), seed++));
    return p.graph.add_input(name, {DType::f32, dims});
  };
  std::vector<ValueId> in;
  if (f.merged) {
    in.assign(3, input("qkv", {n, s, width}, {f.batch, f.rows, width}));
  } else {
    in.push_back(input("q", {n, s, wq}, {f.batch, f.rows, wq}));
    in.push_back(input("k", {n, t, wk}, {f.batch, f.columns, wk}));
    in.push_back(input("v", {n, t, wv}, {f.batch, f.columns, wv}));
  }
  const auto view = [&](int64_t offset, const SymExpr& rows, int64_t own, int64_t head) {
    const SymExpr w = f.merged ? width : own;
    return Dims{offset, rows * w, head, w};
  };
  const int64_t ow = f.heads * f.value_depth;
  Attrs attrs{{"batch", Dims{n}},
              {"heads", Dims{f.heads}},
              {"rows", Dims{s}},
              {"columns", Dims{t}},
              {"depth", f.depth},
              {"value_depth", f.value_depth},
              {"kv_group", f.kv_group},
              {"scale", f.scale},
              {"causal", int64_t{f.causal}},
              {"q", view(0, s, wq, f.depth)},
              {"k", view(f.merged ? wq : 0, t, wk, f.depth)},
              {"v", view(f.merged ? wq + wk : 0, t, wv, f.value_depth)},
              {"out", f.sequence_first ? Dims{0, ow, f.value_depth, n * ow} : Dims{0, s * ow, f.value_depth, ow}},
              {"shape", f.sequence_first ? Dims{s, n, ow} : Dims{n, s, ow}}};
  for (const auto& b : f.biases) {
    Dims dims;
    for (int64_t e : b)
      dims.push_back(f.open && e == f.rows && e != 1 ? s : f.open && e == f.columns && e != 1 ? t : SymExpr(e));
    in.push_back(input("bias", dims, b));
  }
  Result<NodeId> node = p.graph.add(op("FusedAttention"), in, std::move(attrs));
  EXPECT_TRUE(node.has_value()) << node.error().text();
  p.graph.add_output("y", p.graph.node(*node).out[0]);
  return p;
}

// The kernel that fusion makes of it.
loop::Kernel lowered(const Program& p, const Target& target) {
  Node node = p.graph.node(p.graph.order()[0]);
  node.body = std::make_shared<Graph>(p.graph);
  node.in = p.graph.inputs();
  Result<loop::Kernel> kernel = backend::lower_kernel(p.graph, node, target);
  FCC_CHECK(kernel.has_value(), "{}", kernel.error().text());
  return std::move(*kernel);
}

void check(const Form& f) {
  Program p = program(f);
  SCOPED_TRACE(std::to_string(f.batch) + "x" + std::to_string(f.heads) + " heads, " + std::to_string(f.rows) + "x" +
               std::to_string(f.columns) + " scores, depth " + std::to_string(f.depth) + "/" +
               std::to_string(f.value_depth) + (f.causal ? " causal" : "") + (f.merged ? " merged" : "") +
               (f.open ? " open" : ""));
  Result<EvalResult> expected = evaluate(p.graph, p.inputs);
  ASSERT_TRUE(expected.has_value()) << expected.error().text();
  for (const Target& target : test::host_targets()) {
    const loop::Kernel kernel = lowered(p, target);
    const Status sound = loop::verify(kernel);
    ASSERT_TRUE(sound.has_value()) << sound.error().text();
    // Buffers of the kernel are flat.
    std::vector<Tensor> args;
    for (size_t i = 0; i < p.inputs.size(); ++i)
      args.push_back(kernel.buffers[i].dims.size() == 1 ? p.inputs[i].reshaped({p.inputs[i].elements()}) : [&] {
        std::vector<int64_t> shape = p.inputs[i].shape();
        while (shape.size() < 4) shape.insert(shape.begin(), 1);
        return p.inputs[i].reshaped(shape);
      }());
    args.emplace_back(DType::f32, std::vector<int64_t>{expected->outputs[0].elements()});
    const test::RunResult done = test::run(kernel, target, args, p.symbols);
    EXPECT_EQ(done.code, 0);
    double worst = 0;
    for (int64_t i = 0; i < args.back().elements(); ++i) {
      const double got = args.back().get_double(i), want = expected->outputs[0].get_double(i);
      worst = std::max(worst, std::isnan(got) && std::isnan(want) ? 0
                              : std::isnan(got - want)            ? 1e9
                                                                  : std::abs(got - want));
    }
    EXPECT_LT(worst, 2e-5) << target.text();
  }
}

TEST(attention, edges_of_tiles_and_panels) {
  for (int64_t rows : {1, 7, 15, 33})
    for (int64_t columns : {1, 16, 17, 33, 64})
      check({.batch = 1, .heads = 2, .rows = rows, .columns = columns, .depth = 5, .value_depth = 3});
  for (int64_t depth : {1, 16, 40, 64})
    check({.batch = 2, .heads = 1, .rows = 9, .columns = 20, .depth = depth, .value_depth = depth});
}

TEST(attention, open_sizes_and_long_rows) {
  for (int64_t size : {1, 3, 12, 31, 100})
    check({.batch = 2, .heads = 2, .rows = size, .columns = size, .depth = 8, .value_depth = 8, .open = true});
  check({.batch = 1, .heads = 1, .rows = 5, .columns = 600, .depth = 8, .value_depth = 8});
  check({.batch = 1,
         .heads = 1,
         .rows = 300,
         .columns = 300,
         .depth = 4,
         .value_depth = 20,
         .causal = true,
         .open = true});
  check({.batch = 1,
         .heads = 1,
         .rows = 7,
         .columns = 530,
         .depth = 4,
         .value_depth = 4,
         .open = true,
         .biases = {{1, 1, 7, 530}}});
  check({.batch = 3,
         .heads = 1,
         .rows = 600,
         .columns = 600,
         .depth = 4,
         .value_depth = 4,
         .causal = true,
         .merged = true});
}

TEST(attention, random_forms) {
  std::mt19937 random(7);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int i = 0; i < 16; ++i) {
    Form f;
    f.kv_group = pick(1, 2), f.batch = pick(1, 4), f.heads = f.kv_group * pick(1, 3), f.rows = pick(1, 50);
    f.merged = pick(0, 1), f.causal = pick(0, 3) == 0, f.open = pick(0, 1), f.sequence_first = pick(0, 1);
    f.columns = f.merged || f.causal ? f.rows : pick(1, 70);
    f.depth = pick(1, 40), f.value_depth = pick(1, 40), f.scale = f.depth < 3 ? 1 : 0.05;
    if (pick(0, 1)) f.biases.push_back({f.batch, 1, 1, f.columns});
    if (pick(0, 1)) f.biases.push_back({f.batch % 2 == 0 ? f.batch / 2 : 1, f.heads, f.rows, f.columns});
    check(f);
  }
}

// A row that every mask hides has no softmax; one that is hidden only in the first block has.
TEST(attention, hidden_columns) {
  for (bool open : {false, true}) {
    Form f{.batch = 1,
           .heads = 1,
           .rows = 3,
           .columns = 600,
           .depth = 4,
           .value_depth = 4,
           .open = open,
           .biases = {{1, 1, 3, 600}}};
    Program p = program(f);
    Tensor& bias = p.inputs.back();
    for (int64_t j = 0; j < 600; ++j) {
      bias.set_double(j, j < 400 ? -HUGE_VAL : 0);
      bias.set_double(600 + j, -HUGE_VAL);
    }
    Result<EvalResult> expected = evaluate(p.graph, p.inputs);
    for (const Target& target : test::host_targets()) {
      const loop::Kernel kernel = lowered(p, target);
      std::vector<Tensor> args;
      for (size_t i = 0; i < 3; ++i) args.push_back(p.inputs[i].reshaped({p.inputs[i].elements()}));
      args.push_back(bias);
      args.emplace_back(DType::f32, std::vector<int64_t>{12});
      test::run(kernel, target, args, p.symbols);
      for (int64_t i = 0; i < 12; ++i) {
        const double got = args.back().get_double(i), want = expected->outputs[0].get_double(i);
        EXPECT_EQ(std::isnan(got), std::isnan(want)) << i;
        if (!std::isnan(want)) {
          EXPECT_NEAR(got, want, 1e-5);
        }
      }
    }
  }
}

// The register tiles of BERT, Swin's windows and GPT keep everything in registers; BERT multiplies no column twice and none
// that is not there. Not asked of AArch64: constants of the exponential stay in registers over the tiles there, and LLVM
// then keeps one accumulator of BERT's 6x16 on the stack (of 5x16, four).
TEST(attention, register_tiles_do_not_spill) {
  const Form bert{.batch = 1, .heads = 12, .rows = 128, .columns = 128, .depth = 64, .value_depth = 64, .merged = true};
  const Form swin{.batch = 64, .heads = 3, .rows = 49, .columns = 49, .depth = 32, .value_depth = 32, .biases = {{1, 3, 49, 49}}};
  const Form gpt{.batch = 1, .heads = 6, .rows = 128, .columns = 128, .depth = 64, .value_depth = 64, .causal = true, .merged = true, .open = true};
  for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4})
    for (const Form* f : {&bert, &swin, &gpt}) {
      const Target target = Target::level(isa);
      const Program p = program(*f);
      const loop::Kernel kernel = lowered(p, target);
      Result<CompiledKernel> c = compile_kernel(kernel, target, std::vector<std::string>{"N", "S", "T"}, {}, "kernel", {.want_asm = true});
      ASSERT_TRUE(c.has_value());
      EXPECT_EQ(test::stack_traffic_in_loops(c->assembly, test::tile_share(isa)), 0) << target.text() << " " << kernel.name << "\n" << c->assembly;
      if (f == &bert) {
        EXPECT_EQ(test::count_macs(kernel), 12 * 128 * 128 * (64 + 64)) << target.text();
      }
    }
}

}  // namespace
}  // namespace fcc
