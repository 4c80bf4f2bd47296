/* Sizes that only the run can tell. x[N] -> positives[P], the elements above zero, and big[B], those of them above ten.
 *   step 0  counts P              step 1  copies them to a temporary of P floats
 *   step 2  counts B among those  step 3  writes both outputs
 * Steps 0 and 2 define symbols; a buffer or output sized by a symbol is first touched after the step that defines it. */
#include "dense.h"

#ifndef MAX_POSITIVES
#define MAX_POSITIVES INT64_MAX
#endif

static int32_t count_positive(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)first, (void)last, (void)scratch;
  const float* x = args[0];
  int64_t count = 0;
  for (int64_t i = 0; i < symbols[0]; ++i) count += x[i] > 0;
  symbols[1] = count;
  return 0;
}

static int32_t copy_positive(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)first, (void)last, (void)scratch;
  const float* x = args[0];
  float* kept = args[1];
  for (int64_t i = 0; i < symbols[0]; ++i)
    if (x[i] > 0) *kept++ = x[i];
  return 0;
}

static int32_t count_big(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)first, (void)last, (void)scratch;
  const float* kept = args[0];
  int64_t count = 0;
  for (int64_t i = 0; i < symbols[1]; ++i) count += kept[i] > 10;
  symbols[2] = count;
  return 0;
}

static int32_t write_outputs(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)first, (void)last, (void)scratch;
  const float* kept = args[0];
  float *positives = args[1], *big = args[2];
  for (int64_t i = 0; i < symbols[1]; ++i) {
    positives[i] = kept[i];
    if (kept[i] > 10) *big++ = kept[i];
  }
  return 0;
}

enum { KEPT_BYTES, N_DERIVED };
static void derive(const int64_t* symbols, int64_t* derived) { derived[KEPT_BYTES] = symbols[1] * 4; }

static const fcc_symbol symbols[] = {
    {.name = "N", .input = 0, .axis = 0, .min = 0, .max = INT64_MAX},
    {.name = "P", .origin = 1, .min = 0, .max = MAX_POSITIVES},
    {.name = "B", .origin = 1, .min = 0, .max = INT64_MAX},
};
static const fcc_size n_dims[] = {SYMBOL(0)}, p_dims[] = {SYMBOL(1)}, b_dims[] = {SYMBOL(2)};
static const fcc_slot inputs[] = {{"x", FCC_F32, 1, n_dims}};
static const fcc_slot outputs[] = {{"positives", FCC_F32, 1, p_dims}, {"big", FCC_F32, 1, b_dims}};
static const fcc_buffer buffers[] = {{DERIVED(KEPT_BYTES), -1, 1, 3}};
static const fcc_arg args0[] = {{FCC_INPUT, 0, 0}};
static const fcc_arg args1[] = {{FCC_INPUT, 0, 0}, {FCC_BUFFER, 0, 0}};
static const fcc_arg args2[] = {{FCC_BUFFER, 0, 0}};
static const fcc_arg args3[] = {{FCC_BUFFER, 0, 0}, {FCC_OUTPUT, 0, 0}, {FCC_OUTPUT, 1, 0}};
#define STEP(kernel, arguments, bits)                                                                        \
  {.run = kernel, .flags = bits, .args = arguments, .n_args = COUNT(arguments), .tiles = FIXED(1), \
   .work_ns = FIXED(100), .name = #kernel, .what = "NonZero"}
static const fcc_step steps[] = {
    STEP(count_positive, args0, FCC_STEP_DEFINES_SYMBOLS), STEP(copy_positive, args1, 0),
    STEP(count_big, args2, FCC_STEP_DEFINES_SYMBOLS), STEP(write_outputs, args3, 0)};
static const fcc_entry entries[] = {{
    .name = "infer", .n_inputs = 1, .n_outputs = 2, .n_symbols = 3, .n_derived = N_DERIVED, .n_buffers = 1, .n_steps = 4,
    .max_args = 3, .inputs = inputs, .outputs = outputs, .symbols = symbols, .buffers = buffers, .steps = steps,
    .derive = derive, .workspace_bytes = -1,
}};
static const fcc_variant variants[] = {{.n_entries = 1, .entries = entries, .target = "by hand"}};
static const fcc_model model = {MODEL_HEADER, .n_variants = 1, .variants = variants};
MODEL_QUERY(model)
