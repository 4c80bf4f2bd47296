#include "ir/loop/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "ir/base/check.h"
#include "ir/loop/scalar.h"
#include "ir/loop/text.h"

namespace fcc::loop {
namespace {

// Thrown inside this file only; verify() turns it into a Diagnostic.
struct Violation {
  std::string statement, what;
};

class Verifier {
 public:
  explicit Verifier(const Kernel& k) : k_(k), allocated_(k.buffers.size()), stored_(k.buffers.size()) {}

  void run() {
    check_buffers();
    check_outermost();
    block(k_.body, 0);
  }

 private:
  template <class... Args>
  void require(bool holds, fmt::format_string<Args...> what, Args&&... args) const {
    if (!holds) refuse(what, std::forward<Args>(args)...);
  }
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> what, Args&&... args) const {
    throw Violation{statement_, fmt::format(what, std::forward<Args>(args)...)};
  }
  std::string shown(const Expr& e) const { return print(e, &k_); }

  // ---- the kernel
  void check_buffers() {
    require(k_.n_params >= 0 && k_.n_params <= static_cast<int32_t>(k_.buffers.size()), "{} parameters, {} buffers",
            k_.n_params, k_.buffers.size());
    for (size_t i = 0; i < k_.buffers.size(); ++i) {
      const Buffer& b = k_.buffers[i];
      const bool parameter = b.space == Space::input || b.space == Space::output || b.space == Space::update;
      require(parameter == (static_cast<int32_t>(i) < k_.n_params),
              "buffer {} ({}) is on the wrong side of the {} parameters", i, b.name, k_.n_params);
      require(!b.constant || b.space == Space::input, "{} is constant but no input", b.name);
      for (const SymExpr& d : b.dims)
        require(b.space != Space::stack || d.is_constant(), "stack array {}{} has an open size", b.name, text(b.dims));
    }
  }

  // One `for @tile` over all tiles, or straight-line statements around define_symbol.
  void check_outermost() {
    const auto tiles = std::count_if(k_.body.begin(), k_.body.end(), [](const StmtRef& s) {
      return s->kind == StmtKind::for_ && s->loop == LoopKind::tile;
    });
    require(tiles <= 1, "{} outermost @tile loops", tiles);
    if (tiles == 0) {
      const bool defines = std::any_of(k_.body.begin(), k_.body.end(),
                                       [](const StmtRef& s) { return s->kind == StmtKind::define_symbol; });
      require(defines, "neither a @tile loop nor a symbol definition");
      return;
    }
    require(k_.body.size() == 1, "statements beside the @tile loop");
    const Stmt& s = *k_.body[0];
    require(s.lo && s.hi && is_constant_int(s.lo, 0) && s.step == 1, "the @tile loop does not start at 0 with step 1");
    if (!same(s.hi, from_sym(k_.tiles)))
      refuse("the @tile loop runs to {}, the kernel has {} tiles", shown(s.hi), k_.tiles.text());
  }

  // ---- names
  const Var& var_of(VarId v) const {
    require(v >= 0 && v < static_cast<VarId>(k_.vars.size()), "no variable {}", v);
    return k_.vars[static_cast<size_t>(v)];
  }
  const Buffer& buffer_of(BufferId b) const {
    require(b >= 0 && b < static_cast<BufferId>(k_.buffers.size()), "no buffer {}", b);
    return k_.buffers[static_cast<size_t>(b)];
  }
  void bind(VarId v, DType type) {
    const Var& declared = var_of(v);
    require(declared.type == type, "{} is {}, its value {}", declared.name, name(declared.type), name(type));
    require(scope_.insert(v).second, "{} is bound again inside its own scope", declared.name);
    bound_.push_back(v);
  }
  // A buffer about to be read or written.
  const Buffer& accessible(BufferId id) const {
    const Buffer& b = buffer_of(id);
    const bool local = b.space == Space::stack || b.space == Space::scratch;
    require(!local || allocated_[static_cast<size_t>(id)], "{} is used before its alloc", b.name);
    return b;
  }
  void check_read(BufferId id) const {
    const Buffer& b = accessible(id);
    require(b.space != Space::output || stored_[static_cast<size_t>(id)], "output {} is read before it is written",
            b.name);
  }
  void check_indices(const Buffer& b, std::span<const Expr> indices) const {
    require(indices.size() == b.dims.size(), "{} indices into {}{}", indices.size(), b.name, text(b.dims));
    for (const Expr& i : indices)
      require(i && i->type == DType::i64, "an index of {} is {}", b.name, i ? name(i->type) : "missing");
  }

  // ---- expressions
  void expr(const Expr& e, DType type, std::string_view role) {
    require(e != nullptr, "{} is missing", role);
    require(e->type == type, "{} is {}, expected {}", role, name(e->type), name(type));
    expr(e, role);
  }
  void expr(const Expr& e, std::string_view role) {
    require(e != nullptr, "{} is missing", role);
    for (VarId v : e->free) require(scope_.contains(v), "{} uses {} outside its scope", role, var_of(v).name);
    node(e);
    for (VarId v : bound_inside(e)) require(!scope_.contains(v), "a reduction rebinds {}", var_of(v).name);
  }

  // Each node once a statement: what is checked does not depend on the way to it, but memory comes and goes.
  void node(const Expr& e) {
    if (!checked_.insert(e.get()).second) return;
    require(e->type != DType::f16 && e->type != DType::bf16, "an expression has type {}", name(e->type));
    for (const Expr& a : e->args) {
      require(a != nullptr, "an operand is missing");
      node(a);
    }
    const auto& a = e->args;
    switch (e->kind) {
      case ExprKind::constant:
        require(e->type != DType::boolean || e->i == 0 || e->i == 1, "a boolean constant {}", e->i);
        break;
      case ExprKind::var:
        require(var_of(e->var).type == e->type, "{} is {}, used as {}", var_of(e->var).name, name(var_of(e->var).type),
                name(e->type));
        break;
      case ExprKind::symbol:
        require(e->type == DType::i64 && !e->symbol.empty(), "symbol {} of type {}", e->symbol, name(e->type));
        break;
      case ExprKind::load:
        check_load(*e);
        break;
      case ExprKind::unary:
        check_unary(*e);
        break;
      case ExprKind::binary:
        check_binary(*e);
        break;
      case ExprKind::select:
        if (a.size() != 3 || a[0]->type != DType::boolean || a[1]->type != e->type || a[2]->type != e->type)
          refuse("types of {}", shown(e));
        break;
      case ExprKind::cast:
        require(a.size() == 1, "operands of a cast");
        break;
      case ExprKind::fma:
        if (a.size() != 3 || !is_float(e->type) ||
            std::any_of(a.begin(), a.end(), [&](const Expr& x) { return x->type != e->type; }))
          refuse("types of {}", shown(e));
        break;
      case ExprKind::reduce:
        check_reduce(*e);
        break;
    }
  }

  void check_load(const ExprNode& e) const {
    check_read(e.buffer);
    const Buffer& b = buffer_of(e.buffer);
    require(e.type == compute_type(b.dtype), "a load of {} {} as {}", name(b.dtype), b.name, name(e.type));
    const size_t extra = e.guarded ? 2 : 0;
    require(e.args.size() >= extra, "operands of a load");
    check_indices(b, {e.args.data(), e.args.size() - extra});
    if (!e.guarded) return;
    require(e.args[e.args.size() - 2]->type == DType::boolean, "the guard of a load of {} is {}", b.name,
            name(e.args[e.args.size() - 2]->type));
    require(e.args.back()->type == e.type, "a load of {} {} is otherwise {}", name(e.type), b.name,
            name(e.args.back()->type));
  }
  void check_unary(const ExprNode& e) const {
    require(e.args.size() == 1 && is_defined(e.unary, e.args[0]->type), "{} of {}", name(e.unary),
            e.args.empty() ? "nothing" : name(e.args[0]->type));
    const bool test = e.unary == UnaryOp::is_nan || e.unary == UnaryOp::is_inf;
    require(e.type == (test ? DType::boolean : e.args[0]->type), "{} gives {}", name(e.unary), name(e.type));
  }
  void check_binary(const ExprNode& e) const {
    require(e.args.size() == 2 && e.args[0]->type == e.args[1]->type && is_defined(e.binary, e.args[0]->type),
            "{} of {}", name(e.binary),
            e.args.size() == 2 ? fmt::format("{} and {}", name(e.args[0]->type), name(e.args[1]->type))
                               : "the wrong number of operands");
    const bool comparison = e.binary >= BinaryOp::eq && e.binary <= BinaryOp::ge;
    require(e.type == (comparison ? DType::boolean : e.args[0]->type), "{} gives {}", name(e.binary), name(e.type));
  }
  void check_reduce(const ExprNode& e) const {
    require(e.args.size() == 3 && e.args[0]->type == DType::i64 && e.args[1]->type == DType::i64,
            "bounds of a reduction");
    require(var_of(e.var).type == DType::i64, "{} counts a reduction but is {}", var_of(e.var).name,
            name(var_of(e.var).type));
    require(e.args[2]->type == e.type && is_defined(e.reduce, e.type), "reduce {} of {} giving {}", name(e.reduce),
            name(e.args[2]->type), name(e.type));
    require(e.lanes >= 1, "a reduction over {} lanes", e.lanes);
    require(!uses(e.args[0], e.var) && !uses(e.args[1], e.var), "the bounds of a reduction use its variable {}",
            var_of(e.var).name);
    if (e.unroll) check_unroll(e.args[0], e.args[1]);
    for (VarId inner : bound_inside(e.args[2]))
      require(inner != e.var, "{} is bound again inside its own scope", var_of(e.var).name);
  }

  // Variables of the reductions in e.
  const std::vector<VarId>& bound_inside(const Expr& e) const {
    if (auto it = reductions_.find(e.get()); it != reductions_.end()) return it->second;
    std::set<VarId> all;
    for (const Expr& a : e->args) all.insert(bound_inside(a).begin(), bound_inside(a).end());
    if (e->kind == ExprKind::reduce) all.insert(e->var);
    return reductions_[e.get()] = std::vector<VarId>(all.begin(), all.end());
  }

  // The trip count is constant: both bounds are, or hi is lo plus a constant.
  void check_unroll(const Expr& lo, const Expr& hi) const {
    if (is_constant(lo) && is_constant(hi)) return;
    if (hi->kind == ExprKind::binary && hi->binary == BinaryOp::add && same(hi->args[0], lo) &&
        is_constant(hi->args[1]))
      return;
    refuse("@unroll over {}..{}", shown(lo), shown(hi));
  }

  // ---- statements
  // Bindings and allocations end with their block.
  void block(const Block& b, int depth) {
    const size_t bound = bound_.size();
    const std::vector<bool> allocated = allocated_;
    for (const StmtRef& s : b) {
      checked_.clear();
      require(s != nullptr, "a missing statement");
      statement_ = head(*s);
      stmt(*s, depth);
    }
    unbind(bound);
    allocated_ = allocated;
  }
  void unbind(size_t to) {
    for (; bound_.size() > to; bound_.pop_back()) scope_.erase(bound_.back());
  }

  void stmt(const Stmt& s, int depth) {
    switch (s.kind) {
      case StmtKind::for_:
        return check_for(s, depth);
      case StmtKind::let:
        expr(s.value, "the value");
        return bind(s.var, s.value->type);
      case StmtKind::store:
        return check_store(s);
      case StmtKind::alloc:
        return check_alloc(s);
      case StmtKind::if_:
        expr(s.value, DType::boolean, "the condition");
        block(s.body, depth + 1);
        return block(s.otherwise, depth + 1);
      case StmtKind::contract:
        require(s.contract != nullptr, "no contraction");
        require(!in_vector_, "a contraction inside a vector loop");
        return check_contract(*s.contract, depth);
      case StmtKind::fault:
        require(!s.text.empty(), "a fault without a text");
        return expr(s.value, DType::boolean, "the condition");
      case StmtKind::define_symbol:
        require(!s.text.empty(), "a symbol without a name");
        require(!in_tile_, "a symbol defined inside a @tile loop");
        return expr(s.value, DType::i64, "the value");
      case StmtKind::block:
        return block(s.body, depth + 1);
    }
  }

  void check_for(const Stmt& s, int depth) {
    expr(s.lo, DType::i64, "the lower bound");
    expr(s.hi, DType::i64, "the upper bound");
    require(s.step > 0, "step {}", s.step);
    const bool tile = s.loop == LoopKind::tile, vector = s.loop == LoopKind::vec;
    require(!tile || depth == 0, "@tile below the outermost loop");
    require(!vector || (s.lanes >= 1 && s.step == 1), "@vec({}) with step {}", s.lanes, s.step);
    if (s.loop == LoopKind::unroll) check_unroll(s.lo, s.hi);
    const bool outer_vector = in_vector_;
    in_tile_ |= tile;
    in_vector_ |= vector;
    const size_t bound = bound_.size();
    bind(s.var, DType::i64);
    block(s.body, depth + 1);
    unbind(bound);
    in_vector_ = outer_vector;
  }

  void check_store(const Stmt& s) {
    const Buffer& b = accessible(s.buffer);
    require(b.space != Space::input, "{} is an input", b.name);
    check_indices(b, s.indices);
    for (const Expr& i : s.indices) expr(i, DType::i64, "an index");
    expr(s.value, compute_type(b.dtype), "the value");
    if (s.mask) expr(s.mask, DType::boolean, "the mask");
    stored_[static_cast<size_t>(s.buffer)] = true;
  }

  void check_alloc(const Stmt& s) {
    const Buffer& b = buffer_of(s.buffer);
    require(b.space == Space::stack || b.space == Space::scratch, "{} is a parameter", b.name);
    require(!allocated_[static_cast<size_t>(s.buffer)], "{} is allocated already", b.name);
    allocated_[static_cast<size_t>(s.buffer)] = true;
  }

  void check_contract(const ContractTile& t, int depth) {
    for (BufferId id : {t.a, t.b}) check_read(id);
    const bool floats = is_float(buffer_of(t.a).dtype);
    const DType sum = var_of(t.acc_var).type;
    require(floats == is_float(buffer_of(t.b).dtype), "a product of {} and {}", name(buffer_of(t.a).dtype),
            name(buffer_of(t.b).dtype));
    require(floats ? sum == DType::f32 || sum == DType::f64 : sum == DType::i32 || sum == DType::i64,
            "a sum of {} in {}", name(buffer_of(t.a).dtype), name(sum));
    require(t.rows >= 1 && (t.cols == 8 || (t.cols >= 16 && t.cols % 16 == 0)),
            "a tile of {}x{}: columns come in sixteens, or are eight", t.rows, t.cols);
    require(t.b_cols >= 0 && t.b_cols % 8 == 0 && t.b_cols <= t.cols, "{} columns of B in a tile of {}", t.b_cols, t.cols);
    require(t.last == 0 || (t.last > 0 && t.reductions.size() >= 2 && is_constant(t.reductions[0].extent) && !t.reductions[0].unroll),
            "the last of the first reduction needs a second one and a constant extent");
    require(t.line_rows >= 0, "{} rows a line", t.line_rows);
    if (t.line_rows > 0) expr(t.a_line, DType::i64, "the line stride of A");
    require(t.prefetch_share >= 1, "a prefetch shared by {}", t.prefetch_share);
    if (t.prefetch) expr(t.prefetch, DType::i64, "the prefetch");
    require(t.k_split >= 1, "split {}", t.k_split);
    expr(t.a_base, DType::i64, "the base of A");
    expr(t.a_row, DType::i64, "the row stride of A");
    expr(t.b_base, DType::i64, "the base of B");
    for (const ContractTile::Reduction& r : t.reductions) {
      expr(r.extent, DType::i64, "an extent");
      expr(r.a_stride, DType::i64, "a stride of A");
      expr(r.b_stride, DType::i64, "a stride of B");
      if (r.unroll && !is_constant(r.extent)) refuse("@unroll over {}", shown(r.extent));
    }
    const size_t bound = bound_.size();
    for (VarId v : {t.row_var, t.block_var, t.lane_var}) bind(v, DType::i64);
    bind(t.acc_var, sum);
    check_epilogue(t.epilogue);
    block(t.epilogue, depth + 1);
    unbind(bound);
  }
  void check_epilogue(const Block& b) const {
    for (const StmtRef& s : b) {
      require(s->kind == StmtKind::let || s->kind == StmtKind::store || s->kind == StmtKind::if_ ||
                  s->kind == StmtKind::block,
              "an epilogue holds let, store and if only");
      check_epilogue(s->body);
      check_epilogue(s->otherwise);
    }
  }

  // A few words that find the statement in the printed kernel.
  std::string head(const Stmt& s) const {
    auto var = [&](VarId v) {
      return v >= 0 && v < static_cast<VarId>(k_.vars.size()) ? k_.vars[static_cast<size_t>(v)].name : "?";
    };
    auto buffer = [&](BufferId b) {
      return b >= 0 && b < static_cast<BufferId>(k_.buffers.size()) ? k_.buffers[static_cast<size_t>(b)].name : "?";
    };
    switch (s.kind) {
      case StmtKind::for_:
        return "for " + var(s.var);
      case StmtKind::let:
        return "let " + var(s.var);
      case StmtKind::store:
        return "store into " + buffer(s.buffer);
      case StmtKind::alloc:
        return "alloc " + buffer(s.buffer);
      case StmtKind::if_:
        return "if";
      case StmtKind::contract:
        return s.contract ? fmt::format("tile {} * {}", buffer(s.contract->a), buffer(s.contract->b)) : "tile";
      case StmtKind::fault:
        return fmt::format("fault \"{}\"", s.text);
      case StmtKind::define_symbol:
        return "define " + s.text;
      case StmtKind::block:
        return "block";
    }
    return {};
  }

  const Kernel& k_;
  std::string statement_;
  std::set<VarId> scope_;
  std::vector<VarId> bound_;  // scope_ in the order of binding
  std::vector<bool> allocated_, stored_;
  bool in_tile_ = false, in_vector_ = false;
  std::unordered_set<const ExprNode*> checked_;
  mutable std::unordered_map<const ExprNode*, std::vector<VarId>> reductions_;
};

}  // namespace

Status verify(const Kernel& k) {
  try {
    Verifier(k).run();
  } catch (const Violation& v) {
    return fail(fmt::format("kernel {}: {}{}{}", k.name, v.statement, v.statement.empty() ? "" : ": ", v.what));
  }
  return {};
}

void verify_or_die(const Kernel& k, std::string_view after) {
  const Status s = verify(k);
  FCC_CHECK(s, "{} left a broken kernel: {}\n{}", after, s.error().what, print(k));
}

}  // namespace fcc::loop
