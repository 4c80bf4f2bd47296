// FusedAttention: softmax(scale q k' + biases) v for every batch and head, as recognize_attention makes it of the
// MatMul, Softmax, MatMul that exporters write. Its operands are the tensors that the projections produce; where an
// element of q, k, v or the result lies is said by strides, so that the Transpose, Reshape, Split and Gather nodes
// between projection and product are gone.
//
//   s[b,h,i,j] = scale sum_d q[b,h,i,d] k[b,h/kv_group,j,d] + sum over biases of bias[b mod its extent, h, i, j]
//   y[b,h,i,e] = sum_j softmax_j(s[b,h,i,j]) v[b,h/kv_group,j,e]         causal: only j <= i counts
//
// b, i and j may be several axes (windows of an image: b is image, window row, window column; i a row and a column
// inside of the window), flattened in row-major order. Attributes:
//   batch, rows, columns   extents of the axes of b, i and j          heads = [H]
//   q, k, v, out           [offset, a stride for each axis of b, stride of h, a stride for each axis of i or j],
//                          in elements of the flat tensor; d and e have stride 1
//   shape                  of the result, which out must cover exactly once
// Biases broadcast to [b,h,i,j] from the right; the extent of axis 0 may also divide that of b (window masks).
// Nothing but q, k, v and biases is needed for a gradient: scores are recomputed.
#include "ir/ops/attention.h"

#include <cmath>

#include "ir/ops/numeric.h"

namespace fcc {

SymExpr AttentionShape::flat(const Dims& extents) {
  SymExpr n = 1;
  for (const SymExpr& e : extents) n = n * e;
  return n;
}

AttentionShape::AttentionShape(const Attrs& a)
    : batch(a.dims("batch")),
      rows(a.dims("rows")),
      columns(a.dims("columns")),
      heads(a.dims("heads").at(0)),
      kv_group(a.integer("kv_group", 1)),
      depth(a.integer("depth")),
      value_depth(a.integer("value_depth")),
      causal(a.flag("causal")),
      scale(a.number("scale", 1)) {
  const auto view = [&](std::string_view name, const Dims& own) {
    const Dims all = a.dims(name);
    FCC_CHECK(all.size() == 2 + batch.size() + own.size(), "{} has {} numbers", name, all.size());
    View v;
    v.offset = all[0];
    v.batch.assign(all.begin() + 1, all.begin() + 1 + static_cast<int64_t>(batch.size()));
    v.head = all[1 + batch.size()];
    v.rows.assign(all.begin() + 2 + static_cast<int64_t>(batch.size()), all.end());
    return v;
  };
  q = view("q", rows), k = view("k", columns), v = view("v", columns), out = view("out", rows);
}

Dims AttentionShape::dims_of(const View& v) {
  Dims all{v.offset};
  all.insert(all.end(), v.batch.begin(), v.batch.end());
  all.push_back(v.head);
  all.insert(all.end(), v.rows.begin(), v.rows.end());
  return all;
}

namespace {

using View = AttentionShape::View;

Status check_attributes(InferContext& c) {
  for (std::string_view name : {"batch", "rows", "columns", "q", "k", "v", "out", "heads"})
    if (c.attrs.dims(name).empty()) return c.fail("attribute " + std::string(name) + " is empty");
  const size_t nb = c.attrs.dims("batch").size();
  for (auto [name, rows] : {std::pair("q", "rows"), {"k", "columns"}, {"v", "columns"}, {"out", "rows"}})
    if (c.attrs.dims(name).size() != 2 + nb + c.attrs.dims(rows).size())
      return c.fail(std::string("attribute ") + name + " does not have a stride for every axis");
  if (c.attrs.integer("depth") < 1 || c.attrs.integer("value_depth") < 1) return c.fail("depth must be positive");
  if (c.attrs.integer("kv_group", 1) < 1) return c.fail("kv_group must be positive");
  return {};
}

// The last element that a view reaches lies inside of a tensor of so many elements; open sizes are not judged.
bool inside(const AttentionShape& s, const View& v, const Dims& rows, const SymExpr& heads, int64_t depth,
            const SymExpr& elements) {
  SymExpr last = v.offset + depth - 1 + (heads - 1) * v.head;
  for (size_t d = 0; d < s.batch.size(); ++d) last = last + (s.batch[d] - 1) * v.batch[d];
  for (size_t d = 0; d < rows.size(); ++d) last = last + (rows[d] - 1) * v.rows[d];
  const SymExpr all = AttentionShape::flat(s.batch) * AttentionShape::flat(rows) * heads;
  return !last.is_constant() || !elements.is_constant() || all.is(0) || last.constant() < elements.constant();
}

Status infer_attention(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "q"));
  for (size_t k = 1; k < c.n_in(); ++k) FCC_CHECKED(ops::require_same_type(c, k, "operand " + std::to_string(k)));
  FCC_CHECKED(check_attributes(c));
  const AttentionShape s(c.attrs);
  const TensorType result{c.dtype(0), c.attrs.dims("shape")};
  const SymExpr kv_heads = floordiv(s.heads, s.kv_group);
  if (!inside(s, s.q, s.rows, s.heads, s.depth, c.type(0).elements()) ||
      !inside(s, s.k, s.columns, kv_heads, s.depth, c.type(1).elements()) ||
      !inside(s, s.v, s.columns, kv_heads, s.value_depth, c.type(2).elements()) ||
      !inside(s, s.out, s.rows, s.heads, s.value_depth, result.elements()))
    return c.fail("a view leaves its tensor");
  for (size_t k = 3; k < c.n_in(); ++k)
    if (c.rank(k) > 4) return c.fail("a bias has rank " + std::to_string(c.rank(k)) + ", expected at most 4");
  c.set(0, result);
  return {};
}

// Numbers in place of expressions, for the interpreter: every size is known there.
struct HostView {
  int64_t offset = 0, head = 0;
  std::vector<int64_t> batch, rows;
  int64_t at(std::span<const int64_t> b, int64_t h, std::span<const int64_t> r) const {
    int64_t p = offset + h * head;
    for (size_t d = 0; d < b.size(); ++d) p += b[d] * batch[d];
    for (size_t d = 0; d < r.size(); ++d) p += r[d] * rows[d];
    return p;
  }
};
std::vector<int64_t> numbers_of(const Dims& dims) {
  std::vector<int64_t> v;
  for (const SymExpr& d : dims) v.push_back(d.constant());
  return v;
}
HostView host(const View& v) {
  return {v.offset.constant(), v.head.constant(), numbers_of(v.batch), numbers_of(v.rows)};
}

std::vector<std::vector<int64_t>> indices_of(const std::vector<int64_t>& extents) {
  std::vector<std::vector<int64_t>> all;
  for_each_index(extents, [&](std::span<const int64_t> i) { all.emplace_back(i.begin(), i.end()); });
  return all;
}

struct HostBias {
  std::vector<double> x;
  std::vector<int64_t> shape;  // of rank 4
  double at(size_t b, int64_t h, size_t i, size_t j) const {
    const auto n = [&](size_t d) { return static_cast<size_t>(shape[d]); };
    const size_t hh = n(1) == 1 ? 0 : static_cast<size_t>(h), ii = n(2) == 1 ? 0 : i, jj = n(3) == 1 ? 0 : j;
    return x[((b % n(0) * n(1) + hh) * n(2) + ii) * n(3) + jj];
  }
};

void eval_attention(EvalContext& c) {
  const AttentionShape s(c.attrs);
  const std::vector<double> q = c.in[0]->to_doubles(), k = c.in[1]->to_doubles(), v = c.in[2]->to_doubles();
  const HostView qv = host(s.q), kv = host(s.k), vv = host(s.v), ov = host(s.out);
  // Scores are rounded where the operators that they replace do: a bias of 1e4 leaves steps of 1e-3.
  const bool single = c.out[0].dtype() == DType::f32;
  const auto rounded = [&](double x) { return single ? static_cast<double>(static_cast<float>(x)) : x; };
  std::vector<HostBias> biases;
  for (size_t o = 3; o < c.in.size(); ++o) {
    std::vector<int64_t> shape = c.in[o]->shape();
    while (shape.size() < 4) shape.insert(shape.begin(), 1);
    biases.push_back({c.in[o]->to_doubles(), shape});
  }
  const auto batches = indices_of(numbers_of(s.batch)), rows = indices_of(numbers_of(s.rows)),
             columns = indices_of(numbers_of(s.columns));
  std::vector<double> out(static_cast<size_t>(c.out[0].elements()), 0.0), p(columns.size());
  for (size_t b = 0; b < batches.size(); ++b)
    for (int64_t h = 0; h < s.heads.constant(); ++h)
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t kh = h / s.kv_group, at_q = qv.at(batches[b], h, rows[i]);
        double top = -HUGE_VAL, sum = 0;
        const size_t n = s.causal ? std::min(i + 1, columns.size()) : columns.size();
        for (size_t j = 0; j < n; ++j) {
          const int64_t at_k = kv.at(batches[b], kh, columns[j]);
          p[j] = 0;
          for (int64_t d = 0; d < s.depth; ++d)
            p[j] += q[static_cast<size_t>(at_q + d)] * k[static_cast<size_t>(at_k + d)];
          p[j] = rounded(p[j] * s.scale);
          for (const HostBias& bias : biases) p[j] = rounded(p[j] + bias.at(b, h, i, j));
          top = std::isnan(p[j]) || p[j] > top ? p[j] : top;
        }
        for (size_t j = 0; j < n; ++j) sum += p[j] = std::exp(p[j] - top);
        const auto at_out = static_cast<size_t>(ov.at(batches[b], h, rows[i]));
        for (size_t j = 0; j < n; ++j) {
          const auto at_v = static_cast<size_t>(vv.at(batches[b], kh, columns[j]));
          for (size_t e = 0; e < static_cast<size_t>(s.value_depth); ++e) out[at_out + e] += p[j] / sum * v[at_v + e];
        }
      }
  ops::store(c.out[0], out);
}

}  // namespace

void register_attention(Registry& r) {
  r.add({.name = "FusedAttention",
         .doc = "softmax(scale q k' + biases) v for every batch and head, each where strides say",
         .attrs = {{"batch", AttrType::dims, true},
                   {"rows", AttrType::dims, true},
                   {"columns", AttrType::dims, true},
                   {"heads", AttrType::dims, true},
                   {"kv_group", AttrType::integer},
                   {"depth", AttrType::integer, true},
                   {"value_depth", AttrType::integer, true},
                   {"q", AttrType::dims, true},
                   {"k", AttrType::dims, true},
                   {"v", AttrType::dims, true},
                   {"out", AttrType::dims, true},
                   {"shape", AttrType::dims, true},
                   {"scale", AttrType::number},
                   {"causal", AttrType::integer}},
         .in = {3, -1},
         .out = {1, 1},
         .infer = infer_attention,
         .eval = eval_attention,
         .no_grad = "passes make it after gradients are taken"});
}

}  // namespace fcc
