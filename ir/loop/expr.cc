#include "ir/loop/expr.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "ir/base/check.h"

namespace fcc::loop {

static constexpr std::string_view kUnaryNames[kUnaryCount] = {
    "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "sqrt", "reciprocal", "exp", "exp2", "expm1", "log", "log1p", "log2",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "sigmoid",
    "not", "bit_not", "is_nan", "is_inf"};
static constexpr std::string_view kBinaryNames[kBinaryCount] = {
    "add", "sub", "mul", "div", "floordiv", "mod", "rem", "min", "max", "pow", "and", "or", "xor", "bit_and", "bit_or", "bit_xor",
    "shl", "shr", "eq", "ne", "lt", "le", "gt", "ge", "atan2"};
static constexpr std::string_view kReduceNames[] = {"add", "mul", "min", "max", "and", "or"};

std::string_view name(UnaryOp op) { return kUnaryNames[static_cast<size_t>(op)]; }
std::string_view name(BinaryOp op) { return kBinaryNames[static_cast<size_t>(op)]; }
std::string_view name(ReduceOp op) { return kReduceNames[static_cast<size_t>(op)]; }

static std::vector<VarId> merge_free(const std::vector<Expr>& args) {
  std::vector<VarId> free;
  for (const Expr& a : args) {
    if (a->free.empty()) continue;
    if (free.empty()) {
      free = a->free;
      continue;
    }
    std::vector<VarId> merged;
    std::set_union(free.begin(), free.end(), a->free.begin(), a->free.end(), std::back_inserter(merged));
    free = std::move(merged);
  }
  return free;
}

static Expr finish(ExprNode n) {
  n.free = merge_free(n.args);
  return std::make_shared<const ExprNode>(std::move(n));
}

Expr constant(DType t, double v) {
  FCC_CHECK(t != DType::f16 && t != DType::bf16, "no expression has type {}", name(t));
  if (!is_float(t)) return constant_int(t, static_cast<int64_t>(v));
  ExprNode n{.kind = ExprKind::constant, .type = t};
  n.f = t == DType::f32 ? static_cast<double>(static_cast<float>(v)) : v;
  return finish(std::move(n));
}

// Wraps v to the width of an integer type.
static int64_t wrap(DType t, int64_t v) {
  switch (t) {
    case DType::i8: return static_cast<int8_t>(v);
    case DType::i16: return static_cast<int16_t>(v);
    case DType::i32: return static_cast<int32_t>(v);
    case DType::u8: return static_cast<uint8_t>(v);
    case DType::u16: return static_cast<uint16_t>(v);
    case DType::u32: return static_cast<uint32_t>(v);
    case DType::boolean: return v != 0;
    default: return v;
  }
}

Expr constant_int(DType t, int64_t v) {
  if (is_float(t)) return constant(t, static_cast<double>(v));
  ExprNode n{.kind = ExprKind::constant, .type = t};
  n.i = wrap(t, v);
  return finish(std::move(n));
}

Expr boolean(bool b) { return constant_int(DType::boolean, b); }

Expr var(VarId v, DType t) {
  ExprNode n{.kind = ExprKind::var, .type = t};
  n.var = v;
  n.free = {v};
  return std::make_shared<const ExprNode>(std::move(n));
}

Expr symbol(std::string_view s) {
  ExprNode n{.kind = ExprKind::symbol, .type = DType::i64};
  n.symbol = s;
  return finish(std::move(n));
}

static Expr from_atom(const SymAtom& a) {
  using K = SymAtom::Kind;
  if (a.kind == K::symbol) return symbol(a.name);
  std::vector<Expr> x;
  for (const SymExpr& e : a.args) x.push_back(from_sym(e));
  switch (a.kind) {
    case K::floordiv: return floordiv(x[0], x[1]);
    case K::mod: return mod(x[0], x[1]);
    case K::min: return min(x[0], x[1]);
    case K::max: return max(x[0], x[1]);
    case K::select_eq: return select(eq(x[0], x[1]), x[2], x[3]);
    case K::select_lt: return select(lt(x[0], x[1]), x[2], x[3]);
    case K::symbol: break;
  }
  FCC_UNREACHABLE();
}

Expr from_sym(const SymExpr& e) {
  if (e.is_constant()) return index(e.constant());
  Expr sum;
  for (const SymTerm& t : e.terms()) {
    Expr product;
    for (const SymAtomRef& a : t.atoms) product = product ? product * from_atom(*a) : from_atom(*a);
    product = product ? product * t.coefficient : index(t.coefficient);
    sum = sum ? sum + product : product;
  }
  return sum;
}

static Expr make_load(BufferId b, DType element, std::vector<Expr> args, bool guarded) {
  ExprNode n{.kind = ExprKind::load, .type = compute_type(element)};
  n.buffer = b;
  n.guarded = guarded;
  n.args = std::move(args);
  return finish(std::move(n));
}

Expr load(BufferId b, DType element, std::vector<Expr> indices) { return make_load(b, element, std::move(indices), false); }

Expr load_guarded(BufferId b, DType element, std::vector<Expr> indices, Expr guard, Expr otherwise) {
  FCC_CHECK(guard->type == DType::boolean && otherwise->type == compute_type(element), "guarded load of {}", name(element));
  if (is_constant(guard)) return guard->i ? load(b, element, std::move(indices)) : otherwise;
  indices.push_back(std::move(guard));
  indices.push_back(std::move(otherwise));
  return make_load(b, element, std::move(indices), true);
}

bool is_constant(const Expr& e) { return e->kind == ExprKind::constant; }
bool is_constant_int(const Expr& e, int64_t v) {
  if (!is_constant(e)) return false;
  return is_float(e->type) ? e->f == static_cast<double>(v) : e->i == v;
}
bool uses(const Expr& e, VarId v) { return std::binary_search(e->free.begin(), e->free.end(), v); }

Expr unary(UnaryOp op, Expr a) {
  const bool is_test = op == UnaryOp::is_nan || op == UnaryOp::is_inf || op == UnaryOp::logical_not;
  if (op == UnaryOp::neg && is_constant(a)) return is_float(a->type) ? constant(a->type, -a->f) : constant_int(a->type, -a->i);
  if (op == UnaryOp::logical_not) {
    FCC_CHECK(a->type == DType::boolean, "not of {}", name(a->type));
    if (is_constant(a)) return boolean(!a->i);
  }
  ExprNode n{.kind = ExprKind::unary, .type = is_test ? DType::boolean : a->type};
  n.unary = op;
  n.args = {std::move(a)};
  return finish(std::move(n));
}

static std::optional<int64_t> fold_int(BinaryOp op, int64_t a, int64_t b) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  switch (op) {
    case BinaryOp::add: return static_cast<int64_t>(ua + ub);
    case BinaryOp::sub: return static_cast<int64_t>(ua - ub);
    case BinaryOp::mul: return static_cast<int64_t>(ua * ub);
    case BinaryOp::floordiv: return floor_divide(a, b);
    case BinaryOp::mod: return b == 0 ? 0 : a - floor_divide(a, b) * b;
    case BinaryOp::min: return std::min(a, b);
    case BinaryOp::max: return std::max(a, b);
    case BinaryOp::logical_and: return a && b;
    case BinaryOp::logical_or: return a || b;
    case BinaryOp::eq: return a == b;
    case BinaryOp::ne: return a != b;
    case BinaryOp::lt: return a < b;
    case BinaryOp::le: return a <= b;
    case BinaryOp::gt: return a > b;
    case BinaryOp::ge: return a >= b;
    default: return std::nullopt;
  }
}

static bool is_comparison(BinaryOp op) { return op >= BinaryOp::eq && op <= BinaryOp::ge; }

// x+0, x*1, x*0 on ints, and/or with constants, (x+c1)+c2.
static Expr simplify(BinaryOp op, const Expr& a, const Expr& b) {
  const bool exact = !is_float(a->type);
  switch (op) {
    case BinaryOp::add:
      if (exact && is_constant_int(a, 0)) return b;
      if (exact && is_constant_int(b, 0)) return a;
      if (a->type == DType::i64 && is_constant(a) && !is_constant(b)) return binary(op, b, a);
      if (a->type == DType::i64 && is_constant(b) && a->kind == ExprKind::binary && a->binary == BinaryOp::add && is_constant(a->args[1]))
        return binary(op, a->args[0], index(a->args[1]->i + b->i));
      break;
    case BinaryOp::sub:
      if (exact && is_constant_int(b, 0)) return a;
      if (a->type == DType::i64 && is_constant(b)) return binary(BinaryOp::add, a, index(-b->i));
      break;
    case BinaryOp::mul:
      if (exact && (is_constant_int(a, 0) || is_constant_int(b, 0))) return constant_int(a->type, 0);
      if (is_constant_int(a, 1)) return b;
      if (is_constant_int(b, 1)) return a;
      if (a->type == DType::i64 && is_constant(a) && !is_constant(b)) return binary(op, b, a);
      if (a->type == DType::i64 && is_constant(b) && a->kind == ExprKind::binary && a->binary == BinaryOp::mul && is_constant(a->args[1]))
        return binary(op, a->args[0], index(a->args[1]->i * b->i));
      break;
    case BinaryOp::div:
    case BinaryOp::floordiv:
      if (is_constant_int(b, 1)) return a;
      break;
    case BinaryOp::mod:
      if (exact && is_constant_int(b, 1)) return constant_int(a->type, 0);
      break;
    case BinaryOp::logical_and:
      if (is_constant(a)) return a->i ? b : a;
      if (is_constant(b)) return b->i ? a : b;
      break;
    case BinaryOp::logical_or:
      if (is_constant(a)) return a->i ? a : b;
      if (is_constant(b)) return b->i ? b : a;
      break;
    default: break;
  }
  return nullptr;
}

Expr binary(BinaryOp op, Expr a, Expr b) {
  FCC_CHECK(a->type == b->type, "{} of {} and {}", name(op), name(a->type), name(b->type));
  const DType type = is_comparison(op) ? DType::boolean : a->type;
  if (is_constant(a) && is_constant(b) && !is_float(a->type) && (a->type == DType::i64 || a->type == DType::boolean))
    if (auto v = fold_int(op, a->i, b->i)) return constant_int(type, *v);
  if (Expr e = simplify(op, a, b)) return e;
  ExprNode n{.kind = ExprKind::binary, .type = type};
  n.binary = op;
  n.args = {std::move(a), std::move(b)};
  return finish(std::move(n));
}

Expr select(Expr c, Expr t, Expr e) {
  FCC_CHECK(c->type == DType::boolean && t->type == e->type, "select {} ? {} : {}", name(c->type), name(t->type), name(e->type));
  if (is_constant(c)) return c->i ? t : e;
  ExprNode n{.kind = ExprKind::select, .type = t->type};
  n.args = {std::move(c), std::move(t), std::move(e)};
  return finish(std::move(n));
}

Expr cast(DType t, Expr a) {
  if (t == a->type) return a;
  if (is_constant(a)) {
    if (is_float(t)) return constant(t, is_float(a->type) ? a->f : static_cast<double>(a->i));
    if (!is_float(a->type)) return constant_int(t, a->i);
  }
  ExprNode n{.kind = ExprKind::cast, .type = t};
  n.args = {std::move(a)};
  return finish(std::move(n));
}

Expr fma(Expr a, Expr b, Expr c) {
  FCC_CHECK(a->type == b->type && b->type == c->type && is_float(a->type), "fma of {}", name(a->type));
  ExprNode n{.kind = ExprKind::fma, .type = a->type};
  n.args = {std::move(a), std::move(b), std::move(c)};
  return finish(std::move(n));
}

Expr reduce(ReduceOp op, VarId v, Expr lo, Expr hi, Expr body, int32_t lanes, bool unroll) {
  ExprNode n{.kind = ExprKind::reduce, .type = body->type};
  n.reduce = op;
  n.var = v;
  n.lanes = lanes;
  n.unroll = unroll;
  n.args = {std::move(lo), std::move(hi), std::move(body)};
  n.free = merge_free(n.args);
  n.free.erase(std::remove(n.free.begin(), n.free.end(), v), n.free.end());
  return std::make_shared<const ExprNode>(std::move(n));
}

Expr operator+(Expr a, Expr b) { return binary(BinaryOp::add, std::move(a), std::move(b)); }
Expr operator-(Expr a, Expr b) { return binary(BinaryOp::sub, std::move(a), std::move(b)); }
Expr operator*(Expr a, Expr b) { return binary(BinaryOp::mul, std::move(a), std::move(b)); }
Expr operator/(Expr a, Expr b) { return binary(BinaryOp::div, std::move(a), std::move(b)); }
Expr operator-(Expr a) { return unary(UnaryOp::neg, std::move(a)); }
static Expr like(const Expr& a, int64_t v) { return constant_int(a->type, v); }
Expr operator+(Expr a, int64_t v) { Expr c = like(a, v); return std::move(a) + c; }
Expr operator-(Expr a, int64_t v) { Expr c = like(a, v); return std::move(a) - c; }
Expr operator*(Expr a, int64_t v) { Expr c = like(a, v); return std::move(a) * c; }

// ---- rewriting --------------------------------------------------------------------------------------------

static Expr rebuild(const Expr& e, std::vector<Expr> args) {
  switch (e->kind) {
    case ExprKind::unary: return unary(e->unary, args[0]);
    case ExprKind::binary: return binary(e->binary, args[0], args[1]);
    case ExprKind::select: return select(args[0], args[1], args[2]);
    case ExprKind::cast: return cast(e->type, args[0]);
    case ExprKind::fma: return fma(args[0], args[1], args[2]);
    case ExprKind::reduce: return reduce(e->reduce, e->var, args[0], args[1], args[2], e->lanes, e->unroll);
    case ExprKind::load: {
      ExprNode n = *e;
      n.args = std::move(args);
      if (n.guarded && is_constant(n.args[n.args.size() - 2])) {
        Expr otherwise = n.args.back(), guard = n.args[n.args.size() - 2];
        if (!guard->i) return otherwise;
        n.args.resize(n.args.size() - 2);
        n.guarded = false;
      }
      return finish(std::move(n));
    }
    default: return e;
  }
}

using Memo = std::unordered_map<const ExprNode*, Expr>;

static Expr substitute_memo(const Expr& e, std::span<const std::pair<VarId, Expr>> map, Memo& memo) {
  bool touched = false;
  for (const auto& [v, value] : map) touched |= uses(e, v);
  if (!touched) return e;
  if (e->kind == ExprKind::var) {
    for (const auto& [v, value] : map)
      if (v == e->var) return value;
  }
  if (auto it = memo.find(e.get()); it != memo.end()) return it->second;
  std::vector<Expr> args;
  for (const Expr& a : e->args) args.push_back(substitute_memo(a, map, memo));
  return memo[e.get()] = rebuild(e, std::move(args));
}

Expr substitute(const Expr& e, std::span<const std::pair<VarId, Expr>> map) {
  Memo memo;
  return substitute_memo(e, map, memo);
}

Expr substitute(const Expr& e, VarId v, const Expr& value) {
  std::pair<VarId, Expr> one{v, value};
  return substitute(e, {&one, 1});
}

std::optional<int64_t> linear_coefficient(const Expr& e, VarId v) {
  if (!uses(e, v)) return 0;
  if (e->kind == ExprKind::var) return 1;
  if (e->kind == ExprKind::unary && e->unary == UnaryOp::neg) {
    auto a = linear_coefficient(e->args[0], v);
    return a ? std::optional(-*a) : std::nullopt;
  }
  if (e->kind != ExprKind::binary) return std::nullopt;
  const Expr &x = e->args[0], &y = e->args[1];
  if (e->binary == BinaryOp::add || e->binary == BinaryOp::sub) {
    auto a = linear_coefficient(x, v), b = linear_coefficient(y, v);
    if (!a || !b) return std::nullopt;
    return e->binary == BinaryOp::add ? *a + *b : *a - *b;
  }
  if (e->binary == BinaryOp::mul && is_constant(y)) {
    auto a = linear_coefficient(x, v);
    return a ? std::optional(*a * y->i) : std::nullopt;
  }
  return std::nullopt;
}

bool same(const Expr& a, const Expr& b) {
  if (a == b) return true;
  if (!a || !b) return false;
  if (a->kind != b->kind || a->type != b->type || a->i != b->i || a->var != b->var || a->symbol != b->symbol || a->buffer != b->buffer ||
      a->unary != b->unary || a->binary != b->binary || a->reduce != b->reduce || a->lanes != b->lanes || a->unroll != b->unroll ||
      a->guarded != b->guarded || a->args.size() != b->args.size())
    return false;
  if (!(a->f == b->f || (std::isnan(a->f) && std::isnan(b->f))) || std::signbit(a->f) != std::signbit(b->f)) return false;
  for (size_t i = 0; i < a->args.size(); ++i)
    if (!same(a->args[i], b->args[i])) return false;
  return true;
}

}  // namespace fcc::loop
