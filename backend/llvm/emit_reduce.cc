#include <bit>
#include <numeric>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Value;
using loop::ExprKind;
using loop::ReduceOp;

// Independent accumulators of a long reduction: enough to cover the latency of an addition or an FMA.
static constexpr int64_t kAccumulators = 4;
static constexpr int64_t kLong = 16;  // iterations below which one accumulator will do

static bool has_reduction(const loop::Expr& e) {
  if (e->kind == ExprKind::reduce) return true;
  for (const loop::Expr& a : e->args)
    if (has_reduction(a)) return true;
  return false;
}

// One step of the reduction in the present lane context. A sum of products rounds once per step.
void Emitter::accumulate(const loop::ExprNode& r, Value*& acc) {
  const Expr& body = r.args[2];
  Value* next = nullptr;
  if (r.reduce == ReduceOp::add && is_float(r.type) && body->kind == ExprKind::binary &&
      body->binary == loop::BinaryOp::mul) {
    Value* x = value(body->args[0]);
    next = arith_.fma(x, value(body->args[1]), acc);
  } else {
    next = arith_.reduce_step(r.reduce, r.type, acc, value(body));
  }
  acc = next;
}

Value* Emitter::emit_reduce(const Expr& e) {
  const Facts lo = facts(e->args[0]), hi = facts(e->args[1]);
  FCC_CHECK(!lo.varies && !hi.varies, "{}: reduction bounds differ between lanes", kernel_.name);
  const bool in_lanes = varies(e);
  auto *first = llvm::dyn_cast<ConstantInt>(value(e->args[0])), *last = llvm::dyn_cast<ConstantInt>(value(e->args[1]));
  if (e->unroll) {
    FCC_CHECK(first && last, "{}: an unrolled reduction needs constant bounds", kernel_.name);
    return reduce_unrolled(*e, first->getSExtValue(), last->getSExtValue());
  }
  if (in_lanes) return reduce_loop(*e, 1);
  // Uniform: free to use the lanes for its own variable.
  LaneGuard context(*this, 1, nullptr);
  const int64_t width = std::max<int64_t>(4, byte_size(e->type));
  auto lanes =
      static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::min<int64_t>(e->lanes, target_.lanes(width)))));
  if (first && last) {
    const int64_t trip = last->getSExtValue() - first->getSExtValue();
    lanes = std::min<int64_t>(lanes,
                              static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(trip, 1)))));
  }
  std::function<bool(const Expr&)> bounds_depend = [&](const Expr& x) -> bool {
    if (x->kind == ExprKind::reduce && (loop::uses(x->args[0], e->var) || loop::uses(x->args[1], e->var))) return true;
    return std::any_of(x->args.begin(), x->args.end(), bounds_depend);
  };
  if (lanes > 1 && has_reduction(e->args[2]) && bounds_depend(e->args[2])) lanes = 1;
  return reduce_loop(*e, lanes);
}

Value* Emitter::reduce_unrolled(const loop::ExprNode& r, int64_t lo, int64_t hi) {
  Value* acc = arith_.reduce_identity(r.reduce, r.type);
  for (int64_t i = lo; i < hi; ++i) {
    ScopeGuard scope(*this, true);
    bind_uniform(r.var, b_.getInt64(static_cast<uint64_t>(i)));
    accumulate(r, acc);
  }
  return acc;
}

// One vector of iterations (or one iteration, lanes 1, in whatever context surrounds it).
void Emitter::reduce_at(const loop::ExprNode& r, Value* at, int64_t lanes, Value* mask, Value*& acc) {
  ScopeGuard scope(*this, true);
  const Facts f = facts(r.args[0]), g = facts(r.args[1]);
  const int64_t max = g.nonnegative ? saturating_add(g.max, lanes) : std::numeric_limits<int64_t>::max();
  if (lanes == 1) {
    bind_uniform(r.var, at, {.nonnegative = f.nonnegative, .max = max});
    return accumulate(r, acc);
  }
  LaneGuard context(*this, lanes, mask);
  bind_lane(r.var, at, std::gcd(f.divisor, lanes), f.nonnegative, max);
  Value* before = acc;
  accumulate(r, acc);
  if (mask) acc = arith_.select(mask, acc, before);
}

// Long: kAccumulators vectors a round; then one vector a round; then the lanes are joined in a tree and what is
// left over follows, masked where the target can.
Value* Emitter::reduce_loop(const loop::ExprNode& r, int64_t lanes) {
  Value *lo = value(r.args[0]), *hi = value(r.args[1]);
  auto *first = llvm::dyn_cast<ConstantInt>(lo), *last = llvm::dyn_cast<ConstantInt>(hi);
  const int64_t trip = first && last ? std::max<int64_t>(0, last->getSExtValue() - first->getSExtValue()) : -1;
  const bool wide = lanes > 1 || lanes_ > 1;
  const int64_t sets = wide && (trip < 0 || trip >= kLong * lanes) && !has_reduction(r.args[2]) ? kAccumulators : 1;
  const int64_t width = lanes > 1 ? lanes : lanes_;
  Value* identity = splat(b_, arith_.reduce_identity(r.reduce, r.type), width);
  const bool masked = lanes > 1 && can_mask(r.args[2]);
  if (trip < 0) hi = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, lo, hi);
  auto until = [&](int64_t step) {  // end of the part that whole steps cover
    return b_.CreateAdd(lo, b_.CreateAnd(b_.CreateSub(hi, lo), b_.getInt64(static_cast<uint64_t>(-step))));
  };
  auto prologue = [&] {
    std::vector<loop::VarId> inner{r.var};
    std::unordered_set<const loop::ExprNode*> seen;
    hoist(r.args[2], inner, seen);
  };
  auto at = [&](Value* i, int64_t k) {
    return k ? b_.CreateNSWAdd(i, b_.getInt64(static_cast<uint64_t>(k * lanes))) : i;
  };

  Carried acc(static_cast<size_t>(sets), identity);
  Value* done = lo;
  if (sets > 1) {
    done = until(sets * lanes);
    counted_loop(lo, done, sets * lanes, acc, prologue, [&](Value* i) {
      for (int64_t k = 0; k < sets; ++k) reduce_at(r, at(i, k), lanes, nullptr, acc[static_cast<size_t>(k)]);
    });
  }
  for (size_t n = acc.size(); n > 1; n /= 2)
    for (size_t k = 0; k < n / 2; ++k) acc[k] = arith_.reduce_step(r.reduce, r.type, acc[k], acc[k + n / 2]);
  acc.resize(1);
  Value* middle = lanes > 1 ? until(lanes) : hi;
  counted_loop(done, middle, lanes, acc, prologue, [&](Value* i) { reduce_at(r, i, lanes, nullptr, acc[0]); });
  if (lanes == 1) return acc[0];

  // counted_loop serves as the `if` around a masked remainder: one step of `lanes` covers it.
  if (masked)
    counted_loop(middle, hi, lanes, acc, prologue,
                 [&](Value* i) { reduce_at(r, i, lanes, tail_mask(b_.CreateSub(hi, i), lanes), acc[0]); });
  acc[0] = arith_.reduce_lanes(r.reduce, r.type, acc[0]);
  if (!masked) counted_loop(middle, hi, 1, acc, prologue, [&](Value* i) { reduce_at(r, i, 1, nullptr, acc[0]); });
  return acc[0];
}

}  // namespace fcc
