// Sentences about tensors: type names, shapes, the nearest name, and hints for the usual mistakes.
// One place, so that every message spells a shape the same way. No state, no decisions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "fcc/model_abi.h"

namespace fcc::runtime {

const char* dtype_name(uint32_t dtype);
int64_t dtype_bytes(uint32_t dtype);

// "f32[64,784]"; a negative dim prints as "?".
std::string shape_text(uint32_t dtype, uint32_t rank, const int64_t* dims);
// "f32[N,784]" as the model declares it; sizes that follow from others print as "?".
std::string slot_text(const fcc_entry& entry, const fcc_slot& slot);
std::string size_text(const fcc_entry& entry, const fcc_size& size);

// What to do about a tensor of the wrong rank or dims; empty when nothing better than the shapes can be said.
std::string shape_hint(const fcc_entry& entry, const fcc_slot& slot, uint32_t rank, const int64_t* dims);

// "; did you mean \"x\"?\n the model has: \"x\", \"mask\"": the tail of every unknown-name message.
std::string name_help(std::string_view wanted, uint32_t count, const std::function<const char*(uint32_t)>& name_at);

}  // namespace fcc::runtime
