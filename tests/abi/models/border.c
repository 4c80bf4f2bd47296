/* Inputs of many kinds that must agree: image f32[N,3,8,8], ids i64[N], mask bool[N,M], half f16[M] -> sum f64[N].
 * For the sentences about wrong inputs; the arithmetic is a plain sum a row. */
#include "dense.h"

static int32_t sum_rows(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)scratch;
  const float* image = args[0];
  const int64_t* ids = args[1];
  const uint8_t* mask = args[2];
  double* sum = args[3];
  for (int64_t r = first; r < last; ++r) {
    sum[r] = (double)ids[r];
    for (int i = 0; i < 192; ++i) sum[r] += image[r * 192 + i];
    for (int64_t i = 0; i < symbols[1]; ++i) sum[r] += mask[r * symbols[1] + i];
  }
  return 0;
}

static const fcc_symbol symbols[] = {
    {.name = "N", .input = 0, .axis = 0, .min = 1, .max = 64},
    {.name = "M", .input = 2, .axis = 1, .min = 0, .max = INT64_MAX},
};
static const fcc_size image_dims[] = {SYMBOL(0), FIXED(3), FIXED(8), FIXED(8)};
static const fcc_size id_dims[] = {SYMBOL(0)}, mask_dims[] = {SYMBOL(0), SYMBOL(1)}, half_dims[] = {SYMBOL(1)};
static const fcc_slot inputs[] = {{"image", FCC_F32, 4, image_dims}, {"ids", FCC_I64, 1, id_dims},
                                  {"attention_mask", FCC_BOOL, 2, mask_dims}, {"half", FCC_F16, 1, half_dims}};
static const fcc_slot outputs[] = {{"sum", FCC_F64, 1, id_dims}};
static const fcc_arg args[] = {{FCC_INPUT, 0, 0}, {FCC_INPUT, 1, 0}, {FCC_INPUT, 2, 0}, {FCC_OUTPUT, 0, 0}};
static const fcc_step steps[] = {{.run = sum_rows, .args = args, .n_args = 4, .tiles = SYMBOL(0), .flops = FIXED(0),
                                  .bytes = FIXED(0), .work_ns = FIXED(100), .name = "sum", .what = "ReduceSum"}};
static const fcc_entry entries[] = {{
    .name = "infer", .n_inputs = 4, .n_outputs = 1, .n_symbols = 2, .n_steps = 1, .max_args = 4, .inputs = inputs,
    .outputs = outputs, .symbols = symbols, .steps = steps, .workspace_bytes = 0,
}};
static const fcc_variant variants[] = {{.n_entries = 1, .entries = entries, .target = "by hand"}};
static const fcc_model model = {MODEL_HEADER, .n_variants = 1, .variants = variants};
MODEL_QUERY(model)
