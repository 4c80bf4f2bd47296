#include "ir/attrs.h"

#include <algorithm>

namespace fcc {

std::string_view name(AttrType t) {
  static constexpr std::string_view kNames[] = {"integer", "number", "string", "element type", "list of integers", "list of numbers", "list of strings", "dims", "tensor"};
  return kNames[static_cast<size_t>(t)];
}

Attrs::Attrs(std::initializer_list<Item> items) {
  for (const Item& i : items) set(i.first, i.second);
}

static auto position(const std::vector<Attrs::Item>& items, std::string_view name) {
  return std::lower_bound(items.begin(), items.end(), name, [](const Attrs::Item& i, std::string_view n) { return i.first < n; });
}

const AttrValue* Attrs::find(std::string_view name) const {
  auto it = position(items_, name);
  return it != items_.end() && it->first == name ? &it->second : nullptr;
}

void Attrs::set(std::string_view name, AttrValue value) {
  auto it = items_.begin() + (position(items_, name) - items_.begin());
  if (it != items_.end() && it->first == name) {
    it->second = std::move(value);
  } else {
    items_.insert(it, {std::string(name), std::move(value)});
  }
}

void Attrs::erase(std::string_view name) {
  std::erase_if(items_, [&](const Item& i) { return i.first == name; });
}

template <class T>
static const T* get(const Attrs& a, std::string_view name) {
  const AttrValue* v = a.find(name);
  if (!v) return nullptr;
  const T* t = std::get_if<T>(v);
  FCC_CHECK(t, "attribute {} is a {}", name, fcc::name(static_cast<AttrType>(v->index())));
  return t;
}

int64_t Attrs::integer(std::string_view name, int64_t otherwise) const {
  const auto* v = get<int64_t>(*this, name);
  return v ? *v : otherwise;
}
double Attrs::number(std::string_view name, double otherwise) const {
  const auto* v = get<double>(*this, name);
  return v ? *v : otherwise;
}
std::string Attrs::string(std::string_view name, std::string_view otherwise) const {
  const auto* v = get<std::string>(*this, name);
  return v ? *v : std::string(otherwise);
}
DType Attrs::dtype(std::string_view name, DType otherwise) const {
  const auto* v = get<DType>(*this, name);
  return v ? *v : otherwise;
}
std::vector<int64_t> Attrs::integers(std::string_view name, std::vector<int64_t> otherwise) const {
  const auto* v = get<std::vector<int64_t>>(*this, name);
  return v ? *v : otherwise;
}
std::vector<double> Attrs::numbers(std::string_view name, std::vector<double> otherwise) const {
  const auto* v = get<std::vector<double>>(*this, name);
  return v ? *v : otherwise;
}
std::vector<std::string> Attrs::strings(std::string_view name) const {
  const auto* v = get<std::vector<std::string>>(*this, name);
  return v ? *v : std::vector<std::string>{};
}
Dims Attrs::dims(std::string_view name) const {
  const auto* v = get<Dims>(*this, name);
  return v ? *v : Dims{};
}
const Tensor* Attrs::tensor(std::string_view name) const { return get<Tensor>(*this, name); }

}  // namespace fcc
