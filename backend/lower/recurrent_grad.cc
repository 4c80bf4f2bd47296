#include "backend/lower/recurrent.h"
#include "backend/lower/recurrent_nest.h"
#include "ir/op.h"

namespace fcc::backend {

using loop::Expr;

namespace {

// The formulas are those of ir/ops/recurrent_grad.cc. Scratch of a task, a row a sequence: dh (in whole panels, so that
// a product can be added to it), dc, and the gradients of the gates of one step, which the next product reads.
class GradNest : RecurrentNest {
 public:
  GradNest(const Graph& body, const Target& target) : RecurrentNest(body, target), s_(shape_) {}

  loop::Kernel run() {
    declare();
    tasks([&](int32_t rows, const Expr& row0) { return sequences(rows, row0); });
    kernel_.name = cell_name() + "_grad_" + std::string(name(type_)) + "_" + std::to_string(mr_) + "x" +
                   std::to_string(tile_cols_);
    kernel_.flops = steps_ * batch_ * (s_.directions * s_.gates() * s_.hidden * (2 * s_.hidden + 60));
    kernel_.note = "a task is " + std::to_string(mr_) + " sequences of a direction, from the last step to the first";
    return std::move(kernel_);
  }

 private:
  using R = RecurrentGradShape;
  bool two_stages() const { return s_.cell == Cell::gru && !s_.reset_after; }
  int64_t gate_row() const { return s_.gates() * s_.hidden; }

  void declare() {
    dh_ = scratch("dh", mr_ * width());
    gates_ = scratch("gates", mr_ * gate_row());
    if (s_.cell == Cell::lstm) dc_ = scratch("dc", mr_ * s_.hidden), before_ = scratch("before", mr_ * s_.hidden);
    if (two_stages()) kept_ = scratch("kept", mr_ * width());
  }

  using EachRow = loop::Block (GradNest::*)(const Expr& r, const Expr& row, const Expr& step, int64_t direction);
  loop::StmtRef rows_of(int32_t rows, const Expr& row0, const Expr& step, EachRow what) {
    return each_row(rows, [&](const Expr& r) {
      return by_direction([&](int64_t d) { return (this->*what)(r, row0 + r, step, d); });
    });
  }

  // All steps of `rows` sequences.
  loop::Block sequences(int32_t rows, const Expr& row0) {
    loop::Block b;
    const Expr steps = loop::from_sym(steps_);
    if (s_.cell == Cell::lstm) {
      b.push_back(each_row(rows, [&](const Expr& r) { return load_first_cell(r, row0 + r); }));
      b.push_back(loop_over("s", loop::index(0), steps, [&](const Expr& step) {
        return loop::Block{rows_of(rows, row0, step, &GradNest::forward)};
      }));
    }
    b.push_back(each_row(rows, [&](const Expr& r) { return start(r, row0 + r); }));
    b.push_back(loop_over("s", loop::index(0), steps, [&](const Expr& s) {
      loop::Block inner;
      const Expr step = let(inner, "step", steps - 1 - s);
      if (s_.cell == Cell::lstm)
        inner.push_back(each_row(rows, [&](const Expr& r) { return load_cell_before(r, row0 + r, step); }));
      inner.push_back(rows_of(rows, row0, step, &GradNest::back));
      if (two_stages()) {
        product(inner, rows, 2, 1, kept_);
        inner.push_back(rows_of(rows, row0, step, &GradNest::through_reset));
      }
      product(inner, rows, 0, two_stages() ? 2 : s_.gates(), dh_);
      return inner;
    }));
    b.push_back(each_row(rows, [&](const Expr& r) { return finish(r, row0 + r); }));
    return b;
  }

  // gates[r] . R of `count` gates from `first` on: into kept, or added to dh.
  void product(loop::Block& b, int32_t rows, int64_t first, int64_t count, loop::BufferId to) {
    multiply(b, rows,
             {.a = gates_,
              .a_first = first * s_.hidden,
              .a_row = gate_row(),
              .k = count * s_.hidden,
              .weights = direction_ * (panels_ * gate_row() * nr_) + first * s_.hidden * nr_,
              .panel_elems = gate_row() * nr_,
              .first = 0,
              .last = panels_,
              .to = to,
              .to_row = width(),
              .adds = to == dh_});
  }

  // ---- the ends of the loop over steps
  loop::Block start(const Expr& r, const Expr& row) {
    loop::Block b;
    b.push_back(loop_over(
        "j", loop::index(0), loop::index(width()),
        [&](const Expr& j) { return loop::Block{loop::store(dh_, {r * width() + j}, number(0))}; },
        loop::LoopKind::vec));
    const auto final = [&](int64_t k, const Expr& j) {
      if (s_.final_rows <= k) return number(0);
      return operand(R::kGradient, state_at(loop::from_sym(steps_ + k), row, j));
    };
    if (s_.final_rows == 0 && dc_ < 0) return b;
    b.push_back(units([&](const Expr& j) {
      loop::Block inner{loop::store(dh_, {r * width() + j}, final(0, j))};
      if (dc_ >= 0) inner.push_back(loop::store(dc_, {r * s_.hidden + j}, final(1, j)));
      return inner;
    }));
    return b;
  }
  loop::Block finish(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const Expr to = state_at(loop::index(0), row, j);
      loop::Block b{loop::store(results_[R::kHiddenGrad], {to}, read(dh_, r * width() + j))};
      if (dc_ >= 0) b.push_back(loop::store(results_[R::kCellGrad], {to}, read(dc_, r * s_.hidden + j)));
      return b;
    })};
  }

  // ---- one row of one step
  // Code for a sequence that has not ended, or zeros into the results of a step past its end.
  loop::Block if_inside(loop::Block b, const Step& s, loop::Block active, loop::Block ended) {
    if (s.inside) {
      b.push_back(loop::if_then(s.inside, std::move(active), std::move(ended)));
    } else {
      b.insert(b.end(), active.begin(), active.end());
    }
    return b;
  }

  Expr product_of(const Expr& row, const Expr& at, int64_t which, const Expr& j) {
    const Expr step = direction_ * loop::from_sym(steps_) + at;
    return operand(R::kProduct, (step * loop::from_sym(batch_) + row) * gate_row() + which * s_.hidden + j);
  }
  Expr input(const Expr& row, const Expr& at, int64_t which, const Expr& j) {
    return operand(R::kInput, gate_at(at, row, which, j));
  }
  Expr peephole(int64_t which, const Expr& j) {
    return operand(R::kPeephole, (direction_ * 3 + which) * s_.hidden + j);
  }
  ValueAndSlope function(int64_t direction, size_t k, const Expr& x) {
    if (!clips(k)) return differentiate(s_.function(direction, k), x);
    const Expr at = clipped(x);
    const ValueAndSlope f = differentiate(s_.function(direction, k), at);
    return {f.value, loop::select(loop::eq(at, x), f.slope, number(0))};
  }
  ValueAndSlope gate(int64_t direction, size_t k, const Expr& row, const Expr& at, int64_t which, const Expr& j) {
    return function(direction, k, input(row, at, which, j) + product_of(row, at, which, j));
  }
  // One of the LSTM's gates, which may look at a cell state.
  ValueAndSlope looking_gate(int64_t direction, const Expr& row, const Expr& at, int64_t which, const Expr& j,
                             int64_t hole, const Expr& cell) {
    Expr x = input(row, at, which, j) + product_of(row, at, which, j);
    if (has(R::kPeephole)) x = x + peephole(hole, j) * cell;
    return function(direction, 0, x);
  }
  struct LstmGates {
    ValueAndSlope i, f, g;
    Expr before, cell;
  };
  LstmGates lstm_gates(loop::Block& b, const Expr& r, const Expr& row, const Expr& at, int64_t d, const Expr& j) {
    LstmGates x;
    x.before = let(b, "before", read(before_, r * s_.hidden + j), type_);
    x.i = looking_gate(d, row, at, 0, j, 0, x.before);
    x.f = s_.couple ? ValueAndSlope{number(1) - x.i.value, number(0)} : looking_gate(d, row, at, 2, j, 2, x.before);
    x.g = gate(d, 1, row, at, 3, j);
    x.cell = x.f.value * x.before + x.i.value * x.g.value;
    return x;
  }

  // before = the first cell state; then, a step forward, cells = before = the next one.
  loop::Block load_first_cell(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const Expr c = has(R::kCell) ? operand(R::kCell, state_at(loop::index(0), row, j)) : number(0);
      return loop::Block{loop::store(before_, {r * s_.hidden + j}, c)};
    })};
  }
  loop::Block forward(const Expr& r, const Expr& row, const Expr& step, int64_t direction) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    const auto cells_at = [&](const Expr& at, const Expr& j) { return state_at(at, row, j); };
    return if_inside(std::move(b), s, {units([&](const Expr& j) {
                       loop::Block inner;
                       const Expr value = let(inner, "cell", lstm_gates(inner, r, row, s.at, direction, j).cell, type_);
                       inner.push_back(loop::store(before_, {r * s_.hidden + j}, value));
                       inner.push_back(loop::store(results_[R::kCells], {cells_at(s.at, j)}, value));
                       return inner;
                     })},
                     {units([&](const Expr& j) {
                       return loop::Block{loop::store(results_[R::kCells], {cells_at(step, j)}, number(0))};
                     })});
  }
  // before = the cell state before this step: what `cells` has at the step before it in time, or the first.
  loop::Block load_cell_before(const Expr& r, const Expr& row, const Expr& step) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    Expr earlier = s_.reverse_first ? s.at + 1 : s.at - 1;
    if (s_.directions == 2) earlier = loop::select(loop::eq(direction_, loop::index(1)), s.at + 1, s.at - 1);
    loop::Block later{units([&](const Expr& j) {
      return loop::Block{
          loop::store(before_, {r * s_.hidden + j}, read(results_[R::kCells], state_at(earlier, row, j)))};
    })};
    if (s.inside) later = {loop::if_then(s.inside, std::move(later))};
    b.push_back(loop::if_then(loop::binary(loop::BinaryOp::gt, step, loop::index(0)), std::move(later),
                              load_first_cell(r, row)));
    return b;
  }

  // The gradients of the gates of one step: into scratch and results; dh keeps what does not go through R.
  loop::Block back(const Expr& r, const Expr& row, const Expr& step, int64_t direction) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    return if_inside(std::move(b), s, {units([&](const Expr& j) {
                       loop::Block inner;
                       const Expr own = r * width() + j;
                       const Expr dh =
                           let(inner, "dh", read(dh_, own) + operand(R::kGradient, state_at(s.at, row, j)), type_);
                       Expr carry = number(0);
                       if (s_.cell == Cell::lstm) {
                         lstm(inner, r, row, s.at, direction, j, dh);
                       } else if (s_.cell == Cell::gru) {
                         carry = gru(inner, r, row, s.at, direction, j, dh);
                       } else {
                         give(inner, r, row, s.at, 0, j, dh * gate(direction, 0, row, s.at, 0, j).slope);
                       }
                       inner.push_back(loop::store(dh_, {own}, carry));
                       return inner;
                     })},
                     {units([&](const Expr& j) {
                       loop::Block inner;
                       for (int64_t g = 0; g < s_.gates(); ++g) give(inner, r, row, step, g, j, number(0));
                       return inner;
                     })});
  }

  // A gate's gradient: of the input, and where it differs of the product with R, which is what goes on.
  void give(loop::Block& b, const Expr& r, const Expr& row, const Expr& at, int64_t which, const Expr& j,
            const Expr& dx, const Expr& dq = nullptr) {
    const Expr to = gate_at(at, row, which, j), d = let(b, "d", dx, type_), back = dq ? let(b, "dq", dq, type_) : d;
    b.push_back(loop::store(results_[R::kInputGrad], {to}, d));
    if (s_.gives_product()) b.push_back(loop::store(results_[R::kProductGrad], {to}, back));
    b.push_back(loop::store(gates_, {r * gate_row() + which * s_.hidden + j}, back));
  }

  void lstm(loop::Block& b, const Expr& r, const Expr& row, const Expr& at, int64_t direction, const Expr& j,
            const Expr& dh) {
    const Expr own = r * s_.hidden + j;
    LstmGates x = lstm_gates(b, r, row, at, direction, j);
    for (ValueAndSlope* f : {&x.i, &x.f, &x.g})
      f->value = let(b, "value", f->value, type_), f->slope = let(b, "slope", f->slope, type_);
    if (s_.couple) x.f.value = number(1) - x.i.value;
    const Expr cell = let(b, "cell", x.f.value * x.before + x.i.value * x.g.value, type_);
    const ValueAndSlope h = function(direction, 2, cell), o = looking_gate(direction, row, at, 1, j, 1, cell);
    const Expr d_o = let(b, "do", dh * h.value * o.slope, type_);
    Expr dc = read(dc_, own) + dh * o.value * h.slope;
    if (has(R::kPeephole)) dc = dc + d_o * peephole(1, j);
    dc = let(b, "dc", dc, type_);
    const Expr d_i = let(b, "di", dc * (s_.couple ? x.g.value - x.before : x.g.value) * x.i.slope, type_);
    const Expr d_f = let(b, "df", dc * x.before * x.f.slope, type_);
    Expr next = dc * x.f.value;
    if (has(R::kPeephole)) next = next + d_i * peephole(0, j) + d_f * peephole(2, j);
    give(b, r, row, at, 0, j, d_i);
    give(b, r, row, at, 1, j, d_o);
    give(b, r, row, at, 2, j, d_f);
    give(b, r, row, at, 3, j, dc * x.i.value * x.g.slope);
    b.push_back(loop::store(dc_, {own}, next));
  }

  Expr state_before(const Expr& row, const Expr& at, const Expr& j) {
    const Expr step = direction_ * loop::from_sym(steps_) + at;
    return operand(R::kBefore, (step * loop::from_sym(batch_) + row) * s_.hidden + j);
  }
  // What of dh goes on to the step before beside R.
  Expr gru(loop::Block& b, const Expr& r, const Expr& row, const Expr& at, int64_t direction, const Expr& j,
           const Expr& dh) {
    const ValueAndSlope z = gate(direction, 0, row, at, 0, j);
    Expr inner = product_of(row, at, 2, j);
    ValueAndSlope reset;
    if (s_.reset_after) {
      reset = gate(direction, 0, row, at, 1, j);
      if (has(R::kBias)) inner = inner + operand(R::kBias, direction_ * s_.hidden + j);
    }
    const ValueAndSlope n = function(direction, 1, input(row, at, 2, j) + (reset.value ? reset.value * inner : inner));
    const Expr d_n = let(b, "dn", dh * (number(1) - z.value) * n.slope, type_);
    give(b, r, row, at, 0, j, dh * (state_before(row, at, j) - n.value) * z.slope);
    if (s_.reset_after) {
      give(b, r, row, at, 1, j, d_n * inner * reset.slope);
      give(b, r, row, at, 2, j, d_n, d_n * reset.value);
    } else {
      give(b, r, row, at, 2, j, d_n);
    }
    return dh * z.value;
  }
  // GRU with the reset in front of the product: `kept` is the gradient of r h.
  loop::Block through_reset(const Expr& r, const Expr& row, const Expr& step, int64_t direction) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    return if_inside(std::move(b), s, {units([&](const Expr& j) {
                       loop::Block inner;
                       const Expr own = r * width() + j;
                       const Expr kept = let(inner, "kept", read(kept_, own), type_);
                       const ValueAndSlope reset = gate(direction, 0, row, s.at, 1, j);
                       give(inner, r, row, s.at, 1, j, kept * state_before(row, s.at, j) * reset.slope);
                       inner.push_back(loop::store(dh_, {own}, read(dh_, own) + kept * reset.value));
                       return inner;
                     })},
                     {});
  }

  const RecurrentGradShape& s_;
  loop::BufferId dh_ = -1, dc_ = -1, gates_ = -1, before_ = -1, kept_ = -1;
};

}  // namespace

loop::Kernel lower_recurrent_grad(const Graph& body, const Target& target) {
  return GradNest(body, target).run();
}

}  // namespace fcc::backend
