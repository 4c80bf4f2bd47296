#include <bit>
#include <numeric>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::BasicBlock;
using llvm::ConstantInt;
using llvm::Value;
using loop::ExprKind;
using loop::LoopKind;
using loop::Stmt;
using loop::StmtKind;
using loop::StmtRef;
using loop::VarId;

// Vector loops of at most this many vectors are written out.
static constexpr int64_t kStraightVectors = 4;

void Emitter::emit(const loop::Block& block) {
  for (const StmtRef& s : block) emit(*s);
}

void Emitter::emit(const Stmt& s) {
  switch (s.kind) {
    case StmtKind::for_:
      return emit_for(s);
    case StmtKind::let:
      return bind_expr(s.var, s.value);
    case StmtKind::store:
      return emit_store(s);
    case StmtKind::alloc:
      return declare_local(s.buffer);
    case StmtKind::if_:
      return emit_if(s);
    case StmtKind::contract:
      return emit_contract(*s.contract);
    case StmtKind::block:
      return emit(s.body);
    case StmtKind::fault: {
      auto it = request_.faults.find(s.text);
      FCC_CHECK(it != request_.faults.end(), "{}: fault \"{}\" has no index", kernel_.name, s.text);
      Value* condition = value(s.value);
      if (lanes_of(condition) > 1) condition = b_.CreateOrReduce(active(condition));
      return return_code(condition, 1 + it->second);
    }
    case StmtKind::define_symbol: {
      auto at = std::find(request_.symbol_names.begin(), request_.symbol_names.end(), s.text);
      FCC_CHECK(at != request_.symbol_names.end(), "{}: symbol {} has no index", kernel_.name, s.text);
      const auto index = static_cast<uint64_t>(at - request_.symbol_names.begin());
      b_.CreateAlignedStore(value(s.value), b_.CreateConstGEP1_64(b_.getInt64Ty(), function_->getArg(1), index),
                            llvm::Align(8));
      return;
    }
  }
}

// ---- loops ------------------------------------------------------------------------------------------------------

// for (i = lo; i < hi; i += step), tested once before and then at the bottom; `prologue` runs once, only when the
// body does. carried holds the values that go around and receives what they are afterwards.
void Emitter::counted_loop(Value* lo, Value* hi, int64_t step, Carried& carried, const std::function<void()>& prologue,
                           const std::function<void(Value*)>& body) {
  auto *first = llvm::dyn_cast<ConstantInt>(lo), *last = llvm::dyn_cast<ConstantInt>(hi);
  const bool known = first && last;
  if (known && first->getSExtValue() >= last->getSExtValue()) return;
  BasicBlock* before = b_.GetInsertBlock();
  BasicBlock* after = BasicBlock::Create(context_, "after", function_, exit_);
  if (!known) {
    BasicBlock* enter = BasicBlock::Create(context_, "enter", function_, after);
    b_.CreateCondBr(b_.CreateICmpSLT(lo, hi), enter, after);
    b_.SetInsertPoint(enter);
  }
  const Carried initial = carried;
  {
    ScopeGuard outer(*this, known);
    if (prologue) prologue();
    const bool once = known && first->getSExtValue() + step >= last->getSExtValue();
    BasicBlock *pre = b_.GetInsertBlock(), *loop = nullptr;
    llvm::PHINode* i = nullptr;
    std::vector<llvm::PHINode*> phis;
    if (!once) {
      loop = BasicBlock::Create(context_, "loop", function_, after);
      b_.CreateBr(loop);
      b_.SetInsertPoint(loop);
      i = b_.CreatePHI(b_.getInt64Ty(), 2);
      i->addIncoming(lo, pre);
      for (Value*& c : carried) {
        phis.push_back(b_.CreatePHI(c->getType(), 2));
        phis.back()->addIncoming(c, pre);
        c = phis.back();
      }
      ++epoch_;
    }
    {
      ScopeGuard inner(*this, once);
      body(once ? lo : i);
    }
    if (!once) {
      Value* next = b_.CreateNSWAdd(i, b_.getInt64(static_cast<uint64_t>(step)));
      BasicBlock* latch = b_.GetInsertBlock();
      i->addIncoming(next, latch);
      for (size_t k = 0; k < phis.size(); ++k) phis[k]->addIncoming(carried[k], latch);
      b_.CreateCondBr(b_.CreateICmpSLT(next, hi), loop, after);
      ++epoch_;
    } else {
      b_.CreateBr(after);
    }
  }
  BasicBlock* from = b_.GetInsertBlock();
  b_.SetInsertPoint(after);
  if (known) return;
  for (size_t k = 0; k < carried.size(); ++k) {
    llvm::PHINode* phi = b_.CreatePHI(carried[k]->getType(), 2);
    phi->addIncoming(initial[k], before);
    phi->addIncoming(carried[k], from);
    carried[k] = phi;
  }
}

void Emitter::emit_for(const Stmt& s) {
  if (s.loop == LoopKind::tile) return emit_tile_loop(s);
  if (s.loop == LoopKind::vec && lanes_ == 1) return emit_vec(s);
  Value *lo = value(s.lo), *hi = value(s.hi);
  FCC_CHECK(lanes_of(lo) == 1 && lanes_of(hi) == 1, "{}: loop bounds differ between lanes", kernel_.name);
  if (s.loop != LoopKind::unroll) return emit_scalar_loop(s, lo, hi);
  auto *first = llvm::dyn_cast<ConstantInt>(lo), *last = llvm::dyn_cast<ConstantInt>(hi);
  FCC_CHECK(first && last, "{}: @unroll needs constant bounds", kernel_.name);
  for (int64_t i = first->getSExtValue(); i < last->getSExtValue(); i += s.step) {
    ScopeGuard scope(*this, true);
    bind_uniform(s.var, b_.getInt64(static_cast<uint64_t>(i)));
    emit(s.body);
  }
}

void Emitter::emit_scalar_loop(const Stmt& s, Value* lo, Value* hi) {
  const Facts f = facts(s.lo), g = facts(s.hi);
  Facts variable{
      .divisor = std::gcd(f.divisor, s.step), .nonnegative = f.nonnegative, .max = g.nonnegative ? g.max - 1 : 0};
  Carried none;
  counted_loop(
      lo, hi, s.step, none, [&] { hoist_reductions(s); },
      [&](Value* i) {
        bind_uniform(s.var, i, variable);
        emit(s.body);
      });
}

void Emitter::emit_tile_loop(const Stmt& s) {
  FCC_CHECK(scopes_.size() == 1, "{}: @tile is for the outermost loop", kernel_.name);
  Carried none;
  counted_loop(
      function_->getArg(2), function_->getArg(3), 1, none, [&] { hoist_reductions(s); },
      [&](Value* i) {
        Value* at = i;
        if (s.step != 1) at = b_.CreateMul(at, b_.getInt64(static_cast<uint64_t>(s.step)));
        if (!loop::is_constant_int(s.lo, 0)) at = b_.CreateAdd(at, value(s.lo));
        const Facts f = facts(s.lo), g = facts(s.hi);
        bind_uniform(s.var, at,
                     {.divisor = std::gcd(f.divisor, s.step),
                      .nonnegative = f.nonnegative,
                      .max = g.nonnegative ? g.max - 1 : 0});
        emit(s.body);
      });
}

// ---- vector loops -----------------------------------------------------------------------------------------------

Value* Emitter::tail_mask(Value* remaining, int64_t lanes) {
  Value* count = splat(b_, b_.CreateTrunc(remaining, b_.getInt32Ty()), lanes);
  return b_.CreateICmpSLT(iota(b_.getInt32Ty(), lanes), count);
}

void Emitter::emit_vec_body(const Stmt& s, Value* base, int64_t lanes, Value* mask, const Facts& lo, int64_t max) {
  LaneGuard context(*this, lanes, mask);
  bind_lane(s.var, base, std::gcd(lo.divisor, lanes), lo.nonnegative, max);
  emit(s.body);
}

void Emitter::emit_vec_straight(const Stmt& s, Value* lo, int64_t trip, int64_t lanes, bool masked) {
  hoist_reductions(s);
  const Facts f = facts(s.lo);
  int64_t at = 0;
  for (; at + lanes <= trip; at += lanes) {
    ScopeGuard scope(*this, true);
    emit_vec_body(s, b_.CreateAdd(lo, b_.getInt64(static_cast<uint64_t>(at))), lanes, nullptr, f,
                  std::numeric_limits<int64_t>::max());
  }
  if (at == trip) return;
  if (masked) {
    ScopeGuard scope(*this, true);
    Value* mask = tail_mask(b_.getInt64(static_cast<uint64_t>(trip - at)), lanes);
    return emit_vec_body(s, b_.CreateAdd(lo, b_.getInt64(static_cast<uint64_t>(at))), lanes, mask, f,
                         std::numeric_limits<int64_t>::max());
  }
  emit_scalar_loop(s, b_.CreateAdd(lo, b_.getInt64(static_cast<uint64_t>(at))),
                   b_.CreateAdd(lo, b_.getInt64(static_cast<uint64_t>(trip))));
}

void Emitter::emit_vec(const Stmt& s) {
  auto lanes =
      static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::min<int64_t>(s.lanes, target_.lanes(4)))));
  Value *lo = value(s.lo), *hi = value(s.hi);
  if (lanes <= 1 || !vectorisable(s)) return emit_scalar_loop(s, lo, hi);
  const bool masked = can_mask(s.body);
  auto *first = llvm::dyn_cast<ConstantInt>(lo), *last = llvm::dyn_cast<ConstantInt>(hi);
  if (first && last) {
    const int64_t trip = last->getSExtValue() - first->getSExtValue();
    if (trip <= 0) return;
    if (!masked) lanes = std::min<int64_t>(lanes, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(trip))));
    if (lanes == 1) return emit_scalar_loop(s, lo, hi);
    if (trip <= kStraightVectors * lanes) return emit_vec_straight(s, lo, trip, lanes, masked);
  } else {
    hi = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, lo, hi);
  }
  const Facts f = facts(s.lo), g = facts(s.hi);
  const int64_t max = g.nonnegative ? g.max - 1 : 0;
  Value* whole = b_.CreateAnd(b_.CreateSub(hi, lo), b_.getInt64(static_cast<uint64_t>(-lanes)));
  Value* middle = b_.CreateAdd(lo, whole);
  Carried none;
  counted_loop(
      lo, middle, lanes, none, [&] { hoist_reductions(s); },
      [&](Value* base) { emit_vec_body(s, base, lanes, nullptr, f, max); });
  if (!masked) return emit_scalar_loop(s, middle, hi);
  when(b_.CreateICmpSLT(middle, hi), [&] {
    hoist_reductions(s);
    emit_vec_body(s, middle, lanes, tail_mask(b_.CreateSub(hi, middle), lanes), f, saturating_add(max, lanes));
  });
}

namespace {

// Whether a loop body can run `lanes` iterations at a time: everything but memory and arithmetic must be the same
// in all lanes.
struct VectorScan {
  const loop::Kernel& kernel;
  std::unordered_set<VarId> varying;
  std::unordered_set<const loop::ExprNode*> seen;
  bool possible = true;

  bool depends(const loop::Expr& e) const {
    return e && std::any_of(e->free.begin(), e->free.end(), [&](VarId v) { return varying.contains(v); });
  }
  void expr(const loop::Expr& e) {
    if (!e || !seen.insert(e.get()).second) return;
    if (e->kind == ExprKind::reduce && (depends(e->args[0]) || depends(e->args[1]))) possible = false;
    for (const loop::Expr& a : e->args) expr(a);
  }
  void block(const loop::Block& b) {
    for (const StmtRef& s : b) stmt(*s);
  }
  void stmt(const Stmt& s) {
    switch (s.kind) {
      case StmtKind::alloc:
      case StmtKind::contract:
      case StmtKind::define_symbol:
        possible = false;
        return;
      case StmtKind::for_:
        if (depends(s.lo) || depends(s.hi)) possible = false;
        break;
      case StmtKind::let:
        if (depends(s.value)) varying.insert(s.var);
        break;
      case StmtKind::store:
        if (std::none_of(s.indices.begin(), s.indices.end(), [&](const loop::Expr& i) { return depends(i); }))
          possible = false;
        break;
      default:
        break;
    }
    for (const loop::Expr& e : {s.lo, s.hi, s.value, s.mask}) expr(e);
    for (const loop::Expr& e : s.indices) expr(e);
    block(s.body);
    block(s.otherwise);
  }
};

// The width of the narrowest element touched.
struct MemoryScan {
  const loop::Kernel& kernel;
  std::unordered_set<const loop::ExprNode*> seen;
  int64_t narrowest = 8;

  void buffer(loop::BufferId id) { narrowest = std::min(narrowest, byte_size(kernel.buffers[id].dtype)); }
  void expr(const loop::Expr& e) {
    if (!e || !seen.insert(e.get()).second) return;
    if (e->kind == ExprKind::load) buffer(e->buffer);
    for (const loop::Expr& a : e->args) expr(a);
  }
  void block(const loop::Block& b) {
    loop::walk(b, [&](const Stmt& s) {
      for (const loop::Expr& e : {s.lo, s.hi, s.value, s.mask}) expr(e);
      for (const loop::Expr& e : s.indices) expr(e);
      if (s.kind == StmtKind::store) buffer(s.buffer);
    });
  }
};

// The largest parts of an expression that hold a reduction, do not depend on `inner`, and read nothing writable.
struct ReductionSearch {
  const std::unordered_set<VarId>& inner;
  std::unordered_map<const loop::ExprNode*, bool> memo;
  std::unordered_set<const loop::ExprNode*> seen;
  std::vector<loop::Expr> found;

  bool has_reduction(const loop::Expr& e) {
    if (auto it = memo.find(e.get()); it != memo.end()) return it->second;
    bool has = e->kind == ExprKind::reduce;
    for (const loop::Expr& a : e->args) has = has_reduction(a) || has;
    return memo[e.get()] = has;
  }
  void search(const loop::Expr& e) {
    if (!e || !seen.insert(e.get()).second || !has_reduction(e)) return;
    const bool depends = std::any_of(e->free.begin(), e->free.end(), [&](VarId v) { return inner.contains(v); });
    if (!depends) {
      found.push_back(e);
      return;
    }
    if (e->kind == ExprKind::reduce) return;  // a part of its body may need its variable; emit_reduce hoists
    for (const loop::Expr& a : e->args) search(a);
  }
};

}  // namespace

bool Emitter::vectorisable(const Stmt& s) {
  VectorScan scan{kernel_, {s.var}, {}};
  scan.block(s.body);
  return scan.possible;
}

bool Emitter::can_mask(const loop::Block& block) {
  MemoryScan scan{kernel_, {}};
  scan.block(block);
  return target_.has_masked_memory(scan.narrowest);
}

bool Emitter::can_mask(const Expr& e) {
  MemoryScan scan{kernel_, {}};
  scan.expr(e);
  return target_.has_masked_memory(scan.narrowest);
}

// A reduction that stays the same over a loop is computed before it. Only statements that run in every iteration
// are looked at: what is under an `if` may not be readable outside of it.
void Emitter::hoist_reductions(const Stmt& s) {
  std::unordered_set<VarId> inner{s.var};
  loop::walk(s.body, [&](const Stmt& x) {
    if (x.var >= 0) inner.insert(x.var);
  });
  ReductionSearch search{inner, {}, {}, {}};
  const std::function<void(const loop::Block&)> visit = [&](const loop::Block& block) {
    for (const StmtRef& x : block) {
      if (x->kind == StmtKind::block) visit(x->body);
      if (x->kind != StmtKind::let && x->kind != StmtKind::store) continue;
      for (const loop::Expr& e : {x->value, x->mask}) search.search(e);
      for (const loop::Expr& e : x->indices) search.search(e);
    }
  };
  visit(s.body);
  for (const loop::Expr& e : search.found)
    if (!reads_mutable(e)) value(e);
}

// ---- branches ---------------------------------------------------------------------------------------------------

void Emitter::emit_if(const Stmt& s) {
  Value* condition = value(s.value);
  if (lanes_of(condition) > 1) return emit_masked_if(condition, s);
  ++epoch_;
  when(condition, [&] { emit(s.body); });
  ++epoch_;
  if (!s.otherwise.empty()) when(b_.CreateNot(condition), [&] { emit(s.otherwise); });
  ++epoch_;
}

// Lanes disagree: each side runs under its own mask, and not at all when that mask is empty.
void Emitter::emit_masked_if(Value* condition, const Stmt& s) {
  Value* outer = mask_;
  auto side = [&](Value* on, const loop::Block& block) {
    if (block.empty()) return;
    if (outer) on = b_.CreateAnd(outer, on);
    ++epoch_;
    when(b_.CreateOrReduce(on), [&] {
      LaneGuard context(*this, lanes_, on);
      emit(block);
    });
    ++epoch_;
  };
  side(condition, s.body);
  side(b_.CreateNot(condition), s.otherwise);
}

}  // namespace fcc
