#include "backend/lower/concat.h"

#include "backend/lower/nest.h"
#include "ir/op.h"

namespace fcc::backend {

using loop::Expr;

static constexpr int64_t kChunk = 16384;  // elements a tile copies: 64 KiB, about 5 us

bool is_concat(const Graph& body) {
  const std::vector<NodeId> order = body.order();
  return order.size() == 1 && body.node(order[0]).op->name == "Concat";
}

namespace {

class ConcatNest {
 public:
  explicit ConcatNest(const Graph& body) : node_(body.node(body.order()[0])), out_type_(body.value(body.outputs[0]).type) {
    int64_t axis = node_.attrs.integer("axis");
    if (axis < 0) axis += out_type_.rank();
    for (int64_t d = 0; d < axis; ++d) outer_ = outer_ * out_type_.dims[static_cast<size_t>(d)];
    for (ValueId v : body.inputs()) {
      const Dims& dims = body.value(v).type.dims;
      SymExpr run = 1;
      for (size_t d = static_cast<size_t>(axis); d < dims.size(); ++d) run = run * dims[d];
      kernel_.add_buffer({body.value(v).name, out_type_.dtype, {outer_, run}, loop::Space::input, false});
      input_runs_.push_back(run);
    }
    for (ValueId v : node_.in) {
      size_t at = 0;
      while (body.inputs()[at] != v) ++at;
      operands_.push_back(static_cast<loop::BufferId>(at));
      total_ = total_ + input_runs_[at];
    }
    out_ = kernel_.add_buffer({"out", out_type_.dtype, {outer_, total_}, loop::Space::output, false});
    kernel_.n_params = static_cast<int32_t>(kernel_.buffers.size());
  }

  loop::Kernel run() {
    const loop::VarId t = kernel_.add_var("t");
    const bool small = guess_size(total_) <= kChunk;
    loop::Block body = small ? slices(loop::var(t)) : chunks(loop::var(t));
    kernel_.body = {loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(body), loop::LoopKind::tile)};
    kernel_.name = "concat_" + std::string(name(out_type_.dtype));
    kernel_.note = small ? "whole slices in a tile" : "64 KiB chunks of one operand in a tile";
    return std::move(kernel_);
  }

 private:
  loop::StmtRef copy(size_t k, const Expr& slice, const SymExpr& at, const Expr& lo, const Expr& hi) {
    const loop::VarId i = kernel_.add_var("i");
    const Expr value = loop::load(operands_[k], out_type_.dtype, {slice, loop::var(i)});
    return loop::for_loop(i, lo, hi, {loop::store(out_, {slice, loop::var(i) + loop::from_sym(at)}, value)}, loop::LoopKind::vec, 16);
  }

  // Several outer slices a tile, every operand in each.
  loop::Block slices(const Expr& t) {
    const int64_t group = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, guess_size(total_)));
    kernel_.tiles = ceildiv(outer_, group);
    const loop::VarId o = kernel_.add_var("o");
    loop::Block inside;
    SymExpr at = 0;
    for (size_t k = 0; k < operands_.size(); ++k) {
      const SymExpr& run = input_runs_[static_cast<size_t>(operands_[k])];
      inside.push_back(copy(k, loop::var(o), at, loop::index(0), loop::from_sym(run)));
      at = at + run;
    }
    return {loop::for_loop(o, t * group, loop::min(t * group + group, loop::from_sym(outer_)), std::move(inside))};
  }

  // One chunk of one operand a tile: chunk q of the slice belongs to the operand whose range of chunks holds it.
  loop::Block chunks(const Expr& t) {
    SymExpr count = 0;
    for (loop::BufferId b : operands_) count = count + ceildiv(input_runs_[static_cast<size_t>(b)], kChunk);
    kernel_.tiles = outer_ * count;
    const loop::VarId slice = kernel_.add_var("o"), q = kernel_.add_var("q");
    loop::Block b{loop::let(slice, loop::floordiv(t, loop::from_sym(count))), loop::let(q, loop::mod(t, loop::from_sym(count)))};
    SymExpr first = 0, at = 0;
    for (size_t k = 0; k < operands_.size(); ++k) {
      const SymExpr& run = input_runs_[static_cast<size_t>(operands_[k])];
      const SymExpr last = first + ceildiv(run, kChunk);
      const Expr lo = (loop::var(q) - loop::from_sym(first)) * kChunk;
      const Expr mine = loop::both(loop::ge(loop::var(q), loop::from_sym(first)), loop::lt(loop::var(q), loop::from_sym(last)));
      b.push_back(loop::if_then(mine, {copy(k, loop::var(slice), at, lo, loop::min(lo + kChunk, loop::from_sym(run)))}));
      first = last;
      at = at + run;
    }
    return b;
  }

  const Node& node_;
  TensorType out_type_;
  loop::Kernel kernel_;
  SymExpr outer_ = 1, total_ = 0;
  std::vector<SymExpr> input_runs_;            // elements of an input in one outer slice
  std::vector<loop::BufferId> operands_;       // which input each operand is: one may come twice
  loop::BufferId out_ = -1;
};

}  // namespace

loop::Kernel lower_concat(const Graph& body) { return ConcatNest(body).run(); }

}  // namespace fcc::backend
