// FusedAttention(x Wq + bq, x Wk + bk, x Wv + bv) → FusedAttention over x [Wq Wk Wv] + [bq bk bv]: one product with
// three times the columns reads x once, and one step replaces three. Only for projections that nothing else reads;
// keys and values of another sequence merge by themselves.
#include <algorithm>

#include "ir/op.h"
#include "ir/ops/attention.h"
#include "passes/graph/projection.h"
#include "passes/graph/strided_view.h"
#include "passes/manager.h"

namespace fcc {
namespace {

// Strides over rows of `from` elements become strides over rows of `to`; those inside of a row stay.
std::optional<AttentionShape::View> widened(const AttentionShape::View& v, int64_t from, int64_t to, int64_t at) {
  AttentionShape::View out = v;
  const auto stride = [&](SymExpr& s) {
    if (const auto rows = divide_exactly(s, from)) {
      s = *rows * to;
      return true;
    }
    return s.is_constant() && s.constant() < from;
  };
  bool good = v.offset.is_constant() && v.offset.constant() < from && stride(out.head);
  for (SymExpr& s : out.batch) good = good && stride(s);
  for (SymExpr& s : out.rows) good = good && stride(s);
  out.offset = v.offset + at;
  return good ? std::optional(std::move(out)) : std::nullopt;
}

class Merger {
 public:
  Merger(Graph& g, NodeId id) : g_(g), id_(id), shape_(g.node(id).attrs) {}

  Result<bool> run() {
    const Node n = g_.node(id_);
    for (size_t k = 0; k < 3; ++k) {
      parts_[k] = projection(g_, n.in[k]);
      const auto& users = g_.users(n.in[k]);
      const bool only_here =
          !g_.is_output(n.in[k]) && std::all_of(users.begin(), users.end(), [&](NodeId u) { return u == id_; });
      if (!only_here) parts_[k].reset();
    }
    bool changed = false;
    for (const auto& which : {std::vector<size_t>{0, 1, 2}, {1, 2}, {0, 1}, {0, 2}}) {
      FCC_TRY(bool done, merge(which));
      changed |= done;
      if (done) break;
    }
    return changed;
  }

 private:
  AttentionShape::View& view(size_t k) { return k == 0 ? shape_.q : k == 1 ? shape_.k : shape_.v; }
  int64_t columns(size_t k) const { return g_.value(parts_[k]->weight).type.dims[1].constant(); }

  Result<bool> merge(const std::vector<size_t>& which) {
    const Node n = g_.node(id_);
    for (size_t i = 0; i < which.size(); ++i) {
      if (!parts_[which[i]] || parts_[which[i]]->x != parts_[which[0]]->x) return false;
      for (size_t j = 0; j < i; ++j)
        if (n.in[which[i]] == n.in[which[j]]) return false;
    }
    int64_t total = 0;
    for (size_t k : which) total += columns(k);
    std::vector<AttentionShape::View> views;
    for (int64_t at = 0; size_t k : which) {
      const auto v = widened(view(k), columns(k), total, at);
      if (!v) return false;
      views.push_back(*v);
      at += columns(k);
    }
    const ValueId x = parts_[which[0]]->x;
    g_.set_insert_point(id_);
    GraphBuilder b(g_, g_.node(parts_[which[0]]->product).loc);
    ValueId y =
        b("MatMul", {x, b.constant(weights(which, total), g_.value(parts_[which[0]]->weight).name + ".merged")});
    if (std::any_of(which.begin(), which.end(), [&](size_t k) { return parts_[k]->bias != kNoValue; }))
      y = b("Add", {y, b.constant(biases(which, total), "bias.merged")});
    std::vector<ValueId> in = n.in;
    Attrs attrs = n.attrs;
    static constexpr const char* kNames[] = {"q", "k", "v"};
    for (size_t i = 0; i < which.size(); ++i) {
      in[which[i]] = y;
      attrs.set(kNames[which[i]], AttentionShape::dims_of(views[i]));
    }
    const ValueId out = b("FusedAttention", std::move(in), std::move(attrs));
    g_.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g_.replace_uses(n.out[0], out);
    g_.erase(id_);
    return true;
  }

  Tensor weights(const std::vector<size_t>& which, int64_t total) const {
    const int64_t rows = g_.value(parts_[which[0]]->weight).type.dims[0].constant();
    Tensor w(DType::f32, {rows, total});
    for (int64_t at = 0; size_t k : which) {
      const Tensor& from = g_.value(parts_[k]->weight).data;
      const int64_t n = columns(k);
      for (int64_t r = 0; r < rows; ++r)
        std::copy_n(from.as<float>().begin() + r * n, n, w.as<float>().begin() + r * total + at);
      at += n;
    }
    return w;
  }

  Tensor biases(const std::vector<size_t>& which, int64_t total) const {
    Tensor w(DType::f32, {total});
    for (int64_t at = 0; size_t k : which) {
      const int64_t n = columns(k);
      if (parts_[k]->bias != kNoValue) {
        const Tensor& from = g_.value(parts_[k]->bias).data;
        for (int64_t i = 0; i < n; ++i)
          w.as<float>()[static_cast<size_t>(at + i)] =
              from.as<float>()[from.elements() == 1 ? 0 : static_cast<size_t>(i)];
      }
      at += n;
    }
    return w;
  }

  Graph& g_;
  NodeId id_;
  AttentionShape shape_;
  std::optional<Projection> parts_[3];
};

}  // namespace

Result<bool> merge_projections(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    if (g.node(id).dead || g.node(id).op->name != "FusedAttention") continue;
    FCC_TRY(bool done, Merger(g, id).run());
    changed |= done;
  }
  return changed;
}

}  // namespace fcc
