#include "tests/unit/math/jit.h"

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include <sstream>

#include "ir/base/check.h"

namespace fcc::test {

std::vector<Level> host_levels() {
  const auto features = llvm::sys::getHostCPUFeatures();
  auto has = [&](const char* name) { return features.lookup(name); };
  if (llvm::Triple(llvm::sys::getProcessTriple()).isAArch64()) return {{"generic", {.fma = true}}};
  std::vector<Level> levels;
  if (has("sse4.2")) levels.push_back({"x86-64-v2", {.fma = false}});
  if (has("avx2") && has("fma")) levels.push_back({"x86-64-v3", {.fma = true}});
  if (has("avx512f") && has("avx512vl") && has("avx512dq") && has("avx512bw"))
    levels.push_back({"x86-64-v4", {.fma = true, .avx512 = true}});
  return levels;
}

namespace {

std::unique_ptr<llvm::TargetMachine> make_machine(const Level& level) {
  static const bool once = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)once;
  std::string error;
  const std::string triple = level.triple.empty() ? llvm::sys::getProcessTriple() : level.triple;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  FCC_CHECK(target, "{}", error);
  llvm::TargetOptions options;
  options.MCOptions.AsmVerbose = true;  // block names, for counting
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, level.cpu, "", options, llvm::Reloc::PIC_, {}, llvm::CodeGenOptLevel::Default));
}

// for (i = 0; i < n; i += width) out[i..] = emit(x[i..], y[i..])
void build_loop(llvm::Module& m, const Level& level, DType dtype, int width, const Emit& emit) {
  auto& c = m.getContext();
  llvm::IRBuilder<> b(c);
  auto* element = dtype == DType::f64 ? b.getDoubleTy() : b.getFloatTy();
  llvm::Type* type = width == 1 ? element : llvm::FixedVectorType::get(element, static_cast<unsigned>(width));
  auto* pointer = b.getPtrTy();
  auto* f =
      llvm::Function::Create(llvm::FunctionType::get(b.getVoidTy(), {pointer, pointer, pointer, b.getInt64Ty()}, false),
                             llvm::Function::ExternalLinkage, "kernel", m);
  f->addFnAttr("target-cpu", level.cpu);
  for (unsigned i = 0; i < 3; ++i) f->addParamAttr(i, llvm::Attribute::NoAlias);
  auto* entry = llvm::BasicBlock::Create(c, "entry", f);
  auto* body = llvm::BasicBlock::Create(c, "body", f);
  auto* done = llvm::BasicBlock::Create(c, "done", f);
  b.SetInsertPoint(entry);
  b.CreateBr(body);
  b.SetInsertPoint(body);
  auto* i = b.CreatePHI(b.getInt64Ty(), 2);
  i->addIncoming(b.getInt64(0), entry);
  auto at = [&](unsigned arg) { return b.CreateGEP(element, f->getArg(arg), {i}); };
  auto* x = b.CreateAlignedLoad(type, at(0), llvm::Align(4));
  auto* y = b.CreateAlignedLoad(type, at(1), llvm::Align(4));
  b.CreateAlignedStore(emit(b, level.target, x, y), at(2), llvm::Align(4));
  auto* next = b.CreateAdd(i, b.getInt64(width));
  i->addIncoming(next, b.GetInsertBlock());
  b.CreateCondBr(b.CreateICmpSLT(next, f->getArg(3)), body, done);
  b.SetInsertPoint(done);
  b.CreateRetVoid();
  FCC_CHECK(!llvm::verifyModule(m, &llvm::errs()));
}

std::string emit_file(llvm::Module& m, llvm::TargetMachine& machine, llvm::CodeGenFileType kind) {
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream out(text);
  llvm::legacy::PassManager passes;
  FCC_CHECK(!machine.addPassesToEmitFile(passes, out, nullptr, kind));
  passes.run(m);
  return {text.begin(), text.end()};
}

int count_body_instructions(const std::string& assembly) {
  const size_t label = assembly.find("%body"), end = assembly.find("%done", label);
  int count = 0;
  std::istringstream lines(assembly.substr(label, end - label));
  for (std::string line; std::getline(lines, line);)
    if (line.size() > 1 && line[0] == '\t' && line[1] != '.') ++count;
  return count;
}

struct Compiled {
  std::string object;
  int instructions = 0;
};

Compiled compile(const Level& level, DType dtype, int width, const Emit& emit) {
  llvm::LLVMContext context;
  auto machine = make_machine(level);
  llvm::Module m("vector_math", context);
  m.setTargetTriple(machine->getTargetTriple().str());
  m.setDataLayout(machine->createDataLayout());
  build_loop(m, level, dtype, width, emit);
  const std::string assembly = emit_file(*llvm::CloneModule(m), *machine, llvm::CodeGenFileType::AssemblyFile);
  return {emit_file(m, *machine, llvm::CodeGenFileType::ObjectFile), count_body_instructions(assembly)};
}

std::vector<std::string> undefined_in(const std::string& object) {
  std::vector<std::string> names;
  auto parsed =
      llvm::cantFail(llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(object, "vector_math.o")));
  for (const auto& symbol : parsed->symbols())
    if (llvm::cantFail(symbol.getFlags()) & llvm::object::SymbolRef::SF_Undefined)
      if (auto name = llvm::cantFail(symbol.getName()); !name.empty()) names.push_back(name.str());
  return names;
}

}  // namespace

std::vector<std::string> undefined_symbols(const Level& level, DType dtype, int width, const Emit& emit) {
  return undefined_in(compile(level, dtype, width, emit).object);
}

struct ArrayFunction::Engine {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

ArrayFunction::ArrayFunction(const Level& level, DType dtype, int width, const Emit& emit)
    : engine_(std::make_unique<Engine>()) {
  const Compiled compiled = compile(level, dtype, width, emit);
  instructions_ = compiled.instructions;
  undefined_ = undefined_in(compiled.object);
  engine_->jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
  llvm::cantFail(engine_->jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(compiled.object, "vector_math.o")));
  if (undefined_.empty()) address_ = llvm::cantFail(engine_->jit->lookup("kernel")).toPtr<void*>();
}
ArrayFunction::~ArrayFunction() = default;
ArrayFunction::ArrayFunction(ArrayFunction&&) noexcept = default;

}  // namespace fcc::test
