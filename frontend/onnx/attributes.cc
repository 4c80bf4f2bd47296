#include "frontend/onnx/attributes.h"

#include <fmt/format.h>

#include "frontend/onnx/faults.h"

namespace fcc {

using onnx::AttributeProto;

AttributeProto::AttributeType attribute_type(const AttributeProto& a) {
  if (a.has_type() && a.type() != AttributeProto::UNDEFINED) return a.type();
  if (a.has_f()) return AttributeProto::FLOAT;
  if (a.has_i()) return AttributeProto::INT;
  if (a.has_s()) return AttributeProto::STRING;
  if (a.has_t()) return AttributeProto::TENSOR;
  if (a.has_g()) return AttributeProto::GRAPH;
  if (a.has_sparse_tensor()) return AttributeProto::SPARSE_TENSOR;
  if (a.floats_size()) return AttributeProto::FLOATS;
  if (a.ints_size()) return AttributeProto::INTS;
  if (a.strings_size()) return AttributeProto::STRINGS;
  if (a.graphs_size()) return AttributeProto::GRAPHS;
  return AttributeProto::UNDEFINED;
}

Result<AttrValue> attribute_value(const AttributeProto& a, TensorReader& tensors, const std::string& node) {
  const std::string what = fmt::format("{}: attribute {}", node, quoted(a.name()));
  switch (attribute_type(a)) {
    case AttributeProto::FLOAT:
      return static_cast<double>(a.f());
    case AttributeProto::INT:
      return static_cast<int64_t>(a.i());
    case AttributeProto::STRING:
      return a.s();
    case AttributeProto::FLOATS:
      return std::vector<double>(a.floats().begin(), a.floats().end());
    case AttributeProto::INTS:
      return std::vector<int64_t>(a.ints().begin(), a.ints().end());
    case AttributeProto::STRINGS:
      return std::vector<std::string>(a.strings().begin(), a.strings().end());
    case AttributeProto::TENSOR: {
      if (!a.has_t())
        return fail(what + " says it is a tensor, but holds none", {}, "the file is damaged or was written wrongly");
      FCC_TRY(Tensor t, tensors.read(a.t(), what));
      return t;
    }
    case AttributeProto::SPARSE_TENSOR: {
      if (!a.has_sparse_tensor())
        return fail(what + " says it is a sparse tensor, but holds none", {},
                    "the file is damaged or was written wrongly");
      FCC_TRY(Tensor t, tensors.read_sparse(a.sparse_tensor(), what));
      return t;
    }
    default:
      return fail(what + " has a type that is not supported", {},
                  "supported: numbers, strings, lists of them, and tensors");
  }
}

static Status fit(const AttrSpec& spec, AttrValue& value, const std::string& what) {
  const auto have = static_cast<AttrType>(value.index());
  if (have == spec.type) return {};
  if (spec.type == AttrType::dtype && have == AttrType::integer) {
    const int64_t number = std::get<int64_t>(value);
    if (auto d = unsupported_dtype(number, what)) return std::unexpected(std::move(*d));
    value = *dtype_from_onnx(number);
    return {};
  }
  if (spec.type == AttrType::number && have == AttrType::integer) {
    value = static_cast<double>(std::get<int64_t>(value));
    return {};
  }
  if (spec.type == AttrType::dims && (have == AttrType::strings || have == AttrType::integers)) {
    Dims dims;
    if (const auto* numbers = std::get_if<std::vector<int64_t>>(&value)) dims.assign(numbers->begin(), numbers->end());
    if (const auto* texts = std::get_if<std::vector<std::string>>(&value))
      for (const std::string& text : *texts) {
        FCC_TRY(SymExpr e, SymExpr::parse(text));
        dims.push_back(std::move(e));
      }
    value = std::move(dims);
    return {};
  }
  // An empty list has no elements to tell its type by.
  if (spec.type == AttrType::integers && have == AttrType::numbers && std::get<std::vector<double>>(value).empty()) {
    value = std::vector<int64_t>{};
    return {};
  }
  return fail(fmt::format("{} is a {}, expected a {}", what, name(have),
                          spec.type == AttrType::dtype ? "number of an element type" : name(spec.type)));
}

Status fit_attributes(const OpDef& op, Attrs& attrs, const std::string& node) {
  const Attrs given = attrs;
  for (const auto& [attr, value] : given.items()) {
    const AttrSpec* spec = op.attr(attr);
    if (!spec) {
      std::vector<std::string_view> known;
      for (const AttrSpec& s : op.attrs) known.push_back(s.name);
      const std::string_view near = nearest_name(attr, known);
      std::string hint = known.empty() ? "it has no attributes" : fmt::format("it has: {}", fmt::join(known, " "));
      if (!near.empty()) hint = fmt::format("did you mean \"{}\"?", near);
      return fail(fmt::format("{}: attribute {} is unknown", node, quoted(attr)), {}, std::move(hint));
    }
    AttrValue fitted = value;
    FCC_CHECKED(fit(*spec, fitted, fmt::format("{}: attribute {}", node, quoted(attr))));
    attrs.set(attr, std::move(fitted));
  }
  return {};
}

}  // namespace fcc
