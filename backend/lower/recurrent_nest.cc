#include "backend/lower/recurrent_nest.h"

#include <algorithm>

#include "backend/lower/tiles.h"
#include "ir/op.h"

namespace fcc::backend {

using loop::Expr;
using loop::LoopKind;

RecurrentNest::RecurrentNest(const Graph& body, const Target& target)
    : target_(target),
      node_(body.node(body.order()[0])),
      shape_(node_.attrs),
      type_(body.value(body.outputs[0]).type.dtype) {
  for (ValueId v : body.inputs())
    kernel_.add_buffer(
        {body.value(v).name, body.value(v).type.dtype, {body.value(v).type.elements()}, loop::Space::input, false});
  for (ValueId v : node_.in)
    buffers_.push_back(v == kNoValue
                           ? -1
                           : static_cast<loop::BufferId>(std::find(body.inputs().begin(), body.inputs().end(), v) -
                                                         body.inputs().begin()));
  for (ValueId v : body.outputs)
    results_.push_back(kernel_.add_buffer({"out" + (results_.empty() ? "" : std::to_string(results_.size())),
                                           type_,
                                           {body.value(v).type.elements()},
                                           loop::Space::output,
                                           false}));
  kernel_.n_params = static_cast<int32_t>(kernel_.buffers.size());
  const Dims &x = body.value(node_.in[0]).type.dims, &r = body.value(node_.in[1]).type.dims;
  FCC_CHECK(r.size() == 4, "{} has weights that no pass has packed", node_.op->name);
  steps_ = x[0], batch_ = x[1];
  panels_ = r[1].constant(), nr_ = r[3].constant();
  const TileShape tile = choose_tile(target_, nr_, batch_);
  mr_ = tile.rows, tile_cols_ = std::min<int64_t>(tile.cols, nr_);
}

std::string RecurrentNest::cell_name() const {
  return shape_.cell == Cell::lstm ? "lstm" : shape_.cell == Cell::gru ? "gru" : "rnn";
}

Expr RecurrentNest::let(loop::Block& b, std::string name, Expr value, DType type) {
  const loop::VarId v = kernel_.add_var(std::move(name), type);
  b.push_back(loop::let(v, std::move(value)));
  return loop::var(v, type);
}

loop::StmtRef RecurrentNest::loop_over(const char* name, Expr lo, Expr hi, const std::function<loop::Block(Expr)>& body,
                                       LoopKind kind) {
  const loop::VarId v = kernel_.add_var(name);
  return loop::for_loop(v, std::move(lo), std::move(hi), body(loop::var(v)), kind, kind == LoopKind::vec ? 16 : 1);
}

loop::Block RecurrentNest::by_direction(const std::function<loop::Block(int64_t)>& make) {
  if (shape_.directions_alike()) return make(0);
  return {loop::if_then(loop::eq(direction_, loop::index(0)), make(0), make(1))};
}

void RecurrentNest::tasks(const std::function<loop::Block(int32_t, const Expr&)>& sequences) {
  kernel_.tiles = ceildiv(batch_, mr_) * shape_.directions;
  const loop::VarId t = kernel_.add_var("t");
  loop::Block b;
  direction_ = let(b, "d", loop::mod(loop::var(t), loop::index(shape_.directions)));
  const Expr tile = let(b, "rows", loop::floordiv(loop::var(t), loop::index(shape_.directions)));
  for (loop::BufferId id = kernel_.n_params; id < static_cast<loop::BufferId>(kernel_.buffers.size()); ++id)
    b.push_back(loop::alloc(id));
  loop::Block all = cover_rows(kernel_, batch_, static_cast<int32_t>(mr_), tile, tile + 1,
                               [&](int32_t rows, const Expr& row0) { return sequences(rows, row0); });
  b.insert(b.end(), all.begin(), all.end());
  kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(b), LoopKind::tile)};
}

// The register tiles are of f32; other types take the plain sum.
void RecurrentNest::multiply(loop::Block& b, int32_t rows, const Product& m) {
  const auto store = [&](const Expr& r, const Expr& column, const Expr& sum) {
    const Expr at = r * m.to_row + column;
    return loop::store(m.to, {at}, m.adds ? read(m.to, at) + sum : sum);
  };
  b.push_back(loop_over("p", loop::index(m.first), loop::index(m.last), [&](const Expr& p) {
    loop::Block inner;
    const Expr panel = m.weights + p * m.panel_elems;
    if (type_ != DType::f32) {
      inner.push_back(each_row(rows, [&](const Expr& r) {
        return loop::Block{loop_over(
            "lane", loop::index(0), loop::index(nr_),
            [&](const Expr& lane) {
              const loop::VarId k = kernel_.add_var("k");
              const Expr term = read(m.a, r * m.a_row + m.a_first + loop::var(k)) *
                                operand(RecurrentShape::kWeight, panel + loop::var(k) * nr_ + lane);
              return loop::Block{store(r, p * nr_ + lane,
                                       loop::reduce(loop::ReduceOp::add, k, loop::index(0), loop::index(m.k), term))};
            },
            LoopKind::vec)};
      }));
      return inner;
    }
    for (int64_t half = 0; half < nr_; half += tile_cols_) {
      loop::ContractTile t;
      t.a = m.a, t.b = buffers_[RecurrentShape::kWeight];
      t.a_base = loop::index(m.a_first), t.a_row = loop::index(m.a_row);
      t.b_base = panel + half;
      t.rows = rows, t.cols = static_cast<int32_t>(tile_cols_);
      t.k_split = choose_k_split(target_, rows, t.cols);
      t.reductions = {{loop::index(m.k), loop::index(1), loop::index(nr_), false}};
      t.row_var = kernel_.add_var("r"), t.block_var = kernel_.add_var("y"), t.lane_var = kernel_.add_var("lane"),
      t.acc_var = kernel_.add_var("acc", type_);
      const Expr column = p * nr_ + half + loop::var(t.block_var) * 16 + loop::var(t.lane_var);
      t.epilogue = {store(loop::var(t.row_var), column, loop::var(t.acc_var, type_))};
      inner.push_back(loop::contract(std::move(t)));
    }
    return inner;
  }));
}

RecurrentNest::Step RecurrentNest::step_of(loop::Block& b, const Expr& row, const Expr& step) {
  Expr length = loop::from_sym(steps_);
  Step s;
  if (has(RecurrentShape::kLengths)) {
    const Expr raw = loop::cast(DType::i64, operand(RecurrentShape::kLengths, row));
    length = let(b, "length", loop::max(loop::index(0), loop::min(raw, length)));
    s.inside = loop::lt(step, length);
  }
  const Expr backwards = length - 1 - step;
  if (shape_.directions == 2) {
    s.at = loop::select(loop::eq(direction_, loop::index(1)), backwards, step);
  } else {
    s.at = shape_.reverse_first ? backwards : step;
  }
  // Past the end any step inside of the tensor will do: nothing read there is used.
  if (s.inside) s.at = loop::select(s.inside, s.at, step);
  s.at = let(b, "at", s.at);
  return s;
}

}  // namespace fcc::backend
