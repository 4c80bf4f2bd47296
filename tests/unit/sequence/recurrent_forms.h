#pragma once
// Forms of recurrent layers with random operands, for the kernels of both directions through them, and a comparison of
// a kernel's machine code with the interpreter of graphs on every instruction set of this machine.
#include <gtest/gtest.h>

#include <random>

#include "backend/lower/lower.h"
#include "ir/eval.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {

struct Form {
  std::string cell = "LSTM";
  int64_t steps = 3, batch = 2, hidden = 8, directions = 1;
  bool reverse_first = false, reset_after = false, couple = false, open = false;
  bool hidden_state = false, cell_state = false, lengths = false, peephole = false, bias = false;
  double clip = 0;
  int64_t final_rows = 0;
  std::vector<std::string> functions = {};  // of one direction
  std::vector<std::string> other = {};      // of the second direction; empty: the same
  DType type = DType::f32;

  int64_t gates() const { return cell == "LSTM" ? 4 : cell == "GRU" ? 3 : 1; }
  int64_t nr() const { return hidden > 16 ? 32 : 16; }
  int64_t panels() const { return (hidden + nr() - 1) / nr(); }
  std::string text() const {
    return cell + " " + std::to_string(steps) + " steps of " + std::to_string(batch) + " x " + std::to_string(hidden) +
           (open ? " open" : "") + (type == DType::f64 ? " f64" : "");
  }
};

inline const std::vector<std::string> kCellFunctions = {
    "Relu",       "Tanh",        "Sigmoid", "Affine",   "LeakyRelu", "ThresholdedRelu",
    "ScaledTanh", "HardSigmoid", "Elu",     "Softsign", "Softplus"};

inline Form random_form(int i, std::mt19937& random) {
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
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
  return f;
}

// A graph of one node under construction, with the values of its inputs.
class OneNode {
 public:
  explicit OneNode(const Form& f, size_t operands) : f_(f), in_(operands, kNoValue) {}

  SymExpr steps() const { return f_.open ? SymExpr::symbol("S") : SymExpr(f_.steps); }
  SymExpr batch() const { return f_.open ? SymExpr::symbol("N") : SymExpr(f_.batch); }

  // scale: of values in [-4, 4].
  void input(size_t k, const Dims& dims, double scale) {
    std::vector<int64_t> shape;
    for (const SymExpr& d : dims)
      shape.push_back(d == steps()                   ? f_.steps
                      : d == batch()                 ? f_.batch
                      : d == steps() + f_.final_rows ? f_.steps + f_.final_rows
                                                     : d.constant());
    Tensor t = random(f_.type, std::move(shape), seed_++);
    for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, t.get_double(i) * scale);
    inputs_.push_back(t);
    in_[k] = g_.add_input("x" + std::to_string(k), {f_.type, dims});
  }
  void lengths(size_t k) {
    Tensor t(DType::i32, {f_.batch});
    for (int64_t i = 0; i < f_.batch; ++i) t.set_int(i, (i * 2 + 1) % (f_.steps + 1));
    inputs_.push_back(t);
    in_[k] = g_.add_input("lengths", {DType::i32, {batch()}});
  }

  void check(std::string_view name, int32_t results) {
    SCOPED_TRACE(f_.text());
    const Node kernel_node = kernel_of(name, results);
    Result<EvalResult> expected = evaluate(g_, inputs_);
    ASSERT_TRUE(expected.has_value()) << expected.error().text();
    for (const Target& target : host_targets()) run(kernel_node, target, expected->outputs);
  }

  // The register tiles of every instruction set keep off the stack.
  void check_registers(std::string_view name, int32_t results) {
    SCOPED_TRACE(f_.text());
    const Node kernel_node = kernel_of(name, results);
    for (Isa isa : {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64}) {
      const Target target = Target::level(isa);
      Result<loop::Kernel> kernel = backend::lower_kernel(g_, kernel_node, target);
      ASSERT_TRUE(kernel.has_value());
      Result<CompiledKernel> c =
          compile_kernel(*kernel, target, std::vector<std::string>{"S", "N"}, {}, "kernel", {.want_asm = true});
      ASSERT_TRUE(c.has_value());
      EXPECT_EQ(stack_traffic_in_loops(c->assembly, tile_share(isa)), 0) << target.text() << "\n" << c->assembly;
    }
  }

 private:
  Node kernel_of(std::string_view name, int32_t results) {
    std::vector<std::string> functions = f_.functions;
    const std::vector<std::string>& other = f_.other.empty() ? f_.functions : f_.other;
    if (f_.directions == 2) functions.insert(functions.end(), other.begin(), other.end());
    Result<NodeId> node = g_.add(op(name), in_,
                                 {{"cell", f_.cell},
                                  {"hidden", f_.hidden},
                                  {"directions", f_.directions},
                                  {"reverse_first", int64_t{f_.reverse_first}},
                                  {"reset_after", int64_t{f_.reset_after}},
                                  {"couple", int64_t{f_.couple}},
                                  {"clip", f_.clip},
                                  {"final_rows", f_.final_rows},
                                  {"functions", functions},
                                  {"alpha", std::vector<double>(functions.size(), 0.4)},
                                  {"beta", std::vector<double>(functions.size(), 0.6)}},
                                 {}, {}, nullptr, results);
    if (!node.has_value()) {
      ADD_FAILURE() << node.error().text();
      return {};
    }
    for (ValueId v : g_.node(*node).out) g_.add_output("y" + std::to_string(v), v);
    Node kernel_node = g_.node(*node);
    kernel_node.body = std::make_shared<Graph>(g_);
    kernel_node.in = g_.inputs();
    return kernel_node;
  }

  void run(const Node& kernel_node, const Target& target, const std::vector<Tensor>& expected) {
    Result<loop::Kernel> kernel = backend::lower_kernel(g_, kernel_node, target);
    ASSERT_TRUE(kernel.has_value());
    const Status sound = loop::verify(*kernel);
    ASSERT_TRUE(sound.has_value()) << sound.error().text();
    std::vector<Tensor> args;
    for (const Tensor& t : inputs_) args.push_back(t.reshaped({t.elements()}));
    const size_t first = args.size();
    for (const Tensor& t : expected) args.emplace_back(f_.type, std::vector<int64_t>{t.elements()});
    EXPECT_EQ(test::run(*kernel, target, args, {{"S", f_.steps}, {"N", f_.batch}}).code, 0);
    for (size_t k = 0; k < expected.size(); ++k) {
      double worst = 0;
      for (int64_t i = 0; i < expected[k].elements(); ++i)
        worst = std::max(worst, std::abs(args[first + k].get_double(i) - expected[k].get_double(i)));
      EXPECT_LT(worst, f_.type == DType::f64 ? 1e-13 : 1e-5) << target.text() << ", result " << k;
    }
  }

  const Form& f_;
  Graph g_;
  std::vector<Tensor> inputs_;
  std::vector<ValueId> in_;
  uint32_t seed_ = 3;
};

}  // namespace fcc::test
