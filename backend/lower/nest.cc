#include "backend/lower/nest.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>


namespace fcc::backend {

using loop::Expr;
using loop::ExprKind;
using loop::ExprNode;
using loop::UnaryOp;

int64_t guess_size(const SymExpr& e) {
  return e.evaluate([](std::string_view) { return kGuessedExtent; });
}

double guess_extent(const Expr& e) {
  switch (e->kind) {
    case ExprKind::constant: return static_cast<double>(e->i);
    case ExprKind::symbol: return kGuessedExtent;
    case ExprKind::binary: {
      const double a = guess_extent(e->args[0]), b = guess_extent(e->args[1]);
      switch (e->binary) {
        case loop::BinaryOp::add: return a + b;
        case loop::BinaryOp::sub: return a - b;
        case loop::BinaryOp::mul: return a * b;
        case loop::BinaryOp::floordiv: return b == 0 ? 0 : std::floor(a / b);
        case loop::BinaryOp::min: return std::min(a, b);
        case loop::BinaryOp::max: return std::max(a, b);
        default: return a;
      }
    }
    case ExprKind::select: return guess_extent(e->args[1]);
    default: return 8;
  }
}

bool contains_reduce(const Expr& e) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<const ExprNode*> stack{e.get()};
  while (!stack.empty()) {
    const ExprNode* n = stack.back();
    stack.pop_back();
    if (!seen.insert(n).second) continue;
    if (n->kind == ExprKind::reduce) return true;
    for (const Expr& a : n->args) stack.push_back(a.get());
  }
  return false;
}

static double unary_cost(UnaryOp op) {
  if (op >= UnaryOp::exp && op <= UnaryOp::sigmoid) return 20;
  if (op == UnaryOp::sqrt || op == UnaryOp::reciprocal) return 5;
  return 1;
}

double cost_of(const Expr& e) {
  std::unordered_map<const ExprNode*, double> memo;
  auto visit = [&](auto&& self, const Expr& x) -> double {
    if (!memo.emplace(x.get(), 0).second) return 0;  // shared: computed once
    double c = 1;
    if (x->kind == ExprKind::constant || x->kind == ExprKind::var || x->kind == ExprKind::symbol) return 0;
    if (x->kind == ExprKind::unary) c = unary_cost(x->unary);
    if (x->kind == ExprKind::binary && (x->binary == loop::BinaryOp::pow || x->binary == loop::BinaryOp::atan2)) c = 40;
    if (x->kind == ExprKind::binary && x->type == DType::i64) c = 0.5;
    if (x->kind == ExprKind::reduce) return std::max(1.0, guess_extent(x->args[1])) * std::max(1.0, self(self, x->args[2]));
    for (const Expr& a : x->args) c += self(self, a);
    return c;
  };
  return std::max(1.0, visit(visit, e));
}

// ---- hoisting -------------------------------------------------------------------------------------------------

namespace {

bool is_costly(const ExprNode& n) {
  if (n.kind == ExprKind::reduce) return true;
  if (n.kind == ExprKind::unary) return unary_cost(n.unary) > 1;
  if (n.kind == ExprKind::binary)
    return is_float(n.type) && (n.binary == loop::BinaryOp::div || n.binary == loop::BinaryOp::pow);
  return false;
}

class Hoister {
 public:
  Hoister(loop::Kernel& kernel, const std::vector<LoopDim>& loops, Interner& intern) : kernel_(kernel), loops_(loops), intern_(intern) {
    result_.levels.resize(loops.size());
  }

  Hoisted run(const std::vector<Expr>& values) {
    for (const Expr& e : values) result_.values.push_back(visit(e));
    return std::move(result_);
  }

 private:
  // Deepest loop that e depends on, -1 for none; nothing when it depends on the variable of a reduce around it.
  std::optional<int> level_of(const Expr& e) const {
    int level = -1;
    for (loop::VarId v : e->free) {
      auto it = std::find_if(loops_.begin(), loops_.end(), [&](const LoopDim& l) { return l.var == v; });
      if (it != loops_.end()) {
        level = std::max(level, static_cast<int>(it - loops_.begin()));
      } else if (auto let = let_level_.find(v); let != let_level_.end()) {
        level = std::max(level, let->second);
      } else {
        return std::nullopt;
      }
    }
    return level;
  }

  Expr visit(const Expr& e) {
    if (e->args.empty()) return e;
    if (auto it = memo_.find(e.get()); it != memo_.end()) return it->second;
    std::vector<Expr> args;
    bool changed = false;
    for (const Expr& a : e->args) {
      args.push_back(visit(a));
      changed |= args.back() != a;
    }
    Expr out = e;
    if (changed) {
      ExprNode n = *e;
      n.args = std::move(args);
      n.free.clear();
      for (const Expr& a : n.args) n.free.insert(n.free.end(), a->free.begin(), a->free.end());
      std::sort(n.free.begin(), n.free.end());
      n.free.erase(std::unique(n.free.begin(), n.free.end()), n.free.end());
      if (n.kind == ExprKind::reduce) std::erase(n.free, n.var);
      out = intern_(std::make_shared<const ExprNode>(std::move(n)));
    }
    if (is_costly(*out)) {
      std::optional<int> level = level_of(out);
      if (level && *level < static_cast<int>(loops_.size()) - 1) out = make_let(out, *level);
    }
    memo_.emplace(e.get(), out);
    return out;
  }

  Expr make_let(const Expr& value, int level) {
    const loop::VarId v = kernel_.add_var(value->kind == ExprKind::reduce ? std::string(loop::name(value->reduce)) : "inv", value->type);
    let_level_[v] = level;
    loop::Block& block = level < 0 ? result_.before : result_.levels[static_cast<size_t>(level)];
    block.push_back(loop::let(v, value));
    return loop::var(v, value->type);
  }

  loop::Kernel& kernel_;
  const std::vector<LoopDim>& loops_;
  Interner& intern_;
  Hoisted result_;
  std::unordered_map<const ExprNode*, Expr> memo_;
  std::map<loop::VarId, int> let_level_;
};

}  // namespace

Hoisted hoist_invariants(loop::Kernel& kernel, const std::vector<LoopDim>& loops, const std::vector<Expr>& values, Interner& intern) {
  return Hoister(kernel, loops, intern).run(values);
}

// ---- vectorised reductions --------------------------------------------------------------------------------------

// The last index is mod(i, m) and another one floordiv(i, m), where i advances with v and m holds whole vectors: channels in blocks.
static bool load_walks_blocks(const Expr& e, loop::VarId v, size_t n) {
  const Expr& last = e->args[n - 1];
  if (last->kind != ExprKind::binary || last->binary != loop::BinaryOp::mod || !loop::is_constant(last->args[1]) || last->args[1]->i % 16 != 0) return false;
  if (loop::linear_coefficient(last->args[0], v) != 1) return false;
  for (size_t i = 0; i + 1 < n; ++i) {
    const Expr& a = e->args[i];
    if (!loop::uses(a, v)) continue;
    const bool block = a->kind == ExprKind::binary && a->binary == loop::BinaryOp::floordiv && loop::same(a->args[0], last->args[0]) && loop::same(a->args[1], last->args[1]);
    if (!block) return false;
  }
  return true;
}

static bool load_walks(const Expr& e, loop::VarId v) {
  const size_t n = e->args.size() - (e->guarded ? 2 : 0);
  if (n > 0 && load_walks_blocks(e, v, n)) return true;
  if (n == 0 || loop::linear_coefficient(e->args[n - 1], v) != 1) return false;
  for (size_t i = 0; i + 1 < n; ++i)
    if (loop::uses(e->args[i], v)) return false;
  return true;
}

bool walks_contiguously(const Expr& e, loop::VarId v) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> stack{e};
  while (!stack.empty()) {
    Expr x = stack.back();
    stack.pop_back();
    if (!loop::uses(x, v) || !seen.insert(x.get()).second) continue;
    if (x->kind == ExprKind::load && load_walks(x, v)) return true;
    stack.insert(stack.end(), x->args.begin(), x->args.end());
  }
  return false;
}

// A reduction inside e whose value changes with v. One that does not, such as the maximum in the sum of a softmax, is
// hoisted and hinders nothing.
static bool holds_reduction_over(const Expr& e, loop::VarId v) {
  std::unordered_set<const ExprNode*> seen;
  std::vector<const Expr*> stack{&e};
  while (!stack.empty()) {
    const Expr& x = *stack.back();
    stack.pop_back();
    if (!loop::uses(x, v) || !seen.insert(x.get()).second) continue;
    if (x->kind == ExprKind::reduce) return true;
    for (const Expr& a : x->args) stack.push_back(&a);
  }
  return false;
}

namespace {
class ReductionVectorizer {
 public:
  ReductionVectorizer(loop::VarId vector_var, int32_t lanes) : vector_var_(vector_var), lanes_(lanes) {}

  Expr operator()(const Expr& e) {
    if (e->args.empty()) return e;
    if (auto it = memo_.find(e.get()); it != memo_.end()) return it->second;
    ExprNode n = *e;
    bool changed = false;
    for (Expr& a : n.args) {
      Expr b = (*this)(a);
      changed |= b != a;
      a = std::move(b);
    }
    const bool mark = e->kind == ExprKind::reduce && e->lanes == 1 && !e->unroll && (vector_var_ < 0 || !loop::uses(e, vector_var_)) &&
                      !holds_reduction_over(n.args[2], e->var) && walks_contiguously(n.args[2], e->var) && guess_extent(n.args[1]) >= 4;
    if (mark) n.lanes = lanes_;
    Expr out = changed || mark ? std::make_shared<const ExprNode>(std::move(n)) : e;
    memo_.emplace(e.get(), out);
    return out;
  }

 private:
  loop::VarId vector_var_;
  int32_t lanes_;
  std::unordered_map<const ExprNode*, Expr> memo_;
};
}  // namespace

Expr vectorize_reductions(const Expr& e, loop::VarId vector_var, int32_t lanes) { return ReductionVectorizer(vector_var, lanes)(e); }

}  // namespace fcc::backend
