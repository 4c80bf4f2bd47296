// The parser of loop IR text. Recursive descent straight over the characters; faults travel as an exception inside
// this file only and leave it as a Diagnostic with the line.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "ir/loop/scalar.h"
#include "ir/loop/text.h"
#include "ir/loop/text_words.h"

namespace fcc::loop {
namespace {

struct Fault {
  std::string what;
};

// Characters, words and numbers.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  [[noreturn]] void fail(const std::string& what) const { throw Fault{what}; }
  int line() const {
    return static_cast<int>(std::count(text_.begin(), text_.begin() + static_cast<ptrdiff_t>(at_), '\n')) + 1;
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  // A sign or word next: words must end there.
  bool next_is(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token) return false;
    const size_t end = at_ + token.size();
    return !words::starts_identifier(token[0]) || end >= text_.size() || !words::continues_identifier(text_[end]) ||
           text_.substr(end, 2) == "..";
  }
  bool accept(std::string_view token) {
    if (!next_is(token)) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail(fmt::format("expected {}, seen \"{}\"", token, rest_of_line().substr(0, 20)));
  }
  bool next_is_word() { return words::starts_identifier(peek()); }

  std::string word() {
    if (!next_is_word()) fail(fmt::format("expected a name, seen \"{}\"", rest_of_line().substr(0, 20)));
    const size_t begin = at_;
    while (at_ < text_.size() && words::continues_identifier(text_[at_]) && text_.substr(at_, 2) != "..") ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  // A name of a symbol: a word, or anything in backticks.
  std::string symbol_name() {
    if (!accept("`")) return word();
    return until('`');
  }
  std::string string() {
    expect("\"");
    std::string s;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        s += text_[at_] == 'n' ? '\n' : text_[at_];
      } else {
        s += text_[at_];
      }
    }
    expect("\"");
    return s;
  }
  std::string until(char end) {
    const size_t stop = text_.find(end, at_);
    if (stop == text_.npos) fail(fmt::format("expected {}", end));
    std::string s(text_.substr(at_, stop - at_));
    at_ = stop + 1;
    return s;
  }
  std::string take_line() {
    std::string s(rest_of_line());
    at_ += s.size();
    return s;
  }
  std::string_view rest_of_line() {
    skip_space();
    return text_.substr(at_, std::min(text_.find('\n', at_), text_.size()) - at_);
  }

  bool next_is_number() {
    const char c = peek();
    return std::isdigit(static_cast<unsigned char>(c)) ||
           (c == '-' && at_ + 1 < text_.size() && starts_number_after_minus(at_ + 1));
  }
  int64_t integer() {
    skip_space();
    int64_t v = 0;
    auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), v);
    if (error != std::errc()) fail("expected a whole number");
    at_ = static_cast<size_t>(end - text_.data());
    return v;
  }
  // Digits with a point, an exponent, inf or nan count as a float: read with the precision of `t`.
  struct Number {
    bool is_float = false;
    std::string digits;
  };
  Number number() {
    skip_space();
    Number n;
    const size_t begin = at_;
    if (text_[at_] == '-') ++at_;
    if (accept("inf") || accept("nan")) {
      n.is_float = true;
    } else {
      auto digits = [&] {
        while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) ++at_;
      };
      digits();
      if (at_ < text_.size() && text_[at_] == '.' && text_.substr(at_, 2) != "..") {
        n.is_float = true;
        ++at_;
        digits();
      }
      if (at_ < text_.size() && text_[at_] == 'e') {
        n.is_float = true;
        at_ += at_ + 1 < text_.size() && (text_[at_ + 1] == '-' || text_[at_ + 1] == '+') ? 2 : 1;
        digits();
      }
    }
    n.digits = text_.substr(begin, at_ - begin);
    return n;
  }

  size_t position() const { return at_; }
  void rewind(size_t at) { at_ = at; }

 private:
  bool starts_number_after_minus(size_t i) const {
    if (std::isdigit(static_cast<unsigned char>(text_[i]))) return true;
    const std::string_view word = text_.substr(i, 3);
    return (word == "inf" || word == "nan") && (i + 3 >= text_.size() || !words::continues_identifier(text_[i + 3]));
  }
  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : in_(text) {}
  int line() const { return in_.line(); }

  Kernel kernel() {
    in_.expect("kernel");
    k_.name = in_.peek() == '"' ? in_.string() : in_.next_is_word() ? in_.word() : "";
    in_.expect("(");
    while (!in_.accept(")")) {
      declare_buffer();
      if (!in_.next_is(")")) in_.expect(",");
    }
    k_.n_params = static_cast<int32_t>(k_.buffers.size());
    in_.expect("{");
    if (in_.accept("note")) k_.note = in_.string();
    in_.expect("tiles");
    k_.tiles = size_line();
    if (in_.accept("flops")) k_.flops = size_line();
    if (in_.accept("bytes")) k_.bytes = size_line();
    if (in_.accept("indices")) {
      do bind(in_.word(), DType::i64);
      while (in_.accept(","));
    }
    k_.body = block();
    if (!in_.at_end()) in_.fail("text after the kernel");
    return std::move(k_);
  }

 private:
  template <class T>
  T take(Result<T> r) {
    if (!r) in_.fail(r.error().what);
    return std::move(*r);
  }
  SymExpr size_line() { return take(SymExpr::parse(in_.take_line())); }

  // ---- names
  BufferId declare_buffer() {
    Buffer b;
    b.name = in_.word();
    in_.expect(":");
    const std::string place = in_.word();
    b.constant = place == words::kConstant;
    const auto* space = std::find(std::begin(words::kSpaces), std::end(words::kSpaces), place);
    if (!b.constant) {
      if (space == std::end(words::kSpaces))
        in_.fail(fmt::format("expected in, const, out, stack or scratch, seen {}", place));
      b.space = static_cast<Space>(space - std::begin(words::kSpaces));
    }
    const std::string dtype = in_.word();
    in_.expect("[");
    TensorType t = take(TensorType::parse(dtype + "[" + in_.until(']') + "]"));
    b.dtype = t.dtype;
    b.dims = std::move(t.dims);
    auto it = buffers_.find(b.name);
    if (it != buffers_.end()) return it->second;  // the same local, allocated in another branch
    const std::string buffer_name = b.name;
    return buffers_[buffer_name] = k_.add_buffer(std::move(b));
  }
  BufferId buffer(const std::string& name) {
    auto it = buffers_.find(name);
    if (it == buffers_.end()) in_.fail(fmt::format("no buffer named {}", name));
    return it->second;
  }
  VarId bind(const std::string& name, DType type) {
    auto it = vars_.find(name);
    if (it != vars_.end() && k_.vars[static_cast<size_t>(it->second)].type == type) return it->second;
    return vars_[name] = k_.add_var(name, type);
  }

  // ---- statements
  Block block() {
    Block b;
    while (!in_.accept("}")) {
      if (in_.at_end()) in_.fail("expected }");
      if (in_.accept("%")) {
        const int64_t number = in_.integer();
        in_.expect("=");
        named_[number] = expr();
      } else {
        b.push_back(statement());
      }
    }
    return b;
  }
  Block braces() {
    in_.expect("{");
    return block();
  }

  StmtRef statement() {
    if (in_.accept("for")) return for_statement();
    if (in_.accept("let")) {
      const std::string name = in_.word();
      in_.expect("=");
      Expr value = expr();
      const VarId v = bind(name, value->type);
      return let(v, std::move(value));
    }
    if (in_.accept("alloc")) return alloc(declare_buffer());
    if (in_.accept("if")) {
      Expr condition = expr();
      Block then = braces();
      return if_then(std::move(condition), std::move(then), in_.accept("else") ? braces() : Block{});
    }
    if (in_.accept("tile")) return tile();
    if (in_.accept("fault")) {
      Expr condition = expr();
      return fault(std::move(condition), in_.string());
    }
    if (in_.accept("define")) {
      std::string name = in_.symbol_name();
      in_.expect("=");
      return define_symbol(std::move(name), expr());
    }
    if (in_.next_is("{")) return loop::block(braces());
    return store_statement();
  }

  StmtRef for_statement() {
    const VarId v = bind(in_.word(), DType::i64);
    in_.expect("in");
    Expr lo = expr();
    in_.expect("..");
    Expr hi = expr();
    const int64_t step = in_.accept("step") ? in_.integer() : 1;
    LoopKind kind = LoopKind::seq;
    int32_t lanes = 1;
    if (in_.accept("@tile"))
      kind = LoopKind::tile;
    else if (in_.accept("@unroll"))
      kind = LoopKind::unroll;
    else if (in_.next_is("@vec")) {
      kind = LoopKind::vec;
      lanes = vector_lanes();
    }
    return for_loop(v, std::move(lo), std::move(hi), braces(), kind, lanes, step);
  }
  int32_t vector_lanes() {
    if (!in_.accept("@vec")) return 1;
    in_.expect("(");
    const auto lanes = static_cast<int32_t>(in_.integer());
    in_.expect(")");
    return lanes;
  }

  StmtRef store_statement() {
    const BufferId b = buffer(in_.word());
    in_.expect("[");
    std::vector<Expr> indices = list("]");
    in_.expect("=");
    Expr value = expr();
    return store(b, std::move(indices), std::move(value), in_.accept("if") ? expr() : nullptr);
  }

  // tile 8x32 acc: f32[r, j, lane] = a[base; row stride] * b[base] over (extent, a stride, b stride) ... { epilogue }
  StmtRef tile() {
    ContractTile t;
    t.rows = static_cast<int32_t>(in_.integer());
    const std::string columns = in_.word();
    if (columns.size() < 2 || columns[0] != 'x') in_.fail("expected rows x columns");
    t.cols = std::atoi(columns.c_str() + 1);
    const std::string acc = in_.word();
    in_.expect(":");
    const auto type = dtype_named(in_.word());
    if (!type) in_.fail("expected the type of the sum");
    t.acc_var = bind(acc, *type);
    in_.expect("[");
    t.row_var = bind(in_.word(), DType::i64);
    in_.expect(",");
    t.block_var = bind(in_.word(), DType::i64);
    in_.expect(",");
    t.lane_var = bind(in_.word(), DType::i64);
    in_.expect("]");
    in_.expect("=");
    t.a = buffer(in_.word());
    in_.expect("[");
    t.a_base = expr();
    in_.expect(";");
    t.a_row = expr();
    if (in_.accept(";")) {
      t.line_rows = static_cast<int32_t>(in_.integer());
      in_.expect(",");
      t.a_line = expr();
    }
    in_.expect("]");
    in_.expect("*");
    t.b = buffer(in_.word());
    in_.expect("[");
    t.b_base = expr();
    in_.expect("]");
    while (in_.accept("over")) t.reductions.push_back(reduction());
    if (in_.accept("last")) t.last = static_cast<int32_t>(in_.integer());
    if (in_.accept("columns")) t.b_cols = static_cast<int32_t>(in_.integer());
    if (in_.accept("split")) t.k_split = static_cast<int32_t>(in_.integer());
    if (in_.accept("prefetch")) {
      in_.expect("(");
      t.prefetch = expr();
      in_.expect(",");
      t.prefetch_share = static_cast<int32_t>(in_.integer());
      in_.expect(")");
    }
    t.epilogue = braces();
    return contract(std::move(t));
  }
  ContractTile::Reduction reduction() {
    ContractTile::Reduction r;
    in_.expect("(");
    r.extent = expr();
    in_.expect(",");
    r.a_stride = expr();
    in_.expect(",");
    r.b_stride = expr();
    in_.expect(")");
    r.unroll = in_.accept("@unroll");
    return r;
  }

  // ---- expressions
  std::vector<Expr> list(std::string_view end) {
    std::vector<Expr> items;
    while (!in_.accept(end)) {
      items.push_back(expr());
      if (!in_.next_is(end)) in_.expect(",");
    }
    return items;
  }

  const words::Infix* next_infix(int level) {
    for (const words::Infix& i : words::kInfix)
      if (i.level >= level && in_.next_is(i.sign)) return &i;
    return nullptr;
  }

  Expr expr(int level = 0) {
    Expr left = prefix();
    while (const words::Infix* i = next_infix(level)) {
      in_.expect(i->sign);
      left = apply(i->op, std::move(left), expr(i->level + 1));
    }
    return left;
  }

  Expr apply(BinaryOp op, Expr a, Expr b) {
    if (a->type != b->type)
      in_.fail(fmt::format("{} of {} and {}", loop::name(op), fcc::name(a->type), fcc::name(b->type)));
    if (!is_defined(op, a->type)) in_.fail(fmt::format("{} of {}", loop::name(op), fcc::name(a->type)));
    return binary(op, std::move(a), std::move(b));
  }
  Expr apply(UnaryOp op, Expr a) {
    if (!is_defined(op, a->type)) in_.fail(fmt::format("{} of {}", loop::name(op), fcc::name(a->type)));
    return unary(op, std::move(a));
  }

  Expr prefix() {
    if (in_.next_is_number() || in_.next_is("inf") || in_.next_is("nan")) return literal(std::nullopt);
    if (in_.accept("-")) return apply(UnaryOp::neg, expr(words::kUnaryLevel));
    if (in_.accept("(")) {
      Expr e = expr();
      in_.expect(")");
      return e;
    }
    if (in_.accept("%")) {
      auto it = named_.find(in_.integer());
      if (it == named_.end()) in_.fail("an expression that has not been named");
      return it->second;
    }
    if (in_.next_is("`")) return symbol(in_.symbol_name());
    return word_expression(in_.word());
  }

  Expr word_expression(const std::string& word) {
    if (word == "true" || word == "false") return boolean(word == "true");
    if (in_.accept("[")) return load_expression(buffer(word));
    if (in_.accept("(")) return call(word);
    if (auto it = vars_.find(word); it != vars_.end())
      return var(it->second, k_.vars[static_cast<size_t>(it->second)].type);
    return symbol(word);
  }

  // type: null reads i64 or f32.
  Expr literal(std::optional<DType> type) {
    const Lexer::Number n = in_.number();
    const DType t = type.value_or(n.is_float ? DType::f32 : DType::i64);
    if (t == DType::f32) return constant(t, static_cast<double>(std::strtof(n.digits.c_str(), nullptr)));
    if (t == DType::f64) return constant(t, std::strtod(n.digits.c_str(), nullptr));
    int64_t v = 0;
    if (std::from_chars(n.digits.data(), n.digits.data() + n.digits.size(), v).ec != std::errc())
      in_.fail(fmt::format("{} does not fit", n.digits));
    return constant_int(t, v);
  }

  Expr load_expression(BufferId b) {
    std::vector<Expr> indices;
    while (!in_.next_is("]") && !in_.next_is("if")) {
      indices.push_back(expr());
      if (!in_.accept(",")) break;
    }
    const DType element = k_.buffers[static_cast<size_t>(b)].dtype;
    if (!in_.accept("if")) {
      in_.expect("]");
      return load(b, element, std::move(indices));
    }
    Expr guard = expr();
    in_.expect("else");
    Expr otherwise = expr();
    in_.expect("]");
    if (guard->type != DType::boolean || otherwise->type != compute_type(element)) in_.fail("types of a guarded load");
    return load_guarded(b, element, std::move(indices), std::move(guard), std::move(otherwise));
  }

  Expr call(const std::string& word) {
    if (const auto type = dtype_named(word)) return conversion(*type);
    if (word == "reduce") return reduce_expression();
    std::vector<Expr> args = list(")");
    auto want = [&](size_t n) {
      if (args.size() != n) in_.fail(fmt::format("{} takes {} arguments", word, n));
    };
    if (word == "select") {
      want(3);
      if (args[0]->type != DType::boolean || args[1]->type != args[2]->type) in_.fail("types of a select");
      return select(args[0], args[1], args[2]);
    }
    if (word == "fma") {
      want(3);
      if (!is_float(args[0]->type) || args[0]->type != args[1]->type || args[0]->type != args[2]->type)
        in_.fail("types of an fma");
      return fma(args[0], args[1], args[2]);
    }
    for (int op = 0; op < kUnaryCount; ++op) {
      if (name(static_cast<UnaryOp>(op)) != word) continue;
      want(1);
      return apply(static_cast<UnaryOp>(op), args[0]);
    }
    for (int op = 0; op < kBinaryCount; ++op) {
      if (name(static_cast<BinaryOp>(op)) != word) continue;
      want(2);
      return apply(static_cast<BinaryOp>(op), args[0], args[1]);
    }
    in_.fail(fmt::format("no function named {}", word));
  }

  // f64(1.5) and i8(3) are constants of that type, i8(x) and i32(1.5) casts.
  Expr conversion(DType type) {
    const size_t start = in_.position();
    if (in_.next_is_number() || in_.next_is("inf") || in_.next_is("nan")) {
      const bool fraction = in_.number().is_float, alone = in_.next_is(")");
      in_.rewind(start);
      if (alone && (is_float(type) || !fraction)) {
        Expr e = literal(type);
        in_.expect(")");
        return e;
      }
    }
    Expr e = expr();
    in_.expect(")");
    return cast(type, std::move(e));
  }

  Expr reduce_expression() {
    const std::string word = in_.word();
    in_.expect(",");
    std::optional<ReduceOp> op;
    for (ReduceOp r :
         {ReduceOp::add, ReduceOp::mul, ReduceOp::min, ReduceOp::max, ReduceOp::logical_and, ReduceOp::logical_or})
      if (name(r) == word) op = r;
    if (!op) in_.fail(fmt::format("no reduction named {}", word));
    const VarId v = bind(in_.word(), DType::i64);
    in_.expect("in");
    Expr lo = expr();
    in_.expect("..");
    Expr hi = expr();
    const int32_t lanes = vector_lanes();
    const bool unroll = in_.accept("@unroll");
    in_.expect(",");
    Expr body = expr();
    in_.expect(")");
    if (!is_defined(*op, body->type)) in_.fail(fmt::format("reduce {} of {}", word, fcc::name(body->type)));
    return reduce(*op, v, std::move(lo), std::move(hi), std::move(body), lanes, unroll);
  }

  Lexer in_;
  Kernel k_;
  std::map<std::string, VarId> vars_;
  std::map<std::string, BufferId> buffers_;
  std::map<int64_t, Expr> named_;
};

}  // namespace

Result<Kernel> parse_kernel(std::string_view text) {
  Parser p(text);
  try {
    return p.kernel();
  } catch (const Fault& f) {
    return fail(Diagnostic{.what = "loop IR text: " + f.what, .where = fmt::format("line {}", p.line())});
  }
}

}  // namespace fcc::loop
