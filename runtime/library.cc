#include "library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "cpu_check.h"
#include "elf_check.h"
#include "text.h"
#include "validate.h"

namespace fcc::runtime {
namespace {

struct StructSize {
  const char* name;
  uint32_t seen, expected;
};

// Old libraries may have shorter structs than a newer host knows only when the ABI version says so; today there is one
// version, so sizes must agree.
fcc_status check_struct_sizes(const char* path, const fcc_model& model) {
  const StructSize sizes[] = {
      {"fcc_model", model.model_bytes, sizeof(fcc_model)},      {"fcc_entry", model.entry_bytes, sizeof(fcc_entry)},
      {"fcc_step", model.step_bytes, sizeof(fcc_step)},         {"fcc_slot", model.slot_bytes, sizeof(fcc_slot)},
      {"fcc_symbol", model.symbol_bytes, sizeof(fcc_symbol)},   {"fcc_buffer", model.buffer_bytes, sizeof(fcc_buffer)},
      {"fcc_state", model.state_bytes_each, sizeof(fcc_state)},
  };
  for (const StructSize& size : sizes)
    if (size.seen != size.expected)
      return fail(
          FCC_BAD_LIBRARY,
          "%s: %s has %u bytes there and %u here\n"
          " hint: the file and this program disagree about ABI version %u; compile both with one release of fcc",
          path, size.name, size.seen, size.expected, FCC_ABI_VERSION);
  return FCC_OK;
}

// dlopen searches system folders for a bare name; people mean the file beside them.
std::string with_folder(const char* path) {
  return std::strchr(path, '/') ? path : "./" + std::string(path);
}

}  // namespace

Library::~Library() {
  if (handle_ != nullptr) ::dlclose(handle_);
  if (file_ >= 0) ::close(file_);
}

fcc_status Library::open(const char* path, std::shared_ptr<const Library>* library) {
  auto opened = std::make_shared<Library>();
  opened->path_ = with_folder(path);
  const char* file = opened->path_.c_str();
  FCC_RETURN_IF_FAILED(check_elf_file(file));
  FCC_RETURN_IF_FAILED(opened->load());
  auto query = reinterpret_cast<fcc_model_query_fn>(::dlsym(opened->handle_, FCC_MODEL_QUERY_NAME));
  if (query == nullptr)
    return fail(FCC_BAD_LIBRARY,
                "%s is a shared library but not a compiled model: it exports no " FCC_MODEL_QUERY_NAME
                "\n hint: compile one with: fcc model.onnx -o model.so",
                file);
  FCC_RETURN_IF_FAILED(opened->adopt(query));
  *library = std::move(opened);
  return FCC_OK;
}

// dlopen knows files by name: for a path replaced since it was opened it would return the old file. A name of the new
// file that no other has is that of its open descriptor, as long as the descriptor stays open.
fcc_status Library::load() {
  const char* path = path_.c_str();
  if (void* loaded = ::dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) {
    file_ = ::open(path, O_RDONLY | O_CLOEXEC);
    std::string name = "/proc/self/fd/" + std::to_string(file_);
    handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    ::dlclose(loaded);
    if (handle_ == loaded) ::close(std::exchange(file_, -1));  // the same file
  } else {
    handle_ = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  if (handle_ == nullptr) return fail(FCC_BAD_LIBRARY, "cannot load %s: %s", path, ::dlerror());
  return FCC_OK;
}

fcc_status Library::from_query(fcc_model_query_fn query, std::shared_ptr<const Library>* library) {
  auto opened = std::make_shared<Library>();
  opened->path_ = "the linked model";
  FCC_RETURN_IF_FAILED(opened->adopt(query));
  *library = std::move(opened);
  return FCC_OK;
}

fcc_status Library::adopt(fcc_model_query_fn query) {
  model_ = query(FCC_ABI_VERSION);
  const char* path = path_.c_str();
  if (model_ == nullptr)
    return fail(FCC_BAD_LIBRARY,
                "%s was made for a newer runtime: this one knows model ABI version %u and older\n"
                " hint: update the runtime, or compile the model with this release of fcc",
                path, FCC_ABI_VERSION);
  if (model_->abi_version == 0 || model_->abi_version > FCC_ABI_VERSION)
    return fail(FCC_BAD_LIBRARY,
                "%s has model ABI version %u; this runtime knows versions 1 to %u\n hint: update the runtime", path,
                model_->abi_version, FCC_ABI_VERSION);
  FCC_RETURN_IF_FAILED(check_struct_sizes(path, *model_));
  FCC_RETURN_IF_FAILED(validate_model(path, *model_));
  return choose_variant();
}

fcc_status Library::choose_variant() {
  uint32_t usable = 0;
  FCC_RETURN_IF_FAILED(usable_isa(&usable));
  for (uint32_t i = 0; i < model_->n_variants; ++i) {
    const fcc_variant& variant = model_->variants[i];
    if ((variant.isa & ~usable) != 0) continue;
    if (variant.n_entries == 0) return fail(FCC_BAD_LIBRARY, "%s has no entries", path_.c_str());
    variant_ = &variant;
    return FCC_OK;
  }
  if (model_->n_variants == 0) return fail(FCC_BAD_LIBRARY, "%s holds no code for any CPU", path_.c_str());
  // The last variant asks for the least.
  uint32_t needed = model_->variants[model_->n_variants - 1].isa;
  return fail(FCC_BAD_CPU,
              "%s needs %s; this CPU lacks %s\n"
              " hint: compile with --target %s, or a list such as x86-64-v4,x86-64-v3,x86-64-v2",
              path_.c_str(), isa_text(needed).c_str(), missing_features(needed, usable).c_str(),
              isa_text(usable & (FCC_ISA_X86_64_V2 | FCC_ISA_X86_64_V3 | FCC_ISA_X86_64_V4 | FCC_ISA_AARCH64)).c_str());
}

void Library::map_constants() const {
#ifdef MADV_POPULATE_READ
  constexpr int64_t kWorthACall = int64_t{1} << 20;
  if (model_->constants_bytes < kWorthACall || mapped_.exchange(true)) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE)), first = reinterpret_cast<uintptr_t>(model_->constants) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(model_->constants) + static_cast<uintptr_t>(model_->constants_bytes);
  ::madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_READ);  // a hint: older kernels refuse it
#endif
}

fcc_status Library::prepared(const MakeState& make, std::shared_ptr<AlignedMemory>* state) const {
  if (model_->n_states == 0 || model_->states[0].role != FCC_STATE_PREPARED) return FCC_OK;
  std::lock_guard lock(preparing_);
  if (prepared_ == nullptr) FCC_RETURN_IF_FAILED(make(&prepared_));
  *state = prepared_;
  return FCC_OK;
}

const fcc_entry* Library::find_entry(const char* name) const {
  if (name == nullptr) return &variant_->entries[0];
  for (uint32_t i = 0; i < variant_->n_entries; ++i)
    if (std::strcmp(variant_->entries[i].name, name) == 0) return &variant_->entries[i];
  fail(FCC_NOT_FOUND, "no entry \"%s\"%s", name,
       name_help(name, variant_->n_entries, [&](uint32_t i) { return variant_->entries[i].name; }).c_str());
  return nullptr;
}

}  // namespace fcc::runtime
