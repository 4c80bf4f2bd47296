#include "backend/lower/padding.h"

namespace fcc::backend {

using loop::Expr;

loop::BufferId copy_padded(loop::Kernel& kernel, loop::Block& block, const PaddedStrip& s) {
  const loop::BufferId scratch = kernel.add_buffer({"padded", DType::f32, {s.planes, s.rows, s.width}, loop::Space::scratch, false});
  block.push_back(loop::alloc(scratch));
  const loop::VarId plane = kernel.add_var("c"), r = kernel.add_var("y"), x = kernel.add_var("x");
  const Expr row = s.top + loop::var(r), column = s.left + loop::var(x);
  const Expr inside_row = loop::both(loop::ge(row, loop::index(0)), loop::lt(row, loop::from_sym(s.height)));
  const Expr inside = loop::both(inside_row, loop::both(loop::ge(column, loop::index(0)), loop::lt(column, loop::from_sym(s.row_floats))));
  const Expr value = loop::load_guarded(s.input, DType::f32, {s.image, s.first_plane + loop::var(plane), row, column}, inside, loop::constant(DType::f32, 0));
  const loop::StmtRef store = loop::store(scratch, {loop::var(plane), loop::var(r), loop::var(x)}, value);
  const loop::StmtRef columns = loop::for_loop(x, loop::index(0), loop::index(s.width), {store}, loop::LoopKind::vec, 16);
  const loop::StmtRef rows = loop::for_loop(r, loop::index(0), loop::index(s.rows), {columns});
  block.push_back(loop::for_loop(plane, loop::index(0), loop::index(s.planes), {rows}));
  return scratch;
}

}  // namespace fcc::backend
