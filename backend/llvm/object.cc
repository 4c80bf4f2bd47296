#include "backend/llvm/object.h"

#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/CodeGen/MachineFunctionPass.h>
#include <llvm/CodeGen/MachineModuleInfo.h>
#include <llvm/CodeGen/Passes.h>
#include <llvm/CodeGen/TargetPassConfig.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include <mutex>

#include "backend/llvm/emit.h"
#include "ir/base/check.h"

namespace fcc {

namespace {

// The emitter's inner loops count one index and reach memory from pointers that it took out of them. Loop strength reduction
// finds nothing to gain there and takes 57 % of the time of code generation: it weighs every combination of fourteen row
// pointers. There is no other switch than LLVM's command line, and LLD sets that back to its initial values on every link:
// so it is the initial value that is changed.
void leave_out_strength_reduction() {
  auto& options = llvm::cl::getRegisteredOptions();
  const auto option = options.find("disable-lsr");
  if (option != options.end()) static_cast<llvm::cl::opt<bool>*>(option->second)->setInitialValue(true);
}

const llvm::Target* find_target(const std::string& triple) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    leave_out_strength_reduction();
  });
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  FCC_CHECK(target, "{}", error);
  return target;
}

std::unique_ptr<llvm::TargetMachine> make_machine(const Target& t) {
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;  // a*b+c stays two roundings unless it says fma
  options.UniqueSectionNames = true;
  std::unique_ptr<llvm::TargetMachine> machine(find_target(t.triple)->createTargetMachine(
      t.triple, t.cpu, t.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  FCC_CHECK(machine, "no code generator for {}", t.triple);
  return machine;
}

// Only what straightens the emitter's own output. Vectors, unrolling and loop order are final already, so none of
// the passes that would decide them again.
void optimise(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graph;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  // Without library knowledge no pass invents a call such as exp2 or fmin.
  llvm::TargetLibraryInfoImpl library(llvm::Triple(module.getTargetTriple()));
  library.disableAllFunctions();
  functions.registerPass([&] { return llvm::TargetLibraryAnalysis(library); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);

  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass(true));
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()), true));
  passes.addPass(llvm::EarlyCSEPass(true));
  passes.addPass(llvm::InstCombinePass());
  passes.addPass(llvm::SimplifyCFGPass());
  llvm::ModulePassManager pipeline;
  pipeline.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(passes)));
  pipeline.run(module, modules);
}

std::string generate(llvm::Module& module, llvm::TargetMachine& machine, llvm::CodeGenFileType kind) {
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream out(buffer);
  llvm::legacy::PassManager passes;
  llvm::TargetLibraryInfoImpl library(llvm::Triple(module.getTargetTriple()));
  library.disableAllFunctions();
  passes.add(new llvm::TargetLibraryInfoWrapperPass(library));
  auto& generator = static_cast<llvm::LLVMTargetMachine&>(machine);
  llvm::TargetPassConfig* config = generator.createPassConfig(passes);
  config->setDisableVerify(true);
  // The emitter writes instructions in the order that needs the fewest registers (row by row in a tile). LLVM's
  // scheduler trades that away for latency, which out-of-order cores hide anyway, and then spills accumulators.
  // Switched off here and not by -enable-misched: that option is global, and LLD resets it.
  config->disablePass(&llvm::MachineSchedulerID);
  passes.add(config);
  auto* info = new llvm::MachineModuleInfoWrapperPass(&generator);
  passes.add(info);
  bool refused = config->addISelPasses();
  config->addMachinePasses();
  config->setInitialized();
  refused |= generator.addAsmPrinter(passes, out, nullptr, kind, info->getMMI().getContext());
  FCC_CHECK(!refused, "LLVM cannot write this kind of file");
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return {buffer.begin(), buffer.end()};
}

std::string print(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  module.print(out, nullptr);
  return text;
}

void check(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  const bool broken = llvm::verifyModule(module, &out);
  FCC_CHECK(!broken, "emitted IR is broken: {}\n{}", out.str(), print(module));
}

}  // namespace

void prepare_module(llvm::Module& module, const Target& target) {
  module.setTargetTriple(target.triple);
  module.setDataLayout(make_machine(target)->createDataLayout());
  module.setPICLevel(llvm::PICLevel::SmallPIC);
}

std::string compile_module(llvm::Module& module, const Target& target, const CompileKernelOptions& options,
                           CompiledKernel* texts) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  check(module);
  optimise(module, *machine);
  if (options.want_ir) texts->ir = print(module);
  if (options.want_asm) {
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(module);
    texts->assembly = generate(*copy, *machine, llvm::CodeGenFileType::AssemblyFile);
  }
  return generate(module, *machine, llvm::CodeGenFileType::ObjectFile);
}

Result<CompiledKernel> compile_kernel(const loop::Kernel& kernel, const Target& target,
                                      std::span<const std::string> symbol_names,
                                      const std::map<std::string, int32_t>& faults, const std::string& function_name,
                                      const CompileKernelOptions& options) {
  llvm::LLVMContext context;
  llvm::Module module("kernel", context);
  prepare_module(module, target);
  CompiledKernel result;
  const Emitted emitted = emit_kernel(module, kernel, {target, symbol_names, faults, function_name});
  result.scratch_bytes = emitted.scratch_bytes;
  result.object = compile_module(module, target, options, &result);
  return result;
}

}  // namespace fcc
