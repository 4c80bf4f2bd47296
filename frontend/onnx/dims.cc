#include "frontend/onnx/dims.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "frontend/onnx/faults.h"

namespace fcc {
namespace {

std::string trimmed(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return std::string(s);
}

// Backquotes quote names in fcc's texts, '$' marks values read while running, control bytes break every text.
std::string sanitised(std::string_view text) {
  std::string s = trimmed(text);
  for (char& c : s)
    if (c == '`' || c == '$' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '_';
  return s;
}

// What exporters write when they do not know a dimension's name: never the same dimension twice.
bool means_unknown(const std::string& s) {
  return s.empty() || s == "?" || s == "-1" || s == "None" || s == "none";
}

bool is_plain_name(const std::string& s) {
  return !s.empty() && !std::isdigit(static_cast<unsigned char>(s[0])) &&
         std::all_of(s.begin(), s.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c >= 0x80; });
}

std::optional<int64_t> whole_number(std::string_view s) {
  int64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  return error == std::errc() && end == s.data() + s.size() && !s.empty() ? std::optional(v) : std::nullopt;
}

}  // namespace

Result<OpenDims> OpenDims::parse(const std::vector<std::string>& settings) {
  OpenDims out;
  for (const std::string& s : settings) {
    const auto refuse = [&](std::string_view why) {
      return fail("--dim " + quoted(s) + " " + std::string(why), {},
                  "write N=64 to fix a dimension, N=1..64 to bound it");
    };
    const size_t equal = s.rfind('=');
    if (equal == s.npos || equal == 0) return refuse("names no dimension or no value");
    const std::string name = sanitised(s.substr(0, equal)), value = trimmed(s.substr(equal + 1));
    const size_t dots = value.find("..");
    const auto low = whole_number(value.substr(0, dots)),
               high = dots == value.npos ? low : whole_number(value.substr(dots + 2));
    if (!low || !high) return refuse("has no number as its value");
    if (*low < 0 || *low > *high) return refuse("is an empty range");
    if (!out.settings_.emplace(name, DimBounds{*low, *high}).second) return refuse("is given twice");
  }
  return out;
}

void OpenDims::note_names(const onnx::TensorShapeProto& shape) {
  for (const auto& d : shape.dim()) {
    if (!d.has_dim_param()) continue;
    const std::string name = sanitised(d.dim_param());
    if (is_plain_name(name) && !means_unknown(name)) plain_.insert(name);
  }
}

SymExpr OpenDims::symbol(const std::string& name) {
  if (seen_.insert(name).second) order_.push_back(name);
  if (auto it = settings_.find(name); it != settings_.end() && it->second.min == it->second.max) return it->second.min;
  return SymExpr::symbol(name);
}

SymExpr OpenDims::from_text(const std::string& text, std::string_view input, int axis) {
  if (means_unknown(text)) return symbol(fmt::format("{}_d{}", sanitised(input), axis));
  if (plain_.contains(text)) return symbol(text);
  if (auto number = whole_number(text); number && *number >= 0) return *number;
  // "N + 1": an expression, if it speaks of names that exist. The limits keep products of sums small.
  if (text.size() <= 64 && std::count(text.begin(), text.end(), '*') <= 4) {
    Result<SymExpr> e = SymExpr::parse(text);
    if (e && !e->is_constant()) {
      const std::vector<std::string> used = e->symbols();
      if (std::all_of(used.begin(), used.end(), [&](const std::string& s) { return plain_.contains(s); }))
        return e->substitute([&](std::string_view s) { return symbol(std::string(s)); });
    }
  }
  return symbol(text);
}

bool OpenDims::opens(int64_t extent, int axis) const {
  return extent > 1 && (open_extents_ == OpenExtents::all || (open_extents_ == OpenExtents::first && axis == 0));
}

Result<Dims> OpenDims::dims_of(const onnx::TensorShapeProto& shape, std::string_view input, bool may_open) {
  static constexpr int kMaxRank = 16;
  if (shape.dim_size() > kMaxRank)
    return fail(fmt::format("input {} has rank {}; at most {} is supported", quoted(input), shape.dim_size(), kMaxRank),
                {}, "remove axes of extent 1");
  Dims dims;
  for (int i = 0; i < shape.dim_size(); ++i) {
    const auto& d = shape.dim(i);
    const bool unknown = (!d.has_dim_value() && !d.has_dim_param()) || (d.has_dim_value() && d.dim_value() == -1);
    if (unknown) {
      dims.push_back(from_text("", input, i));
    } else if (d.has_dim_param()) {
      dims.push_back(from_text(sanitised(d.dim_param()), input, i));
    } else {
      if (d.dim_value() < 0)
        return fail(fmt::format("input {} has the extent {} at axis {}", quoted(input), d.dim_value(), i), {},
                    "give the dimension a name to leave it open");
      dims.push_back(may_open && opens(d.dim_value(), i) ? symbol(fmt::format("open{}", d.dim_value()))
                                                         : SymExpr(d.dim_value()));
    }
  }
  return dims;
}

Status OpenDims::check_settings() const {
  for (const auto& [name, bounds] : settings_) {
    if (seen_.contains(name)) continue;
    std::string hint = order_.empty() ? "all sizes of this model are fixed"
                                      : fmt::format("open dimensions: {}", fmt::join(order_, " "));
    const std::vector<std::string_view> names(order_.begin(), order_.end());
    if (const std::string_view near = nearest_name(name, names); !near.empty())
      hint = fmt::format("did you mean {}?", near);
    return fail(fmt::format("--dim: the model has no open dimension {}", quoted(name)), {}, std::move(hint));
  }
  return {};
}

std::map<std::string, DimBounds> OpenDims::bounds() const {
  std::map<std::string, DimBounds> out = settings_;
  std::erase_if(out, [](const auto& item) { return item.second.min == item.second.max; });
  return out;
}

}  // namespace fcc
