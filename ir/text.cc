#include "ir/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/op.h"

namespace fcc {
namespace {

constexpr int64_t kInlineElements = 32;

// Words of the grammar and what an absent operand is written as.
constexpr std::string_view kReserved[] = {"_", "input", "const", "state", "output", "update"};

bool is_plain(std::string_view s) {
  if (s.empty() || std::isdigit(static_cast<unsigned char>(s[0])) || s[0] == '-') return false;
  if (std::find(std::begin(kReserved), std::end(kReserved), s) != std::end(kReserved)) return false;
  return std::all_of(s.begin(), s.end(), is_text_name_char);
}

std::string enclosed(std::string_view s, char mark) {
  std::string out(1, mark);
  for (char c : s) {
    if (c == mark || c == '\\') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out + mark;
}
std::string quoted(std::string_view s) { return is_plain(s) ? std::string(s) : enclosed(s, '`'); }
std::string escape(std::string_view s) { return enclosed(s, '"'); }

std::string number(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  std::string s = fmt::format("{}", d);
  return s.find_first_of(".en") == s.npos ? s + ".0" : s;
}

class Printer {
 public:
  Printer(const Graph& g, std::vector<Tensor>* pool, std::string indent, int32_t opset) : g_(g), pool_(pool), indent_(std::move(indent)), opset_(opset) {}

  std::string run() {
    std::string s = indent_ + "graph " + escape(g_.name);
    if (opset_ == 0 && (opset_ = first_opset()) != 0) s += " opset " + std::to_string(opset_);
    s += " {\n";
    for (ValueId v : g_.inputs()) s += line("input " + typed(v) + known(v));
    for (ValueId v = 0; v < g_.value_count(); ++v)
      if (const Value& c = g_.value(v); !c.dead && c.role == Role::constant && g_.use_count(v) > 0) s += line("const " + typed(v) + " = " + data(c.data));
    for (ValueId v : g_.states()) s += line("state " + typed(v) + (g_.value(v).data.raw() ? " = " + data(g_.value(v).data) : ""));
    for (NodeId n : g_.order()) s += node(g_.node(n));
    for (size_t i = 0; i < g_.outputs.size(); ++i) s += line("output " + quoted(g_.output_names[i]) + " = " + name_of(g_.outputs[i]));
    for (auto& [state, next] : g_.updates) s += line("update " + name_of(state) + " = " + name_of(next));
    return s + indent_ + "}\n";
  }

 private:
  std::string line(const std::string& s) const { return indent_ + "  " + s + "\n"; }
  std::string name_of(ValueId v) const { return v == kNoValue ? "_" : quoted(g_.value(v).name); }
  std::string typed(ValueId v) const { return name_of(v) + " : " + g_.value(v).type.text(); }

  // The opset that nodes have unless they say otherwise.
  int32_t first_opset() const {
    for (NodeId n : g_.order())
      if (g_.node(n).loc.opset != 0) return g_.node(n).loc.opset;
    return 0;
  }

  // What is known of an input's elements: operators inside a kernel's body may need it.
  std::string known(ValueId v) const {
    const Value& value = g_.value(v);
    return value.content ? (value.observed ? " observed " : " content ") + text(value.content->elements) : "";
  }

  std::string location(const Loc& loc) const {
    if (loc.node.empty() && loc.index < 0 && loc.opset == 0) return "";
    std::string s = " @" + escape(loc.node);
    if (loc.index >= 0) s += "#" + std::to_string(loc.index);
    if (loc.opset != opset_) s += "/" + std::to_string(loc.opset);
    return s;
  }

  std::string data(const Tensor& t) {
    if (t.elements() > kInlineElements) {
      if (!pool_) return fmt::format("pool({} bytes)", t.bytes());
      pool_->push_back(t);
      return fmt::format("pool {}", pool_->size() - 1);
    }
    std::string s = "{";
    for (int64_t i = 0; i < t.elements(); ++i) s += (i ? "," : "") + (is_float(t.dtype()) ? number(t.get_double(i)) : std::to_string(t.get_int(i)));
    return s + "}";
  }

  std::string attr(const AttrValue& v) {
    auto list = [](const auto& items, auto print) {
      std::string s = "[";
      for (size_t i = 0; i < items.size(); ++i) s += (i ? "," : "") + print(items[i]);
      return s + "]";
    };
    switch (static_cast<AttrType>(v.index())) {
      case AttrType::integer: return std::to_string(std::get<int64_t>(v));
      case AttrType::number: return number(std::get<double>(v));
      case AttrType::string: return escape(std::get<std::string>(v));
      case AttrType::dtype: return "'" + std::string(name(std::get<DType>(v)));
      case AttrType::integers: return list(std::get<std::vector<int64_t>>(v), [](int64_t x) { return std::to_string(x); });
      case AttrType::numbers: return "numbers" + list(std::get<std::vector<double>>(v), number);
      case AttrType::strings: return "strings" + list(std::get<std::vector<std::string>>(v), escape);
      case AttrType::dims: return "dims" + list(std::get<Dims>(v), [](const SymExpr& e) { return e.text(); });
      case AttrType::tensor: {
        const Tensor& t = std::get<Tensor>(v);
        return "tensor " + t.type().text() + " " + data(t);
      }
    }
    return "";
  }

  std::string node(const Node& n) {
    std::string s = indent_ + "  ";
    for (size_t i = 0; i < n.out.size(); ++i) s += (i ? ", " : "") + name_of(n.out[i]);
    s += " = " + std::string(n.op->name) + "(";
    for (size_t i = 0; i < n.in.size(); ++i) s += (i ? ", " : "") + name_of(n.in[i]);
    s += ")";
    if (!n.attrs.items().empty()) {
      s += " {";
      bool first = true;
      for (const auto& [attr_name, value] : n.attrs.items()) {
        s += (first ? "" : ", ") + attr_name + "=" + attr(value);
        first = false;
      }
      s += "}";
    }
    for (size_t i = 0; i < n.out.size(); ++i) s += (i ? ", " : " : ") + g_.value(n.out[i]).type.text();
    s += location(n.loc);
    for (size_t i = 0; i < n.out.size(); ++i)
      if (const Value& v = g_.value(n.out[i]); v.observed) s += " observed " + std::to_string(i) + " " + text(v.content->elements);
    s += "\n";
    if (n.body) s += Printer(*n.body, pool_, indent_ + "    ", opset_).run();
    return s;
  }

  const Graph& g_;
  std::vector<Tensor>* pool_;
  std::string indent_;
  int32_t opset_;
};

}  // namespace

bool is_text_name_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/' || c == ':' || c == '$' || c == '-';
}

std::string print(const Graph& g, std::vector<Tensor>* pool) { return Printer(g, pool, "", 0).run(); }

}  // namespace fcc
