/* Everything fixed: x[1,16] goes through three steps, each adding one and mixing neighbours. The two temporaries carry
 * offsets planned at compile time. Three variants with the same code, told apart by their target text, so that the
 * choice by CPU can be seen; ONLY_ISA narrows them to one. Too little work to share: the model that measures what a
 * call costs. */
#include "dense.h"

enum { WIDTH = 16 };

static int32_t mix(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)symbols, (void)scratch;
  const float* x = args[0];
  float* y = args[1];
  for (int64_t tile = first; tile < last; ++tile)
    for (int i = 0; i < WIDTH; ++i) y[i] = x[i] + 0.5f * x[(i + 1) % WIDTH] + 1.0f;
  return 0;
}

static const fcc_size dims[] = {FIXED(1), FIXED(WIDTH)};
static const fcc_slot inputs[] = {{"x", FCC_F32, 2, dims}};
static const fcc_slot outputs[] = {{"y", FCC_F32, 2, dims}};
static const fcc_buffer buffers[] = {{FIXED(WIDTH * 4), 0, 0, 1}, {FIXED(WIDTH * 4), 64, 1, 2}};
static const fcc_arg args1[] = {{FCC_INPUT, 0, 0}, {FCC_BUFFER, 0, 0}};
static const fcc_arg args2[] = {{FCC_BUFFER, 0, 0}, {FCC_BUFFER, 1, 0}};
#ifdef DAMAGED
#define THIRD 7 /* there are two buffers */
#else
#define THIRD 1
#endif
static const fcc_arg args3[] = {{FCC_BUFFER, THIRD, 0}, {FCC_OUTPUT, 0, 0}};
#define MIX(arguments, node)                                                                                        \
  {.run = mix, .args = arguments, .n_args = 2, .tiles = FIXED(1), .flops = FIXED(WIDTH * 3), .bytes = FIXED(WIDTH * 8), \
   .work_ns = FIXED(10), .name = node, .what = "Mix"}
static const fcc_step steps[] = {MIX(args1, "mix1"), MIX(args2, "mix2"), MIX(args3, "mix3")};
static const fcc_entry entries[] = {{
    .name = "infer", .n_inputs = 1, .n_outputs = 1, .n_buffers = 2, .n_steps = 3, .max_args = 2, .inputs = inputs,
    .outputs = outputs, .buffers = buffers, .steps = steps, .workspace_bytes = 128,
}};
#ifdef ONLY_ISA
static const fcc_variant variants[] = {{.isa = ONLY_ISA, .n_entries = 1, .entries = entries, .target = "only"}};
#else
static const fcc_variant variants[] = {
    {.isa = FCC_ISA_X86_64_V4, .n_entries = 1, .entries = entries, .target = "best"},
    {.isa = FCC_ISA_X86_64_V3, .n_entries = 1, .entries = entries, .target = "middle"},
    {.isa = 0, .n_entries = 1, .entries = entries, .target = "any"},
};
#endif
static const fcc_model model = {MODEL_HEADER, .n_variants = COUNT(variants), .variants = variants};
MODEL_QUERY(model)
