#include "backend/lower/recurrent.h"

#include <algorithm>

#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "ir/ops/recurrent.h"

namespace fcc::backend {

using loop::Expr;
using loop::LoopKind;

namespace {

Expr f32(double v) {
  return loop::constant(DType::f32, v);
}

class ScanNest {
 public:
  ScanNest(const Graph& body, const Target& target)
      : target_(target), node_(body.node(body.order()[0])), s_(node_.attrs) {
    for (ValueId v : body.inputs())
      kernel_.add_buffer(
          {body.value(v).name, body.value(v).type.dtype, {body.value(v).type.elements()}, loop::Space::input, false});
    for (size_t k = 0; k < node_.in.size(); ++k)
      buffers_.push_back(
          node_.in[k] == kNoValue
              ? -1
              : static_cast<loop::BufferId>(std::find(body.inputs().begin(), body.inputs().end(), node_.in[k]) -
                                            body.inputs().begin()));
    const Dims &x = body.value(node_.in[0]).type.dims, &r = body.value(node_.in[1]).type.dims;
    steps_ = x[0], batch_ = x[1];
    panels_ = r[1].constant(), nr_ = r[3].constant();
    out_ = kernel_.add_buffer(
        {"out", DType::f32, {body.value(body.outputs[0]).type.elements()}, loop::Space::output, false});
    kernel_.n_params = static_cast<int32_t>(kernel_.buffers.size());
  }

  loop::Kernel run() {
    const TileShape tile = choose_tile(target_, nr_, batch_);
    mr_ = tile.rows, tile_cols_ = std::min<int64_t>(tile.cols, nr_);
    declare();
    build();
    kernel_.name = std::string(s_.cell == Cell::lstm  ? "lstm"
                               : s_.cell == Cell::gru ? "gru"
                                                      : "rnn") +
                   "_f32_" + std::to_string(mr_) + "x" + std::to_string(tile_cols_);
    kernel_.flops = steps_ * batch_ * (s_.directions * s_.gates() * s_.hidden * (2 * s_.hidden + 30));
    const int64_t bytes = s_.gates() * panels_ * nr_ * s_.hidden * 4;
    kernel_.note = "a task is " + std::to_string(mr_) + " sequences of a direction through all steps; weights " +
                   std::to_string(bytes / 1024) + " KiB, L2 has " + std::to_string(target_.l2_bytes / 1024);
    return std::move(kernel_);
  }

 private:
  using R = RecurrentShape;
  bool has(size_t k) const { return k < buffers_.size() && buffers_[k] >= 0; }
  int64_t width() const { return panels_ * nr_; }  // columns of one gate, padded to whole panels

  void declare() {
    const auto scratch = [&](const char* name, int64_t elements) {
      return kernel_.add_buffer({name, DType::f32, {elements}, loop::Space::scratch, false});
    };
    h_ = scratch("h", mr_ * s_.hidden);
    gates_ = scratch("gates", mr_ * s_.gates() * width());
    if (s_.cell == Cell::lstm) c_ = scratch("c", mr_ * s_.hidden);
    if (s_.cell == Cell::gru && !s_.reset_after) kept_ = scratch("kept", mr_ * s_.hidden);
  }

  Expr let(loop::Block& b, std::string name, Expr value, DType type = DType::i64) {
    const loop::VarId v = kernel_.add_var(std::move(name), type);
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v, type);
  }
  loop::StmtRef loop_over(const char* name, Expr lo, Expr hi, const std::function<loop::Block(Expr)>& body,
                          LoopKind kind = LoopKind::seq) {
    const loop::VarId v = kernel_.add_var(name);
    return loop::for_loop(v, std::move(lo), std::move(hi), body(loop::var(v)), kind, kind == LoopKind::vec ? 16 : 1);
  }
  loop::StmtRef units(const std::function<loop::Block(Expr)>& body) {
    return loop_over("j", loop::index(0), loop::index(s_.hidden), body, LoopKind::vec);
  }
  Expr read(loop::BufferId b, Expr at) {
    return loop::load(b, kernel_.buffers[static_cast<size_t>(b)].dtype, {std::move(at)});
  }

  void build() {
    const SymExpr row_tiles = ceildiv(batch_, mr_);
    kernel_.tiles = row_tiles * s_.directions;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    direction_ = let(b, "d", loop::mod(loop::var(t), loop::index(s_.directions)));
    const Expr tile = let(b, "rows", loop::floordiv(loop::var(t), loop::index(s_.directions)));
    for (loop::BufferId id = kernel_.n_params; id < static_cast<loop::BufferId>(kernel_.buffers.size()); ++id)
      b.push_back(loop::alloc(id));
    loop::Block scan = cover_rows(kernel_, batch_, static_cast<int32_t>(mr_), tile, tile + 1,
                                  [&](int32_t rows, const Expr& row0) { return sequences(rows, row0); });
    b.insert(b.end(), scan.begin(), scan.end());
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), LoopKind::tile)};
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
  loop::StmtRef each_row(int32_t rows, const std::function<loop::Block(Expr)>& body) {
    return loop_over("r", loop::index(0), loop::index(rows), body);
  }

  // Directions differ in their functions at most: then each has code of its own.
  loop::Block by_direction(const std::function<loop::Block(int64_t)>& make) {
    const auto same = [&](const CellFunction& a, const CellFunction& b) {
      return a.name == b.name && a.alpha == b.alpha && a.beta == b.beta;
    };
    const size_t n = s_.functions_a_direction();
    if (s_.directions == 1 || std::equal(s_.functions.begin(), s_.functions.begin() + static_cast<int64_t>(n),
                                         s_.functions.begin() + static_cast<int64_t>(n), same))
      return make(0);
    return {loop::if_then(loop::eq(direction_, loop::index(0)), make(0), make(1))};
  }

  loop::Block start(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const Expr from = (direction_ * loop::from_sym(batch_) + row) * s_.hidden + j, to = r * s_.hidden + j;
      loop::Block b{loop::store(h_, {to}, has(R::kHidden) ? read(buffers_[R::kHidden], from) : f32(0))};
      if (c_ >= 0) b.push_back(loop::store(c_, {to}, has(R::kCell) ? read(buffers_[R::kCell], from) : f32(0)));
      return b;
    })};
  }

  // gates[r, panel] = a[r] . R for the panels of `count` gates from `first` on.
  void product(loop::Block& b, int32_t rows, loop::BufferId a, int64_t first, int64_t count) {
    b.push_back(
        loop_over("p", loop::index(first * panels_), loop::index((first + count) * panels_), [&](const Expr& p) {
          loop::Block inner;
          for (int64_t half = 0; half < nr_; half += tile_cols_) {
            loop::ContractTile t;
            t.a = a, t.b = buffers_[R::kWeight];
            t.a_base = loop::index(0), t.a_row = loop::index(s_.hidden);
            t.b_base = (direction_ * (s_.gates() * panels_) + p) * (s_.hidden * nr_) + half;
            t.rows = rows, t.cols = static_cast<int32_t>(tile_cols_);
            t.k_split = choose_k_split(target_, rows, t.cols);
            t.reductions = {{loop::index(s_.hidden), loop::index(1), loop::index(nr_), false}};
            t.row_var = kernel_.add_var("r"), t.block_var = kernel_.add_var("y"), t.lane_var = kernel_.add_var("lane"),
            t.acc_var = kernel_.add_var("acc", DType::f32);
            const Expr column = p * nr_ + half + loop::var(t.block_var) * 16 + loop::var(t.lane_var);
            t.epilogue = {loop::store(gates_, {loop::var(t.row_var) * (s_.gates() * width()) + column},
                                      loop::var(t.acc_var, DType::f32))};
            inner.push_back(loop::contract(std::move(t)));
          }
          return inner;
        }));
  }

  // ---- one row of one step
  struct Step {
    Expr at;      // the step of the sequence that is read and written
    Expr inside;  // null, or: the sequence has not ended
  };
  Step step_of(loop::Block& b, const Expr& row, const Expr& step) {
    Expr length = loop::from_sym(steps_);
    Step s;
    if (has(R::kLengths)) {
      const Expr raw = loop::cast(DType::i64, read(buffers_[R::kLengths], row));
      length = let(b, "length", loop::max(loop::index(0), loop::min(raw, length)));
      s.inside = loop::lt(step, length);
    }
    const Expr backwards = length - 1 - step;
    if (s_.directions == 2) {
      s.at = loop::select(loop::eq(direction_, loop::index(1)), backwards, step);
    } else {
      s.at = s_.reverse_first ? backwards : step;
    }
    // Past the end any step inside of the tensor will do: nothing read there is used.
    if (s.inside) s.at = loop::select(s.inside, s.at, step);
    s.at = let(b, "at", s.at);
    return s;
  }
  // x and R h of a gate, before clipping.
  Expr gate(const Expr& r, const Expr& row, const Expr& at, int64_t which, const Expr& j, bool with_input = true) {
    const Expr sum = read(gates_, r * (s_.gates() * width()) + which * width() + j);
    if (!with_input) return sum;
    return input(row, at, which, j) + sum;
  }
  Expr input(const Expr& row, const Expr& at, int64_t which, const Expr& j) {
    const int64_t columns = s_.directions * s_.gates() * s_.hidden;
    return read(buffers_[R::kInput],
                (at * loop::from_sym(batch_) + row) * columns + (direction_ * s_.gates() + which) * s_.hidden + j);
  }
  Expr function(int64_t direction, size_t k, Expr x) {
    if (s_.clip > 0 && k < (s_.cell == Cell::lstm ? 2u : 9u)) x = clipped(std::move(x));
    return fcc::apply(s_.function(direction, k), x);
  }
  Expr clipped(Expr x) const { return loop::min(loop::max(std::move(x), f32(-s_.clip)), f32(s_.clip)); }

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
    const auto to = [&](const Expr& position, const Expr& j) {
      return ((position * s_.directions + direction_) * loop::from_sym(batch_) + row) * s_.hidden + j;
    };
    loop::Block active{units([&](const Expr& j) {
      loop::Block inner;
      const Expr own = r * s_.hidden + j;
      const Expr next = s_.cell == Cell::lstm  ? lstm(inner, r, row, s.at, direction, j)
                        : s_.cell == Cell::gru ? gru(r, row, s.at, direction, j)
                                               : function(direction, 0, gate(r, row, s.at, 0, j));
      const Expr value = let(inner, "next", next, DType::f32);
      inner.push_back(loop::store(h_, {own}, value));
      inner.push_back(loop::store(out_, {to(s.at, j)}, value));
      return inner;
    })};
    if (!s.inside) {
      b.insert(b.end(), active.begin(), active.end());
    } else {
      b.push_back(loop::if_then(s.inside, std::move(active), {units([&](const Expr& j) {
                                  return loop::Block{loop::store(out_, {to(step, j)}, f32(0))};
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
    const Expr old = let(b, "old", read(c_, own), DType::f32);
    const Expr i = let(b, "i", function(direction, 0, peephole(gate(r, row, at, 0, j), 0, old)), DType::f32);
    const Expr f = s_.couple ? f32(1) - i : function(direction, 0, peephole(gate(r, row, at, 2, j), 2, old));
    const Expr cell = let(b, "cell", f * old + i * function(direction, 1, gate(r, row, at, 3, j)), DType::f32);
    const Expr o = let(b, "o", function(direction, 0, peephole(gate(r, row, at, 1, j), 1, cell)), DType::f32);
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
    return (f32(1) - z) * n + z * read(h_, r * s_.hidden + j);
  }

  loop::Block finish(const Expr& r, const Expr& row) {
    return {units([&](const Expr& j) {
      const auto to = [&](const SymExpr& position) {
        return ((loop::from_sym(position) * s_.directions + direction_) * loop::from_sym(batch_) + row) * s_.hidden + j;
      };
      loop::Block b{loop::store(out_, {to(steps_)}, read(h_, r * s_.hidden + j))};
      if (s_.final_rows > 1) b.push_back(loop::store(out_, {to(steps_ + 1)}, read(c_, r * s_.hidden + j)));
      return b;
    })};
  }

  const Target& target_;
  const Node& node_;
  RecurrentShape s_;
  loop::Kernel kernel_;
  std::vector<loop::BufferId> buffers_;  // of the operands; -1 when absent
  loop::BufferId out_ = -1, h_ = -1, c_ = -1, gates_ = -1, kept_ = -1;
  SymExpr steps_, batch_;
  int64_t panels_ = 1, nr_ = 16, mr_ = 1, tile_cols_ = 16;
  Expr direction_;
};

}  // namespace

bool is_recurrent(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  return order.size() == 1 && body.node(order[0]).op->name == "RecurrentScan" &&
         body.value(body.outputs[0]).type.dtype == DType::f32;
}

loop::Kernel lower_recurrent(const Graph& body, const Target& target) {
  return ScanNest(body, target).run();
}

}  // namespace fcc::backend
