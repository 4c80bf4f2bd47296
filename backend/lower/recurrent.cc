#include "backend/lower/recurrent.h"

#include "backend/lower/recurrent_nest.h"
#include "ir/op.h"

namespace fcc::backend {

using loop::Expr;

namespace {

class ScanNest : RecurrentNest {
 public:
  ScanNest(const Graph& body, const Target& target) : RecurrentNest(body, target), s_(shape_), out_(results_[0]) {}

  loop::Kernel run() {
    declare();
    tasks([&](int32_t rows, const Expr& row0) { return sequences(rows, row0); });
    kernel_.name =
        cell_name() + "_" + std::string(name(type_)) + "_" + std::to_string(mr_) + "x" + std::to_string(tile_cols_);
    kernel_.flops = steps_ * batch_ * (s_.directions * s_.gates() * s_.hidden * (2 * s_.hidden + 30));
    const int64_t bytes = s_.gates() * panels_ * nr_ * s_.hidden * byte_size(type_);
    kernel_.note = "a task is " + std::to_string(mr_) + " sequences of a direction through all steps; weights " +
                   std::to_string(bytes / 1024) + " KiB, L2 has " + std::to_string(target_.l2_bytes / 1024);
    return std::move(kernel_);
  }

 private:
  using R = RecurrentShape;

  void declare() {
    h_ = scratch("h", mr_ * s_.hidden);
    gates_ = scratch("gates", mr_ * s_.gates() * width());
    if (s_.cell == Cell::lstm) c_ = scratch("c", mr_ * s_.hidden);
    if (s_.cell == Cell::gru && !s_.reset_after) kept_ = scratch("kept", mr_ * s_.hidden);
  }

  // All steps of `rows` sequences.
  loop::Block sequences(int32_t rows, const Expr& row0) {
    loop::Block b;
    b.push_back(each_row(rows, [&](const Expr& r) { return start(r, row0 + r); }));
    b.push_back(loop_over("s", loop::index(0), loop::from_sym(steps_), [&](const Expr& step) {
      loop::Block inner;
      const bool two_stages = s_.cell == Cell::gru && !s_.reset_after;
      product(inner, rows, h_, 0, two_stages ? 2 : s_.gates());
      if (two_stages) {
        inner.push_back(each_row(
            rows, [&](const Expr& r) { return by_direction([&](int64_t d) { return reset(r, row0 + r, step, d); }); }));
        product(inner, rows, kept_, 2, 1);
      }
      inner.push_back(each_row(
          rows, [&](const Expr& r) { return by_direction([&](int64_t d) { return update(r, row0 + r, step, d); }); }));
      return inner;
    }));
    if (s_.final_rows > 0) b.push_back(each_row(rows, [&](const Expr& r) { return finish(r, row0 + r); }));
    return b;
  }
  loop::Block start(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const Expr from = state_at(loop::index(0), row, j), to = r * s_.hidden + j;
      loop::Block b{loop::store(h_, {to}, has(R::kHidden) ? read(buffers_[R::kHidden], from) : number(0))};
      if (c_ >= 0) b.push_back(loop::store(c_, {to}, has(R::kCell) ? read(buffers_[R::kCell], from) : number(0)));
      return b;
    })};
  }

  // gates[r] = a[r] . R for `count` gates from `first` on.
  void product(loop::Block& b, int32_t rows, loop::BufferId a, int64_t first, int64_t count) {
    multiply(b, rows,
             {.a = a,
              .a_row = s_.hidden,
              .k = s_.hidden,
              .weights = direction_ * (s_.gates() * panels_ * s_.hidden * nr_),
              .panel_elems = s_.hidden * nr_,
              .first = first * panels_,
              .last = (first + count) * panels_,
              .to = gates_,
              .to_row = s_.gates() * width()});
  }

  // x and R h of a gate, before clipping.
  Expr gate(const Expr& r, const Expr& row, const Expr& at, int64_t which, const Expr& j, bool with_input = true) {
    const Expr sum = read(gates_, r * (s_.gates() * width()) + which * width() + j);
    if (!with_input) return sum;
    return input(row, at, which, j) + sum;
  }
  Expr input(const Expr& row, const Expr& at, int64_t which, const Expr& j) {
    return operand(R::kInput, gate_at(at, row, which, j));
  }
  Expr function(int64_t direction, size_t k, Expr x) {
    if (clips(k)) x = clipped(std::move(x));
    return fcc::apply(s_.function(direction, k), x);
  }

  // GRU with the reset in front of the product: z stays in its gate, r h goes to `kept`.
  loop::Block reset(const Expr& r, const Expr& row, const Expr& step, int64_t direction) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    b.push_back(units([&](const Expr& j) {
      const Expr value = function(direction, 0, gate(r, row, s.at, 1, j));
      return loop::Block{loop::store(kept_, {r * s_.hidden + j}, value * read(h_, r * s_.hidden + j))};
    }));
    return b;
  }

  loop::Block update(const Expr& r, const Expr& row, const Expr& step, int64_t direction) {
    loop::Block b;
    const Step s = step_of(b, row, step);
    loop::Block active{units([&](const Expr& j) {
      loop::Block inner;
      const Expr own = r * s_.hidden + j;
      const Expr next = s_.cell == Cell::lstm  ? lstm(inner, r, row, s.at, direction, j)
                        : s_.cell == Cell::gru ? gru(r, row, s.at, direction, j)
                                               : function(direction, 0, gate(r, row, s.at, 0, j));
      const Expr value = let(inner, "next", next, type_);
      inner.push_back(loop::store(h_, {own}, value));
      inner.push_back(loop::store(out_, {state_at(s.at, row, j)}, value));
      return inner;
    })};
    if (!s.inside) {
      b.insert(b.end(), active.begin(), active.end());
    } else {
      b.push_back(loop::if_then(s.inside, std::move(active), {units([&](const Expr& j) {
                                  return loop::Block{loop::store(out_, {state_at(step, row, j)}, number(0))};
                                })}));
    }
    return b;
  }

  Expr lstm(loop::Block& b, const Expr& r, const Expr& row, const Expr& at, int64_t direction, const Expr& j) {
    const Expr own = r * s_.hidden + j;
    const auto peephole = [&](Expr x, int64_t which, const Expr& cell) {
      if (!has(R::kPeephole)) return x;
      return x + read(buffers_[R::kPeephole], (direction_ * 3 + which) * s_.hidden + j) * cell;
    };
    const Expr old = let(b, "old", read(c_, own), type_);
    const Expr i = let(b, "i", function(direction, 0, peephole(gate(r, row, at, 0, j), 0, old)), type_);
    const Expr f = s_.couple ? number(1) - i : function(direction, 0, peephole(gate(r, row, at, 2, j), 2, old));
    const Expr cell = let(b, "cell", f * old + i * function(direction, 1, gate(r, row, at, 3, j)), type_);
    const Expr o = let(b, "o", function(direction, 0, peephole(gate(r, row, at, 1, j), 1, cell)), type_);
    b.push_back(loop::store(c_, {own}, cell));
    return o * function(direction, 2, cell);
  }

  Expr gru(const Expr& r, const Expr& row, const Expr& at, int64_t direction, const Expr& j) {
    const Expr z = function(direction, 0, gate(r, row, at, 0, j));
    Expr inner = gate(r, row, at, 2, j, false);
    if (s_.reset_after) {
      if (has(R::kBias)) inner = inner + read(buffers_[R::kBias], direction_ * s_.hidden + j);
      inner = inner * function(direction, 0, gate(r, row, at, 1, j));
    }
    const Expr n = function(direction, 1, input(row, at, 2, j) + inner);
    return (number(1) - z) * n + z * read(h_, r * s_.hidden + j);
  }

  loop::Block finish(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const auto to = [&](const SymExpr& position) { return state_at(loop::from_sym(position), row, j); };
      loop::Block b{loop::store(out_, {to(steps_)}, read(h_, r * s_.hidden + j))};
      if (s_.final_rows > 1) b.push_back(loop::store(out_, {to(steps_ + 1)}, read(c_, r * s_.hidden + j)));
      return b;
    })};
  }

  const RecurrentShape& s_;
  const loop::BufferId out_;
  loop::BufferId h_ = -1, c_ = -1, gates_ = -1, kept_ = -1;
};

}  // namespace

static bool is_scan(const Graph& body, std::string_view name) {
  const std::vector<NodeId> order = body.order();
  if (order.size() != 1 || body.node(order[0]).op->name != name) return false;
  const DType t = body.value(body.outputs[0]).type.dtype;
  return t == DType::f32 || t == DType::f64;
}
bool is_recurrent(const Graph& body) {
  return is_scan(body, "RecurrentScan");
}
bool is_recurrent_grad(const Graph& body) {
  return is_scan(body, "RecurrentGrad");
}

loop::Kernel lower_recurrent(const Graph& body, const Target& target) {
  return ScanNest(body, target).run();
}

}  // namespace fcc::backend
