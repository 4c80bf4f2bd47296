/* What a compiled model is: the one contract between generated code and whoever runs it.
 *
 * A model.so exports one symbol, fcc_model_query. It returns immutable tables; nothing in the file runs
 * before a kernel is called. There is no other entry, no constructor and no undefined symbol beyond
 * memcpy, memmove and memset. This header is plain C, includes only <stdint.h>, and is all a host needs.
 *
 * How a host runs an entry:
 *   1. choose the first variant (they are ordered best first) whose isa bits the CPU has;
 *   2. fill symbols[] from the dims of the inputs (each input dim is a number or a symbol);
 *   3. call entry->derive(symbols, derived): every size that depends on symbols appears in derived[];
 *   4. place the buffers: static models carry offsets into one workspace, others only sizes and lifetimes;
 *   5. for each step, resolve its args to pointers and call run(args, symbols, first, last, scratch) for
 *      tile ranges that together cover [0, tiles). Tiles of a step are independent; a step starts when all
 *      tiles of the steps before it are done.
 * A step flagged FCC_STEP_DEFINES_SYMBOLS writes symbols[]; call derive again after it.
 *
 * What a kernel may assume, and a host must keep:
 *   - the ranges of a step are cut anywhere, run in any order and on any threads; the bits of the result are the same.
 *     So a kernel joins partial sums in an order that the tiles alone decide.
 *   - outputs overlap neither inputs nor each other; inputs, constants and symbols do not change during the run.
 *   - before the run a symbol of origin 1 holds a value within its bounds (the runtime: 1, or the nearest). Sizes that
 *     depend on it are not looked at until a step has defined it: a buffer, output or tile count that depends on what
 *     step d defines is first used by a step after d, and d itself touches only memory whose size was known before.
 *   - the floating-point control word is the caller's, on every thread. A kernel leaves it as it was.
 *
 * Lifetime: all pointers in these tables live as long as the library stays loaded.
 * Growth: every struct that a host indexes as an array has its size in the model; fields are only appended. */
#ifndef FCC_MODEL_ABI_H
#define FCC_MODEL_ABI_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FCC_ABI_VERSION 1u
#define FCC_ALIGNMENT 64 /* bytes: constants, workspace, scratch; inputs and outputs need only element alignment */

enum fcc_dtype { /* values are stable */
  FCC_F32 = 1, FCC_F64 = 2, FCC_F16 = 3, FCC_BF16 = 4,
  FCC_I8 = 5, FCC_I16 = 6, FCC_I32 = 7, FCC_I64 = 8,
  FCC_U8 = 9, FCC_U16 = 10, FCC_U32 = 11, FCC_U64 = 12, FCC_BOOL = 13
};

enum fcc_isa { /* bits of fcc_variant.isa; a variant needs all of its bits */
  FCC_ISA_X86_64_V2 = 1u << 0, FCC_ISA_X86_64_V3 = 1u << 1, FCC_ISA_X86_64_V4 = 1u << 2,
  FCC_ISA_AVX512_BF16 = 1u << 3, FCC_ISA_AVX512_VNNI = 1u << 4,
  FCC_ISA_AARCH64 = 1u << 16
};

/* A size that may be open. */
enum fcc_size_kind { FCC_SIZE_FIXED = 0, FCC_SIZE_SYMBOL = 1, FCC_SIZE_DERIVED = 2 };
typedef struct fcc_size {
  uint32_t kind;     /* fcc_size_kind */
  uint32_t index;    /* into symbols[] or derived[] */
  int64_t value;     /* the number when kind is FCC_SIZE_FIXED */
} fcc_size;

/* An open dimension. origin 0: dim `axis` of input `input` defines it (later uses must agree);
 * origin 1: a step defines it while running. */
typedef struct fcc_symbol {
  const char* name;
  uint32_t origin, input, axis, reserved;
  int64_t min, max;  /* inclusive bounds; max INT64_MAX when unbounded */
} fcc_symbol;

/* A named tensor at the border of an entry, dense, row-major. */
typedef struct fcc_slot {
  const char* name;
  uint32_t dtype, rank;
  const fcc_size* dims; /* rank sizes; of an input: FIXED or SYMBOL */
} fcc_slot;

/* What a state is to training (docs/training.md). */
enum fcc_state_role {
  FCC_STATE_PARAMETER = 0, FCC_STATE_BUFFER = 1, FCC_STATE_SLOT = 2, FCC_STATE_HYPER = 3, FCC_STATE_GRADIENT = 4,
  FCC_STATE_PREPARED = 5 /* of no training: made from the constants by the entry "prepare", once, before any other runs */
};
#define FCC_PREPARE_ENTRY "prepare"

/* A tensor that outlives a call: weights in training, optimizer slots. */
typedef struct fcc_state {
  const char* name;
  uint32_t dtype, rank;
  const fcc_size* dims;
  int64_t offset, bytes;  /* in the state arena */
  int64_t init;           /* offset of the first value in the constants, or -1: zeros */
  uint32_t role, reserved; /* fcc_state_role */
} fcc_state;

/* A temporary in the workspace, live from the start of first_step to the end of last_step (inclusive). */
typedef struct fcc_buffer {
  fcc_size bytes;
  int64_t offset;  /* in the workspace when planned at compile time, else -1 */
  uint32_t first_step, last_step;
} fcc_buffer;

enum fcc_space { FCC_CONSTANT = 0, FCC_STATE = 1, FCC_BUFFER = 2, FCC_INPUT = 3, FCC_OUTPUT = 4 };
typedef struct fcc_arg {
  uint32_t space;  /* fcc_space */
  uint32_t index;  /* of the buffer, input or output; 0 for constant and state */
  int64_t offset;  /* bytes from the start of that tensor or arena */
} fcc_arg;

/* One kernel. Computes the tiles [first, last) and returns 0, or 1 + an index into the entry's faults.
 * scratch: step->scratch_bytes of private, 64-byte aligned memory with undefined contents. */
typedef int32_t (*fcc_kernel)(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch);

enum fcc_step_flags {
  FCC_STEP_DEFINES_SYMBOLS = 1u << 0, /* has one tile; derive() must run after it */
  FCC_STEP_MAY_FAULT = 1u << 1        /* may return nonzero; others always return 0 */
};
enum fcc_step_kind { FCC_STEP_KERNEL = 0, FCC_STEP_CALL = 1 /* reserved: call another entry */ };
typedef struct fcc_step {
  fcc_kernel run;
  uint32_t kind, flags;
  const fcc_arg* args;
  uint32_t n_args;
  uint32_t scratch_bytes;
  fcc_size tiles;
  fcc_size flops;      /* 2 x multiply-adds plus other arithmetic, of the whole step */
  fcc_size bytes;      /* read + written, each tensor once */
  fcc_size work_ns;    /* estimated time of the whole step on one core of the target; steers forking only */
  const char* name;    /* the source node's name */
  const char* what;    /* the operators inside, such as "Conv+Relu", and the kernel chosen */
} fcc_step;

typedef struct fcc_entry {
  const char* name;    /* "infer", "train_step", ... */
  uint32_t n_inputs, n_outputs, n_symbols, n_derived, n_buffers, n_steps, n_faults, max_args;
  const fcc_slot* inputs;
  const fcc_slot* outputs;
  const fcc_symbol* symbols;
  const fcc_buffer* buffers;
  const fcc_step* steps;
  const char* const* faults;   /* a sentence each */
  void (*derive)(const int64_t* symbols, int64_t* derived); /* null when n_derived is 0 */
  int64_t workspace_bytes;     /* of the compile-time plan, or -1 when sizes are open */
  uint32_t max_scratch_bytes;  /* over all steps */
  uint32_t reserved;
} fcc_entry;

typedef struct fcc_variant {
  uint32_t isa;          /* fcc_isa bits that the CPU must have */
  uint32_t n_entries;
  const fcc_entry* entries;
  const char* target;    /* full target text */
} fcc_variant;

typedef struct fcc_model {
  uint32_t abi_version;
  uint32_t model_bytes, entry_bytes, step_bytes, slot_bytes, symbol_bytes, buffer_bytes, state_bytes_each; /* sizeof each struct */
  const char* producer;      /* "fcc 0.1.0" */
  const char* source_hash;   /* SHA-256 of the source model, hex */
  const uint8_t* constants;
  int64_t constants_bytes;
  const fcc_state* states;
  uint32_t n_states, n_variants;
  int64_t state_arena_bytes;
  const fcc_variant* variants; /* best first */
} fcc_model;

/* The one exported symbol. Returns null when the model's ABI is newer than the host knows. */
typedef const fcc_model* (*fcc_model_query_fn)(uint32_t newest_abi_the_host_knows);
#define FCC_MODEL_QUERY_NAME "fcc_model_query"

#ifdef __cplusplus
}
#endif
#endif
