#include "passes/graph/projection.h"

#include "passes/graph/match.h"

namespace fcc {

std::optional<Projection> projection(const Graph& g, ValueId v) {
  Projection p;
  p.result = v;
  if (const Node* sum = made_by(g, v, "Add")) {
    const size_t c = g.is_constant(sum->in[1]) ? 1 : 0;
    if (!g.is_constant(sum->in[c]) || g.value(sum->in[c]).type.rank() > 1 || !used_once(g, sum->in[1 - c]))
      return std::nullopt;
    if (g.value(sum->in[1 - c]).type != g.value(v).type) return std::nullopt;
    p.bias = sum->in[c];
    v = sum->in[1 - c];
  }
  const Node* n = made_by(g, v, "MatMul");
  if (!n || !g.is_constant(n->in[1]) || g.value(n->in[1]).type.rank() != 2 || g.value(n->in[0]).type.rank() < 2)
    return std::nullopt;
  p.product = g.value(v).def;
  p.x = n->in[0], p.weight = n->in[1];
  return p;
}

}  // namespace fcc
