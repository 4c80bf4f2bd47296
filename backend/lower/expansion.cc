#include "backend/lower/expansion.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "backend/lower/depthwise.h"
#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;

std::vector<NodeId> roots_of(const Graph& body) {
  std::vector<NodeId> roots;
  for (NodeId n : body.order())
    if (body.node(n).op->strategy == Strategy::contraction || body.node(n).op->strategy == Strategy::window) roots.push_back(n);
  return roots;
}

class ExpansionNest {
 public:
  ExpansionNest(const Graph& body, const Target& target, int64_t image_blocks)
      : target_(target),
        source_(body),
        expand_(body.node(roots_of(body)[0])),
        window_(body.node(roots_of(body)[1])),
        front_graph_(tail_of(body, roots_of(body)[0], window_.in[0])),
        back_graph_(tail_of(body, roots_of(body)[1], body.outputs[0])),
        front_acc_(front_graph_.inputs().back()),
        back_acc_(back_graph_.inputs().back()) {
    const Dims &x = value(expand_.in[0]), &w = value(expand_.in[1]), &middle = value(window_.in[0]), &taps = value(window_.in[1]), &y = value(window_.out[0]);
    batch_ = x[0], channels_ = expand_.attrs.integer("channels"), panel_ = expand_.attrs.integer("nr"), tail_ = expand_.attrs.integer("tail", 0);
    panels_ = tail_ ? ((expand_.attrs.integer("out_channels") + 7) / 8 * 8 - tail_) / panel_ + 1 : w[0].constant();
    image_planes_ = image_blocks > 0 ? image_blocks : x[1].constant();
    blocks_ = middle[1].constant(), h_ = middle[2].constant(), w_ = middle[3].constant();
    oh_ = y[2].constant(), ow_ = y[3].constant(), kh_ = taps[2].constant(), kw_ = taps[3].constant();
    const std::vector<int64_t> kernel{kh_, kw_};
    const std::vector<SymExpr> in{h_, w_};
    Result<Window> window = window_of(window_.attrs, in, kernel);
    FCC_CHECK(window.has_value(), "{}", window.error().what);
    rows_ = (*window)[0], columns_ = (*window)[1];
    back_.emplace(back_graph_, kernel_, back_acc_);
    front_.emplace(front_graph_, kernel_, front_acc_, *back_);
  }

  loop::Kernel run() {
    plan();
    build();
    kernel_.name = "expand_depthwise_f32_" + std::to_string(kh_) + "x" + std::to_string(kw_) + (rows_.stride > 1 ? "s" + std::to_string(rows_.stride) : "") + "_" +
                   std::to_string(tile_.rows) + "x" + std::to_string(tile_.cols);
    kernel_.flops = batch_ * (blocks_ * kLane * 2 * (h_ * w_ * channels_ + oh_ * ow_ * kh_ * kw_));
    return std::move(kernel_);
  }

 private:
  const Dims& value(ValueId v) const { return source_.value(v).type.dims; }
  int64_t per_panel() const { return panel_ / kLane; }
  int64_t most_blocks() const { return std::max(per_panel(), padded(tail_) / kLane); }  // of a panel
  static int64_t padded(int64_t columns) { return (columns + kLane - 1) / kLane * kLane; }
  int64_t panel_floats() const { return channels_ * panel_; }
  int64_t pad_left() const { return columns_.pad_begin.constant(); }
  int64_t width() const { return std::max(pad_left() + w_, (ow_ - 1) * columns_.stride + columns_.span()); }
  int64_t strip_rows(int64_t lines) const { return (lines - 1) * rows_.stride + rows_.span(); }
  int64_t scratch_bytes(int64_t lines) const { return most_blocks() * strip_rows(lines) * width() * kLane * 4; }

  // ---- what a task is

  // ns of one core for a task of so many lines and panels; as in convolution.cc only the order of the sums matters.
  double score(int64_t lines, int64_t panels) const {
    constexpr double kFar = 25, kNear = 60, kTaskNs = 300, kCyclesPerNs = 3;
    const double macs = 6.0 * static_cast<double>(target_.vector_bytes) / 4, chains = static_cast<double>(kLane * 4 / target_.vector_bytes);
    const double rows = static_cast<double>(std::min(strip_rows(lines), h_)), panel_bytes = 4.0 * static_cast<double>(panel_floats());
    const double vectors = static_cast<double>(lines * ow_ * per_panel()) * chains;
    double panel = rows * static_cast<double>(w_) * panel_bytes / 4 / macs + vectors * (static_cast<double>(kh_ * kw_) / 2 + 4) / kCyclesPerNs;
    panel += panel_bytes / (panel_bytes * static_cast<double>(panels_) < static_cast<double>(target_.l2_bytes) / 2 ? 4 * kNear : 2 * kFar);
    if (scratch_bytes(lines) > target_.l1_bytes) panel += 2 * static_cast<double>(scratch_bytes(lines)) / kNear / 4;
    const double in_bytes = rows * static_cast<double>(w_ * channels_ * 4);
    double task = kTaskNs + static_cast<double>(panels) * panel + in_bytes / (2 * kFar);
    if (in_bytes > static_cast<double>(target_.l2_bytes) / 2) task += static_cast<double>(panels - 1) * in_bytes / (2 * kFar);
    auto groups = [](int64_t all, int64_t each) { return static_cast<double>((all + each - 1) / each); };
    const double images = batch_.is_constant() ? static_cast<double>(std::max<int64_t>(1, batch_.constant())) : 1;
    const double tasks = images * groups(oh_, lines) * groups(panels_, panels), threads = static_cast<double>(target_.threads);
    return tasks * task + threads * (std::ceil(tasks / threads) * task + std::ceil(tasks / (4 * threads)) * task / 8);
  }

  void plan() {
    const int64_t most = most_rows(target_, panel_);
    line_tile_ = 2 * w_ <= most ? std::min(most / w_, h_) : 1;
    tile_ = choose_tile(target_, panel_, SymExpr(w_ * line_tile_));
    const int64_t budget = target_.vector_registers * target_.vector_bytes / 64 >= 32 ? 6 : target_.vector_bytes >= 32 ? 3 : 2;
    const int64_t groups = (ow_ + budget - 1) / budget;
    pixels_ = (ow_ + groups - 1) / groups;
    double least = 0;
    for (int64_t strips = 1; strips <= oh_; ++strips)
      for (int64_t splits = 1; splits <= std::min<int64_t>(panels_, 64); ++splits) {
        const int64_t lines = (oh_ + strips - 1) / strips, panels = (panels_ + splits - 1) / splits;
        if (lines > 1 && scratch_bytes(lines) > target_.l2_bytes / 2) continue;
        const double s = score(lines, panels);
        if (least > 0 && s >= least) continue;
        least = s;
        strip_ = lines, panel_group_ = panels;
      }
    kernel_.note = "mr=" + std::to_string(tile_.rows) + " nr=" + std::to_string(tile_.cols) + ": a task is " + std::to_string(strip_) + " lines x " + std::to_string(panel_group_) +
                   " of " + std::to_string(panels_) + " panels, " + std::to_string(scratch_bytes(strip_) / 1024) + " KiB between the two, " + std::to_string(pixels_) +
                   " pixels of a window in registers";
  }

  // ---- loops

  Expr let(loop::Block& b, std::string var_name, Expr e) {
    const loop::VarId v = kernel_.add_var(std::move(var_name));
    b.push_back(loop::let(v, std::move(e)));
    return loop::var(v);
  }

  void build() {
    const int64_t strips = (oh_ + strip_ - 1) / strip_, panel_tasks = (panels_ + panel_group_ - 1) / panel_group_;
    kernel_.tiles = batch_ * (panel_tasks * strips);
    const loop::VarId t = kernel_.add_var("t");
    acc_var_ = kernel_.add_var("acc", DType::f32);
    row_ = kernel_.add_var("r"), block_ = kernel_.add_var("j"), lane_ = kernel_.add_var("lane");
    loop::Block b;
    Expr rest = loop::var(t);
    auto digit = [&](const char* digit_name, int64_t extent) {
      if (extent == 1) return loop::index(0);
      Expr e = let(b, digit_name, loop::mod(rest, loop::index(extent)));
      rest = let(b, "q", loop::floordiv(rest, loop::index(extent)));
      return e;
    };
    const Expr strip = digit("strip", strips), panel_task = digit("pt", panel_tasks);
    image_ = batch_.is(1) ? loop::index(0) : rest;
    first_line_ = strip * strip_;
    last_line_ = loop::min(first_line_ + strip_, loop::index(oh_));
    top_ = first_line_ * rows_.stride - loop::from_sym(rows_.pad_begin);
    const Expr zero = loop::index(0), rows = loop::index(strip_rows(strip_));
    lo_ = let(b, "lo", loop::min(rows, loop::max(zero, zero - top_)));
    hi_ = let(b, "hi", loop::max(lo_, loop::min(rows, loop::index(h_) - top_)));
    scratch_ = kernel_.add_buffer({"wide", DType::f32, {most_blocks(), strip_rows(strip_), width() * kLane}, loop::Space::scratch, false});
    b.push_back(loop::alloc(scratch_));
    clear_borders(b);
    const loop::VarId p = kernel_.add_var("p");
    auto panel = [&](const Expr& at, int64_t columns) {
      panel_at_ = at, panel_width_ = columns;
      loop::Block inside = expand();
      const loop::Block windows = take_windows();
      inside.insert(inside.end(), windows.begin(), windows.end());
      return inside;
    };
    const Expr first_panel = panel_task * panel_group_, last_panel = loop::min(first_panel + panel_group_, loop::index(panels_));
    const Expr last = loop::index(panels_ - 1);
    if (!tail_) b.push_back(loop::for_loop(p, first_panel, last_panel, panel(loop::var(p), panel_)));
    if (tail_ && panels_ > 1) b.push_back(loop::for_loop(p, first_panel, loop::min(last_panel, last), panel(loop::var(p), panel_)));
    if (tail_) b.push_back(loop::if_then(loop::lt(last, last_panel), panel(last, tail_)));
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // Zeros where the window hangs over the image: no panel of the task writes there.
  void clear_borders(loop::Block& b) {
    const loop::VarId block = kernel_.add_var("j"), r = kernel_.add_var("y");
    auto fill = [&](int64_t from, int64_t to) {
      const loop::VarId x = kernel_.add_var("x");
      const loop::StmtRef store = loop::store(scratch_, {loop::var(block), loop::var(r), loop::var(x)}, loop::constant(DType::f32, 0));
      return loop::for_loop(x, loop::index(from * kLane), loop::index(to * kLane), {store}, loop::LoopKind::vec, 16);
    };
    loop::Block sides;
    if (pad_left() > 0) sides.push_back(fill(0, pad_left()));
    if (width() > pad_left() + w_) sides.push_back(fill(pad_left() + w_, width()));
    loop::Block row = {fill(0, width())};
    if (!rows_.is_inside() || !sides.empty()) {
      const Expr inside = loop::both(loop::ge(loop::var(r), lo_), loop::lt(loop::var(r), hi_));
      const loop::StmtRef one = loop::if_then(loop::unary(loop::UnaryOp::logical_not, inside), std::move(row), std::move(sides));
      const loop::StmtRef rows = loop::for_loop(r, loop::index(0), loop::index(strip_rows(strip_)), {one});
      b.push_back(loop::for_loop(block, loop::index(0), loop::index(most_blocks()), {rows}));
    }
  }

  // The panel's channels of the strip's lines, into scratch.
  loop::Block expand() {
    const Expr first = top_ + lo_, last = top_ + hi_;  // lines of the image
    if (line_tile_ == 1) {
      const loop::VarId line = kernel_.add_var("h");
      loop::Block columns = cover_rows(kernel_, SymExpr(w_), tile_.rows, loop::index(0), loop::index((w_ + tile_.rows - 1) / tile_.rows),
                                       [&](int32_t rows, Expr column) { return pieces(rows, loop::var(line), column); });
      return {loop::for_loop(line, first, last, std::move(columns))};
    }
    // Several short lines a tile; then line by line what is left.
    const loop::VarId group = kernel_.add_var("g"), line = kernel_.add_var("h");
    loop::Block b;
    const Expr groups = let(b, "groups", loop::floordiv(last - first, loop::index(line_tile_)));
    b.push_back(loop::for_loop(group, loop::index(0), groups, pieces(static_cast<int32_t>(line_tile_ * w_), first + loop::var(group) * line_tile_, loop::index(0))));
    b.push_back(loop::for_loop(line, first + groups * line_tile_, last, pieces(static_cast<int32_t>(w_), loop::var(line), loop::index(0))));
    return b;
  }

  // A last panel of three blocks has no registers for as many rows as the others.
  loop::Block pieces(int32_t rows, const Expr& line, const Expr& column) {
    const int64_t most = most_rows(target_, padded(panel_width_));
    if (rows <= most) return tiles(rows, line, column);
    loop::Block b;
    const bool whole_lines = rows > w_;
    const int64_t count = whole_lines ? (rows / w_ + most / w_ - 1) / (most / w_) : (rows + most - 1) / most, unit = whole_lines ? w_ : 1, all = rows / unit;
    for (int64_t i = 0, at = 0; i < count; ++i) {
      const int64_t n = all / count + (i < all % count);
      loop::Block piece = whole_lines ? tiles(static_cast<int32_t>(n * w_), line + at, column) : tiles(static_cast<int32_t>(n), line, column + at);
      b.insert(b.end(), piece.begin(), piece.end());
      at += n;
    }
    return b;
  }

  loop::Block tiles(int32_t rows, const Expr& line, const Expr& column) {
    loop::Block b;
    const int64_t cols = panel_width_ == panel_ ? tile_.cols : choose_tile(target_, padded(panel_width_), SymExpr(rows)).cols;
    for (int64_t half = 0; half < padded(panel_width_); half += cols) {
      loop::ContractTile t;
      t.a = front_->buffer_of(param(front_graph_, expand_.in[0]));
      t.b = front_->buffer_of(param(front_graph_, expand_.in[1]));
      t.a_base = image_ * (image_planes_ * h_ * w_ * kLane) + (line * w_ + column) * kLane;
      t.b_base = panel_at_ * panel_floats() + half;
      t.a_row = loop::index(kLane);
      t.rows = rows;
      t.cols = static_cast<int32_t>(cols);
      if (panel_width_ < half + cols) t.b_cols = static_cast<int32_t>(panel_width_ - half);
      t.reductions.push_back({loop::index((channels_ + kLane - 1) / kLane), loop::index(h_ * w_ * kLane), loop::index(kLane * panel_width_), false});
      t.reductions.push_back({loop::index(std::min(kLane, channels_)), loop::index(1), loop::index(panel_width_), false});
      if (channels_ > kLane) t.last = static_cast<int32_t>(channels_ % kLane);
      t.k_split = choose_k_split(target_, rows, t.cols);
      t.row_var = row_, t.block_var = block_, t.lane_var = lane_, t.acc_var = acc_var_;
      t.epilogue = store_wide(line, column, half / kLane);
      if (half == 0) prefetch(t, line, column);
      b.push_back(loop::contract(std::move(t)));
    }
    return b;
  }

  // Each tile fetches its share of the next panel's weights, as in convolution.cc.
  void prefetch(loop::ContractTile& t, const Expr& line, const Expr& column) const {
    constexpr int64_t kMostTiles = 16;
    const int64_t in_line = line_tile_ > 1 ? 1 : (w_ + tile_.rows - 1) / tile_.rows;
    const int64_t tiles = (std::min(strip_rows(strip_), h_) + line_tile_ - 1) / line_tile_ * in_line;
    if (tiles > kMostTiles || panels_ == 1 || panel_width_ != panel_) return;
    const Expr at = loop::floordiv(line - top_ - lo_, loop::index(line_tile_)) * in_line + (line_tile_ > 1 ? loop::index(0) : loop::floordiv(column, loop::index(tile_.rows)));
    t.prefetch = t.b_base + panel_floats() + at * (panel_floats() / tiles);
    t.prefetch_share = static_cast<int32_t>(tiles);
  }

  loop::Block store_wide(const Expr& line, const Expr& column, int64_t first_block) {
    const Expr in_panel = loop::var(block_) + first_block, channel_block = panel_at_ * per_panel() + in_panel;
    Expr down = loop::index(0), across = loop::var(row_);
    if (line_tile_ > 1) {
      down = loop::floordiv(loop::var(row_), loop::index(w_));
      across = loop::mod(loop::var(row_), loop::index(w_));
    }
    front_->clear_bindings();
    front_->bind(front_acc_, loop::var(acc_var_, DType::f32));
    const Expr e = front_->element(front_graph_.outputs[0], std::vector<Expr>{image_, channel_block, line + down, column + across, loop::var(lane_)});
    const Expr at = (column + across + pad_left()) * kLane + loop::var(lane_);
    loop::Block b{loop::store(scratch_, {in_panel, line + down - top_, at}, e)};
    if (blocks_ % per_panel() == 0 || tail_) return b;
    return {loop::if_then(loop::lt(channel_block, loop::index(blocks_)), std::move(b))};
  }

  loop::Block take_windows() {
    const loop::VarId block = kernel_.add_var("cb"), line = kernel_.add_var("oh");
    window_block_ = loop::var(block);
    const int64_t groups = ow_ / pixels_, rest = ow_ % pixels_;
    loop::Block columns;
    if (groups > 1) {
      const loop::VarId g = kernel_.add_var("g");
      columns.push_back(loop::for_loop(g, loop::index(0), loop::index(groups), {pixels(pixels_, loop::var(line), loop::var(g) * pixels_)}));
    } else {
      columns.push_back(pixels(pixels_, loop::var(line), loop::index(0)));
    }
    if (rest > 0) columns.push_back(pixels(rest, loop::var(line), loop::index(groups * pixels_)));
    const loop::StmtRef lines = loop::for_loop(line, first_line_, last_line_, std::move(columns));
    const Expr last = tail_ ? loop::index(padded(panel_width_) / kLane) : loop::min(loop::index(per_panel()), loop::index(blocks_) - panel_at_ * per_panel());
    return {loop::for_loop(block, loop::index(0), last, {lines})};
  }

  loop::StmtRef pixels(int64_t count, const Expr& line, const Expr& column) {
    const Expr channel_block = panel_at_ * per_panel() + window_block_;
    const loop::BufferId weights = back_->buffer_of(param(back_graph_, window_.in[1]));
    loop::Block inside;
    const std::vector<Expr> sums = sums_of_taps(kernel_, inside, intern_, count, kh_, [&](int64_t i, int64_t p, Expr total) {
      for (int64_t j = 0; j < kw_; ++j) {
        const Expr at = (column * columns_.stride + (p * columns_.stride + j * columns_.dilation)) * kLane + loop::var(lane_);
        const Expr x = loop::load(scratch_, DType::f32, {window_block_, (line - first_line_) * rows_.stride + i * rows_.dilation, at});
        const Expr w = loop::load(weights, DType::f32, {channel_block, loop::index(0), loop::index(i), loop::index(j), loop::var(lane_)});
        total = total ? loop::fma(x, w, total) : x * w;
      }
      return total;
    });
    for (int64_t p = 0; p < count; ++p) {
      const std::vector<Expr> index{image_, channel_block, line, column + p, loop::var(lane_)};
      back_->clear_bindings();
      back_->bind(back_acc_, sums[static_cast<size_t>(p)]);
      inside.push_back(loop::store(back_->output_buffer(), index, back_->element(back_graph_.outputs[0], index)));
    }
    return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(inside), loop::LoopKind::vec, 16);
  }

  ValueId param(const Graph& graph, ValueId body_input) const {
    const auto& inputs = source_.inputs();
    const auto at = std::find(inputs.begin(), inputs.end(), body_input) - inputs.begin();
    FCC_CHECK(at < static_cast<int64_t>(inputs.size()), "operand of the root is no parameter");
    return graph.inputs()[static_cast<size_t>(at)];
  }

  const Target& target_;
  const Graph& source_;
  const Node &expand_, &window_;
  Graph front_graph_, back_graph_;  // what happens to the sums of either
  ValueId front_acc_, back_acc_;
  loop::Kernel kernel_;
  std::optional<Body> back_, front_;
  Interner intern_;
  SymExpr batch_;
  int64_t channels_ = 0, panel_ = 16, panels_ = 1, tail_ = 0, image_planes_ = 1, blocks_ = 1;
  int64_t h_ = 1, w_ = 1, oh_ = 1, ow_ = 1, kh_ = 1, kw_ = 1;
  WindowAxis rows_, columns_;
  TileShape tile_{};
  int64_t line_tile_ = 1, pixels_ = 1, strip_ = 1, panel_group_ = 1;
  loop::BufferId scratch_ = -1;
  loop::VarId acc_var_ = -1, row_ = -1, block_ = -1, lane_ = -1;
  int64_t panel_width_ = 16;  // of the panel that code is being made for
  Expr image_, first_line_, last_line_, top_, lo_, hi_, panel_at_, window_block_;
};

}  // namespace

bool is_expansion(const Graph& body) {
  const std::vector<NodeId> roots = roots_of(body);
  return roots.size() == 2 && is_depthwise(body, roots[1]);
}

loop::Kernel lower_expansion(const Graph& body, const Target& target, int64_t image_blocks) { return ExpansionNest(body, target, image_blocks).run(); }

}  // namespace fcc::backend
