#pragma once
// Register tiles: which rows x columns a contraction uses on a target, and loops that cover any number of rows with
// them so that no tile computes rows that do not exist.
#include <functional>

#include "ir/loop/loop.h"
#include "ir/target.h"

namespace fcc::backend {

struct TileShape {
  int32_t rows;  // preferred rows of a full tile
  int32_t cols;  // 16, 32 or 48
};

// The most rows a tile may have.
int32_t most_rows(const Target& target, int64_t panel);
// panel: columns of one packed panel (16, 32 or 48). rows: how many there are to cover, or an open size.
TileShape choose_tile(const Target& target, int64_t panel, const SymExpr& rows);
// How many rows, `row_bytes` apart, a tile may read without throwing its own lines out of L1. A line holds 16 elements,
// so it must survive 16 steps of K; rows a multiple of 4096 bytes apart all fall on one set.
int32_t rows_that_stay_in_l1(const Target& target, int64_t row_bytes);
// The same for tiles of eight columns.
TileShape choose_half_tile(const Target& target, const SymExpr& rows);
// Accumulator sets for a tile, so that at least 8 independent FMA chains hide the latency (4 cycles x 2 ports).
int32_t choose_k_split(const Target& target, int32_t rows, int32_t cols);

// Code for `count` rows starting at row `row0`.
using MakeTile = std::function<loop::Block(int32_t count, loop::Expr row0)>;
// Rows [tile*mr, min((tile+1)*mr, total)) for tile in [first, last): full tiles, then the remainder as a tile of its
// exact height when total is a number, or as tiles of halving height when it is open.
loop::Block cover_rows(loop::Kernel&, const SymExpr& total, int32_t mr, loop::Expr first, loop::Expr last, const MakeTile& make);
// The same with ceil(total/mr) tiles of heights that differ by one at most: 13 rows are 7+6, not 12+1. An open total
// has code for every height up to mr, so that any number of rows reads each panel as often as its fixed twin does.
using MakeEvenTile = std::function<loop::Block(int32_t count, loop::Expr row0, loop::Expr tile)>;
loop::Block cover_rows_evenly(loop::Kernel&, const SymExpr& total, int32_t mr, loop::Expr first, loop::Expr last, const MakeEvenTile& make);

}  // namespace fcc::backend
