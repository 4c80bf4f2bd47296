#pragma once
// Elementary functions emitted as arithmetic: exp, log, tanh, erf, sin, pow and their kin for scalars and fixed
// vectors of f32 and f64. Lives here because emitted libraries must not call libm, and LLVM turns its own
// intrinsics for these functions into one libm call a lane. Nothing here loads memory, branches or calls.
//
// Special values follow C99 (NaN, infinities, signed zeros, denormals); measured errors in ULP stand in
// docs/vector_math.md. The code is right under the default rounding mode and without flush-to-zero; fast-math flags
// of the builder are ignored, since they would break the error compensation.
#include <llvm/IR/IRBuilder.h>

#include "ir/loop/expr.h"

namespace fcc {

// What the CPU offers beyond the baseline (SSE4.1 or NEON).
struct MathTarget {
  bool fma = true;      // llvm.fma is one instruction; where not, it would become a libm call
  bool avx512 = false;  // vscalef for vectors of 128, 256 and 512 bits (AVX-512F with VL)
};

// Any operation of loop::UnaryOp that has a meaning for floats, on float, double or a fixed vector of them.
// is_nan and is_inf give i1 (or a vector of it), all others the type of x.
llvm::Value* emit_unary_math(llvm::IRBuilderBase&, const MathTarget&, loop::UnaryOp, llvm::Value* x);
llvm::Value* emit_pow(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* x, llvm::Value* y);
llvm::Value* emit_atan2(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* y, llvm::Value* x);
// C fmod, sign of x. Exact for f32; for f64 exact while |x/y| < 2^150, beyond that some value of the right range.
llvm::Value* emit_fmod(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* x, llvm::Value* y);
// Remainder with the sign of y: BinaryOp::mod on floats.
llvm::Value* emit_mod(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* x, llvm::Value* y);
// a*b+c rounded once where the target can, else twice.
llvm::Value* emit_fma(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* a, llvm::Value* b, llvm::Value* c);

// Instructions for one vector of the natural width (8 f32 or 4 f64 with AVX2, counted in the assembly; AVX-512 needs
// about four fifths of them), a division or square root counted as 8. For cost models.
int math_cost(loop::UnaryOp, DType);
int math_cost(loop::BinaryOp, DType);

}  // namespace fcc
