#include "frontend/onnx/upgrade/upgrade.h"

#include <fmt/format.h>

#include "frontend/onnx/faults.h"

namespace fcc {

void NodeForm::set_operand(size_t k, ValueId v) {
  if (in.size() <= k) in.resize(k + 1, kNoValue);
  in[k] = v;
}

std::unexpected<Diagnostic> NodeForm::refuse(std::string what, std::string hint) const {
  return fail(op + (loc.node.empty() ? "" : " \"" + loc.node + "\"") + ": " + std::move(what), {}, std::move(hint));
}

template <class T>
static Result<T> attribute(const NodeForm& n, std::string_view attr, T otherwise, std::string_view type) {
  const AttrValue* v = n.attrs.find(attr);
  if (!v) return otherwise;
  if (const T* t = std::get_if<T>(v)) return *t;
  return n.refuse(
      fmt::format("attribute \"{}\" is a {}, expected a {}", attr, name(static_cast<AttrType>(v->index())), type));
}

Result<std::vector<int64_t>> NodeForm::ints(std::string_view attr) const {
  return attribute(*this, attr, std::vector<int64_t>{}, "list of integers");
}
Result<int64_t> NodeForm::integer(std::string_view attr, int64_t otherwise) const {
  return attribute(*this, attr, otherwise, "integer");
}
Result<double> NodeForm::number(std::string_view attr, double otherwise) const {
  return attribute(*this, attr, otherwise, "number");
}
Result<std::string> NodeForm::string(std::string_view attr, std::string_view otherwise) const {
  return attribute(*this, attr, std::string(otherwise), "string");
}

Status NodeForm::ints_to_operand(std::string_view attr, size_t k) {
  if (!attrs.has(attr)) return {};
  FCC_TRY(std::vector<int64_t> v, ints(attr));
  set_operand(k, builder().ints(std::move(v)));
  attrs.erase(attr);
  return {};
}

Status NodeForm::number_to_operand(std::string_view attr, size_t k, DType dtype) {
  if (!attrs.has(attr)) return {};
  FCC_TRY(const double v, number(attr, 0));
  set_operand(k, builder().scalar(dtype, v));
  attrs.erase(attr);
  return {};
}

void UpgradeTable::add(std::string_view op, int64_t below, UpgradeFn run) {
  steps_[op].push_back({below, run});
}
void UpgradeTable::rename(std::string_view op, std::string_view newest) {
  renamed_[op] = newest;
}

std::string_view UpgradeTable::newest_name(std::string_view op) const {
  auto it = renamed_.find(op);
  return it == renamed_.end() ? op : it->second;
}

Status UpgradeTable::run(NodeForm& node) const {
  const std::string original = node.op;
  if (auto it = steps_.find(original); it != steps_.end())
    for (const Step& s : it->second)
      if (node.opset < s.below && node.results.empty()) FCC_CHECKED(s.run(node));
  if (node.op == original) node.op = newest_name(original);
  return {};
}

#define FCC_UPGRADE(family) void register_##family##_upgrades(UpgradeTable&);
#include "frontend/onnx/upgrade/upgrades.def"
#undef FCC_UPGRADE

const UpgradeTable& upgrades() {
  static const UpgradeTable* table = [] {
    auto* t = new UpgradeTable;
#define FCC_UPGRADE(family) register_##family##_upgrades(*t);
#include "frontend/onnx/upgrade/upgrades.def"
#undef FCC_UPGRADE
    return t;
  }();
  return *table;
}

}  // namespace fcc
