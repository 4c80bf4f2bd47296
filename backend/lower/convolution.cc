#include "backend/lower/convolution.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "backend/lower/padding.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;

// Everything about the convolution that the loops need.
struct Conv {
  SymExpr batch, h, w, oh, ow;
  int64_t groups = 1, channels = 0, out_blocks = 0;  // channels per group; out_blocks per group
  int64_t kh = 1, kw = 1, sh = 1, sw = 1, dh = 1, dw = 1;
  SymExpr pad_top, pad_left;
  bool padded = false, blocked_in = false;
  bool halves = false;  // two groups of eight channels a block; `groups` counts blocks then, `channels` is eight
  int64_t panel = 16, panels = 1;                    // panels per group
  int64_t tail = 0;                                  // columns of the last panel where it has not `panel`
  int64_t pixel() const { return blocked_in ? kLane : 1; }             // floats between neighbouring columns
  int64_t planes() const { return halves ? 1 : blocked_in ? (channels + kLane - 1) / kLane : channels; }  // planes of x a group reads
  int64_t panel_floats() const { return channels * kh * kw * panel; }
};

// One way to cut the work: a task is `units` of the spatial units (lines, groups of lines, or tiles of pixels) times
// `panels` of a group's panels.
struct Cut {
  int64_t units = 1, panels = 1;
};

// What a cut costs, in ns of one core with the machine's figures rounded: only the order of the sums matters.
// Weights that do not stay in the second-level cache are read again by every strip, the input by every group of
// panels; the makespan punishes few large tasks.
struct CutModel {
  const Target& target;
  const Conv& conv;
  int64_t units = 1;              // spatial units of an image
  double unit_pixels = 1;         // output pixels of one
  double rows_in = 1, rows_halo = 0, row_bytes = 0;  // input rows a unit moves on, rows more a strip, bytes of a row
  double images = 1;              // times groups
  bool copied = false;            // strips pass through scratch

  double score(const Cut& c) const {
    constexpr double kMacsPerNs = 6, kFar = 25, kNear = 60, kTaskNs = 300;  // per lane; bytes per ns from L3, from L2
    const double macs = kMacsPerNs * static_cast<double>(target.vector_bytes) / 4;
    const double half_l2 = static_cast<double>(target.l2_bytes) / 2;
    const double strips = std::ceil(static_cast<double>(units) / static_cast<double>(c.units));
    const double splits = std::ceil(static_cast<double>(conv.panels) / static_cast<double>(c.panels));
    const double panel_bytes = 4.0 * static_cast<double>(conv.panel_floats()), panels = static_cast<double>(c.panels);
    const double pixels = std::min(static_cast<double>(c.units), static_cast<double>(units)) * unit_pixels;
    const double in_bytes = (static_cast<double>(c.units) * rows_in + rows_halo) * row_bytes;
    const bool weights_stay = static_cast<double>(conv.panels) * panel_bytes < half_l2;
    double task = kTaskNs + pixels * panels * panel_bytes / 4 / macs;
    task += panels * panel_bytes / (weights_stay ? 4 * kNear : 2 * kFar);
    task += copied ? in_bytes / kFar * 1.5 : in_bytes / (2 * kFar);
    if (in_bytes > half_l2) task += (panels - 1) * in_bytes / (2 * kFar);
    const double tasks = images * strips * splits, threads = static_cast<double>(target.threads);
    const double chunk = std::ceil(tasks / (4 * threads)) * task;  // what a thread claims at once
    return tasks * task + threads * (std::ceil(tasks / threads) * task + chunk / 8);
  }

  // limit: the most units a task may take.
  Cut best(int64_t limit) const {
    Cut best;
    double least = 0;
    for (int64_t strips = 1; strips <= std::min<int64_t>(units, 512); ++strips)
      for (int64_t splits = 1; splits <= std::min<int64_t>(conv.panels, 64); ++splits) {
        const Cut c{(units + strips - 1) / strips, (conv.panels + splits - 1) / splits};
        if (c.units > limit) continue;
        const double s = score(c);
        if (least > 0 && s >= least) continue;
        least = s;
        best = c;
      }
    return best;
  }
};

class ConvNest {
 public:
  ConvNest(const Graph& body, NodeId root, const Target& target, int64_t image_blocks)
      : target_(target), image_blocks_(image_blocks), source_(body), root_(body.node(root)), conv_(describe_conv()), raw_(epilogue_of(body, root)) {
    choose_flat();
    acc_ = graph_.inputs().back();
    if (source_.value(root_.in[0]).def != kNoNode) prologue_ = named(source_.value(root_.in[0]).name);
    body_.emplace(graph_, kernel_, acc_);
    acc_var_ = kernel_.add_var("acc", DType::f32);
    row_ = kernel_.add_var("r");
    block_ = kernel_.add_var("j");
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    choose_lines();
    tile_ = conv_.halves ? choose_half_tile(target_, rows_) : choose_tile(target_, conv_.panel, rows_);
    plan_tasks();
    build();
    kernel_.name = "conv_f32_" + std::to_string(conv_.kh) + "x" + std::to_string(conv_.kw) + (conv_.sh > 1 ? "s" + std::to_string(conv_.sh) : "") + "_" +
                   std::to_string(tile_.rows) + "x" + std::to_string(tile_.cols);
    const SymExpr macs = conv_.batch * conv_.oh * conv_.ow * (conv_.groups * conv_.out_blocks * kLane * conv_.channels * conv_.kh * conv_.kw);
    kernel_.flops = macs * 2;
    return std::move(kernel_);
  }

 private:
  ValueId named(const std::string& name) const {
    for (ValueId v = 0; v < graph_.value_count(); ++v)
      if (!graph_.value(v).dead && graph_.value(v).name == name) return v;
    FCC_UNREACHABLE("no value {}", name);
  }

  Conv describe_conv() const {
    const Dims &x = source_.value(root_.in[0]).type.dims, &w = source_.value(root_.in[1]).type.dims, &y = source_.value(root_.out[0]).type.dims;
    Conv c;
    c.blocked_in = root_.attrs.flag("blocked_in");
    c.groups = root_.attrs.integer("group", 1);
    c.tail = root_.attrs.integer("tail", 0);
    c.channels = c.tail ? root_.attrs.integer("channels") : w[1].constant();
    c.kh = w[2].constant();
    c.kw = w[3].constant();
    c.panel = root_.attrs.integer("nr");
    c.halves = c.groups > 1 && c.channels == kLane / 2;
    if (c.halves) c.groups = w[0].constant();
    c.panels = w[0].constant() / c.groups;
    if (c.tail) c.panels = ((root_.attrs.integer("out_channels") + 7) / 8 * 8 - c.tail) / c.panel + 1;
    c.out_blocks = y[1].constant() / c.groups;
    c.batch = x[0], c.h = x[2], c.w = x[3], c.oh = y[2], c.ow = y[3];
    const std::vector<int64_t> kernel{c.kh, c.kw};
    const std::vector<SymExpr> in{c.h, c.w};
    Result<Window> window = window_of(root_.attrs, in, kernel);
    FCC_CHECK(window.has_value(), "{}", window.error().what);
    c.sh = (*window)[0].stride, c.sw = (*window)[1].stride;
    c.dh = (*window)[0].dilation, c.dw = (*window)[1].dilation;
    c.pad_top = (*window)[0].pad_begin, c.pad_left = (*window)[1].pad_begin;
    c.padded = !(*window)[0].is_inside() || !(*window)[1].is_inside();
    return c;
  }

  // A 1x1 convolution without stride or padding is a matrix product over pixels: rows and columns become one axis
  // when nothing in the epilogue tells them apart.
  void choose_flat() {
    flat_ = false;
    if (conv_.kh == 1 && conv_.kw == 1 && conv_.sh == 1 && conv_.sw == 1 && !conv_.padded) {
      for (const AxisGroup& g : mergeable_axes(raw_, true)) flat_ |= g.begin <= 2 && g.end >= 4;
    }
    graph_ = flat_ ? collapse(raw_, {{0, 1}, {1, 2}, {2, 4}, {4, 5}}) : raw_;
    rows_ = flat_ ? conv_.oh * conv_.ow : conv_.ow;
    lines_ = flat_ ? SymExpr(1) : conv_.oh;
  }

  static int64_t number(const SymExpr& e) { return std::max<int64_t>(1, guess_size(e)); }

  // Lines shorter than half of a tile share one: 7 columns make tiles of two lines, 14 rows of pixels.
  void choose_lines() {
    line_tile_ = 1;
    if (flat_ || !conv_.ow.is_constant() || !conv_.oh.is_constant()) return;
    const int64_t most = conv_.halves ? choose_half_tile(target_, 64).rows : most_rows(target_, conv_.panel), ow = std::max<int64_t>(1, conv_.ow.constant()), oh = conv_.oh.constant();
    if (2 * ow > most || oh < 2) return;
    const int64_t groups = (oh + most / ow - 1) / (most / ow);
    line_tile_ = (oh + groups - 1) / groups;
    rows_ = ow * line_tile_;
  }

  // Output is cut into strips of lines, each line into segments (bounded scratch when the width is open), and the
  // output channels into groups of panels. A strip that is copied into padded scratch serves all of its panels.
  void plan_tasks() {
    const int64_t all_tiles = (number(rows_) + tile_.rows - 1) / tile_.rows;
    segment_tiles_ = rows_.is_constant() ? all_tiles : std::min<int64_t>(4, all_tiles);
    CutModel m{target_, conv_};
    m.copied = conv_.padded || prologue_ != kNoValue;
    // An open batch is most often 1: one image must be work enough for all threads.
    m.images = static_cast<double>((conv_.batch.is_constant() ? number(conv_.batch) : 1) * conv_.groups);
    if (flat_) {
      m.units = all_tiles;
      m.unit_pixels = m.rows_in = static_cast<double>(tile_.rows);
      m.row_bytes = static_cast<double>(conv_.channels * 4);
    } else {
      m.units = (number(lines_) + line_tile_ - 1) / line_tile_;
      m.unit_pixels = static_cast<double>(line_tile_ * number(conv_.ow));
      m.rows_in = static_cast<double>(line_tile_ * std::min(conv_.sh, conv_.kh));
      m.rows_halo = static_cast<double>((conv_.kh - 1) * conv_.dh);
      m.row_bytes = static_cast<double>(conv_.channels * 4 * number(conv_.w) / (conv_.kw == 1 ? conv_.sw : 1));
    }
    int64_t limit = m.units;
    strip_ = line_tile_;
    if (prologue_ != kNoValue) limit = std::clamp<int64_t>(target_.l2_bytes / 2 / (conv_.channels * 4 * tile_.rows), 1, m.units);
    if (!flat_ && conv_.padded)
      for (; limit > 1 && scratch_floats(limit * line_tile_) * 4 > target_.l2_bytes / 2;) --limit;
    const Cut cut = m.best(limit);
    if (flat_)
      segment_tiles_ = cut.units;
    else
      strip_ = cut.units * line_tile_;
    panel_group_ = cut.panels;
    kernel_.note = "mr=" + std::to_string(tile_.rows) + " nr=" + std::to_string(tile_.cols) + ": a task is " + std::to_string(flat_ ? 1 : strip_) + " lines x " +
                   std::to_string(segment_tiles_) + " tiles x " + std::to_string(panel_group_) + " of " + std::to_string(conv_.panels) + " panels" +
                   (conv_.padded ? ", padded copy of " + std::to_string(scratch_floats(strip_) * 4 / 1024) + " KiB" : "") +
                   (prologue_ != kNoValue ? ", its input computed into scratch" : "");
  }

  int64_t segment_columns() const {
    const int64_t columns = line_tile_ > 1 ? conv_.ow.constant() : segment_tiles_ * tile_.rows;
    return (columns - 1) * conv_.sw + (conv_.kw - 1) * conv_.dw + 1;
  }
  int64_t strip_rows(int64_t strip) const { return (strip - 1) * conv_.sh + (conv_.kh - 1) * conv_.dh + 1; }
  int64_t scratch_floats(int64_t strip) const { return conv_.planes() * strip_rows(strip) * segment_columns() * conv_.pixel(); }

  Expr let(loop::Block& b, std::string var_name, Expr value) {
    const loop::VarId v = kernel_.add_var(std::move(var_name));
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }

  void build() {
    const SymExpr all_tiles = ceildiv(rows_, tile_.rows);
    if (flat_) strip_ = 1;
    const SymExpr strips = ceildiv(lines_, strip_), segments = ceildiv(all_tiles, segment_tiles_);
    const int64_t panel_tasks = (conv_.panels + panel_group_ - 1) / panel_group_;
    kernel_.tiles = conv_.batch * conv_.groups * panel_tasks * strips * segments;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    // t = (image, group, panel task, strip, segment), segments fastest: neighbours share weights.
    Expr rest = loop::var(t);
    auto digit = [&](const char* digit_name, const SymExpr& extent) {
      if (extent.is(1)) return loop::index(0);
      Expr e = let(b, digit_name, loop::mod(rest, loop::from_sym(extent)));
      rest = let(b, "q", loop::floordiv(rest, loop::from_sym(extent)));
      return e;
    };
    const Expr segment = digit("seg", segments), strip = digit("strip", strips), panel_task = digit("pt", panel_tasks);
    group_ = digit("g", conv_.groups);
    image_ = conv_.batch.is(1) ? loop::index(0) : rest;
    const Expr first_line = strip * strip_, last_line = loop::min(first_line + strip_, loop::from_sym(lines_));
    const Expr first_tile = segment * segment_tiles_, last_tile = loop::min(first_tile + segment_tiles_, loop::from_sym(all_tiles));
    if (conv_.padded) copy_strip(b, first_line, first_tile * tile_.rows);
    if (prologue_ != kNoValue) compute_strip(b, first_tile * tile_.rows);
    const Expr first_panel = panel_task * panel_group_, last_panel = loop::min(first_panel + panel_group_, loop::index(conv_.panels));
    const loop::VarId p = kernel_.add_var("p");
    auto cover = [&](const Expr& panel, int64_t width) {
      return cover_strip({.panel = panel, .width = width, .strip = strip, .first_line = first_line, .last_line = last_line, .first_tile = first_tile, .last_tile = last_tile});
    };
    if (!conv_.tail) {
      b.push_back(loop::for_loop(p, first_panel, last_panel, cover(loop::var(p), conv_.panel)));
    } else {
      const Expr last = loop::index(conv_.panels - 1);
      if (conv_.panels > 1) b.push_back(loop::for_loop(p, first_panel, loop::min(last_panel, last), cover(loop::var(p), conv_.panel)));
      loop::Block tail = cover(last, conv_.tail);
      if (panel_tasks == 1)
        b.insert(b.end(), tail.begin(), tail.end());
      else
        b.push_back(loop::if_then(loop::lt(last, last_panel), std::move(tail)));
    }
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // One panel over the pixels of a task.
  struct Strip {
    Expr panel;
    int64_t width;  // of the panel
    Expr strip, first_line, last_line, first_tile, last_tile;
  };
  loop::Block cover_strip(const Strip& s) {
    if (line_tile_ > 1) {
      const Expr first = s.strip * (strip_ / line_tile_), last = loop::min(first + strip_ / line_tile_, loop::from_sym(ceildiv(lines_, line_tile_)));
      return cover_rows(kernel_, lines_, static_cast<int32_t>(line_tile_), first, last, [&](int32_t lines, Expr line) {
        return pieces({static_cast<int32_t>(lines * conv_.ow.constant()), loop::index(0), line, s.panel, s.width, s.first_line, loop::index(0)});
      });
    }
    const loop::VarId line = kernel_.add_var("oh");
    loop::Block covered = cover_rows(kernel_, rows_, tile_.rows, s.first_tile, s.last_tile, [&](int32_t rows, Expr row0) {
      return pieces({rows, row0, loop::var(line), s.panel, s.width, s.first_line, s.first_tile * tile_.rows});
    });
    return {loop::for_loop(line, s.first_line, s.last_line, std::move(covered))};
  }

  void copy_strip(loop::Block& b, const Expr& first_line, const Expr& first_column) {
    PaddedStrip s;
    s.input = body_->buffer_of(param(root_.in[0]));
    s.planes = conv_.planes();
    s.rows = strip_rows(strip_);
    s.width = segment_columns() * conv_.pixel();
    s.height = conv_.h;
    s.row_floats = conv_.w * conv_.pixel();
    s.image = image_;
    s.first_plane = group_ * conv_.planes();
    s.top = first_line * conv_.sh - loop::from_sym(conv_.pad_top);
    s.left = (first_column * conv_.sw - loop::from_sym(conv_.pad_left)) * conv_.pixel();
    // The kernel's parameter, re-described: nothing in the epilogue reads it.
    kernel_.buffers[static_cast<size_t>(s.input)].dims = {conv_.batch, conv_.groups * conv_.planes(), conv_.h, s.row_floats};
    scratch_ = copy_padded(kernel_, b, s);
  }

  // The strip's pixels of the root's operand, which the kernel makes itself. Pixels innermost: what depends on the
  // channel alone is computed once.
  void compute_strip(loop::Block& b, const Expr& first) {
    const int64_t pixels = segment_tiles_ * tile_.rows;
    scratch_ = kernel_.add_buffer({"operand", DType::f32, {conv_.planes(), pixels, kLane}, loop::Space::scratch, false});
    b.push_back(loop::alloc(scratch_));
    const Expr count = let(b, "pixels", loop::min(loop::index(pixels), loop::from_sym(rows_) - first));
    const LoopDim plane{kernel_.add_var("c"), conv_.planes()}, lane{kernel_.add_var("l"), kLane}, pixel{kernel_.add_var("x"), pixels};
    const std::vector<Expr> at{image_, loop::var(plane.var), first + loop::var(pixel.var), loop::var(lane.var)};
    body_->clear_bindings();
    Interner intern;
    Hoisted h = hoist_invariants(kernel_, {plane, lane, pixel}, {intern(body_->element(prologue_, at))}, intern);
    const loop::StmtRef store = loop::store(scratch_, {loop::var(plane.var), loop::var(pixel.var), loop::var(lane.var)}, h.values[0]);
    loop::Block inside = std::move(h.levels[1]);
    inside.push_back(loop::for_loop(pixel.var, loop::index(0), count, {store}));
    loop::Block planes = std::move(h.levels[0]);
    planes.push_back(loop::for_loop(lane.var, loop::index(0), loop::index(kLane), std::move(inside), loop::LoopKind::vec, 16));
    b.insert(b.end(), h.before.begin(), h.before.end());
    b.push_back(loop::for_loop(plane.var, loop::index(0), loop::index(conv_.planes()), std::move(planes)));
  }

  // A register tile: `rows` pixels from column row0 of a line on (or of several lines), of one panel.
  struct Place {
    int32_t rows;
    Expr row0, line, panel;
    int64_t width;  // columns of the panel
    Expr first_line, first_column;
  };

  // A last panel of three blocks has no registers for as many rows as the others: tiles of equal height, or of lines.
  loop::Block pieces(const Place& at) {
    const int64_t most = most_rows(target_, padded(at.width));
    if (conv_.halves || at.rows <= most) return tiles(at);
    loop::Block b;
    auto append = [&](int64_t rows, Expr row0, Expr line) {
      Place p = at;
      p.rows = static_cast<int32_t>(rows), p.row0 = std::move(row0), p.line = std::move(line);
      loop::Block piece = tiles(p);
      b.insert(b.end(), piece.begin(), piece.end());
    };
    if (line_tile_ > 1 && at.rows > conv_.ow.constant()) {
      const int64_t ow = conv_.ow.constant(), lines = at.rows / ow, each = most / ow;
      for (int64_t l = 0; l < lines; l += each) append(std::min(each, lines - l) * ow, at.row0, at.line + l);
      return b;
    }
    const int64_t count = (at.rows + most - 1) / most;
    for (int64_t i = 0, row = 0; i < count; ++i) {
      const int64_t rows = at.rows / count + (i < at.rows % count);
      append(rows, at.row0 + row, at.line);
      row += rows;
    }
    return b;
  }
  static int64_t padded(int64_t width) { return (width + kLane - 1) / kLane * kLane; }

  loop::Block tiles(const Place& at) {
    const auto& [rows, row0, line, panel, width, first_line, first_column] = at;
    loop::Block b;
    const int64_t cols = width == conv_.panel ? tile_.cols : choose_tile(target_, padded(width), rows).cols;
    for (int64_t half = 0; half < padded(width); half += cols) {
      loop::ContractTile t;
      const int64_t px = conv_.pixel();
      SymExpr line_stride, plane_stride;
      if (conv_.padded) {
        t.a = scratch_;
        line_stride = segment_columns() * px;
        plane_stride = line_stride * strip_rows(strip_);
        t.a_base = (line - first_line) * conv_.sh * loop::from_sym(line_stride) + (row0 - first_column) * (conv_.sw * px);
      } else if (prologue_ != kNoValue) {
        t.a = scratch_;
        line_stride = plane_stride = segment_tiles_ * tile_.rows * px;
        t.a_base = (row0 - first_column) * px;
      } else {
        t.a = body_->buffer_of(param(root_.in[0]));
        line_stride = conv_.w * px;
        plane_stride = conv_.h * line_stride;
        const int64_t image_planes = image_blocks_ > 0 ? image_blocks_ : conv_.groups * conv_.planes();
        t.a_base = (image_ * image_planes + group_ * conv_.planes()) * loop::from_sym(plane_stride) +
                   (flat_ ? loop::index(0) : line * conv_.sh * loop::from_sym(line_stride)) + row0 * (conv_.sw * px);
      }
      t.b = body_->buffer_of(param(root_.in[1]));
      const int64_t taps = conv_.kh * conv_.kw;
      t.b_base = (group_ * conv_.panels + panel) * conv_.panel_floats() + half;
      t.a_row = loop::index(conv_.sw * px);
      if (conv_.halves) t.a_base = t.a_base + half;
      if (line_tile_ > 1 && rows > conv_.ow.constant()) {
        t.line_rows = static_cast<int32_t>(conv_.ow.constant());
        t.a_line = loop::from_sym(line_stride * conv_.sh);
      }
      t.rows = rows;
      t.cols = static_cast<int32_t>(cols);
      if (width < half + cols) t.b_cols = static_cast<int32_t>(width - half);
      t.reductions = reductions(plane_stride, line_stride, taps, width);
      if (conv_.blocked_in && conv_.channels > kLane) t.last = static_cast<int32_t>(conv_.channels % kLane);
      if (taps == 1) t.k_split = choose_k_split(target_, rows, t.cols);
      t.row_var = row_;
      t.block_var = block_;
      t.lane_var = lane_;
      t.acc_var = acc_var_;
      t.epilogue = epilogue(row0 + loop::var(row_), line, panel, half);
      if (half == 0) prefetch(t, at);
      b.push_back(loop::contract(std::move(t)));
    }
    return b;
  }

  // Weights of a late layer come from far away, each panel for a few tiles only: every tile of a strip fetches its share
  // of the next panel. On an Emerald Rapids VM 2048 to 512 channels at 7x7 went from 40 to 80 % of the peak.
  void prefetch(loop::ContractTile& t, const Place& at) const {
    constexpr int64_t kMostTiles = 16;  // with more the panel is reused so often that fetching it costs nothing
    if (!rows_.is_constant() || !lines_.is_constant() || conv_.panels * conv_.groups == 1 || at.width != conv_.panel) return;
    const int64_t lines = flat_ ? 1 : strip_ / line_tile_, tiles = lines * segment_tiles_;
    if (tiles > kMostTiles) return;
    const Expr in_line = line_tile_ > 1 ? loop::index(0) : loop::floordiv(at.row0 - at.first_column, loop::index(tile_.rows));
    const Expr line = line_tile_ > 1 ? loop::floordiv(at.line - at.first_line, loop::index(line_tile_)) : at.line - at.first_line;
    const Expr tile = flat_ ? in_line : line * segment_tiles_ + in_line;
    t.prefetch = t.b_base + conv_.panel_floats() + tile * (conv_.panel_floats() / tiles);
    t.prefetch_share = static_cast<int32_t>(tiles);
  }

  // Channels outermost, taps innermost: the order in which the packed weights lie.
  std::vector<loop::ContractTile::Reduction> reductions(const SymExpr& plane, const SymExpr& line, int64_t taps, int64_t n) const {
    std::vector<loop::ContractTile::Reduction> r;
    const int64_t px = conv_.pixel();
    r.push_back({loop::index(conv_.planes()), loop::from_sym(plane), loop::index((conv_.blocked_in ? kLane : 1) * taps * n), false});
    if (conv_.blocked_in) r.push_back({loop::index(std::min(conv_.channels, kLane)), loop::index(1), loop::index(taps * n), false});
    if (conv_.kh > 1) r.push_back({loop::index(conv_.kh), loop::from_sym(line * conv_.dh), loop::index(conv_.kw * n), false});
    if (conv_.kw > 1) r.push_back({loop::index(conv_.kw), loop::index(conv_.dw * px), loop::index(n), conv_.kw <= 3});
    return r;
  }

  ValueId param(ValueId body_input) const {
    const auto& inputs = source_.inputs();
    const auto at = std::find(inputs.begin(), inputs.end(), body_input) - inputs.begin();
    FCC_CHECK(at < static_cast<int64_t>(inputs.size()), "operand of the root is no parameter");
    return graph_.inputs()[static_cast<size_t>(at)];
  }

  loop::Block epilogue(Expr row, const Expr& line, const Expr& panel, int64_t first_column) {
    const int64_t first_block = first_column / kLane;
    const Expr lane = loop::var(lane_) + first_column % kLane;
    const int64_t per_panel = conv_.panel / kLane;
    const Expr in_group = panel * per_panel + loop::var(block_) + first_block;
    const Expr channel_block = group_ * conv_.out_blocks + in_group;
    Expr down = line;
    if (line_tile_ > 1) {
      down = line + loop::floordiv(loop::var(row_), loop::from_sym(conv_.ow));
      row = loop::mod(loop::var(row_), loop::from_sym(conv_.ow));
    }
    const std::vector<Expr> index = flat_ ? std::vector<Expr>{image_, channel_block, row, lane} : std::vector<Expr>{image_, channel_block, down, row, lane};
    body_->clear_bindings();
    body_->bind(acc_, loop::var(acc_var_, DType::f32));
    const Expr value = body_->element(graph_.outputs[0], index);
    loop::Block b{loop::store(body_->output_buffer(), index, value)};
    if (conv_.out_blocks % per_panel == 0 || conv_.tail) return b;
    return {loop::if_then(loop::lt(in_group, loop::index(conv_.out_blocks)), std::move(b))};
  }

  const Target& target_;
  int64_t image_blocks_ = 0;
  const Graph& source_;
  const Node& root_;
  Conv conv_;
  Graph raw_, graph_;
  bool flat_ = false;
  SymExpr rows_, lines_;   // register tiles cover rows_ of each of lines_
  loop::Kernel kernel_;
  std::optional<Body> body_;
  ValueId acc_ = kNoValue;
  ValueId prologue_ = kNoValue;  // the root's operand when the kernel computes it
  loop::VarId acc_var_ = -1, row_ = -1, block_ = -1, lane_ = -1;
  loop::BufferId scratch_ = -1;
  TileShape tile_{};
  int64_t segment_tiles_ = 1, strip_ = 1, panel_group_ = 1;
  int64_t line_tile_ = 1;  // lines a register tile spans
  Expr image_ = loop::index(0), group_ = loop::index(0);
};

}  // namespace

static bool is_flat(const Graph& body, NodeId root) {
  bool flat = false;
  for (const AxisGroup& g : mergeable_axes(epilogue_of(body, root), true)) flat |= g.begin <= 2 && g.end >= 4;
  return flat;
}

bool is_direct_convolution(const Graph& body, NodeId root) {
  const Node& n = body.node(root);
  if (body.value(n.in[0]).def != kNoNode && !is_flat(body, root)) return false;
  if (n.op->name != "Conv" || !n.attrs.flag("blocked") || !n.attrs.flag("blocked_out") || n.in.size() > 2) return false;
  const int64_t groups = n.attrs.integer("group", 1), k = n.attrs.integer("out_channels");
  const int64_t in_per_group = groups == 1 ? 0 : body.value(n.in[1]).type.dims[1].constant();
  const bool halves = in_per_group == kLane / 2 && k / groups == kLane / 2 && n.attrs.integer("nr") == kLane && n.attrs.flag("blocked_in");
  return groups == 1 || halves || (in_per_group % kLane == 0 && (k / groups) % kLane == 0);
}

loop::Kernel lower_convolution(const Graph& body, NodeId root, const Target& target, int64_t image_blocks) {
  return ConvNest(body, root, target, image_blocks).run();
}

}  // namespace fcc::backend
