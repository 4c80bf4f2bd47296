#pragma once
// What classes that write a loop nest by hand share: the kernel under construction, its named values and its loops.
#include <functional>

#include "ir/loop/loop.h"

namespace fcc::backend {

class NestBuilder {
 protected:
  // A variable of this value, or the value itself where it is a constant.
  loop::Expr let(loop::Block& b, const char* var_name, loop::Expr value) {
    if (loop::is_constant(value)) return value;
    const loop::VarId v = kernel_.add_var(var_name);
    b.push_back(loop::let(v, std::move(value)));
    return loop::var(v);
  }
  // A sequential loop from lo up to hi around what `body` makes of its variable.
  loop::StmtRef count(const char* var_name, loop::Expr lo, loop::Expr hi,
                      const std::function<loop::Block(const loop::Expr&)>& body, int64_t step = 1) {
    const loop::VarId v = kernel_.add_var(var_name);
    return loop::for_loop(v, std::move(lo), std::move(hi), body(loop::var(v)), loop::LoopKind::seq, 1, step);
  }

  loop::Kernel kernel_;
};

}  // namespace fcc::backend
