#include "backend/llvm/tables.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include "backend/llvm/elf.h"
#include "backend/llvm/emit.h"
#include "backend/llvm/object.h"
#include "ir/base/check.h"

namespace fcc {

namespace {

using llvm::Constant;

class Tables {
 public:
  Tables(llvm::Module& module, const TablesInput& input)
      : module_(module), c_(module.getContext()), b_(c_), input_(input) {}

  void build() {
    const ModelImage& m = input_.image;
    std::vector<Constant*> variants, states;
    for (size_t v = 0; v < m.variants.size(); ++v) variants.push_back(variant(v));
    for (const StateImage& s : m.states) states.push_back(state(s));
    auto* constants = new llvm::GlobalVariable(module_, b_.getInt8Ty(), true, llvm::GlobalValue::ExternalLinkage,
                                               nullptr, kConstantsSymbol);
    constants->setVisibility(llvm::GlobalValue::HiddenVisibility);
    Constant* model = structure(
        {u32(FCC_ABI_VERSION), u32(sizeof(fcc_model)), u32(sizeof(fcc_entry)), u32(sizeof(fcc_step)),
         u32(sizeof(fcc_slot)), u32(sizeof(fcc_symbol)), u32(sizeof(fcc_buffer)), u32(sizeof(fcc_state)),
         string(m.producer), string(m.source_hash), constants, i64(m.constants_bytes), array(states, "states"),
         u32(states.size()), u32(variants.size()), i64(m.state_arena_bytes), array(variants, "variants")});
    check_size(model, sizeof(fcc_model));
    query(global(model, "model"));
  }

 private:
  // ---- constants
  Constant* u32(uint64_t v) { return b_.getInt32(static_cast<uint32_t>(v)); }
  Constant* i64(int64_t v) { return b_.getInt64(static_cast<uint64_t>(v)); }
  Constant* null() { return llvm::ConstantPointerNull::get(b_.getPtrTy()); }
  Constant* structure(std::vector<Constant*> fields) { return llvm::ConstantStruct::getAnon(c_, fields); }
  void check_size(Constant* s, size_t bytes) {
    FCC_CHECK(module_.getDataLayout().getTypeAllocSize(s->getType()) == bytes,
              "a table does not look like model_abi.h");
  }

  Constant* global(Constant* value, const std::string& name) {
    auto* g =
        new llvm::GlobalVariable(module_, value->getType(), true, llvm::GlobalValue::InternalLinkage, value, name);
    g->setAlignment(llvm::Align(8));
    return g;
  }
  Constant* array(const std::vector<Constant*>& elements, const std::string& name) {
    if (elements.empty()) return null();
    auto* type = llvm::ArrayType::get(elements[0]->getType(), elements.size());
    return global(llvm::ConstantArray::get(type, elements), name);
  }
  Constant* string(const std::string& text) {
    Constant*& known = strings_[text];
    if (known) return known;
    Constant* data = llvm::ConstantDataArray::getString(c_, text);
    auto* g = new llvm::GlobalVariable(module_, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data, "text");
    g->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    g->setAlignment(llvm::Align(1));
    return known = g;
  }

  // ---- sizes of the entry being built
  struct Sizes {
    std::vector<std::string> symbols;
    std::vector<SymExpr> derived;
    std::map<std::string, uint32_t> index;  // by text
  };

  Constant* size(const SymExpr& e, Sizes& s) {
    if (e.is_constant()) return structure({u32(FCC_SIZE_FIXED), u32(0), i64(e.constant())});
    for (size_t i = 0; i < s.symbols.size(); ++i)
      if (e == SymExpr::symbol(s.symbols[i])) return structure({u32(FCC_SIZE_SYMBOL), u32(i), i64(0)});
    auto [it, fresh] = s.index.emplace(e.text(), static_cast<uint32_t>(s.derived.size()));
    if (fresh) s.derived.push_back(e);
    return structure({u32(FCC_SIZE_DERIVED), u32(it->second), i64(0)});
  }

  Constant* dims(const Dims& shape, Sizes& s) {
    std::vector<Constant*> sizes;
    for (const SymExpr& d : shape) sizes.push_back(size(d, s));
    return array(sizes, "dims");
  }

  Constant* slots(const std::vector<SlotImage>& list, Sizes& s, const std::string& name) {
    std::vector<Constant*> out;
    for (const SlotImage& slot : list) {
      out.push_back(structure({string(slot.name), u32(static_cast<uint64_t>(slot.type.dtype)),
                               u32(slot.type.dims.size()), dims(slot.type.dims, s)}));
      check_size(out.back(), sizeof(fcc_slot));
    }
    return array(out, name);
  }

  Constant* state(const StateImage& s) {
    Sizes none;
    const int64_t bytes = product_of(s.type) * byte_size(s.type.dtype);
    Constant* out = structure({string(s.name), u32(static_cast<uint64_t>(s.type.dtype)), u32(s.type.dims.size()),
                               dims(s.type.dims, none), i64(s.offset), i64(bytes), i64(s.init), u32(s.role), u32(0)});
    check_size(out, sizeof(fcc_state));
    return out;
  }
  static int64_t product_of(const TensorType& t) { return t.elements().constant(); }

  Constant* step(const StepImage& s, const PlacedKernel& k, Sizes& sizes) {
    std::vector<Constant*> args;
    for (const ArgImage& a : s.args) args.push_back(structure({u32(a.space), u32(a.index), i64(a.offset)}));
    llvm::Function* run = module_.getFunction(k.function);
    if (!run) {
      auto* type = llvm::FunctionType::get(
          b_.getInt32Ty(), {b_.getPtrTy(), b_.getPtrTy(), b_.getInt64Ty(), b_.getInt64Ty(), b_.getPtrTy()}, false);
      run = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, k.function, module_);
      run->setVisibility(llvm::GlobalValue::HiddenVisibility);
    }
    uint32_t flags = s.flags;
    if (k.may_fault) flags |= FCC_STEP_MAY_FAULT;
    if (k.defines_symbols) flags |= FCC_STEP_DEFINES_SYMBOLS;
    FCC_CHECK(k.scratch_bytes <= UINT32_MAX, "step {} wants {} bytes of scratch", s.name, k.scratch_bytes);
    Constant* out = structure({run, u32(FCC_STEP_KERNEL), u32(flags), array(args, "args"), u32(args.size()),
                               u32(static_cast<uint64_t>(k.scratch_bytes)), size(s.tiles, sizes), size(s.flops, sizes),
                               size(s.bytes, sizes), size(s.work_ns, sizes), string(s.name), string(s.what)});
    check_size(out, sizeof(fcc_step));
    return out;
  }

  Constant* entry(size_t v, size_t index) {
    const EntryImage& e = input_.image.variants[v].entries[index];
    Sizes sizes;
    std::vector<Constant*> symbols, buffers, steps, faults;
    for (const SymbolImage& s : e.symbols) {
      sizes.symbols.push_back(s.name);
      symbols.push_back(structure(
          {string(s.name), u32(s.defined_by_step), u32(s.input), u32(s.axis), u32(0), i64(s.min), i64(s.max)}));
      check_size(symbols.back(), sizeof(fcc_symbol));
    }
    Constant *inputs = slots(e.inputs, sizes, "inputs"), *outputs = slots(e.outputs, sizes, "outputs");
    for (const BufferImage& x : e.buffers) {
      buffers.push_back(structure({size(x.bytes, sizes), i64(x.offset), u32(x.first_step), u32(x.last_step)}));
      check_size(buffers.back(), sizeof(fcc_buffer));
    }
    size_t max_args = 0;
    int64_t max_scratch = 0;
    for (size_t i = 0; i < e.steps.size(); ++i) {
      const PlacedKernel& k = input_.placed[v][index][i];
      steps.push_back(step(e.steps[i], k, sizes));
      max_args = std::max(max_args, e.steps[i].args.size());
      max_scratch = std::max(max_scratch, k.scratch_bytes);
    }
    for (const std::string& text : input_.faults[v][index]) faults.push_back(string(text));
    Constant* out = structure({string(e.name), u32(e.inputs.size()), u32(e.outputs.size()), u32(symbols.size()),
                               u32(sizes.derived.size()), u32(buffers.size()), u32(steps.size()), u32(faults.size()),
                               u32(max_args), inputs, outputs, array(symbols, "symbols"), array(buffers, "buffers"),
                               array(steps, "steps"), array(faults, "faults"), derive(sizes, v, index),
                               i64(e.workspace_bytes), u32(static_cast<uint64_t>(max_scratch)), u32(0)});
    check_size(out, sizeof(fcc_entry));
    return out;
  }

  // void derive(const int64_t* symbols, int64_t* derived): a kernel that stores every size, called with one argument.
  Constant* derive(const Sizes& sizes, size_t v, size_t index) {
    if (sizes.derived.empty()) return null();
    loop::Kernel k;
    k.name = "derive";
    k.n_params = 1;
    const auto n = static_cast<int64_t>(sizes.derived.size());
    const loop::BufferId out =
        k.add_buffer({.name = "derived", .dtype = DType::i64, .dims = {n}, .space = loop::Space::output});
    for (int64_t i = 0; i < n; ++i)
      k.body.push_back(loop::store(out, {loop::index(i)}, loop::from_sym(sizes.derived[static_cast<size_t>(i)])));
    const std::string name = fmt::format("derive_v{}_e{}", v, index);
    const Target base = lowest();
    const std::map<std::string, int32_t> no_faults;
    llvm::Function* kernel = emit_kernel(module_, k, {base, sizes.symbols, no_faults, name + "_sizes", true}).function;
    kernel->setLinkage(llvm::GlobalValue::InternalLinkage);
    kernel->setVisibility(llvm::GlobalValue::DefaultVisibility);
    auto* type = llvm::FunctionType::get(b_.getVoidTy(), {b_.getPtrTy(), b_.getPtrTy()}, false);
    auto* thunk = llvm::Function::Create(type, llvm::GlobalValue::InternalLinkage, name, module_);
    thunk->addFnAttr(llvm::Attribute::NoUnwind);
    b_.SetInsertPoint(llvm::BasicBlock::Create(c_, "entry", thunk));
    auto* args = b_.CreateAlloca(b_.getPtrTy());
    b_.CreateStore(thunk->getArg(1), args);
    b_.CreateCall(kernel, {args, thunk->getArg(0), b_.getInt64(0), b_.getInt64(1), null()});
    b_.CreateRetVoid();
    return thunk;
  }

  Constant* variant(size_t v) {
    const VariantImage& x = input_.image.variants[v];
    std::vector<Constant*> entries;
    for (size_t e = 0; e < x.entries.size(); ++e) entries.push_back(entry(v, e));
    Constant* out =
        structure({u32(x.target.isa_bits()), u32(entries.size()), array(entries, "entries"), string(x.target.text())});
    check_size(out, sizeof(fcc_variant));
    return out;
  }

  void query(Constant* model) {
    auto* type = llvm::FunctionType::get(b_.getPtrTy(), {b_.getInt32Ty()}, false);
    auto* f = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, FCC_MODEL_QUERY_NAME, module_);
    f->addFnAttr(llvm::Attribute::NoUnwind);
    b_.SetInsertPoint(llvm::BasicBlock::Create(c_, "entry", f));
    Constant* known = u32(FCC_ABI_VERSION);
    b_.CreateRet(b_.CreateSelect(b_.CreateICmpUGE(f->getArg(0), known), model, null()));
  }

 public:
  Target lowest() const {
    return Target::level(input_.image.variants.at(0).target.is_x86() ? Isa::x86_64_v2 : Isa::aarch64);
  }

 private:
  llvm::Module& module_;
  llvm::LLVMContext& c_;
  llvm::IRBuilder<> b_;
  const TablesInput& input_;
  std::map<std::string, Constant*> strings_;
};

}  // namespace

std::string compile_tables(const TablesInput& input) {
  llvm::LLVMContext context;
  llvm::Module module("tables", context);
  Tables tables(module, input);
  const Target base = tables.lowest();
  prepare_module(module, base);
  tables.build();
  return compile_module(module, base);
}

}  // namespace fcc
