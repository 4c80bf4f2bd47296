#pragma once
// The functions that ONNX lets a recurrent cell use (f, g, h of LSTM, GRU and RNN): their names and usual parameters,
// values and slopes for the interpreter and for loop nests. How a cell combines them is recurrent.h's matter.
#include <string>
#include <string_view>

#include "ir/loop/expr.h"

namespace fcc {

// One of them with its parameters.
struct CellFunction {
  std::string name;
  double alpha = 0, beta = 0;
  bool operator==(const CellFunction&) const = default;
};
// The function of that name in any case, with the parameters that hold when the model gives none; null when ONNX has
// no such function.
const CellFunction* find_cell_function(std::string_view name);

double apply(const CellFunction&, double x);
loop::Expr apply(const CellFunction&, const loop::Expr& x);

// The derivative; at kinks that of the activation of the same name (docs/gradients.md).
double slope(const CellFunction&, double x);
// Value and derivative, which share what they can.
struct ValueAndSlope {
  loop::Expr value, slope;
};
ValueAndSlope differentiate(const CellFunction&, const loop::Expr& x);

}  // namespace fcc
