#pragma once
// Single operations on LLVM values, scalar or vector: the semantic rules of ir/loop/expr.h spelled in
// instructions. Stateless; knows nothing of kernels, loops or lanes beyond the shape of its operands, and mixes
// scalars with vectors by splatting. Transcendental functions are in math.h.
#include <llvm/IR/IRBuilder.h>

#include "backend/llvm/math.h"
#include "ir/loop/expr.h"
#include "ir/target.h"

namespace fcc {

// Types: inside expressions (i1 for boolean, float for f16) and in memory (i8 for boolean, i16 for f16).
llvm::Type* value_type(llvm::LLVMContext&, DType);
llvm::Type* memory_type(llvm::LLVMContext&, DType);
// T, or <lanes x T> when lanes > 1.
llvm::Type* with_lanes(llvm::Type*, int64_t lanes);
// 1 for a scalar.
int64_t lanes_of(const llvm::Value*);
llvm::Value* splat(llvm::IRBuilderBase&, llvm::Value*, int64_t lanes);
// Makes both scalar or both vectors of the same width.
void unify(llvm::IRBuilderBase&, llvm::Value*& a, llvm::Value*& b);
// <0, step, 2*step, ...> of an integer type.
llvm::Constant* iota(llvm::Type* element, int64_t lanes, int64_t step = 1);

struct Arith {
  llvm::IRBuilderBase& b;
  const Target& target;

  llvm::Value* unary(loop::UnaryOp, DType operand, llvm::Value*) const;
  llvm::Value* binary(loop::BinaryOp, DType operand, llvm::Value*, llvm::Value*) const;
  // div, floordiv, mod, rem of non-negative integers with a positive divisor or zero.
  llvm::Value* divide_nonnegative(loop::BinaryOp, llvm::Value*, llvm::Value*) const;
  // i64 add, sub, mul that stop at the ends of int64.
  llvm::Value* saturating(loop::BinaryOp, llvm::Value*, llvm::Value*) const;
  llvm::Value* cast(DType from, DType to, llvm::Value*) const;
  llvm::Value* select(llvm::Value* cond, llvm::Value* then, llvm::Value* otherwise) const;
  // a*b+c in one rounding where the target has it, else two.
  llvm::Value* fma(llvm::Value*, llvm::Value*, llvm::Value*) const;
  llvm::Value* reduce_step(loop::ReduceOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Constant* reduce_identity(loop::ReduceOp, DType) const;
  // Joins all lanes in a fixed tree.
  llvm::Value* reduce_lanes(loop::ReduceOp, DType, llvm::Value*) const;
  // Between memory_type and value_type.
  llvm::Value* from_memory(DType, llvm::Value*) const;
  llvm::Value* to_memory(DType, llvm::Value*) const;
  llvm::Constant* constant(DType, double f, int64_t i) const;

 private:
  llvm::Value* int_unary(loop::UnaryOp, DType, llvm::Value*) const;
  llvm::Value* float_unary(loop::UnaryOp, llvm::Value*) const;
  llvm::Value* int_binary(loop::BinaryOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* float_binary(loop::BinaryOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* compare(loop::BinaryOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* divide(loop::BinaryOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* shift(loop::BinaryOp, DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* int_power(DType, llvm::Value*, llvm::Value*) const;
  llvm::Value* float_min_max(bool is_max, llvm::Value*, llvm::Value*) const;
  MathTarget math() const;
  llvm::Value* half_to_float(llvm::Value*) const;
  llvm::Value* float_to_half(llvm::Value*) const;
  llvm::Value* float_to_bfloat(llvm::Value*) const;
};

}  // namespace fcc
