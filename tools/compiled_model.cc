#include "tools/compiled_model.h"

#include <cstring>

namespace fcc {
namespace {

// The runtime's code and text as a diagnostic.
Status checked(fcc_status status) {
  if (status == FCC_OK) return {};
  return fail(fcc_error_text());
}

DType dtype_of(uint32_t runtime_dtype) {
  FCC_CHECK(runtime_dtype >= 1 && runtime_dtype <= kDTypeCount, "dtype {}", runtime_dtype);
  return static_cast<DType>(runtime_dtype);  // ir/types.h and model_abi.h share their numbers
}

}  // namespace

Result<CompiledModel> CompiledModel::open(const std::string& path, const ModelOptions& options) {
  CompiledModel m;
  fcc_library* library = nullptr;
  FCC_CHECKED(checked(fcc_library_open(path.c_str(), &library)));
  m.library_.reset(library);

  fcc_session_options session_options = {};
  session_options.bytes = sizeof session_options;
  session_options.threads = static_cast<uint32_t>(options.threads);
  session_options.entry = options.entry.empty() ? nullptr : options.entry.c_str();
  if (options.threads > 0) {
    fcc_pool* pool = nullptr;
    FCC_CHECKED(checked(fcc_pool_create(session_options.threads, &pool)));
    m.pool_.reset(pool);
    session_options.pool = pool;
  }
  fcc_session* session = nullptr;
  FCC_CHECKED(checked(fcc_session_create(library, &session_options, &session)));
  m.session_.reset(session);
  return m;
}

std::vector<std::string> CompiledModel::input_names() const {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < table().n_inputs; ++i) names.emplace_back(table().inputs[i].name);
  return names;
}

std::vector<std::string> CompiledModel::output_names() const {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < table().n_outputs; ++i) names.emplace_back(table().outputs[i].name);
  return names;
}

Status CompiledModel::bind(std::span<const Tensor> inputs) {
  FCC_CHECK(inputs.size() == table().n_inputs, "{} inputs bound, the model has {}", inputs.size(), table().n_inputs);
  for (uint32_t i = 0; i < table().n_inputs; ++i) {
    const Tensor& t = inputs[i];
    const fcc_tensor tensor = {const_cast<std::byte*>(t.raw()), static_cast<uint32_t>(t.dtype()),
                               static_cast<uint32_t>(t.rank()), t.shape().data(), nullptr};
    FCC_CHECKED(checked(fcc_session_bind_input(session(), i, &tensor)));
  }
  return {};
}

Status CompiledModel::call() {
  return checked(fcc_session_run(session()));
}

Result<std::vector<Tensor>> CompiledModel::outputs() const {
  std::vector<Tensor> outputs;
  for (uint32_t i = 0; i < table().n_outputs; ++i) {
    fcc_tensor view = {};
    FCC_CHECKED(checked(fcc_session_output(session(), i, &view)));
    Tensor t(dtype_of(view.dtype), std::vector<int64_t>(view.dims, view.dims + view.rank));
    if (!t.empty()) std::memcpy(t.raw(), view.data, static_cast<size_t>(t.bytes()));
    outputs.push_back(std::move(t));
  }
  return outputs;
}

Result<std::vector<Tensor>> CompiledModel::run(std::span<const Tensor> inputs) {
  FCC_CHECKED(bind(inputs));
  FCC_CHECKED(call());
  return outputs();
}

std::string size_text(const fcc_entry& entry, const fcc_size& size) {
  if (size.kind == FCC_SIZE_FIXED) return std::to_string(size.value);
  if (size.kind == FCC_SIZE_SYMBOL && size.index < entry.n_symbols) return entry.symbols[size.index].name;
  return "?";
}

std::string slot_text(const fcc_entry& entry, const fcc_slot& slot) {
  std::vector<std::string> dims;
  for (const fcc_size& size : std::span(slot.dims, slot.rank)) dims.push_back(size_text(entry, size));
  return fmt::format("{}[{}]", fcc_dtype_name(slot.dtype), fmt::join(dims, ","));
}

}  // namespace fcc
