// f(x), f(x) → one f(x): common subexpressions, and constants with equal bytes.
#include <algorithm>
#include <map>
#include <string>

#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {

// Equal keys mean equal nodes; nodes with bodies or tensor attributes are left alone (empty key).
static std::string key_of(const Node& n) {
  if (n.body) return "";
  std::string key(n.op->name);
  for (ValueId v : n.in) key += "," + std::to_string(v);
  key += "|" + std::to_string(n.out.size());
  for (const auto& [attr_name, value] : n.attrs.items()) {
    key += "|" + attr_name + "=";
    if (auto* i = std::get_if<int64_t>(&value)) key += std::to_string(*i);
    else if (auto* d = std::get_if<double>(&value)) key += std::string(reinterpret_cast<const char*>(d), sizeof *d);
    else if (auto* s = std::get_if<std::string>(&value)) key += *s;
    else if (auto* t = std::get_if<DType>(&value)) key += name(*t);
    else if (auto* list = std::get_if<std::vector<int64_t>>(&value)) for (int64_t x : *list) key += std::to_string(x) + ";";
    else if (auto* reals = std::get_if<std::vector<double>>(&value)) for (double x : *reals) key += std::string(reinterpret_cast<const char*>(&x), sizeof x);
    else if (auto* texts = std::get_if<std::vector<std::string>>(&value)) for (const std::string& x : *texts) key += std::to_string(x.size()) + ":" + x;
    else if (auto* dims = std::get_if<Dims>(&value)) key += text(*dims);
    else return "";
  }
  return key;
}

static bool merge_constants(Graph& g) {
  bool changed = false;
  std::map<std::pair<size_t, std::string>, std::vector<ValueId>> seen;
  for (ValueId v = 0; v < g.value_count(); ++v) {
    const Value& value = g.value(v);
    if (value.dead || value.role != Role::constant || value.data.bytes() > (1 << 16)) continue;
    const std::string_view bytes(reinterpret_cast<const char*>(value.data.raw()), static_cast<size_t>(value.data.bytes()));
    auto& bucket = seen[{std::hash<std::string_view>()(bytes), value.type.text()}];
    ValueId same = kNoValue;
    for (ValueId w : bucket)
      if (g.value(w).data.same_bits(value.data)) same = w;
    if (same == kNoValue) {
      bucket.push_back(v);
    } else if (g.use_count(v) > 0) {
      g.replace_uses(v, same);
      changed = true;
    }
  }
  return changed;
}

Result<bool> merge_equal(Graph& g, PassContext&) {
  bool changed = merge_constants(g);
  std::map<std::string, NodeId> seen;
  for (NodeId id : g.order()) {
    const std::string key = key_of(g.node(id));
    if (key.empty()) continue;
    auto [it, fresh] = seen.emplace(key, id);
    if (fresh) continue;
    const std::vector<ValueId> from = g.node(id).out, to = g.node(it->second).out;
    if (std::any_of(from.begin(), from.end(), [&](ValueId v) { return g.value(v).observed; })) continue;  // both sets of symbols are in use
    for (size_t k = 0; k < from.size(); ++k) g.replace_uses(from[k], to[k]);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
