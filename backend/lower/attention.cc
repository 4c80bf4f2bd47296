#include "backend/lower/attention.h"

#include <algorithm>
#include <cmath>

#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "ir/ops/attention.h"

namespace fcc::backend {

using loop::BinaryOp;
using loop::Expr;
using loop::LoopKind;
using loop::ReduceOp;
using loop::UnaryOp;

namespace {

constexpr int64_t kPanel = 32;          // columns of a packed panel of keys or values
constexpr int64_t kWholeColumns = 512;  // up to here a row of scores is kept as a whole
constexpr int64_t kColumnBlock = 256;   // beyond, or when open: columns of one step of the online softmax
constexpr int64_t kTilesPerTask = 16;   // row tiles that share one packing of the keys

Expr f32(double v) {
  return loop::constant(DType::f32, v);
}

// e^x for x <= 0, where less than e^-87 counts as 0: results that leave the normal numbers cost an assist of about 200
// cycles a vector, and a masked column has nothing else (0.73 ms instead of 0.34 for 12 heads of 128 half masked rows,
// 43 ms with scores near -100).
Expr exp_of_negative(const Expr& x) {
  const Expr tiny = loop::lt(x, f32(-87));
  return loop::select(tiny, f32(0), loop::unary(UnaryOp::exp, loop::select(tiny, f32(-87), x)));
}

class AttentionNest {
 public:
  AttentionNest(const Graph& body, const Target& target)
      : target_(target),
        node_(body.node(body.order()[0])),
        s_(node_.attrs),
        rows_(AttentionShape::flat(s_.rows)),
        columns_(AttentionShape::flat(s_.columns)) {
    for (ValueId v : body.inputs()) {
      const Value& value = body.value(v);
      kernel_.add_buffer({value.name, DType::f32, {value.type.elements()}, loop::Space::input, false});
      if (is_bias(v)) kernel_.buffers.back().dims = rank4(value.type.dims);
    }
    const auto parameter = [&](ValueId v) {
      return static_cast<loop::BufferId>(std::find(body.inputs().begin(), body.inputs().end(), v) -
                                         body.inputs().begin());
    };
    q_ = parameter(node_.in[0]), k_ = parameter(node_.in[1]), v_ = parameter(node_.in[2]);
    for (size_t i = 3; i < node_.in.size(); ++i) biases_.push_back(parameter(node_.in[i]));
    out_ = kernel_.add_buffer(
        {"out", DType::f32, {body.value(body.outputs[0]).type.elements()}, loop::Space::output, false});
    kernel_.n_params = static_cast<int32_t>(kernel_.buffers.size());
  }

  loop::Kernel run() {
    plan();
    declare();
    build();
    kernel_.name = std::string("attention_f32_") + std::to_string(mr_) + "x" + std::to_string(tile_cols_) +
                   (s_.causal ? "_causal" : "");
    const SymExpr pairs = AttentionShape::flat(s_.batch) * s_.heads * rows_ * columns_;
    kernel_.flops = pairs * (2 * (s_.depth + s_.value_depth));
    return std::move(kernel_);
  }

 private:
  bool is_bias(ValueId v) const { return std::find(node_.in.begin() + 3, node_.in.end(), v) != node_.in.end(); }
  static Dims rank4(Dims d) {
    while (d.size() < 4) d.insert(d.begin(), 1);
    return d;
  }
  static int64_t number(const SymExpr& e) { return std::max<int64_t>(1, guess_size(e)); }

  // ---- choices
  void plan() {
    const TileShape tile = choose_tile(target_, kPanel, rows_);
    mr_ = tile.rows, tile_cols_ = tile.cols;
    whole_ = columns_.is_constant() && columns_.constant() <= kWholeColumns;
    block_ = whole_ ? (std::max<int64_t>(1, columns_.constant()) + kPanel - 1) / kPanel * kPanel : kColumnBlock;
    const int64_t heads = number(AttentionShape::flat(s_.batch) * s_.heads), tiles = (number(rows_) + mr_ - 1) / mr_;
    row_tiles_ = kTilesPerTask;
    // Few heads: more tasks, each packing the keys anew, until every thread has two.
    if (heads < 2 * target_.threads) row_tiles_ = std::max<int64_t>(1, tiles * heads / (2 * target_.threads));
    row_tiles_ = std::min(row_tiles_, rows_.is_constant() ? tiles : kTilesPerTask);
    kernel_.note = "mr=" + std::to_string(mr_) + " nr=" + std::to_string(tile_cols_) + ": a task is " +
                   std::to_string(row_tiles_) + " row tiles of a head, " +
                   (whole_ ? "all " + std::to_string(columns_.constant()) + " columns at once"
                           : "columns in blocks of " + std::to_string(block_));
  }

  void declare() {
    const int64_t rows = row_tiles_ * mr_, values = value_panels() * kPanel;
    const auto scratch = [&](const char* name, int64_t elements) {
      return kernel_.add_buffer({name, DType::f32, {elements}, loop::Space::scratch, false});
    };
    qs_ = scratch("queries", rows * s_.depth);
    kt_ = scratch("keys", block_ * s_.depth);
    vp_ = scratch("values", block_ * values);
    sc_ = scratch("scores", mr_ * block_);
    factor_ = scratch("factor", mr_);
    shift_ = scratch("shift", mr_);
    if (whole_) return;
    acc_o_ = scratch("sums", rows * values);
    top_ = scratch("tops", rows);
    weight_ = scratch("weights", rows);
  }
  int64_t value_panels() const { return (s_.value_depth + kPanel - 1) / kPanel; }

  // ---- small helpers
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
  Expr read(loop::BufferId b, Expr at) { return loop::load(b, DType::f32, {std::move(at)}); }
  Expr reduce(ReduceOp op, const Expr& n, const std::function<Expr(Expr)>& body) {
    const loop::VarId v = kernel_.add_var("j");
    return loop::reduce(op, v, loop::index(0), n, body(loop::var(v)), 16);
  }
  static Expr dot(const std::vector<Expr>& index, const Dims& strides) {
    Expr sum = loop::index(0);
    for (size_t d = 0; d < index.size(); ++d) sum = sum + index[d] * loop::from_sym(strides[d]);
    return sum;
  }
  // A flat index as one for each axis; axis 0 takes what is left.
  static std::vector<Expr> decode(Expr flat, const Dims& extents) {
    std::vector<Expr> index(extents.size());
    for (size_t d = extents.size(); d-- > 0;) {
      const Expr extent = loop::from_sym(extents[d]);
      index[d] = d == 0 ? flat : loop::mod(flat, extent);
      if (d > 0) flat = loop::floordiv(flat, extent);
    }
    return index;
  }

  // ---- the task
  void build() {
    const SymExpr row_tiles = ceildiv(rows_, mr_), row_tasks = ceildiv(row_tiles, row_tiles_),
                  batch = AttentionShape::flat(s_.batch);
    kernel_.tiles = batch * s_.heads * row_tasks;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    const Expr task = let(b, "rt", loop::mod(loop::var(t), loop::from_sym(row_tasks)));
    const Expr rest = let(b, "q", loop::floordiv(loop::var(t), loop::from_sym(row_tasks)));
    head_ = let(b, "h", loop::mod(rest, loop::from_sym(s_.heads)));
    batch_ = let(b, "b", loop::floordiv(rest, loop::from_sym(s_.heads)));
    std::vector<Expr> axes = decode(batch_, s_.batch);
    for (Expr& e : axes) e = let(b, "b", e);
    const Expr kv_head = loop::floordiv(head_, loop::index(s_.kv_group));
    const auto start = [&](const char* name, const AttentionShape::View& v, const Expr& h) {
      return let(b, name, loop::from_sym(v.offset) + dot(axes, v.batch) + h * loop::from_sym(v.head));
    };
    q0_ = start("q0", s_.q, head_), k0_ = start("k0", s_.k, kv_head), v0_ = start("v0", s_.v, kv_head),
    y0_ = start("y0", s_.out, head_);
    first_tile_ = let(b, "first", task * row_tiles_);
    last_tile_ = let(b, "last", loop::min(first_tile_ + row_tiles_, loop::from_sym(row_tiles)));
    base_ = let(b, "base", first_tile_ * mr_);
    end_ = let(b, "end", loop::min(last_tile_ * mr_, loop::from_sym(rows_)));
    for (loop::BufferId id = kernel_.n_params; id < static_cast<loop::BufferId>(kernel_.buffers.size()); ++id)
      b.push_back(loop::alloc(id));
    copy_queries(b);
    whole_ ? column_block(b, loop::index(0), loop::index(columns_.constant())) : column_blocks(b);
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), LoopKind::tile)};
  }

  void copy_queries(loop::Block& b) {
    b.push_back(loop_over("i", base_, end_, [&](Expr i) {
      loop::Block row;
      const Expr at = let(row, "at", q0_ + dot(decode(i, s_.rows), s_.q.rows)), to = (i - base_) * s_.depth;
      row.push_back(loop_over(
          "d", loop::index(0), loop::index(s_.depth),
          [&](const Expr& d) {
            const Expr x = read(q_, at + d);
            return loop::Block{loop::store(qs_, {to + d}, s_.scale == 1 ? x : x * f32(s_.scale))};
          },
          LoopKind::vec));
      return row;
    }));
  }

  // Online softmax: sums and tops of what was seen so far, rescaled when a block brings a larger score.
  void column_blocks(loop::Block& b) {
    const int64_t values = value_panels() * kPanel;
    const Expr count = end_ - base_;
    b.push_back(loop_over("i", loop::index(0), count, [&](Expr i) {
      loop::Block row{loop::store(top_, {i}, f32(-HUGE_VAL)), loop::store(weight_, {i}, f32(0))};
      row.push_back(loop_over(
          "e", loop::index(0), loop::index(values),
          [&](const Expr& e) { return loop::Block{loop::store(acc_o_, {i * values + e}, f32(0))}; }, LoopKind::vec));
      return row;
    }));
    Expr columns = loop::from_sym(columns_);
    if (s_.causal) columns = loop::min(columns, end_);
    const loop::VarId blocks = kernel_.add_var("blocks");
    b.push_back(loop::let(blocks, loop::floordiv(columns + (block_ - 1), loop::index(block_))));
    b.push_back(loop_over("c", loop::index(0), loop::var(blocks), [&](Expr c) {
      loop::Block inner;
      const Expr j0 = let(inner, "j0", c * block_);
      column_block(inner, j0, let(inner, "n", loop::min(loop::from_sym(columns_) - j0, loop::index(block_))));
      return inner;
    }));
    b.push_back(loop_over("i", loop::index(0), count, [&](Expr i) {
      loop::Block row;
      const Expr none = loop::eq(loop::from_sym(columns_), loop::index(0));
      const Expr inverse = let(row, "w", loop::select(none, f32(0), f32(1) / read(weight_, i)), DType::f32);
      const Expr at = let(row, "at", y0_ + dot(decode(base_ + i, s_.rows), s_.out.rows));
      row.push_back(loop_over(
          "e", loop::index(0), loop::index(s_.value_depth),
          [&](const Expr& e) {
            return loop::Block{loop::store(out_, {at + e}, read(acc_o_, i * values + e) * inverse)};
          },
          LoopKind::vec));
      return row;
    }));
  }

  // Columns [j0, j0 + n) for every row tile of the task.
  void column_block(loop::Block& b, const Expr& j0, const Expr& n) {
    pack_keys(b, j0, n);
    pack_values(b, j0, n);
    loop::Block tiles = cover_rows(kernel_, rows_, static_cast<int32_t>(mr_), first_tile_, last_tile_,
                                   [&](int32_t rows, Expr row0) { return row_tile(rows, row0, j0, n); });
    b.insert(b.end(), tiles.begin(), tiles.end());
  }

  // keys[panel][d][32], a key at a time: its elements are read as vectors and stored lane by lane. Reading a vector of
  // 32 keys lane by lane costs the same for whole panels and thrice as much with a guard in every lane, as the last
  // panel of 49 columns needs it.
  void pack_keys(loop::Block& b, const Expr& j0, const Expr& n) {
    const Expr panels = loop::floordiv(n + (kPanel - 1), loop::index(kPanel));
    if (!whole_ || columns_.constant() % kPanel != 0) {  // columns that do not exist are multiplied like the others
      loop::Block zeros{loop_over(
          "z", loop::index(0), loop::index(s_.depth * kPanel),
          [&](const Expr& z) { return loop::Block{loop::store(kt_, {(panels - 1) * (s_.depth * kPanel) + z}, f32(0))}; },
          LoopKind::vec)};
      b.push_back(loop::if_then(loop::lt(n, panels * kPanel), std::move(zeros)));
    }
    b.push_back(loop_over("p", loop::index(0), panels, [&](const Expr& p) {
      return loop::Block{loop_over("x", loop::index(0), loop::min(loop::index(kPanel), n - p * kPanel), [&](const Expr& x) {
        loop::Block key;
        const Expr at = let(key, "at", k0_ + dot(decode(j0 + p * kPanel + x, s_.columns), s_.k.rows));
        key.push_back(loop_over(
            "d", loop::index(0), loop::index(s_.depth),
            [&](const Expr& d) { return loop::Block{loop::store(kt_, {(p * s_.depth + d) * kPanel + x}, read(k_, at + d))}; },
            LoopKind::vec));
        return key;
      })};
    }));
  }

  // values[panel][j][32]
  void pack_values(loop::Block& b, const Expr& j0, const Expr& n) {
    b.push_back(loop_over("j", loop::index(0), n, [&](const Expr& j) {
      loop::Block row;
      const Expr at = let(row, "at", v0_ + dot(decode(j0 + j, s_.columns), s_.v.rows));
      for (int64_t e0 = 0; e0 < s_.value_depth; e0 += kPanel)
        row.push_back(loop_over(
            "e", loop::index(0), loop::index(std::min(kPanel, s_.value_depth - e0)),
            [&](const Expr& e) {
              return loop::Block{loop::store(vp_, {j * kPanel + (e0 * block_) + e}, read(v_, at + e0 + e))};
            },
            LoopKind::vec));
      return row;
    }));
  }

  // ---- one register tile of rows
  loop::Block row_tile(int32_t rows, const Expr& row0, const Expr& j0, const Expr& n) {
    loop::Block b;
    const Expr local = let(b, "local", row0 - base_);
    // Columns that some row of the tile sees.
    Expr seen = n;
    if (s_.causal) seen = let(b, "seen", loop::min(n, row0 + rows - j0));
    loop::Block work;
    scores(work, rows, local, seen);
    softmax(work, rows, row0, local, j0, n, seen);
    for (int64_t e0 = 0; e0 < s_.value_depth; e0 += kPanel) product(work, rows, row0, local, seen, e0);
    if (s_.causal && !whole_) {
      b.push_back(loop::if_then(loop::lt(loop::index(0), seen), std::move(work)));
    } else {
      b.insert(b.end(), work.begin(), work.end());
    }
    return b;
  }

  // A contraction of `width` columns whose epilogue makes of (row, column, sum) a statement.
  void contraction(loop::Block& b, int32_t rows, int64_t width, const std::function<loop::ContractTile()>& operands,
                   const std::function<loop::StmtRef(Expr, Expr, Expr)>& epilogue) {
    for (int64_t half = 0; half < width; half += tile_cols_) {
      loop::ContractTile t = operands();
      t.b_base = t.b_base + half;
      t.rows = rows;
      t.cols = static_cast<int32_t>(std::min<int64_t>(tile_cols_, width - half));
      t.k_split = choose_k_split(target_, rows, t.cols);
      t.row_var = kernel_.add_var("r"), t.block_var = kernel_.add_var("y"), t.lane_var = kernel_.add_var("lane"),
      t.acc_var = kernel_.add_var("acc", DType::f32);
      t.epilogue = {epilogue(loop::var(t.row_var), loop::var(t.block_var) * 16 + half + loop::var(t.lane_var),
                             loop::var(t.acc_var, DType::f32))};
      b.push_back(loop::contract(std::move(t)));
    }
  }

  void scores(loop::Block& b, int32_t rows, const Expr& local, const Expr& n) {
    const auto panel = [&](const Expr& p, int64_t width) {
      loop::Block inner;
      contraction(
          inner, rows, width,
          [&] {
            loop::ContractTile t;
            t.a = qs_, t.b = kt_;
            t.a_base = local * s_.depth, t.b_base = p * (s_.depth * kPanel), t.a_row = loop::index(s_.depth);
            t.reductions = {{loop::index(s_.depth), loop::index(1), loop::index(kPanel), false}};
            return t;
          },
          [&](const Expr& r, const Expr& column, Expr acc) {
            return loop::store(sc_, {r * block_ + p * kPanel + column}, std::move(acc));
          });
      return inner;
    };
    const bool narrow_end =
        whole_ && !s_.causal && columns_.constant() % kPanel != 0 && columns_.constant() % kPanel <= 16;
    const Expr panels =
        narrow_end ? loop::index(columns_.constant() / kPanel) : loop::floordiv(n + (kPanel - 1), loop::index(kPanel));
    b.push_back(loop_over("p", loop::index(0), panels, [&](const Expr& p) { return panel(p, kPanel); }));
    if (!narrow_end) return;
    const loop::Block end = panel(panels, 16);
    b.insert(b.end(), end.begin(), end.end());
  }

  // Row by row the largest score, then the exponentials, then their sums: each a chain of dependent instructions across a
  // vector, of which a core overlaps several rows as long as the rows follow closely.
  void softmax(loop::Block& b, int32_t rows, const Expr& row0, const Expr& local, const Expr& j0, const Expr& n,
               const Expr& seen) {
    const auto each_row = [&](const std::function<void(loop::Block&, const Expr& r, const Expr& own)>& fill) {
      b.push_back(loop_over("r", loop::index(0), loop::index(rows), [&](const Expr& r) {
        loop::Block row;
        fill(row, r, s_.causal ? let(row, "own", loop::max(loop::index(0), loop::min(n, row0 + r + 1 - j0))) : n);
        return row;
      }));
    };
    const auto score = [&](const Expr& r, const Expr& j) {
      Expr x = read(sc_, r * block_ + j);
      for (loop::BufferId bias : biases_) x = x + bias_at(bias, row0 + r, j0 + j);
      return x;
    };
    each_row([&](loop::Block& row, const Expr& r, const Expr& own) {
      const Expr largest = let(row, "max", reduce(ReduceOp::max, own, [&](const Expr& j) { return score(r, j); }), DType::f32);
      if (whole_) {
        row.push_back(loop::store(shift_, {r}, largest));
        return;
      }
      const Expr old = let(row, "old", read(top_, local + r), DType::f32);
      const Expr both = let(row, "top", loop::max(old, largest), DType::f32);
      row.push_back(loop::store(top_, {local + r}, both));
      const Expr top = let(row, "shift", loop::select(loop::eq(both, f32(-HUGE_VAL)), f32(0), both), DType::f32);
      row.push_back(loop::store(shift_, {r}, top));
      row.push_back(loop::store(factor_, {r}, exp_of_negative(old - top)));
    });
    each_row([&](loop::Block& row, const Expr& r, const Expr& own) {
      const Expr top = let(row, "shift", read(shift_, r), DType::f32);
      row.push_back(loop_over(
          "j", loop::index(0), own,
          [&](const Expr& j) {
            return loop::Block{loop::store(sc_, {r * block_ + j}, exp_of_negative(score(r, j) - top))};
          },
          LoopKind::vec));
      if (s_.causal)
        row.push_back(loop_over(
            "j", own, seen, [&](const Expr& j) { return loop::Block{loop::store(sc_, {r * block_ + j}, f32(0))}; },
            LoopKind::vec));
    });
    each_row([&](loop::Block& row, const Expr& r, const Expr& own) {
      const Expr sum = let(
          row, "sum", reduce(ReduceOp::add, own, [&](const Expr& j) { return read(sc_, r * block_ + j); }), DType::f32);
      if (whole_)
        row.push_back(loop::store(factor_, {r}, f32(1) / sum));
      else
        row.push_back(loop::store(weight_, {local + r}, read(weight_, local + r) * read(factor_, r) + sum));
    });
  }

  Expr bias_at(loop::BufferId bias, const Expr& i, const Expr& j) const {
    const Dims& d = kernel_.buffers[static_cast<size_t>(bias)].dims;
    const bool all = d[0] == AttentionShape::flat(s_.batch);
    const auto along = [&](size_t axis, const Expr& e) { return d[axis].is(1) ? loop::index(0) : e; };
    const Expr b = along(0, all ? batch_ : loop::mod(batch_, loop::from_sym(d[0])));
    return loop::load(bias, DType::f32, {b, along(1, head_), along(2, i), along(3, j)});
  }

  void product(loop::Block& b, int32_t rows, const Expr& row0, const Expr& local, const Expr& n, int64_t e0) {
    const int64_t left = s_.value_depth - e0, width = left > 16 ? kPanel : 16, values = value_panels() * kPanel;
    contraction(
        b, rows, width,
        [&] {
          loop::ContractTile t;
          t.a = sc_, t.b = vp_;
          t.a_base = loop::index(0), t.b_base = loop::index(e0 * block_), t.a_row = loop::index(block_);
          t.reductions = {{n, loop::index(1), loop::index(kPanel), false}};
          return t;
        },
        [&](const Expr& r, const Expr& column, const Expr& acc) {
          if (!whole_) {
            const Expr at = (local + r) * values + e0 + column;
            return loop::store(acc_o_, {at}, loop::fma(read(acc_o_, at), read(factor_, r), acc));
          }
          const Expr at = y0_ + dot(decode(row0 + r, s_.rows), s_.out.rows) + e0 + column;
          Expr mask = left < width ? loop::lt(column, loop::index(left)) : nullptr;
          return loop::store(out_, {at}, acc * read(factor_, r), std::move(mask));
        });
  }

  const Target& target_;
  const Node& node_;
  AttentionShape s_;
  SymExpr rows_, columns_;
  loop::Kernel kernel_;
  loop::BufferId q_ = -1, k_ = -1, v_ = -1, out_ = -1;
  std::vector<loop::BufferId> biases_;
  int64_t mr_ = 1, tile_cols_ = 16, block_ = 0, row_tiles_ = 1;
  bool whole_ = false;  // no open or long rows of scores: one block, no running sums
  loop::BufferId qs_ = -1, kt_ = -1, vp_ = -1, sc_ = -1, factor_ = -1, shift_ = -1, acc_o_ = -1, top_ = -1, weight_ = -1;
  Expr head_, batch_, q0_, k0_, v0_, y0_, first_tile_, last_tile_, base_, end_;
};

}  // namespace

bool is_attention(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  return order.size() == 1 && body.node(order[0]).op->name == "FusedAttention" &&
         body.value(body.outputs[0]).type.dtype == DType::f32;
}

loop::Kernel lower_attention(const Graph& body, const Target& target) {
  return AttentionNest(body, target).run();
}

}  // namespace fcc::backend
