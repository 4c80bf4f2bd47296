#pragma once
// Multiply-adds of register tiles that running all tasks of a kernel takes, counted from its loops: what the tests hold
// against the formula of an operator.
#include <map>
#include <string>

#include "ir/loop/eval.h"
#include "ir/loop/loop.h"

namespace fcc::test {

class MacCounter {
 public:
  MacCounter(const loop::Kernel& k, std::map<std::string, int64_t> symbols)
      : environment_{.vars = {}, .symbols = std::move(symbols), .load = nullptr} {
    block(k.body);
  }
  int64_t macs = 0;

 private:
  int64_t value(const loop::Expr& e) const { return loop::evaluate(e, environment_).i; }
  // Loops over elements, beside the tiles, hold no contraction and may depend on data.
  static bool has_tiles(const loop::Stmt& s) {
    if (s.contract) return true;
    for (const loop::Block* b : {&s.body, &s.otherwise})
      for (const loop::StmtRef& inner : *b)
        if (has_tiles(*inner)) return true;
    return false;
  }
  void block(const loop::Block& b) {
    for (const loop::StmtRef& s : b) stmt(*s);
  }
  void stmt(const loop::Stmt& s) {
    if (s.kind == loop::StmtKind::let) {
      if (!is_float(s.value->type)) environment_.vars[s.var] = loop::int_value(value(s.value));
      return;
    }
    if (!has_tiles(s)) return;
    switch (s.kind) {
      case loop::StmtKind::for_:
        for (int64_t i = value(s.lo), end = value(s.hi); i < end; i += s.step) {
          environment_.vars[s.var] = loop::int_value(i);
          block(s.body);
        }
        return;
      case loop::StmtKind::if_:
        return block(value(s.value) ? s.body : s.otherwise);
      case loop::StmtKind::contract: {
        int64_t depth = 1;
        for (const auto& r : s.contract->reductions) depth *= value(r.extent);
        macs += int64_t{s.contract->rows} * s.contract->cols * depth;
        return;
      }
      default:
        return block(s.body);
    }
  }
  loop::Environment environment_;
};

inline int64_t count_macs(const loop::Kernel& kernel, std::map<std::string, int64_t> symbols = {}) {
  return MacCounter(kernel, std::move(symbols)).macs;
}

}  // namespace fcc::test
