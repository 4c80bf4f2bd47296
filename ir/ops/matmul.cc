// MatMul and Gemm. The contraction strategy makes them fast; define is the general form.
#include <numeric>

#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using In = std::span<const Expr>;

// ---- MatMul ---------------------------------------------------------------------------------------------------
// NumPy: a vector on the left is a row, on the right a column, and its axis is dropped from the result.

const SymExpr& left_k(const Dims& a) {
  return a.back();
}
const SymExpr& right_k(const Dims& b) {
  return b.size() == 1 ? b[0] : b[b.size() - 2];
}
Dims batch_of(const Dims& d) {
  return d.size() <= 2 ? Dims{} : Dims(d.begin(), d.end() - 2);
}

Status infer_matmul(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the left operand"));
  FCC_CHECKED(ops::require_same_type(c, 1, "the right operand"));
  for (size_t k = 0; k < 2; ++k)
    if (c.rank(k) == 0)
      return c.fail(std::string(k ? "the right" : "the left") + " operand is a scalar",
                    "multiply by a scalar with Mul");
  const Dims &a = c.dims(0), &b = c.dims(1);
  if (ops::clash(left_k(a), right_k(b)))
    return c.fail("the left operand has " + left_k(a).text() + " columns, the right has " + right_k(b).text() + " rows",
                  "the inner extents must agree: [..,m,k] x [..,k,n]");
  std::optional<Dims> out = broadcast(batch_of(a), batch_of(b));
  if (!out)
    return c.fail("batch shapes " + text(batch_of(a)) + " and " + text(batch_of(b)) + " do not broadcast",
                  "all extents but the last two must be equal or 1, aligned at the right");
  ops::assume_broadcast(c, *out, batch_of(a));
  ops::assume_broadcast(c, *out, batch_of(b));
  if (!(left_k(a) == right_k(b))) c.assumed_equal.emplace_back(left_k(a), right_k(b));
  if (a.size() > 1) out->push_back(a[a.size() - 2]);
  if (b.size() > 1) out->push_back(b.back());
  c.set(0, c.dtype(0), std::move(*out));
  return {};
}

// out[m,n] += a[m,k] b[k,n], in the order that walks rows.
template <class T>
void multiply_add(const T* a, const T* b, T* out, int64_t m, int64_t n, int64_t k_count) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t k = 0; k < k_count; ++k) {
      const T x = a[i * k_count + k];
      const T* row = b + k * n;
      T* sums = out + i * n;
      for (int64_t j = 0; j < n; ++j) sums[j] = ops::plus(sums[j], ops::times(x, row[j]));
    }
}

// Strides of an operand's batch axes along the result's batch shape: 0 where broadcast.
std::vector<int64_t> batch_strides(const std::vector<int64_t>& shape, size_t batch_rank) {
  std::vector<int64_t> out(batch_rank, 0), own = strides_of(shape);
  if (shape.size() <= 2) return out;
  const size_t own_rank = shape.size() - 2;
  for (size_t d = 0; d < own_rank; ++d)
    if (shape[d] != 1) out[batch_rank - own_rank + d] = own[d];
  return out;
}

void eval_matmul(EvalContext& c) {
  const std::vector<int64_t>&a = c.in[0]->shape(), &b = c.in[1]->shape(), &out = c.out[0].shape();
  const int64_t m = a.size() > 1 ? a[a.size() - 2] : 1, n = b.size() > 1 ? b.back() : 1, k = a.back();
  const size_t dropped = (a.size() > 1) + (b.size() > 1);
  const std::vector<int64_t> batch(out.begin(), out.end() - static_cast<int64_t>(dropped));
  const std::vector<int64_t> a_strides = batch_strides(a, batch.size()), b_strides = batch_strides(b, batch.size());
  ops::with_number(c.in[0]->dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> x = ops::numbers<T>(*c.in[0]), y = ops::numbers<T>(*c.in[1]);
    std::vector<T> z(static_cast<size_t>(c.out[0].elements()), T{0});
    int64_t done = 0;
    for_each_index(batch, [&](std::span<const int64_t> index) {
      int64_t at_a = 0, at_b = 0;
      for (size_t d = 0; d < index.size(); ++d) at_a += index[d] * a_strides[d], at_b += index[d] * b_strides[d];
      multiply_add(x.data() + at_a, y.data() + at_b, z.data() + done++ * m * n, m, n, k);
    });
    ops::store(c.out[0], z);
  });
}

Expr define_matmul(DefineContext& c, size_t, In index) {
  const Dims &a = c.dims(0), &b = c.dims(1);
  ops::require_equal(c, left_k(a), right_k(b), "the inner extents of a matrix product differ");
  const size_t kept = (a.size() > 1) + (b.size() > 1), batch_rank = index.size() - kept;
  const In batch = index.first(batch_rank);
  std::vector<Expr> at_a = broadcast_index(batch_of(a), batch), at_b = broadcast_index(batch_of(b), batch);
  if (a.size() > 1) at_a.push_back(index[batch_rank]);
  return c.reduce(ReduceOp::add, "k", loop::from_sym(ops::better_known(left_k(a), right_k(b))), [&](Expr k) {
    at_a.push_back(k);
    at_b.push_back(k);
    if (b.size() > 1) at_b.push_back(index.back());
    return c.in(0, at_a) * c.in(1, at_b);
  });
}

// ---- Gemm: alpha A' B' + beta C -------------------------------------------------------------------------------

struct GemmDims {
  SymExpr m, k, weight_k, n;
};
GemmDims gemm_dims(const Attrs& attrs, const Dims& a, const Dims& b) {
  const bool ta = attrs.flag("transA"), tb = attrs.flag("transB");
  return {a[ta ? 1 : 0], a[ta ? 0 : 1], b[tb ? 1 : 0], b[tb ? 0 : 1]};
}

Status check_gemm_bias(InferContext& c, const Dims& out) {
  if (!c.has(2)) return {};
  FCC_CHECKED(ops::require_same_type(c, 2, "the bias"));
  const Dims& bias = c.dims(2);
  bool fits = bias.size() <= 2;
  for (size_t d = 0; fits && d < bias.size(); ++d)
    fits = bias[d].is(1) || !ops::clash(bias[d], out[2 - bias.size() + d]);
  if (fits) return {};
  return c.fail("the bias has shape " + text(bias) + ", the result is " + text(out),
                "the bias must broadcast to the result; usually it is [" + out[1].text() + "]");
}

Status infer_gemm(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the input"));
  FCC_CHECKED(ops::require_same_type(c, 1, "the weight"));
  for (size_t k = 0; k < 2; ++k)
    if (c.rank(k) != 2)
      return c.fail(std::string(k ? "the weight" : "the input") + " has rank " + std::to_string(c.rank(k)) +
                        ", expected a matrix",
                    c.rank(k) > 2 ? "put a Flatten (axis=1) before it, or use MatMul, which takes any rank"
                                  : "give it two axes with Unsqueeze or Reshape");
  const GemmDims g = gemm_dims(c.attrs, c.dims(0), c.dims(1));
  if (ops::clash(g.k, g.weight_k))
    return c.fail(
        "the input has " + g.k.text() + " features, the weight wants " + g.weight_k.text(),
        std::string("the input must be ") +
            (c.attrs.flag("transA") ? "[" + g.weight_k.text() + ",M] (transA=1)" : "[M," + g.weight_k.text() + "]") +
            "; check the sizes in front of it, or transB");
  const Dims out{g.m, g.n};
  FCC_CHECKED(check_gemm_bias(c, out));
  if (!(g.k == g.weight_k)) c.assumed_equal.emplace_back(g.k, g.weight_k);
  if (c.has(2)) ops::assume_broadcast(c, out, c.dims(2));
  c.set(0, c.dtype(0), out);
  return {};
}

template <class T>
T scaled(double factor, T x) {
  if (factor == 1) return x;
  if constexpr (std::is_same_v<T, double>) return factor * x;
  return static_cast<T>(static_cast<int64_t>(factor * static_cast<double>(x)));
}

// The elements of a matrix, row by row, transposed when asked.
template <class T>
std::vector<T> matrix(const Tensor& t, bool transpose) {
  std::vector<T> v = ops::numbers<T>(t);
  if (!transpose) return v;
  const auto rows = static_cast<size_t>(t.shape()[0]), columns = static_cast<size_t>(t.shape()[1]);
  std::vector<T> out(v.size());
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) out[j * rows + i] = v[i * columns + j];
  return out;
}

void eval_gemm(EvalContext& c) {
  const bool ta = c.attrs.flag("transA"), tb = c.attrs.flag("transB");
  const int64_t m = c.out[0].shape()[0], n = c.out[0].shape()[1], k = c.in[0]->shape()[ta ? 0 : 1];
  const double alpha = c.attrs.number("alpha", 1), beta = c.attrs.number("beta", 1);
  ops::with_number(c.in[0]->dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> x = matrix<T>(*c.in[0], ta), y = matrix<T>(*c.in[1], tb);
    std::vector<T> z(static_cast<size_t>(m * n), T{0});
    multiply_add(x.data(), y.data(), z.data(), m, n, k);
    for (T& v : z) v = scaled(alpha, v);
    if (c.has(2)) {
      const std::vector<T> bias = ops::numbers<T>(*c.in[2]);
      ops::for_each_strided(c.out[0].shape(), ops::broadcast_strides(c.in[2]->shape(), 2),
                            [&](size_t i, size_t o) { z[i] = ops::plus(z[i], scaled(beta, bias[o])); });
    }
    ops::store(c.out[0], z);
  });
}

Expr scaled_expr(double factor, Expr x) {
  if (factor == 1) return x;
  if (is_float(x->type)) return x * ops::number(x, factor);
  return loop::cast(x->type, loop::cast(DType::f64, x) * loop::constant(DType::f64, factor));
}

Expr define_gemm(DefineContext& c, size_t, In index) {
  const bool ta = c.attrs->flag("transA"), tb = c.attrs->flag("transB");
  const GemmDims g = gemm_dims(*c.attrs, c.dims(0), c.dims(1));
  ops::require_equal(c, g.k, g.weight_k, "the input's features are not those of the weight");
  const Expr &i = index[0], &j = index[1];
  Expr sum = c.reduce(ReduceOp::add, "k", loop::from_sym(ops::better_known(g.k, g.weight_k)), [&](Expr k) {
    const Expr at_a[] = {ta ? k : i, ta ? i : k}, at_b[] = {tb ? j : k, tb ? k : j};
    return c.in(0, at_a) * c.in(1, at_b);
  });
  sum = scaled_expr(c.attrs->number("alpha", 1), sum);
  return c.has(2) ? sum + scaled_expr(c.attrs->number("beta", 1), c.in_broadcast(2, index)) : sum;
}

// ---- gradients ------------------------------------------------------------------------------------------------

Term transposed(GradBuilder& b, Term x) {
  std::vector<int64_t> perm(x.type().dims.size());
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return b.transpose(x, std::move(perm));
}
// All axes but the last as one.
Term rows(GradBuilder& b, Term x) {
  const Dims dims = x.type().dims;
  SymExpr n = 1;
  for (size_t d = 0; d + 1 < dims.size(); ++d) n = n * dims[d];
  return b.reshape(x, {n, dims.back()});
}

// dA = dY B', dB = A' dY. Batches over one right matrix are rows of one product, so that the sum over the batch is the
// product's own.
Result<std::vector<ValueId>> grad_matmul(GradBuilder& b, const Node&, std::span<const ValueId>) {
  const Dims a = b.dims(0), w = b.dims(1);
  Term x = b.in(0), y = b.in(1), d = b.dy();
  if (a.size() == 1) x = b.reshape(x, {1, a[0]});
  if (w.size() == 1) y = b.reshape(y, {w[0], 1});
  Dims full = d.type().dims;  // with the axes that a vector drops
  if (w.size() == 1) full.emplace_back(1);
  if (a.size() == 1) full.insert(full.end() - 1, 1);
  d = b.reshape(d, full);
  b.give(0, [&] {
    const Term g = b.node("MatMul", {d, transposed(b, y)});
    return a.size() == 1 ? b.reshape(b.sum_to(g, {1, a[0]}), a) : g;
  });
  b.give(1, [&] {
    if (w.size() <= 2 && a.size() > 2)
      return b.reshape(b.node("MatMul", {transposed(b, rows(b, x)), rows(b, d)}), w);
    const Term g = b.node("MatMul", {transposed(b, x), d});
    return w.size() == 1 ? b.reshape(b.sum_to(g, {w[0], 1}), w) : g;
  });
  return b.done();
}

// With A' = A or its transpose: dA' = alpha dY B'', dB' = alpha A'' dY, dC = beta dY.
Result<std::vector<ValueId>> grad_gemm(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  const bool ta = n.attrs.flag("transA"), tb = n.attrs.flag("transB");
  const auto product = [&](Term x, bool tx, Term y, bool ty) {
    return b.node("Gemm", {x, y},
                  {{"alpha", n.attrs.number("alpha", 1)}, {"transA", int64_t{tx}}, {"transB", int64_t{ty}}});
  };
  const Term d = b.dy();
  b.give(0, [&] { return ta ? product(b.in(1), tb, d, true) : product(d, false, b.in(1), !tb); });
  b.give(1, [&] { return tb ? product(d, true, b.in(0), ta) : product(b.in(0), !ta, d, false); });
  b.give(2, [&] {
    const double beta = n.attrs.number("beta", 1);
    return beta == 1 ? d : d * beta;
  });
  return b.done();
}

}  // namespace

void register_matmul(Registry& r) {
  r.add({.name = "MatMul",
         .doc = "matrix product with NumPy's broadcasting of the leading axes",
         .in = {2, 2},
         .out = {1, 1},
         .strategy = Strategy::contraction,
         .infer = infer_matmul,
         .eval = eval_matmul,
         .define = define_matmul,
         .grad = grad_matmul});
  r.add({.name = "Gemm",
         .doc = "alpha A' B' + beta C, where ' is a transpose when asked",
         .attrs = {{"alpha", AttrType::number},
                   {"beta", AttrType::number},
                   {"transA", AttrType::integer},
                   {"transB", AttrType::integer}},
         .in = {2, 3},
         .out = {1, 1},
         .strategy = Strategy::contraction,
         .infer = infer_gemm,
         .eval = eval_gemm,
         .define = define_gemm,
         .grad = grad_gemm});
}

}  // namespace fcc
