// f(constants) → constant. Not folded: results above 1 MiB that are much larger than their operands, and those above
// 64 MiB that have none (an Expand of a scalar), because the file would carry them. The masks of Swin's shifted windows
// (614 KiB, from 12 KiB) are folded.
#include <algorithm>

#include "ir/eval.h"
#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

static bool worth_folding(const Graph& g, const Node& n) {
  constexpr int64_t kSmall = int64_t{1} << 20, kLarge = int64_t{64} << 20;
  int64_t in_bytes = 0, out_bytes = 0;
  for (ValueId v : n.in)
    if (v != kNoValue) in_bytes += g.value(v).data.bytes();
  for (ValueId v : n.out) {
    const TensorType& t = g.value(v).type;
    if (!t.is_static()) return false;
    out_bytes += t.elements().constant() * byte_size(t.dtype);
  }
  return out_bytes <= std::max(kSmall, 4 * in_bytes) || (n.in.empty() && out_bytes <= kLarge);
}

Result<bool> fold_constants(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (n.op->strategy == Strategy::kernel || n.op->has_body) continue;
    if (n.op->name == "TransformWinogradWeight") continue;  // stands only where the result is not to be in the file
    const bool constant = std::all_of(n.in.begin(), n.in.end(), [&](ValueId v) { return v == kNoValue || g.is_constant(v); });
    const bool open = std::any_of(n.attrs.items().begin(), n.attrs.items().end(), [](const Attrs::Item& a) { return std::holds_alternative<Dims>(a.second); });
    if (!constant || (open && n.in.empty() && n.op->name == "Dims") || !worth_folding(g, n)) continue;
    std::vector<const Tensor*> in;
    for (ValueId v : n.in) in.push_back(v == kNoValue ? nullptr : &g.value(v).data);
    FCC_TRY(std::vector<Tensor> out, evaluate_node(g, id, in));
    const std::vector<ValueId> results = n.out;
    for (size_t k = 0; k < results.size(); ++k) {
      const std::string result_name = g.value(results[k]).name;
      const ValueId c = g.add_constant(result_name + ".folded", std::move(out[k]));
      g.replace_uses(results[k], c);
    }
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
