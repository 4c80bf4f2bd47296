// Gemm(a, b, c){alpha, beta, transA, transB} → MatMul(a', b') * alpha + beta * c, so that later passes know one
// matrix product. Transposes and scales of constants disappear in constant folding.
#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

static ValueId scaled(GraphBuilder& b, ValueId v, double factor) {
  return factor == 1 ? v : b("Mul", {v, b.scalar(b.type(v).dtype, factor)});
}

Result<bool> canonicalize_gemm(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.op->name != "Gemm") continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId out = n.out[0];
    const std::string out_name = g.value(out).name;
    ValueId a = n.in[0], w = n.in[1];
    const std::vector<int64_t> swap{1, 0};
    if (n.attrs.flag("transA")) a = b("Transpose", {a}, {{"perm", swap}});
    if (n.attrs.flag("transB")) w = b("Transpose", {w}, {{"perm", swap}});
    const double alpha = n.attrs.number("alpha", 1), beta = n.attrs.number("beta", 1);
    if (g.is_constant(n.in[1])) w = scaled(b, w, alpha);
    ValueId y = b("MatMul", {a, w}, {}, out_name + ".product");
    if (!g.is_constant(n.in[1])) y = scaled(b, y, alpha);
    if (n.in.size() > 2 && n.in[2] != kNoValue && beta != 0) y = b("Add", {y, scaled(b, n.in[2], beta)}, {}, out_name + ".sum");
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g.replace_uses(out, y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
