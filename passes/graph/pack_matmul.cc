// MatMul(a, b) → MatMulPacked(a, PackGemmB(b)): packing is a node, so constant folding packs frozen weights at
// compile time and a run-time operand keeps the node. Not for 1-D operands or other types than f32, which the
// generic reduction computes.
#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

// Columns of a panel: 32 (two zmm, four ymm) unless that would waste more than it saves.
static int64_t panel_columns(const SymExpr& n) {
  if (!n.is_constant()) return 32;
  const int64_t rest = n.constant() % 32;
  return n.constant() < 64 && rest >= 1 && rest <= 16 ? 16 : 32;
}

// b as it lies in memory when it is the transpose of its last two axes; b otherwise.
static std::pair<ValueId, bool> look_through_transpose(const Graph& g, ValueId b) {
  const Node* t = g.def(b);
  if (!t || t->op->name != "Transpose") return {b, false};
  const std::vector<int64_t> perm = t->attrs.integers("perm");
  const size_t r = perm.size();
  for (size_t d = 0; d + 2 < r; ++d)
    if (perm[d] != static_cast<int64_t>(d)) return {b, false};
  if (r < 2 || perm[r - 1] != static_cast<int64_t>(r - 2)) return {b, false};
  return {t->in[0], true};
}

Result<bool> pack_matmul(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.op->name != "MatMul") continue;
    const TensorType &ta = g.value(n.in[0]).type, &tb = g.value(n.in[1]).type;
    if (ta.dtype != DType::f32 || ta.rank() < 2 || tb.rank() < 2) continue;
    const SymExpr columns = tb.dims.back();
    auto [b_value, transposed] = look_through_transpose(g, n.in[1]);
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId packed = b("PackGemmB", {b_value}, {{"nr", panel_columns(columns)}, {"trans", int64_t{transposed}}}, g.value(n.in[1]).name + ".packed");
    Attrs attrs;
    if (columns.is_constant()) {
      attrs.set("n", columns.constant());
    } else {
      attrs.set("columns", Dims{columns});
    }
    const ValueId y = b("MatMulPacked", {n.in[0], packed}, std::move(attrs));
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
