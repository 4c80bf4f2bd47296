/* Runs a compiled model with nothing but C11, dlopen and model_abi.h: no fcc library.
 *
 *   bare_host model.so [size]        every open dimension gets `size` (default 1), every input is zero
 *
 * It shows all that a host must do, step by step as the comment of model_abi.h numbers them, and is the proof that the
 * header is enough. It gives every temporary memory of its own and runs on one thread; the runtime shares both.
 * Models whose sizes only the run can tell (FCC_STEP_DEFINES_SYMBOLS) are refused: see docs/abi.md for the two extra
 * lines they need. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcc/model_abi.h"

static const int element_bytes[] = {0, 4, 8, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8, 1}; /* by fcc_dtype */

static int quit(const char* what, const char* which) {
  fprintf(stderr, "bare_host: %s %s\n", what, which);
  return 1;
}

/* 1. What this CPU has. */
static uint32_t cpu_isa(void) {
  uint32_t isa = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v2")) isa |= FCC_ISA_X86_64_V2;
  if (__builtin_cpu_supports("x86-64-v3")) isa |= FCC_ISA_X86_64_V3;
  if (__builtin_cpu_supports("x86-64-v4")) isa |= FCC_ISA_X86_64_V4;
  if (__builtin_cpu_supports("avx512bf16")) isa |= FCC_ISA_AVX512_BF16;
  if (__builtin_cpu_supports("avx512vnni")) isa |= FCC_ISA_AVX512_VNNI;
#elif defined(__aarch64__)
  isa |= FCC_ISA_AARCH64;
#endif
  return isa;
}

/* Memory as generated code wants it: 64-byte aligned, here zeroed, and kept until the end. */
static void* blocks[5000];
static int n_blocks;
static void* zeroed(int64_t bytes) {
  size_t rounded = ((size_t)bytes + FCC_ALIGNMENT) / FCC_ALIGNMENT * FCC_ALIGNMENT;
  void* memory = n_blocks < 5000 ? aligned_alloc(FCC_ALIGNMENT, rounded) : NULL;
  if (!memory) exit(quit("no memory for", "a tensor"));
  blocks[n_blocks++] = memory;
  return memset(memory, 0, rounded);
}

static int64_t size_of(fcc_size size, const int64_t* symbols, const int64_t* derived) {
  if (size.kind == FCC_SIZE_FIXED) return size.value;
  return size.kind == FCC_SIZE_SYMBOL ? symbols[size.index] : derived[size.index];
}

static int64_t slot_elements(const fcc_slot* slot, const int64_t* symbols, const int64_t* derived) {
  int64_t elements = 1;
  for (uint32_t i = 0; i < slot->rank; ++i) elements *= size_of(slot->dims[i], symbols, derived);
  return elements;
}

static void print_output(const fcc_slot* slot, const void* data, const int64_t* symbols, const int64_t* derived) {
  printf("%s [", slot->name);
  for (uint32_t i = 0; i < slot->rank; ++i)
    printf("%s%lld", i ? "," : "", (long long)size_of(slot->dims[i], symbols, derived));
  printf("]");
  int64_t elements = slot_elements(slot, symbols, derived);
  for (int64_t i = 0; slot->dtype == FCC_F32 && i < elements && i < 8; ++i) printf(" %.9g", ((const float*)data)[i]);
  printf("\n");
}

/* Where an argument of a step is. */
struct memory {
  uint8_t *state, *buffers[4096], *inputs[256], *outputs[256];
};
static void* address(const fcc_model* model, const struct memory* memory, fcc_arg arg) {
  switch (arg.space) {
    case FCC_CONSTANT: return (uint8_t*)model->constants + arg.offset;
    case FCC_STATE: return memory->state + arg.offset;
    case FCC_BUFFER: return memory->buffers[arg.index] + arg.offset;
    case FCC_INPUT: return memory->inputs[arg.index] + arg.offset;
    default: return memory->outputs[arg.index] + arg.offset;
  }
}

static int run(const fcc_model* model, const fcc_entry* entry, int64_t wanted) {
  static struct memory memory;
  if (entry->n_buffers > 4096 || entry->n_inputs > 256 || entry->n_outputs > 256) return quit("too large:", entry->name);

  /* 2. and 3. Sizes: symbols from the inputs (here: as wanted), the rest from derive(). */
  int64_t* symbols = zeroed(8 * entry->n_symbols);
  int64_t* derived = zeroed(8 * entry->n_derived);
  for (uint32_t i = 0; i < entry->n_symbols; ++i) {
    const fcc_symbol* symbol = &entry->symbols[i];
    if (symbol->origin != 0) return quit("sizes known only while running:", symbol->name);
    symbols[i] = wanted < symbol->min ? symbol->min : wanted > symbol->max ? symbol->max : wanted;
  }
  if (entry->n_derived) entry->derive(symbols, derived);

  /* 4. Memory. Buffers planned at compile time could share one workspace at their offsets; separate is also right. */
  for (uint32_t i = 0; i < entry->n_buffers; ++i)
    memory.buffers[i] = zeroed(size_of(entry->buffers[i].bytes, symbols, derived));
  for (uint32_t i = 0; i < entry->n_inputs; ++i)
    memory.inputs[i] = zeroed(slot_elements(&entry->inputs[i], symbols, derived) * element_bytes[entry->inputs[i].dtype]);
  for (uint32_t i = 0; i < entry->n_outputs; ++i)
    memory.outputs[i] = zeroed(slot_elements(&entry->outputs[i], symbols, derived) * element_bytes[entry->outputs[i].dtype]);
  memory.state = zeroed(model->state_arena_bytes);
  for (uint32_t i = 0; i < model->n_states; ++i)
    if (model->states[i].init >= 0)
      memcpy(memory.state + model->states[i].offset, model->constants + model->states[i].init, model->states[i].bytes);
  void* scratch = zeroed(entry->max_scratch_bytes);
  void** args = zeroed((int64_t)sizeof(void*) * entry->max_args);

  /* 5. The steps in order; all tiles of each, here in one call. */
  for (uint32_t i = 0; i < entry->n_steps; ++i) {
    const fcc_step* step = &entry->steps[i];
    for (uint32_t a = 0; a < step->n_args; ++a) args[a] = address(model, &memory, step->args[a]);
    int64_t tiles = size_of(step->tiles, symbols, derived);
    int32_t fault = tiles > 0 ? step->run(args, symbols, 0, tiles, scratch) : 0;
    if (fault) return quit(step->name, entry->faults[fault - 1]);
  }
  for (uint32_t i = 0; i < entry->n_outputs; ++i) print_output(&entry->outputs[i], memory.outputs[i], symbols, derived);
  while (n_blocks > 0) free(blocks[--n_blocks]);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2) return quit("usage:", "bare_host model.so [size]");
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return quit("cannot load:", dlerror());
  fcc_model_query_fn query;
  *(void**)&query = dlsym(library, FCC_MODEL_QUERY_NAME);
  if (!query) return quit("not a compiled model:", argv[1]);
  const fcc_model* model = query(FCC_ABI_VERSION);
  if (!model) return quit("made for a newer host:", argv[1]);
  if (model->entry_bytes != sizeof(fcc_entry) || model->step_bytes != sizeof(fcc_step))
    return quit("other struct sizes:", argv[1]);
  uint32_t isa = cpu_isa();
  for (uint32_t i = 0; i < model->n_variants; ++i)
    if ((model->variants[i].isa & ~isa) == 0)
      return run(model, &model->variants[i].entries[0], argc > 2 ? atoll(argv[2]) : 1);
  return quit("no code for this CPU in:", argv[1]);
}
