// What LLD refers to and fcc does without: other targets than x86 and AArch64, parsers of assembly, and Polly, which LTO
// asks for passes (fcc links no bitcode). Only for programs that hold LLVM's archives, behind which this stands: weak, so
// that what an archive has wins.
#include <llvm/Passes/PassPlugin.h>

#define ABSENT(name) \
  extern "C" [[gnu::weak]] void LLVMInitialize##name() {}

#define LLVM_TARGET(name) ABSENT(name##TargetInfo) ABSENT(name##Target) ABSENT(name##TargetMC)
#include <llvm/Config/Targets.def>
#define LLVM_ASM_PRINTER(name) ABSENT(name##AsmPrinter)
#include <llvm/Config/AsmPrinters.def>
#define LLVM_ASM_PARSER(name) ABSENT(name##AsmParser)
#include <llvm/Config/AsmParsers.def>

[[gnu::weak]] llvm::PassPluginLibraryInfo getPollyPluginInfo() {
  return {LLVM_PLUGIN_API_VERSION, "none", "", [](llvm::PassBuilder&) {}};
}
