#include "backend/lower/generic.h"

#include <algorithm>

#include "backend/lower/collapse.h"
#include "backend/lower/nest.h"

namespace fcc::backend {

using loop::Expr;
using loop::LoopKind;

namespace {

// Operations a tile should hold: enough to pay for handing it out (about 5 us), few enough to balance threads.
constexpr double kOpsPerTile = 65536;
constexpr int32_t kLanes = 16;

class GenericNest {
 public:
  explicit GenericNest(Graph graph, const InPlace& in_place = {})
      : graph_(std::move(graph)), body_(graph_, kernel_, kNoValue, in_place), out_dims_(graph_.value(graph_.outputs[0]).type.dims) {}

  loop::Kernel run() {
    std::vector<Expr> index;
    for (size_t d = 0; d < out_dims_.size(); ++d) {
      natural_.push_back({kernel_.add_var("i" + std::to_string(d)), out_dims_[d]});
      index.push_back(loop::var(natural_.back().var));
    }
    index_ = index;
    for (ValueId v : graph_.outputs) {
      FCC_CHECK(graph_.value(v).type.dims == out_dims_, "outputs of one kernel differ in shape: {} and {}", text(graph_.value(v).type.dims), text(out_dims_));
      values_.push_back(body_.element(v, index));
    }
    faults_ = body_.take_faults();
    order_loops();
    choose_vector();
    build();
    const std::string kind = std::any_of(values_.begin(), values_.end(), contains_reduce) ? "reduce" : is_pointwise(graph_) ? "pointwise" : "move";
    kernel_.name = kind + "_" + std::string(name(body_.graph().value(body_.graph().outputs[0]).type.dtype)) + "_" + std::to_string(out_dims_.size()) + "d";
    return std::move(kernel_);
  }

 private:
  // Loops that every hoistable reduction depends on come first, so that the others repeat nothing.
  void order_loops() {
    std::vector<Expr> reductions;
    for (const Expr& value : values_) collect_reductions(value, reductions);
    std::vector<LoopDim> outer, inner;
    for (const LoopDim& d : natural_) {
      const bool all_use = std::all_of(reductions.begin(), reductions.end(), [&](const Expr& r) { return loop::uses(r, d.var); });
      (all_use ? outer : inner).push_back(d);
    }
    loops_ = outer;
    loops_.insert(loops_.end(), inner.begin(), inner.end());
  }

  static void collect_reductions(const Expr& e, std::vector<Expr>& out) {  // outermost ones, each once
    if (e->kind == loop::ExprKind::reduce) {
      if (std::find(out.begin(), out.end(), e) == out.end()) out.push_back(e);
      return;
    }
    if (e->args.empty() || !contains_reduce(e)) return;
    for (const Expr& a : e->args) collect_reductions(a, out);
  }

  // The last axis is contiguous in the output. It is the vector direction unless a reduction that depends on it
  // reads contiguously along its own variable instead.
  void choose_vector() {
    if (natural_.empty()) return;
    const loop::VarId last = natural_.back().var;
    std::vector<Expr> reductions;
    for (const Expr& value : values_) collect_reductions(value, reductions);
    for (const Expr& r : reductions)
      if (loop::uses(r, last) && !walks_contiguously(r, last) && reads_along_reduction(r)) return;
    vector_var_ = last;
  }

  static bool reads_along_reduction(const Expr& r) {
    if (r->kind == loop::ExprKind::reduce && walks_contiguously(r->args[2], r->var)) return true;
    return std::any_of(r->args.begin(), r->args.end(), [](const Expr& a) { return a->kind == loop::ExprKind::reduce && reads_along_reduction(a); });
  }

  void build() {
    for (Expr& value : values_) value = body_.intern(vectorize_reductions(value, vector_var_, kLanes));
    split_tile();
    hoisted_ = hoist_invariants(kernel_, loops_, values_, intern_);
    element_cost_ = cost(hoisted_.values);
    loop::Block body = innermost();
    for (size_t level = loops_.size(); level-- > n_tile_loops_;) body = wrap(level, std::move(body));
    kernel_.body = {tile_loop(std::move(body))};
    set_costs();
  }

  loop::Block innermost() {
    loop::Block b;
    for (auto& [condition, text] : faults_) {
      for (loop::VarId v : condition->free)
        FCC_CHECK(std::any_of(loops_.begin(), loops_.end(), [&](const LoopDim& l) { return l.var == v; }), "a fault inside a reduction: {}", text);
      b.push_back(loop::fault(condition, text));
    }
    // All elements are read before the first is written: an output may lie in the place of an input.
    const bool several = hoisted_.values.size() > 1;
    for (Expr& value : hoisted_.values) {
      if (!several || value->kind == loop::ExprKind::constant || value->kind == loop::ExprKind::var) continue;
      const loop::VarId v = kernel_.add_var("next", value->type);
      b.push_back(loop::let(v, value));
      value = loop::var(v, value->type);
    }
    for (size_t k = 0; k < hoisted_.values.size(); ++k) b.push_back(loop::store(body_.output_buffer(k), index_, hoisted_.values[k]));
    return b;
  }

  // Of one element of every output.
  static double cost(const std::vector<Expr>& values) {
    double sum = 0;
    for (const Expr& value : values) sum += cost_of(value);
    return std::max(1.0, sum);
  }

  // The loop at `level` around a body, with the lets that belong inside it.
  loop::Block wrap(size_t level, loop::Block body) {
    loop::Block inside = hoisted_.levels[level];
    inside.insert(inside.end(), body.begin(), body.end());
    const LoopDim& l = loops_[level];
    const bool vector = l.var == vector_var_;
    Expr lo = loop::index(0), hi = loop::from_sym(l.extent);
    if (chunked_ && level == n_tile_loops_) {
      lo = loop::var(chunk_lo_);
      hi = loop::var(chunk_hi_);
    }
    return {loop::for_loop(l.var, lo, hi, std::move(inside), vector ? LoopKind::vec : LoopKind::seq, vector ? kLanes : 1)};
  }

  // How many leading loops form the tile index, and how many of their iterations one tile does. The vector loop
  // and all loops inside it stay inside; small inner loops draw more loops in to save index decoding.
  void split_tile() {
    double inner = cost(values_) / kLanes;
    n_tile_loops_ = loops_.size();
    size_t first_inside = loops_.empty() ? 0 : loops_.size() - 1;
    for (size_t i = 0; i < loops_.size(); ++i)
      if (loops_[i].var == vector_var_) first_inside = i;
    while (n_tile_loops_ > first_inside || (n_tile_loops_ > 0 && inner < kOpsPerTile / kLanes / 8)) {
      --n_tile_loops_;
      inner *= static_cast<double>(std::max<int64_t>(1, guess_size(loops_[n_tile_loops_].extent)));
    }
    inner_cost_ = inner;
    for (size_t i = 0; i < n_tile_loops_; ++i) outer_ = outer_ * loops_[i].extent;
    choose_group();
  }

  void choose_group() {
    const double budget = kOpsPerTile / kLanes;
    group_ = std::max<int64_t>(1, static_cast<int64_t>(budget / std::max(1.0, inner_cost_)));
    if (n_tile_loops_ > 0) return;
    // One loop holds everything: cut it in chunks when it is long.
    if (loops_.empty()) return;
    const LoopDim& l = loops_[0];
    const double per_iteration = inner_cost_ / static_cast<double>(std::max<int64_t>(1, guess_size(l.extent)));
    int64_t chunk = std::max<int64_t>(1, static_cast<int64_t>(budget / std::max(1e-9, per_iteration)));
    if (l.var == vector_var_) chunk = (chunk + 255) / 256 * 256;
    if (l.extent.is_constant() && l.extent.constant() <= chunk + chunk / 2) return;
    chunked_ = true;
    group_ = chunk;
    outer_ = l.extent;
  }

  // for t @tile: the group's outer iterations, decoded, around the inner loops.
  loop::StmtRef tile_loop(loop::Block body) {
    const loop::VarId t = kernel_.add_var("t");
    kernel_.tiles = n_tile_loops_ == 0 && !chunked_ ? SymExpr(1) : ceildiv(outer_, group_);
    loop::Block inside = hoisted_.before;
    if (chunked_) {
      chunk_prologue(inside, t);
      inside.insert(inside.end(), body.begin(), body.end());
    } else if (n_tile_loops_ == 0) {
      inside.insert(inside.end(), body.begin(), body.end());
    } else {
      inside.push_back(group_loop(t, std::move(body)));
    }
    return loop::for_loop(t, loop::index(0), loop::from_sym(kernel_.tiles), std::move(inside), LoopKind::tile);
  }

  void chunk_prologue(loop::Block& inside, loop::VarId t) {
    inside.push_back(loop::let(chunk_lo_, loop::var(t) * group_));
    inside.push_back(loop::let(chunk_hi_, loop::min(loop::var(t) * group_ + group_, loop::from_sym(outer_))));
  }

  loop::StmtRef group_loop(loop::VarId t, loop::Block body) {
    const loop::VarId o = kernel_.add_var("o");
    loop::Block inside;
    Expr rest = loop::var(o);
    std::vector<loop::StmtRef> lets(n_tile_loops_);
    for (size_t i = n_tile_loops_; i-- > 0;) {
      Expr extent = loop::from_sym(loops_[i].extent);
      lets[i] = loop::let(loops_[i].var, i == 0 ? rest : loop::mod(rest, extent));
      if (i > 0) rest = loop::floordiv(rest, extent);
    }
    for (size_t i = 0; i < n_tile_loops_; ++i) {
      inside.push_back(lets[i]);
      inside.insert(inside.end(), hoisted_.levels[i].begin(), hoisted_.levels[i].end());
    }
    inside.insert(inside.end(), body.begin(), body.end());
    if (group_ == 1) {
      inside.insert(inside.begin(), loop::let(o, loop::var(t)));
      return loop::block(std::move(inside));
    }
    Expr lo = loop::var(t) * group_;
    return loop::for_loop(o, lo, loop::min(lo + group_, loop::from_sym(outer_)), std::move(inside));
  }

  static SymExpr lets_cost(const loop::Block& lets) {
    double cost = 0;
    for (const loop::StmtRef& s : lets) cost += cost_of(s->value);
    return static_cast<int64_t>(cost);
  }

  void set_costs() {
    SymExpr iterations = 1, flops = lets_cost(hoisted_.before);
    for (size_t level = 0; level < loops_.size(); ++level) {
      iterations = iterations * loops_[level].extent;
      flops = flops + iterations * lets_cost(hoisted_.levels[level]);
    }
    kernel_.flops = flops + iterations * SymExpr(static_cast<int64_t>(element_cost_));
    kernel_.note = "vector over " + (vector_var_ >= 0 ? kernel_.vars[static_cast<size_t>(vector_var_)].name : std::string("the reduction")) + ", " +
                   std::to_string(n_tile_loops_) + " outer loops in a tile index, groups of " + std::to_string(group_);
  }

  Graph graph_;
  loop::Kernel kernel_;
  Body body_;
  Interner intern_;
  Dims out_dims_;
  std::vector<LoopDim> natural_, loops_;
  std::vector<Expr> index_;
  std::vector<Expr> values_;
  std::vector<std::pair<Expr, std::string>> faults_;
  loop::VarId vector_var_ = -1;
  size_t n_tile_loops_ = 0;
  double inner_cost_ = 1, element_cost_ = 1;
  SymExpr outer_ = 1;
  int64_t group_ = 1;
  bool chunked_ = false;
  loop::VarId chunk_lo_ = kernel_.add_var("lo"), chunk_hi_ = kernel_.add_var("hi");
  Hoisted hoisted_;
};

}  // namespace

loop::Kernel lower_generic(const Graph& body, const Target&, const InPlace& in_place) {
  if (is_pointwise(body)) return GenericNest(collapse(body, mergeable_axes(body, false)), in_place).run();
  return GenericNest(body, in_place).run();
}

}  // namespace fcc::backend
