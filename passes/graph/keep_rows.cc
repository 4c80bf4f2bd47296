// Nets that work on rows of channels between convolutions (ConvNeXt, Swin) keep them as rows.
//   f(T(x), T(y), c) → T(f(x, y, c'))            for pointwise f and T from [N,H,W,C] to [N,C,H,W]: constants meet the
//                                                product before them, the residual sum stays in its epilogue
//   T(x) + y → T(x + T'(y))                      where a residual path changes sides, once a stage
//   Concat(x[k:], x[:k]) → Roll(x)               Roll(Roll(x)) → Roll(x)
//   Roll(LayerNormalization(x)) → LayerNormalization(Roll(x))       which reads shifted rows for nothing
// pack_rows, when layouts are chosen:
//   PackC16(T(x)) → PackC16FromRows(x)           T'(UnpackC16(x)) → UnpackC16ToRows(x)
#include <algorithm>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/match.h"
#include "passes/graph/strided_view.h"
#include "passes/manager.h"

namespace fcc {
namespace {

const std::vector<int64_t> kToPlanes = {0, 3, 1, 2}, kToRows = {0, 2, 3, 1};

const Node* transposed(const Graph& g, ValueId v, const std::vector<int64_t>& perm) {
  const Node* n = made_by(g, v, "Transpose");
  return n && n->attrs.integers("perm") == perm ? n : nullptr;
}

// A constant over [N,C,H,W] as one over [N,H,W,C], or kNoValue.
ValueId constant_over_rows(GraphBuilder& b, const Value& value) {
  const Tensor& t = value.data;
  if (t.rank() > 4) return kNoValue;
  if (t.elements() == 1) return b.constant(t.reshaped({}), value.name);
  std::vector<int64_t> shape = t.shape();
  while (shape.size() < 4) shape.insert(shape.begin(), 1);
  const std::vector<int64_t> to = {shape[0], shape[2], shape[3], shape[1]};
  Tensor out(t.dtype(), to);
  int64_t at = 0;
  for_each_index(to, [&](std::span<const int64_t> i) {
    const int64_t from[] = {i[0], i[3], i[1], i[2]};
    out.set_double(at++, t.get_double(flat_index(shape, from)));
  });
  const bool channels_only = to[0] == 1 && to[1] == 1 && to[2] == 1;
  return b.constant(channels_only ? out.reshaped({to[3]}) : out, value.name);
}

bool is_row_work(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  return n && (n->op->name == "MatMul" || n->op->name == "Add" || n->op->name == "Mul" ||
               n->op->name == "LayerNormalization");
}

ValueId sink_to_planes(Graph& g, GraphBuilder& b, const Node& n) {
  const TensorType out = g.value(n.out[0]).type;
  if (!n.op->formula || n.out.size() != 1 || out.rank() != 4 || out.dtype != DType::f32) return kNoValue;
  int rows = 0, planes = 0;
  for (ValueId v : n.in) {
    if (v == kNoValue) return kNoValue;
    if (g.value(v).type.dtype != DType::f32) return kNoValue;
    if (g.is_constant(v)) {
      if (g.value(v).type.rank() > 4) return kNoValue;
      continue;
    }
    if (g.value(v).type.dims != out.dims) return kNoValue;
    const Node* t = transposed(g, v, kToPlanes);
    (t && is_row_work(g, t->in[0]) ? rows : planes) += 1;
  }
  if (rows == 0 || planes > 1 || (planes == 1 && n.op->name != "Add")) return kNoValue;
  std::vector<ValueId> in;
  for (ValueId v : n.in) {
    if (g.is_constant(v)) {
      in.push_back(constant_over_rows(b, Value(g.value(v))));
    } else if (const Node* t = transposed(g, v, kToPlanes)) {
      in.push_back(t->in[0]);
    } else {
      in.push_back(b("Transpose", {v}, {{"perm", kToRows}}));
    }
  }
  const ValueId y = b(n.op->name, std::move(in), n.attrs);
  return b("Transpose", {y}, {{"perm", kToPlanes}});
}

// Concat(x[k:], x[:k]) along one axis of a known extent.
ValueId as_roll(Graph& g, GraphBuilder& b, const Node& n) {
  if (n.op->name != "Concat" || n.in.size() != 2) return kNoValue;
  const Node *high = made_by(g, n.in[0], "Slice"), *low = made_by(g, n.in[1], "Slice");
  if (!high || !low || high->in[0] != low->in[0]) return kNoValue;
  const ValueId x = high->in[0];
  const Dims dims = g.value(x).type.dims;
  if (g.value(x).type != g.value(n.out[0]).type) return kNoValue;
  int64_t axis = n.attrs.integer("axis");
  if (axis < 0) axis += static_cast<int64_t>(dims.size());
  const auto a = static_cast<size_t>(axis);
  const SymExpr shift = g.value(n.in[1]).type.dims[a];
  if (!shift.is_constant() || !dims[a].is_constant() || shift.is(0) || shift.constant() >= dims[a].constant())
    return kNoValue;
  StridedView upper(dims), lower(dims);
  SymExpr stride = 1;
  for (size_t d = a + 1; d < dims.size(); ++d) stride = stride * dims[d];
  if (!upper.apply(g, *high, 0) || !lower.apply(g, *low, 0) || upper.offset != shift * stride || !lower.offset.is(0))
    return kNoValue;
  std::vector<int64_t> shifts(dims.size(), 0);
  shifts[a] = shift.constant();
  if (const Node* inner = made_by(g, x, "Roll"); inner && inner->attrs.integers("shifts")[a] == 0) {
    const std::vector<int64_t> before = inner->attrs.integers("shifts");
    for (size_t d = 0; d < shifts.size(); ++d) shifts[d] += before[d];
    return b("Roll", {inner->in[0]}, {{"shifts", shifts}});
  }
  return b("Roll", {x}, {{"shifts", shifts}});
}

ValueId roll_of_norm(Graph& g, GraphBuilder& b, const Node& n) {
  if (n.op->name != "Roll" || n.attrs.integers("shifts").back() != 0) return kNoValue;
  const Node* norm = made_by(g, n.in[0], "LayerNormalization");
  if (!norm || !used_once(g, n.in[0]) || norm->out.size() != 1) return kNoValue;
  const auto axes = reduced_axes(g, *norm);
  if (!axes || *axes != std::vector<int64_t>{g.value(n.in[0]).type.rank() - 1}) return kNoValue;
  for (size_t k = 1; k < norm->in.size(); ++k)
    if (g.value(norm->in[k]).type.rank() > 1) return kNoValue;
  std::vector<ValueId> in = norm->in;
  const Attrs attrs = norm->attrs;
  in[0] = b("Roll", {in[0]}, n.attrs);
  return b("LayerNormalization", std::move(in), attrs);
}

ValueId between_rows_and_blocks(Graph& g, GraphBuilder& b, const Node& n) {
  if (n.op->name == "PackC16" && g.value(n.in[0]).type.rank() == 4)
    if (const Node* t = transposed(g, n.in[0], kToPlanes)) return b("PackC16FromRows", {t->in[0]});
  if (n.op->name == "Transpose" && n.attrs.integers("perm") == kToRows)
    if (const Node* u = made_by(g, n.in[0], "UnpackC16"))
      return b("UnpackC16ToRows", {u->in[0]}, {{"channels", u->attrs.integer("channels")}});
  return kNoValue;
}

using Rule = ValueId (*)(Graph&, GraphBuilder&, const Node&);
Result<bool> apply(Graph& g, std::span<const Rule> rules) {
  bool changed = false;
  for (NodeId id : g.order())
    for (Rule rule : rules) {
      const Node n = g.node(id);
      if (n.dead) break;
      g.set_insert_point(id);
      GraphBuilder b(g, n.loc);
      const ValueId y = rule(g, b, n);
      g.set_insert_point(kNoNode);
      FCC_CHECKED(b.status());
      if (y == kNoValue) continue;
      FCC_CHECK(g.value(y).type == g.value(n.out[0]).type, "{} changed its type", describe(*n.op, n.loc));
      g.replace_uses(n.out[0], y);
      g.erase(id);
      changed = true;
      break;
    }
  return changed;
}

}  // namespace

Result<bool> keep_rows(Graph& g, PassContext&) {
  static constexpr Rule kFirst[] = {sink_to_planes, as_roll}, kThen[] = {roll_of_norm};
  FCC_TRY(bool changed, apply(g, kFirst));
  if (changed) g.erase_dead();
  FCC_TRY(bool moved, apply(g, kThen));
  return changed || moved;
}

Result<bool> pack_rows(Graph& g, PassContext&) {
  static constexpr Rule kRules[] = {between_rows_and_blocks};
  return apply(g, kRules);
}

}  // namespace fcc
