#pragma once
// RecurrentScan: the part of LSTM, GRU and RNN that has to go step by step, with the projection of the inputs taken out
// of the loop. What its attributes and operands mean, for its interpreter and its lowering.
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/loop/expr.h"

namespace fcc {

enum class Cell : uint8_t { rnn, gru, lstm };

// f, g, h of ONNX with their parameters.
struct CellFunction {
  std::string name;
  double alpha = 0, beta = 0;
};
double apply(const CellFunction&, double x);
loop::Expr apply(const CellFunction&, const loop::Expr& x);
// Is it one that ONNX names?
bool is_cell_function(std::string_view name);

struct RecurrentShape {
  Cell cell = Cell::rnn;
  int64_t hidden = 1, directions = 1;
  bool reverse_first = false;           // direction 0 runs backwards; direction 1 always does
  bool reset_after = false;             // GRU: linear_before_reset
  bool couple = false;                  // LSTM: input_forget, f = 1 - i
  double clip = 0;                      // 0: none
  int64_t final_rows = 0;               // rows after the last step: 1 the last h of each sequence, 2 also the last c
  std::vector<CellFunction> functions;  // for each direction in turn

  explicit RecurrentShape(const Attrs&);
  int64_t gates() const { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }
  size_t functions_a_direction() const { return cell == Cell::lstm ? 3 : cell == Cell::gru ? 2 : 1; }
  const CellFunction& function(int64_t direction, size_t k) const {
    return functions[static_cast<size_t>(direction) * functions_a_direction() + k];
  }

  // Operands of RecurrentScan.
  enum Operand : size_t { kInput, kWeight, kHidden, kCell, kLengths, kPeephole, kBias };
};

}  // namespace fcc
