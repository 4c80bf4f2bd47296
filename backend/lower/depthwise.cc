#include "backend/lower/depthwise.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "backend/lower/padding.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;
constexpr double kVectorsPerTask = 20000;  // multiply-adds of 16 lanes: about 10 us

}  // namespace

std::vector<Expr> sums_of_taps(loop::Kernel& kernel, loop::Block& b, Interner& intern, int64_t count, int64_t rows, const RowOfTaps& row_of_taps) {
  std::vector<Expr> sums(static_cast<size_t>(count));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t p = 0; p < count; ++p) {
      Expr& total = sums[static_cast<size_t>(p)];
      Expr next = row_of_taps(i, p, total);
      if (!next || next == total) continue;
      const loop::VarId v = kernel.add_var("acc", DType::f32);
      b.push_back(loop::let(v, intern(next)));
      total = loop::var(v, DType::f32);
    }
  return sums;
}

namespace {

enum class Kind : uint8_t { convolution, maximum, average };

Kind kind_of(const Node& root) {
  return root.op->name == "Conv" ? Kind::convolution : root.op->name == "MaxPool" ? Kind::maximum : Kind::average;
}

class DepthwiseNest {
 public:
  DepthwiseNest(const Graph& body, NodeId root, const Target& target)
      : target_(target), source_(body), root_(body.node(root)), kind_(kind_of(root_)), graph_(epilogue_of(body, root)), acc_(graph_.inputs().back()) {
    const Dims &x = source_.value(root_.in[0]).type.dims, &y = source_.value(root_.out[0]).type.dims;
    std::vector<int64_t> kernel = root_.attrs.integers("kernel_shape");
    if (kind_ == Kind::convolution) {
      const Dims& w = source_.value(root_.in[1]).type.dims;
      kernel = {w[2].constant(), w[3].constant()};
    }
    kh_ = kernel[0], kw_ = kernel[1];
    batch_ = x[0], blocks_ = y[1].constant(), h_ = x[2], w_ = x[3], oh_ = y[2], ow_ = y[3];
    const std::vector<SymExpr> in{h_, w_};
    Result<Window> window = window_of(root_.attrs, in, kernel);
    FCC_CHECK(window.has_value(), "{}", window.error().what);
    rows_ = (*window)[0], columns_ = (*window)[1];
    const bool hangs_over = !rows_.is_inside() || !columns_.is_inside();
    guarded_ = hangs_over && ow_.is_constant() && w_.is_constant() && columns_.pad_begin.is_constant();
    copied_ = hangs_over && !guarded_;
    body_.emplace(graph_, kernel_, acc_);
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    plan();
    build();
    const std::string_view names[] = {"depthwise", "maxpool", "averagepool"};
    kernel_.name = std::string(names[static_cast<size_t>(kind_)]) + "_f32_" + std::to_string(kh_) + "x" + std::to_string(kw_) + (rows_.stride > 1 ? "s" + std::to_string(rows_.stride) : "");
    kernel_.flops = batch_ * oh_ * ow_ * (blocks_ * kLane * kh_ * kw_ * (kind_ == Kind::convolution ? 2 : 1));
    return std::move(kernel_);
  }

 private:
  static int64_t number(const SymExpr& e) { return std::max<int64_t>(1, guess_size(e)); }
  double identity() const { return kind_ == Kind::maximum ? -std::numeric_limits<double>::infinity() : 0; }

  // Pixels computed together: as many accumulators as leave registers for a row of inputs and of weights.
  void plan() {
    const int64_t budget = target_.vector_registers * target_.vector_bytes / 64 >= 32 ? 6 : target_.vector_bytes >= 32 ? 3 : 2;
    pixels_ = std::min<int64_t>(budget, number(ow_));
    if (ow_.is_constant()) {
      const int64_t groups = (ow_.constant() + pixels_ - 1) / pixels_;
      pixels_ = (ow_.constant() + groups - 1) / groups;  // 7 columns are 4+3, not 6+1
    }
    const bool whole_lines = ow_.is_constant() && (guarded_ || ow_.constant() <= 128);
    columns_in_ = whole_lines ? ow_.constant() : std::max<int64_t>(pixels_, 64 / pixels_ * pixels_);
    const double line = static_cast<double>(columns_in_ * kh_ * kw_);
    strip_ = std::clamp<int64_t>(static_cast<int64_t>(kVectorsPerTask / line), 1, number(oh_));
    while (strip_ > 1 && copied_ && strip_rows() * strip_columns() * kLane * 4 > target_.l2_bytes / 4) --strip_;
    if (oh_.is_constant()) {
      const int64_t strips = (oh_.constant() + strip_ - 1) / strip_;
      strip_ = (oh_.constant() + strips - 1) / strips;
    }
    kernel_.note = std::to_string(pixels_) + " pixels x 16 channels in registers, strips of " + std::to_string(strip_) + " lines x " + std::to_string(columns_in_) + " columns" +
                   (guarded_ ? ", borders apart" : copied_ ? ", padded copy" : "");
  }

  int64_t strip_rows() const { return (strip_ - 1) * rows_.stride + rows_.span(); }
  int64_t strip_columns() const { return (columns_in_ - 1) * columns_.stride + columns_.span(); }

  Expr let(loop::Block& b, std::string var_name, Expr value) {
    const loop::VarId v = kernel_.add_var(std::move(var_name));
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }

  void build() {
    const SymExpr strips = ceildiv(oh_, strip_), segments = ceildiv(ow_, columns_in_);
    kernel_.tiles = batch_ * blocks_ * strips * segments;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    Expr rest = loop::var(t);
    auto digit = [&](const char* digit_name, const SymExpr& extent) {
      if (extent.is(1)) return loop::index(0);
      Expr e = let(b, digit_name, loop::mod(rest, loop::from_sym(extent)));
      rest = let(b, "q", loop::floordiv(rest, loop::from_sym(extent)));
      return e;
    };
    const Expr segment = digit("seg", segments), strip = digit("strip", strips);
    plane_ = digit("cb", blocks_);
    image_ = batch_.is(1) ? loop::index(0) : rest;
    first_line_ = strip * strip_;
    const Expr last_line = loop::min(first_line_ + strip_, loop::from_sym(oh_));
    first_column_ = segment * columns_in_;
    const Expr last_column = loop::min(first_column_ + columns_in_, loop::from_sym(ow_));
    if (copied_) copy(b);
    const loop::VarId line = kernel_.add_var("oh");
    b.push_back(loop::for_loop(line, first_line_, last_line, line_body(loop::var(line), last_column)));
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  void copy(loop::Block& b) {
    PaddedStrip s;
    s.input = input();
    kernel_.buffers[static_cast<size_t>(s.input)].dims = {batch_, blocks_, h_, w_ * kLane};
    s.planes = 1;
    s.rows = strip_rows();
    s.width = strip_columns() * kLane;
    s.height = h_;
    s.row_floats = w_ * kLane;
    s.image = image_;
    s.first_plane = plane_;
    s.top = first_line_ * rows_.stride - loop::from_sym(rows_.pad_begin);
    s.left = (first_column_ * columns_.stride - loop::from_sym(columns_.pad_begin)) * kLane;
    s.fill = identity();
    scratch_ = copy_padded(kernel_, b, s);
  }

  loop::Block line_body(const Expr& line, const Expr& last_column) {
    if (guarded_) {
      const Expr top = line * rows_.stride - loop::from_sym(rows_.pad_begin);
      const Expr inside = loop::both(loop::ge(top, loop::index(0)), loop::lt(top + (rows_.span() - 1), loop::from_sym(h_)));
      if (rows_.is_inside()) return guarded_line(line, false);
      return {loop::if_then(inside, guarded_line(line, false), guarded_line(line, true))};
    }
    // Groups of pixels_, then single pixels when the width is open or leaves a rest.
    loop::Block b;
    const Expr groups = let(b, "groups", loop::floordiv(last_column - first_column_, loop::index(pixels_)));
    const loop::VarId g = kernel_.add_var("g"), single = kernel_.add_var("ow");
    b.push_back(loop::for_loop(g, loop::index(0), groups, {pixels({pixels_, line, first_column_ + loop::var(g) * pixels_})}));
    const bool whole = ow_.is_constant() && ow_.constant() % pixels_ == 0 && columns_in_ % pixels_ == 0;
    if (!whole) b.push_back(loop::for_loop(single, first_column_ + groups * pixels_, last_column, {pixels({1, line, loop::var(single)})}));
    return b;
  }

  // A line whose width is known: the groups whose windows hang over the left or right border are written out, with
  // only the taps that exist. On lines near the top and bottom rows of taps are guarded.
  loop::Block guarded_line(const Expr& line, bool guard_rows) {
    const int64_t width = ow_.constant(), in = w_.constant(), pad = columns_.pad_begin.constant();
    const int64_t groups = (width + pixels_ - 1) / pixels_;
    auto inside = [&](int64_t g) {
      const int64_t first = g * pixels_ * columns_.stride - pad, last = ((g + 1) * pixels_ - 1) * columns_.stride - pad + columns_.span() - 1;
      return (g + 1) * pixels_ <= width && first >= 0 && last < in;
    };
    loop::Block b;
    for (int64_t g = 0; g < groups;) {
      int64_t end = g;
      while (end < groups && inside(end)) ++end;
      if (end - g >= 2) {
        const loop::VarId v = kernel_.add_var("g");
        b.push_back(loop::for_loop(v, loop::index(g), loop::index(end), {pixels({pixels_, line, loop::var(v) * pixels_, guard_rows})}));
        g = end;
      } else {
        b.push_back(pixels({std::min(pixels_, width - g * pixels_), line, loop::index(g * pixels_), guard_rows}));
        ++g;
      }
    }
    return b;
  }

  // Neighbouring pixels of a line. guard_rows: some rows of the window may lie outside.
  struct Group {
    int64_t count;
    Expr line, column;
    bool guard_rows = false;
  };

  loop::StmtRef pixels(const Group& g) {
    loop::Block inside;
    const std::vector<Expr> sums =
        sums_of_taps(kernel_, inside, intern_, g.count, kh_, [&](int64_t i, int64_t p, Expr total) { return row_of_taps(g, i, p, std::move(total)); });
    for (int64_t p = 0; p < g.count; ++p) {
      const std::vector<Expr> index{image_, plane_, g.line, g.column + p, loop::var(lane_)};
      Expr sum = sums[static_cast<size_t>(p)] ? sums[static_cast<size_t>(p)] : loop::constant(DType::f32, identity());
      if (kind_ == Kind::average) sum = sum * loop::constant(DType::f32, 1.0 / static_cast<double>(kh_ * kw_));
      body_->clear_bindings();
      body_->bind(acc_, std::move(sum));
      inside.push_back(loop::store(body_->output_buffer(), index, body_->element(graph_.outputs[0], index)));
    }
    return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(inside), loop::LoopKind::vec, 16);
  }

  Expr row_of_taps(const Group& g, int64_t i, int64_t p, Expr total) {
    for (int64_t j = 0; j < kw_; ++j) {
      const Expr x = tap(g, i, p, j);
      if (!x) continue;
      if (kind_ == Kind::convolution) {
        const Expr w = loop::load(body_->buffer_of(param(root_.in[1])), DType::f32, {plane_, loop::index(0), loop::index(i), loop::index(j), loop::var(lane_)});
        total = total ? loop::fma(x, w, total) : x * w;
      } else if (kind_ == Kind::maximum) {
        total = total ? loop::max(total, x) : x;
      } else {
        total = total ? total + x : x;
      }
    }
    return total;
  }

  // What tap (i, j) of pixel p sees; null where that is known to be padding.
  Expr tap(const Group& g, int64_t i, int64_t p, int64_t j) {
    const int64_t dy = i * rows_.dilation, dx = p * columns_.stride + j * columns_.dilation;
    if (copied_)
      return loop::load(scratch_, DType::f32, {loop::index(0), (g.line - first_line_) * rows_.stride + dy, (g.column - first_column_) * (columns_.stride * kLane) + (dx * kLane) + loop::var(lane_)});
    const Expr row = g.line * rows_.stride + dy - loop::from_sym(rows_.pad_begin);
    const Expr column = g.column * columns_.stride + dx - loop::from_sym(columns_.pad_begin);
    if (loop::is_constant(column) && (column->i < 0 || (w_.is_constant() && column->i >= w_.constant()))) return nullptr;
    std::vector<Expr> at{image_, plane_, row, column, loop::var(lane_)};
    if (!g.guard_rows) return loop::load(input(), DType::f32, std::move(at));
    const Expr guard = intern_(loop::both(loop::ge(row, loop::index(0)), loop::lt(row, loop::from_sym(h_))));
    return loop::load_guarded(input(), DType::f32, std::move(at), guard, loop::constant(DType::f32, identity()));
  }

  loop::BufferId input() const { return body_->buffer_of(param(root_.in[0])); }
  ValueId param(ValueId body_input) const {
    const auto& inputs = source_.inputs();
    const auto at = std::find(inputs.begin(), inputs.end(), body_input) - inputs.begin();
    FCC_CHECK(at < static_cast<int64_t>(inputs.size()), "operand of the root is no parameter");
    return graph_.inputs()[static_cast<size_t>(at)];
  }

  const Target& target_;
  const Graph& source_;
  const Node& root_;
  Kind kind_;
  Graph graph_;
  ValueId acc_;
  loop::Kernel kernel_;
  std::optional<Body> body_;
  Interner intern_;
  int64_t kh_ = 1, kw_ = 1, blocks_ = 1, pixels_ = 1, columns_in_ = 1, strip_ = 1;
  SymExpr batch_, h_, w_, oh_, ow_;
  WindowAxis rows_, columns_;
  bool guarded_ = false;  // windows hang over; the width is known, so that border pixels are written out
  bool copied_ = false;   // windows hang over; strips are copied into padded scratch
  loop::BufferId scratch_ = -1;
  loop::VarId lane_ = -1;
  Expr image_ = loop::index(0), plane_ = loop::index(0), first_line_, first_column_;
};

}  // namespace

bool is_depthwise(const Graph& body, NodeId root) {
  const Node& n = body.node(root);
  if (n.op->name != "Conv" || !n.attrs.flag("blocked") || !n.attrs.flag("blocked_in") || !n.attrs.flag("blocked_out") || n.in.size() > 2) return false;
  const Dims& w = body.value(n.in[1]).type.dims;
  const bool small = w[2].constant() * w[3].constant() <= 49;  // taps are unrolled
  return small && w[1].is(1) && w[4].is(kLane) && n.attrs.integer("group", 1) > 1 && n.attrs.integer("group") == n.attrs.integer("out_channels");
}

bool is_blocked_pooling(const Graph& body, NodeId root) {
  const Node& n = body.node(root);
  const bool average = n.op->name == "AveragePool";
  if ((n.op->name != "MaxPool" && !average) || !n.attrs.flag("blocked") || n.out.size() > 1) return false;
  const TensorType& x = body.value(n.in[0]).type;
  if (x.dtype != DType::f32 || x.rank() != 5 || !x.dims[1].is_constant()) return false;
  const std::vector<int64_t> kernel = n.attrs.integers("kernel_shape");
  if (kernel[0] * kernel[1] > 49) return false;
  const std::vector<SymExpr> in{x.dims[2], x.dims[3]};
  Result<Window> w = window_of(n.attrs, in, kernel);
  if (!w.has_value()) return false;
  const bool all_count = n.attrs.flag("count_include_pad") && !(*w)[0].partial && !(*w)[1].partial;
  return !average || all_count || ((*w)[0].is_inside() && (*w)[1].is_inside());
}

loop::Kernel lower_depthwise(const Graph& body, NodeId root, const Target& target) { return DepthwiseNest(body, root, target).run(); }

}  // namespace fcc::backend
