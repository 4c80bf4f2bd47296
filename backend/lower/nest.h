#pragma once
// Building a loop nest around one output expression: which loops form the tile, which dimension is the vector
// direction, and at which level each invariant subexpression (a row's maximum, a mean) is computed once.
#include "backend/lower/body.h"

namespace fcc::backend {

struct LoopDim {
  loop::VarId var = -1;
  SymExpr extent;
};

// Moves reductions and other costly subexpressions out of loops that they do not depend on.
// levels[i] receives the `let`s that belong directly inside loops[i]; before receives those that use no loop.
struct Hoisted {
  loop::Block before;
  std::vector<loop::Block> levels;
  std::vector<loop::Expr> values;
};
Hoisted hoist_invariants(loop::Kernel&, const std::vector<LoopDim>& loops, const std::vector<loop::Expr>& values, Interner&);

// True when some load in e walks contiguous memory as v advances: its last index is v + const and no other uses v.
bool walks_contiguously(const loop::Expr& e, loop::VarId v);
// e with every reduce that walks contiguously (and whose operands are free of `vector_var`) marked for `lanes`.
loop::Expr vectorize_reductions(const loop::Expr& e, loop::VarId vector_var, int32_t lanes);
bool contains_reduce(const loop::Expr& e);
// Arithmetic operations to compute e once, open dimensions taken as guess_size(); loads count one.
double cost_of(const loop::Expr& e);

// The number the cost model uses for an open dimension it cannot know.
inline constexpr int64_t kGuessedExtent = 64;
int64_t guess_size(const SymExpr&);
double guess_extent(const loop::Expr& extent);

}  // namespace fcc::backend
