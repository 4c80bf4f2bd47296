#include "ir/fold.h"

#include <optional>

#include "ir/eval.h"
#include "ir/op.h"

namespace fcc {

static constexpr int64_t kSmallElements = 4096;

std::optional<Tensor> known_tensor(const Graph& g, ValueId v) {
  const Value& value = g.value(v);
  if (value.role == Role::constant) return value.data;
  if (!value.content || value.observed || !value.content->is_constant()) return std::nullopt;
  const auto n = static_cast<int64_t>(value.content->elements.size());
  Tensor t(value.type.dtype, value.content->rank == 0 ? std::vector<int64_t>{} : std::vector<int64_t>{n});
  for (int64_t i = 0; i < n; ++i) {
    const int64_t e = value.content->elements[static_cast<size_t>(i)].constant();
    is_float(t.dtype()) ? t.set_double(i, static_cast<double>(e)) : t.set_int(i, e);
  }
  return t;
}

static bool is_small(const Graph& g, ValueId v) {
  const TensorType& t = g.value(v).type;
  return t.is_static() && t.elements().constant() <= kSmallElements;
}

Status fold_if_known(Graph& g, std::vector<ValueId>& results) {
  if (results.empty() || g.value(results[0]).def == kNoNode) return {};
  const NodeId id = g.value(results[0]).def;
  const Node& n = g.node(id);
  if (n.op->has_body || n.op->expand || n.out != results) return {};
  for (ValueId v : results)
    if (!is_small(g, v)) return {};
  for (const auto& [attr_name, value] : n.attrs.items())
    if (std::holds_alternative<Dims>(value)) return {};
  std::vector<Tensor> operands(n.in.size());
  std::vector<const Tensor*> in(n.in.size(), nullptr);
  for (size_t k = 0; k < n.in.size(); ++k) {
    if (n.in[k] == kNoValue) continue;
    if (!is_small(g, n.in[k])) return {};
    std::optional<Tensor> t = known_tensor(g, n.in[k]);
    if (!t) return {};
    operands[k] = std::move(*t);
    in[k] = &operands[k];
  }
  FCC_TRY(std::vector<Tensor> out, evaluate_node(g, id, in));
  std::vector<std::string> names;
  for (ValueId v : results) names.push_back(g.value(v).name);
  g.erase(id);
  for (size_t k = 0; k < results.size(); ++k) results[k] = g.add_constant(names[k], std::move(out[k]));
  return {};
}

}  // namespace fcc
