#include "backend/lower/depthwise.h"

#include <algorithm>
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

class DepthwiseNest {
 public:
  DepthwiseNest(const Graph& body, NodeId root, const Target& target)
      : target_(target), source_(body), root_(body.node(root)), graph_(epilogue_of(body, root)), acc_(graph_.inputs().back()) {
    const Dims &x = source_.value(root_.in[0]).type.dims, &w = source_.value(root_.in[1]).type.dims, &y = source_.value(root_.out[0]).type.dims;
    kh_ = w[2].constant(), kw_ = w[3].constant();
    batch_ = x[0], blocks_ = y[1].constant(), h_ = x[2], w_ = x[3], oh_ = y[2], ow_ = y[3];
    const std::vector<int64_t> kernel{kh_, kw_};
    const std::vector<SymExpr> in{h_, w_};
    Result<Window> window = window_of(root_.attrs, in, kernel);
    FCC_CHECK(window.has_value(), "{}", window.error().what);
    rows_ = (*window)[0], columns_ = (*window)[1];
    padded_ = !rows_.is_inside() || !columns_.is_inside();
    body_.emplace(graph_, kernel_, acc_);
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    plan();
    build();
    kernel_.name = "depthwise_f32_" + std::to_string(kh_) + "x" + std::to_string(kw_) + (rows_.stride > 1 ? "s" + std::to_string(rows_.stride) : "");
    kernel_.flops = batch_ * oh_ * ow_ * (blocks_ * kLane * kh_ * kw_ * 2);
    return std::move(kernel_);
  }

 private:
  static int64_t number(const SymExpr& e) { return std::max<int64_t>(1, guess_size(e)); }

  // Pixels computed together: as many accumulators as leave registers for a row of inputs and a weight.
  void plan() {
    const int64_t budget = target_.vector_registers * target_.vector_bytes / 64 >= 32 ? 6 : target_.vector_bytes >= 32 ? 3 : 2;
    pixels_ = std::min<int64_t>(budget, number(ow_));
    if (ow_.is_constant()) {
      const int64_t groups = (ow_.constant() + pixels_ - 1) / pixels_;
      pixels_ = (ow_.constant() + groups - 1) / groups;  // 7 columns are 4+3, not 6+1
    }
    columns_in_ = ow_.is_constant() && ow_.constant() <= 128 ? ow_.constant() : std::max<int64_t>(pixels_, 64 / pixels_ * pixels_);
    const double line = static_cast<double>(columns_in_ * kh_ * kw_);
    strip_ = std::clamp<int64_t>(static_cast<int64_t>(kVectorsPerTask / line), 1, number(oh_));
    while (strip_ > 1 && padded_ && strip_rows() * strip_columns() * kLane * 4 > target_.l2_bytes / 4) --strip_;
    if (oh_.is_constant()) {
      const int64_t strips = (oh_.constant() + strip_ - 1) / strip_;
      strip_ = (oh_.constant() + strips - 1) / strips;
    }
    kernel_.note = std::to_string(pixels_) + " pixels x 16 channels in registers, strips of " + std::to_string(strip_) + " lines x " + std::to_string(columns_in_) + " columns";
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
    const Expr first_line = strip * strip_, last_line = loop::min(first_line + strip_, loop::from_sym(oh_));
    const Expr first_column = segment * columns_in_, last_column = loop::min(first_column + columns_in_, loop::from_sym(ow_));
    if (padded_) copy(b, first_line, first_column);
    const loop::VarId line = kernel_.add_var("oh");
    b.push_back(loop::for_loop(line, first_line, last_line, line_body(loop::var(line), first_line, first_column, last_column)));
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  void copy(loop::Block& b, const Expr& first_line, const Expr& first_column) {
    PaddedStrip s;
    s.input = body_->buffer_of(param(root_.in[0]));
    kernel_.buffers[static_cast<size_t>(s.input)].dims = {batch_, blocks_, h_, w_ * kLane};
    s.planes = 1;
    s.rows = strip_rows();
    s.width = strip_columns() * kLane;
    s.height = h_;
    s.row_floats = w_ * kLane;
    s.image = image_;
    s.first_plane = plane_;
    s.top = first_line * rows_.stride - loop::from_sym(rows_.pad_begin);
    s.left = (first_column * columns_.stride - loop::from_sym(columns_.pad_begin)) * kLane;
    scratch_ = copy_padded(kernel_, b, s);
  }

  // Groups of pixels_, then single pixels when the width is open or leaves a rest.
  loop::Block line_body(const Expr& line, const Expr& first_line, const Expr& first_column, const Expr& last_column) {
    loop::Block b;
    const Expr groups = let(b, "groups", loop::floordiv(last_column - first_column, loop::index(pixels_)));
    const loop::VarId g = kernel_.add_var("g"), single = kernel_.add_var("ow");
    b.push_back(loop::for_loop(g, loop::index(0), groups, {pixels(pixels_, line, first_column + loop::var(g) * pixels_, first_line, first_column)}));
    const bool whole = ow_.is_constant() && ow_.constant() % pixels_ == 0 && columns_in_ % pixels_ == 0;
    if (!whole)
      b.push_back(loop::for_loop(single, first_column + groups * pixels_, last_column, {pixels(1, line, loop::var(single), first_line, first_column)}));
    return b;
  }

  // All sums first, so that loads shared by neighbours happen once; then all stores.
  loop::StmtRef pixels(int64_t count, const Expr& line, const Expr& column, const Expr& first_line, const Expr& first_column) {
    loop::Block inside;
    std::vector<Expr> sums;
    for (int64_t p = 0; p < count; ++p) {
      const loop::VarId v = kernel_.add_var("acc", DType::f32);
      inside.push_back(loop::let(v, intern_(sum(line, column, p, first_line, first_column))));
      sums.push_back(loop::var(v, DType::f32));
    }
    for (int64_t p = 0; p < count; ++p) {
      const std::vector<Expr> index{image_, plane_, line, column + p, loop::var(lane_)};
      body_->clear_bindings();
      body_->bind(acc_, sums[static_cast<size_t>(p)]);
      inside.push_back(loop::store(body_->output_buffer(), index, body_->element(graph_.outputs[0], index)));
    }
    return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(inside), loop::LoopKind::vec, 16);
  }

  Expr sum(const Expr& line, const Expr& column, int64_t p, const Expr& first_line, const Expr& first_column) {
    Expr total;
    for (int64_t i = 0; i < kh_; ++i)
      for (int64_t j = 0; j < kw_; ++j) {
        const Expr w = loop::load(body_->buffer_of(param(root_.in[1])), DType::f32, {plane_, loop::index(0), loop::index(i), loop::index(j), loop::var(lane_)});
        const int64_t dy = i * rows_.dilation, dx = p * columns_.stride + j * columns_.dilation;
        Expr x;
        if (padded_) {
          x = loop::load(scratch_, DType::f32, {loop::index(0), (line - first_line) * rows_.stride + dy, (column - first_column) * (columns_.stride * kLane) + (dx * kLane) + loop::var(lane_)});
        } else {
          x = loop::load(body_->buffer_of(param(root_.in[0])), DType::f32, {image_, plane_, line * rows_.stride + dy, column * columns_.stride + dx, loop::var(lane_)});
        }
        total = total ? loop::fma(x, w, total) : x * w;
      }
    return total;
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
  Interner intern_;
  int64_t kh_ = 1, kw_ = 1, blocks_ = 1, pixels_ = 1, columns_in_ = 1, strip_ = 1;
  SymExpr batch_, h_, w_, oh_, ow_;
  WindowAxis rows_, columns_;
  bool padded_ = false;
  loop::BufferId scratch_ = -1;
  loop::VarId lane_ = -1;
  Expr image_ = loop::index(0), plane_ = loop::index(0);
};

}  // namespace

bool is_depthwise(const Graph& body, NodeId root) {
  const Node& n = body.node(root);
  if (n.op->name != "Conv" || !n.attrs.flag("blocked") || !n.attrs.flag("blocked_in") || !n.attrs.flag("blocked_out") || n.in.size() > 2) return false;
  const Dims& w = body.value(n.in[1]).type.dims;
  const bool small = w[2].constant() * w[3].constant() <= 49;  // taps are unrolled
  return small && w[1].is(1) && w[4].is(kLane) && n.attrs.integer("group", 1) > 1 && n.attrs.integer("group") == n.attrs.integer("out_channels");
}

loop::Kernel lower_depthwise(const Graph& body, NodeId root, const Target& target) { return DepthwiseNest(body, root, target).run(); }

}  // namespace fcc::backend
