#pragma once
// The meaning of loop IR: a slow, plain interpreter, the oracle for every pass and for emitted code.
//
// Lives beside the IR because its semantic rules (expr.h, loop.h) are given here as code. Floats are computed in
// double and rounded to the expression's type after each operation; reductions and contractions accumulate in
// double and round once at the end; integers are exact and wrap to their width. Everything is evaluated eagerly,
// both arms of a select and the value of a masked store included, because vector code does the same: a load that
// may leave its buffer has to be guarded. It is not a place to be fast: no threads, one element at a time.
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "ir/base/diagnostic.h"
#include "ir/loop/loop.h"
#include "ir/tensor.h"

namespace fcc::loop {

// One scalar. Which member holds it follows from the expression's type: f for f32 and f64, i for integers
// (sign- or zero-extended to 64 bits) and for boolean (0 or 1).
union Value {
  double f;
  int64_t i;
};
inline Value float_value(double f) {
  return {.f = f};
}
inline Value int_value(int64_t i) {
  return {.i = i};
}

// An element of a tensor as an expression sees it (f16 and bf16 widen to f32), and back (rounds to the dtype).
Value read_element(const Tensor&, int64_t flat_index);
void write_element(Tensor&, int64_t flat_index, Value);

// What an expression may refer to.
struct Environment {
  std::map<VarId, Value> vars;
  std::map<std::string, int64_t> symbols;
  // The element of a buffer; null when the expression has no loads.
  std::function<Value(BufferId, std::span<const int64_t> indices)> load;
};
// The value of one expression. A variable or symbol missing from the environment is a bug of the caller.
Value evaluate(const Expr&, const Environment&);

// A formula over k variables compiled once to a flat list of instructions: for evaluating one formula over many
// elements. Formulas have no loads; symbols are fixed when compiling. Not for use from two threads at a time.
class FormulaProgram {
 public:
  FormulaProgram(const Expr& formula, std::span<const VarId> inputs,
                 const std::map<std::string, int64_t>& symbols = {});
  ~FormulaProgram();
  FormulaProgram(FormulaProgram&&) noexcept;
  FormulaProgram& operator=(FormulaProgram&&) noexcept;

  // inputs in the order given to the constructor, each of its variable's type.
  Value run(std::span<const Value> inputs);
  DType type() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs a whole kernel: args are its parameters in order (shapes may differ from the buffers' dims, element counts
// may not be smaller; dtypes must agree), symbols the values of open dimensions. A `fault` statement whose
// condition holds stops the run and is returned. Symbols defined by the kernel go to *defined_symbols.
// An index outside its buffer is a bug: the check names kernel, buffer and index.
Status evaluate(const Kernel&, std::span<Tensor* const> args, const std::map<std::string, int64_t>& symbols,
                std::map<std::string, int64_t>* defined_symbols = nullptr);

}  // namespace fcc::loop
