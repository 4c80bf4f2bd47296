#include "ir/loop/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

#include "ir/loop/text_words.h"

namespace fcc::loop {
namespace {

std::string quoted(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

std::string float_text(DType t, double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  std::string s = t == DType::f32 ? fmt::format("{}", static_cast<float>(v)) : fmt::format("{}", v);
  return s.find_first_of(".e") == s.npos ? s + ".0" : s;
}

std::string constant_text(const ExprNode& e) {
  if (e.type == DType::boolean) return e.i ? "true" : "false";
  const std::string number = is_float(e.type) ? float_text(e.type, e.f) : std::to_string(e.i);
  if (e.type == DType::i64 || e.type == DType::f32) return number;
  return fmt::format("{}({})", fcc::name(e.type), number);
}

const words::Infix* infix_of(BinaryOp op) {
  for (const words::Infix& i : words::kInfix)
    if (i.op == op) return &i;
  return nullptr;
}

bool is_leaf(const Expr& e) {
  return e->kind == ExprKind::constant || e->kind == ExprKind::var || e->kind == ExprKind::symbol;
}

// Everything a statement refers to, in the order of the text.
template <class Visit>
void for_each_expr(const Stmt& s, Visit visit) {
  if (s.lo) visit(s.lo);
  if (s.hi) visit(s.hi);
  for (const Expr& i : s.indices) visit(i);
  if (s.value) visit(s.value);
  if (s.mask) visit(s.mask);
  if (!s.contract) return;
  visit(s.contract->a_base);
  visit(s.contract->a_row);
  if (s.contract->line_rows > 0) visit(s.contract->a_line);
  visit(s.contract->b_base);
  for (const ContractTile::Reduction& r : s.contract->reductions) {
    visit(r.extent);
    visit(r.a_stride);
    visit(r.b_stride);
  }
  if (s.contract->prefetch) visit(s.contract->prefetch);
}

// Names for variables and buffers: their own, made unique, or numbers by first appearance.
class Names {
 public:
  Names(const Kernel& k, bool canonical)
      : k_(k), canonical_(canonical), taken_(std::begin(words::kReserved), std::end(words::kReserved)) {
    if (canonical) return;
    for (int i = 0; i < kDTypeCount; ++i) taken_.insert(std::string(fcc::name(static_cast<DType>(i + 1))));
  }
  void reserve(std::string_view symbol) { taken_.insert(std::string(symbol)); }

  // A name is given at the first call for an id.
  const std::string& var(VarId v) {
    auto [it, fresh] = vars_.try_emplace(v);
    if (!fresh) return it->second;
    const bool known = v >= 0 && v < static_cast<VarId>(k_.vars.size());
    return it->second = canonical_ ? fmt::format("v{}", vars_.size() - 1)
                                   : unique(known ? k_.vars[static_cast<size_t>(v)].name : fmt::format("v{}", v));
  }
  const std::string& buffer(BufferId b) {
    auto [it, fresh] = buffers_.try_emplace(b);
    if (!fresh) return it->second;
    const bool known = b >= 0 && b < static_cast<BufferId>(k_.buffers.size());
    return it->second = canonical_ ? fmt::format("b{}", buffers_.size() - 1)
                                   : unique(known ? k_.buffers[static_cast<size_t>(b)].name : fmt::format("b{}", b));
  }

 private:
  std::string unique(const std::string& wanted) {
    const std::string base = words::is_identifier(wanted) ? wanted : "v";
    std::string s = base;
    for (int n = 1; !taken_.insert(s).second; ++n) s = fmt::format("{}.{}", base, n);
    return s;
  }

  const Kernel& k_;
  bool canonical_;
  std::set<std::string, std::less<>> taken_;
  std::unordered_map<int32_t, std::string> vars_, buffers_;
};

class Printer {
 public:
  Printer(const Kernel& k, bool canonical) : k_(k), canonical_(canonical), names_(k, canonical) {}

  std::string kernel() {
    prepare_names();
    print_head();
    block(k_.body, 1);
    return out_ + "}\n";
  }

  std::string expression(const Expr& e) {
    count(e);
    name_shared(e, 0);
    return out_ + inside(e, 0);
  }

 private:
  void prepare_names() {
    std::set<const ExprNode*> seen;
    walk(k_.body, [&](const Stmt& s) { for_each_expr(s, [&](const Expr& e) { reserve_symbols(e, seen); }); });
    for (BufferId b = 0; b < k_.n_params; ++b) names_.buffer(b);
    walk(k_.body, [&](const Stmt& s) { prepare(s); });
  }

  void print_head() {
    out_ =
        canonical_ ? "kernel (" : fmt::format("kernel {}(", words::is_identifier(k_.name) ? k_.name : quoted(k_.name));
    for (int32_t i = 0; i < k_.n_params; ++i) out_ += (i ? ", " : "") + buffer(i);
    out_ += ") {\n";
    if (!canonical_ && !k_.note.empty()) line(1, "note " + quoted(k_.note));
    line(1, "tiles " + k_.tiles.text());
    if (!canonical_ && !k_.flops.is(0)) line(1, "flops " + k_.flops.text());
    if (!canonical_ && !k_.bytes.is(0)) line(1, "bytes " + k_.bytes.text());
    if (!reduce_vars_.empty()) line(1, fmt::format("indices {}", fmt::join(reduce_vars_, ", ")));
  }

  // Symbols are printed as they are, so no variable may look like one.
  void reserve_symbols(const Expr& e, std::set<const ExprNode*>& seen) {
    if (e->kind == ExprKind::symbol) names_.reserve(e->symbol);
    if (e->args.empty() || !seen.insert(e.get()).second) return;
    for (const Expr& a : e->args) reserve_symbols(a, seen);
  }

  // Names in the order of the statements, whatever order the text is put together in.
  void prepare(const Stmt& s) {
    if (s.var >= 0) names_.var(s.var);
    if (s.buffer >= 0) names_.buffer(s.buffer);
    if (s.contract) {
      for (VarId v : {s.contract->acc_var, s.contract->row_var, s.contract->block_var, s.contract->lane_var})
        names_.var(v);
      for (BufferId b : {s.contract->a, s.contract->b}) names_.buffer(b);
    }
    for_each_expr(s, [&](const Expr& e) { count(e); });
  }

  // ---- sharing
  void count(const Expr& e) {
    if (e->var >= 0) names_.var(e->var);
    if (e->buffer >= 0) names_.buffer(e->buffer);
    if (is_leaf(e)) return;
    if (++uses_[e.get()] > 1) return;
    if (e->kind == ExprKind::reduce &&
        std::find(reduce_vars_.begin(), reduce_vars_.end(), names_.var(e->var)) == reduce_vars_.end())
      reduce_vars_.push_back(names_.var(e->var));
    for (const Expr& a : e->args) count(a);
  }

  // Lines for the shared parts of e that have no name yet, innermost first.
  void name_shared(const Expr& e, int depth) {
    if (is_leaf(e) || named_.contains(e.get())) return;
    if (!visited_.insert(e.get()).second) return;
    for (const Expr& a : e->args) name_shared(a, depth);
    if (uses_[e.get()] < 2) return;
    const std::string text = compound(e, 0);
    const size_t number = named_.size();
    named_[e.get()] = number;
    line(depth, fmt::format("%{} = {}", number, text));
  }

  // ---- expressions
  // Text of e where an operator of `level` and above would need no parentheses.
  std::string inside(const Expr& e, int level) {
    if (auto it = named_.find(e.get()); it != named_.end()) return fmt::format("%{}", it->second);
    return compound(e, level);
  }

  std::string list(std::span<const Expr> items) {
    std::string s;
    for (size_t i = 0; i < items.size(); ++i) s += (i ? ", " : "") + inside(items[i], 0);
    return s;
  }

  std::string compound(const Expr& e, int level) {
    switch (e->kind) {
      case ExprKind::constant:
        return constant_text(*e);
      case ExprKind::var:
        return names_.var(e->var);
      case ExprKind::symbol:
        return SymExpr::symbol(e->symbol).text();
      case ExprKind::load:
        return load(*e);
      case ExprKind::unary:
        return e->unary == UnaryOp::neg ? negated(e->args[0]) : fmt::format("{}({})", name(e->unary), list(e->args));
      case ExprKind::binary:
        return binary(*e, level);
      case ExprKind::select:
        return fmt::format("select({})", list(e->args));
      case ExprKind::cast:
        return fmt::format("{}({})", fcc::name(e->type), list(e->args));
      case ExprKind::fma:
        return fmt::format("fma({})", list(e->args));
      case ExprKind::reduce:
        return fmt::format("reduce({}, {} in {}..{}{}{}, {})", name(e->reduce), names_.var(e->var),
                           inside(e->args[0], 0), inside(e->args[1], 0),
                           e->lanes > 1 ? fmt::format(" @vec({})", e->lanes) : "", e->unroll ? " @unroll" : "",
                           inside(e->args[2], 0));
    }
    return {};
  }

  // A minus before a number would read as a negative constant.
  std::string negated(const Expr& e) {
    return e->kind == ExprKind::constant ? fmt::format("-({})", inside(e, 0)) : "-" + inside(e, words::kUnaryLevel);
  }

  std::string load(const ExprNode& e) {
    const size_t rank = e.args.size() - (e.guarded ? 2 : 0);
    std::string s = names_.buffer(e.buffer) + "[" + list({e.args.data(), rank});
    if (e.guarded) s += fmt::format(" if {} else {}", inside(e.args[rank], 0), inside(e.args[rank + 1], 0));
    return s + "]";
  }

  std::string binary(const ExprNode& e, int level) {
    const words::Infix* infix = infix_of(e.binary);
    if (!infix) return fmt::format("{}({})", name(e.binary), list(e.args));
    std::string_view sign = infix->sign;
    Expr right = e.args[1];
    if (e.binary == BinaryOp::add && e.type == DType::i64 && is_constant(right) && right->i < 0 &&
        right->i > std::numeric_limits<int64_t>::min()) {
      sign = "-";  // x + -1, which is how the builders write x - 1
      right = index(-right->i);
    }
    const bool chains = infix->level != words::kComparisonLevel;
    std::string s = fmt::format("{} {} {}", inside(e.args[0], infix->level + (chains ? 0 : 1)), sign,
                                inside(right, infix->level + 1));
    return infix->level < level ? "(" + s + ")" : s;
  }

  // ---- statements
  std::string buffer(BufferId id) {
    const Buffer& b = k_.buffers[static_cast<size_t>(id)];
    return fmt::format("{}: {} {}{}", names_.buffer(id),
                       b.constant ? words::kConstant : words::kSpaces[static_cast<size_t>(b.space)], fcc::name(b.dtype),
                       text(b.dims));
  }

  void line(int depth, const std::string& s) { out_ += std::string(static_cast<size_t>(depth) * 2, ' ') + s + "\n"; }

  void block(const Block& b, int depth) {
    for (const StmtRef& s : b) {
      for_each_expr(*s, [&](const Expr& e) { name_shared(e, depth); });
      stmt(*s, depth);
    }
  }

  void braces(const std::string& head, const Block& body, int depth) {
    line(depth, head + "{");
    block(body, depth + 1);
    line(depth, "}");
  }

  static std::string loop_kind(const Stmt& s) {
    switch (s.loop) {
      case LoopKind::seq:
        return "";
      case LoopKind::tile:
        return " @tile";
      case LoopKind::vec:
        return fmt::format(" @vec({})", s.lanes);
      case LoopKind::unroll:
        return " @unroll";
    }
    return {};
  }

  void stmt(const Stmt& s, int depth) {
    switch (s.kind) {
      case StmtKind::for_:
        braces(fmt::format("for {} in {}..{}{}{} ", names_.var(s.var), inside(s.lo, 0), inside(s.hi, 0),
                           s.step != 1 ? fmt::format(" step {}", s.step) : "", loop_kind(s)),
               s.body, depth);
        break;
      case StmtKind::let:
        line(depth, fmt::format("let {} = {}", names_.var(s.var), inside(s.value, 0)));
        break;
      case StmtKind::store:
        line(depth, fmt::format("{}[{}] = {}{}", names_.buffer(s.buffer), list(s.indices), inside(s.value, 0),
                                s.mask ? " if " + inside(s.mask, 0) : ""));
        break;
      case StmtKind::alloc:
        line(depth, "alloc " + buffer(s.buffer));
        break;
      case StmtKind::if_:
        if_else(s, depth);
        break;
      case StmtKind::contract:
        contract(*s.contract, depth);
        break;
      case StmtKind::fault:
        line(depth, fmt::format("fault {} {}", inside(s.value, 0), quoted(s.text)));
        break;
      case StmtKind::define_symbol:
        line(depth, fmt::format("define {} = {}", SymExpr::symbol(s.text).text(), inside(s.value, 0)));
        break;
      case StmtKind::block:
        braces("", s.body, depth);
        break;
    }
  }

  void if_else(const Stmt& s, int depth) {
    line(depth, fmt::format("if {} {{", inside(s.value, 0)));
    block(s.body, depth + 1);
    if (!s.otherwise.empty()) {
      line(depth, "} else {");
      block(s.otherwise, depth + 1);
    }
    line(depth, "}");
  }

  void contract(const ContractTile& t, int depth) {
    const std::string lines = t.line_rows > 0 ? fmt::format("; {}, {}", t.line_rows, inside(t.a_line, 0)) : "";
    std::string head = fmt::format("tile {}x{} {}: {}[{}, {}, {}] = {}[{}; {}{}] * {}[{}]", t.rows, t.cols,
                                   names_.var(t.acc_var), acc_type(t), names_.var(t.row_var), names_.var(t.block_var),
                                   names_.var(t.lane_var), names_.buffer(t.a), inside(t.a_base, 0), inside(t.a_row, 0),
                                   lines, names_.buffer(t.b), inside(t.b_base, 0));
    for (const ContractTile::Reduction& r : t.reductions)
      head += fmt::format(" over ({}, {}, {}){}", inside(r.extent, 0), inside(r.a_stride, 0), inside(r.b_stride, 0),
                          r.unroll ? " @unroll" : "");
    if (t.last > 0) head += fmt::format(" last {}", t.last);
    if (t.b_cols > 0) head += fmt::format(" columns {}", t.b_cols);
    if (t.k_split != 1) head += fmt::format(" split {}", t.k_split);
    if (t.prefetch) head += fmt::format(" prefetch({}, {})", inside(t.prefetch, 0), t.prefetch_share);
    braces(head + " ", t.epilogue, depth);
  }

  std::string_view acc_type(const ContractTile& t) const {
    return fcc::name(k_.vars[static_cast<size_t>(t.acc_var)].type);
  }

  const Kernel& k_;
  bool canonical_;
  Names names_;
  std::string out_;
  std::vector<std::string> reduce_vars_;  // bound inside expressions, maybe below a line that names a part of one
  std::unordered_map<const ExprNode*, int> uses_;
  std::set<const ExprNode*> visited_;
  std::unordered_map<const ExprNode*, size_t> named_;
};

}  // namespace

std::string print(const Kernel& k) {
  return Printer(k, false).kernel();
}
std::string canonical_text(const Kernel& k) {
  return Printer(k, true).kernel();
}

std::string print(const Expr& e, const Kernel* names) {
  const Kernel nameless;
  return Printer(names ? *names : nameless, false).expression(e);
}

}  // namespace fcc::loop
