// Does this memory fit that slot? Every check of what a caller passes in, and its sentence.
// Pure functions over the entry's tables: the session calls them when something is bound or a shape is new, never in
// the middle of a run. A sentence says what was seen, what was expected, and what to do.
#pragma once

#include <vector>

#include "error.h"
#include "sizes.h"

namespace fcc::runtime {

struct InputBinding {
  const void* data = nullptr;
  std::vector<int64_t> dims;
  bool bound = false;
};

// Memory of one tensor, to be compared with others.
struct Extent {
  const char* kind;  // "input" or "output"
  const char* name;
  const void* data;
  int64_t bytes;
};

// Bytes of a dense tensor; false when they do not fit 63 bits or a dim is negative.
bool dense_bytes(uint32_t dtype, uint32_t rank, const int64_t* dims, int64_t* bytes);

fcc_status check_input(const fcc_entry& entry, uint32_t index, const fcc_tensor& tensor);
// Dims of flat data, for slots with at most one dimension that is neither fixed nor known from another bound input.
fcc_status infer_flat_dims(const fcc_entry& entry, uint32_t index, int64_t elements,
                           const std::vector<InputBinding>& inputs, std::vector<int64_t>* dims);
fcc_status check_output(const fcc_entry& entry, uint32_t index, uint32_t dtype, const void* data, int64_t bytes);
fcc_status check_room(const fcc_entry& entry, uint32_t index, const int64_t* dims, int64_t bytes, int64_t room);
fcc_status check_disjoint(const Extent& output, const Extent& other);

// Symbols from the bound inputs; those that only a run defines stand at 1, or the nearest value they allow.
fcc_status resolve_symbols(const fcc_entry& entry, const std::vector<InputBinding>& inputs,
                           std::vector<int64_t>* symbols);
// A symbol that a step has just defined.
fcc_status check_defined_symbol(const fcc_entry& entry, uint32_t step, uint32_t symbol, int64_t value);

}  // namespace fcc::runtime
