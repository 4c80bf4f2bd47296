#include "backend/lower/winograd_weight_grad.h"

#include "backend/lower/conv_weight_grad.h"
#include "backend/lower/nest.h"
#include "backend/lower/nest_builder.h"
#include "backend/lower/tiles.h"
#include "backend/lower/winograd_transform.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"
#include "ir/ops/winograd.h"
#include "ir/winograd_plan.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = kChannelBlock, kM = WinogradGradPlan::m, kAlpha = kM + 2;

// A task owns a part of the input channels and a part of the output channels, so that no two add to the same element
// and the order of the sums does not depend on threads. For every group of tiles it transforms both operands, 16
// channels at a time, and adds 36 products over the tiles to sums that stay in L2; at the end these become its part of
// dw.
class GradNest : NestBuilder {
 public:
  GradNest(const Graph& body, const Target& target) : target_(target), node_(body.node(body.order()[0])) {
    const Dims x = body.value(body.inputs()[0]).type.dims, dy = body.value(body.inputs()[1]).type.dims;
    const std::vector<int64_t> weight = node_.attrs.integers("weight");
    const Dims pads = node_.attrs.dims("pads");
    batch_ = x[0], in_blocks_ = x[1].constant(), out_blocks_ = dy[1].constant();
    k_ = weight[0], c_ = weight[1];
    h_ = x[2].constant(), w_ = x[3].constant(), oh_ = dy[2].constant(), ow_ = dy[3].constant();
    top_ = pads.empty() ? 0 : pads[0].constant(), left_ = pads.empty() ? 0 : pads[1].constant();
    tile_rows_ = (oh_ + kM - 1) / kM, tile_columns_ = (ow_ + kM - 1) / kM;
    total_ = batch_ * (tile_rows_ * tile_columns_);
    x_ = kernel_.add_buffer({"x", DType::f32, x, loop::Space::input, false});
    dy_ = kernel_.add_buffer({"dy", DType::f32, dy, loop::Space::input, false});
    out_ = kernel_.add_buffer({"dw", DType::f32, Dims(weight.begin(), weight.end()), loop::Space::output, false});
    kernel_.n_params = 3;
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    const WinogradShape shape{.batch = batch_.is_constant() ? batch_.constant() : 1,
                              .oh = oh_,
                              .ow = ow_,
                              .open = !batch_.is_constant(),
                              .channels = in_blocks_ * kLane,
                              .out_channels = out_blocks_ * kLane,
                              .trained = true};
    plan_ = plan_winograd_grad(shape, target_);
    panel_ = plan_.out_channels % 32 == 0 ? 32 : kLane;
    tile_ = choose_tile(target_, panel_, SymExpr(plan_.channels));
    build();
    kernel_.name = "conv_weight_grad_f32_winograd_4x3";
    kernel_.note = plan_.text();
    kernel_.flops = batch_ * (2 * k_ * c_ * 9 * oh_ * ow_);  // of the direct sum, as everywhere
    return std::move(kernel_);
  }

 private:
  loop::StmtRef lanes(loop::Block b) {
    return loop::for_loop(lane_, loop::index(0), loop::index(kLane), std::move(b), loop::LoopKind::vec, kLane);
  }
  static Expr number(double v) { return loop::constant(DType::f32, v); }

  // One more line between positions keeps the 36 values of a tile out of each other's cache sets.
  loop::BufferId positions(const char* buffer_name, int64_t floats) {
    return kernel_.add_buffer(
        {buffer_name, DType::f32, {kAlpha * kAlpha, floats + kLane}, loop::Space::scratch, false});
  }

  void build() {
    const int64_t out_parts = out_blocks_ * kLane / plan_.out_channels, in_parts = in_blocks_ * kLane / plan_.channels;
    v_ = positions("v", plan_.tiles * plan_.channels);
    z_ = positions("z", plan_.tiles * plan_.out_channels);
    sums_ = positions("sums", plan_.channels * plan_.out_channels);
    half_ = kernel_.add_buffer({"half", DType::f32, {kAlpha, kAlpha, kLane}, loop::Space::scratch, false});
    kernel_.tiles = out_parts * in_parts;
    const loop::VarId t = kernel_.add_var("t");
    loop::Block b{loop::alloc(v_), loop::alloc(z_), loop::alloc(sums_), loop::alloc(half_)};
    first_in_ = let(b, "cb0", loop::mod(loop::var(t), loop::index(in_parts)) * (plan_.channels / kLane));
    first_out_ = let(b, "kb0", loop::floordiv(loop::var(t), loop::index(in_parts)) * (plan_.out_channels / kLane));
    b.push_back(count("pos", loop::index(0), loop::index(kAlpha * kAlpha), [&](const Expr& position) {
      return loop::Block{count(
          "i", loop::index(0), loop::index(plan_.channels * plan_.out_channels),
          [&](const Expr& i) {
            return loop::Block{lanes({loop::store(sums_, {position, i + loop::var(lane_)}, number(0))})};
          },
          kLane)};
    }));
    b.push_back(count(
        "t0", loop::index(0), loop::from_sym(total_),
        [&](const Expr& t0) {
          loop::Block group;
          first_tile_ = t0;
          last_tile_ = let(group, "t1", loop::min(t0 + plan_.tiles, loop::from_sym(total_)));
          transforms(group);
          products(group);
          return group;
        },
        plan_.tiles));
    end(b);
    kernel_.body = {
        loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
  }

  // ---- V = B^T d B, Z = A dy A^T
  void transforms(loop::Block& group) {
    group.push_back(count("tile", first_tile_, last_tile_, [&](const Expr& tile) {
      loop::Block b;
      const Expr column = let(b, "tx", loop::mod(tile, loop::index(tile_columns_)) * kM),
                 line = let(b, "line", loop::floordiv(tile, loop::index(tile_columns_)));
      const Expr row = let(b, "ty", loop::mod(line, loop::index(tile_rows_)) * kM),
                 image = let(b, "n", loop::floordiv(line, loop::index(tile_rows_)));
      const Expr local = let(b, "local", tile - first_tile_);
      operand(b, {x_, image, first_in_, plan_.channels, row - top_, column - left_, h_, w_, kAlpha, v_, local});
      operand(b, {dy_, image, first_out_, plan_.out_channels, row, column, oh_, ow_, kM, z_, local});
      return b;
    }));
  }

  struct Operand {
    loop::BufferId from;
    Expr image, first_block;
    int64_t channels;
    Expr y, x;
    int64_t h, w, size;  // of the plane; edge of a patch
    loop::BufferId to;
    Expr local;
  };
  static std::vector<Expr> transform(Lanes& l, const std::vector<Expr>& values) {
    return static_cast<int64_t>(values.size()) == kM ? transform_gradient(l, values) : transform_input(l, values);
  }

  void operand(loop::Block& b, const Operand& o) {
    const Expr zero = loop::index(0);
    const Expr inside =
        loop::both(loop::both(loop::ge(o.y, zero), loop::ge(o.x, zero)),
                   loop::both(loop::ge(loop::index(o.h - o.size), o.y), loop::ge(loop::index(o.w - o.size), o.x)));
    b.push_back(loop::if_then(inside, {patch(o, false)}, {patch(o, true)}));
  }

  loop::StmtRef patch(const Operand& o, bool guarded) {
    return count("c", loop::index(0), loop::index(o.channels / kLane), [&](const Expr& block) {
      return loop::Block{
          count("j", loop::index(0), loop::index(o.size),
                [&](const Expr& j) {
                  Lanes l{kernel_, {}};
                  std::vector<Expr> d;
                  for (int64_t r = 0; r < o.size; ++r) {
                    const Expr y = o.y + r, x = o.x + j;
                    std::vector<Expr> at{o.image, o.first_block + block, y, x, loop::var(lane_)};
                    d.push_back(
                        l.let("d", guarded ? loop::load_guarded(o.from, DType::f32, std::move(at),
                                                                loop::both(within(y, o.h), within(x, o.w)), number(0))
                                           : loop::load(o.from, DType::f32, std::move(at))));
                  }
                  const std::vector<Expr> t = transform(l, d);
                  for (int64_t i = 0; i < kAlpha; ++i)
                    l.block.push_back(
                        loop::store(half_, {loop::index(i), j, loop::var(lane_)}, t[static_cast<size_t>(i)]));
                  return loop::Block{lanes(std::move(l.block))};
                }),
          count("i", loop::index(0), loop::index(kAlpha), [&](const Expr& i) {
            Lanes l{kernel_, {}};
            std::vector<Expr> d;
            for (int64_t r = 0; r < o.size; ++r)
              d.push_back(l.let("d", loop::load(half_, DType::f32, {i, loop::index(r), loop::var(lane_)})));
            const std::vector<Expr> t = transform(l, d);
            for (int64_t j = 0; j < kAlpha; ++j)
              l.block.push_back(loop::store(o.to,
                                            {i * kAlpha + j, o.local * o.channels + block * kLane + loop::var(lane_)},
                                            t[static_cast<size_t>(j)]));
            return loop::Block{lanes(std::move(l.block))};
          })};
    });
  }
  static Expr within(const Expr& at, int64_t extent) {
    return loop::both(loop::ge(at, loop::index(0)), loop::lt(at, loop::index(extent)));
  }

  // ---- sums += V^T Z at each position
  void products(loop::Block& group) {
    group.push_back(count("pos", loop::index(0), loop::index(kAlpha * kAlpha), [&](const Expr& position) {
      return loop::Block{count(
          "k", loop::index(0), loop::index(plan_.out_channels),
          [&](const Expr& column) {
            const int64_t row_tiles = (plan_.channels + tile_.rows - 1) / tile_.rows;
            return cover_rows(
                kernel_, SymExpr(plan_.channels), tile_.rows, loop::index(0), loop::index(row_tiles),
                [&](int32_t rows, const Expr& row) { return loop::Block{product(position, row, rows, column)}; });
          },
          tile_.cols)};
    }));
  }

  loop::StmtRef product(const Expr& position, const Expr& row, int32_t rows, const Expr& column) {
    loop::ContractTile t;
    t.a = v_, t.b = z_;
    t.a_base = position * (plan_.tiles * plan_.channels + kLane) + row;
    t.b_base = position * (plan_.tiles * plan_.out_channels + kLane) + column;
    t.a_row = loop::index(1);
    t.rows = rows, t.cols = tile_.cols;
    t.reductions = {{last_tile_ - first_tile_, loop::index(plan_.channels), loop::index(plan_.out_channels), false}};
    t.k_split = choose_k_split(target_, rows, tile_.cols);
    t.row_var = kernel_.add_var("r"), t.block_var = kernel_.add_var("b"), t.lane_var = kernel_.add_var("l"),
    t.acc_var = kernel_.add_var("acc", DType::f32);
    const std::vector<Expr> at{position, (row + loop::var(t.row_var)) * plan_.out_channels + column +
                                             loop::var(t.block_var) * kLane + loop::var(t.lane_var)};
    t.epilogue = {loop::store(sums_, at, loop::load(sums_, DType::f32, at) + loop::var(t.acc_var, DType::f32))};
    return loop::contract(std::move(t));
  }

  // ---- dw = G^T sums G, 16 output channels at a time
  void end(loop::Block& b) {
    b.push_back(count("c", loop::index(0), loop::index(plan_.channels), [&](const Expr& c) {
      return loop::Block{count(
          "k", loop::index(0), loop::index(plan_.out_channels),
          [&](const Expr& k) {
            const Expr channel = first_in_ * kLane + c;
            loop::StmtRef all = lanes(weights(c, k, channel));
            if (c_ % kLane != 0) all = loop::if_then(loop::lt(channel, loop::index(c_)), {all});
            return loop::Block{all};
          },
          kLane)};
    }));
  }

  loop::Block weights(const Expr& c, const Expr& k, const Expr& channel) {
    const WinogradMatrices& f = winograd_matrices(kM);
    Lanes l{kernel_, {}};
    const auto combine = [&](const std::vector<Expr>& values, size_t tap) {
      Expr sum;
      for (size_t i = 0; i < values.size(); ++i) {
        if (f.g[i][tap] == 0) continue;
        sum = sum ? loop::fma(values[i], number(f.g[i][tap]), sum) : values[i] * number(f.g[i][tap]);
      }
      return sum;
    };
    std::vector<std::vector<Expr>> half(3);  // [tap down][position across]
    for (int64_t j = 0; j < kAlpha; ++j) {
      std::vector<Expr> p;
      for (int64_t i = 0; i < kAlpha; ++i)
        p.push_back(
            l.let("p", loop::load(sums_, DType::f32,
                                  {loop::index(i * kAlpha + j), c * plan_.out_channels + k + loop::var(lane_)})));
      for (size_t a = 0; a < 3; ++a) half[a].push_back(l.let("g", combine(p, a)));
    }
    const Expr out = first_out_ * kLane + k + loop::var(lane_);
    const Expr exists = k_ % kLane != 0 ? loop::lt(out, loop::index(k_)) : nullptr;
    for (size_t a = 0; a < 3; ++a)
      for (size_t e = 0; e < 3; ++e)
        l.block.push_back(loop::store(
            out_, {out, channel, loop::index(static_cast<int64_t>(a)), loop::index(static_cast<int64_t>(e))},
            combine(half[a], e), exists));
    return std::move(l.block);
  }

  const Target& target_;
  const Node& node_;
  WinogradGradPlan plan_;
  TileShape tile_{};
  int64_t panel_ = 32;
  SymExpr batch_, total_;
  int64_t in_blocks_ = 1, out_blocks_ = 1, k_ = 1, c_ = 1, h_ = 1, w_ = 1, oh_ = 1, ow_ = 1, top_ = 0, left_ = 0,
          tile_rows_ = 1, tile_columns_ = 1;
  loop::BufferId x_ = -1, dy_ = -1, out_ = -1, v_ = -1, z_ = -1, sums_ = -1, half_ = -1;
  loop::VarId lane_ = -1;
  Expr first_in_, first_out_, first_tile_, last_tile_;
};

}  // namespace

bool is_winograd_weight_grad(const Graph& body) {
  return is_conv_weight_grad(body) && body.node(body.order()[0]).attrs.integer("m", 0) == kM;
}

loop::Kernel lower_winograd_weight_grad(const Graph& body, const Target& target) {
  return GradNest(body, target).run();
}

}  // namespace fcc::backend
