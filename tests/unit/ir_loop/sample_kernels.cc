#include "tests/unit/ir_loop/sample_kernels.h"

namespace fcc::loop {
namespace {

BufferId param(Kernel& k, std::string name, DType t, Dims dims, Space space) {
  const BufferId b = k.add_buffer({.name = std::move(name), .dtype = t, .dims = std::move(dims), .space = space});
  k.n_params = b + 1;
  return b;
}

// y[i] = 2 x[i] in vectors of four, the last one masked.
Kernel pointwise() {
  Kernel k{.name = "pointwise", .note = "tiles of 4"};
  const SymExpr n = SymExpr::symbol("N");
  const BufferId x = param(k, "x", DType::f32, {n}, Space::input), y = param(k, "y", DType::f32, {n}, Space::output);
  const VarId t = k.add_var("t"), i = k.add_var("i"), v = k.add_var("v", DType::f32);
  const Expr at = var(t) * 4 + var(i), inside = lt(at, symbol("N"));
  k.tiles = ceildiv(n, 4);
  k.flops = n;
  k.body = {for_loop(t, index(0), from_sym(k.tiles),
                     {for_loop(i, index(0), index(4),
                               {let(v, load_guarded(x, DType::f32, {at}, inside, constant(DType::f32, 0))),
                                store(y, {at}, var(v, DType::f32) * 2, inside)},
                               LoopKind::vec, 4)},
                     LoopKind::tile)};
  return k;
}

// Softmax of rows: reductions, a shared exponential, a local row.
Kernel softmax() {
  Kernel k{.name = "softmax"};
  const BufferId x = param(k, "x", DType::bf16, {8, 20}, Space::input),
                 y = param(k, "y", DType::f16, {8, 20}, Space::output);
  const BufferId row = k.add_buffer({.name = "row", .dtype = DType::f32, .dims = {20}, .space = Space::stack});
  const VarId i = k.add_var("i"), j = k.add_var("j"), c = k.add_var("c"), m = k.add_var("m", DType::f32),
              s = k.add_var("s", DType::f32);
  k.tiles = 8;
  k.body = {for_loop(
      i, index(0), index(8),
      {let(m, reduce(ReduceOp::max, c, index(0), index(20), load(x, DType::bf16, {var(i), var(c)}), 16)), alloc(row),
       for_loop(
           j, index(0), index(20),
           {store(row, {var(j)}, unary(UnaryOp::exp, load(x, DType::bf16, {var(i), var(j)}) - var(m, DType::f32)))},
           LoopKind::vec, 16),
       let(s, reduce(ReduceOp::add, c, index(0), index(20), load(row, DType::f32, {var(c)}), 16)),
       for_loop(j, index(0), index(20),
                {store(y, {var(i), var(j)}, load(row, DType::f32, {var(j)}) / var(s, DType::f32))}, LoopKind::vec, 16)},
      LoopKind::tile)};
  return k;
}

// y = relu(a * b): one register tile a row block.
Kernel contraction() {
  Kernel k{.name = "contraction"};
  const BufferId a = param(k, "a", DType::f32, {12, 30}, Space::input),
                 b = param(k, "b", DType::f32, {30, 32}, Space::input),
                 y = param(k, "y", DType::f32, {12, 32}, Space::output);
  const VarId t = k.add_var("t"), r = k.add_var("r"), block = k.add_var("block"), lane = k.add_var("lane"),
              acc = k.add_var("acc", DType::f32);
  ContractTile tile{.a = a,
                    .b = b,
                    .a_base = var(t) * 120,
                    .b_base = index(0),
                    .a_row = index(30),
                    .rows = 4,
                    .cols = 32,
                    .k_split = 2};
  tile.reductions = {{index(30), index(1), index(32)}};
  tile.line_rows = 3;
  tile.a_line = index(90);
  tile.prefetch = var(t) * 8;
  tile.prefetch_share = 2;
  tile.row_var = r;
  tile.block_var = block;
  tile.lane_var = lane;
  tile.acc_var = acc;
  tile.epilogue = {
      store(y, {var(t) * 4 + var(r), var(block) * 16 + var(lane)}, max(var(acc, DType::f32), constant(DType::f32, 0)))};
  k.tiles = 3;
  k.body = {for_loop(t, index(0), index(3), {contract(std::move(tile))}, LoopKind::tile)};
  return k;
}

// Counts what is not zero and defines the count.
Kernel count() {
  Kernel k{.name = "count"};
  const BufferId x = param(k, "x", DType::i32, {SymExpr::symbol("N")}, Space::input);
  const VarId i = k.add_var("i"), n = k.add_var("n");
  const Expr one = cast(DType::i64, binary(BinaryOp::ne, load(x, DType::i32, {var(i)}), constant_int(DType::i32, 0)));
  k.body = {let(n, reduce(ReduceOp::add, i, index(0), symbol("N"), one)),
            fault(lt(index(1000), var(n)), "more than 1000 hits"), define_symbol("$hits", var(n))};
  return k;
}

}  // namespace

std::vector<Kernel> sample_kernels() {
  return {pointwise(), softmax(), contraction(), count()};
}

}  // namespace fcc::loop
