#pragma once
// Loop IR to LLVM IR: one kernel becomes one function of the type fcc_kernel (runtime/include/fcc/model_abi.h).
//
// Lives here because it is the only place where the meaning of loop IR (ir/loop/expr.h, loop.h) meets
// instructions. Vectors are emitted explicitly; no auto-vectoriser runs afterwards. Not an optimiser: tiling,
// fusion and loop order are decided before, and what a kernel says is what is emitted.
#include <map>
#include <span>
#include <string>

#include "ir/loop/loop.h"
#include "ir/target.h"

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace fcc {

struct EmitRequest {
  const Target& target;
  std::span<const std::string> symbol_names;     // symbols[i] of the entry
  const std::map<std::string, int32_t>& faults;  // text of a fault statement -> index into the entry's faults
  std::string function_name;
  bool saturate = false;  // i64 add, sub and mul stop at the ends of int64, as SymExpr does
};

struct Emitted {
  llvm::Function* function = nullptr;
  int64_t scratch_bytes = 0;
};

// A symbol or a fault missing from the request is a bug of the caller.
Emitted emit_kernel(llvm::Module&, const loop::Kernel&, const EmitRequest&);

}  // namespace fcc
