#include "ir/ops/numeric.h"

#include "ir/loop/scalar.h"
#include "ir/ops/pointwise_content.h"

namespace fcc::ops {

// ---- infer ------------------------------------------------------------------------------------------------

Status require_type(const InferContext& c, size_t k, const TypeSet& set, std::string_view operand_name) {
  if (!c.has(k)) return c.fail(std::string(operand_name) + " is missing");
  if (set.has(c.dtype(k))) return {};
  return c.fail(
      std::string(operand_name) + " is " + std::string(name(c.dtype(k))) + ", expected " + std::string(set.text),
      "convert it with a Cast first");
}

Status require_same_type(const InferContext& c, size_t k, std::string_view operand_name) {
  if (!c.has(k) || c.dtype(k) == c.dtype(0)) return {};
  return c.fail(std::string(operand_name) + " is " + std::string(name(c.dtype(k))) + ", operand 0 is " +
                    std::string(name(c.dtype(0))),
                "both must have one element type; convert one with a Cast");
}

bool clash(const SymExpr& a, const SymExpr& b) {
  const SymExpr difference = a - b;
  return difference.provably_positive() || (-difference).provably_positive();
}

const SymExpr& better_known(const SymExpr& a, const SymExpr& b) {
  return !a.is_constant() && b.is_constant() ? b : a;
}

void assume_broadcast(InferContext& c, const Dims& out, const Dims& operand) {
  const size_t lead = out.size() - operand.size();
  for (size_t d = 0; d < operand.size(); ++d) {
    const SymExpr &x = out[lead + d], &y = operand[d];
    if (x != y && !y.is(1)) c.assumed_equal.emplace_back(x, y);
  }
}

Status broadcast_operands(InferContext& c, DType result) {
  Dims dims = c.dims(0);
  for (size_t k = 1; k < c.n_in(); ++k) {
    if (!c.has(k)) continue;
    std::optional<Dims> wider = broadcast(dims, c.dims(k));
    if (!wider)
      return c.fail(
          "operand " + std::to_string(k) + " with shape " + text(c.dims(k)) + " does not broadcast to " + text(dims),
          "every pair of extents, aligned at the right, must be equal or contain a 1");
    dims = std::move(*wider);
  }
  for (size_t k = 0; k < c.n_in(); ++k)
    if (c.has(k)) assume_broadcast(c, dims, c.dims(k));
  c.set(0, result, std::move(dims));
  if (c.op.formula) propagate_pointwise_content(c);
  return {};
}

// ---- eval -------------------------------------------------------------------------------------------------

void store(Tensor& t, std::span<const double> v) {
  if (is_float(t.dtype())) {
    for (size_t i = 0; i < v.size(); ++i) t.set_double(static_cast<int64_t>(i), v[i]);
    return;
  }
  const loop::UnaryFn convert = loop::cast_function(t.dtype(), DType::f64);
  for (size_t i = 0; i < v.size(); ++i) t.set_int(static_cast<int64_t>(i), convert(loop::float_value(v[i])).i);
}
void store(Tensor& t, std::span<const int64_t> v) {
  for (size_t i = 0; i < v.size(); ++i) t.set_int(static_cast<int64_t>(i), v[i]);
}
void store(Tensor& t, std::span<const uint64_t> v) {
  for (size_t i = 0; i < v.size(); ++i) t.set_int(static_cast<int64_t>(i), static_cast<int64_t>(v[i]));
}

Lines::Lines(std::span<const int64_t> shape, int64_t axis) : n(shape[static_cast<size_t>(axis)]) {
  for (size_t d = 0; d < shape.size(); ++d) {
    if (static_cast<int64_t>(d) < axis) outer *= shape[d];
    if (static_cast<int64_t>(d) > axis) inner *= shape[d];
  }
}

std::vector<int64_t> broadcast_strides(std::span<const int64_t> operand, size_t result_rank) {
  std::vector<int64_t> out(result_rank, 0);
  const std::vector<int64_t> own = strides_of(operand);
  for (size_t d = 0; d < own.size(); ++d)
    if (operand[d] != 1) out[result_rank - own.size() + d] = own[d];
  return out;
}

void for_each_strided(std::span<const int64_t> shape, std::span<const int64_t> strides,
                      const std::function<void(size_t, size_t)>& visit) {
  const int64_t total = fcc::product(shape);
  std::vector<int64_t> index(shape.size(), 0);
  int64_t offset = 0;
  for (int64_t flat = 0; flat < total; ++flat) {
    visit(static_cast<size_t>(flat), static_cast<size_t>(offset));
    for (size_t d = shape.size(); d-- > 0;) {
      offset += strides[d];
      if (++index[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

// ---- define -----------------------------------------------------------------------------------------------

std::vector<loop::Expr> replaced(std::span<const loop::Expr> index, int64_t axis, loop::Expr value) {
  std::vector<loop::Expr> out(index.begin(), index.end());
  out.at(static_cast<size_t>(axis)) = std::move(value);
  return out;
}

loop::Expr reduce_over(DefineContext& c, loop::ReduceOp op, std::span<const loop::Expr> extents,
                       const std::function<loop::Expr(std::span<const loop::Expr>)>& body) {
  std::vector<loop::Expr> vars;
  for (size_t i = 0; i < extents.size(); ++i) vars.push_back(loop::var(c.fresh_var("r")));
  loop::Expr e = body(vars);
  for (size_t i = extents.size(); i-- > 0;)
    e = loop::reduce(op, vars[i]->var, loop::index(0), extents[i], std::move(e));
  return e;
}

loop::Expr product(std::span<const loop::Expr> extents) {
  loop::Expr p = loop::index(1);
  for (const loop::Expr& e : extents) p = p * e;
  return p;
}

void fault_if(DefineContext& c, loop::Expr condition, std::string_view text) {
  if (loop::is_constant(condition) && !condition->i) return;
  c.fault_if(std::move(condition), std::string(text));
}

void require_equal(DefineContext& c, const SymExpr& a, const SymExpr& b, std::string_view text) {
  if (a == b) return;
  fault_if(c, loop::binary(loop::BinaryOp::ne, loop::from_sym(a), loop::from_sym(b)), text);
}

}  // namespace fcc::ops
