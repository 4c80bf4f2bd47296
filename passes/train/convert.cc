#include "passes/train/convert.h"

#include "ir/op.h"

namespace fcc {
namespace {

TensorType widened(TensorType t) {
  if (t.dtype == DType::f32) t.dtype = DType::f64;
  return t;
}

Tensor widened(const Tensor& t) {
  if (t.dtype() != DType::f32) return t;
  Tensor d(DType::f64, t.shape());
  const std::vector<double> values = t.to_doubles();
  std::copy(values.begin(), values.end(), d.as<double>().begin());
  return d;
}

Attrs widened(Attrs attrs) {
  const Attrs given = attrs;
  for (const Attrs::Item& item : given.items()) {
    if (const auto* type = std::get_if<DType>(&item.second); type && *type == DType::f32)
      attrs.set(item.first, DType::f64);
    if (const auto* tensor = std::get_if<Tensor>(&item.second)) attrs.set(item.first, widened(*tensor));
    if (item.first == "stash_type") attrs.set(item.first, int64_t{11});
  }
  return attrs;
}

}  // namespace

Result<Graph> in_double(const Graph& g, std::vector<ValueId>* map_out) {
  Graph out;
  out.name = g.name;
  out.file = g.file;
  out.assumptions = g.assumptions;
  std::vector<ValueId> map(static_cast<size_t>(g.value_count()), kNoValue);
  const auto put = [&](ValueId from, ValueId to) {
    map[static_cast<size_t>(from)] = to;
    const Value& v = g.value(from);
    if (v.content && (v.observed || v.role == Role::input)) out.set_content(to, *v.content, v.observed);
  };
  for (ValueId v : g.inputs()) put(v, out.add_input(g.value(v).name, widened(g.value(v).type)));
  for (ValueId v : g.states())
    put(v, out.add_state(g.value(v).name, widened(g.value(v).type), widened(g.value(v).data)));
  for (ValueId v = 0; v < g.value_count(); ++v)
    if (g.value(v).role == Role::constant && !g.value(v).dead)
      put(v, out.add_constant(g.value(v).name, widened(g.value(v).data)));
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    std::vector<ValueId> in;
    std::vector<std::string> names;
    for (ValueId v : n.in) in.push_back(v == kNoValue ? kNoValue : map[static_cast<size_t>(v)]);
    for (ValueId v : n.out) names.push_back(g.value(v).name);
    FCC_TRY(NodeId made, out.add(*n.op, std::move(in), widened(n.attrs), n.loc, names, n.body));
    for (size_t k = 0; k < n.out.size(); ++k) map[static_cast<size_t>(n.out[k])] = out.node(made).out[k];
  }
  for (size_t i = 0; i < g.outputs.size(); ++i)
    out.add_output(g.output_names[i], map[static_cast<size_t>(g.outputs[i])]);
  for (const auto& [state, next] : g.updates)
    out.updates.emplace_back(map[static_cast<size_t>(state)], map[static_cast<size_t>(next)]);
  if (map_out) *map_out = std::move(map);
  return out;
}

}  // namespace fcc
