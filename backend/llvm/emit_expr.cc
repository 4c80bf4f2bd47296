#include <algorithm>
#include <numeric>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Value;
using loop::BinaryOp;
using loop::ExprKind;
using loop::VarId;

// ---- bindings ---------------------------------------------------------------------------------------------------

Binding& Emitter::binding(VarId v) {
  return bindings_[static_cast<size_t>(v)];
}

void Emitter::bind_uniform(VarId v, Value* scalar, Facts facts) {
  if (auto* c = llvm::dyn_cast<ConstantInt>(scalar); c && c->getBitWidth() == 64) {
    const int64_t i = c->getSExtValue();
    facts.divisor = i < 0 ? -i : i;
    facts.nonnegative = i >= 0;
    facts.max = i;
  }
  binding(v) = {.scalar = scalar, .vector = nullptr, .facts = facts, .depth = scopes_.size() - 1};
}

void Emitter::bind_lane(VarId v, Value* base, int64_t divisor, bool nonnegative, int64_t max) {
  Facts f{.varies = lanes_ > 1, .linear = true, .step = 1, .divisor = divisor, .nonnegative = nonnegative, .max = max};
  if (auto* c = llvm::dyn_cast<ConstantInt>(base)) {
    const int64_t i = c->getSExtValue();
    f.divisor = i < 0 ? -i : i;
    f.nonnegative = i >= 0;
    f.max = i + lanes_ - 1;
  }
  if (lanes_ == 1) f.step = 0;
  binding(v) = {.scalar = base, .vector = nullptr, .facts = f, .depth = scopes_.size() - 1};
}

void Emitter::bind_expr(VarId v, const Expr& e) {
  Binding b{.scalar = nullptr, .vector = nullptr, .facts = facts(e), .depth = scopes_.size() - 1};
  if (!b.facts.varies)
    b.scalar = value(e);
  else if (e->type == DType::i64 && b.facts.linear)
    b.scalar = lane0(e);
  else
    b.vector = vector_of(e);
  // A value that came out as a vector although it was expected to be uniform.
  if (b.scalar && lanes_of(b.scalar) > 1) {
    std::swap(b.scalar, b.vector);
    b.facts = {.varies = true, .linear = false};
  }
  binding(v) = b;
  if (e->type != DType::i64 || reads_mutable(e)) return;
  auto it = definitions_.find(v);
  if (it != definitions_.end() && it->second.first == e.get()) return;
  if (it != definitions_.end()) polys_.clear();
  Poly p = poly(e);
  for (const auto& [monomial, c] : p.terms())
    for (AtomId a : monomial)
      if (atoms_[a]->kind == ExprKind::load || atoms_[a]->kind == ExprKind::reduce) return;
  keep_.push_back(e);
  definitions_[v] = {e.get(), std::move(p)};
}

Value* Emitter::bound(VarId v) {
  Binding& b = binding(v);
  FCC_CHECK(b.scalar || b.vector, "{}: variable {} is used outside its scope", kernel_.name, kernel_.vars[v].name);
  if (!b.facts.varies) return b.scalar;
  if (!b.vector) return from_linear(b.scalar, b.facts.step);
  return b.vector;
}

Value* Emitter::from_linear(Value* scalar, int64_t step) {
  return b_.CreateAdd(splat(b_, scalar, lanes_), iota(scalar->getType(), lanes_, step));
}

// ---- facts ------------------------------------------------------------------------------------------------------

bool Emitter::varies(const Expr& e) {
  return lanes_ > 1 && facts(e).varies;
}

bool Emitter::reads_mutable(const Expr& e) {
  if (auto it = mutable_.find(e.get()); it != mutable_.end()) return it->second;
  bool found = e->kind == ExprKind::load && kernel_.buffers[e->buffer].space != loop::Space::input;
  for (const Expr& a : e->args) found = found || reads_mutable(a);
  keep_.push_back(e);
  return mutable_[e.get()] = found;
}

const Facts& Emitter::facts(const Expr& e) {
  for (size_t i = scopes_.size(); i-- > 0;)
    if (auto it = scopes_[i].facts.find(e.get()); it != scopes_[i].facts.end()) return it->second;
  Facts f = compute_facts(e);
  keep_.push_back(e);
  return scopes_.back().facts[e.get()] = f;
}

static int64_t magnitude(int64_t v) {
  return v < 0 ? -(v + 1) + 1 : v;
}

Facts Emitter::compute_facts(const Expr& e) {
  Facts f;
  switch (e->kind) {
    case ExprKind::constant:
      f.divisor = magnitude(e->i);
      f.nonnegative = e->i >= 0;
      f.max = e->i;
      return f;
    case ExprKind::var:
      return binding(e->var).facts;
    case ExprKind::symbol:
      f.nonnegative = e->symbol.empty() || e->symbol[0] != '$';
      return f;
    case ExprKind::reduce:
      // The body mentions a variable that is not bound yet: judge by the free variables alone.
      for (VarId v : e->free) f.varies |= binding(v).facts.varies;
      f.linear = !f.varies;
      return f;
    default:
      break;
  }
  for (const Expr& a : e->args) f.varies |= facts(a).varies;
  f.linear = !f.varies;
  if (e->type != DType::i64) return f;
  if (e->kind == ExprKind::binary) return binary_facts(e);
  if (e->kind == ExprKind::unary && e->unary == loop::UnaryOp::neg) {
    const Facts& a = facts(e->args[0]);
    return {.varies = a.varies, .linear = a.linear, .step = -a.step, .divisor = a.divisor};
  }
  if (e->kind == ExprKind::select) {
    const Facts &a = facts(e->args[1]), &c = facts(e->args[2]);
    f.nonnegative = a.nonnegative && c.nonnegative;
    f.max = std::max(a.max, c.max);
  }
  if (e->kind == ExprKind::cast) {
    const DType from = e->args[0]->type;
    f.nonnegative = from == DType::boolean || (is_unsigned_int(from) && from != DType::u64);
    if (f.nonnegative) f.max = (int64_t{1} << (from == DType::boolean ? 1 : 8 * byte_size(from))) - 1;
  }
  return f;
}

Facts Emitter::binary_facts(const Expr& e) {
  const Facts a = facts(e->args[0]), c = facts(e->args[1]);
  Facts f{.varies = a.varies || c.varies, .linear = !a.varies && !c.varies};
  const bool nonnegative = a.nonnegative && c.nonnegative;
  switch (e->binary) {
    case BinaryOp::add:
    case BinaryOp::sub: {
      const bool plus = e->binary == BinaryOp::add;
      f.linear = a.linear && c.linear;
      f.step = plus ? a.step + c.step : a.step - c.step;
      f.divisor = std::gcd(a.divisor, c.divisor);
      f.nonnegative = plus && nonnegative;
      f.max = saturating_add(a.max, c.max);
      if (f.linear && f.step == 0) f.varies = false;
      return f;
    }
    case BinaryOp::mul: {
      const bool scaled = loop::is_constant(e->args[1]) && a.linear;
      if (scaled) {
        f.linear = true;
        f.step = saturating_multiply(a.step, e->args[1]->i);
      }
      f.divisor = saturating_multiply(a.divisor, c.divisor);
      if (f.divisor == std::numeric_limits<int64_t>::max()) f.divisor = 1;
      f.nonnegative = nonnegative;
      f.max = saturating_multiply(a.max, c.max);
      return f;
    }
    case BinaryOp::min:
    case BinaryOp::max:
      f.nonnegative = nonnegative;
      f.max = e->binary == BinaryOp::min ? std::min(a.max, c.max) : std::max(a.max, c.max);
      return f;
    case BinaryOp::floordiv:
    case BinaryOp::mod:
    case BinaryOp::div:
    case BinaryOp::rem:
      break;
    default:
      return f;
  }
  const bool quotient = e->binary == BinaryOp::floordiv || e->binary == BinaryOp::div;
  const bool floors = e->binary == BinaryOp::floordiv || e->binary == BinaryOp::mod;
  const int64_t m = loop::is_constant(e->args[1]) ? e->args[1]->i : 0;
  f.nonnegative = nonnegative || (floors && !quotient && m > 0);
  if (quotient)
    f.max = m > 0 ? a.max / m : a.max;
  else if (m > 0)
    f.max = m - 1;
  else
    f.max = c.max;
  if (m <= 0 || !(floors || a.nonnegative)) return f;
  const int64_t block = std::gcd(a.divisor, m);  // lane 0 starts a block of this size, blocks tile m
  if (quotient && a.divisor % m == 0) f.divisor = a.divisor / m;
  if (!quotient) f.divisor = block;
  if (a.varies && a.linear && a.step >= 0 && a.step < block && a.step * (lanes_ - 1) < block) {
    // All lanes fall into one block.
    f.linear = true;
    f.step = quotient ? 0 : a.step;
    f.varies = f.step != 0;
  }
  return f;
}

// ---- memo -------------------------------------------------------------------------------------------------------

Emitter::Memo* Emitter::find(const Expr& e) {
  for (size_t i = scopes_.size(); i-- > 0;) {
    auto it = scopes_[i].memo.find(e.get());
    if (it == scopes_[i].memo.end()) continue;
    return !reads_mutable(e) || it->second.epoch == epoch_ ? &it->second : nullptr;
  }
  return nullptr;
}

size_t Emitter::free_depth(const Expr& e) {
  size_t depth = 0;
  for (VarId v : e->free) depth = std::max(depth, binding(v).depth);
  return depth;
}

size_t Emitter::level_of(const Expr& e) {
  size_t level = scopes_.size() - 1;
  if (reads_mutable(e)) return level;
  const size_t need = free_depth(e);
  while (level > need && scopes_[level].straight) --level;
  return level;
}

void Emitter::remember(const Expr& e, Value* v, bool is_lane0) {
  Memo& m = scopes_[level_of(e)].memo[e.get()];
  if (m.epoch != epoch_ && reads_mutable(e)) m = {};
  (is_lane0 ? m.lane0 : m.value) = v;
  m.epoch = epoch_;
  keep_.push_back(e);
}

// ---- values -----------------------------------------------------------------------------------------------------

Value* Emitter::value(const Expr& e) {
  switch (e->kind) {
    case ExprKind::constant:
      return arith_.constant(e->type, e->f, e->i);
    case ExprKind::symbol:
      return symbol_value(e->symbol);
    case ExprKind::var:
      return bound(e->var);
    default:
      break;
  }
  if (Memo* m = find(e); m && m->value) return m->value;
  Value* v = compute(e);
  remember(e, v, false);
  return v;
}

Value* Emitter::lane0(const Expr& e) {
  if (e->kind == ExprKind::var) {
    FCC_CHECK(binding(e->var).scalar, "{}: {} has no scalar", kernel_.name, kernel_.vars[e->var].name);
    return binding(e->var).scalar;
  }
  bool any = false;
  for (const Expr& a : e->args) any |= facts(a).varies;
  if (!any) return value(e);
  if (Memo* m = find(e); m && m->lane0) return m->lane0;
  Value* v = nullptr;
  if (e->kind == ExprKind::unary && e->unary == loop::UnaryOp::neg) {
    v = b_.CreateNeg(lane0(e->args[0]));
  } else {
    FCC_CHECK(e->kind == ExprKind::binary && e->type == DType::i64, "{}: not linear", kernel_.name);
    v = index_binary(e->binary, e->args[0], e->args[1], lane0(e->args[0]), lane0(e->args[1]));
  }
  remember(e, v, true);
  return v;
}

Value* Emitter::compute(const Expr& e) {
  if (e->type == DType::i64 && lanes_ > 1 && e->kind != ExprKind::load && e->kind != ExprKind::reduce) {
    const Facts& f = facts(e);
    bool any = false;
    for (const Expr& a : e->args) any |= facts(a).varies;
    if (any && f.linear) return f.varies ? from_linear(lane0(e), f.step) : lane0(e);
  }
  switch (e->kind) {
    case ExprKind::load:
      return emit_load(e);
    case ExprKind::unary:
      return arith_.unary(e->unary, e->args[0]->type, value(e->args[0]));
    case ExprKind::binary:
      return compute_binary(e);
    case ExprKind::select: {
      Value* cond = value(e->args[0]);
      Value* then = value(e->args[1]);
      return arith_.select(cond, then, value(e->args[2]));
    }
    case ExprKind::cast:
      return compute_cast(e);
    case ExprKind::fma: {
      Value* x = value(e->args[0]);
      Value* y = value(e->args[1]);
      return arith_.fma(x, y, value(e->args[2]));
    }
    case ExprKind::reduce:
      return emit_reduce(e);
    default:
      FCC_UNREACHABLE();
  }
}

static bool is_division(BinaryOp op) {
  return op == BinaryOp::div || op == BinaryOp::floordiv || op == BinaryOp::mod || op == BinaryOp::rem;
}

// i64 arithmetic of x and y, the values of a and b: what is known of them makes divisions cheap.
Value* Emitter::index_binary(BinaryOp op, const Expr& a, const Expr& b, Value* x, Value* y) {
  if (request_.saturate && (op == BinaryOp::add || op == BinaryOp::sub || op == BinaryOp::mul))
    return arith_.saturating(op, x, y);
  if (is_division(op) && facts(a).nonnegative && facts(b).nonnegative) return arith_.divide_nonnegative(op, x, y);
  return arith_.binary(op, DType::i64, x, y);
}

Value* Emitter::compute_binary(const Expr& e) {
  const Expr &a = e->args[0], &b = e->args[1];
  if (a->type == DType::i64) {
    if (e->type == DType::boolean)
      if (Value* v = compare_linear(e)) return v;
    if (is_division(e->binary))
      if (Value* v = divide_linear(e)) return v;
    Value* x = value(a);
    return index_binary(e->binary, a, b, x, value(b));
  }
  Value* x = value(a);
  return arith_.binary(e->binary, a->type, x, value(b));
}

static constexpr int64_t kSmall = int64_t{1} << 30;

// Comparisons of indices that are linear in the lane variable: the distance in lane 0 is clamped to 31 bits, so
// that lanes compare as i32, in half as many registers as i64.
Value* Emitter::compare_linear(const Expr& e) {
  const Facts f = facts(e->args[0]), g = facts(e->args[1]);
  const int64_t step = f.step - g.step;
  if (!(f.varies || g.varies) || !f.linear || !g.linear || step > (1 << 20) || step < -(1 << 20)) return nullptr;
  auto scalar = [&](const Expr& x) { return facts(x).varies ? lane0(x) : value(x); };
  Value* x = scalar(e->args[0]);
  Value* distance = b_.CreateBinaryIntrinsic(llvm::Intrinsic::ssub_sat, x, scalar(e->args[1]));
  distance = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, distance, b_.getInt64(static_cast<uint64_t>(-kSmall)));
  distance = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, distance, b_.getInt64(kSmall));
  Value* lanes = from_linear(b_.CreateTrunc(distance, b_.getInt32Ty()), step);
  return arith_.binary(e->binary, DType::i32, lanes, b_.getInt32(0));
}

// floordiv and mod of a linear index by a small constant: one scalar division, then i32 lanes.
Value* Emitter::divide_linear(const Expr& e) {
  const Facts f = facts(e->args[0]);
  const bool floors = e->binary == BinaryOp::floordiv || e->binary == BinaryOp::mod;
  if (!f.varies || !f.linear || f.step <= 0 || !loop::is_constant(e->args[1]) || !(floors || f.nonnegative))
    return nullptr;
  const int64_t m = e->args[1]->i;
  if (m <= 0 || m > kSmall || f.step > (1 << 20)) return nullptr;
  Value *x = lane0(e->args[0]), *divisor = b_.getInt64(static_cast<uint64_t>(m));
  Value* q0 = f.nonnegative ? b_.CreateUDiv(x, divisor) : arith_.binary(BinaryOp::floordiv, DType::i64, x, divisor);
  Value* r0 = b_.CreateSub(x, b_.CreateMul(q0, divisor));
  Value* rest = from_linear(b_.CreateTrunc(r0, b_.getInt32Ty()), f.step);
  llvm::Type* lanes_type = rest->getType();
  auto i32 = [&](int64_t v) { return ConstantInt::getSigned(lanes_type, v); };
  Value* wraps = nullptr;
  if (const int64_t most = (m - 1 + f.step * (lanes_ - 1)) / m; most <= 3) {
    wraps = i32(0);
    for (int64_t k = 1; k <= most; ++k)
      wraps = b_.CreateSub(wraps, b_.CreateSExt(b_.CreateICmpSGE(rest, i32(k * m)), lanes_type));
  } else {
    wraps = b_.CreateUDiv(rest, i32(m));
  }
  llvm::Type* wide = with_lanes(b_.getInt64Ty(), lanes_);
  if (e->binary == BinaryOp::floordiv || e->binary == BinaryOp::div)
    return b_.CreateAdd(splat(b_, q0, lanes_), b_.CreateZExt(wraps, wide));
  return b_.CreateZExt(b_.CreateSub(rest, b_.CreateMul(wraps, i32(m))), wide);
}

Value* Emitter::compute_cast(const Expr& e) {
  const Expr& a = e->args[0];
  if (a->type == DType::i64 && e->type != DType::i64 && e->type != DType::u64 && varies(a)) {
    const Facts& f = facts(a);
    const bool small = f.nonnegative && f.max <= std::numeric_limits<int32_t>::max();
    if (f.linear && (small || is_int(e->type))) {
      // Truncation commutes with linear arithmetic; a small index converts exactly from i32.
      Value* lanes = from_linear(b_.CreateTrunc(lane0(a), b_.getInt32Ty()), f.step);
      return arith_.cast(DType::i32, e->type, lanes);
    }
  }
  return arith_.cast(a->type, e->type, value(a));
}

// ---- hoisting ---------------------------------------------------------------------------------------------------

void Emitter::hoist(const Expr& e, std::vector<VarId>& inner, std::unordered_set<const loop::ExprNode*>& seen) {
  if (e->kind == ExprKind::constant || e->kind == ExprKind::var || e->kind == ExprKind::symbol) return;
  if (!seen.insert(e.get()).second) return;
  const bool depends = std::any_of(inner.begin(), inner.end(), [&](VarId v) { return loop::uses(e, v); });
  if (!depends) {
    value(e);
    return;
  }
  size_t first = 0;
  // Addresses are made of polynomials, not of these nodes: only a load or a reduction inside an index is worth it.
  if (e->kind == ExprKind::load) {
    const size_t n = e->args.size() - (e->guarded ? 2 : 0);
    for (; first < n; ++first) {
      std::function<void(const Expr&)> dig = [&](const Expr& x) {
        if (x->kind == ExprKind::load || x->kind == ExprKind::reduce) return hoist(x, inner, seen);
        if (x->kind == ExprKind::binary || x->kind == ExprKind::unary || x->kind == ExprKind::select ||
            x->kind == ExprKind::cast)
          for (const Expr& a : x->args) dig(a);
      };
      dig(e->args[first]);
    }
  }
  if (e->kind == ExprKind::reduce) inner.push_back(e->var);
  for (; first < e->args.size(); ++first) hoist(e->args[first], inner, seen);
  if (e->kind == ExprKind::reduce) inner.pop_back();
}

}  // namespace fcc
