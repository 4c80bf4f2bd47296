#include "backend/lower/tiles.h"

#include <algorithm>
#include <numeric>

namespace fcc::backend {

using loop::Expr;

// Largest tile that leaves registers for the B vectors, one broadcast and addresses (docs/performance notes):
// 14x32 uses 28 of 32 zmm, 9x48 27 (28x16 was slower than 14x16: a load for every multiply-add); 6x16 uses 12 of 16 ymm; 2x16 8 of 16 xmm; 6x16 24 of 32 NEON registers.
static TileShape largest_tile(const Target& t, int64_t panel) {
  switch (t.isa) {
    case Isa::x86_64_v4: return panel % 48 == 0 ? TileShape{9, 48} : panel % 32 == 0 ? TileShape{14, 32} : TileShape{14, 16};
    case Isa::x86_64_v3: return {6, 16};
    case Isa::x86_64_v2: return {2, 16};
    case Isa::aarch64: return {6, 16};
  }
  return {1, 16};
}

int32_t most_rows(const Target& target, int64_t panel) { return largest_tile(target, panel).rows; }

// `most` rows, or fewer so that the tiles have equal heights: 64 rows are 13+13+13+13+12, not 4*14+8.
static TileShape fit(const Target& target, TileShape t, const SymExpr& rows) {
  if (!rows.is_constant()) {
    t.rows = std::min(t.rows, target.isa == Isa::x86_64_v4 ? 12 : t.rows);  // 12 = 8 + 4: its remainders need few tiles
    return t;
  }
  const int64_t total = std::max<int64_t>(1, rows.constant());
  const int64_t tiles = (total + t.rows - 1) / t.rows;
  t.rows = static_cast<int32_t>((total + tiles - 1) / tiles);
  return t;
}

int32_t rows_that_stay_in_l1(const Target& target, int64_t row_bytes) {
  constexpr int64_t kWayBytes = 4096;  // 64 sets of 64 bytes: every L1 that is indexed within a page of 4 KiB
  const int64_t ways = std::max<int64_t>(1, target.l1_bytes / kWayBytes), sets = kWayBytes / std::gcd(kWayBytes, row_bytes);
  return static_cast<int32_t>(std::min<int64_t>(ways * sets, 64));
}

TileShape choose_tile(const Target& target, int64_t panel, const SymExpr& rows) { return fit(target, largest_tile(target, panel), rows); }

// One vector of 8 a row with AVX2 and AVX-512 (where 512 bits would multiply eight lanes by nothing), two of 4 else. 12
// rows of AVX2 and 4 of SSE spill inside of unrolled taps: 10 and 2 memory operands a loop.
TileShape choose_half_tile(const Target& target, const SymExpr& rows) {
  switch (target.isa) {
    case Isa::x86_64_v4: return fit(target, {14, 8}, rows);
    case Isa::aarch64: return fit(target, {12, 8}, rows);
    case Isa::x86_64_v3: return fit(target, {10, 8}, rows);
    case Isa::x86_64_v2: return fit(target, {3, 8}, rows);
  }
  return {1, 8};
}

int32_t choose_k_split(const Target& target, int32_t rows, int32_t cols) {
  const auto lanes = static_cast<int32_t>(target.vector_bytes / 4);
  const int32_t chains = rows * (cols / std::min(lanes, cols));
  int32_t split = 1;
  // A second set of 6 accumulators spills where there are 16 registers: it needs its operands at once.
  const int64_t most = target.vector_registers * 5 / 8;
  while (split < 4 && chains * split < 8 && chains * split * 2 <= most) split *= 2;
  return split;
}

static loop::Block remainder_tiles(loop::Kernel& k, Expr rest, Expr row0, int32_t mr, const MakeTile& make) {
  int32_t height = 1;
  while (height * 2 < mr) height *= 2;
  loop::Block b;
  for (; height >= 1; height /= 2) {
    const loop::VarId at = k.add_var("row");
    b.push_back(loop::let(at, row0));
    Expr taken = loop::eq(loop::mod(loop::floordiv(rest, loop::index(height)), loop::index(2)), loop::index(1));
    b.push_back(loop::if_then(taken, make(height, loop::var(at))));
    row0 = loop::var(at) + loop::select(taken, loop::index(height), loop::index(0));
  }
  return b;
}

loop::Block cover_rows(loop::Kernel& k, const SymExpr& total, int32_t mr, Expr first, Expr last, const MakeTile& make) {
  const loop::VarId tile = k.add_var("tile");
  Expr row0 = loop::var(tile) * mr;
  loop::Block body;
  if (total.is_constant()) {
    const int64_t full = total.constant() / mr, rest = total.constant() % mr;
    if (rest == 0) {
      body = make(mr, row0);
    } else if (full == 0) {
      body = make(static_cast<int32_t>(rest), row0);
    } else {
      body = {loop::if_then(loop::lt(loop::var(tile), loop::index(full)), make(mr, row0), make(static_cast<int32_t>(rest), row0))};
    }
  } else {
    const loop::VarId rest = k.add_var("rest");
    body.push_back(loop::let(rest, loop::from_sym(total) - row0));
    Expr is_full = loop::ge(loop::var(rest), loop::index(mr));
    body.push_back(mr == 1 ? loop::block(make(1, row0)) : loop::if_then(is_full, make(mr, row0), remainder_tiles(k, loop::var(rest), row0, mr, make)));
  }
  return {loop::for_loop(tile, std::move(first), std::move(last), std::move(body))};
}

// Code for the height that `height` turns out to be, found by halving [low, high].
static loop::Block dispatch_height(Expr height, int32_t low, int32_t high, Expr row0, Expr tile, const MakeEvenTile& make) {
  if (low == high) return make(low, row0, tile);
  const int32_t middle = (low + high) / 2;
  return {loop::if_then(loop::lt(height, loop::index(middle + 1)), dispatch_height(height, low, middle, row0, tile, make),
                        dispatch_height(height, middle + 1, high, row0, tile, make))};
}

loop::Block cover_rows_evenly(loop::Kernel& k, const SymExpr& total, int32_t mr, Expr first, Expr last, const MakeEvenTile& make) {
  const loop::VarId tile = k.add_var("tile");
  loop::Block body;
  if (total.is_constant()) {
    const int64_t tiles = std::max<int64_t>(1, (total.constant() + mr - 1) / mr), height = total.constant() / tiles, taller = total.constant() % tiles;
    const auto h = static_cast<int32_t>(height);
    if (h == 0) return {};  // no rows, no tiles
    if (taller == 0) {
      body = make(h, loop::var(tile) * height, loop::var(tile));
    } else {
      body = {loop::if_then(loop::lt(loop::var(tile), loop::index(taller)), make(h + 1, loop::var(tile) * (height + 1), loop::var(tile)),
                            make(h, loop::var(tile) * height + taller, loop::var(tile)))};
    }
  } else {
    auto let = [&](const char* name, Expr value) {
      const loop::VarId v = k.add_var(name);
      body.push_back(loop::let(v, std::move(value)));
      return loop::var(v);
    };
    const Expr rows = loop::from_sym(total), tiles = loop::from_sym(ceildiv(total, mr));
    const Expr least = let("least", loop::floordiv(rows, tiles)), taller = let("taller", rows - least * tiles);
    const Expr height = let("height", least + loop::select(loop::lt(loop::var(tile), taller), loop::index(1), loop::index(0)));
    const Expr row0 = let("row", loop::var(tile) * least + loop::min(loop::var(tile), taller));
    for (loop::StmtRef& s : dispatch_height(height, 1, mr, row0, loop::var(tile), make)) body.push_back(std::move(s));
  }
  return {loop::for_loop(tile, std::move(first), std::move(last), std::move(body))};
}

}  // namespace fcc::backend
