// shape arithmetic → Dims{...} or a constant: every small tensor whose elements are known as numbers or expressions
// of open dimensions stops depending on the operators that computed it.
#include <algorithm>

#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

static bool reads_data(const SymTensor& s) {
  for (const SymExpr& e : s.elements)
    for (const std::string& symbol : e.symbols())
      if (symbol.starts_with('$')) return true;
  return false;
}

static Tensor constant_of(const Value& v) {
  Tensor t(v.type.dtype, v.type.rank() == 0 ? std::vector<int64_t>{} : std::vector<int64_t>{static_cast<int64_t>(v.content->elements.size())});
  for (int64_t i = 0; i < t.elements(); ++i) {
    const int64_t e = v.content->elements[static_cast<size_t>(i)].constant();
    is_float(t.dtype()) ? t.set_double(i, static_cast<double>(e)) : t.set_int(i, e);
  }
  return t;
}

Result<bool> fold_shapes(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.op->strategy == Strategy::kernel || n.op->name == "Dims") continue;
    const std::vector<ValueId> results = n.out;
    for (ValueId v : results) {
      const Value& value = g.value(v);
      if (!value.content || value.observed || reads_data(*value.content) || g.use_count(v) == 0) continue;
      ValueId replacement = kNoValue;
      if (value.content->is_constant()) {
        replacement = g.add_constant(value.name + ".folded", constant_of(value));
      } else {
        g.set_insert_point(id);
        Attrs attrs{{"dims", value.content->elements}, {"dtype", value.type.dtype}};
        if (value.type.rank() == 0) attrs.set("scalar", int64_t{1});
        FCC_TRY(NodeId dims, g.add(op("Dims"), {}, std::move(attrs), n.loc, {value.name + ".dims"}));
        g.set_insert_point(kNoNode);
        replacement = g.node(dims).out[0];
      }
      g.replace_uses(v, replacement);
      changed = true;
    }
  }
  return changed;
}

}  // namespace fcc
