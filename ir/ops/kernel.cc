// Kernel: what fusion makes of a group of operators. Its body is a graph with one output; the backend turns each
// Kernel node into one loop nest. MatMulPacked: a matrix product whose right side is already in panels.
#include "ir/op.h"

namespace fcc {
namespace {

Status infer_kernel(InferContext& c) {
  if (!c.body) return c.fail("has no body");
  if (c.body->inputs().size() != c.n_in()) return c.fail("has " + std::to_string(c.n_in()) + " operands, its body " + std::to_string(c.body->inputs().size()));
  for (size_t k = 0; k < c.n_in(); ++k) {
    const TensorType& want = c.body->value(c.body->inputs()[k]).type;
    if (!c.has(k) || c.type(k) != want) return c.fail("operand " + std::to_string(k) + " is not the body's " + want.text());
  }
  for (size_t k = 0; k < c.n_out(); ++k) {
    const Value& v = c.body->value(c.body->outputs.at(k));
    c.set(k, v.type);
    c.out_contents[k] = v.content;
  }
  return {};
}

// A[..., M, K] x P[..., panels, K, nr] -> [..., M, n]: P holds B[K, n] as PackGemmB lays it out.
Status infer_matmul_packed(InferContext& c) {
  const int64_t n = c.attrs.integer("n");
  if (c.rank(0) < 2 || c.rank(1) < 3) return c.fail("wants A of rank >= 2 and packed B of rank >= 3");
  Dims batch_a(c.dims(0).begin(), c.dims(0).end() - 2), batch_b(c.dims(1).begin(), c.dims(1).end() - 3);
  std::optional<Dims> batch = broadcast(batch_a, batch_b);
  const SymExpr &ka = c.dims(0).back(), &kb = c.dims(1)[c.dims(1).size() - 2];
  if (!batch || (ka != kb && ka.is_constant() && kb.is_constant())) return c.fail("shapes do not fit a matrix product");
  if (ka != kb) c.assumed_equal.emplace_back(ka, kb);
  for (size_t d = 0; d < std::min(batch_a.size(), batch_b.size()); ++d) {
    const SymExpr &x = batch_a[batch_a.size() - 1 - d], &y = batch_b[batch_b.size() - 1 - d];
    if (x != y && !x.is(1) && !y.is(1)) c.assumed_equal.emplace_back(x, y);
  }
  batch->push_back(c.dims(0)[c.dims(0).size() - 2]);
  const Dims columns = c.attrs.dims("columns");
  batch->push_back(columns.empty() ? SymExpr(n) : columns[0]);
  c.set(0, c.dtype(0), *batch);
  return {};
}

void eval_matmul_packed(EvalContext& c) {
  const Tensor &a = *c.in[0], &b = *c.in[1];
  Tensor& y = c.out[0];
  const int64_t rank = y.rank(), m = y.shape()[static_cast<size_t>(rank - 2)], n = y.shape().back(), k = a.shape().back(), nr = b.shape().back();
  const int64_t panels = b.shape()[b.shape().size() - 3];
  const std::vector<double> av = a.to_doubles(), bv = b.to_doubles();
  std::vector<int64_t> batch(y.shape().begin(), y.shape().end() - 2);
  std::vector<int64_t> batch_a(a.shape().begin(), a.shape().end() - 2), batch_b(b.shape().begin(), b.shape().end() - 3);
  int64_t at = 0;
  auto offset = [&](std::span<const int64_t> own, std::span<const int64_t> index) {
    int64_t flat = 0;
    for (size_t d = 0; d < own.size(); ++d) flat = flat * own[d] + (own[d] == 1 ? 0 : index[index.size() - own.size() + d]);
    return flat;
  };
  for_each_index(batch, [&](std::span<const int64_t> index) {
    const double* pa = av.data() + offset(batch_a, index) * m * k;
    const double* pb = bv.data() + offset(batch_b, index) * panels * k * nr;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < k; ++p) sum += pa[i * k + p] * pb[(j / nr * k + p) * nr + j % nr];
        y.set_double(at++, sum);
      }
  });
}

loop::Expr define_matmul_packed(DefineContext& c, size_t, std::span<const loop::Expr> index) {
  using namespace loop;
  const int64_t nr = c.dims(1).back().constant();
  const size_t rank = index.size();
  auto batch_index = [&](size_t operand, size_t own) {
    std::vector<Expr> at;
    for (size_t d = 0; d < own; ++d) at.push_back(c.dims(operand)[d].is(1) ? loop::index(0) : index[rank - 2 - own + d]);
    return at;
  };
  std::vector<Expr> at_a = batch_index(0, static_cast<size_t>(c.rank(0) - 2)), at_b = batch_index(1, static_cast<size_t>(c.rank(1) - 3));
  at_a.push_back(index[rank - 2]);
  at_b.push_back(floordiv(index[rank - 1], loop::index(nr)));
  return c.reduce(ReduceOp::add, "k", c.dim(0, static_cast<size_t>(c.rank(0) - 1)), [&](Expr k) {
    std::vector<Expr> a = at_a, b = at_b;
    a.push_back(k);
    b.push_back(k);
    b.push_back(mod(index[rank - 1], loop::index(nr)));
    return c.in(0, a) * c.in(1, b);
  });
}

}  // namespace

void register_kernel(Registry& r) {
  r.add({.name = "Kernel", .doc = "a fused group of operators", .attrs = {{"what", AttrType::string}}, .in = {0, -1}, .out = {1, -1},
         .strategy = Strategy::kernel, .has_body = true, .infer = infer_kernel, .no_grad = "passes make it after gradients are taken"});
  r.add({.name = "MatMulPacked", .doc = "matrix product with a packed right side; n: its columns", .attrs = {{"n", AttrType::integer}, {"columns", AttrType::dims}},
         .in = {2, 2}, .out = {1, 1}, .strategy = Strategy::contraction, .infer = infer_matmul_packed, .eval = eval_matmul_packed, .define = define_matmul_packed, .no_grad = "passes make it after gradients are taken"});
}

}  // namespace fcc
