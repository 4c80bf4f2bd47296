#include "backend/lower/winograd_weight.h"

#include "ir/op.h"
#include "ir/ops/winograd.h"

namespace fcc::backend {

using loop::Expr;

namespace {

constexpr int64_t kLane = 16;
constexpr int64_t kChannelsOfTask = 16;  // 16 input channels of a panel: some 5 us

// U = G w G^T for 16 output channels at a time: nine loads a stride apart, then columns, then rows, all in registers.
// The generic lowering would compute every one of the 36 results from the nine weights again.
class WeightNest {
 public:
  explicit WeightNest(const Graph& body) : node_(body.node(body.order()[0])) {
    const Dims w = body.value(body.inputs()[0]).type.dims;
    mirrored_ = node_.attrs.flag("mirrored");
    out_channels_ = w[mirrored_ ? 1 : 0].constant();
    u_dims_ = body.value(body.outputs[0]).type.dims;
    nr_ = u_dims_[3].constant();
    w_ = kernel_.add_buffer({"w", DType::f32, w, loop::Space::input, false});
    u_ = kernel_.add_buffer({"u", DType::f32, u_dims_, loop::Space::output, false});
    kernel_.n_params = 2;
    lane_ = kernel_.add_var("lane");
  }

  loop::Kernel run() {
    const int64_t blocks = u_dims_[1].constant(), channels = u_dims_[2].constant();
    const int64_t parts = (channels + kChannelsOfTask - 1) / kChannelsOfTask;
    kernel_.tiles = blocks * parts;
    const loop::VarId t = kernel_.add_var("t"), block = kernel_.add_var("block"), part = kernel_.add_var("part"),
                      channel = kernel_.add_var("c"), first = kernel_.add_var("k0");
    loop::Block b{loop::let(block, loop::floordiv(loop::var(t), loop::index(parts))),
                  loop::let(part, loop::mod(loop::var(t), loop::index(parts)) * kChannelsOfTask)};
    const Expr last = loop::min(loop::var(part) + kChannelsOfTask, loop::index(channels));
    const loop::StmtRef lanes =
        loop::for_loop(lane_, loop::index(0), loop::index(kLane),
                       transform(loop::var(block), loop::var(channel), loop::var(first)), loop::LoopKind::vec, kLane);
    b.push_back(loop::for_loop(
        channel, loop::var(part), last,
        {loop::for_loop(first, loop::index(0), loop::index(nr_), {lanes}, loop::LoopKind::seq, 1, kLane)}));
    kernel_.body = {
        loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), loop::LoopKind::tile)};
    kernel_.name = "winograd_weight_f32_" + std::to_string(node_.attrs.integer("m")) + "x3";
    kernel_.note = "tasks of " + std::to_string(kChannelsOfTask) + " input channels x " + std::to_string(nr_);
    const int64_t positions = u_dims_[0].constant();
    kernel_.flops = channels * blocks * nr_ * 6 * (positions + 3 * (node_.attrs.integer("m") + 2));
    return std::move(kernel_);
  }

 private:
  Expr let(loop::Block& b, const char* var_name, Expr value) {
    const loop::VarId v = kernel_.add_var(var_name, DType::f32);
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v, DType::f32);
  }

  // The sum of coefficient times value over three taps, zeros left out.
  static Expr combine(const std::array<double, 3>& g, const Expr& a, const Expr& b, const Expr& c) {
    const Expr* values[] = {&a, &b, &c};
    Expr sum;
    for (size_t k = 0; k < 3; ++k) {
      if (g[k] == 0) continue;
      const Expr factor = loop::constant(DType::f32, g[k]);
      sum = sum ? loop::fma(*values[k], factor, sum) : *values[k] * factor;
    }
    return sum;
  }

  loop::Block transform(const Expr& block, const Expr& channel, const Expr& first) {
    const WinogradMatrices& f = winograd_matrices(node_.attrs.integer("m"));
    const auto alpha = static_cast<size_t>(f.alpha);
    const Expr k = block * nr_ + first + loop::var(lane_);
    loop::Block b;
    Expr w[3][3];
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 3; ++j) w[i][j] = let(b, "w", weight(k, channel, i, j));
    std::vector<std::array<Expr, 3>> rows(alpha);
    for (size_t i = 0; i < alpha; ++i)
      for (size_t j = 0; j < 3; ++j) rows[i][j] = let(b, "t", combine(taps(f, i), w[0][j], w[1][j], w[2][j]));
    for (size_t i = 0; i < alpha; ++i)
      for (size_t j = 0; j < alpha; ++j)
        b.push_back(loop::store(
            u_, {loop::index(static_cast<int64_t>(i * alpha + j)), block, channel, first + loop::var(lane_)},
            combine(taps(f, j), rows[i][0], rows[i][1], rows[i][2])));
    return b;
  }

  static std::array<double, 3> taps(const WinogradMatrices& f, size_t row) {
    return {f.g[row][0], f.g[row][1], f.g[row][2]};
  }

  // Zero past the last output channel.
  Expr weight(const Expr& k, const Expr& channel, int64_t i, int64_t j) {
    std::vector<Expr> at = mirrored_ ? std::vector{channel, k, loop::index(2 - i), loop::index(2 - j)}
                                     : std::vector{k, channel, loop::index(i), loop::index(j)};
    if (out_channels_ % nr_ == 0) return loop::load(w_, DType::f32, std::move(at));
    return loop::load_guarded(w_, DType::f32, std::move(at), loop::lt(k, loop::index(out_channels_)),
                              loop::constant(DType::f32, 0));
  }

  const Node& node_;
  loop::Kernel kernel_;
  bool mirrored_ = false;
  int64_t out_channels_ = 1, nr_ = 16;
  Dims u_dims_;
  loop::BufferId w_ = -1, u_ = -1;
  loop::VarId lane_ = -1;
};

}  // namespace

bool is_winograd_weight(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  if (order.size() != 1 || body.inputs().size() != 1) return false;
  const Node& n = body.node(order[0]);
  return n.op->name == "PackWinogradWeight" && n.attrs.integer("group", 1) == 1 && n.attrs.integer("nr") % kLane == 0 &&
         body.value(n.in[0]).type.dtype == DType::f32;
}

loop::Kernel lower_winograd_weight(const Graph& body, const Target&) {
  return WeightNest(body).run();
}

}  // namespace fcc::backend
