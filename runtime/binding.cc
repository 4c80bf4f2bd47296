#include "binding.h"

#include <algorithm>

#include "text.h"

namespace fcc::runtime {
namespace {

std::string hint_line(const std::string& hint) {
  return hint.empty() ? "" : "\n hint: " + hint;
}

bool in_bounds(const fcc_symbol& symbol, int64_t value) {
  return value >= symbol.min && value <= symbol.max;
}

std::string bounds_text(const fcc_symbol& symbol) {
  std::string text = "from " + std::to_string(symbol.min);
  return symbol.max == INT64_MAX ? text + " up" : text + " to " + std::to_string(symbol.max);
}

fcc_status wrong_shape(const fcc_entry& entry, const fcc_slot& slot, const fcc_tensor& tensor, std::string reason) {
  return fail(FCC_BAD_SHAPE, "input \"%s\" wants %s, got %s: %s%s", slot.name, slot_text(entry, slot).c_str(),
              shape_text(tensor.dtype, tensor.rank, tensor.dims).c_str(), reason.c_str(),
              hint_line(shape_hint(entry, slot, tensor.rank, tensor.dims)).c_str());
}

// Text is built only for a failure: binding a new shape allocates nothing.
fcc_status wrong_dim(const fcc_entry& entry, const fcc_slot& slot, const fcc_tensor& tensor, uint32_t axis) {
  const fcc_size& size = slot.dims[axis];
  int64_t given = tensor.dims[axis];
  std::string where = "dimension " + std::to_string(axis) + " is " + std::to_string(given);
  if (given < 0) return wrong_shape(entry, slot, tensor, where + ", a size cannot be negative");
  if (size.kind == FCC_SIZE_FIXED)
    return wrong_shape(entry, slot, tensor, where + " instead of " + std::to_string(size.value));
  const fcc_symbol& symbol = entry.symbols[size.index];
  return fail(FCC_BAD_SHAPE,
              "input \"%s\" wants %s, got %s: %s, the model was compiled for %s %s\n"
              " hint: compile with wider bounds, such as --dim %s=%lld..%lld",
              slot.name, slot_text(entry, slot).c_str(), shape_text(tensor.dtype, tensor.rank, tensor.dims).c_str(),
              where.c_str(), symbol.name, bounds_text(symbol).c_str(), symbol.name,
              static_cast<long long>(std::min(given, symbol.min)), static_cast<long long>(std::max(given, symbol.max)));
}

fcc_status check_dims(const fcc_entry& entry, const fcc_slot& slot, const fcc_tensor& tensor) {
  if (tensor.rank != slot.rank)
    return wrong_shape(entry, slot, tensor,
                       "rank " + std::to_string(tensor.rank) + " instead of " + std::to_string(slot.rank));
  for (uint32_t axis = 0; axis < slot.rank; ++axis) {
    const fcc_size& size = slot.dims[axis];
    int64_t given = tensor.dims[axis];
    bool fits =
        given >= 0 && (size.kind == FCC_SIZE_FIXED ? given == size.value : in_bounds(entry.symbols[size.index], given));
    if (!fits) return wrong_dim(entry, slot, tensor, axis);
  }
  return FCC_OK;
}

fcc_status check_strides(const fcc_slot& slot, const fcc_tensor& tensor) {
  if (tensor.strides == nullptr) return FCC_OK;
  int64_t dense = 1;
  for (uint32_t axis = tensor.rank; axis-- > 0;) {
    if (tensor.dims[axis] != 1 && tensor.strides[axis] != dense)
      return fail(
          FCC_BAD_BUFFER,
          "input \"%s\" is a strided view: stride %lld in dimension %u, dense memory has %lld\n"
          " hint: copy it into dense row-major memory first (contiguous() in PyTorch, ascontiguousarray in NumPy)",
          slot.name, static_cast<long long>(tensor.strides[axis]), axis, static_cast<long long>(dense));
    dense *= tensor.dims[axis];
  }
  return FCC_OK;
}

fcc_status check_dtype(const char* kind, const fcc_slot& slot, uint32_t dtype) {
  if (dtype == slot.dtype) return FCC_OK;
  return fail(FCC_BAD_DTYPE, "%s \"%s\" is %s, got %s\n hint: convert the data to %s; the runtime never converts", kind,
              slot.name, dtype_name(slot.dtype), dtype_name(dtype), dtype_name(slot.dtype));
}

fcc_status check_memory(const char* kind, const fcc_slot& slot, const void* data, int64_t bytes) {
  if (data == nullptr && bytes > 0)
    return fail(FCC_BAD_BUFFER, "%s \"%s\": the data pointer is null, expected %lld bytes", kind, slot.name,
                static_cast<long long>(bytes));
  int64_t alignment = dtype_bytes(slot.dtype);
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(alignment) != 0)
    return fail(
        FCC_BAD_BUFFER,
        "%s \"%s\" is misaligned: %s elements need addresses that are multiples of %lld, got one that is %lld past\n"
        " hint: copy the data into memory of its own type",
        kind, slot.name, dtype_name(slot.dtype), static_cast<long long>(alignment),
        static_cast<long long>(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(alignment)));
  return FCC_OK;
}

// What another bound input says about a symbol, or -1.
int64_t known_symbol(const fcc_entry& entry, uint32_t symbol, uint32_t except,
                     const std::vector<InputBinding>& inputs) {
  if (entry.symbols[symbol].min == entry.symbols[symbol].max) return entry.symbols[symbol].min;
  for (uint32_t i = 0; i < inputs.size(); ++i)
    for (uint32_t axis = 0; i != except && inputs[i].bound && axis < inputs[i].dims.size(); ++axis)
      if (entry.inputs[i].dims[axis].kind == FCC_SIZE_SYMBOL && entry.inputs[i].dims[axis].index == symbol)
        return inputs[i].dims[axis];
  return -1;
}

}  // namespace

bool dense_bytes(uint32_t dtype, uint32_t rank, const int64_t* dims, int64_t* bytes) {
  *bytes = dtype_bytes(dtype);
  for (uint32_t axis = 0; axis < rank; ++axis)
    if (dims[axis] < 0 || __builtin_mul_overflow(*bytes, dims[axis], bytes)) return false;
  return true;
}

fcc_status check_input(const fcc_entry& entry, uint32_t index, const fcc_tensor& tensor) {
  const fcc_slot& slot = entry.inputs[index];
  FCC_RETURN_IF_FAILED(check_dtype("input", slot, tensor.dtype));
  if (tensor.dims == nullptr && tensor.rank > 0)
    return fail(FCC_BAD_ARGUMENT, "input \"%s\": dims is null for a tensor of rank %u", slot.name, tensor.rank);
  FCC_RETURN_IF_FAILED(check_dims(entry, slot, tensor));
  int64_t bytes = 0;
  if (!dense_bytes(slot.dtype, tensor.rank, tensor.dims, &bytes))
    return wrong_shape(entry, slot, tensor, "larger than any memory");
  FCC_RETURN_IF_FAILED(check_strides(slot, tensor));
  return check_memory("input", slot, tensor.data, bytes);
}

fcc_status infer_flat_dims(const fcc_entry& entry, uint32_t index, int64_t elements,
                           const std::vector<InputBinding>& inputs, std::vector<int64_t>* dims) {
  const fcc_slot& slot = entry.inputs[index];
  int64_t known = 1;
  uint32_t open_axes = 0, open_axis = 0;
  dims->assign(slot.rank, 1);
  for (uint32_t axis = 0; axis < slot.rank; ++axis) {
    const fcc_size& size = slot.dims[axis];
    int64_t dim = size.kind == FCC_SIZE_FIXED ? size.value : known_symbol(entry, size.index, index, inputs);
    if (dim < 0)
      open_axis = axis, ++open_axes;
    else
      (*dims)[axis] = dim, known *= dim;
  }
  if (open_axes > 1)
    return fail(FCC_BAD_SHAPE,
                "input \"%s\" wants %s: %lld elements without dims can be split in more than one way\n hint: "
                "pass the dims with the data",
                slot.name, slot_text(entry, slot).c_str(), static_cast<long long>(elements));
  if (open_axes == 1 && known > 0 && elements % known == 0) {
    (*dims)[open_axis] = elements / known;
    return FCC_OK;
  }
  if (open_axes == 0 && elements == known) return FCC_OK;
  return fail(FCC_BAD_SHAPE,
              "input \"%s\" wants %s: got %lld elements, expected %s%lld\n hint: check how the data was "
              "prepared, or pass dims with it",
              slot.name, slot_text(entry, slot).c_str(), static_cast<long long>(elements), open_axes ? "a multiple of " : "",
              static_cast<long long>(known));
}

fcc_status check_output(const fcc_entry& entry, uint32_t index, uint32_t dtype, const void* data, int64_t bytes) {
  const fcc_slot& slot = entry.outputs[index];
  FCC_RETURN_IF_FAILED(check_dtype("output", slot, dtype));
  if (bytes < 0)
    return fail(FCC_BAD_ARGUMENT, "output \"%s\": room of %lld bytes", slot.name, static_cast<long long>(bytes));
  return check_memory("output", slot, data, bytes);
}

fcc_status check_room(const fcc_entry& entry, uint32_t index, const int64_t* dims, int64_t bytes, int64_t room) {
  if (bytes <= room) return FCC_OK;
  const fcc_slot& slot = entry.outputs[index];
  return fail(FCC_BAD_BUFFER,
              "output \"%s\" needs %lld bytes for %s, the memory bound to it has %lld\n"
              " hint: bind at least %lld bytes, or bind nothing and read the runtime's own memory",
              slot.name, static_cast<long long>(bytes), shape_text(slot.dtype, slot.rank, dims).c_str(),
              static_cast<long long>(room), static_cast<long long>(bytes));
}

fcc_status check_disjoint(const Extent& output, const Extent& other) {
  auto a = reinterpret_cast<uintptr_t>(output.data), b = reinterpret_cast<uintptr_t>(other.data);
  if (a >= b + static_cast<uintptr_t>(other.bytes) || b >= a + static_cast<uintptr_t>(output.bytes)) return FCC_OK;
  if (output.bytes == 0 || other.bytes == 0) return FCC_OK;
  return fail(FCC_BAD_BUFFER,
              "%s \"%s\" overlaps %s \"%s\" in memory\n"
              " hint: give each output memory of its own; to feed an output back, swap two buffers",
              output.kind, output.name, other.kind, other.name);
}

fcc_status resolve_symbols(const fcc_entry& entry, const std::vector<InputBinding>& inputs,
                           std::vector<int64_t>* symbols) {
  for (uint32_t i = 0; i < entry.n_symbols; ++i) {
    const fcc_symbol& symbol = entry.symbols[i];
    (*symbols)[i] =
        symbol.origin == 0 ? inputs[symbol.input].dims[symbol.axis] : std::clamp<int64_t>(1, symbol.min, symbol.max);
  }
  for (uint32_t i = 0; i < entry.n_inputs; ++i) {
    const fcc_slot& slot = entry.inputs[i];
    for (uint32_t axis = 0; axis < slot.rank; ++axis) {
      if (slot.dims[axis].kind != FCC_SIZE_SYMBOL) continue;
      const fcc_symbol& symbol = entry.symbols[slot.dims[axis].index];
      int64_t value = (*symbols)[slot.dims[axis].index];
      if (inputs[i].dims[axis] == value) continue;
      return fail(FCC_BAD_SHAPE,
                  "%s is %lld in input \"%s\" (dimension %u) but %lld in input \"%s\" (dimension %u)\n"
                  " hint: both are %s in the model, so they must be equal",
                  symbol.name, static_cast<long long>(inputs[i].dims[axis]), slot.name, axis,
                  static_cast<long long>(value), entry.inputs[symbol.input].name, symbol.axis, symbol.name);
    }
  }
  return FCC_OK;
}

fcc_status check_defined_symbol(const fcc_entry& entry, uint32_t step, uint32_t symbol, int64_t value) {
  const fcc_symbol& row = entry.symbols[symbol];
  if (in_bounds(row, value)) return FCC_OK;
  return fail(FCC_FAULT, "step \"%s\" set %s to %lld, which must be %s", entry.steps[step].name, row.name,
              static_cast<long long>(value), bounds_text(row).c_str());
}

}  // namespace fcc::runtime
