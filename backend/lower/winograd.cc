#include "backend/lower/winograd.h"

#include <algorithm>
#include <optional>

#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"
#include "backend/lower/winograd_transform.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"
#include "ir/ops/layout.h"
#include "ir/ops/winograd.h"
#include "ir/winograd_plan.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;

Expr number(double v) { return loop::constant(DType::f32, v); }

class WinogradNest {
 public:
  WinogradNest(const Graph& body, NodeId root, const Target& target)
      : target_(target), source_(body), root_(body.node(root)), graph_(epilogue_of(body, root)), acc_(graph_.inputs().back()) {
    if (const Node* last = graph_.def(graph_.outputs[0]); last && (last->op->name == "MaxPool" || last->op->name == "AveragePool")) {
      pool_ = last;
      pixel_ = last->in[0];
    } else {
      pixel_ = graph_.outputs[0];
    }
    describe();
    body_.emplace(graph_, kernel_, acc_);
    acc_var_ = kernel_.add_var("acc", DType::f32);
    row_ = kernel_.add_var("r");
    block_ = kernel_.add_var("j");
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    const WinogradShape shape = guessed_shape();
    plan_ = plan_winograd(shape, m_, target_);
    tile_ = choose_tile(target_, panel_, SymExpr(plan_.rows));
    build();
    kernel_.name = "winograd_f32_" + std::to_string(m_) + "x3_" + (pool_ ? "pool_" : "") + std::to_string(tile_.rows) + "x" + std::to_string(tile_.cols);
    kernel_.note = plan_.text() + "; " + choose_winograd(shape, target_).reason;
    // What the direct method would do: a profile then shows what the transform gains.
    kernel_.flops = batch_ * oh_ * ow_ * (groups_ * out_blocks_ * kLane * channels_ * 18);
    return std::move(kernel_);
  }

 private:
  void describe() {
    const Dims &x = source_.value(root_.in[0]).type.dims, &u = source_.value(root_.in[1]).type.dims, &y = source_.value(root_.out[0]).type.dims,
               &out = graph_.value(graph_.outputs[0]).type.dims;
    m_ = root_.attrs.integer("m");
    alpha_ = m_ + 2;
    groups_ = root_.attrs.integer("group", 1);
    channels_ = u[2].constant();
    panel_ = root_.attrs.integer("nr");
    tail_ = root_.attrs.integer("tail", 0);
    panels_ = tail_ ? ((root_.attrs.integer("out_channels") + 7) / 8 * 8 - tail_) / panel_ + 1 : u[1].constant() / groups_;
    position_floats_ = u[1].constant() * channels_ * u[3].constant();
    out_blocks_ = y[1].constant() / groups_;
    batch_ = x[0], h_ = x[2], w_ = x[3], oh_ = y[2], ow_ = y[3];
    const std::vector<int64_t> kernel{3, 3};
    const std::vector<SymExpr> in{h_, w_};
    Result<Window> window = window_of(root_.attrs, in, kernel);
    FCC_CHECK(window.has_value(), "{}", window.error().what);
    pad_top_ = (*window)[0].pad_begin, pad_left_ = (*window)[1].pad_begin;
    stored_rows_ = out[2], stored_columns_ = out[3];
    stored_ = pool_ ? m_ / 2 : m_;
    tile_rows_ = ceildiv(stored_rows_, stored_), tile_columns_ = ceildiv(stored_columns_, stored_);  // without lines that no pool takes
    total_ = batch_ * tile_rows_ * tile_columns_;
  }

  static int64_t guess(const SymExpr& e) { return std::max<int64_t>(1, guess_size(e)); }

  WinogradShape guessed_shape() const {
    return {.batch = batch_.is_constant() ? batch_.constant() : 1, .oh = guess(tile_rows_ * m_), .ow = guess(tile_columns_ * m_), .open = !total_.is_constant(), .channels = channels_,
            .out_channels = out_blocks_ * kLane, .groups = groups_, .nr = panel_};
  }

  Expr let(loop::Block& b, std::string var_name, Expr value) {
    if (loop::is_constant(value)) return value;
    const loop::VarId v = kernel_.add_var(std::move(var_name));
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }

  // Arrays of V and M hold a vector for each of alpha^2 positions; one more line between them keeps the positions of a
  // tile out of each other's cache sets where the stride would be a power of two.
  loop::BufferId positions(const char* buffer_name, int64_t floats) {
    return kernel_.add_buffer({buffer_name, DType::f32, {alpha_ * alpha_, floats + kLane}, loop::Space::scratch, false});
  }

  void build() {
    v_ = positions("v", plan_.tiles * channels_);
    products_ = positions("m", plan_.tiles * (plan_.panels * panel_ + std::max<int64_t>(0, padded(tail_) - panel_)));
    half_ = kernel_.add_buffer({"half", DType::f32, {alpha_, alpha_, kLane}, loop::Space::scratch, false});
    const SymExpr groups_of_tiles = ceildiv(total_, plan_.tiles);
    kernel_.tiles = groups_of_tiles * plan_.splits * groups_;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b{loop::alloc(v_), loop::alloc(products_), loop::alloc(half_)};
    // t = (group, part of the panels, tiles), tiles fastest: neighbours share weights.
    Expr rest = loop::var(t);
    auto digit = [&](const char* digit_name, const SymExpr& extent) {
      if (extent.is(1)) return loop::index(0);
      Expr e = let(b, digit_name, loop::mod(rest, loop::from_sym(extent)));
      rest = let(b, "q", loop::floordiv(rest, loop::from_sym(extent)));
      return e;
    };
    const Expr part = digit("tiles", groups_of_tiles), split = digit("part", plan_.splits);
    group_ = groups_ == 1 ? loop::index(0) : rest;
    first_tile_ = let(b, "t0", part * plan_.tiles);
    last_tile_ = let(b, "t1", loop::min(first_tile_ + plan_.tiles, loop::from_sym(total_)));
    input_transform(b);
    const int64_t per_split = (panels_ + plan_.splits - 1) / plan_.splits;
    const Expr first_panel = let(b, "p0", split * per_split), last_panel = let(b, "p1", loop::min(first_panel + per_split, loop::index(panels_)));
    const loop::VarId pass = kernel_.add_var("pass");
    loop::Block inside;
    const Expr end = let(inside, "p2", loop::min(loop::var(pass) + plan_.panels, last_panel));
    products(inside, loop::var(pass), end);
    output_transform(inside, loop::var(pass), end);
    b.push_back(loop::for_loop(pass, first_panel, last_panel, std::move(inside), loop::LoopKind::seq, 1, plan_.panels));
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // ---- tiles
  struct Place {
    Expr image, row, column, local;  // of the tile: in the batch, in output tiles, in the task
  };
  loop::StmtRef for_each_tile(const std::function<void(loop::Block&, const Place&)>& body) {
    const loop::VarId tile = kernel_.add_var("tile");
    loop::Block b;
    Place p;
    const Expr columns = loop::from_sym(tile_columns_), rows = loop::from_sym(tile_rows_);
    p.column = let(b, "tx", loop::mod(loop::var(tile), columns));
    const Expr line = let(b, "line", loop::floordiv(loop::var(tile), columns));
    p.row = batch_.is(1) ? line : let(b, "ty", loop::mod(line, rows));
    p.image = batch_.is(1) ? loop::index(0) : let(b, "n", loop::floordiv(line, rows));
    p.local = let(b, "local", loop::var(tile) - first_tile_);
    body(b, p);
    return loop::for_loop(tile, first_tile_, last_tile_, std::move(b));
  }

  loop::StmtRef lanes(Lanes l) { return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(l.block), loop::LoopKind::vec, 16); }

  // ---- V = B^T d B
  void input_transform(loop::Block& b) {
    b.push_back(for_each_tile([&](loop::Block& tile, const Place& p) {
      const Expr y = let(tile, "y", p.row * m_ - loop::from_sym(pad_top_)), x = let(tile, "x", p.column * m_ - loop::from_sym(pad_left_));
      const Expr inside = loop::both(loop::both(loop::ge(y, loop::index(0)), loop::ge(x, loop::index(0))),
                                     loop::both(loop::ge(loop::from_sym(h_) - alpha_, y), loop::ge(loop::from_sym(w_) - alpha_, x)));
      tile.push_back(loop::if_then(inside, {patches(p, y, x, false)}, {patches(p, y, x, true)}));
    }));
  }

  loop::StmtRef patches(const Place& p, const Expr& y, const Expr& x, bool guarded) {
    const loop::VarId channel = kernel_.add_var("c"), i = kernel_.add_var("i"), j = kernel_.add_var("j");
    const loop::BufferId input = body_->buffer_of(param(root_.in[0]));
    const Expr plane = group_ * (channels_ / kLane) + loop::var(channel);
    Lanes columns{kernel_, {}}, rows{kernel_, {}};
    std::vector<Expr> d;
    for (int64_t r = 0; r < alpha_; ++r) {
      const Expr at_y = y + r, at_x = x + loop::var(j);
      std::vector<Expr> index{p.image, plane, at_y, at_x, loop::var(lane_)};
      const Expr ok = loop::both(inside(at_y, h_), inside(at_x, w_));
      d.push_back(columns.let("d", guarded ? loop::load_guarded(input, DType::f32, std::move(index), ok, number(0)) : loop::load(input, DType::f32, std::move(index))));
    }
    std::vector<Expr> t = transform_input(columns, d);
    for (int64_t r = 0; r < alpha_; ++r) columns.block.push_back(loop::store(half_, {loop::index(r), loop::var(j), loop::var(lane_)}, t[static_cast<size_t>(r)]));
    d.clear();
    for (int64_t r = 0; r < alpha_; ++r) d.push_back(rows.let("d", loop::load(half_, DType::f32, {loop::var(i), loop::index(r), loop::var(lane_)})));
    t = transform_input(rows, d);
    for (int64_t r = 0; r < alpha_; ++r)
      rows.block.push_back(loop::store(v_, {loop::var(i) * alpha_ + r, p.local * channels_ + loop::var(channel) * kLane + loop::var(lane_)}, t[static_cast<size_t>(r)]));
    return loop::for_loop(channel, loop::index(0), loop::index(channels_ / kLane),
                          {loop::for_loop(j, loop::index(0), loop::index(alpha_), {lanes(std::move(columns))}), loop::for_loop(i, loop::index(0), loop::index(alpha_), {lanes(std::move(rows))})});
  }

  static Expr inside(const Expr& at, const SymExpr& extent) { return loop::both(loop::ge(at, loop::index(0)), loop::lt(at, loop::from_sym(extent))); }

  // ---- M = V U at each position
  void products(loop::Block& b, const Expr& first_panel, const Expr& last_panel) {
    const loop::VarId position = kernel_.add_var("pos"), panel = kernel_.add_var("p");
    const Expr first = loop::floordiv(first_tile_, loop::index(plan_.rows)), last = loop::floordiv(last_tile_ + (plan_.rows - 1), loop::index(plan_.rows));
    auto rows = [&](const Expr& at, int64_t width) {
      return cover_rows(kernel_, total_, static_cast<int32_t>(plan_.rows), first, last,
                        [&](int32_t count, Expr row0) { return pieces({count, row0 - first_tile_, loop::var(position), at, first_panel, last_panel, width}); });
    };
    loop::Block inside;
    const Expr end = loop::index(panels_ - 1);
    if (!tail_) inside.push_back(loop::for_loop(panel, first_panel, last_panel, rows(loop::var(panel), panel_)));
    if (tail_ && panels_ > 1) inside.push_back(loop::for_loop(panel, first_panel, loop::min(last_panel, end), rows(loop::var(panel), panel_)));
    if (tail_) inside.push_back(loop::if_then(loop::lt(end, last_panel), rows(end, tail_)));
    b.push_back(loop::for_loop(position, loop::index(0), loop::index(alpha_ * alpha_), std::move(inside)));
  }

  Expr weights_at(const Expr& position, const Expr& panel) const {
    return position * position_floats_ + (group_ * panels_ + panel) * (channels_ * panel_);
  }
  static int64_t padded(int64_t width) { return (width + kLane - 1) / kLane * kLane; }

  // Weights that stream past L2 are fetched one panel early, the lines of a panel spread over the register tiles that
  // read the panel before it.
  void prefetch(loop::ContractTile& t, const Expr& row0, const Expr& position, const Expr& panel, const Expr& first_panel, const Expr& last_panel) const {
    if (!plan_.fetches) return;
    const int64_t blocks = plan_.tiles / plan_.rows;
    const Expr next = loop::select(loop::lt(panel + 1, last_panel), weights_at(position, panel + 1), weights_at(position + 1, first_panel));
    t.prefetch = next + loop::floordiv(row0, loop::index(plan_.rows)) * (channels_ * panel_ / blocks);
    t.prefetch_share = static_cast<int32_t>(blocks);
  }

  // Some output tiles at one position times one panel of `width` columns.
  struct Product {
    int32_t rows;
    Expr row0, position, panel, first_panel, last_panel;
    int64_t width;
  };

  // A last panel of three blocks has no registers for as many rows as the others.
  loop::Block pieces(const Product& all) {
    const int32_t most = most_rows(target_, padded(all.width)), count = (all.rows + most - 1) / most;
    loop::Block b;
    for (int32_t i = 0, row = 0; i < count; ++i) {
      Product p = all;
      p.rows = all.rows / count + (i < all.rows % count);
      p.row0 = all.row0 + row;
      row += p.rows;
      loop::Block piece = product(p, i == 0);
      b.insert(b.end(), piece.begin(), piece.end());
    }
    return b;
  }

  loop::Block product(const Product& p, bool fetches) {
    const auto& [rows, row0, position, panel, first_panel, last_panel, width] = p;
    loop::Block b;
    const int64_t v_stride = plan_.tiles * channels_ + kLane;
    const int64_t cols = width == panel_ ? tile_.cols : choose_tile(target_, padded(width), SymExpr(rows)).cols;
    for (int64_t part = 0; part < padded(width); part += cols) {
      loop::ContractTile t;
      t.a = v_;
      t.b = body_->buffer_of(param(root_.in[1]));
      t.a_base = position * v_stride + row0 * channels_;
      t.b_base = weights_at(position, panel) + part;
      t.a_row = loop::index(channels_);
      t.rows = rows;
      t.cols = static_cast<int32_t>(cols);
      if (width < part + cols) t.b_cols = static_cast<int32_t>(width - part);
      t.reductions = {{loop::index(channels_), loop::index(1), loop::index(width), false}};
      t.k_split = choose_k_split(target_, rows, t.cols);
      if (part == 0 && fetches) prefetch(t, row0, position, panel, first_panel, last_panel);
      t.row_var = row_, t.block_var = block_, t.lane_var = lane_, t.acc_var = acc_var_;
      const Expr at = (panel - first_panel) * (plan_.tiles * panel_) + (row0 + loop::var(row_)) * padded(width) + (loop::var(block_) * kLane + part) + loop::var(lane_);
      t.epilogue = {loop::store(products_, {position, at}, loop::var(acc_var_, DType::f32))};
      b.push_back(loop::contract(std::move(t)));
    }
    return b;
  }

  // ---- y = epilogue(A^T M A)
  void output_transform(loop::Block& b, const Expr& first_panel, const Expr& last_panel) {
    b.push_back(for_each_tile([&](loop::Block& tile, const Place& p) {
      const loop::VarId block = kernel_.add_var("kb");
      const int64_t per_panel = panel_ / kLane;
      const Expr first_block = first_panel * per_panel, whole = last_panel * per_panel;
      const Expr last_block = tail_ ? loop::select(loop::eq(last_panel, loop::index(panels_)), loop::index(out_blocks_), whole) : loop::min(whole, loop::index(out_blocks_));
      tile.push_back(loop::for_loop(block, first_block, last_block, pixels(p, loop::var(block), first_panel)));
    }));
  }

  loop::Block pixels(const Place& p, const Expr& block, const Expr& first_panel) {
    const loop::VarId j = kernel_.add_var("j");
    const int64_t per_panel = panel_ / kLane;
    loop::Block b;
    Expr panel = loop::floordiv(block, loop::index(per_panel)), width = loop::index(panel_);
    if (tail_) {
      panel = let(b, "panel", loop::min(panel, loop::index(panels_ - 1)));
      width = loop::select(loop::eq(panel, loop::index(panels_ - 1)), loop::index(padded(tail_)), width);
    }
    const Expr at = let(b, "at", (panel - first_panel) * (plan_.tiles * panel_) + p.local * width + (block - panel * per_panel) * kLane);
    Lanes columns{kernel_, {}};
    std::vector<Expr> m;
    for (int64_t r = 0; r < alpha_; ++r) m.push_back(columns.let("m", loop::load(products_, DType::f32, {loop::var(j) + r * alpha_, at + loop::var(lane_)})));
    const std::vector<Expr> t = transform_output(columns, m);
    for (int64_t r = 0; r < m_; ++r) columns.block.push_back(loop::store(half_, {loop::index(r), loop::var(j), loop::var(lane_)}, t[static_cast<size_t>(r)]));
    b.push_back(loop::for_loop(j, loop::index(0), loop::index(alpha_), {lanes(std::move(columns))}));
    const bool whole = mod(stored_columns_, stored_).is(0);
    const Expr fits = loop::ge(loop::from_sym(stored_columns_), (p.column + 1) * stored_);
    const loop::StmtRef full = lines(p, block, false);
    b.push_back(whole ? full : loop::if_then(fits, {full}, {lines(p, block, true)}));
    return b;
  }

  // The rows of a tile that exist, one by one: of pixels, or of pooled pairs.
  loop::StmtRef lines(const Place& p, const Expr& block, bool guarded) {
    const loop::VarId i = kernel_.add_var("i");
    const Expr first_line = p.row * stored_, first_column = p.column * stored_;
    Lanes l{kernel_, {}};
    const Expr upper = pool_ ? loop::var(i) * 2 : loop::var(i), lower = upper + 1;
    const std::vector<Expr> t = transformed_line(l, upper), below = pool_ ? transformed_line(l, lower) : t;
    for (int64_t c = 0; c < stored_; ++c) {
      const std::vector<Expr> index{p.image, group_ * out_blocks_ + block, first_line + loop::var(i), first_column + c, loop::var(lane_)};
      auto at = [&](const std::vector<Expr>& line, const Expr& row, int64_t column) { return pixel(p, block, line, row, column); };
      Expr value;
      if (!pool_)
        value = at(t, upper, c);
      else if (pool_->op->name == "MaxPool")
        value = loop::max(loop::max(at(t, upper, 2 * c), at(t, upper, 2 * c + 1)), loop::max(at(below, lower, 2 * c), at(below, lower, 2 * c + 1)));
      else
        value = ((at(t, upper, 2 * c) + at(t, upper, 2 * c + 1)) + (at(below, lower, 2 * c) + at(below, lower, 2 * c + 1))) * number(0.25);
      const loop::StmtRef store = loop::store(body_->output_buffer(), index, value);
      l.block.push_back(guarded ? loop::if_then(loop::lt(first_column + c, loop::from_sym(stored_columns_)), {store}) : store);
    }
    const Expr rows = mod(stored_rows_, stored_).is(0) ? loop::index(stored_) : loop::min(loop::from_sym(stored_rows_) - first_line, loop::index(stored_));
    return loop::for_loop(i, loop::index(0), rows, {lanes(std::move(l))});
  }

  // One line of the output tile, before the epilogue.
  std::vector<Expr> transformed_line(Lanes& l, const Expr& row) {
    std::vector<Expr> m;
    for (int64_t r = 0; r < alpha_; ++r) m.push_back(l.let("h", loop::load(half_, DType::f32, {row, loop::index(r), loop::var(lane_)})));
    std::vector<Expr> t = transform_output(l, m);
    for (Expr& e : t) e = l.let("y", e);
    return t;
  }

  // The epilogue of one pixel. It may read operands there, so it stands where the pixel is known to exist.
  Expr pixel(const Place& p, const Expr& block, const std::vector<Expr>& line, const Expr& row, int64_t column) {
    body_->clear_bindings();
    body_->bind(acc_, line[static_cast<size_t>(column)]);
    return body_->element(pixel_, std::vector<Expr>{p.image, group_ * out_blocks_ + block, p.row * m_ + row, p.column * m_ + column, loop::var(lane_)});
  }

  ValueId param(ValueId body_input) const {
    const auto& inputs = source_.inputs();
    const auto at = std::find(inputs.begin(), inputs.end(), body_input) - inputs.begin();
    FCC_CHECK(at < static_cast<int64_t>(inputs.size()), "operand of the root is no parameter");
    return graph_.inputs()[static_cast<size_t>(at)];
  }

  const Target& target_;
  const Graph& source_;
  const Node& root_;
  Graph graph_;
  ValueId acc_;
  loop::Kernel kernel_;
  std::optional<Body> body_;
  WinogradPlan plan_;
  TileShape tile_{};
  int64_t m_ = 4, alpha_ = 6, groups_ = 1, channels_ = 16, panel_ = 32, panels_ = 1, out_blocks_ = 1;  // of a group
  int64_t tail_ = 0, position_floats_ = 0;  // columns of the last panel where it has not panel_; weights at a position
  const Node* pool_ = nullptr;  // the pool at the end of the epilogue
  ValueId pixel_ = kNoValue;    // what it pools, or the output
  int64_t stored_ = 4;          // lines and columns that a tile stores
  SymExpr stored_rows_, stored_columns_;
  SymExpr batch_, h_, w_, oh_, ow_, pad_top_, pad_left_, tile_rows_, tile_columns_, total_;
  loop::VarId acc_var_ = -1, row_ = -1, block_ = -1, lane_ = -1;
  loop::BufferId v_ = -1, products_ = -1, half_ = -1;
  Expr group_ = loop::index(0), first_tile_, last_tile_;
};

// U = G w G^T for one panel and input channel after the other, sixteen columns at a time. The operations and their order are
// those of the interpreter, so the bits are.
class TransformNest {
 public:
  explicit TransformNest(const Graph& body) : node_(body.node(body.order()[0])), matrices_(winograd_matrices(node_.attrs.integer("m"))), body_(body, kernel_), input_(body_.buffer_of(body.inputs()[0])), output_(body_.output_buffer()) {}

  loop::Kernel run() {
    const int64_t channels = node_.attrs.integer("channels"), groups = node_.attrs.integer("group", 1);
    ConvPacking p{node_.attrs.integer("out_channels"), channels, groups, node_.attrs.integer("nr")};
    p.tail = node_.attrs.integer("tail", 0);
    const int64_t positions = matrices_.alpha * matrices_.alpha, floats = p.tail ? p.lanes() * channels : p.blocks() * channels * p.nr;
    // Flat: panels of any width then look alike.
    kernel_.buffers[static_cast<size_t>(input_)].dims = {9 * floats};
    kernel_.buffers[static_cast<size_t>(output_)].dims = {positions, floats};
    const loop::VarId t = kernel_.add_var("t");
    const int64_t whole = p.tail ? p.blocks() - 1 : p.blocks();
    const Expr first = loop::floordiv(loop::var(t), loop::index(channels)) * (channels * p.nr);
    auto channel = [&](int64_t width) { return columns(width, first + loop::mod(loop::var(t), loop::index(channels)) * width); };
    loop::Block b;
    if (!p.tail)
      b = channel(p.nr);
    else if (whole == 0)
      b = channel(p.tail);
    else
      b = {loop::if_then(loop::lt(loop::var(t), loop::index(whole * channels)), channel(p.nr), channel(p.tail))};
    kernel_.tiles = p.blocks() * channels;
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
    kernel_.name = "transform_weight_f32_" + std::to_string(node_.attrs.integer("m")) + "x3";
    kernel_.flops = floats * (matrices_.alpha * 3 * 5 + positions * 5);
    return std::move(kernel_);
  }

 private:
  // The weights of one input channel of a panel, from element `at` of a position on: nine taps of `width` columns.
  loop::Block columns(int64_t width, const Expr& at) {
    const loop::VarId lane = kernel_.add_var("lane");
    loop::Block b;
    auto let = [&](const char* name, Expr e) {
      const loop::VarId v = kernel_.add_var(name, DType::f64);
      b.push_back(loop::let(v, std::move(e)));
      return loop::var(v, DType::f64);
    };
    auto sum = [&](size_t row, const Expr& x, const Expr& y, const Expr& z) {
      auto times = [&](size_t k, const Expr& e) { return loop::constant(DType::f64, matrices_.g[row][k]) * e; };
      return (times(0, x) + times(1, y)) + times(2, z);
    };
    std::vector<Expr> w;
    for (int64_t tap = 0; tap < 9; ++tap)
      w.push_back(let("w", loop::cast(DType::f64, loop::load(input_, DType::f32, {at * 9 + tap * width + loop::var(lane)}))));
    for (int64_t i = 0; i < matrices_.alpha; ++i) {
      const auto row = static_cast<size_t>(i);
      const Expr t0 = let("t", sum(row, w[0], w[3], w[6])), t1 = let("t", sum(row, w[1], w[4], w[7])), t2 = let("t", sum(row, w[2], w[5], w[8]));
      for (int64_t j = 0; j < matrices_.alpha; ++j)
        b.push_back(loop::store(output_, {loop::index(i * matrices_.alpha + j), at + loop::var(lane)}, loop::cast(DType::f32, sum(static_cast<size_t>(j), t0, t1, t2))));
    }
    return {loop::for_loop(lane, loop::index(0), loop::index(width), std::move(b), loop::LoopKind::vec, 8)};
  }

  const Node& node_;
  const WinogradMatrices& matrices_;
  loop::Kernel kernel_;
  Body body_;
  loop::BufferId input_, output_;
};

}  // namespace

bool is_weight_transform(const Graph& body) {
  return body.order().size() == 1 && body.node(body.order()[0]).op->name == "TransformWinogradWeight";
}
loop::Kernel lower_weight_transform(const Graph& body) { return TransformNest(body).run(); }

bool is_winograd(const Graph& body, NodeId root) { return body.node(root).op->name == "WinogradConv"; }

loop::Kernel lower_winograd(const Graph& body, NodeId root, const Target& target) { return WinogradNest(body, root, target).run(); }

}  // namespace fcc::backend
