#include "backend/lower/contraction.h"

#include <algorithm>
#include <optional>

#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"

namespace fcc::backend {

using loop::Expr;

namespace {

// What one task should do at least, in multiply-adds: about half a microsecond on one core, so that finding its place
// costs under 2 %, and even a layer of 20 us falls into enough pieces for two cores to finish together.
constexpr double kMacsPerTask = 5e4;
// Reading a weight from L2 or beyond takes as long as this many multiply-adds: tasks of few rows count their bytes.
constexpr double kMacsPerWeight = 2;

struct Shape {
  SymExpr batch = 1, m, k, n;
  int64_t panel = 16;      // columns of a packed panel
  SymExpr panels;
  bool batched = false;    // B has batch axes of its own
};

class MatMulNest {
 public:
  MatMulNest(const Graph& body, NodeId root, const Target& target, const InPlace& in_place)
      : target_(target), source_(body), root_(body.node(root)), raw_(epilogue_of(body, root)), shape_(shape_of()) {
    groups_ = epilogue_groups();
    graph_ = collapse(raw_, groups_);
    acc_ = graph_.inputs().back();
    body_.emplace(graph_, kernel_, acc_, in_place);
    acc_var_ = kernel_.add_var("acc", DType::f32);
    row_ = kernel_.add_var("r");
    block_ = kernel_.add_var("j");
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    tile_ = choose_tile(target_, shape_.panel, shape_.m);
    if (!shape_.m.is_constant()) tile_.rows = most_rows(target_, shape_.panel);  // as the fixed twin: all heights exist
    if (shape_.k.is_constant()) tile_.rows = std::min(tile_.rows, rows_that_stay_in_l1(target_, shape_.k.constant() * 4));
    plan_tasks();
    plan_prefetch();
    build();
    kernel_.name = "matmul_f32_" + std::to_string(tile_.rows) + "x" + std::to_string(tile_.cols);
    kernel_.flops = shape_.batch * shape_.m * shape_.n * shape_.k * 2;
    return std::move(kernel_);
  }

 private:
  Shape shape_of() const {
    const Dims &a = source_.value(root_.in[0]).type.dims, &b = source_.value(root_.in[1]).type.dims;
    const Dims& y = source_.value(root_.out[0]).type.dims;
    Shape s;
    s.batched = b.size() > 3;
    s.k = b[b.size() - 2];
    s.n = y.back();
    s.panel = b.back().constant();
    s.panels = b[b.size() - 3];
    s.m = y[y.size() - 2];
    for (size_t d = 0; d + 2 < y.size(); ++d) (s.batched ? s.batch : s.m) = (s.batched ? s.batch : s.m) * y[d];
    FCC_CHECK(a.size() >= 2, "A is {}", text(a));
    return s;
  }

  // Row axes merge into one when nothing in the epilogue tells them apart; batch axes stay away from M.
  std::vector<AxisGroup> epilogue_groups() const {
    std::vector<AxisGroup> groups = mergeable_axes(raw_, true);
    const size_t rank = raw_.value(raw_.inputs().back()).type.dims.size();
    FCC_CHECK(raw_.value(raw_.outputs[0]).type.dims.size() == rank, "the epilogue changes the rank");
    if (!shape_.batched) return groups;
    std::vector<AxisGroup> split;
    for (const AxisGroup& g : groups) {
      if (g.begin < rank - 2 && g.end == rank - 1) {
        split.push_back({g.begin, rank - 2});
        split.push_back({rank - 2, rank - 1});
      } else {
        split.push_back(g);
      }
    }
    return split;
  }

  int64_t number(const SymExpr& e) const { return std::max<int64_t>(1, guess_size(e)); }

  // A task is `row_group` row tiles x `panel_group` panels. Tasks follow each other in blocks of `row_block` row tiles:
  // within a block rows come first, so that a panel is read from far once for the block, whose rows of A stay in L2.
  // When all of B stays in L2 and is the smaller operand, a block is one task high: its rows of A stay in L1.
  // The order matters as much as the size: a thread takes a stretch of neighbours, the same in every run.
  void plan_tasks() {
    const int64_t rows = number(shape_.m), k = number(shape_.k), panels = number(shape_.panels);
    const int64_t row_tiles = (rows + tile_.rows - 1) / tile_.rows, height = (rows + row_tiles - 1) / row_tiles;
    const double weights = static_cast<double>(shape_.panel) * static_cast<double>(k);
    const double cell = weights * std::max(static_cast<double>(height), kMacsPerWeight);
    const auto cells = static_cast<int64_t>(std::max(1.0, kMacsPerTask / cell));
    const int64_t l2 = target_.l2_bytes / 2, b_bytes = panels * shape_.panel * k * 4, row_bytes = height * k * 4;
    rows_outside_ = b_bytes <= l2 && b_bytes < rows * k * 4;
    if (rows_outside_) {
      panel_group_ = std::min(cells, panels);
      row_group_ = row_block_ = std::clamp<int64_t>(cells / panel_group_, 1, row_tiles);
    } else {
      row_block_ = std::max<int64_t>(1, l2 / row_bytes);
      if (shape_.m.is_constant()) {  // blocks of equal height
        const int64_t blocks = (row_tiles + row_block_ - 1) / row_block_;
        row_block_ = (row_tiles + blocks - 1) / blocks;
      }
      row_group_ = std::min(cells, row_block_);
      panel_group_ = std::clamp<int64_t>(cells / std::min(row_group_, row_tiles), 1, panels);
    }
    kernel_.note = "mr=" + std::to_string(tile_.rows) + " nr=" + std::to_string(tile_.cols) + ": a task is " + std::to_string(row_group_) + " row tiles x " +
                   std::to_string(panel_group_) + " panels of " + std::to_string(k * shape_.panel * 4 / 1024) + " KiB, " +
                   (rows_outside_ ? "B stays in L2" : "blocks of " + std::to_string(row_block_) + " row tiles stay in L2");
  }

  void build() {
    const SymExpr row_tiles = ceildiv(shape_.m, tile_.rows), row_blocks = ceildiv(row_tiles, row_block_);
    const SymExpr row_tasks = row_group_ == row_block_ ? SymExpr(1) : ceildiv(min(row_tiles, row_block_), row_group_);
    const SymExpr panel_tasks = ceildiv(shape_.panels, panel_group_);
    kernel_.tiles = shape_.batch * row_blocks * panel_tasks * row_tasks;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    // t = (batch, row block, panel task, row task), the last fastest.
    Expr rest = loop::var(t);
    auto digit = [&](const char* name, const SymExpr& extent) {
      if (extent.is(1)) return loop::index(0);
      Expr e = let(b, name, loop::mod(rest, loop::from_sym(extent)));
      rest = let(b, "q", loop::floordiv(rest, loop::from_sym(extent)));
      return e;
    };
    const Expr row_task = digit("rt", row_tasks), panel_task = digit("pt", panel_tasks);
    const Expr row_block = shape_.batch.is(1) ? rest : digit("rb", row_blocks);
    batch_ = shape_.batch.is(1) ? loop::index(0) : rest;
    if (shape_.batched) batch_offsets(b);
    const Expr first_row = row_block * row_block_ + row_task * row_group_;
    const Expr block_end = loop::min(row_block * row_block_ + row_block_, loop::from_sym(row_tiles));
    const Expr last_row = loop::min(first_row + row_group_, block_end);
    const Expr first_panel = panel_task * panel_group_, last_panel = loop::min(first_panel + panel_group_, loop::from_sym(shape_.panels));
    loop::Block nest;
    const loop::VarId p = kernel_.add_var("p");
    if (rows_outside_) {
      nest = cover_rows_evenly(kernel_, shape_.m, tile_.rows, first_row, last_row, [&](int32_t rows, Expr row0, Expr tile) {
        return loop::Block{loop::for_loop(p, first_panel, last_panel, panel_tiles(rows, row0, tile, loop::var(p)))};
      });
    } else {
      nest = {loop::for_loop(p, first_panel, last_panel, cover_rows_evenly(kernel_, shape_.m, tile_.rows, first_row, last_row, [&](int32_t rows, Expr row0, Expr tile) {
                return panel_tiles(rows, row0, tile, loop::var(p));
              }))};
    }
    b.insert(b.end(), nest.begin(), nest.end());
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // While the row tiles of a block pass over a panel, each fetches its share of the next one: so it comes from far
  // throughout, not only during the first pass. 2048x2048 at 64 rows: 63 % of peak without, 85 % with. Not for few rows,
  // which read a panel once and as fast as it comes, nor for a B so small that the caches hold it anyway.
  void plan_prefetch() {
    constexpr int64_t kWorthFetching = 256 << 10;
    const int64_t b_bytes = number(shape_.panels) * shape_.panel * number(shape_.k) * 4;
    const int64_t row_tiles = (number(shape_.m) + tile_.rows - 1) / tile_.rows;
    if (!shape_.k.is_constant() || b_bytes < kWorthFetching || rows_outside_) return;
    // An open number of rows may turn out to be small, and what no row tile fetches is waited for: 128 rows that cut the next
    // panel into the 16 shares of a guess fetched 10 of them, and ran at 88 % of peak where the fixed twin had 96.
    constexpr int64_t kOpenShares = 4;
    const int64_t most = shape_.m.is_constant() ? shape_.panel : kOpenShares;
    while (prefetch_shares_ * 2 <= std::min({row_tiles, row_block_, most})) prefetch_shares_ *= 2;  // divides a panel
  }

  // The share of row tile `tile`; row tiles after the last share begin anew.
  void prefetch(loop::ContractTile& t, const Expr& tile, const Expr& panel) const {
    constexpr int32_t kFewRows = 4;
    if (prefetch_shares_ == 1 || t.rows < kFewRows) return;
    // With an open number of rows, tiles lower than half of the highest are the only ones of their panel.
    if (!shape_.m.is_constant() && t.rows < (tile_.rows + 1) / 2) return;
    const int64_t k = shape_.k.constant();
    t.prefetch_share = static_cast<int32_t>(prefetch_shares_);
    t.prefetch = (panel + 1) * (k * shape_.panel) + b_offset_ + loop::mod(tile, loop::index(prefetch_shares_)) * (k * (shape_.panel / prefetch_shares_));
  }

  Expr let(loop::Block& b, std::string var_name, Expr value) {
    const loop::VarId v = kernel_.add_var(std::move(var_name));
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }

  // Offsets of A and B for a batch index, with broadcasting of either.
  void batch_offsets(loop::Block& b) {
    const Dims& y = source_.value(root_.out[0]).type.dims;
    Dims batch(y.begin(), y.end() - 2);
    std::vector<Expr> index(batch.size());
    Expr rest = batch_;
    for (size_t d = batch.size(); d-- > 0;) {
      const Expr extent = loop::from_sym(batch[d]);
      index[d] = let(b, "b" + std::to_string(d), d == 0 ? rest : loop::mod(rest, extent));
      if (d > 0) rest = loop::floordiv(rest, extent);
    }
    auto offset = [&](const Dims& own, size_t inner, const SymExpr& matrix) {
      Expr flat = loop::index(0);
      const size_t n = own.size() - inner;
      for (size_t d = 0; d < n; ++d) flat = flat * loop::from_sym(own[d]) + (own[d].is(1) ? loop::index(0) : index[index.size() - n + d]);
      return flat * loop::from_sym(matrix);
    };
    const Dims &a = source_.value(root_.in[0]).type.dims, &p = source_.value(root_.in[1]).type.dims;
    a_offset_ = let(b, "a0", offset(a, 2, shape_.m * shape_.k));
    b_offset_ = let(b, "p0", offset(p, 3, shape_.panels * shape_.k * shape_.panel));
    batch_index_ = std::move(index);
  }

  // The register tiles of `rows` rows over one panel: one, or two halves where the target's tile is narrower.
  loop::Block panel_tiles(int32_t rows, Expr row0, Expr tile, Expr panel) {
    loop::Block b;
    for (int64_t half = 0; half < shape_.panel; half += tile_.cols) {
      loop::ContractTile t;
      t.a = body_->buffer_of(param(root_.in[0]));
      t.b = body_->buffer_of(param(root_.in[1]));
      t.a_base = row0 * loop::from_sym(shape_.k) + a_offset_;
      t.b_base = panel * loop::from_sym(shape_.k * shape_.panel) + b_offset_ + half;
      t.a_row = loop::from_sym(shape_.k);
      t.rows = rows;
      t.cols = tile_.cols;
      t.k_split = choose_k_split(target_, rows, tile_.cols);
      t.reductions = {{loop::from_sym(shape_.k), loop::index(1), loop::index(shape_.panel), false}};
      if (half == 0) prefetch(t, tile, panel);
      t.row_var = row_;
      t.block_var = block_;
      t.lane_var = lane_;
      t.acc_var = acc_var_;
      t.epilogue = epilogue(row0 + loop::var(row_), panel * shape_.panel + loop::var(block_) * 16 + half + loop::var(lane_));
      b.push_back(loop::contract(std::move(t)));
    }
    return b;
  }

  // The value of the collapsed graph's input at the same position as the body's.
  ValueId param(ValueId body_input) const {
    const auto& inputs = source_.inputs();
    const auto at = std::find(inputs.begin(), inputs.end(), body_input) - inputs.begin();
    FCC_CHECK(at < static_cast<int64_t>(inputs.size()), "operand of the root is no parameter");
    return graph_.inputs()[static_cast<size_t>(at)];
  }

  loop::Block epilogue(Expr row, Expr column) {
    loop::Block b;
    std::vector<Expr> index = row_index(b, row);
    index.push_back(column);
    body_->clear_bindings();
    body_->bind(acc_, loop::var(acc_var_, DType::f32));
    const bool ragged = !mod(shape_.n, shape_.panel).is(0);
    Expr mask = ragged ? loop::lt(column, loop::from_sym(shape_.n)) : nullptr;
    const ValueId result = graph_.outputs[0];
    Expr value = mask ? body_->element_guarded(result, index, mask, loop::constant(loop::compute_type(graph_.value(result).type.dtype), 0))
                      : body_->element(result, index);
    b.push_back(loop::store(body_->output_buffer(), index, value, mask));
    return b;
  }

  // The index of a row in the collapsed groups before the last: decoded when several groups remain.
  std::vector<Expr> row_index(loop::Block& b, Expr row) {
    const Dims& dims = graph_.value(graph_.outputs[0]).type.dims;
    const size_t n = dims.size() - 1;
    std::vector<Expr> index(n);
    Expr rest = row;
    if (shape_.batched && n > 0) rest = batch_ * loop::from_sym(shape_.m) + row;
    for (size_t d = n; d-- > 0;) {
      const Expr extent = loop::from_sym(dims[d]);
      index[d] = d == 0 ? rest : loop::mod(rest, extent);
      if (d > 0) {
        index[d] = let(b, "m" + std::to_string(d), index[d]);
        rest = let(b, "m", loop::floordiv(rest, extent));
      }
    }
    if (shape_.batched && n == 2) index = {batch_, row};
    return index;
  }

  const Target& target_;
  const Graph& source_;
  const Node& root_;
  Graph raw_, graph_;
  Shape shape_;
  std::vector<AxisGroup> groups_;
  loop::Kernel kernel_;
  std::optional<Body> body_;
  ValueId acc_ = kNoValue;
  loop::VarId acc_var_ = -1, row_ = -1, block_ = -1, lane_ = -1;
  TileShape tile_{};
  int64_t row_block_ = 1, row_group_ = 1, panel_group_ = 1;  // tiles, tiles, panels of a task
  bool rows_outside_ = false;
  int64_t prefetch_shares_ = 1;  // row tiles that fetch the next panel together; 1: none does
  Expr batch_ = loop::index(0), a_offset_ = loop::index(0), b_offset_ = loop::index(0);
  std::vector<Expr> batch_index_;
};

}  // namespace

loop::Kernel lower_matmul_packed(const Graph& body, NodeId root, const Target& target, const InPlace& in_place) {
  return MatMulNest(body, root, target, in_place).run();
}

}  // namespace fcc::backend
