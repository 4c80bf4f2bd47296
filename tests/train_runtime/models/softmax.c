/* A training model by hand: softmax regression x[N,4] -> scores[N,3] with cross-entropy, momentum 0.5 and a fifth of
 * the inputs dropped, as `fcc train` would compile it (docs/training.md). The tests of the trainer use it, so that they
 * need no compiler. Tiles are 8 rows; gradients are summed over tiles in order, so bits do not depend on threads. */
#include "dense.h"

enum { IN = 4, OUT = 3, ROWS = 8, GRADS = OUT * IN + OUT };
#ifndef WORK_NS_PER_ROW
#define WORK_NS_PER_ROW 20000 /* pretend, so that the work is shared */
#endif

/* The state arena; each state is 64-byte aligned. */
enum {
  WEIGHT = 0, BIAS = 64, WEIGHT_M = 128, BIAS_M = 192, MEAN = 256, LR = 320, LR1 = 384, STEP = 448, SEED = 512,
  ACCUMULATED = 576, GRAD_WEIGHT = 640, GRAD_BIAS = 704, ARENA = 768
};
/* The constants: first values, each at a multiple of 64. */
static const struct {
  _Alignas(64) float weight[OUT * IN];
  _Alignas(64) float bias[OUT];
  _Alignas(64) double lr;
  _Alignas(64) double lr1;
  _Alignas(64) int64_t seed;
} first = {.weight = {0.1f, -0.2f, 0.3f, 0.1f, -0.1f, 0.2f, 0.2f, -0.3f, 0.05f, 0.1f, -0.1f, 0.2f},
           .bias = {0.0f, 0.1f, -0.1f}, .lr = 0.1, .lr1 = 0.2, .seed = 7};

/* e^x for x <= 0, without libm: good enough to learn with. */
static double exponential(double x) {
  if (x < -700) return 0;
  double y = 1 + x / 1048576;
  for (int i = 0; i < 20; ++i) y *= y;
  return y;
}
static double logarithm(double x) { /* of 1e-300 < x <= 1, by Newton on exponential */
  double y = 0;
  for (int i = 0; i < 60; ++i) {
    double e = exponential(y), d = (x - e) / e;
    y += d > 1 ? 1 : d;
    if (y < -690) break;
  }
  return y;
}

static void scores_of(const float* state, const float* x, double* scores) {
  const float *w = state + WEIGHT / 4, *b = state + BIAS / 4;
  for (int o = 0; o < OUT; ++o) {
    scores[o] = b[o];
    for (int i = 0; i < IN; ++i) scores[o] += (double)w[o * IN + i] * (double)x[i];
  }
}
static int64_t end_row(int64_t tile, int64_t rows) { return (tile + 1) * ROWS < rows ? (tile + 1) * ROWS : rows; }

#ifdef NO_DROPOUT
#define KEPT 1.0f
static int dropped(int64_t seed, int64_t step, int64_t row, int i) { return (int)(0 * (seed + step + row + i)); }
#else
#define KEPT 1.25f
static int dropped(int64_t seed, int64_t step, int64_t row, int i) {
  uint64_t h = (uint64_t)seed * 0x9E3779B97F4A7C15u + (uint64_t)step * 0xC2B2AE3D27D4EB4Fu + (uint64_t)(row * IN + i);
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
  return (h >> 40) % 5 == 0;
}
#endif

/* scores of each row */
static int32_t infer(void* const* args, int64_t* symbols, int64_t first_tile, int64_t last_tile, void* scratch) {
  (void)scratch;
  const float* x = args[1];
  float* out = args[2];
  for (int64_t r = first_tile * ROWS; r < end_row(last_tile - 1, symbols[0]); ++r) {
    double s[OUT];
    scores_of(args[0], x + r * IN, s);
    for (int o = 0; o < OUT; ++o) out[r * OUT + o] = (float)s[o];
  }
  return 0;
}

/* partial[tile] = sum of losses, gradients and the sums of x; args: state, x, target, partial, scores; drop */
static int32_t rows(void* const* args, int64_t* symbols, int64_t first_tile, int64_t last_tile, int drop) {
  const float *state = args[0], *x = args[1];
  const int64_t* target = args[2];
  double* partial = args[3];
  float* scores = args[4];
  int64_t step = *(const int64_t*)((const char*)args[0] + STEP), seed = *(const int64_t*)((const char*)args[0] + SEED);
  for (int64_t tile = first_tile; tile < last_tile; ++tile) {
    double* p = partial + tile * (1 + GRADS + IN);
    for (int i = 0; i < 1 + GRADS + IN; ++i) p[i] = 0;
    for (int64_t r = tile * ROWS; r < end_row(tile, symbols[0]); ++r) {
      float row[IN];
      double s[OUT], sum = 0, top;
      if (target[r] < 0 || target[r] >= OUT) return 1;
      for (int i = 0; i < IN; ++i) {
        row[i] = !drop ? x[r * IN + i] : dropped(seed, step, r, i) ? 0.0f : x[r * IN + i] * KEPT;
        p[1 + GRADS + i] += (double)x[r * IN + i];
      }
      scores_of(state, row, s);
      top = s[0] > s[1] ? s[0] : s[1];
      top = top > s[2] ? top : s[2];
      for (int o = 0; o < OUT; ++o) {
        scores[r * OUT + o] = (float)s[o];
        sum += s[o] = exponential(s[o] - top);
      }
      p[0] += s[target[r]] > 0 ? -logarithm(s[target[r]] / sum) : sum - sum + 700;
      for (int o = 0; o < OUT; ++o) {
        double g = s[o] / sum - (o == target[r]);
        for (int i = 0; i < IN; ++i) p[1 + o * IN + i] += g * (double)row[i];
        p[1 + OUT * IN + o] += g;
      }
    }
  }
  return 0;
}
static int32_t train_rows(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)scratch;
  return rows(args, symbols, f, l, 1);
}
static int32_t evaluate_rows(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)scratch;
  return rows(args, symbols, f, l, 0);
}

/* loss = mean, sums[0] += the tiles in order; args: partial, loss. Faults before anything is written. */
static int32_t mean_loss(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)f, (void)l, (void)scratch;
  double* partial = args[0];
  int64_t n = symbols[0], tiles = (n + ROWS - 1) / ROWS;
  for (int64_t t = 1; t < tiles; ++t)
    for (int i = 0; i < 1 + GRADS + IN; ++i) partial[i] += partial[t * (1 + GRADS + IN) + i];
  double loss = partial[0] / (double)n;
  if (!(loss - loss == 0)) return 2;
  *(float*)args[1] = (float)loss;
  return 0;
}

static void move(char* state, const float* g_weight, const float* g_bias) {
  float *w = (float*)(state + WEIGHT), *b = (float*)(state + BIAS);
  float *wm = (float*)(state + WEIGHT_M), *bm = (float*)(state + BIAS_M);
  float lr = (float)*(double*)(state + LR), lr1 = (float)*(double*)(state + LR1);
  for (int i = 0; i < OUT * IN; ++i) w[i] -= lr * (wm[i] = 0.5f * wm[i] + g_weight[i]);
  for (int i = 0; i < OUT; ++i) b[i] -= lr1 * (bm[i] = 0.5f * bm[i] + g_bias[i]);
  ++*(int64_t*)(state + STEP);
}
static void move_mean(char* state, const double* partial, double n) {
  float* mean = (float*)(state + MEAN);
  for (int i = 0; i < IN; ++i) mean[i] += 0.1f * ((float)(partial[1 + GRADS + i] / n) - mean[i]);
}
/* args: state, partial */
static int32_t update(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)f, (void)l, (void)scratch;
  const double* partial = args[1];
  float g[GRADS];
  for (int i = 0; i < GRADS; ++i) g[i] = (float)(partial[1 + i] / (double)symbols[0]);
  move(args[0], g, g + OUT * IN);
  move_mean(args[0], partial, (double)symbols[0]);
  return 0;
}
#ifndef NO_GRADIENTS
static int32_t accumulate(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)f, (void)l, (void)scratch;
  char* state = args[0];
  const double* partial = args[1];
  float *gw = (float*)(state + GRAD_WEIGHT), *gb = (float*)(state + GRAD_BIAS);
  for (int i = 0; i < OUT * IN; ++i) gw[i] += (float)(partial[1 + i] / (double)symbols[0]);
  for (int i = 0; i < OUT; ++i) gb[i] += (float)(partial[1 + OUT * IN + i] / (double)symbols[0]);
  move_mean(state, partial, (double)symbols[0]);
  ++*(int64_t*)(state + ACCUMULATED);
  return 0;
}
static int32_t apply(void* const* args, int64_t* symbols, int64_t f, int64_t l, void* scratch) {
  (void)symbols, (void)f, (void)l, (void)scratch;
  char* state = args[0];
  float *gw = (float*)(state + GRAD_WEIGHT), *gb = (float*)(state + GRAD_BIAS), g[GRADS];
  int64_t n = *(int64_t*)(state + ACCUMULATED);
  for (int i = 0; i < OUT * IN; ++i) g[i] = gw[i] / (float)(n > 1 ? n : 1), gw[i] = 0;
  for (int i = 0; i < OUT; ++i) g[OUT * IN + i] = gb[i] / (float)(n > 1 ? n : 1), gb[i] = 0;
  *(int64_t*)(state + ACCUMULATED) = 0;
  move(state, g, g + OUT * IN);
  return 0;
}
#endif

enum { TILES, PARTIAL_BYTES, BYTES, WORK_NS, N_DERIVED };
static void derive(const int64_t* symbols, int64_t* derived) {
  derived[TILES] = (symbols[0] + ROWS - 1) / ROWS;
  derived[PARTIAL_BYTES] = derived[TILES] * (1 + GRADS + IN) * 8;
  derived[BYTES] = symbols[0] * (IN + OUT) * 4;
  derived[WORK_NS] = symbols[0] * WORK_NS_PER_ROW;
}

static const fcc_symbol symbols[] = {{.name = "N", .origin = 0, .input = 0, .axis = 0, .min = 1, .max = 512}};
static const fcc_size x_dims[] = {SYMBOL(0), FIXED(IN)}, y_dims[] = {SYMBOL(0), FIXED(OUT)}, t_dims[] = {SYMBOL(0)};
static const fcc_size w_dims[] = {FIXED(OUT), FIXED(IN)}, b_dims[] = {FIXED(OUT)}, m_dims[] = {FIXED(IN)};
static const fcc_slot inputs[] = {{"x", FCC_F32, 2, x_dims}, {"target", FCC_I64, 1, t_dims}};
static const fcc_slot outputs[] = {{"loss", FCC_F32, 0, 0}, {"scores", FCC_F32, 2, y_dims}};
static const fcc_buffer buffers[] = {{DERIVED(PARTIAL_BYTES), -1, 0, 2}};
static const fcc_buffer evaluate_buffers[] = {{DERIVED(PARTIAL_BYTES), -1, 0, 1}};
static const char* const faults[] = {"a label is outside 0 to 2", "the loss is not finite"};

static const fcc_arg infer_args[] = {{FCC_STATE, 0, 0}, {FCC_INPUT, 0, 0}, {FCC_OUTPUT, 0, 0}};
static const fcc_arg rows_args[] = {
    {FCC_STATE, 0, 0}, {FCC_INPUT, 0, 0}, {FCC_INPUT, 1, 0}, {FCC_BUFFER, 0, 0}, {FCC_OUTPUT, 1, 0}};
static const fcc_arg loss_args[] = {{FCC_BUFFER, 0, 0}, {FCC_OUTPUT, 0, 0}};
static const fcc_arg state_args[] = {{FCC_STATE, 0, 0}, {FCC_BUFFER, 0, 0}};
#define ROW_STEP(kernel, arguments, bits)                                                                     \
  {.run = kernel, .flags = bits, .args = arguments, .n_args = COUNT(arguments), .tiles = DERIVED(TILES),      \
   .flops = DERIVED(BYTES), .bytes = DERIVED(BYTES), .work_ns = DERIVED(WORK_NS), .name = #kernel, .what = "Rows"}
#define ONE_STEP(kernel, arguments, count, bits)                                                              \
  {.run = kernel, .flags = bits, .args = arguments, .n_args = count, .tiles = FIXED(1), .flops = FIXED(8),    \
   .bytes = FIXED(8), .work_ns = FIXED(50), .name = #kernel, .what = "Once"}
static const fcc_step infer_steps[] = {ROW_STEP(infer, infer_args, 0)};
static const fcc_step evaluate_steps[] = {ROW_STEP(evaluate_rows, rows_args, FCC_STEP_MAY_FAULT),
                                          ONE_STEP(mean_loss, loss_args, 2, FCC_STEP_MAY_FAULT)};
static const fcc_step train_steps[] = {ROW_STEP(train_rows, rows_args, FCC_STEP_MAY_FAULT),
                                       ONE_STEP(mean_loss, loss_args, 2, FCC_STEP_MAY_FAULT),
                                       ONE_STEP(update, state_args, 2, 0)};
#ifndef NO_GRADIENTS
static const fcc_step gradient_steps[] = {ROW_STEP(train_rows, rows_args, FCC_STEP_MAY_FAULT),
                                          ONE_STEP(mean_loss, loss_args, 2, FCC_STEP_MAY_FAULT),
                                          ONE_STEP(accumulate, state_args, 2, 0)};
static const fcc_step apply_steps[] = {ONE_STEP(apply, state_args, 1, 0)};
#endif
#define LEARNING(entry_name, table, count, memory)                                                                   \
  {.name = entry_name, .n_inputs = 2, .n_outputs = 2, .n_symbols = 1, .n_derived = N_DERIVED, .n_buffers = 1,    \
   .n_steps = count, .n_faults = 2, .max_args = 5, .inputs = inputs, .outputs = outputs, .symbols = symbols,     \
   .buffers = memory, .steps = table, .faults = faults, .derive = derive, .workspace_bytes = -1}
static const fcc_entry entries[] = {
    {.name = "infer", .n_inputs = 1, .n_outputs = 1, .n_symbols = 1, .n_derived = N_DERIVED, .n_steps = 1,
     .max_args = 3, .inputs = inputs, .outputs = outputs + 1, .symbols = symbols, .steps = infer_steps, .derive = derive,
     .workspace_bytes = -1},
    LEARNING("evaluate", evaluate_steps, 2, evaluate_buffers),
    LEARNING("train_step", train_steps, 3, buffers),
#ifndef NO_GRADIENTS
    LEARNING("gradients", gradient_steps, 3, buffers),
    {.name = "apply", .n_steps = 1, .max_args = 1, .steps = apply_steps, .workspace_bytes = 0},
#endif
};
#define ROW(state_name, type, n_dims, sizes, at, size, from, its_role)                                        \
  {.name = state_name, .dtype = type, .rank = n_dims, .dims = sizes, .offset = at, .bytes = size, .init = from, \
   .role = its_role}
static const fcc_state states[] = {
    ROW("fc.weight", FCC_F32, 2, w_dims, WEIGHT, 48, 0, FCC_STATE_PARAMETER),
    ROW("fc.bias", FCC_F32, 1, b_dims, BIAS, 12, 64, FCC_STATE_PARAMETER),
    ROW("optim/fc.weight/m", FCC_F32, 2, w_dims, WEIGHT_M, 48, -1, FCC_STATE_SLOT),
    ROW("optim/fc.bias/m", FCC_F32, 1, b_dims, BIAS_M, 12, -1, FCC_STATE_SLOT),
    ROW("norm.running_mean", FCC_F32, 1, m_dims, MEAN, 16, -1, FCC_STATE_BUFFER),
    ROW("hyper/lr", FCC_F64, 0, 0, LR, 8, 128, FCC_STATE_HYPER),
    ROW("hyper/lr.1", FCC_F64, 0, 0, LR1, 8, 192, FCC_STATE_HYPER),
    ROW("hyper/step", FCC_I64, 0, 0, STEP, 8, -1, FCC_STATE_HYPER),
    ROW("hyper/seed", FCC_I64, 0, 0, SEED, 8, 256, FCC_STATE_HYPER),
#ifndef NO_GRADIENTS
    ROW("hyper/accumulated", FCC_I64, 0, 0, ACCUMULATED, 8, -1, FCC_STATE_HYPER),
    ROW("grad/fc.weight", FCC_F32, 2, w_dims, GRAD_WEIGHT, 48, -1, FCC_STATE_GRADIENT),
    ROW("grad/fc.bias", FCC_F32, 1, b_dims, GRAD_BIAS, 12, -1, FCC_STATE_GRADIENT),
#endif
};
static const fcc_variant variants[] = {{.n_entries = COUNT(entries), .entries = entries, .target = "by hand"}};
static const fcc_model model = {
    MODEL_HEADER, .constants = (const uint8_t*)&first, .constants_bytes = sizeof first, .states = states,
    .n_states = COUNT(states), .n_variants = 1, .state_arena_bytes = ARENA, .variants = variants,
};
MODEL_QUERY(model)

/* What export_onnx writes back: "head" weight "middle" bias "tail". */
__attribute__((section(".fcc_source"), used)) static const struct __attribute__((packed)) {
  char magic[8];
  uint32_t gaps, reserved;
  uint64_t names_bytes, skeleton_bytes;
  struct __attribute__((packed)) { uint64_t at, bytes, name_at, name_bytes; } gap[2];
  char hash[64], names[16], skeleton[14];
} source = {{'F', 'C', 'C', 'S', 'R', 'C', '1', '\n'}, 2, 0, 16, 14, {{4, 48, 0, 9}, {10, 12, 9, 7}},
            {SOURCE_HASH}, {"fc.weightfc.bias"}, {"headmiddletail"}};
