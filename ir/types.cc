#include "ir/types.h"

#include <algorithm>

#include "ir/base/check.h"

namespace fcc {

namespace {
struct DTypeFacts {
  std::string_view name;
  int64_t bytes;
  char kind;  // f float, s signed, u unsigned, b bool
};
constexpr DTypeFacts kFacts[kDTypeCount + 1] = {
    {"?", 0, '?'},   {"f32", 4, 'f'}, {"f64", 8, 'f'}, {"f16", 2, 'f'}, {"bf16", 2, 'f'}, {"i8", 1, 's'},  {"i16", 2, 's'},
    {"i32", 4, 's'}, {"i64", 8, 's'}, {"u8", 1, 'u'},  {"u16", 2, 'u'}, {"u32", 4, 'u'},  {"u64", 8, 'u'}, {"bool", 1, 'b'}};
const DTypeFacts& facts(DType t) { return kFacts[static_cast<size_t>(t)]; }
}  // namespace

std::string_view name(DType t) { return facts(t).name; }
int64_t byte_size(DType t) { return facts(t).bytes; }
bool is_float(DType t) { return facts(t).kind == 'f'; }
bool is_signed_int(DType t) { return facts(t).kind == 's'; }
bool is_unsigned_int(DType t) { return facts(t).kind == 'u'; }

std::optional<DType> dtype_named(std::string_view s) {
  for (int i = 1; i <= kDTypeCount; ++i)
    if (kFacts[i].name == s) return static_cast<DType>(i);
  return std::nullopt;
}

bool TensorType::is_static() const {
  return std::all_of(dims.begin(), dims.end(), [](const SymExpr& d) { return d.is_constant(); });
}

SymExpr TensorType::elements() const {
  SymExpr n = 1;
  for (const SymExpr& d : dims) n = n * d;
  return n;
}

std::vector<int64_t> TensorType::extents() const {
  std::vector<int64_t> v;
  for (const SymExpr& d : dims) v.push_back(d.constant());
  return v;
}

std::string text(const Dims& dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i) s += (i ? "," : "") + dims[i].text();
  return s + "]";
}

std::string TensorType::text() const { return std::string(name(dtype)) + fcc::text(dims); }

Result<TensorType> TensorType::parse(std::string_view s) {
  size_t open = s.find('[');
  if (open == s.npos || s.back() != ']') return fail("type \"" + std::string(s) + "\" is not of the form f32[2,3]");
  std::optional<DType> dtype = dtype_named(s.substr(0, open));
  if (!dtype) return fail("unknown element type \"" + std::string(s.substr(0, open)) + "\"");
  TensorType type{*dtype, {}};
  std::string_view inside = s.substr(open + 1, s.size() - open - 2);
  int depth = 0;
  size_t start = 0;
  bool quoted = false;
  for (size_t i = 0; i <= inside.size() && !inside.empty(); ++i) {
    if (i < inside.size()) {
      if (inside[i] == '`') quoted = !quoted;
      if (inside[i] == '(') ++depth;
      if (inside[i] == ')') --depth;
      if (inside[i] != ',' || depth > 0 || quoted) continue;
    }
    FCC_TRY(SymExpr d, SymExpr::parse(inside.substr(start, i - start)));
    type.dims.push_back(std::move(d));
    start = i + 1;
  }
  return type;
}

std::optional<Dims> broadcast(const Dims& a, const Dims& b) {
  const Dims& longer = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  Dims out = longer;
  const size_t lead = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    const SymExpr &x = longer[lead + i], &y = shorter[i];
    if (x == y || y.is(1)) continue;
    if (x.is(1)) {
      out[lead + i] = y;
    } else if (x.is_constant() && y.is_constant()) {
      return std::nullopt;
    } else if (y.is_constant()) {
      out[lead + i] = y;  // a number other than 1 decides
    }
  }
  return out;
}

}  // namespace fcc
