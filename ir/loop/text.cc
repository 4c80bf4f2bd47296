#include "ir/loop/text.h"

#include <fmt/format.h>

#include <unordered_map>

namespace fcc::loop {
namespace {

class Printer {
 public:
  Printer(const Kernel& k, bool canonical) : k_(k), canonical_(canonical) {}

  std::string run() {
    out_ = canonical_ ? "kernel(" : "kernel " + k_.name + "(";
    for (int32_t i = 0; i < k_.n_params; ++i) out_ += (i ? ", " : "") + buffer(i);
    out_ += ") tiles " + k_.tiles.text() + " {";
    if (!canonical_ && !k_.note.empty()) out_ += "  # " + k_.note;
    out_ += "\n";
    block(k_.body, 1);
    return out_ + "}\n";
  }

 private:
  std::string buffer(int32_t i) const {
    static constexpr std::string_view kSpaces[] = {"in", "out", "stack", "scratch"};
    const Buffer& b = k_.buffers[static_cast<size_t>(i)];
    return fmt::format("{}: {} {}{}{}", buffer_name(i), kSpaces[static_cast<size_t>(b.space)], fcc::name(b.dtype), text(b.dims), b.constant ? " constant" : "");
  }
  std::string buffer_name(int32_t i) const { return canonical_ ? fmt::format("b{}", i) : fmt::format("{}#{}", k_.buffers[static_cast<size_t>(i)].name, i); }
  std::string var_name(VarId v) const { return canonical_ ? fmt::format("v{}", v) : fmt::format("{}#{}", k_.vars[static_cast<size_t>(v)].name, v); }

  std::string list(std::span<const Expr> items) {
    std::string s;
    for (size_t i = 0; i < items.size(); ++i) s += (i ? ", " : "") + expr(items[i]);
    return s;
  }

  // A node used before is referred to by number, so that text stays linear in the size of the DAG.
  std::string expr(const Expr& e) {
    if (!e) return "_";
    if (e->args.empty()) return leaf(e);
    if (auto it = seen_.find(e.get()); it != seen_.end()) return fmt::format("%{}", it->second);
    std::string s = fmt::format("%{}:", seen_.size());
    seen_.emplace(e.get(), seen_.size());
    return s + compound(e);
  }

  std::string leaf(const Expr& e) const {
    switch (e->kind) {
      case ExprKind::constant: return is_float(e->type) ? fmt::format("{}:{}", fcc::name(e->type), e->f) : fmt::format("{}:{}", fcc::name(e->type), e->i);
      case ExprKind::var: return var_name(e->var);
      case ExprKind::symbol: return SymExpr::symbol(e->symbol).text();
      case ExprKind::load: return buffer_name(e->buffer) + "[]";
      default: return "?";
    }
  }

  std::string compound(const Expr& e) {
    switch (e->kind) {
      case ExprKind::load: {
        const size_t n = e->args.size() - (e->guarded ? 2 : 0);
        std::string s = buffer_name(e->buffer) + "[" + list({e->args.data(), n}) + "]";
        if (e->guarded) s += " if " + expr(e->args[n]) + " else " + expr(e->args[n + 1]);
        return s;
      }
      case ExprKind::unary: return fmt::format("{}({})", name(e->unary), list(e->args));
      case ExprKind::binary: return fmt::format("{}({})", name(e->binary), list(e->args));
      case ExprKind::select: return fmt::format("select({})", list(e->args));
      case ExprKind::cast: return fmt::format("cast {}({})", fcc::name(e->type), list(e->args));
      case ExprKind::fma: return fmt::format("fma({})", list(e->args));
      case ExprKind::reduce:
        return fmt::format("reduce {} {} in {}..{}{}{} ({})", name(e->reduce), var_name(e->var), expr(e->args[0]), expr(e->args[1]),
                           e->lanes > 1 ? fmt::format(" @vec({})", e->lanes) : "", e->unroll ? " @unroll" : "", expr(e->args[2]));
      default: return "?";
    }
  }

  void line(int depth, const std::string& s) { out_ += std::string(static_cast<size_t>(depth) * 2, ' ') + s + "\n"; }

  void block(const Block& b, int depth) {
    for (const StmtRef& s : b) stmt(*s, depth);
  }

  void stmt(const Stmt& s, int depth) {
    static constexpr std::string_view kLoops[] = {"", " @tile", " @vec", " @unroll"};
    switch (s.kind) {
      case StmtKind::for_:
        line(depth, fmt::format("for {} in {}..{}{}{}{} {{", var_name(s.var), expr(s.lo), expr(s.hi), s.step != 1 ? fmt::format(" step {}", s.step) : "",
                                kLoops[static_cast<size_t>(s.loop)], s.loop == LoopKind::vec ? fmt::format("({})", s.lanes) : ""));
        block(s.body, depth + 1);
        line(depth, "}");
        break;
      case StmtKind::let: line(depth, fmt::format("let {} = {}", var_name(s.var), expr(s.value))); break;
      case StmtKind::store:
        line(depth, fmt::format("{}[{}] = {}{}", buffer_name(s.buffer), list(s.indices), expr(s.value), s.mask ? " if " + expr(s.mask) : ""));
        break;
      case StmtKind::alloc: line(depth, "alloc " + buffer(s.buffer)); break;
      case StmtKind::if_:
        line(depth, "if " + expr(s.value) + " {");
        block(s.body, depth + 1);
        if (!s.otherwise.empty()) {
          line(depth, "} else {");
          block(s.otherwise, depth + 1);
        }
        line(depth, "}");
        break;
      case StmtKind::contract: contract(*s.contract, depth); break;
      case StmtKind::fault: line(depth, fmt::format("fault {} \"{}\"", expr(s.value), s.text)); break;
      case StmtKind::define_symbol: line(depth, fmt::format("symbol {} = {}", s.text, expr(s.value))); break;
      case StmtKind::block:
        line(depth, "{");
        block(s.body, depth + 1);
        line(depth, "}");
        break;
    }
  }

  void contract(const ContractTile& t, int depth) {
    std::string s = fmt::format("tile {}x{} split {} {}[{} + {}*{}] * {}[{} + {}]", t.rows, t.cols, t.k_split, buffer_name(t.a), expr(t.a_base),
                                var_name(t.row_var), expr(t.a_row), buffer_name(t.b), expr(t.b_base), var_name(t.lane_var));
    for (const auto& r : t.reductions) s += fmt::format(" over {}{}: a {} b {},", expr(r.extent), r.unroll ? " @unroll" : "", expr(r.a_stride), expr(r.b_stride));
    line(depth, s + fmt::format(" block {} as {} {{", var_name(t.block_var), var_name(t.acc_var)));
    block(t.epilogue, depth + 1);
    line(depth, "}");
  }

  const Kernel& k_;
  bool canonical_;
  std::string out_;
  std::unordered_map<const ExprNode*, size_t> seen_;
};

}  // namespace

std::string print(const Kernel& k) { return Printer(k, false).run(); }
std::string canonical_text(const Kernel& k) { return Printer(k, true).run(); }

}  // namespace fcc::loop
