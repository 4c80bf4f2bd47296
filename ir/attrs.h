#pragma once
// Attributes of a node: a small sorted map from name to value. Names and meanings are ONNX's newest form.
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ir/tensor.h"

namespace fcc {

using AttrValue = std::variant<int64_t, double, std::string, DType, std::vector<int64_t>, std::vector<double>, std::vector<std::string>, Dims, Tensor>;
// Index into AttrValue, in its order.
enum class AttrType : uint8_t { integer, number, string, dtype, integers, numbers, strings, dims, tensor };
std::string_view name(AttrType);

class Attrs {
 public:
  using Item = std::pair<std::string, AttrValue>;
  Attrs() = default;
  Attrs(std::initializer_list<Item> items);

  bool has(std::string_view name) const { return find(name) != nullptr; }
  const AttrValue* find(std::string_view name) const;
  void set(std::string_view name, AttrValue value);
  void erase(std::string_view name);
  const std::vector<Item>& items() const { return items_; }

  // The value, or `otherwise` when absent. A value of another type is a bug (the registry checks types on add).
  int64_t integer(std::string_view name, int64_t otherwise = 0) const;
  bool flag(std::string_view name, bool otherwise = false) const { return integer(name, otherwise) != 0; }
  double number(std::string_view name, double otherwise = 0) const;
  std::string string(std::string_view name, std::string_view otherwise = "") const;
  DType dtype(std::string_view name, DType otherwise) const;
  std::vector<int64_t> integers(std::string_view name, std::vector<int64_t> otherwise = {}) const;
  std::vector<double> numbers(std::string_view name, std::vector<double> otherwise = {}) const;
  std::vector<std::string> strings(std::string_view name) const;
  Dims dims(std::string_view name) const;
  const Tensor* tensor(std::string_view name) const;

 private:
  std::vector<Item> items_;  // sorted by name
};

}  // namespace fcc
