#pragma once
// One loop kernel to the bytes of one relocatable ELF object, in this process and safe from any thread: every call
// has its own LLVM context. The same kernel, target and names give the same bytes on any machine.
#include <map>
#include <span>
#include <string>

#include "ir/base/diagnostic.h"
#include "ir/loop/loop.h"
#include "ir/target.h"

namespace llvm {
class Module;
}

namespace fcc {

struct CompileKernelOptions {
  bool want_ir = false;   // fill CompiledKernel::ir with the optimised LLVM IR
  bool want_asm = false;  // fill CompiledKernel::assembly
};

struct CompiledKernel {
  std::string object;         // ELF bytes; the function is a hidden global
  int64_t scratch_bytes = 0;  // per thread, 64-byte aligned
  std::string ir, assembly;   // only when asked for
};

// symbol_names[i] is what the kernel finds in symbols[i]; faults gives the index of each fault sentence.
Result<CompiledKernel> compile_kernel(const loop::Kernel&, const Target&, std::span<const std::string> symbol_names,
                                      const std::map<std::string, int32_t>& faults, const std::string& function_name,
                                      const CompileKernelOptions& = {});

// Gives a module the target's triple and data layout; before anything is put into it.
void prepare_module(llvm::Module&, const Target&);
// Optimises and compiles a module made elsewhere in this folder (the tables of a model).
std::string compile_module(llvm::Module&, const Target&, const CompileKernelOptions& = {},
                           CompiledKernel* texts = nullptr);

}  // namespace fcc
