#include "ir/ops/pointwise_content.h"

#include <optional>

#include "ir/op.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::ExprKind;
using loop::UnaryOp;

std::optional<SymExpr> evaluate(const Expr& e, std::span<const SymExpr> vars);

std::optional<SymExpr> evaluate_unary(UnaryOp op, const SymExpr& x) {
  switch (op) {
    case UnaryOp::neg: return -x;
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc: return x;  // contents are whole numbers
    case UnaryOp::abs: return x.provably_nonnegative() ? std::optional(x) : std::nullopt;
    case UnaryOp::logical_not: return x.is_constant() ? std::optional<SymExpr>(x.is(0) ? 1 : 0) : std::nullopt;
    default: return std::nullopt;
  }
}

// 1, 0, or nothing when it depends on a symbol.
std::optional<SymExpr> decide(BinaryOp op, const SymExpr& a, const SymExpr& b) {
  const SymExpr d = a - b;
  const bool positive = d.provably_positive(), negative = (-d).provably_positive(), zero = d.is(0);
  const bool ge = d.provably_nonnegative(), le = (-d).provably_nonnegative();
  switch (op) {
    case BinaryOp::eq: if (zero) return 1; if (positive || negative) return 0; break;
    case BinaryOp::ne: if (zero) return 0; if (positive || negative) return 1; break;
    case BinaryOp::lt: if (negative) return 1; if (ge) return 0; break;
    case BinaryOp::le: if (le) return 1; if (positive) return 0; break;
    case BinaryOp::gt: if (positive) return 1; if (le) return 0; break;
    case BinaryOp::ge: if (ge) return 1; if (negative) return 0; break;
    default: break;
  }
  return std::nullopt;
}

std::optional<SymExpr> divide(const SymExpr& a, const SymExpr& b, bool is_float) {
  if (b.is(0)) return std::nullopt;
  if (is_float) {  // exact quotients only: contents are whole numbers
    if (!mod(a, b).is(0)) return std::nullopt;
    return floordiv(a, b);
  }
  if (a.is_constant() && b.is_constant()) return a.constant() / b.constant();
  if (a.provably_nonnegative() && b.provably_nonnegative()) return floordiv(a, b);
  return std::nullopt;
}

std::optional<SymExpr> evaluate_binary(BinaryOp op, const SymExpr& a, const SymExpr& b, bool is_float) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::sub: return a - b;
    case BinaryOp::mul: return a * b;
    case BinaryOp::div: return divide(a, b, is_float);
    case BinaryOp::floordiv: return b.is(0) ? std::nullopt : std::optional(floordiv(a, b));
    case BinaryOp::mod: return b.is(0) ? std::nullopt : std::optional(mod(a, b));
    case BinaryOp::rem:
      if (b.is(0) || !a.provably_nonnegative() || !b.provably_nonnegative()) return std::nullopt;
      return mod(a, b);
    case BinaryOp::min: return min(a, b);
    case BinaryOp::max: return max(a, b);
    case BinaryOp::logical_and:
      if (a.is(0) || b.is(0)) return 0;
      return a.is_constant() && b.is_constant() ? std::optional<SymExpr>(1) : std::nullopt;
    case BinaryOp::logical_or:
      if ((a.is_constant() && !a.is(0)) || (b.is_constant() && !b.is(0))) return 1;
      return a.is(0) && b.is(0) ? std::optional<SymExpr>(0) : std::nullopt;
    default: return decide(op, a, b);
  }
}

std::optional<SymExpr> evaluate_select(const Expr& e, std::span<const SymExpr> vars) {
  const Expr& c = e->args[0];
  if (auto known = evaluate(c, vars); known && known->is_constant()) return evaluate(known->is(0) ? e->args[2] : e->args[1], vars);
  auto then = evaluate(e->args[1], vars), otherwise = evaluate(e->args[2], vars);
  if (!then || !otherwise) return std::nullopt;
  if (*then == *otherwise) return then;
  if (c->kind != ExprKind::binary) return std::nullopt;
  auto a = evaluate(c->args[0], vars), b = evaluate(c->args[1], vars);
  if (!a || !b) return std::nullopt;
  switch (c->binary) {
    case BinaryOp::eq: return select_eq(*a, *b, *then, *otherwise);
    case BinaryOp::ne: return select_eq(*a, *b, *otherwise, *then);
    case BinaryOp::lt: return select_lt(*a, *b, *then, *otherwise);
    case BinaryOp::gt: return select_lt(*b, *a, *then, *otherwise);
    case BinaryOp::ge: return select_lt(*a, *b, *otherwise, *then);
    case BinaryOp::le: return select_lt(*b, *a, *otherwise, *then);
    default: return std::nullopt;
  }
}

std::optional<SymExpr> evaluate(const Expr& e, std::span<const SymExpr> vars) {
  switch (e->kind) {
    case ExprKind::constant:
      if (!is_float(e->type)) return SymExpr(e->i);
      if (e->f != static_cast<double>(static_cast<int64_t>(e->f)) || e->f > 9e15 || e->f < -9e15) return std::nullopt;
      return SymExpr(static_cast<int64_t>(e->f));
    case ExprKind::var: return vars[static_cast<size_t>(e->var)];
    case ExprKind::unary: {
      auto x = evaluate(e->args[0], vars);
      return x ? evaluate_unary(e->unary, *x) : std::nullopt;
    }
    case ExprKind::binary: {
      auto a = evaluate(e->args[0], vars), b = evaluate(e->args[1], vars);
      if (!a || !b) return std::nullopt;
      return evaluate_binary(e->binary, *a, *b, is_float(e->args[0]->type));
    }
    case ExprKind::select: return evaluate_select(e, vars);
    case ExprKind::cast: {
      auto x = evaluate(e->args[0], vars);
      if (!x || e->type != DType::boolean) return x;
      if (x->is_constant()) return SymExpr(x->is(0) ? 0 : 1);
      return x->provably_positive() ? std::optional<SymExpr>(1) : std::nullopt;
    }
    default: return std::nullopt;
  }
}

}  // namespace

void propagate_pointwise_content(InferContext& c) {
  size_t length = 1;
  int64_t rank = 0;
  std::vector<DType> dtypes;
  std::vector<Expr> vars;
  for (size_t k = 0; k < c.n_in(); ++k) {
    if (!c.has(k) || !c.content(k)) return;
    const SymTensor& s = *c.content(k);
    rank = std::max(rank, s.rank);
    if (s.elements.size() != 1) length = s.elements.size();
    dtypes.push_back(c.dtype(k));
    vars.push_back(loop::var(static_cast<loop::VarId>(k), loop::compute_type(c.dtype(k))));
  }
  if (vars.empty()) return;
  const Expr formula = c.op.formula(FormulaContext{c.attrs, dtypes, c.out_types[0].dtype}, vars);
  SymTensor out{rank, {}};
  for (size_t i = 0; i < length; ++i) {
    std::vector<SymExpr> x;
    for (size_t k = 0; k < c.n_in(); ++k) {
      const auto& e = c.content(k)->elements;
      if (e.empty()) return;
      x.push_back(e.size() == 1 ? e[0] : e[i]);
    }
    auto v = evaluate(formula, x);
    if (!v) return;
    out.elements.push_back(std::move(*v));
  }
  c.set_content(0, std::move(out));
}

}  // namespace fcc
