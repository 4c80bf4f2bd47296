/* A two-layer perceptron with an open batch: hidden[N,8] = relu(x[N,4] w1 + b1), y[N,3] = hidden w2 + b2.
 * Three steps: layer 1, layer 2, and a softmax-like normalisation of y into p. Tiles are 8 rows, like compiled code:
 * the number of tiles is ceil(N/8). Weights are small integers over 8, so every sum is exact. */
#include "dense.h"

enum { IN = 4, HIDDEN = 8, OUT = 3, ROWS = 8 };
#ifndef WORK_NS_PER_ROW
#define WORK_NS_PER_ROW 500 /* pretend: makes the runtime share the work, so that sharing is tested */
#endif

static const struct {
  _Alignas(64) float w1[IN * HIDDEN];
  _Alignas(64) float b1[HIDDEN];
  _Alignas(64) float w2[HIDDEN * OUT];
  _Alignas(64) float b2[OUT];
} constants = {
    .w1 = {0.125f, -0.25f, 0.375f, 0.5f, -0.625f, 0.75f, 0.875f, -1.0f, 0.25f, 0.5f, -0.75f, 1.0f, 0.125f, -0.375f, 0.625f,
           0.875f, -0.5f, 0.25f, 0.125f, -0.875f, 0.75f, 0.625f, -0.375f, 0.5f, 1.0f, -0.125f, 0.25f, 0.375f, -0.5f, 0.625f,
           -0.75f, 0.875f},
    .b1 = {0.5f, -0.5f, 0.25f, -0.25f, 0.125f, -0.125f, 0.0f, 1.0f},
    .w2 = {0.5f, -0.25f, 0.125f, 0.25f, 0.75f, -0.5f, -0.125f, 0.375f, 0.625f, 0.875f, -0.75f, 0.5f, 0.25f, 0.125f, -0.875f,
           -0.5f, 1.0f, 0.25f, 0.375f, -0.625f, 0.75f, 0.125f, 0.5f, -0.25f},
    .b2 = {0.25f, -0.125f, 0.5f},
};

static int64_t clamp_rows(int64_t tiles, int64_t rows) { return tiles * ROWS < rows ? tiles * ROWS : rows; }

static int32_t layer1(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)scratch;
  dense_rows(args[0], args[1], args[2], args[3], first * ROWS, clamp_rows(last, symbols[0]), IN, HIDDEN, 0.0f);
  return 0;
}

/* Refuses values above a million or a trillion, to show what a fault looks like; writes its scratch to show that it is private. */
static int32_t layer2(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  const float* x = args[0];
  float* mine = scratch;
  for (int64_t tile = first; tile < last; ++tile) {
    int64_t begin = tile * ROWS, end = clamp_rows(tile + 1, symbols[0]);
    for (int64_t i = 0; i < (end - begin) * HIDDEN; ++i) {
      mine[i] = x[begin * HIDDEN + i];
      if (mine[i] > 1e6f) return mine[i] > 1e12f ? 1 : 2;
    }
    dense_rows(mine, args[1], args[2], (float*)args[3] + begin * OUT, 0, end - begin, HIDDEN, OUT, NO_FLOOR);
  }
  return 0;
}

/* p = y / (1 + sum |y|) of each row */
static int32_t normalise(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)scratch;
  const float* y = args[0];
  float* p = args[1];
  for (int64_t r = first * ROWS; r < clamp_rows(last, symbols[0]); ++r) {
    float sum = 1.0f;
    for (int o = 0; o < OUT; ++o) sum += y[r * OUT + o] < 0 ? -y[r * OUT + o] : y[r * OUT + o];
    for (int o = 0; o < OUT; ++o) p[r * OUT + o] = y[r * OUT + o] / sum;
  }
  return 0;
}

enum { TILES, HIDDEN_BYTES, OUT_BYTES, FLOPS1, FLOPS2, BYTES, WORK_NS, N_DERIVED };
static void derive(const int64_t* symbols, int64_t* derived) {
  int64_t n = symbols[0];
  derived[TILES] = (n + ROWS - 1) / ROWS;
  derived[HIDDEN_BYTES] = n * HIDDEN * 4;
  derived[OUT_BYTES] = n * OUT * 4;
  derived[FLOPS1] = 2 * n * IN * HIDDEN;
  derived[FLOPS2] = 2 * n * HIDDEN * OUT;
  derived[BYTES] = n * (IN + HIDDEN) * 4;
  derived[WORK_NS] = n * WORK_NS_PER_ROW;
}

static const fcc_symbol symbols[] = {{.name = "N", .origin = 0, .input = 0, .axis = 0, .min = 1, .max = 4096}};
static const fcc_size x_dims[] = {SYMBOL(0), FIXED(IN)};
static const fcc_size y_dims[] = {SYMBOL(0), FIXED(OUT)};
static const fcc_slot inputs[] = {{"x", FCC_F32, 2, x_dims}};
static const fcc_slot outputs[] = {{"logits", FCC_F32, 2, y_dims}, {"probabilities", FCC_F32, 2, y_dims}};
static const fcc_buffer buffers[] = {{DERIVED(HIDDEN_BYTES), -1, 0, 1}};

#define W1_AT 0
#define B1_AT 128
#define W2_AT 192
#define B2_AT 320
_Static_assert(sizeof constants == 384, "offsets below");
static const fcc_arg args1[] = {{FCC_INPUT, 0, 0}, {FCC_CONSTANT, 0, W1_AT}, {FCC_CONSTANT, 0, B1_AT}, {FCC_BUFFER, 0, 0}};
static const fcc_arg args2[] = {{FCC_BUFFER, 0, 0}, {FCC_CONSTANT, 0, W2_AT}, {FCC_CONSTANT, 0, B2_AT}, {FCC_OUTPUT, 0, 0}};
static const fcc_arg args3[] = {{FCC_OUTPUT, 0, 0}, {FCC_OUTPUT, 1, 0}};

#define SHARED_STEP(kernel, arguments, flop_size, node, operators, room, bits)                                      \
  {.run = kernel, .flags = bits, .args = arguments, .n_args = COUNT(arguments), .scratch_bytes = room,              \
   .tiles = DERIVED(TILES), .flops = DERIVED(flop_size), .bytes = DERIVED(BYTES), .work_ns = DERIVED(WORK_NS), \
   .name = node, .what = operators}
static const fcc_step steps[] = {
    SHARED_STEP(layer1, args1, FLOPS1, "fc1", "Gemm+Relu", 0, 0),
    SHARED_STEP(layer2, args2, FLOPS2, "fc2", "Gemm", ROWS * HIDDEN * 4, FCC_STEP_MAY_FAULT),
    SHARED_STEP(normalise, args3, FLOPS2, "norm", "Div", 0, 0),
};

static const char* const faults[] = {"a hidden value is above a trillion", "a hidden value is above a million"};
static const fcc_entry entries[] = {{
    .name = "infer", .n_inputs = 1, .n_outputs = 2, .n_symbols = 1, .n_derived = N_DERIVED, .n_buffers = 1,
    .n_steps = COUNT(steps), .n_faults = COUNT(faults), .max_args = 4, .inputs = inputs, .outputs = outputs,
    .symbols = symbols, .buffers = buffers, .steps = steps, .faults = faults, .derive = derive,
    .workspace_bytes = -1, .max_scratch_bytes = ROWS * HIDDEN * 4,
}};
static const fcc_variant variants[] = {{.n_entries = 1, .entries = entries, .target = "by hand"}};
static const fcc_model model = {
    MODEL_HEADER, .constants = (const uint8_t*)&constants, .constants_bytes = sizeof constants,
    .n_variants = 1, .variants = variants,
};
MODEL_QUERY(model)
