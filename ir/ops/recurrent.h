#pragma once
// RecurrentScan: the part of LSTM, GRU and RNN that has to go step by step, with the projection of the inputs taken out
// of the loop; and RecurrentGrad, the way back through its steps. What their attributes and operands mean, for
// interpreter and lowering.
#include <string>
#include <vector>

#include "ir/op.h"
#include "ir/ops/cell_function.h"

namespace fcc {

enum class Cell : uint8_t { rnn, gru, lstm };

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

  // The functions of direction 1 are those of direction 0.
  bool directions_alike() const;

  // Operands of RecurrentScan.
  enum Operand : size_t { kInput, kWeight, kHidden, kCell, kLengths, kPeephole, kBias };
};

// RecurrentGrad has the attributes of the scan that it goes back through.
std::vector<AttrSpec> recurrent_attrs();

// Operands of RecurrentGrad: those of the scan, and what the graph around it makes for all steps at once.
struct RecurrentGradShape : RecurrentShape {
  using RecurrentShape::RecurrentShape;
  enum GradOperand : size_t { kProduct = kBias + 1, kGradient, kBefore };
  bool gives_product() const { return cell == Cell::gru && reset_after; }
  // Results: dx, dh0, then the LSTM's dc0 and cells, or the GRU's dq.
  enum Result : size_t { kInputGrad, kHiddenGrad, kCellGrad, kCells, kProductGrad = 2 };
  size_t results() const { return cell == Cell::lstm ? 4 : gives_product() ? 3 : 2; }
};

}  // namespace fcc
