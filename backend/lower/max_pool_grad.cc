#include "backend/lower/max_pool_grad.h"

#include <algorithm>

#include "backend/lower/epilogue.h"
#include "backend/lower/nest.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;
constexpr double kTapsOfTask = 6000;  // of 16 lanes; some 5 us

Result<Window> window_of_node(const Graph& body, const Node& n) {
  const Dims& x = body.value(n.in[0]).type.dims;
  const std::vector<SymExpr> in{x[2], x[3]};
  return window_of(n.attrs, in, n.attrs.integers("kernel_shape"));
}

// Do the windows cover every element exactly once?
bool is_partition(const Window& w) {
  return std::all_of(w.begin(), w.end(), [](const WindowAxis& a) {
    return a.kernel == a.stride && a.dilation == 1 && a.pad_begin.is(0) && a.in == a.out * a.stride;
  });
}

// Windows that cover every element once write each result directly, in tasks of some lines. Others add up in the plane
// of an image and a block of channels, which one task owns, so that the order of the sums is fixed: a line of windows
// clears the lines that it is the first to reach, adds, and passes the lines that nobody else reaches through the tail.
class MaxPoolGradNest {
 public:
  MaxPoolGradNest(const Graph& body, NodeId root)
      : source_(body),
        root_(body.node(root)),
        graph_(epilogue_of(body, root)),
        acc_(graph_.inputs().back()),
        body_(graph_, kernel_, acc_) {
    const Dims& x = source_.value(root_.in[0]).type.dims;
    const Window w = *window_of_node(body, root_);
    rows_ = w[0], columns_ = w[1];
    batch_ = x[0], blocks_ = x[1].constant(), h_ = x[2].constant(), w_ = x[3].constant();
    oh_ = rows_.out.constant(), ow_ = columns_.out.constant();
    top_ = rows_.pad_begin.constant(), left_ = columns_.pad_begin.constant();
    partition_ = is_partition(w);
    x_ = operand(0), y_ = operand(1), dy_ = operand(2);
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    const auto taps = static_cast<double>(rows_.kernel * columns_.kernel);
    const auto wanted = static_cast<int64_t>(kTapsOfTask / (taps * static_cast<double>(ow_)));
    strip_ = partition_ ? std::clamp<int64_t>(wanted, 1, oh_) : oh_;
    const int64_t strips = (oh_ + strip_ - 1) / strip_;
    kernel_.tiles = batch_ * (blocks_ * strips);
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    const Expr plane = strips == 1 ? loop::var(t) : let(b, "plane", loop::floordiv(loop::var(t), loop::index(strips)));
    const Expr first =
        strips == 1 ? loop::index(0) : let(b, "y0", loop::mod(loop::var(t), loop::index(strips)) * strip_);
    image_ = let(b, "n", loop::floordiv(plane, loop::index(blocks_)));
    block_ = let(b, "cb", loop::mod(plane, loop::index(blocks_)));
    const Expr last = loop::min(first + strip_, loop::index(oh_));
    b.push_back(count("oy", first, last, [&](const Expr& oy) { return partition_ ? whole_line(oy) : line(oy); }));
    if (!partition_) rest(b);
    kernel_.body = {
        loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
    kernel_.name = "maxpool_grad_f32_" + std::to_string(rows_.kernel) + "x" + std::to_string(columns_.kernel) +
                   (partition_ ? "" : "s" + std::to_string(rows_.stride));
    kernel_.note = partition_ ? "strips of " + std::to_string(strip_) + " lines" : "planes, windows overlap";
    kernel_.flops = batch_ * (blocks_ * kLane * oh_ * ow_ * rows_.kernel * columns_.kernel * 2);
    return std::move(kernel_);
  }

 private:
  loop::BufferId operand(size_t k) const {
    const auto& inputs = source_.inputs();
    const auto at = static_cast<size_t>(std::find(inputs.begin(), inputs.end(), root_.in[k]) - inputs.begin());
    return body_.buffer_of(graph_.inputs()[at]);
  }

  Expr let(loop::Block& b, const char* var_name, Expr value, DType type = DType::i64) {
    const loop::VarId v = kernel_.add_var(var_name, type);
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v, type);
  }
  loop::StmtRef count(const char* var_name, Expr lo, Expr hi, const std::function<loop::Block(const Expr&)>& body) {
    const loop::VarId v = kernel_.add_var(var_name);
    return loop::for_loop(v, std::move(lo), std::move(hi), body(loop::var(v)));
  }
  loop::StmtRef lanes(loop::Block b) {
    return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(b), loop::LoopKind::vec, kLane);
  }
  std::vector<Expr> pixel(const Expr& y, const Expr& x) const { return {image_, block_, y, x, loop::var(lane_)}; }

  static Expr number(double v) { return loop::constant(DType::f32, v); }

  // One window: `give(tap's place, is it the maximum, dy, is it inside)` for every tap. `inside` is null where all are.
  using Give = std::function<void(loop::Block&, const std::vector<Expr>&, const Expr&, const Expr&, const Expr&)>;
  loop::Block window(const Expr& oy, const Expr& ox, bool guarded, const Give& give) {
    loop::Block b;
    const Expr y = let(b, "y", loop::load(y_, DType::f32, pixel(oy, ox)), DType::f32);
    const Expr d = let(b, "d", loop::load(dy_, DType::f32, pixel(oy, ox)), DType::f32);
    Expr taken;
    for (int64_t i = 0; i < rows_.kernel; ++i)
      for (int64_t j = 0; j < columns_.kernel; ++j) {
        const Expr row = oy * rows_.stride + (i * rows_.dilation - top_),
                   column = ox * columns_.stride + (j * columns_.dilation - left_);
        const std::vector<Expr> at = pixel(row, column);
        const Expr inside = guarded ? loop::both(within(row, h_), within(column, w_)) : nullptr;
        const Expr e = let(
            b, "e", inside ? loop::load_guarded(x_, DType::f32, at, inside, number(0)) : loop::load(x_, DType::f32, at),
            DType::f32);
        Expr hit = loop::binary(loop::BinaryOp::logical_or, loop::eq(e, y), loop::unary(loop::UnaryOp::is_nan, e));
        if (inside) hit = loop::both(inside, hit);
        if (taken) hit = loop::both(hit, loop::unary(loop::UnaryOp::logical_not, taken));
        hit = let(b, "hit", hit, DType::boolean);
        taken = taken ? let(b, "taken", loop::binary(loop::BinaryOp::logical_or, taken, hit), DType::boolean) : hit;
        give(b, at, hit, d, inside);
      }
    return b;
  }
  static Expr within(const Expr& at, int64_t extent) {
    return loop::both(loop::ge(at, loop::index(0)), loop::lt(at, loop::index(extent)));
  }

  Expr through_tail(const std::vector<Expr>& at, Expr gradient) {
    body_.clear_bindings();
    body_.bind(acc_, std::move(gradient));
    return body_.element(graph_.outputs[0], at);
  }

  // ---- every element belongs to one window
  loop::Block whole_line(const Expr& oy) {
    return {count("ox", loop::index(0), loop::index(ow_), [&](const Expr& ox) {
      return loop::Block{lanes(window(
          oy, ox, false, [&](loop::Block& b, const std::vector<Expr>& at, const Expr& hit, const Expr& d, const Expr&) {
            b.push_back(loop::store(body_.output_buffer(), at, through_tail(at, loop::select(hit, d, number(0)))));
          }))};
    })};
  }

  // ---- windows overlap, leave elements out or hang over
  Expr clamped(const Expr& row) const { return loop::min(loop::max(row, loop::index(0)), loop::index(h_)); }
  Expr first_row(const Expr& oy) const { return clamped(oy * rows_.stride - top_); }
  Expr end_row(const Expr& oy) const { return clamped(oy * rows_.stride + (rows_.span() - top_)); }

  loop::StmtRef each(Expr from, Expr to, const std::function<Expr(const std::vector<Expr>&)>& value) {
    return count("row", std::move(from), std::move(to), [&](const Expr& row) {
      return loop::Block{count("column", loop::index(0), loop::index(w_), [&](const Expr& column) {
        const std::vector<Expr> at = pixel(row, column);
        return loop::Block{lanes({loop::store(body_.output_buffer(), at, value(at))})};
      })};
    });
  }

  bool has_tail() const { return graph_.outputs[0] != acc_; }
  loop::StmtRef finish(Expr from, Expr to) {
    return each(std::move(from), std::move(to), [&](const std::vector<Expr>& at) {
      return through_tail(at, loop::load(body_.output_buffer(), DType::f32, at));
    });
  }

  loop::Block line(const Expr& oy) {
    loop::Block b;
    const Expr is_first = loop::eq(oy, loop::index(0)), zero = loop::index(0);
    b.push_back(each(loop::select(is_first, zero, end_row(oy - 1)), end_row(oy),
                     [&](const std::vector<Expr>&) { return number(0); }));
    const auto add = [&](loop::Block& to, const std::vector<Expr>& at, const Expr& hit, const Expr& d,
                         const Expr& inside) {
      const loop::BufferId out = body_.output_buffer();
      const Expr old =
          inside ? loop::load_guarded(out, DType::f32, at, inside, number(0)) : loop::load(out, DType::f32, at);
      to.push_back(loop::store(out, at, old + loop::select(hit, d, number(0)), inside));
    };
    b.push_back(count("ox", zero, loop::index(ow_), [&](const Expr& ox) {
      const Expr y = oy * rows_.stride - top_, x = ox * columns_.stride - left_;
      const loop::StmtRef plain = lanes(window(oy, ox, false, add));
      if (rows_.is_inside() && columns_.is_inside()) return loop::Block{plain};
      const Expr inside = loop::both(
          loop::both(loop::ge(y, zero), loop::ge(x, zero)),
          loop::both(loop::ge(loop::index(h_ - rows_.span()), y), loop::ge(loop::index(w_ - columns_.span()), x)));
      return loop::Block{loop::if_then(inside, {plain}, {lanes(window(oy, ox, true, add))})};
    }));
    if (has_tail()) {
      const Expr is_last = loop::eq(oy, loop::index(oh_ - 1));
      b.push_back(
          finish(loop::select(is_first, zero, first_row(oy)), loop::select(is_last, end_row(oy), first_row(oy + 1))));
    }
    return b;
  }

  // Lines below the last window.
  void rest(loop::Block& b) {
    const Expr from = end_row(loop::index(oh_ - 1));
    if (loop::is_constant(from) && from->i >= h_) return;
    b.push_back(each(from, loop::index(h_), [&](const std::vector<Expr>& at) { return through_tail(at, number(0)); }));
  }

  const Graph& source_;
  const Node& root_;
  Graph graph_;
  ValueId acc_;
  loop::Kernel kernel_;
  Body body_;
  WindowAxis rows_, columns_;
  SymExpr batch_;
  int64_t blocks_ = 1, h_ = 1, w_ = 1, oh_ = 1, ow_ = 1, top_ = 0, left_ = 0, strip_ = 1;
  bool partition_ = false;
  loop::BufferId x_ = -1, y_ = -1, dy_ = -1;
  loop::VarId lane_ = -1;
  Expr image_, block_;
};

}  // namespace

bool is_max_pool_grad(const Graph& body, NodeId root) {
  const Node& n = body.node(root);
  if (n.op->name != "MaxPoolGrad" || !n.attrs.flag("blocked")) return false;
  const TensorType& x = body.value(n.in[0]).type;
  if (x.dtype != DType::f32 || x.rank() != 5 || body.outputs.size() != 1) return false;
  for (ValueId v : n.in)
    if (body.value(v).role != Role::input) return false;
  const Result<Window> w = window_of_node(body, n);
  if (!w || !x.dims[1].is_constant()) return false;
  const bool fixed = std::all_of(w->begin(), w->end(), [](const WindowAxis& a) {
    return a.in.is_constant() && a.out.is_constant() && a.pad_begin.is_constant() && a.in.constant() > 0 &&
           a.out.constant() > 0;
  });
  return fixed && (*w)[0].kernel * (*w)[1].kernel <= 25;  // taps are written out
}

loop::Kernel lower_max_pool_grad(const Graph& body, NodeId root, const Target&) {
  return MaxPoolGradNest(body, root).run();
}

}  // namespace fcc::backend
