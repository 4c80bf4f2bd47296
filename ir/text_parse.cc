// The parser of graph text (grammar: docs/graph_ir.md). Recursive descent straight over the characters; faults travel
// as an exception inside this file only and leave it as a Diagnostic with the line.
#include <algorithm>
#include <charconv>
#include <map>

#include "ir/op.h"
#include "ir/text.h"

namespace fcc {
namespace {

struct Fault {
  std::string what;
};
[[noreturn]] void fault(std::string what) { throw Fault{std::move(what)}; }

template <class T>
T or_fault(Result<T> r) {
  if (!r) fault(r.error().what);
  return *std::move(r);
}

// Characters, names, numbers and types.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  int line() const { return static_cast<int>(std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n')) + 1; }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fault(fmt::format("expected {}, seen \"{}\"", c, rest()));
  }
  // A word of the grammar, which must end there.
  bool accept_word(std::string_view word) {
    skip_space();
    const size_t end = at_ + word.size();
    if (text_.substr(at_, word.size()) != word || (end < text_.size() && is_text_name_char(text_[end]))) return false;
    at_ = end;
    return true;
  }

  std::string name() {
    if (accept('`')) return until('`');
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && is_text_name_char(text_[at_])) ++at_;
    if (at_ == begin) fault(fmt::format("expected a name, seen \"{}\"", rest()));
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::string string() {
    expect('"');
    return until('"');
  }

  // The characters of a number, inf or nan.
  std::string_view number() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-' || text_[at_] == '+' || text_[at_] == '.')) ++at_;
    if (at_ == begin) fault(fmt::format("expected a number, seen \"{}\"", rest()));
    return text_.substr(begin, at_ - begin);
  }
  int64_t integer() { return to_integer(number()); }
  double real() { return to_real(number()); }

  static int64_t to_integer(std::string_view s) {
    int64_t v = 0;
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    if (error != std::errc() || end != s.data() + s.size()) fault(fmt::format("\"{}\" is no whole number of 64 bits", s));
    return v;
  }
  static uint64_t to_unsigned(std::string_view s) {
    uint64_t v = 0;
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    return error == std::errc() && end == s.data() + s.size() ? v : static_cast<uint64_t>(to_integer(s));
  }
  static double to_real(std::string_view s) {
    double v = 0;
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    if (error != std::errc() || end != s.data() + s.size()) fault(fmt::format("\"{}\" is no number", s));
    return v;
  }

  TensorType type() {
    skip_space();
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '[' && text_[at_] != '\n') ++at_;
    bracketed();
    return or_fault(TensorType::parse(text_.substr(begin, at_ - begin)));
  }
  // [N,2*S+1]
  Dims dims() {
    skip_space();
    const size_t begin = at_;
    bracketed();
    return or_fault(TensorType::parse("i64" + std::string(text_.substr(begin, at_ - begin)))).dims;
  }
  void end_of_line() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\r')) ++at_;
    if (at_ < text_.size() && text_[at_] != '\n') fault(fmt::format("unexpected \"{}\"", rest()));
  }
  bool on_same_line(char c) {
    size_t at = at_;
    while (at < text_.size() && text_[at] == ' ') ++at;
    return at < text_.size() && text_[at] == c;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  std::string_view rest() const { return text_.substr(at_, std::min<size_t>(24, std::min(text_.find('\n', at_), text_.size()) - at_)); }
  // Up to an unescaped end; undoes the escapes.
  std::string until(char end) {
    std::string s;
    for (; at_ < text_.size() && text_[at_] != end; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        s += text_[at_] == 'n' ? '\n' : text_[at_];
      } else {
        s += text_[at_];
      }
    }
    if (at_ == text_.size()) fault(fmt::format("expected {}", end));
    ++at_;
    return s;
  }
  void bracketed() {
    if (at_ >= text_.size() || text_[at_] != '[') fault(fmt::format("expected [, seen \"{}\"", rest()));
    bool quoted = false;
    for (; at_ < text_.size() && text_[at_] != '\n'; ++at_) {
      if (text_[at_] == '`') quoted = !quoted;
      if (text_[at_] == ']' && !quoted) {
        ++at_;
        return;
      }
    }
    fault("expected ]");
  }

  std::string_view text_;
  size_t at_ = 0;
};

// The same numbers every time: xorshift (Marsaglia 2003), small, around zero.
Tensor pattern(const TensorType& type) {
  Tensor t(type.dtype, type.extents());
  uint32_t state = 2463534242u;
  for (int64_t i = 0; i < t.elements(); ++i) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    is_float(type.dtype) ? t.set_double(i, (static_cast<double>(state % 2001) - 1000) / 1000) : t.set_int(i, state % 2);
  }
  return t;
}

class GraphParser {
 public:
  GraphParser(Lexer& lexer, std::span<const Tensor> pool, int32_t opset) : lex_(lexer), pool_(pool), opset_(opset) {}

  Graph run() {
    g_.name = lex_.string();
    if (lex_.accept_word("opset")) opset_ = static_cast<int32_t>(lex_.integer());
    lex_.expect('{');
    while (!lex_.accept('}')) statement();
    reserve_data_symbols();
    return std::move(g_);
  }

 private:
  void statement() {
    if (lex_.accept_word("input")) return input();
    if (lex_.accept_word("const")) return constant();
    if (lex_.accept_word("state")) return state();
    if (lex_.accept_word("output")) return output();
    if (lex_.accept_word("update")) return update();
    node();
  }

  struct Typed {
    std::string name;
    TensorType type;
  };
  Typed typed() {
    std::string name = lex_.name();
    lex_.expect(':');
    return {std::move(name), lex_.type()};
  }
  ValueId define(ValueId v, const std::string& name) {
    if (!values_.emplace(name, v).second) fault(fmt::format("{} is defined twice", name));
    return v;
  }
  ValueId value() {
    const std::string name = lex_.name();
    auto it = values_.find(name);
    if (it == values_.end()) fault(fmt::format("{} is not defined", name));
    return it->second;
  }

  void input() {
    Typed t = typed();
    const int64_t rank = t.type.rank();
    const ValueId v = define(g_.add_input(t.name, std::move(t.type)), t.name);
    content(v, rank);
    lex_.end_of_line();
  }
  void constant() {
    Typed t = typed();
    lex_.expect('=');
    define(g_.add_constant(t.name, data(t.type)), t.name);
    lex_.end_of_line();
  }
  void state() {
    Typed t = typed();
    Tensor initial;
    if (lex_.on_same_line('=')) {
      lex_.expect('=');
      initial = data(t.type);
    }
    define(g_.add_state(t.name, t.type, std::move(initial)), t.name);
    lex_.end_of_line();
  }
  void output() {
    std::string name = lex_.name();
    lex_.expect('=');
    g_.add_output(std::move(name), value());
    lex_.end_of_line();
  }
  void update() {
    const ValueId s = value();
    lex_.expect('=');
    g_.updates.emplace_back(s, value());
    lex_.end_of_line();
  }

  // What is known of v's elements, when the text says so: "content [N,2]" or "observed [$0]".
  void content(ValueId v, int64_t rank) {
    const bool observed = lex_.on_same_line('o') && lex_.accept_word("observed");
    if (!observed && !(lex_.on_same_line('c') && lex_.accept_word("content"))) return;
    SymTensor s{rank, lex_.dims()};
    note_symbols(s.elements);
    g_.set_content(v, std::move(s), observed);
  }
  void reserve_data_symbols() {
    for (int64_t k = 0; k < std::min<int64_t>(data_symbols_, 1 << 20); ++k) g_.fresh_data_symbol();
  }

  void node() {
    std::vector<std::string> names{lex_.name()};
    while (lex_.accept(',')) names.push_back(lex_.name());
    lex_.expect('=');
    const std::string op_name = lex_.name();
    const OpDef* def = registry().find(op_name);
    if (!def) fault(fmt::format("there is no operator {}", op_name));
    std::vector<ValueId> in = operands();
    Attrs attrs = attributes();
    std::vector<TensorType> types;
    lex_.expect(':');
    types.push_back(lex_.type());
    while (lex_.on_same_line(',')) {
      lex_.expect(',');
      types.push_back(lex_.type());
    }
    if (types.size() != names.size()) fault(fmt::format("{} has {} results and {} types", op_name, names.size(), types.size()));
    Loc loc = location();
    std::shared_ptr<const Graph> body = def->has_body ? nested() : nullptr;
    const auto n_results = static_cast<int32_t>(names.size());
    const NodeId id = or_fault(g_.add(*def, std::move(in), std::move(attrs), std::move(loc), names, std::move(body), n_results));
    for (size_t k = 0; k < names.size(); ++k) {
      const ValueId v = g_.node(id).out[k];
      if (g_.value(v).type != types[k]) fault(fmt::format("{} is {}, the text says {}", names[k], g_.value(v).type.text(), types[k].text()));
      define(v, names[k]);
      auto it = observed_.find(static_cast<int>(k));
      if (it != observed_.end()) g_.set_content(v, SymTensor{types[k].rank(), it->second}, true);
    }
  }

  std::vector<ValueId> operands() {
    std::vector<ValueId> in;
    lex_.expect('(');
    while (!lex_.accept(')')) {
      in.push_back(lex_.accept_word("_") ? kNoValue : value());
      if (lex_.peek() != ')') lex_.expect(',');
    }
    return in;
  }

  // @"name"#index/opset, then the results that steps read while running: observed 0 [$3,$4]
  Loc location() {
    Loc loc;
    if (lex_.on_same_line('@')) {
      lex_.expect('@');
      loc.node = lex_.string();
      loc.opset = opset_;
      if (lex_.on_same_line('#')) {
        lex_.expect('#');
        loc.index = static_cast<int32_t>(lex_.integer());
      }
      if (lex_.on_same_line('/')) {
        lex_.expect('/');
        loc.opset = static_cast<int32_t>(lex_.integer());
      }
    }
    observed_.clear();
    while (lex_.on_same_line('o') && lex_.accept_word("observed")) {
      const auto k = static_cast<int>(lex_.integer());
      observed_[k] = lex_.dims();
      note_symbols(observed_[k]);
    }
    lex_.end_of_line();
    return loc;
  }
  void note_symbols(const Dims& dims) {
    for (const SymExpr& e : dims)
      for (const std::string& symbol : e.symbols())
        if (symbol.starts_with('$')) data_symbols_ = std::max<int64_t>(data_symbols_, std::atoll(symbol.c_str() + 1) + 1);
  }

  std::shared_ptr<const Graph> nested() {
    if (!lex_.accept_word("graph")) fault("expected the body of the node: graph \"\" { ... }");
    return std::make_shared<const Graph>(GraphParser(lex_, pool_, opset_).run());
  }

  Tensor data(const TensorType& type) {
    if (!type.is_static()) fault(type.text() + " has no fixed size");
    if (lex_.accept_word("pool")) return pooled(type);
    Tensor t(type.dtype, type.extents());
    lex_.expect('{');
    for (int64_t i = 0; i < t.elements(); ++i) {
      if (i) lex_.expect(',');
      if (is_float(type.dtype)) {
        t.set_double(i, lex_.real());
      } else {
        t.set_int(i, static_cast<int64_t>(Lexer::to_unsigned(lex_.number())));
      }
    }
    lex_.expect('}');
    return t;
  }
  Tensor pooled(const TensorType& type) {
    if (lex_.accept('(')) {  // "pool(128 bytes)": printed without a pool
      lex_.integer();
      lex_.accept_word("bytes");
      lex_.expect(')');
      return pattern(type);
    }
    const auto k = static_cast<size_t>(lex_.integer());
    if (pool_.empty()) return pattern(type);
    if (k >= pool_.size() || pool_[k].type() != type) fault(fmt::format("pool entry {} is not a {}", k, type.text()));
    return pool_[k];
  }

  Attrs attributes() {
    Attrs attrs;
    if (!lex_.on_same_line('{')) return attrs;
    lex_.expect('{');
    while (!lex_.accept('}')) {
      const std::string name = lex_.name();
      lex_.expect('=');
      attrs.set(name, attribute());
      if (lex_.peek() != '}') lex_.expect(',');
    }
    return attrs;
  }

  template <class Item>
  auto list(Item item) {
    std::vector<decltype(item())> items;
    lex_.expect('[');
    while (!lex_.accept(']')) {
      items.push_back(item());
      if (lex_.peek() != ']') lex_.expect(',');
    }
    return items;
  }

  AttrValue attribute() {
    if (lex_.peek() == '"') return lex_.string();
    if (lex_.accept('\'')) {
      const std::string name = lex_.name();
      const std::optional<DType> t = dtype_named(name);
      if (!t) fault(fmt::format("there is no element type {}", name));
      return *t;
    }
    if (lex_.peek() == '[') return list([&] { return lex_.integer(); });
    if (lex_.accept_word("numbers")) return list([&] { return lex_.real(); });
    if (lex_.accept_word("strings")) return list([&] { return lex_.string(); });
    if (lex_.accept_word("dims")) return lex_.dims();
    if (lex_.accept_word("tensor")) {
      const TensorType type = lex_.type();
      return data(type);
    }
    const std::string_view digits = lex_.number();
    if (digits.find_first_of(".en") != digits.npos) return Lexer::to_real(digits);
    return Lexer::to_integer(digits);
  }

  Lexer& lex_;
  std::span<const Tensor> pool_;
  int32_t opset_;
  Graph g_;
  std::map<std::string, ValueId> values_;
  std::map<int, Dims> observed_;
  int64_t data_symbols_ = 0;
};

}  // namespace

Result<Graph> parse_graph(std::string_view text, std::span<const Tensor> pool) {
  Lexer lexer(text);
  try {
    if (!lexer.accept_word("graph")) fault("expected graph \"name\" { ... }");
    Graph g = GraphParser(lexer, pool, 0).run();
    if (lexer.peek() != '\0') fault("text after the graph");
    return g;
  } catch (const Fault& f) {
    return fail("graph text: " + f.what, "line " + std::to_string(lexer.line()));
  }
}

}  // namespace fcc
