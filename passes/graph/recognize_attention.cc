// MatMul(Softmax(MatMul(q, k') scale + biases), v) → FusedAttention, reading q, k and v where their projections write
// them and writing where the next projection reads. Which elements those are is found by walking the Transpose,
// Reshape, Split, Slice and Gather nodes between (strided_view.h). Rows may be permuted on the far side of a
// projection, since that commutes with it: MatMul(permute(x), W) = permute(MatMul(x, W)).
// Not when anything else reads the scores or the probabilities, when a stride along the depth is not 1, or for types
// other than f32.
#include <algorithm>
#include <map>
#include <set>

#include "ir/op.h"
#include "ir/ops/attention.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/match.h"
#include "passes/graph/projection.h"
#include "passes/graph/strided_view.h"
#include "passes/manager.h"

namespace fcc {
namespace {

// An operand of the products: elements of `source` by atoms, times a number.
struct Operand {
  ValueId source = kNoValue;
  StridedView view{Dims{}};
  double scale = 1;
};

class Recognizer {
 public:
  explicit Recognizer(Graph& g) : g_(g) {}

  Result<bool> run() {
    bool changed = false;
    for (NodeId id : g_.order()) {
      if (g_.node(id).dead || g_.node(id).op->name != "MatMul") continue;
      FCC_TRY(bool done, recognize(id));
      changed |= done;
      if (done) g_.erase_dead();
    }
    return changed;
  }

 private:
  // ---- the scores
  struct Scores {
    NodeId product = kNoNode;
    double scale = 1;
    bool causal = false;
    std::vector<ValueId> biases;
    std::vector<Dims> shapes;  // of the scores where each bias was added
  };

  bool leads_to_product(ValueId v, int depth = 6) const {
    const Node* n = g_.def(v);
    if (!n || depth == 0 || !used_once(g_, v)) return false;
    const std::string_view s = n->op->name;
    if (s == "MatMul") return true;
    if (s == "Reshape" || s == "Mul" || s == "Div") return leads_to_product(n->in[0], depth - 1);
    return s == "Add" && (leads_to_product(n->in[0], depth - 1) || leads_to_product(n->in[1], depth - 1));
  }

  std::optional<Scores> scores(ValueId v) const {
    Scores s;
    for (;;) {
      const Node* n = g_.def(v);
      if (!n || !used_once(g_, v)) return std::nullopt;
      if (n->op->name == "MatMul") {
        s.product = g_.value(v).def;
        return s;
      }
      if (n->op->name == "Reshape") {
        v = n->in[0];
      } else if (const Affine a = scaled(g_, v); a.of != v) {
        s.scale *= a.scale;
        v = a.of;
      } else if (n->op->name == "Add" && s.scale == 1) {
        const size_t path = leads_to_product(n->in[0]) ? 0 : 1;
        if (!leads_to_product(n->in[path]) || g_.value(n->in[path]).type != g_.value(v).type) return std::nullopt;
        const ValueId bias = n->in[1 - path];
        if (!broadcasts_into(g_.value(bias).type, g_.value(v).type)) return std::nullopt;
        if (is_causal(bias)) {
          s.causal = true;
        } else {
          s.biases.push_back(bias);
          s.shapes.push_back(g_.value(v).type.dims);
        }
        v = n->in[path];
      } else {
        return std::nullopt;
      }
    }
  }

  static bool hides(double x) { return x <= -1e30; }

  // 0 where j <= i and a hiding number elsewhere: as a constant, or spelled with Trilu over open sizes.
  bool is_causal(ValueId v) const {
    const Dims& d = g_.value(v).type.dims;
    if (d.size() < 2 || !std::all_of(d.begin(), d.end() - 2, [](const SymExpr& e) { return e.is(1); }) ||
        d[d.size() - 1] != d[d.size() - 2] || d.back().is(1))
      return false;
    if (g_.is_constant(v)) return is_causal(g_.value(v).data);
    const Node* n = g_.def(v);
    if (!n) return false;
    if (n->op->name == "Unsqueeze" || n->op->name == "Reshape") return is_causal(n->in[0]);
    if (n->op->name == "Trilu")
      return n->attrs.flag("upper", true) && diagonal(*n) == 1 && filled_with(n->in[0], hides);
    if (n->op->name != "Where") return false;
    const auto then = number(g_, n->in[1]), otherwise = number(g_, n->in[2]);
    if (!then || !otherwise) return false;
    if (hides(*then) && *otherwise == 0) return is_triangle(n->in[0], false);
    return *then == 0 && hides(*otherwise) && is_triangle(n->in[0], true);
  }
  static bool is_causal(const Tensor& t) {
    if (!is_float(t.dtype())) return false;
    const int64_t n = t.shape().back();
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const double x = t.get_double(i * n + j);
        if (j <= i ? x != 0 : !hides(x)) return false;
      }
    return n > 0;
  }
  std::optional<int64_t> diagonal(const Node& trilu) const {
    if (trilu.in.size() < 2 || trilu.in[1] == kNoValue) return 0;
    if (!g_.is_constant(trilu.in[1])) return std::nullopt;
    return g_.value(trilu.in[1]).data.get_int(0);
  }
  bool filled_with(ValueId v, bool (*wanted)(double)) const {
    for (int depth = 0; depth < 4; ++depth) {
      if (g_.is_constant(v)) {
        const Tensor& t = g_.value(v).data;
        for (int64_t i = 0; i < t.elements(); ++i)
          if (!wanted(t.get_double(i))) return false;
        return t.elements() > 0;
      }
      const Node* n = g_.def(v);
      if (!n) return false;
      if (n->op->name == "ConstantOfShape") {
        const Tensor* fill = n->attrs.tensor("value");
        return wanted(fill ? fill->get_double(0) : 0);
      }
      if (n->op->name != "Expand" && n->op->name != "Unsqueeze" && n->op->name != "Reshape" && n->op->name != "Cast")
        return false;
      v = n->in[0];
    }
    return false;
  }
  // Is the condition true exactly where j <= i (wanted), or exactly where j > i?
  bool is_triangle(ValueId v, bool wanted) const {
    const Node* n = g_.def(v);
    if (!n) return is_triangle_constant(v, wanted);
    const std::string_view s = n->op->name;
    const auto nonzero = [](double x) { return x != 0; };
    if (s == "Trilu" && !n->attrs.flag("upper", true))
      return wanted && diagonal(*n) == 0 && filled_with(n->in[0], nonzero);
    if (s == "Trilu") return !wanted && diagonal(*n) == 1 && filled_with(n->in[0], nonzero);
    if (s == "Not") return is_triangle(n->in[0], !wanted);
    if (s == "Cast" || s == "Unsqueeze" || s == "Reshape") return is_triangle(n->in[0], wanted);
    if (s == "Equal" && is_number(g_, n->in[1], 0)) return is_triangle(n->in[0], !wanted);
    return false;
  }
  bool is_triangle_constant(ValueId v, bool wanted) const {
    if (!g_.is_constant(v)) return false;
    const Tensor& t = g_.value(v).data;
    if (t.rank() < 2 || t.elements() != t.shape().back() * t.shape().back()) return false;
    const int64_t n = t.shape().back();
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        if ((t.get_double(i * n + j) != 0) != ((j <= i) == wanted)) return false;
    return true;
  }

  // A bias as a tensor of rank <= 4 over [batch, heads, rows, columns] as FusedAttention wants it: axes in front of
  // the heads merge into one whose leading part may be repeated.
  ValueId shaped_bias(GraphBuilder& b, ValueId bias, const Dims& scores, const Dims& probabilities) {
    const size_t lead = probabilities.size() - 2;
    Dims d = g_.value(bias).type.dims;
    while (d.size() < scores.size()) d.insert(d.begin(), 1);
    const size_t kept = lead > 1 ? 3 : 2;  // axes that are no batch
    if (!std::equal(scores.end() - static_cast<int64_t>(kept), scores.end(),
                    probabilities.end() - static_cast<int64_t>(kept)))
      return kNoValue;
    const auto heads = static_cast<int64_t>(scores.size() - kept);  // axes of the batch
    SymExpr period = 1;
    bool spans = false;
    for (int64_t k = 0; k < heads; ++k) {
      const auto i = static_cast<size_t>(k);
      if (d[i].is(1) && !scores[i].is(1) && spans) return kNoValue;
      spans = spans || !d[i].is(1);
      period = period * d[i];
    }
    Dims out{period};
    if (lead == 1) out.push_back(1);
    out.insert(out.end(), d.begin() + heads, d.end());
    if (out == g_.value(bias).type.dims) return bias;
    return b("Reshape", {bias, b.dims(out)}, {{"allowzero", int64_t{1}}});
  }

  // ---- the operands
  // The strides of v over what its projection (or another operator) writes. `walked` collects the nodes between.
  std::optional<Operand> operand(ValueId v, std::set<NodeId>& walked) {
    std::vector<std::pair<NodeId, int32_t>> chain;
    Operand o;
    for (;;) {
      const Node* n = g_.def(v);
      if (!n) break;
      const Affine a = scaled(g_, v);
      if (a.of == v && !StridedView::is_view(g_, *n)) break;
      walked.insert(g_.value(v).def);
      if (a.of == v) chain.emplace_back(g_.value(v).def, g_.value(v).result);
      o.scale *= a.scale;
      v = a.of == v ? n->in[0] : a.of;
    }
    o.source = v;
    o.view = StridedView(g_.value(v).type.dims);
    for (size_t i = chain.size(); i-- > 0;)
      if (!o.view.apply(g_, g_.node(chain[i].first), chain[i].second)) return std::nullopt;
    return o;
  }

  // MatMul(permute(x), W) [+ b] whose rows are read through strides anyway → MatMul(x, W) [+ b]: the row strides of the
  // permutation, as multiples of the new row length, replace those of the view.
  struct Moved {
    ValueId source = kNoValue;
    StridedView rows{Dims{}};  // of the old source over the new one
  };
  std::optional<Moved> unpermuted(ValueId source, const std::set<NodeId>& walked) {
    if (auto known = moved_.find(source); known != moved_.end()) return known->second;
    const auto p = projection(g_, source);
    if (!p) return std::nullopt;
    for (NodeId user : g_.users(source))
      if (!walked.contains(user)) return std::nullopt;
    std::set<NodeId> unused;
    const auto x = operand(p->x, unused);
    if (!x || x->source == p->x || x->scale != 1 || !x->view.offset.is(0) || x->source == kNoValue) return std::nullopt;
    const Dims from = g_.value(x->source).type.dims;
    const SymExpr k = g_.value(p->weight).type.dims[0], n = g_.value(p->weight).type.dims[1];
    StridedView rows = x->view;
    if (from.empty() || from.back() != k || rows.axes.back().size() != 1 || !rows.axes.back()[0].stride.is(1) ||
        rows.axes.back()[0].extent != k)
      return std::nullopt;
    rows.axes.back() = n.is(1) ? Axis{} : Axis{{n, 1}};
    for (size_t d = 0; d + 1 < rows.axes.size(); ++d)
      for (Atom& a : rows.axes[d]) {
        const auto whole = divide_exactly(a.stride, k);
        if (!whole || whole->is(0)) return std::nullopt;
        a.stride = *whole * n;
      }
    const Node product = g_.node(p->product);
    g_.set_insert_point(p->product);
    GraphBuilder b(g_, product.loc);
    ValueId y = b("MatMul", {x->source, p->weight});
    if (p->bias != kNoValue) y = b("Add", {y, p->bias});
    g_.set_insert_point(kNoNode);
    if (!b.status()) return std::nullopt;
    return moved_[source] = Moved{y, rows};
  }

  // The view of an operand over the moved projection: every atom of the old view is a part of the old source's rows.
  static bool compose(Operand& o, const Moved& m, const Dims& old_dims) {
    // Lay the view's atoms over the old source, whose axes have row-major strides, and cut both alike.
    std::vector<SymExpr> strides(old_dims.size(), 1);
    for (size_t d = old_dims.size() - 1; d-- > 0;) strides[d] = strides[d + 1] * old_dims[d + 1];
    SymExpr rest = o.view.offset, offset = 0;
    if (!rest.is_constant() || !old_dims.back().is_constant() || rest.constant() >= old_dims.back().constant()) {
      if (!rest.is(0)) return false;  // an offset between rows
    }
    offset = rest;
    for (Axis& axis : o.view.axes) {
      Axis out;
      for (const Atom& a : axis) {
        if (a.stride.is(0)) {
          out.push_back(a);
          continue;
        }
        size_t d = 0;
        std::optional<SymExpr> inner;
        for (; d < old_dims.size(); ++d) {
          inner = divide_exactly(a.stride, strides[d]);
          if (inner && (d == 0 || divide_exactly(old_dims[d], *inner))) break;
          inner.reset();
        }
        if (!inner) return false;
        // a counts `extent` steps of `inner` places along axis d: those atoms of m.rows[d] whose places it covers.
        Axis target = m.rows.axes[d];
        Dims cut;
        if (const auto outer = divide_exactly(old_dims[d], a.extent * *inner))
          cut = {*outer, a.extent, *inner};
        else
          return false;
        const auto parts = regroup(target, cut);
        if (!parts) return false;
        out.insert(out.end(), (*parts)[1].begin(), (*parts)[1].end());
      }
      axis = out;
    }
    o.view.offset = offset;
    return true;
  }

  // ---- the result
  // The furthest value that is only the result in another order, and the atoms of the result in its layout.
  struct Written {
    ValueId value = kNoValue;
    StridedView view{Dims{}};         // axes of `value` as atoms of the product's result
    std::optional<Projection> after;  // value's rows go through this first
    Dims shape;                       // of what the operator writes
  };
  Written result(ValueId product) const {
    Written best;
    best.value = product;
    best.shape = g_.value(product).type.dims;
    best.view = StridedView(best.shape);
    StridedView view = best.view;
    ValueId v = product;
    std::optional<Projection> after;
    SymExpr width = 0;  // of the last axis before the projection
    for (;;) {
      if (g_.use_count(v) != 1 || g_.users(v).empty()) return best;
      const NodeId user = g_.users(v)[0];
      const Node& n = g_.node(user);
      if (n.in[0] == v && (is_view(n) || n.op->name == "Transpose")) {
        if (!after && !view.apply(g_, n, 0)) return best;
        if (after && !apply_to_rows(view, n)) return best;
        v = n.out[0];
      } else if (const auto p = after || !ends_with_depth(view) ? std::nullopt : forward_projection(v)) {
        after = p;
        width = g_.value(v).type.dims.back();
        v = p->result;
        continue;
      } else {
        return best;
      }
      if (!ends_with_depth(view)) continue;
      const Dims& to = g_.value(v).type.dims;
      if (after && n.op->name != "Transpose" && !best.after) continue;  // a reshape alone gains nothing
      best = {v, view, after, to};
      if (after) best.shape.back() = width;
    }
  }
  // The last axis of the value ends with all of the depth.
  static bool ends_with_depth(const StridedView& view) {
    return !view.axes.empty() && !view.axes.back().empty() && view.axes.back().back().stride.is(1);
  }

  std::optional<Projection> forward_projection(ValueId v) const {
    if (!g_.is_output(v) && g_.users(v).size() == 1) {
      const Node& n = g_.node(g_.users(v)[0]);
      if (n.op->name != "MatMul" || n.in[0] != v) return std::nullopt;
      ValueId y = n.out[0];
      if (g_.use_count(y) == 1 && g_.users(y).size() == 1)
        if (const auto p = projection(g_, g_.node(g_.users(y)[0]).out[0]); p && p->x == v) return p;
      return projection(g_, y);
    }
    return std::nullopt;
  }

  // A view of rows whose last axis, the projection's columns, stays last and whole.
  bool apply_to_rows(StridedView& view, const Node& n) const {
    const Dims &from = g_.value(n.in[0]).type.dims, &to = g_.value(n.out[0]).type.dims;
    if (from.empty() || to.empty() || from.back() != to.back()) return false;
    const Axis last = view.axes.back();
    if (n.op->name == "Transpose") {
      const std::vector<int64_t> perm = n.attrs.integers("perm");
      return perm.size() == view.axes.size() && perm.back() == static_cast<int64_t>(perm.size()) - 1 &&
             view.apply(g_, n, 0);
    }
    Axis rows;
    for (size_t d = 0; d + 1 < view.axes.size(); ++d) rows.insert(rows.end(), view.axes[d].begin(), view.axes[d].end());
    const auto groups = regroup(rows, Dims(to.begin(), to.end() - 1));
    if (!groups) return false;
    view.axes = *groups;
    view.axes.push_back(last);
    return true;
  }

  // ---- putting it together
  Result<bool> recognize(NodeId id);
  std::optional<Attrs> attributes(const Operand& q, const Operand& k, const Operand& v, const Written& y,
                                  const Dims& probabilities, const TensorType& product, int64_t depth,
                                  int64_t value_depth) const;

  Graph& g_;
  std::map<ValueId, Moved> moved_;
};

// Batch axes (all but the last `tail`) as one list.
Axis joined(const std::vector<Axis>& axes, size_t first, size_t last) {
  Axis all;
  for (size_t d = first; d < last; ++d) all.insert(all.end(), axes[d].begin(), axes[d].end());
  return all;
}

Dims extents_of(const Axis& a) {
  Dims d;
  for (const Atom& x : a) d.push_back(x.extent);
  return d;
}

// The result's atoms as strides in the written tensor: what StridedView says the other way round.
std::optional<std::vector<Axis>> inverse(const StridedView& view, const Dims& product) {
  Axis written;
  for (const Axis& a : view.axes) written.insert(written.end(), a.begin(), a.end());
  std::vector<std::pair<Atom, SymExpr>> places;  // atom of the product, its stride in the written tensor
  SymExpr stride = 1;
  for (size_t i = written.size(); i-- > 0;) {
    places.emplace_back(written[i], stride);
    stride = stride * written[i].extent;
  }
  // Each axis of the product, innermost place first.
  std::vector<Axis> out(product.size());
  SymExpr place = 1;
  for (size_t d = product.size(); d-- > 0;) {
    SymExpr need = product[d];
    while (!need.is(1)) {
      const auto at =
          std::find_if(places.begin(), places.end(), [&](const auto& p) { return p.first.stride == place; });
      if (at == places.end()) return std::nullopt;
      const SymExpr extent = at->first.extent;
      if (const auto left = divide_exactly(need, extent)) {
        out[d].insert(out[d].begin(), {extent, at->second});
        need = *left;
        place = place * extent;
        places.erase(at);
      } else if (const auto outer = divide_exactly(extent, need)) {
        out[d].insert(out[d].begin(), {need, at->second});
        place = place * need;
        at->first = {*outer, place};
        at->second = at->second * need;
        need = 1;
      } else {
        return std::nullopt;
      }
    }
  }
  return out;
}

// The pieces of an axis that all of its views agree on, at least one.
bool agree(std::initializer_list<Axis*> axes) {
  const std::vector<Axis*> all(axes);
  return refine(all);
}

void append(Dims& to, const Axis& a, size_t at_least) {
  for (const Atom& x : a) to.push_back(x.stride);
  for (size_t i = a.size(); i < at_least; ++i) to.push_back(0);
}

std::optional<Attrs> Recognizer::attributes(const Operand& q, const Operand& k, const Operand& v, const Written& y,
                                            const Dims& probabilities, const TensorType& product, int64_t depth,
                                            int64_t value_depth) const {
  const size_t rank = probabilities.size(), lead = rank - 2;
  const auto out = inverse(y.view, product.dims);
  if (!out) return std::nullopt;
  const size_t heads_at = lead > 1 ? lead - 1 : lead;
  Axis bq = joined(q.view.axes, 0, heads_at), bk = joined(k.view.axes, 0, heads_at),
       bv = joined(v.view.axes, 0, heads_at), by = joined(*out, 0, heads_at);
  Axis hq, hk, hv, hy;
  if (lead > 1)
    hq = q.view.axes[heads_at], hk = k.view.axes[heads_at], hv = v.view.axes[heads_at], hy = (*out)[heads_at];
  Axis rq = q.view.axes[lead], ry = (*out)[lead], ck = k.view.axes[rank - 1], cv = v.view.axes[lead];
  if (!agree({&bq, &bk, &bv, &by}) || !agree({&hq, &hk, &hv, &hy}) || !agree({&rq, &ry}) || !agree({&ck, &cv}))
    return std::nullopt;
  const auto unit = [](const Axis& a, int64_t n) {
    return n == 1 ? a.empty() || a[0].stride.is(1) : a.size() == 1 && a[0].stride.is(1);
  };
  if (!unit(q.view.axes[rank - 1], depth) || !unit(k.view.axes[lead], depth) ||
      !unit(v.view.axes[rank - 1], value_depth) || !unit((*out)[rank - 1], value_depth))
    return std::nullopt;
  int64_t group = 1;
  if (hq.size() == 2 && hk[1].stride.is(0) && hv[1].stride.is(0) &&
      hq[1].extent.is_constant()) {  // heads that share keys
    group = hq[1].extent.constant();
    if (hq[0].stride != hq[1].stride * hq[1].extent || hy[0].stride != hy[1].stride * hy[1].extent) return std::nullopt;
    hq = {{hq[0].extent * hq[1].extent, hq[1].stride}}, hy = {{hy[0].extent * hy[1].extent, hy[1].stride}};
    hk.pop_back(), hv.pop_back();
  }
  if (hq.size() > 1) return std::nullopt;
  const auto view = [&](const SymExpr& offset, const Axis& b, const Axis& h, const Axis& r) {
    Dims d{offset};
    append(d, b, 1), append(d, h, 1), append(d, r, 1);
    return d;
  };
  const auto some = [](Dims d) { return d.empty() ? Dims{1} : d; };
  return Attrs{{"batch", some(extents_of(bq))},
               {"heads", Dims{lead > 1 ? probabilities[heads_at] : SymExpr(1)}},
               {"rows", some(extents_of(rq))},
               {"columns", some(extents_of(ck))},
               {"depth", depth},
               {"value_depth", value_depth},
               {"kv_group", group},
               {"q", view(q.view.offset, bq, hq, rq)},
               {"k", view(k.view.offset, bk, hk, ck)},
               {"v", view(v.view.offset, bv, hv, cv)},
               {"out", view(0, by, hy, ry)},
               {"shape", y.shape}};
}

Result<bool> Recognizer::recognize(NodeId id) {
  const Node n = g_.node(id);
  const TensorType product = g_.value(n.out[0]).type;
  if (product.dtype != DType::f32 || product.rank() < 3) return false;
  const Node* soft = made_by(g_, n.in[0], "Softmax");
  if (!soft || !used_once(g_, n.in[0])) return false;
  const Dims probabilities = g_.value(n.in[0]).type.dims;
  const int64_t axis = soft->attrs.integer("axis", -1), rank = product.rank();
  if (static_cast<int64_t>(probabilities.size()) != rank || (axis != -1 && axis != rank - 1)) return false;
  const auto s = scores(soft->in[0]);
  if (!s) return false;
  const Node first = g_.node(s->product);
  const Dims qd = g_.value(first.in[0]).type.dims, kd = g_.value(first.in[1]).type.dims,
             vd = g_.value(n.in[1]).type.dims;
  if (g_.value(first.out[0]).type.dims != probabilities || qd.size() != probabilities.size() ||
      kd.size() != qd.size() || vd.size() != qd.size())
    return false;
  for (size_t d = 0; d + 2 < qd.size(); ++d)
    if (qd[d] != kd[d] || qd[d] != vd[d]) return false;
  if (!qd.back().is_constant() || !vd.back().is_constant() || qd.back().constant() < 1 || vd.back().constant() < 1)
    return false;
  if (probabilities.back().is(0) || probabilities[qd.size() - 2].is(0)) return false;

  std::set<NodeId> walked;
  auto q = operand(first.in[0], walked), k = operand(first.in[1], walked), v = operand(n.in[1], walked);
  if (!q || !k || !v || v->scale != 1) return false;
  for (Operand* o : {&*q, &*k, &*v}) {
    const Dims old = g_.value(o->source).type.dims;
    const auto moved = unpermuted(o->source, walked);
    if (!moved) continue;
    Operand better = *o;
    better.source = moved->source;
    if (compose(better, *moved, old)) *o = better;
  }
  const Written y = result(n.out[0]);
  std::optional<Attrs> attrs =
      attributes(*q, *k, *v, y, probabilities, product, qd.back().constant(), vd.back().constant());
  if (!attrs) return false;
  attrs->set("scale", s->scale * q->scale * k->scale);
  if (s->causal) attrs->set("causal", int64_t{1});

  g_.set_insert_point(id);
  GraphBuilder b(g_, n.loc);
  std::vector<ValueId> in{q->source, k->source, v->source};
  for (size_t i = 0; i < s->biases.size(); ++i) {
    const ValueId bias = shaped_bias(b, s->biases[i], s->shapes[i], probabilities);
    if (bias == kNoValue || std::find(in.begin(), in.begin() + 3, bias) != in.begin() + 3) {
      g_.set_insert_point(kNoNode);
      return false;
    }
    in.push_back(bias);
  }
  ValueId out = b("FusedAttention", in, *attrs);
  if (y.after) {
    out = b("MatMul", {out, y.after->weight});
    if (y.after->bias != kNoValue) out = b("Add", {out, y.after->bias});
  }
  g_.set_insert_point(kNoNode);
  FCC_CHECKED(b.status());
  FCC_CHECK(g_.value(out).type == g_.value(y.value).type, "{} changed its type", describe(*n.op, n.loc));
  g_.replace_uses(y.value, out);
  return true;
}

}  // namespace

Result<bool> recognize_attention(Graph& g, PassContext&) {
  return Recognizer(g).run();
}

}  // namespace fcc
