#include "backend/llvm/emit.h"

#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Verifier.h>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::Value;

Emitted emit_kernel(llvm::Module& module, const loop::Kernel& kernel, const EmitRequest& request) {
  return Emitter(module, kernel, request).run();
}

Emitter::Emitter(llvm::Module& module, const loop::Kernel& kernel, const EmitRequest& request)
    : module_(module),
      context_(module.getContext()),
      kernel_(kernel),
      request_(request),
      target_(request.target),
      b_(context_),
      arith_{b_, request.target},
      pointers_(kernel.buffers.size()),
      bindings_(kernel.vars.size()),
      strides_(kernel.buffers.size()) {}

Emitted Emitter::run() {
  open_function();
  scopes_.push_back({true, {}, {}});
  emit(kernel_.body);
  b_.CreateBr(exit_);
  return {function_, scratch_bytes_};
}

// ---- frame ------------------------------------------------------------------------------------------------------

static void set_attributes(llvm::Function& f, const Target& t) {
  f.addFnAttr(llvm::Attribute::NoUnwind);
  f.addFnAttr(llvm::Attribute::NoRecurse);
  f.addFnAttr(llvm::Attribute::NoSync);
  f.addFnAttr(llvm::Attribute::MustProgress);
  f.addFnAttr(llvm::Attribute::WillReturn);
  f.addFnAttr("target-cpu", t.cpu);
  if (!t.features.empty()) f.addFnAttr("target-features", t.features);
  // Without this pair the generic tuning of x86-64-v4 cuts explicit 512-bit vectors in half.
  if (t.isa == Isa::x86_64_v4) {
    f.addFnAttr("prefer-vector-width", "512");
    f.addFnAttr("min-legal-vector-width", "512");
  }
}

void Emitter::open_function() {
  llvm::Type *ptr = b_.getPtrTy(), *i64 = b_.getInt64Ty();
  auto* type = llvm::FunctionType::get(b_.getInt32Ty(), {ptr, ptr, i64, i64, ptr}, false);
  function_ = llvm::Function::Create(type, llvm::Function::ExternalLinkage, request_.function_name, module_);
  function_->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function_->setDSOLocal(true);
  set_attributes(*function_, target_);
  constexpr const char* kNames[] = {"args", "symbols", "first", "last", "scratch"};
  for (unsigned i = 0; i < 5; ++i) function_->getArg(i)->setName(kNames[i]);
  for (unsigned i : {0u, 1u, 4u}) function_->addParamAttr(i, llvm::Attribute::NoAlias);

  auto* entry = llvm::BasicBlock::Create(context_, "entry", function_);
  auto* start = llvm::BasicBlock::Create(context_, "start", function_);
  exit_ = llvm::BasicBlock::Create(context_, "exit", function_);
  b_.SetInsertPoint(exit_);
  b_.CreateRet(b_.getInt32(0));
  b_.SetInsertPoint(entry);
  entry_end_ = b_.CreateBr(start);

  llvm::MDBuilder md(context_);
  llvm::MDNode* domain = md.createAnonymousAliasScopeDomain(kernel_.name);
  std::vector<llvm::Metadata*> scopes;
  for (const loop::Buffer& buffer : kernel_.buffers)
    scopes.push_back(md.createAnonymousAliasScope(domain, buffer.name));
  for (size_t i = 0; i < scopes.size(); ++i) {
    std::vector<llvm::Metadata*> others = scopes;
    others.erase(others.begin() + static_cast<int64_t>(i));
    alias_scope_.push_back(llvm::MDNode::get(context_, {scopes[i]}));
    no_alias_.push_back(llvm::MDNode::get(context_, others));
  }
  b_.SetInsertPoint(start);
}

// Bytes of a buffer whose size is a number, else 0.
static int64_t static_bytes(const loop::Buffer& buffer) {
  int64_t n = byte_size(buffer.dtype);
  for (const SymExpr& d : buffer.dims) {
    if (!d.is_constant()) return 0;
    n = saturating_multiply(n, d.constant());
  }
  return n;
}

Value* Emitter::buffer_pointer(loop::BufferId id) {
  Value*& pointer = pointers_[static_cast<size_t>(id)];
  if (pointer) return pointer;
  FCC_CHECK(id < kernel_.n_params, "{}: buffer {} is used before its alloc", kernel_.name, kernel_.buffers[id].name);
  llvm::IRBuilder<>::InsertPointGuard guard(b_);
  b_.SetInsertPoint(entry_end_);
  Value* slot = b_.CreateConstGEP1_64(b_.getPtrTy(), function_->getArg(0), static_cast<uint64_t>(id));
  auto* load = b_.CreateAlignedLoad(b_.getPtrTy(), slot, llvm::Align(8), kernel_.buffers[id].name);
  llvm::MDNode* none = llvm::MDNode::get(context_, {});
  load->setMetadata(llvm::LLVMContext::MD_invariant_load, none);
  load->setMetadata(llvm::LLVMContext::MD_noundef, none);
  if (int64_t bytes = static_bytes(kernel_.buffers[id]); bytes > 0) {
    auto* count = llvm::ConstantAsMetadata::get(b_.getInt64(static_cast<uint64_t>(bytes)));
    load->setMetadata(llvm::LLVMContext::MD_dereferenceable, llvm::MDNode::get(context_, {count}));
  }
  return pointer = load;
}

Value* Emitter::symbol_value(std::string_view name) {
  if (auto it = symbols_.find(name); it != symbols_.end()) return it->second;
  auto at = std::find(request_.symbol_names.begin(), request_.symbol_names.end(), name);
  FCC_CHECK(at != request_.symbol_names.end(), "kernel {} uses the unknown symbol {}", kernel_.name, name);
  llvm::IRBuilder<>::InsertPointGuard guard(b_);
  b_.SetInsertPoint(entry_end_);
  const auto index = static_cast<uint64_t>(at - request_.symbol_names.begin());
  auto* load = b_.CreateAlignedLoad(
      b_.getInt64Ty(), b_.CreateConstGEP1_64(b_.getInt64Ty(), function_->getArg(1), index), llvm::Align(8));
  load->setName(llvm::StringRef(name.data(), name.size()));
  return symbols_[std::string(name)] = load;
}

void Emitter::tag(llvm::Instruction* access, loop::BufferId id) {
  const auto i = static_cast<size_t>(id);
  access->setMetadata(llvm::LLVMContext::MD_alias_scope, alias_scope_[i]);
  if (no_alias_[i]->getNumOperands()) access->setMetadata(llvm::LLVMContext::MD_noalias, no_alias_[i]);
  if (access->mayReadFromMemory() && kernel_.buffers[i].space == loop::Space::input)
    access->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(context_, {}));
}

// Memory that may always be read, holding `fill` in every element: where a guarded load goes when its guard is
// false. Room for the widest vector of the widest element.
Value* Emitter::pad(llvm::Type* element, llvm::Constant* fill) {
  llvm::GlobalVariable*& global = pads_[{element, fill}];
  if (global) return global;
  std::vector<llvm::Constant*> elements(16, fill);
  auto* array = llvm::ArrayType::get(element, elements.size());
  global = new llvm::GlobalVariable(module_, array, true, llvm::GlobalValue::PrivateLinkage,
                                    llvm::ConstantArray::get(array, elements), "pad");
  global->setAlignment(llvm::Align(64));
  return global;
}

void Emitter::return_code(Value* condition, int32_t code) {
  auto* leave = llvm::BasicBlock::Create(context_, "fault", function_, exit_);
  auto* go_on = llvm::BasicBlock::Create(context_, "ok", function_, exit_);
  b_.CreateCondBr(condition, leave, go_on, llvm::MDBuilder(context_).createBranchWeights(1, 1 << 20));
  b_.SetInsertPoint(leave);
  b_.CreateRet(b_.getInt32(static_cast<uint32_t>(code)));
  b_.SetInsertPoint(go_on);
}

// A local array keeps its place however often its alloc is emitted (main loop, tail, unrolled copies).
void Emitter::declare_local(loop::BufferId id) {
  const loop::Buffer& buffer = kernel_.buffers[id];
  Value*& pointer = pointers_[static_cast<size_t>(id)];
  if (pointer) return;
  for (const SymExpr& d : buffer.dims)
    FCC_CHECK(d.is_constant(), "{}: local {}{} has an open size", kernel_.name, buffer.name, text(buffer.dims));
  const int64_t bytes = static_bytes(buffer);
  llvm::IRBuilder<>::InsertPointGuard guard(b_);
  b_.SetInsertPoint(entry_end_);
  if (buffer.space == loop::Space::stack) {
    auto* type = llvm::ArrayType::get(memory_type(context_, buffer.dtype),
                                      static_cast<uint64_t>(bytes / byte_size(buffer.dtype)));
    auto* local = b_.CreateAlloca(type, nullptr, buffer.name);
    local->setAlignment(llvm::Align(64));
    pointer = local;
    return;
  }
  FCC_CHECK(buffer.space == loop::Space::scratch, "{}: alloc of the parameter {}", kernel_.name, buffer.name);
  pointer =
      b_.CreateConstGEP1_64(b_.getInt8Ty(), function_->getArg(4), static_cast<uint64_t>(scratch_bytes_), buffer.name);
  scratch_bytes_ += (bytes + 63) / 64 * 64;
}

}  // namespace fcc
