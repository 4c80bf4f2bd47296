#pragma once
// The arithmetic of single operations, as code: what add, floordiv, a cast or a reduction step gives for each
// element type. Used by the interpreter (program.cc); lives apart from it so that the rules of expr.h can be read
// in one place. A Value holds the operands as eval.h says. Not for emitted code.
#include "ir/loop/eval.h"

namespace fcc::loop {

using UnaryFn = Value (*)(Value);
using BinaryFn = Value (*)(Value, Value);

// The function computing an operation on operands of a type. Operations without meaning for the type
// (sin of an integer, shl of a float) are a bug of whoever built the expression.
UnaryFn unary_function(UnaryOp, DType operand);
BinaryFn binary_function(BinaryOp, DType operand);
UnaryFn cast_function(DType to, DType from);

// Whether the operation has a meaning for operands of this type.
bool is_defined(UnaryOp, DType operand);
bool is_defined(BinaryOp, DType operand);
bool is_defined(ReduceOp, DType operand);

// Reductions: start value, one step (floats stay in double), and the final rounding to the type.
Value reduce_identity(ReduceOp, DType);
BinaryFn reduce_function(ReduceOp, DType);
Value round_to(DType, Value);

}  // namespace fcc::loop
