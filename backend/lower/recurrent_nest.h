#pragma once
// What the two directions through a recurrent layer share: buffers of the operands, loops over a block of sequences and
// their steps, the small products with packed weights. A task is a block of sequences of one direction; it owns their
// rows of every result. Which formulas a step has is ScanNest's (recurrent.cc) and GradNest's (recurrent_grad.cc).
#include <functional>

#include "ir/graph.h"
#include "ir/loop/loop.h"
#include "ir/ops/recurrent.h"
#include "ir/target.h"

namespace fcc::backend {

class RecurrentNest {
 protected:
  using Expr = loop::Expr;

  RecurrentNest(const Graph& body, const Target& target);

  bool has(size_t k) const { return k < buffers_.size() && buffers_[k] >= 0; }
  int64_t width() const { return panels_ * nr_; }  // columns of a product of all hidden units, in whole panels
  Expr number(double v) const { return loop::constant(type_, v); }

  // ---- statements
  loop::BufferId scratch(const char* name, int64_t elements) {
    return kernel_.add_buffer({name, type_, {elements}, loop::Space::scratch, false});
  }
  Expr let(loop::Block& b, std::string name, Expr value, DType type);
  Expr let(loop::Block& b, std::string name, Expr value) {
    return let(b, std::move(name), std::move(value), DType::i64);
  }
  loop::StmtRef loop_over(const char* name, Expr lo, Expr hi, const std::function<loop::Block(Expr)>& body,
                          loop::LoopKind kind = loop::LoopKind::seq);
  loop::StmtRef units(const std::function<loop::Block(Expr)>& body) {
    return loop_over("j", loop::index(0), loop::index(shape_.hidden), body, loop::LoopKind::vec);
  }
  loop::StmtRef each_row(int32_t rows, const std::function<loop::Block(Expr)>& body) {
    return loop_over("r", loop::index(0), loop::index(rows), body);
  }
  // Directions differ in their functions at most: then each has code of its own.
  loop::Block by_direction(const std::function<loop::Block(int64_t)>& make);
  Expr read(loop::BufferId b, Expr at) {
    return loop::load(b, kernel_.buffers[static_cast<size_t>(b)].dtype, {std::move(at)});
  }
  Expr operand(size_t k, Expr at) { return read(buffers_[k], std::move(at)); }

  // The loop over tasks around the code for `rows` sequences from row0 on.
  void tasks(const std::function<loop::Block(int32_t rows, const Expr& row0)>& sequences);

  // to[r, column of a panel] = (what is there +) a[r] . weights, for panels [first, last).
  struct Product {
    loop::BufferId a = -1;
    int64_t a_first = 0, a_row = 0;  // where row 0 starts, and how far rows are apart
    int64_t k = 0;
    Expr weights;             // where the first panel of all starts
    int64_t panel_elems = 0;  // how far panels are apart
    int64_t first = 0, last = 0;
    loop::BufferId to = -1;
    int64_t to_row = 0;
    bool adds = false;
  };
  void multiply(loop::Block&, int32_t rows, const Product&);

  // ---- one row of one step
  struct Step {
    Expr at;      // the step of the sequence that is read and written
    Expr inside;  // null, or: the sequence has not ended
  };
  Step step_of(loop::Block& b, const Expr& row, const Expr& step);
  // Of [rows,directions,batch,hidden].
  Expr state_at(const Expr& position, const Expr& row, const Expr& j) const {
    return ((position * shape_.directions + direction_) * loop::from_sym(batch_) + row) * shape_.hidden + j;
  }
  // Of [steps,batch,directions gates hidden].
  Expr gate_at(const Expr& at, const Expr& row, int64_t which, const Expr& j) const {
    const int64_t columns = shape_.directions * shape_.gates() * shape_.hidden;
    return (at * loop::from_sym(batch_) + row) * columns + (direction_ * shape_.gates() + which) * shape_.hidden + j;
  }
  bool clips(size_t k) const { return shape_.clip > 0 && !(shape_.cell == Cell::lstm && k == 2); }
  Expr clipped(Expr x) const { return loop::min(loop::max(std::move(x), number(-shape_.clip)), number(shape_.clip)); }

  std::string cell_name() const;

  const Target& target_;
  const Node& node_;
  RecurrentGradShape shape_;
  DType type_;
  loop::Kernel kernel_;
  std::vector<loop::BufferId> buffers_, results_;  // of the operands (-1 when absent) and results
  SymExpr steps_, batch_;
  int64_t panels_ = 1, nr_ = 16, mr_ = 1, tile_cols_ = 16;
  Expr direction_;
};

}  // namespace fcc::backend
