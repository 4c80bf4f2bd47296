// Algebraic clean-up: nodes that rename or repeat their operand go away.
#include <algorithm>
#include <map>
#include <numeric>

#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {
namespace {

// A rule gives the value that replaces a node's only result, or kNoValue when it does not apply.
using Rule = ValueId (*)(Graph&, const Node&);

// identity(x) → x, also Dropout in inference and a Cast to the same type
ValueId drop_identity(Graph& g, const Node& n) {
  if (n.op->name == "Cast" || n.op->name == "CastLike") return g.value(n.in[0]).type.dtype == g.value(n.out[0]).type.dtype ? n.in[0] : kNoValue;
  if (n.op->name == "Dropout") {
    if (n.out.size() > 1 && g.use_count(n.out[1]) > 0) return kNoValue;
    const auto known_zero = [&](size_t k) {
      const auto content = n.in[k] == kNoValue ? nullptr : g.value(n.in[k]).content;
      return content && content->elements.size() == 1 && content->elements[0].is(0);
    };
    if (n.in.size() > 2 && !known_zero(2) && !known_zero(1)) return kNoValue;  // in training
  }
  return n.in[0];
}

// A view or an Expand, Slice, Pad, Tile, Concat, ... whose result has its operand's type is the operand: only for
// operators that cannot permute elements within one shape.
ValueId drop_same_shape(Graph& g, const Node& n) {
  return g.value(n.in[0]).type == g.value(n.out[0]).type ? n.in[0] : kNoValue;
}

// pad(x) by zeros → x
ValueId drop_empty_pad(Graph& g, const Node& n) {
  const auto pads = n.in.size() > 1 && n.in[1] != kNoValue ? g.value(n.in[1]).content : nullptr;
  if (!pads || !std::all_of(pads->elements.begin(), pads->elements.end(), [](const SymExpr& e) { return e.is(0); })) return kNoValue;
  return n.in[0];
}

ValueId drop_single_concat(Graph&, const Node& n) { return n.in.size() == 1 ? n.in[0] : kNoValue; }

bool is_view(const Node& n) {
  const std::string_view s = n.op->name;
  return s == "Reshape" || s == "Flatten" || s == "Squeeze" || s == "Unsqueeze";
}

// reshape(reshape(x)) → reshape(x)
ValueId merge_views(Graph& g, const Node& n) {
  const Node* p = g.def(n.in[0]);
  if (!p || !is_view(*p)) return kNoValue;
  if (g.value(p->in[0]).type == g.value(n.out[0]).type) return p->in[0];
  const Dims& dims = g.value(n.out[0]).type.dims;
  GraphBuilder b(g, n.loc);
  const ValueId x = p->in[0];
  ValueId y = b("Reshape", {x, b.dims(dims)}, {{"allowzero", int64_t{1}}});
  return b.status() && g.value(y).type == g.value(n.out[0]).type ? y : kNoValue;
}

// transpose(transpose(x)) → transpose(x), or x
ValueId merge_transposes(Graph& g, const Node& n) {
  std::vector<int64_t> perm = n.attrs.integers("perm");
  if (perm.empty()) return kNoValue;
  const std::vector<int64_t> identity = [&] {
    std::vector<int64_t> v(perm.size());
    std::iota(v.begin(), v.end(), 0);
    return v;
  }();
  if (perm == identity) return n.in[0];
  const Node* p = g.def(n.in[0]);
  if (!p || p->op->name != "Transpose" || p->attrs.integers("perm").size() != perm.size()) return kNoValue;
  const std::vector<int64_t> first = p->attrs.integers("perm");
  for (int64_t& d : perm) d = first[static_cast<size_t>(d)];
  if (perm == identity) return p->in[0];
  GraphBuilder b(g, n.loc);
  const ValueId x = p->in[0];
  return b("Transpose", {x}, {{"perm", perm}});
}

// transpose(x) → reshape(x) when the axes longer than 1 keep their order
ValueId transpose_of_ones(Graph& g, const Node& n) {
  const std::vector<int64_t> perm = n.attrs.integers("perm");
  const Dims from = g.value(n.in[0]).type.dims, to = g.value(n.out[0]).type.dims;
  int64_t last = -1;
  for (int64_t d : perm) {
    if (from[static_cast<size_t>(d)].is(1)) continue;
    if (d < last) return kNoValue;
    last = d;
  }
  if (perm.size() != from.size()) return kNoValue;
  GraphBuilder b(g, n.loc);
  return b("Reshape", {n.in[0], b.dims(to)}, {{"allowzero", int64_t{1}}});
}

// What is left of a permutation when some axes of its result are gone; the numbers are those of an operand without them.
std::vector<int64_t> without_axes(const std::vector<int64_t>& perm, const std::vector<int64_t>& gone) {
  std::vector<int64_t> rest;
  for (size_t d = 0; d < perm.size(); ++d) {
    if (std::find(gone.begin(), gone.end(), static_cast<int64_t>(d)) != gone.end()) continue;
    int64_t axis = perm[d];
    for (int64_t a : gone) axis -= perm[static_cast<size_t>(a)] < perm[d];
    rest.push_back(axis);
  }
  return rest;
}

// squeeze(transpose(x)) → transpose(squeeze(x)): the squeeze then meets the unsqueeze that it undoes
ValueId squeeze_of_transpose(Graph& g, const Node& n) {
  const Node* def = g.def(n.in[0]);
  const auto content = n.in.size() > 1 ? g.value(n.in[1]).content : nullptr;
  if (!def || def->op->name != "Transpose" || g.use_count(n.in[0]) != 1 || !content || !content->is_constant()) return kNoValue;
  const std::vector<int64_t> perm = def->attrs.integers("perm");
  std::vector<int64_t> axes = content->constants(), moved;
  if (perm.empty() || axes.empty()) return kNoValue;
  for (int64_t& a : axes) {
    if (a < 0) a += static_cast<int64_t>(perm.size());
    moved.push_back(perm[static_cast<size_t>(a)]);
  }
  const ValueId x = def->in[0];
  GraphBuilder b(g, n.loc);
  const ValueId y = b("Squeeze", {x, b.ints(moved)});
  return b("Transpose", {y}, {{"perm", without_axes(perm, axes)}});
}

// gather(transpose(x), one index) → transpose(gather(x)): only what is wanted is moved. For the three parts of a packed
// attention projection: not the whole of it first and then each part again.
ValueId gather_of_transpose(Graph& g, const Node& n) {
  const Node* def = g.def(n.in[0]);
  if (!def || def->op->name != "Transpose" || g.is_output(n.in[0]) || g.value(n.in[1]).type.rank() != 0) return kNoValue;
  const std::vector<int64_t> perm = def->attrs.integers("perm");
  int64_t axis = n.attrs.integer("axis", 0);
  for (NodeId user : g.users(n.in[0]))
    if (g.node(user).op->name != "Gather" || g.node(user).in[0] != n.in[0] || g.node(user).attrs.integer("axis", 0) != axis) return kNoValue;
  if (perm.empty()) return kNoValue;
  if (axis < 0) axis += static_cast<int64_t>(perm.size());
  const ValueId x = def->in[0];
  GraphBuilder b(g, n.loc);
  const ValueId y = b("Gather", {x, n.in[1]}, {{"axis", perm[static_cast<size_t>(axis)]}});
  return b("Transpose", {y}, {{"perm", without_axes(perm, {axis})}});
}

// transpose(MatMul(a, b)) → MatMul(transpose(b), transpose(a)) for matrices, where a transposition then meets a constant
// or another transposition: (w @ x.t()).t() is x @ w.t(). Also (x.t() @ y).t() → y.t() @ x, one transposition less: the
// gradient of a weight that the model transposes before it multiplies, in the order in which it is stored.
ValueId transpose_product(Graph& g, const Node& n) {
  const Node* def = g.def(n.in[0]);
  if (!def || def->op->name != "MatMul" || g.use_count(n.in[0]) != 1 || n.attrs.integers("perm") != std::vector<int64_t>{1, 0}) return kNoValue;
  const Node product = *def;
  const auto vanishes = [&](ValueId v) {
    const Dims& dims = g.value(v).type.dims;  // the transpose of a vector is a view
    return g.is_constant(v) || (g.def(v) && g.def(v)->op->name == "Transpose") || std::any_of(dims.begin(), dims.end(), [](const SymExpr& d) { return d.is(1); });
  };
  if (g.value(product.in[0]).type.rank() != 2 || g.value(product.in[1]).type.rank() != 2 || !vanishes(product.in[0])) return kNoValue;
  const bool first_is_transposed = g.def(product.in[0]) && g.def(product.in[0])->op->name == "Transpose";
  if (!vanishes(product.in[1]) && !first_is_transposed) return kNoValue;
  GraphBuilder b(g, product.loc);
  const auto transposed = [&](ValueId v) {
    const Node* t = g.def(v);
    return t && t->op->name == "Transpose" ? t->in[0] : b("Transpose", {v}, {{"perm", std::vector<int64_t>{1, 0}}});
  };
  const ValueId left = transposed(product.in[1]), right = transposed(product.in[0]);
  return b("MatMul", {left, right});
}

// f(view(x), view(y)) → view(f(x, y)) for pointwise f and equal views: an activation or a residual sum stays beside the
// operator that feeds it. DepthToSpace moves likewise when f has one operand.
ValueId sink_view(Graph& g, const Node& n) {
  if (!n.op->formula || n.out.size() != 1 || n.in.empty()) return kNoValue;
  const Node* first = g.def(n.in[0]);
  if (!first || !(is_view(*first) || (n.in.size() == 1 && first->op->name == "DepthToSpace"))) return kNoValue;
  for (ValueId v : n.in) {
    const Node* def = g.def(v);
    if (!def || def->op != first->op || g.use_count(v) != 1 || g.value(def->in[0]).type.dims != g.value(first->in[0]).type.dims) return kNoValue;
    if (g.value(v).type.dims != g.value(n.out[0]).type.dims) return kNoValue;
  }
  const Node view = *first;
  std::vector<ValueId> sources;
  for (ValueId v : n.in) sources.push_back(g.def(v)->in[0]);
  GraphBuilder b(g, n.loc);
  std::vector<ValueId> in = view.in;
  in[0] = b(n.op->name, std::move(sources), n.attrs);
  if (in[0] == kNoValue) return kNoValue;
  const ValueId y = b(view.op->name, std::move(in), view.attrs);
  return b.status() ? y : kNoValue;
}

bool is_all(const Graph& g, ValueId v, double number) {
  if (!g.is_constant(v)) return false;
  const Tensor& t = g.value(v).data;
  if (t.elements() == 0 || t.elements() > 4096) return false;
  for (int64_t i = 0; i < t.elements(); ++i)
    if (t.get_double(i) != number) return false;
  return true;
}

// x*1, x/1, x+0, x-0, pow(x,1) → x when the constant does not broadcast x to another shape
ValueId drop_neutral(Graph& g, const Node& n) {
  if (n.in.size() != 2) return kNoValue;
  const std::string_view s = n.op->name;
  const double neutral = s == "Add" || s == "Sub" ? 0 : 1;
  const TensorType& out = g.value(n.out[0]).type;
  if (is_all(g, n.in[1], neutral) && g.value(n.in[0]).type == out) return n.in[0];
  const bool commutes = s == "Add" || s == "Mul";
  if (commutes && is_all(g, n.in[0], neutral) && g.value(n.in[1]).type == out) return n.in[1];
  return kNoValue;
}

// clip(relu(x), low, high) → clip(x, max(low, 0), high): ReLU6 as some exporters write it
ValueId merge_relu_into_clip(Graph& g, const Node& n) {
  const Node* relu = g.def(n.in[0]);
  if (!relu || relu->op->name != "Relu") return kNoValue;
  const ValueId x = relu->in[0];
  ValueId low = n.in.size() > 1 ? n.in[1] : kNoValue;
  if (low != kNoValue && (!g.is_constant(low) || g.value(low).data.elements() != 1)) return kNoValue;
  GraphBuilder b(g, n.loc);
  if (low == kNoValue || g.value(low).data.get_double(0) < 0) low = b.scalar(g.value(x).type.dtype, 0);
  std::vector<ValueId> in{x, low};
  if (n.in.size() > 2) in.push_back(n.in[2]);
  return b("Clip", std::move(in));
}

const std::multimap<std::string_view, Rule>& rules() {
  static const std::multimap<std::string_view, Rule> table = {
      {"Identity", drop_identity}, {"Dropout", drop_identity}, {"Cast", drop_identity}, {"CastLike", drop_identity},
      {"Reshape", drop_same_shape}, {"Flatten", drop_same_shape}, {"Squeeze", drop_same_shape}, {"Unsqueeze", drop_same_shape},
      {"Expand", drop_same_shape}, {"Tile", drop_same_shape}, {"Concat", drop_single_concat}, {"Pad", drop_empty_pad},
      {"Reshape", merge_views}, {"Flatten", merge_views}, {"Squeeze", merge_views}, {"Unsqueeze", merge_views},
      {"Transpose", merge_transposes}, {"Transpose", transpose_product}, {"Transpose", transpose_of_ones},
      {"Squeeze", squeeze_of_transpose}, {"Gather", gather_of_transpose},
      {"Clip", merge_relu_into_clip},
      {"Add", drop_neutral}, {"Sub", drop_neutral}, {"Mul", drop_neutral}, {"Div", drop_neutral}, {"Pow", drop_neutral},
  };
  return table;
}

}  // namespace

Result<bool> simplify(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.in.empty() || n.in[0] == kNoValue) continue;
    auto [first, last] = rules().equal_range(n.op->name);
    std::vector<Rule> candidates;
    for (auto rule = first; rule != last; ++rule) candidates.push_back(rule->second);
    if (n.op->formula) candidates.push_back(sink_view);
    for (Rule rule : candidates) {
      g.set_insert_point(id);
      const ValueId y = rule(g, n);
      g.set_insert_point(kNoNode);
      if (y == kNoValue || g.value(y).type != g.value(n.out[0]).type) continue;
      g.replace_uses(n.out[0], y);
      if (g.use_count(n.out[0]) == 0 && n.out.size() == 1) g.erase(id);
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace fcc
