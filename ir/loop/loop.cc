#include "ir/loop/loop.h"

#include <functional>

#include "ir/base/check.h"

namespace fcc::loop {

VarId Kernel::add_var(std::string var_name, DType type) {
  vars.push_back({std::move(var_name), type});
  return static_cast<VarId>(vars.size() - 1);
}

BufferId Kernel::add_buffer(Buffer b) {
  buffers.push_back(std::move(b));
  return static_cast<BufferId>(buffers.size() - 1);
}

static StmtRef make(Stmt s) { return std::make_shared<const Stmt>(std::move(s)); }

StmtRef for_loop(VarId v, Expr lo, Expr hi, Block body, LoopKind kind, int32_t lanes, int64_t step) {
  Stmt s{.kind = StmtKind::for_};
  s.var = v;
  s.lo = std::move(lo);
  s.hi = std::move(hi);
  s.body = std::move(body);
  s.loop = kind;
  s.lanes = lanes;
  s.step = step;
  return make(std::move(s));
}

StmtRef let(VarId v, Expr value) {
  Stmt s{.kind = StmtKind::let};
  s.var = v;
  s.value = std::move(value);
  return make(std::move(s));
}

StmtRef store(BufferId b, std::vector<Expr> indices, Expr value, Expr mask) {
  Stmt s{.kind = StmtKind::store};
  s.buffer = b;
  s.indices = std::move(indices);
  s.value = std::move(value);
  s.mask = std::move(mask);
  return make(std::move(s));
}

StmtRef alloc(BufferId b) {
  Stmt s{.kind = StmtKind::alloc};
  s.buffer = b;
  return make(std::move(s));
}

StmtRef if_then(Expr condition, Block then, Block otherwise) {
  Stmt s{.kind = StmtKind::if_};
  s.value = std::move(condition);
  s.body = std::move(then);
  s.otherwise = std::move(otherwise);
  return make(std::move(s));
}

StmtRef contract(ContractTile t) {
  Stmt s{.kind = StmtKind::contract};
  s.contract = std::make_shared<const ContractTile>(std::move(t));
  return make(std::move(s));
}

StmtRef fault(Expr condition, std::string text) {
  Stmt s{.kind = StmtKind::fault};
  s.value = std::move(condition);
  s.text = std::move(text);
  return make(std::move(s));
}

StmtRef define_symbol(std::string symbol_name, Expr value) {
  Stmt s{.kind = StmtKind::define_symbol};
  s.text = std::move(symbol_name);
  s.value = std::move(value);
  return make(std::move(s));
}

StmtRef block(Block b) {
  Stmt s{.kind = StmtKind::block};
  s.body = std::move(b);
  return make(std::move(s));
}

Expr flat_index(const Buffer& b, std::span<const Expr> indices) {
  FCC_CHECK(indices.size() == b.dims.size(), "{} indices into {}{}", indices.size(), b.name, text(b.dims));
  Expr flat = index(0);
  SymExpr stride = 1;
  for (size_t d = indices.size(); d-- > 0;) {
    flat = indices[d] * from_sym(stride) + flat;
    stride = stride * b.dims[d];
  }
  return flat;
}

void walk(const Block& b, const std::function<void(const Stmt&)>& visit) {
  for (const StmtRef& s : b) {
    visit(*s);
    walk(s->body, visit);
    walk(s->otherwise, visit);
    if (s->contract) walk(s->contract->epilogue, visit);
  }
}

}  // namespace fcc::loop
