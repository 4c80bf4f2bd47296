#include "validate.h"

#include "text.h"

namespace fcc::runtime {
namespace {

// Walks one entry; the first fault found is kept as (where, what).
class EntryCheck {
 public:
  EntryCheck(const fcc_model& model, const fcc_entry& entry) : model_(model), entry_(entry) {}

  const char* run() {
    if (entry_.name == nullptr) return "an entry without a name";
    if (entry_.n_derived > 0 && entry_.derive == nullptr) return "derived sizes without derive()";
    for (uint32_t i = 0; i < entry_.n_symbols; ++i)
      if (const char* fault = symbol(entry_.symbols[i])) return fault;
    for (uint32_t i = 0; i < entry_.n_inputs; ++i)
      if (const char* fault = slot(entry_.inputs[i], true)) return fault;
    for (uint32_t i = 0; i < entry_.n_outputs; ++i)
      if (const char* fault = slot(entry_.outputs[i], false)) return fault;
    for (uint32_t i = 0; i < entry_.n_buffers; ++i)
      if (const char* fault = buffer(entry_.buffers[i])) return fault;
    for (uint32_t i = 0; i < entry_.n_steps; ++i)
      if (const char* fault = step(entry_.steps[i])) return fault;
    return nullptr;
  }

 private:
  bool size_ok(const fcc_size& size) const {
    switch (size.kind) {
      case FCC_SIZE_FIXED:
        return size.value >= 0;
      case FCC_SIZE_SYMBOL:
        return size.index < entry_.n_symbols;
      case FCC_SIZE_DERIVED:
        return size.index < entry_.n_derived;
      default:
        return false;
    }
  }
  const char* symbol(const fcc_symbol& symbol) const {
    if (symbol.name == nullptr || (symbol.origin == 0 && symbol.min < 0) || symbol.max < symbol.min)
      return "a symbol with impossible bounds";
    if (symbol.origin > 1) return "a symbol of unknown origin";
    if (symbol.origin == 1) return nullptr;
    if (symbol.input >= entry_.n_inputs || symbol.axis >= entry_.inputs[symbol.input].rank)
      return "a symbol defined by no input";
    return nullptr;
  }
  const char* slot(const fcc_slot& slot, bool input) const {
    if (slot.name == nullptr || dtype_bytes(slot.dtype) == 0) return "an input or output of unknown type";
    for (uint32_t axis = 0; axis < slot.rank; ++axis) {
      if (!size_ok(slot.dims[axis])) return "a dimension past the symbols";
      if (input && slot.dims[axis].kind == FCC_SIZE_DERIVED) return "an input with a derived dimension";
    }
    return nullptr;
  }
  const char* buffer(const fcc_buffer& buffer) const {
    if (!size_ok(buffer.bytes)) return "a buffer size past the symbols";
    if (buffer.first_step > buffer.last_step || buffer.last_step >= entry_.n_steps) return "a buffer that never lives";
    if (buffer.offset < 0) return nullptr;
    if (buffer.bytes.kind == FCC_SIZE_FIXED && entry_.workspace_bytes >= 0 &&
        buffer.offset + buffer.bytes.value > entry_.workspace_bytes)
      return "a buffer past the workspace";
    return nullptr;
  }
  const char* step(const fcc_step& step) const {
    if (step.run == nullptr || step.kind != FCC_STEP_KERNEL) return "a step of unknown kind";
    if (step.n_args > entry_.max_args || step.scratch_bytes > entry_.max_scratch_bytes)
      return "a step larger than its entry declares";
    if (!size_ok(step.tiles) || !size_ok(step.flops) || !size_ok(step.bytes) || !size_ok(step.work_ns))
      return "a step size past the symbols";
    for (uint32_t i = 0; i < step.n_args; ++i)
      if (!arg_ok(step.args[i])) return "a step argument out of range";
    return nullptr;
  }
  bool arg_ok(const fcc_arg& arg) const {
    if (arg.offset < 0) return false;
    switch (arg.space) {
      case FCC_CONSTANT:
        return arg.offset <= model_.constants_bytes;
      case FCC_STATE:
        return arg.offset <= model_.state_arena_bytes;
      case FCC_BUFFER:
        return arg.index < entry_.n_buffers;
      case FCC_INPUT:
        return arg.index < entry_.n_inputs;
      case FCC_OUTPUT:
        return arg.index < entry_.n_outputs;
      default:
        return false;
    }
  }

  const fcc_model& model_;
  const fcc_entry& entry_;
};

const char* check_states(const fcc_model& model) {
  for (uint32_t i = 0; i < model.n_states; ++i) {
    const fcc_state& state = model.states[i];
    if (state.name == nullptr || dtype_bytes(state.dtype) == 0) return "a state of unknown type";
    if (state.offset < 0 || state.bytes < 0 || state.offset > model.state_arena_bytes - state.bytes)
      return "a state past its arena";
    if (state.init >= 0 && state.init > model.constants_bytes - state.bytes) return "a first value past the constants";
    for (uint32_t axis = 0; axis < state.rank; ++axis)
      if (state.dims[axis].kind != FCC_SIZE_FIXED) return "a state with an open dimension";
    if (state.role > FCC_STATE_PREPARED) return "a state of unknown role";
  }
  return nullptr;
}

}  // namespace

fcc_status validate_model(const char* path, const fcc_model& model) {
  const char* kHint = "the file is damaged or its producer is faulty; compile it again";
  if (const char* fault = check_states(model))
    return fail(FCC_BAD_LIBRARY, "%s has inconsistent tables: %s\n hint: %s", path, fault, kHint);
  for (uint32_t v = 0; v < model.n_variants; ++v)
    for (uint32_t e = 0; e < model.variants[v].n_entries; ++e) {
      const fcc_entry& entry = model.variants[v].entries[e];
      if (const char* fault = EntryCheck(model, entry).run())
        return fail(FCC_BAD_LIBRARY, "%s has inconsistent tables: %s, in entry \"%s\"\n hint: %s", path, fault,
                    entry.name ? entry.name : "?", kHint);
    }
  return FCC_OK;
}

}  // namespace fcc::runtime
