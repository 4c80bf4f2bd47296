#include <bit>
#include <numeric>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Value;
using loop::ExprKind;
using loop::ExprNode;
using loop::ReduceOp;

// Independent accumulators of a long reduction: enough to cover the latency of an addition or an FMA.
static constexpr int64_t kAccumulators = 4;
static constexpr int64_t kLong = 16;  // vectors below which one accumulator will do
static constexpr int kLight = 12;     // instructions a step; heavier steps hide the latency themselves

// A reduction and those directly inside it of the same kind, which share its accumulators: a sum over rows of sums
// over columns joins its lanes once.
struct Emitter::Reduction {
  std::vector<const ExprNode*> levels;  // outermost first
  int64_t lanes = 1;                    // of the level that is vectorised, if any
  size_t vector_level = SIZE_MAX;
  size_t split_level = SIZE_MAX;  // the innermost level that is a loop: rounds of `sets` steps
  int64_t sets = 1;
  bool masked = false;  // what is left over of the vectorised level runs under a mask
  int64_t width = 1;    // of the accumulators
  Carried acc;          // sets; then, unless masked, one scalar for what is left over

  const ExprNode& top() const { return *levels.front(); }
  size_t scalar() const { return static_cast<size_t>(sets); }
};

namespace {

// Roughly the instructions of a step: what depends on the variables of the levels. Counts no further than kLight.
int step_cost(const loop::Expr& e, const std::vector<const ExprNode*>& levels) {
  if (std::none_of(levels.begin(), levels.end(), [&](const ExprNode* l) { return loop::uses(e, l->var); })) return 0;
  if (e->kind == ExprKind::var) return 0;
  if (e->kind == ExprKind::reduce) return kLight + 1;
  int cost = 1;
  if (e->kind == ExprKind::unary) cost = math_cost(e->unary, e->type);
  if (e->kind == ExprKind::binary) cost = e->type == DType::i64 ? 0 : math_cost(e->binary, e->type);
  if (e->kind == ExprKind::load && !e->guarded) return cost;
  for (const loop::Expr& a : e->args)
    if (cost <= kLight) cost += step_cost(a, levels);
  return cost;
}

std::optional<int64_t> constant_trip(const ExprNode& r) {
  if (!loop::is_constant(r.args[0]) || !loop::is_constant(r.args[1])) return std::nullopt;
  return std::max<int64_t>(0, r.args[1]->i - r.args[0]->i);
}

int64_t power_of_two_below(int64_t n) {
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
}

// A reduction inside whose bounds depend on v cannot have v in its lanes.
bool bounds_depend(const loop::Expr& e, loop::VarId v) {
  if (e->kind == ExprKind::reduce && (loop::uses(e->args[0], v) || loop::uses(e->args[1], v))) return true;
  return loop::uses(e, v) &&
         std::any_of(e->args.begin(), e->args.end(), [&](const loop::Expr& a) { return bounds_depend(a, v); });
}

}  // namespace

Value* Emitter::emit_reduce(const Expr& e) {
  FCC_CHECK(!facts(e->args[0]).varies && !facts(e->args[1]).varies, "{}: reduction bounds differ between lanes",
            kernel_.name);
  if (varies(e)) return emit_levels(*e);
  LaneGuard context(*this, 1, nullptr);  // uniform: the lanes are free for its own variable
  return emit_levels(*e);
}

void Emitter::plan_reduction(Reduction& n) {
  const ExprNode& top = n.top();
  for (const ExprNode* r = &top;;) {
    const Expr& body = r->args[2];
    if (body->kind != ExprKind::reduce || body->reduce != top.reduce || !loop::uses(body, r->var) || find(body)) break;
    // Judged by the free variables: those of the levels are not bound yet.
    const auto lane_dependent = [&](loop::VarId v) {
      const bool of_a_level =
          std::any_of(n.levels.begin(), n.levels.end(), [&](const ExprNode* l) { return l->var == v; });
      return lanes_ > 1 && !of_a_level && binding(v).facts.varies;
    };
    if (std::any_of(body->args[0]->free.begin(), body->args[0]->free.end(), lane_dependent) ||
        std::any_of(body->args[1]->free.begin(), body->args[1]->free.end(), lane_dependent))
      break;
    n.levels.push_back(r = body.get());
  }
  for (size_t i = 0; i < n.levels.size(); ++i)
    if (!n.levels[i]->unroll) n.split_level = i;
  const int64_t native = target_.lanes(std::max<int64_t>(4, byte_size(top.type)));
  for (size_t i = 0; i < n.levels.size() && lanes_ == 1 && n.lanes == 1; ++i) {
    const ExprNode& r = *n.levels[i];
    if (r.unroll || r.lanes <= 1 || bounds_depend(r.args[2], r.var)) continue;
    const int64_t trip = constant_trip(r).value_or(std::numeric_limits<int32_t>::max());
    n.lanes = power_of_two_below(std::min({int64_t{r.lanes}, native, trip}));
    n.vector_level = i;
  }
  if (n.lanes == 1) n.vector_level = SIZE_MAX;
  n.masked = n.lanes > 1 && can_mask(n.levels[n.vector_level]->args[2]);
  n.width = n.lanes > 1 ? n.lanes : lanes_;
  if (n.split_level == SIZE_MAX || (n.vector_level != SIZE_MAX && n.vector_level != n.split_level) || n.width == 1)
    return;
  const ExprNode& inner = *n.levels[n.split_level];
  const bool is_long = constant_trip(inner).value_or(kLong * n.lanes) >= kLong * n.lanes;
  if (is_long && step_cost(n.levels.back()->args[2], n.levels) <= kLight) n.sets = kAccumulators;
}

Value* Emitter::emit_levels(const ExprNode& r) {
  Reduction n{.levels = {&r}, .acc = {}};
  plan_reduction(n);
  llvm::Constant* identity = arith_.reduce_identity(r.reduce, r.type);
  n.acc.assign(static_cast<size_t>(n.sets), splat(b_, identity, n.width));
  if (n.lanes > 1 && !n.masked) n.acc.push_back(identity);
  reduce_level(n, 0, 0);
  for (int64_t sets = n.sets; sets > 1; sets /= 2)
    for (int64_t k = 0; k < sets / 2; ++k) {
      Value*& acc = n.acc[static_cast<size_t>(k)];
      acc = arith_.reduce_step(r.reduce, r.type, acc, n.acc[static_cast<size_t>(k + sets / 2)]);
    }
  if (n.lanes == 1) return n.acc[0];
  Value* joined = arith_.reduce_lanes(r.reduce, r.type, n.acc[0]);
  return n.masked ? joined : arith_.reduce_step(r.reduce, r.type, joined, n.acc[n.scalar()]);
}

// All of the levels from `level` inwards, into accumulator `set`.
void Emitter::reduce_level(Reduction& n, size_t level, size_t set) {
  if (level == n.levels.size()) return accumulate(n, n.acc[set]);
  const ExprNode& r = *n.levels[level];
  if (r.unroll) {
    auto *first = llvm::dyn_cast<ConstantInt>(value(r.args[0])), *last = llvm::dyn_cast<ConstantInt>(value(r.args[1]));
    FCC_CHECK(first && last, "{}: an unrolled reduction needs constant bounds", kernel_.name);
    for (int64_t i = first->getSExtValue(); i < last->getSExtValue(); ++i)
      reduce_at(n, level, b_.getInt64(static_cast<uint64_t>(i)), 1, nullptr, set);
    return;
  }
  const bool scalar = n.lanes > 1 && set == n.scalar();  // inside what is left over
  if (level == n.vector_level && !scalar) return reduce_vectors(n, level);
  Value *lo = value(r.args[0]), *hi = value(r.args[1]);
  if (level == n.split_level && n.sets > 1 && !scalar) return reduce_rounds(n, level, lo, hi, 1);
  counted_loop(lo, hi, 1, n.acc, reduction_prologue(r), [&](Value* i) { reduce_at(n, level, i, 1, nullptr, set); });
}

// What does not depend on the variable is computed before the loop.
std::function<void()> Emitter::reduction_prologue(const ExprNode& r) {
  return [this, &r] {
    std::vector<loop::VarId> inner{r.var};
    std::unordered_set<const ExprNode*> seen;
    hoist(r.args[2], inner, seen);
  };
}

// [lo, hi), whose length is a multiple of `lanes`: a loop of rounds with a step for every accumulator, then a loop
// of single steps.
void Emitter::reduce_rounds(Reduction& n, size_t level, Value* lo, Value* hi, int64_t lanes) {
  const auto prologue = reduction_prologue(*n.levels[level]);
  Value* done = lo;
  if (n.sets > 1) {
    const int64_t round = n.sets * lanes;
    done = b_.CreateAdd(lo, b_.CreateAnd(b_.CreateSub(hi, lo), b_.getInt64(static_cast<uint64_t>(-round))));
    if (!llvm::isa<ConstantInt>(done)) done = b_.CreateSelect(b_.CreateICmpSLT(lo, hi), done, lo);
    counted_loop(lo, done, round, n.acc, prologue, [&](Value* i) {
      for (int64_t k = 0; k < n.sets; ++k) {
        Value* at = k ? b_.CreateNSWAdd(i, b_.getInt64(static_cast<uint64_t>(k * lanes))) : i;
        reduce_at(n, level, at, lanes, nullptr, static_cast<size_t>(k));
      }
    });
  }
  counted_loop(done, hi, lanes, n.acc, prologue, [&](Value* i) { reduce_at(n, level, i, lanes, nullptr, 0); });
}

// The vectorised level: whole vectors, then what is left over, under a mask where the target can.
void Emitter::reduce_vectors(Reduction& n, size_t level) {
  const ExprNode& r = *n.levels[level];
  Value *lo = value(r.args[0]), *hi = value(r.args[1]);
  if (!llvm::isa<ConstantInt>(hi) || !llvm::isa<ConstantInt>(lo))
    hi = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, lo, hi);
  Value* middle = b_.CreateAdd(lo, b_.CreateAnd(b_.CreateSub(hi, lo), b_.getInt64(static_cast<uint64_t>(-n.lanes))));
  reduce_rounds(n, level, lo, middle, n.lanes);
  const auto prologue = reduction_prologue(r);
  if (!n.masked) {
    counted_loop(middle, hi, 1, n.acc, prologue, [&](Value* i) { reduce_at(n, level, i, 1, nullptr, n.scalar()); });
    return;
  }
  // counted_loop serves as an `if`: one step of `lanes` covers the rest.
  counted_loop(middle, hi, n.lanes, n.acc, prologue,
               [&](Value* i) { reduce_at(n, level, i, n.lanes, tail_mask(b_.CreateSub(hi, i), n.lanes), 0); });
}

// One value of the variable of a level (or `lanes` of them), into accumulator `set`.
void Emitter::reduce_at(Reduction& n, size_t level, Value* at, int64_t lanes, Value* mask, size_t set) {
  const ExprNode& r = *n.levels[level];
  ScopeGuard scope(*this, true);
  const Facts f = facts(r.args[0]), g = facts(r.args[1]);
  const int64_t max = g.nonnegative ? saturating_add(g.max, lanes) : std::numeric_limits<int64_t>::max();
  if (lanes == 1) {
    bind_uniform(r.var, at, {.nonnegative = f.nonnegative, .max = max});
    return reduce_level(n, level + 1, set);
  }
  LaneGuard context(*this, lanes, mask);
  bind_lane(r.var, at, std::gcd(f.divisor, lanes), f.nonnegative, max);
  Value* before = n.acc[set];
  reduce_level(n, level + 1, set);
  if (mask) n.acc[set] = arith_.select(mask, n.acc[set], before);
}

// One step in the present lane context. A sum of products rounds once a step; the first step of straight-line code
// has nothing to be joined with.
void Emitter::accumulate(const Reduction& n, Value*& acc) {
  const Expr& body = n.levels.back()->args[2];
  const ReduceOp op = n.top().reduce;
  const DType type = n.top().type;
  const bool starts = acc == splat(b_, arith_.reduce_identity(op, type), lanes_of(acc));
  Value* next = nullptr;
  if (!starts && op == ReduceOp::add && is_float(type) && body->kind == ExprKind::binary &&
      body->binary == loop::BinaryOp::mul) {
    Value* x = value(body->args[0]);
    next = arith_.fma(x, value(body->args[1]), acc);
  } else {
    next = value(body);
    if (!starts) next = arith_.reduce_step(op, type, acc, next);
  }
  acc = splat(b_, next, lanes_of(acc));
}

}  // namespace fcc
