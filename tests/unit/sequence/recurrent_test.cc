// RecurrentScan and RecurrentGrad over random forms: the loop nest's machine code against the interpreter of graphs,
// for every instruction set of this machine, with sizes known and open, in f32 and f64.
#include "ir/ops/recurrent.h"

#include "tests/unit/sequence/recurrent_forms.h"

namespace fcc {
namespace {

using test::Form;
using test::kCellFunctions;
using test::OneNode;

OneNode forward(const Form& f) {
  OneNode n(f, 7);
  const int64_t d = f.directions, h = f.hidden, gates = f.gates();
  n.input(0, {n.steps(), n.batch(), d * gates * h}, 0.3);
  n.input(1, {d * gates, f.panels(), h, f.nr()}, 0.1);
  if (f.hidden_state) n.input(2, {d, n.batch(), h}, 0.3);
  if (f.cell_state && f.cell == "LSTM") n.input(3, {d, n.batch(), h}, 0.3);
  if (f.lengths) n.lengths(4);
  if (f.peephole && f.cell == "LSTM") n.input(5, {d, 3 * h}, 0.3);
  if (f.bias && f.cell == "GRU") n.input(6, {d, h}, 0.3);
  return n;
}

void check(const Form& f) { forward(f).check("RecurrentScan", 1); }

// Operands need not belong together: the kernel is a function of all of them.
void check_grad(const Form& f) {
  using R = RecurrentGradShape;
  OneNode n(f, R::kBefore + 1);
  const int64_t d = f.directions, h = f.hidden, gates = f.gates();
  n.input(R::kInput, {n.steps(), n.batch(), d * gates * h}, 0.3);
  n.input(R::kWeight, {d, f.panels(), gates * h, f.nr()}, 0.05);
  if (f.cell_state && f.cell == "LSTM") n.input(R::kCell, {d, n.batch(), h}, 0.3);
  if (f.lengths) n.lengths(R::kLengths);
  if (f.peephole && f.cell == "LSTM") n.input(R::kPeephole, {d, 3 * h}, 0.3);
  if (f.bias && f.cell == "GRU") n.input(R::kBias, {d, h}, 0.3);
  n.input(R::kProduct, {d, n.steps(), n.batch(), gates * h}, 0.2);
  n.input(R::kGradient, {n.steps() + f.final_rows, d, n.batch(), h}, 0.2);
  if (f.cell == "GRU") n.input(R::kBefore, {d, n.steps(), n.batch(), h}, 0.3);
  n.check("RecurrentGrad", f.cell == "LSTM" ? 4 : f.cell == "GRU" && f.reset_after ? 3 : 2);
}

TEST(recurrent, every_function) {
  for (size_t i = 0; i + 2 < kCellFunctions.size(); i += 3)
    for (const auto& run : {check, check_grad})
      run({.hidden = 5, .functions = {kCellFunctions[i], kCellFunctions[i + 1], kCellFunctions[i + 2]}});
  for (const auto& run : {check, check_grad}) {
    run({.cell = "RNN", .functions = {kCellFunctions[9]}});
    run({.cell = "RNN", .functions = {kCellFunctions[10]}});
    run({.cell = "GRU", .directions = 2, .functions = {"Sigmoid", "Tanh"}, .other = {"HardSigmoid", "Softsign"}});
  }
}

TEST(recurrent, register_tiles_do_not_spill) {
  for (int64_t batch : {1, 4, 32})
    for (const Form& f : {Form{.batch = batch, .hidden = 128, .directions = 2, .functions = {"Sigmoid", "Tanh", "Tanh"}},
                          Form{.cell = "GRU", .batch = batch, .hidden = 128, .functions = {"Sigmoid", "Tanh"}}})
      forward(f).check_registers("RecurrentScan", 1);
}

TEST(recurrent, random_forms) {
  std::mt19937 random(11);
  for (int i = 0; i < 24; ++i) check(test::random_form(i, random));
}

TEST(recurrent, random_forms_backwards) {
  std::mt19937 random(12);
  for (int i = 0; i < 12; ++i) check_grad(test::random_form(i, random));
}

TEST(recurrent, doubles) {
  std::mt19937 random(13);
  for (int i = 0; i < 3; ++i) {
    Form f = test::random_form(i, random);
    f.type = DType::f64;
    check(f), check_grad(f);
  }
}

}  // namespace
}  // namespace fcc
