/* Runs a compiled model on data from files, with nothing but C11, dlopen and model_abi.h, so that it builds for any
 * processor whose C compiler is at hand:
 *
 *   file_host model.so SYMBOLS... -- INPUT.bin... -- OUTPUT.bin...
 *
 * SYMBOLS are the open sizes in the order of the entry's table; files hold the bare elements of one tensor each. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcc/model_abi.h"

static const int element_bytes[] = {0, 4, 8, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8, 1}; /* by fcc_dtype */

static void quit(const char* what, const char* which) {
  fprintf(stderr, "file_host: %s %s\n", what, which);
  exit(1);
}

static int64_t symbols[64];
static int64_t derived[65536];

static int64_t size_of(fcc_size size) {
  if (size.kind == FCC_SIZE_FIXED) return size.value;
  return size.kind == FCC_SIZE_SYMBOL ? symbols[size.index] : derived[size.index];
}
static int64_t slot_bytes(const fcc_slot* slot) {
  int64_t bytes = element_bytes[slot->dtype];
  for (uint32_t i = 0; i < slot->rank; ++i) bytes *= size_of(slot->dims[i]);
  return bytes;
}
static uint8_t* memory(int64_t bytes) {
  size_t rounded = ((size_t)bytes + FCC_ALIGNMENT) / FCC_ALIGNMENT * FCC_ALIGNMENT;
  uint8_t* block = aligned_alloc(FCC_ALIGNMENT, rounded);
  if (!block) quit("no memory for", "a tensor");
  return memset(block, 0xAB, rounded); /* nothing may count on zeros */
}
static uint8_t** memories(uint32_t count) { return calloc(count + 1, sizeof(uint8_t*)); }

static uint8_t* read_file(const char* path, int64_t bytes) {
  uint8_t* data = memory(bytes);
  FILE* file = fopen(path, "rb");
  if (!file || fread(data, 1, (size_t)bytes, file) != (size_t)bytes || fgetc(file) != EOF) quit("other size:", path);
  fclose(file);
  return data;
}
static void write_file(const char* path, const uint8_t* data, int64_t bytes) {
  FILE* file = fopen(path, "wb");
  if (!file || fwrite(data, 1, (size_t)bytes, file) != (size_t)bytes || fclose(file) != 0) quit("cannot write", path);
}

static void run_steps(const fcc_model* model, const fcc_entry* entry, uint8_t** buffers, uint8_t** inputs,
                      uint8_t** outputs) {
  void** args = malloc(sizeof(void*) * (entry->max_args + 1));
  uint8_t* scratch = memory(entry->max_scratch_bytes);
  for (uint32_t i = 0; i < entry->n_steps; ++i) {
    const fcc_step* step = &entry->steps[i];
    for (uint32_t a = 0; a < step->n_args; ++a) {
      fcc_arg arg = step->args[a];
      uint8_t* base = arg.space == FCC_CONSTANT ? (uint8_t*)model->constants
                      : arg.space == FCC_BUFFER ? buffers[arg.index]
                      : arg.space == FCC_INPUT  ? inputs[arg.index]
                                                : outputs[arg.index];
      args[a] = base + arg.offset;
    }
    int64_t tiles = size_of(step->tiles);
    for (int64_t t = 0; t < tiles; ++t) { /* one by one: tiles are independent */
      int32_t fault = step->run(args, symbols, t, t + 1, scratch);
      if (fault) quit(step->name, entry->faults[fault - 1]);
    }
  }
  free(args);
  free(scratch);
}

int main(int argc, char** argv) {
  if (argc < 2) quit("usage:", "file_host model.so SYMBOLS... -- INPUTS... -- OUTPUTS...");
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) quit("cannot load:", dlerror());
  fcc_model_query_fn query;
  *(void**)&query = dlsym(library, FCC_MODEL_QUERY_NAME);
  const fcc_model* model = query ? query(FCC_ABI_VERSION) : NULL;
  if (!model || model->entry_bytes != sizeof(fcc_entry) || model->n_states != 0) quit("cannot run", argv[1]);
  const fcc_entry* entry = &model->variants[0].entries[0];

  int next = 2;
  for (uint32_t i = 0; next < argc && strcmp(argv[next], "--") != 0; ++i) symbols[i] = atoll(argv[next++]);
  if (entry->n_derived > 65536 || (uint32_t)(argc - next) != 2 + entry->n_inputs + entry->n_outputs)
    quit("other counts than", argv[1]);
  if (entry->n_derived) entry->derive(symbols, derived);
  ++next;
  uint8_t **buffers = memories(entry->n_buffers), **inputs = memories(entry->n_inputs),
          **outputs = memories(entry->n_outputs);
  for (uint32_t i = 0; i < entry->n_buffers; ++i) buffers[i] = memory(size_of(entry->buffers[i].bytes));
  for (uint32_t i = 0; i < entry->n_inputs; ++i) inputs[i] = read_file(argv[next++], slot_bytes(&entry->inputs[i]));
  for (uint32_t i = 0; i < entry->n_outputs; ++i) outputs[i] = memory(slot_bytes(&entry->outputs[i]));
  run_steps(model, entry, buffers, inputs, outputs);
  ++next;
  for (uint32_t i = 0; i < entry->n_outputs; ++i) write_file(argv[next++], outputs[i], slot_bytes(&entry->outputs[i]));
  return 0;
}
