#include "backend/lower/conv_weight_grad.h"

#include <algorithm>

#include "backend/lower/nest.h"
#include "backend/lower/tiles.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock;
constexpr int64_t kChunkPixels = 512;  // summed in registers before they are added to the sums in memory

// dw[k,c,i,j] = sum over n, y, x of dy[n,k,y,x] in[n, c, y sh + i dh - top, x sw + j dw - left].
//
// Both operands blocked: rows of the register tile are output channels, whose values are broadcast; its columns are 16
// input channels of neighbouring taps of a kernel row, which lie side by side in memory: three taps at once make 8x48
// accumulators, and every value of dy that is loaded is used three times.
// A plain input (a stem on 1 or 3 channels): rows are the taps of a kernel row, columns 16 output channels.
//
// A task is a block of output and a block of input channels, so that no two add to the same element. Its sums stay in
// scratch; pixels come in chunks that stay in the first cache for all kernel rows, and bound how many numbers one
// accumulator sums. Where a tap hangs over the left or right border the line is cut, and each piece has the taps that
// exist there: nothing is padded. Above and below, the range of lines is that of the kernel row.
class WeightGradNest {
 public:
  WeightGradNest(const Graph& body, const Target& target) : target_(target), node_(body.node(body.order()[0])) {
    const Dims x = body.value(body.inputs()[0]).type.dims, dy = body.value(body.inputs()[1]).type.dims;
    const std::vector<int64_t> weight = node_.attrs.integers("weight"), ones{1, 1};
    const std::vector<int64_t> strides = node_.attrs.integers("strides", ones),
                               dilations = node_.attrs.integers("dilations", ones);
    const Dims pads = node_.attrs.dims("pads");
    blocked_ = node_.attrs.flag("blocked_in");
    batch_ = x[0];
    k_ = weight[0], c_ = weight[1], kh_ = weight[2], kw_ = weight[3];
    h_ = x[2].constant(), w_ = x[3].constant(), oh_ = dy[2].constant(), ow_ = dy[3].constant();
    sh_ = strides[0], sw_ = strides[1], dh_ = dilations[0], dw_ = dilations[1];
    top_ = pads.empty() ? 0 : pads[0].constant(), left_ = pads.empty() ? 0 : pads[1].constant();
    kb_ = (k_ + kLane - 1) / kLane;
    cb_ = blocked_ ? (c_ + kLane - 1) / kLane : c_;
    x_ = kernel_.add_buffer({"x", DType::f32, x, loop::Space::input, false});
    dy_ = kernel_.add_buffer({"dy", DType::f32, dy, loop::Space::input, false});
    out_ = kernel_.add_buffer({"dw", DType::f32, Dims(weight.begin(), weight.end()), loop::Space::output, false});
    kernel_.n_params = 3;
  }

  loop::Kernel run() {
    choose_tile();
    build();
    kernel_.name = "conv_weight_grad_f32_" + std::to_string(kh_) + "x" + std::to_string(kw_) +
                   (sw_ > 1 ? "s" + std::to_string(sw_) : "") + (blocked_ ? "" : "_plain");
    kernel_.note = "taps in a tile " + std::to_string(taps_) + ", rows " + std::to_string(rows_) + ", chunks of " +
                   std::to_string(lines_) + " lines x " + std::to_string(images_) + " images";
    kernel_.flops = batch_ * (2 * k_ * c_ * kh_ * kw_ * oh_ * ow_);
    return std::move(kernel_);
  }

 private:
  // Registers for accumulators, in vectors: those that are left after a column each tap and the broadcasts.
  int64_t accumulators() const {
    switch (target_.isa) {
      case Isa::x86_64_v4:
        return 24;
      case Isa::aarch64:
        return 24;
      default:
        return 12;
    }
  }

  void choose_tile() {
    const int64_t per_tap = kLane / std::min<int64_t>(kLane, target_.lanes(4));
    if (blocked_) {
      // As many taps as leave room for two rows; then as many rows as fit.
      taps_ = dw_ == 1 ? std::clamp<int64_t>(accumulators() / (2 * per_tap), 1, kw_) : 1;
      rows_ = kLane;
      while (rows_ > 1 && rows_ * taps_ * per_tap > accumulators()) rows_ /= 2;
    } else {
      taps_ = std::clamp<int64_t>(accumulators() / per_tap, 1, kw_);
      rows_ = 1;
    }
    lines_ = std::clamp<int64_t>(kChunkPixels / std::max<int64_t>(ow_, 1), 1, std::max<int64_t>(oh_, 1));
    images_ = lines_ < oh_ ? 1 : std::max<int64_t>(1, kChunkPixels / std::max<int64_t>(oh_ * ow_, 1));
  }

  Expr let(loop::Block& b, const char* name, Expr value) {
    const loop::VarId v = kernel_.add_var(name);
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }
  loop::StmtRef count(const char* name, Expr extent, const std::function<loop::Block(Expr)>& body,
                      bool vector = false) {
    const loop::VarId v = kernel_.add_var(name);
    loop::Block b = body(loop::var(v));
    return loop::for_loop(v, loop::index(0), std::move(extent), std::move(b),
                          vector ? loop::LoopKind::vec : loop::LoopKind::seq, vector ? static_cast<int32_t>(kLane) : 1);
  }

  void build() {
    const int64_t blocks = blocked_ ? kb_ * cb_ : kb_;
    split_rows_ = blocks < target_.threads && kh_ > 1;
    kernel_.tiles = blocks * (split_rows_ ? kh_ : 1);
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b;
    Expr rest = loop::var(t);
    Expr kernel_row;
    if (split_rows_) {
      kernel_row = let(b, "i", loop::mod(rest, loop::index(kh_)));
      rest = let(b, "q", loop::floordiv(rest, loop::index(kh_)));
    }
    if (blocked_) {
      in_block_ = let(b, "cb", loop::mod(rest, loop::index(cb_)));
      rest = let(b, "kb", loop::floordiv(rest, loop::index(cb_)));
    }
    out_block_ = rest;
    // blocked: [i, output channel, j, input lane]; plain: [i, input channel, j, output lane]
    sums_ = kernel_.add_buffer(
        {"sums", DType::f32, {split_rows_ ? 1 : kh_, blocked_ ? kLane : c_, kw_, kLane}, loop::Space::scratch, false});
    b.push_back(loop::alloc(sums_));
    each_sum(b, [&](const std::vector<Expr>& at) {
      return loop::Block{loop::store(sums_, at, loop::constant(DType::f32, 0))};
    });
    const auto rows = [&](Expr first_image, Expr first_line) {
      const auto one = [&](const Expr& i) { return kernel_line(i, first_image, first_line); };
      if (split_rows_) return one(kernel_row);
      return loop::Block{count("i", loop::index(kh_), one)};
    };
    b.push_back(count("n0", loop::from_sym(ceildiv(batch_, images_)), [&](Expr n0) {
      return loop::Block{count("y0", loop::index((oh_ + lines_ - 1) / lines_),
                               [&](Expr y0) { return rows(n0 * images_, y0 * lines_); })};
    }));
    write_out(b, kernel_row);
    kernel_.body = {
        loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // Visits the scratch, 16 lanes at a time.
  void each_sum(loop::Block& b, const std::function<loop::Block(const std::vector<Expr>&)>& visit) {
    b.push_back(count("i", loop::index(split_rows_ ? 1 : kh_), [&](Expr i) {
      return loop::Block{count("r", loop::index(blocked_ ? kLane : c_), [&](Expr r) {
        return loop::Block{count("j", loop::index(kw_), [&](Expr j) {
          return loop::Block{count(
              "lane", loop::index(kLane),
              [&](Expr lane) {
                return visit({i, r, j, lane});
              },
              true)};
        })};
      })};
    }));
  }

  // One row of the kernel on one chunk of pixels.
  loop::Block kernel_line(const Expr& i, const Expr& first_image, const Expr& first_line) {
    loop::Block b;
    // 0 <= y sh + i dh - top < h
    const Expr shift = i * dh_ - top_;
    const Expr lo = loop::max(loop::index(0), loop::floordiv(loop::index(sh_ - 1) - shift, loop::index(sh_)));
    const Expr hi = loop::floordiv(loop::index(h_ - 1) - shift, loop::index(sh_)) + 1;
    chunk_.first_image = first_image;
    chunk_.images = let(b, "images", loop::min(loop::index(images_), loop::from_sym(batch_) - first_image));
    chunk_.first_line = let(b, "y", loop::max(first_line, lo));
    chunk_.lines = let(
        b, "lines",
        loop::max(loop::index(0), loop::min(loop::min(first_line + lines_, loop::index(oh_)), hi) - chunk_.first_line));
    chunk_.in_line = let(b, "in_y", chunk_.first_line * sh_ + shift);
    const Expr slot = split_rows_ ? loop::index(0) : i;
    if (blocked_) {
      b.push_back(count("r0", loop::index(kLane / rows_), [&](Expr r) { return line_pieces(slot, r * rows_); }));
    } else {
      b.push_back(count("c", loop::index(c_), [&](Expr c) { return line_pieces(slot, c); }));
    }
    return b;
  }

  // The columns [from, to) of a line, in which the taps [first, last) lie inside.
  struct Piece {
    int64_t from, to, first, last;
  };
  std::vector<Piece> pieces(int64_t first_tap, int64_t end_tap) const {
    std::vector<Piece> all;
    for (int64_t x = 0; x < ow_; ++x) {
      int64_t first = end_tap, last = first_tap;
      for (int64_t j = first_tap; j < end_tap; ++j) {
        const int64_t at = x * sw_ + j * dw_ - left_;
        if (at < 0 || at >= w_) continue;
        first = std::min(first, j);
        last = std::max(last, j + 1);
      }
      if (first >= last) continue;
      if (!all.empty() && all.back().to == x && all.back().first == first && all.back().last == last)
        all.back().to = x + 1;
      else
        all.push_back({x, x + 1, first, last});
    }
    return all;
  }

  loop::Block line_pieces(const Expr& slot, const Expr& row) {
    loop::Block b;
    for (int64_t j = 0; j < kw_; j += taps_)
      for (const Piece& p : pieces(j, std::min(kw_, j + taps_))) b.push_back(loop::contract(tile(slot, row, p)));
    return b;
  }

  loop::ContractTile tile(const Expr& slot, const Expr& row, const Piece& p) {
    loop::ContractTile t;
    const int64_t taps = p.last - p.first;
    const int64_t dy_plane = oh_ * ow_ * kLane, dy_image = kb_ * dy_plane;
    const int64_t px = blocked_ ? kLane : 1, x_plane = h_ * w_ * px, x_image = cb_ * x_plane;
    const Expr at_dy = chunk_.first_image * dy_image + out_block_ * dy_plane + chunk_.first_line * (ow_ * kLane) +
                       loop::index(p.from * kLane);
    const Expr at_x = chunk_.first_image * x_image + (blocked_ ? in_block_ : row) * x_plane +
                      chunk_.in_line * (w_ * px) + loop::index((p.from * sw_ + p.first * dw_ - left_) * px);
    struct Step {
      Expr extent;
      int64_t dy, x;
    };
    std::vector<Step> steps;
    if (images_ > 1) steps.push_back({chunk_.images, dy_image, x_image});
    steps.push_back({chunk_.lines, ow_ * kLane, sh_ * w_ * px});
    steps.push_back({loop::index(p.to - p.from), kLane, sw_ * px});
    for (const Step& s : steps)
      t.reductions.push_back({s.extent, loop::index(blocked_ ? s.dy : s.x), loop::index(blocked_ ? s.x : s.dy), false});
    t.a = blocked_ ? dy_ : x_;
    t.b = blocked_ ? x_ : dy_;
    t.a_base = blocked_ ? at_dy + row : at_x;
    t.b_base = blocked_ ? at_x : at_dy;
    t.a_row = loop::index(blocked_ ? 1 : dw_);
    t.rows = static_cast<int32_t>(blocked_ ? rows_ : taps);
    t.cols = static_cast<int32_t>(blocked_ ? kLane * taps : kLane);
    t.k_split = choose_k_split(target_, t.rows, t.cols);
    t.row_var = kernel_.add_var("tr");
    t.block_var = kernel_.add_var("tb");
    t.lane_var = kernel_.add_var("tl");
    t.acc_var = kernel_.add_var("acc", DType::f32);
    const Expr tap = loop::var(blocked_ ? t.block_var : t.row_var) + p.first;
    const std::vector<Expr> at{slot, blocked_ ? row + loop::var(t.row_var) : row, tap, loop::var(t.lane_var)};
    t.epilogue = {loop::store(sums_, at, loop::load(sums_, DType::f32, at) + loop::var(t.acc_var, DType::f32))};
    return t;
  }

  // dw[k,c,i,j] in its own order; k and c of the last blocks may not exist.
  void write_out(loop::Block& b, const Expr& kernel_row) {
    const auto channels = [](const Expr& block, int64_t total) {
      return loop::min(loop::index(kLane), loop::index(total) - block * kLane);
    };
    const Expr outs = channels(out_block_, k_), ins = blocked_ ? channels(in_block_, c_) : loop::index(c_);
    b.push_back(count("k", outs, [&](Expr k) {
      return loop::Block{count("c", ins, [&](Expr c) {
        return loop::Block{count("i", loop::index(split_rows_ ? 1 : kh_), [&](Expr i) {
          return loop::Block{count("j", loop::index(kw_), [&](Expr j) {
            const std::vector<Expr> from = blocked_ ? std::vector<Expr>{i, k, j, c} : std::vector<Expr>{i, c, j, k};
            const Expr row = split_rows_ ? kernel_row : i, channel = blocked_ ? in_block_ * kLane + c : c;
            return loop::Block{
                loop::store(out_, {out_block_ * kLane + k, channel, row, j}, loop::load(sums_, DType::f32, from))};
          })};
        })};
      })};
    }));
  }

  struct Chunk {
    Expr first_image, images, first_line, lines, in_line;
  };

  const Target& target_;
  const Node& node_;
  loop::Kernel kernel_;
  bool blocked_ = true, split_rows_ = false;
  SymExpr batch_;
  int64_t k_ = 1, c_ = 1, kh_ = 1, kw_ = 1, h_ = 1, w_ = 1, oh_ = 1, ow_ = 1, sh_ = 1, sw_ = 1, dh_ = 1, dw_ = 1,
          top_ = 0, left_ = 0;
  int64_t kb_ = 1, cb_ = 1;  // blocks of output channels; planes of the input
  int64_t taps_ = 1, rows_ = 16, lines_ = 1, images_ = 1;
  loop::BufferId x_ = -1, dy_ = -1, out_ = -1, sums_ = -1;
  Expr in_block_ = loop::index(0), out_block_;
  Chunk chunk_;
};

}  // namespace

bool is_conv_weight_grad(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  if (order.size() != 1 || body.inputs().size() != 2) return false;
  const Node& n = body.node(order[0]);
  return n.op->name == "ConvWeightGrad" && n.attrs.flag("blocked") && body.value(n.out[0]).type.dtype == DType::f32 &&
         n.in[0] == body.inputs()[0];
}

loop::Kernel lower_conv_weight_grad(const Graph& body, const Target& target) {
  return WeightGradNest(body, target).run();
}

}  // namespace fcc::backend
