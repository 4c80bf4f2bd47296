#pragma once
// The one-dimensional transforms of F(4,3) and F(2,3) (ir/ops/winograd.h), factored into few instructions, and the
// vector of statements in which they stand. Shared by the convolution and by the gradient of its weight.
#include <span>
#include <vector>

#include "ir/loop/loop.h"

namespace fcc::backend {

// A sequence of statements inside a vector loop over 16 lanes, and the names bound in it.
struct Lanes {
  loop::Kernel& kernel;
  loop::Block block;

  loop::Expr let(const char* name, loop::Expr value) {
    const loop::VarId v = kernel.add_var(name, DType::f32);
    block.push_back(loop::let(v, std::move(value)));
    return loop::var(v, DType::f32);
  }
};

// B^T d for one column of d: 16 instructions for F(4,3), 4 for F(2,3).
std::vector<loop::Expr> transform_input(Lanes&, std::span<const loop::Expr> d);
// A^T m for one column of m: 12 instructions for F(4,3), 4 for F(2,3).
std::vector<loop::Expr> transform_output(Lanes&, std::span<const loop::Expr> m);
// A y for one column of y, the transpose of transform_output: 11 instructions for F(4,3), 2 for F(2,3).
std::vector<loop::Expr> transform_gradient(Lanes&, std::span<const loop::Expr> y);

}  // namespace fcc::backend
