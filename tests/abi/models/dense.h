/* Plain C kernels and table helpers for the hand-written models of tests/abi. They pose as compiled code, so that the
 * runtime is tested without the compiler. Not fast, not complete: just enough arithmetic to tell right from wrong. */
#ifndef FCC_TESTS_ABI_DENSE_H
#define FCC_TESTS_ABI_DENSE_H
#include "fcc/model_abi.h"

#ifndef MODEL_ABI
#define MODEL_ABI FCC_ABI_VERSION
#endif
#ifndef SOURCE_HASH
#define SOURCE_HASH "0000000000000000000000000000000000000000000000000000000000000000"
#endif
#ifndef STEP_BYTES
#define STEP_BYTES sizeof(fcc_step)
#endif

#define FIXED(n) {FCC_SIZE_FIXED, 0, (n)}
#define SYMBOL(i) {FCC_SIZE_SYMBOL, (i), 0}
#define DERIVED(i) {FCC_SIZE_DERIVED, (i), 0}
#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))
#define EXPORT __attribute__((visibility("default")))

/* y[rows, out] = max(x[rows, in] * w[in, out] + b[out], floor), a row at a time. */
static inline void dense_rows(const float* x, const float* w, const float* b, float* y, int64_t first, int64_t last,
                              int in, int out, float floor) {
  for (int64_t r = first; r < last; ++r)
    for (int o = 0; o < out; ++o) {
      float sum = b[o];
      for (int i = 0; i < in; ++i) sum += x[r * in + i] * w[i * out + o];
      y[r * out + o] = sum > floor ? sum : floor;
    }
}
#define NO_FLOOR (-3.4e38f)

/* The rest of fcc_model, the same in every model here. */
#define MODEL_HEADER                                                                                             \
  .abi_version = MODEL_ABI, .model_bytes = sizeof(fcc_model), .entry_bytes = sizeof(fcc_entry),                  \
  .step_bytes = STEP_BYTES, .slot_bytes = sizeof(fcc_slot), .symbol_bytes = sizeof(fcc_symbol),                  \
  .buffer_bytes = sizeof(fcc_buffer), .state_bytes_each = sizeof(fcc_state), .producer = "tests/abi by hand", \
  .source_hash = SOURCE_HASH

#define MODEL_QUERY(model)                                                \
  EXPORT const fcc_model* fcc_model_query(uint32_t newest);               \
  EXPORT const fcc_model* fcc_model_query(uint32_t newest) { return newest >= MODEL_ABI ? &(model) : 0; }
#endif
