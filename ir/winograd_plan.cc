#include "ir/winograd_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace fcc {
namespace {

// ---- the machine, as far as the description goes
// Bytes that come from behind L2 while one slot passes. Emerald Rapids: DRAM 14 GB/s a core beside 179 to 240 GFLOP/s
// (2 bytes a slot of 16 lanes), L3 28; Zen 4: 24 and 90 beside 116 (7 and 25). Weights of a whole network come from
// DRAM: in ResNet-18, 512@7 by F(2,3) reads its 16.8 MB at 10 GB/s and loses to the direct method.
constexpr double kBytesPerSlot = 2;
constexpr double kExposed = 0.35;  // of the shorter of arithmetic and memory time: what prefetching does not hide
// Of the L2 of the description. V and M of one task may exceed it a little: a level's 1 MiB stands for Zen 4, whose L3
// is fast, and for server cores with 2 MiB. Weights count as resident only when everything fits.
constexpr double kRoomForTask = 1.25, kRoomForAll = 1.0;
constexpr int64_t kMaxScratch = 24 << 20;
constexpr double kTaskSlots = 3000;  // handing out a task, cold branches

// Slots of a transform for one tile and one vector of channels: arithmetic, and loads and stores where they bind.
// F(4,3): 12 times 16 operations on 6 values, 72 loads, 72 stores; back 10 times 12 on 64 loads, 40 stores.
struct TransformCost {
  double in, out;
};
TransformCost transform_cost(int64_t m) {
  return m == 4 ? TransformCost{230, 160} : TransformCost{80, 60};
}

struct Machine {
  explicit Machine(const Target& t) : target(t), lanes(static_cast<double>(t.vector_bytes) / 4) {}
  const Target& target;
  double lanes;
  double vectors(int64_t channels) const { return static_cast<double>(channels) / lanes; }
  int64_t most_rows() const {
    switch (target.isa) {  // as backend/lower/tiles.cc
      case Isa::x86_64_v4:
        return 14;
      case Isa::x86_64_v3:
        return 6;
      case Isa::x86_64_v2:
        return 2;
      case Isa::aarch64:
        return 6;
    }
    return 1;
  }
  // One register tile of `rows` x nr over k channels.
  double product(int64_t rows, int64_t nr, int64_t k) const {
    const double width = target.isa == Isa::x86_64_v4 ? static_cast<double>(std::min<int64_t>(nr, 32)) : 16;
    const double vectors_wide = width / lanes, r = static_cast<double>(rows);
    const double step = std::max({r * vectors_wide, r + vectors_wide, 8.0});  // multiply-adds, loads, latency
    const double edge = 3 * r * vectors_wide + 40;                            // clearing, storing, a mispredicted exit
    return (step * static_cast<double>(k) + edge) * static_cast<double>(nr) / width;
  }
  // What a register tile waits for the lines of a panel from L2: the first one, or every one when L1 cannot hold it.
  static double lines_from_l2(int64_t nr, int64_t k) { return 2 * static_cast<double>(nr * k * 4) / 64; }
  static double together(double compute, double memory) {
    return std::max(compute, memory) + kExposed * std::min(compute, memory);
  }
};

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

struct Costing {
  const WinogradShape& s;
  const Machine& machine;
  int64_t m, alpha, total, panels_all;
  double fill;  // of the panels: the last one holds what is left

  Costing(const WinogradShape& shape, int64_t m, const Machine& machine)
      : s(shape),
        machine(machine),
        m(m),
        alpha(m + 2),
        total(s.batch * ceil_div(s.oh, m) * ceil_div(s.ow, m)),
        panels_all(ceil_div(s.out_channels, s.nr)),
        fill(static_cast<double>(s.out_channels) / static_cast<double>(panels_all * s.nr)) {}

  double positions() const { return static_cast<double>(alpha * alpha); }

  void price(WinogradPlan& p) const {
    const int64_t tiles = std::min(p.tiles, ceil_div(total, p.rows) * p.rows),
                  per_split = ceil_div(panels_all, p.splits);
    const double t = static_cast<double>(std::min(tiles, total)), of_task = static_cast<double>(per_split) * fill;
    p.v_bytes = alpha * alpha * p.tiles * s.channels * 4;
    p.m_bytes = alpha * alpha * p.tiles * p.panels * s.nr * 4;
    p.u_bytes = alpha * alpha * s.channels * panels_all * s.nr * 4;
    const int64_t tile_groups = ceil_div(total, p.tiles);
    // Small weights stay in L2 from run to run. Others, with one or two groups of tiles, every task meets for the first
    // time.
    p.fetches = !near();
    p.streams = !near() && (tile_groups <= 2 || weights(of_task) + static_cast<double>(p.v_bytes + p.m_bytes) >
                                                    kRoomForAll * static_cast<double>(machine.target.l2_bytes));
    const TransformCost transform = transform_cost(m);
    const int64_t whole = std::min(tiles, total) / p.rows, rest = std::min(tiles, total) % p.rows;
    const int64_t register_tiles = whole + (rest ? 1 : 0);
    const bool panel_in_l1 = s.channels * s.nr * 4 <= machine.target.l1_bytes * 3 / 4;
    double product = static_cast<double>(panel_in_l1 ? 1 : register_tiles) * Machine::lines_from_l2(s.nr, s.channels);
    product += static_cast<double>(whole) * machine.product(p.rows, s.nr, s.channels);
    for (int64_t rows = rest; rows > 0;) {  // an open number of tiles ends in register tiles of halving height
      const int64_t height = s.open ? static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows))) : rows;
      product += machine.product(height, s.nr, s.channels);
      rows -= height;
    }
    // V of one position is read from L2 once a pass, or by every panel when L1 cannot hold it beside the panel.
    const double slice = t * static_cast<double>(s.channels) * 4;
    const bool slice_in_l1 = slice <= static_cast<double>(machine.target.l1_bytes) / 2;
    const double reads = slice_in_l1 ? std::ceil(of_task / static_cast<double>(p.panels)) : of_task;
    const double compute = t * machine.vectors(s.channels) * transform.in +
                           t * of_task * machine.vectors(s.nr) * transform.out +
                           positions() * (of_task * product + 2 * reads * slice / 64) + kTaskSlots;
    const double task = Machine::together(compute, traffic(p, of_task) / kBytesPerSlot);
    const int64_t tasks = tile_groups * p.splits * s.groups;
    const double threads = static_cast<double>(machine.target.threads);
    p.slots = std::ceil(static_cast<double>(tasks) / threads) * task + 0.1 * task;  // rounds, and a ragged end
    if (s.trained) p.slots += transform_of_weights(p) / threads;
  }

  // What the transform of weights costs above the packing that the direct method needs as well. U is written, which
  // reads its lines first, and written back; 16 lanes of an input channel take some 40 and 130 multiply-adds.
  double transform_of_weights(const WinogradPlan& p) const {
    const double vectors = machine.vectors(panels_all * s.nr) * static_cast<double>(s.channels * s.groups);
    const double u = static_cast<double>(p.u_bytes * s.groups);
    const double bytes = near() ? 0 : 2 * u;
    return Machine::together(vectors * (m == 4 ? 240 : 90), bytes / kBytesPerSlot);
  }

  double weights(double panels) const { return positions() * static_cast<double>(s.channels * s.nr * 4) * panels; }

  bool near() const {
    return weights(static_cast<double>(panels_all)) * 3 <= static_cast<double>(machine.target.l2_bytes);
  }

  // Bytes of a task from behind L2.
  double traffic(const WinogradPlan& p, double panels_of_task) const {
    const double room = kRoomForTask * static_cast<double>(machine.target.l2_bytes), v = static_cast<double>(p.v_bytes),
                 mm = static_cast<double>(p.m_bytes);
    const double passes = std::ceil(panels_of_task / static_cast<double>(p.panels)),
                 pixels = static_cast<double>(std::min(p.tiles, total) * m * m);
    double bytes =
        pixels * 4 * (static_cast<double>(s.channels) + panels_of_task * static_cast<double>(s.nr));  // x and y
    const double u = weights(panels_of_task);
    if (!near()) bytes += p.streams ? u : u / static_cast<double>(ceil_div(total, p.tiles));
    if (v + mm > room) bytes += v * (2 + passes);  // written, written back, read
    if (mm > room) bytes += 3 * mm * passes;
    return bytes;
  }
};

}  // namespace

WinogradPlan plan_winograd(const WinogradShape& s, int64_t m, const Target& target) {
  const Machine machine(target);
  const Costing costing(s, m, machine);
  const int64_t most = machine.most_rows();
  WinogradPlan best;
  best.slots = std::numeric_limits<double>::infinity();
  for (int64_t rows = most; rows >= std::max<int64_t>(1, most / 2); --rows)
    for (int64_t tiles = rows; tiles == rows || (tiles < costing.total + rows && tiles <= 16 * most); tiles += rows)
      for (int64_t splits = 1; splits <= std::min(costing.panels_all, 4 * target.threads); splits *= 2)
        for (int64_t panels = 1;; panels = std::min(2 * panels, ceil_div(costing.panels_all, splits))) {
          WinogradPlan p{.m = m, .rows = rows, .tiles = tiles, .splits = splits, .panels = panels};
          costing.price(p);
          if (p.slots < best.slots &&
              (p.v_bytes + p.m_bytes <= kMaxScratch || best.slots == std::numeric_limits<double>::infinity()))
            best = p;
          if (panels == ceil_div(costing.panels_all, splits)) break;
        }
  return best;
}

double direct_slots(const WinogradShape& s, const Target& target) {
  const Machine machine(target);
  const double pixels = static_cast<double>(s.batch * s.oh * s.ow * s.groups);
  const double products = pixels * static_cast<double>(9 * s.channels) * machine.vectors(s.out_channels);
  const double u = static_cast<double>(9 * s.channels * s.out_channels * s.groups * 4);
  const double bytes = u + pixels * 4 * static_cast<double>(s.channels + s.out_channels);
  return Machine::together(products / 0.92, bytes / kBytesPerSlot) / static_cast<double>(target.threads) + kTaskSlots;
}

// ---- the gradient of the weight
namespace {

// Of one tile and one vector of channels: A y A^T, 10 times 11 operations, 16 loads, 36 stores and a guard.
constexpr double kGradientTransform = 170;
// Of one vector of dw: G^T P G, 36 loads, and nine stores of 16 lanes a stride apart.
constexpr double kGradientEnd = 400;

double price(const WinogradShape& s, const Machine& machine, const WinogradGradPlan& p) {
  constexpr int64_t m = WinogradGradPlan::m, positions = (m + 2) * (m + 2);
  const auto l2 = static_cast<double>(machine.target.l2_bytes);
  const double total = static_cast<double>(s.batch * ceil_div(s.oh, m) * ceil_div(s.ow, m));
  const double tiles = std::min(total, static_cast<double>(p.tiles)), groups = std::ceil(total / tiles);
  const int64_t nr = p.out_channels % 32 == 0 ? 32 : 16, most = std::min(machine.most_rows(), p.channels);
  const int64_t row_tiles = ceil_div(p.channels, most), rows = ceil_div(p.channels, row_tiles);
  const double sums = static_cast<double>(positions * p.channels * p.out_channels) * 4;
  const double operands = static_cast<double>(positions * p.tiles * (p.channels + p.out_channels)) * 4;
  const double transforms = machine.vectors(p.channels) * transform_cost(m).in + machine.vectors(p.out_channels) * kGradientTransform;
  const double product = static_cast<double>(row_tiles * (p.out_channels / nr)) * machine.product(rows, nr, static_cast<int64_t>(tiles));
  const double lines = 2 * (2 * sums + operands) / 64;  // sums are read and written from L2 in every group
  double compute = total * transforms + groups * (static_cast<double>(positions) * product + lines) + kTaskSlots;
  compute += static_cast<double>(p.channels) * machine.vectors(p.out_channels) * kGradientEnd;
  double bytes = total * m * m * 4 * static_cast<double>(p.channels + p.out_channels) + static_cast<double>(9 * p.channels * p.out_channels) * 4;
  if (sums + operands > kRoomForTask * l2) bytes += groups * (2 * sums + 3 * operands);
  const double task = Machine::together(compute, bytes / kBytesPerSlot);
  const int64_t tasks = s.channels / p.channels * (s.out_channels / p.out_channels);
  return std::ceil(static_cast<double>(tasks) / static_cast<double>(machine.target.threads)) * task;
}

}  // namespace

WinogradGradPlan plan_winograd_grad(const WinogradShape& s, const Target& target) {
  const Machine machine(target);
  WinogradGradPlan best;
  best.slots = std::numeric_limits<double>::infinity();
  for (int64_t channels = 16; channels <= std::min<int64_t>(s.channels, 128); channels += 16)
    for (int64_t out = 16; out <= std::min<int64_t>(s.out_channels, 128); out += 16)
      for (int64_t tiles = 16; tiles <= 256; tiles *= 2) {
        if (s.channels % channels != 0 || s.out_channels % out != 0) continue;
        WinogradGradPlan p{.channels = channels, .out_channels = out, .tiles = tiles};
        p.slots = price(s, machine, p);
        if (p.slots < best.slots) best = p;
      }
  return best;
}

bool choose_winograd_grad(const WinogradShape& s, const Target& target) {
  const Machine machine(target);
  const double pixels = static_cast<double>(s.batch * s.oh * s.ow);
  const double products = pixels * static_cast<double>(9 * s.channels) * machine.vectors(s.out_channels);
  const double bytes = pixels * 4 * static_cast<double>(s.channels + s.out_channels) + static_cast<double>(9 * s.channels * s.out_channels) * 4;
  const double direct = Machine::together(products / 0.85, bytes / kBytesPerSlot) / static_cast<double>(target.threads);
  return plan_winograd_grad(s, target).slots < 0.9 * direct;
}

std::string WinogradGradPlan::text() const {
  return fmt::format("F(4,3) of the gradient: parts of {} x {} channels, groups of {} tiles", channels, out_channels, tiles);
}

WinogradChoice choose_winograd(const WinogradShape& s, const Target& target) {
  const double direct = direct_slots(s, target), two = plan_winograd(s, 2, target).slots,
               four = plan_winograd(s, 4, target).slots;
  WinogradChoice c;
  // F(2,3) has half of the bytes and a quarter of the error: it may cost a little more. Either needs a margin over
  // direct.
  if (std::min(two, four) < 0.9 * direct) c.m = two <= 1.05 * four ? 2 : 4;
  c.reason = fmt::format("kslots: direct {:.0f}, F(2,3) {:.0f}, F(4,3) {:.0f}", direct / 1e3, two / 1e3, four / 1e3);
  return c;
}

std::string WinogradPlan::text() const {
  return fmt::format(
      "F({},3): tasks of {} tiles in rows of {}, panels in {} parts, {} a pass; V {} KiB, M {} KiB, U {} KiB", m, tiles,
      rows, splits, panels, v_bytes / 1024, m_bytes / 1024, u_bytes / 1024);
}

}  // namespace fcc
