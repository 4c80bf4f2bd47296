// RecurrentScan over random forms: the loop nest's machine code against the interpreter of graphs, for every
// instruction set of this machine, with sizes known and open.
#include <gtest/gtest.h>

#include <random>

#include "backend/lower/lower.h"
#include "ir/eval.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc {
namespace {

struct Form {
  std::string cell = "LSTM";
  int64_t steps = 3, batch = 2, hidden = 8, directions = 1;
  bool reverse_first = false, reset_after = false, couple = false, open = false;
  bool hidden_state = false, cell_state = false, lengths = false, peephole = false, bias = false;
  double clip = 0;
  int64_t final_rows = 0;
  std::vector<std::string> functions;  // of one direction; the second has them in Relu's company
};

const std::vector<std::string> kNames = {
    "Relu",       "Tanh",        "Sigmoid", "Affine",   "LeakyRelu", "ThresholdedRelu",
    "ScaledTanh", "HardSigmoid", "Elu",     "Softsign", "Softplus"};

enum class What { values, registers };

// values: results on this machine; registers: the register tiles of every instruction set keep off the stack.
void check(const Form& f, What what = What::values) {
  SCOPED_TRACE(f.cell + " " + std::to_string(f.steps) + " steps of " + std::to_string(f.batch) + " x " +
               std::to_string(f.hidden) + (f.open ? " open" : ""));
  const int64_t gates = f.cell == "LSTM"  ? 4
                        : f.cell == "GRU" ? 3
                                          : 1,
                nr = f.hidden > 16 ? 32 : 16, panels = (f.hidden + nr - 1) / nr;
  const SymExpr s = f.open ? SymExpr::symbol("S") : SymExpr(f.steps),
                n = f.open ? SymExpr::symbol("N") : SymExpr(f.batch);
  Graph g;
  std::vector<Tensor> inputs;
  std::vector<ValueId> in(7, kNoValue);
  uint32_t seed = 3;
  const auto input = [&](size_t k, const Dims& dims, std::vector<int64_t> shape, double scale) {
    Tensor t = test::random(DType::f32, std::move(shape), seed++);
    for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, t.get_double(i) * scale);
    inputs.push_back(t);
    in[k] = g.add_input("x" + std::to_string(k), {DType::f32, dims});
  };
  const int64_t d = f.directions, h = f.hidden;
  input(0, {s, n, d * gates * h}, {f.steps, f.batch, d * gates * h}, 0.3);
  input(1, {d * gates, panels, h, nr}, {d * gates, panels, h, nr}, 0.1);
  if (f.hidden_state) input(2, {d, n, h}, {d, f.batch, h}, 0.3);
  if (f.cell_state && f.cell == "LSTM") input(3, {d, n, h}, {d, f.batch, h}, 0.3);
  if (f.lengths) {
    Tensor t(DType::i32, {f.batch});
    for (int64_t i = 0; i < f.batch; ++i) t.set_int(i, (i * 2 + 1) % (f.steps + 1));
    inputs.push_back(t);
    in[4] = g.add_input("lengths", {DType::i32, {n}});
  }
  if (f.peephole && f.cell == "LSTM") input(5, {d, 3 * h}, {d, 3 * h}, 0.3);
  if (f.bias && f.cell == "GRU") input(6, {d, h}, {d, h}, 0.3);
  std::vector<std::string> functions = f.functions;
  for (int64_t k = 1; k < d; ++k) functions.insert(functions.end(), f.functions.begin(), f.functions.end());
  Result<NodeId> node = g.add(op("RecurrentScan"), in,
                              {{"cell", f.cell},
                               {"hidden", h},
                               {"directions", d},
                               {"reverse_first", int64_t{f.reverse_first}},
                               {"reset_after", int64_t{f.reset_after}},
                               {"couple", int64_t{f.couple}},
                               {"clip", f.clip},
                               {"final_rows", f.final_rows},
                               {"functions", functions},
                               {"alpha", std::vector<double>(functions.size(), 0.4)},
                               {"beta", std::vector<double>(functions.size(), 0.6)}});
  ASSERT_TRUE(node.has_value()) << node.error().text();
  g.add_output("y", g.node(*node).out[0]);
  Node kernel_node = g.node(*node);
  kernel_node.body = std::make_shared<Graph>(g);
  kernel_node.in = g.inputs();
  if (what == What::registers) {
    for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64}) {
      const Target target = Target::level(isa);
      Result<loop::Kernel> kernel = backend::lower_kernel(g, kernel_node, target);
      ASSERT_TRUE(kernel.has_value());
      Result<CompiledKernel> c = compile_kernel(*kernel, target, std::vector<std::string>{"S", "N"}, {}, "kernel", {.want_asm = true});
      ASSERT_TRUE(c.has_value());
      EXPECT_EQ(test::stack_traffic_in_loops(c->assembly, 0.3), 0) << target.text() << "\n" << c->assembly;
    }
    return;
  }
  Result<EvalResult> expected = evaluate(g, inputs);
  ASSERT_TRUE(expected.has_value()) << expected.error().text();
  for (const Target& target : test::host_targets()) {
    Result<loop::Kernel> kernel = backend::lower_kernel(g, kernel_node, target);
    ASSERT_TRUE(kernel.has_value());
    const Status sound = loop::verify(*kernel);
    ASSERT_TRUE(sound.has_value()) << sound.error().text();
    std::vector<Tensor> args;
    for (const Tensor& t : inputs) args.push_back(t.reshaped({t.elements()}));
    args.emplace_back(DType::f32, std::vector<int64_t>{expected->outputs[0].elements()});
    EXPECT_EQ(test::run(*kernel, target, args, {{"S", f.steps}, {"N", f.batch}}).code, 0);
    double worst = 0;
    for (int64_t i = 0; i < args.back().elements(); ++i)
      worst = std::max(worst, std::abs(args.back().get_double(i) - expected->outputs[0].get_double(i)));
    EXPECT_LT(worst, 1e-5) << target.text();
  }
}

TEST(recurrent, every_function) {
  for (size_t i = 0; i + 2 < kNames.size(); i += 3)
    check({.hidden = 5, .functions = {kNames[i], kNames[i + 1], kNames[i + 2]}});
  check({.cell = "RNN", .functions = {kNames[9]}});
  check({.cell = "RNN", .functions = {kNames[10]}});
}

TEST(recurrent, register_tiles_do_not_spill) {
  for (int64_t batch : {1, 4, 32}) {
    check({.batch = batch, .hidden = 128, .directions = 2, .functions = {"Sigmoid", "Tanh", "Tanh"}}, What::registers);
    check({.cell = "GRU", .batch = batch, .hidden = 128, .functions = {"Sigmoid", "Tanh"}}, What::registers);
  }
}

TEST(recurrent, random_forms) {
  std::mt19937 random(11);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int i = 0; i < 24; ++i) {
    Form f;
    f.cell = std::vector<std::string>{"LSTM", "GRU", "RNN"}[static_cast<size_t>(i % 3)];
    f.functions = f.cell == "LSTM"  ? std::vector<std::string>{"Sigmoid", "Tanh", "Tanh"}
                  : f.cell == "GRU" ? std::vector<std::string>{"Sigmoid", "Tanh"}
                                    : std::vector<std::string>{"Tanh"};
    f.steps = pick(1, 5), f.batch = pick(1, 31),
    f.hidden = std::vector<int64_t>{1, 7, 16, 17, 32, 40}[static_cast<size_t>(pick(0, 5))], f.directions = pick(1, 2);
    f.reverse_first = f.directions == 1 && pick(0, 1), f.reset_after = pick(0, 1),
    f.couple = f.cell == "LSTM" && pick(0, 1), f.open = pick(0, 1);
    f.hidden_state = pick(0, 1), f.cell_state = pick(0, 1), f.lengths = pick(0, 1), f.peephole = pick(0, 1),
    f.bias = f.reset_after && pick(0, 1);
    f.clip = pick(0, 3) == 0 ? 0.2 : 0, f.final_rows = pick(0, f.cell == "LSTM" ? 2 : 1);
    check(f);
  }
}

}  // namespace
}  // namespace fcc
