/* State that outlives a call: y = w * x for a vector w of four, trained towards target by w += (target - w*x) * x / 8.
 * Three entries on the same weights: "infer", "train_step" and "evaluate" (the squared error). "steps" counts. */
#include "dense.h"

enum { WIDTH = 4 };
static const _Alignas(64) float first_w[WIDTH] = {1.0f, 2.0f, 3.0f, 4.0f};

static int32_t infer(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)symbols, (void)first, (void)last, (void)scratch;
  const float *w = args[0], *x = args[1];
  float* y = args[2];
  for (int i = 0; i < WIDTH; ++i) y[i] = w[i] * x[i];
  return 0;
}
static int32_t train(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)symbols, (void)first, (void)last, (void)scratch;
  float* w = args[0];
  const float *x = args[1], *target = args[2];
  float* loss = args[3];
  int64_t* steps = args[4];
  *loss = 0;
  for (int i = 0; i < WIDTH; ++i) {
    float error = target[i] - w[i] * x[i];
    *loss += error * error;
    w[i] += error * x[i] / 8;
  }
  ++*steps;
  return 0;
}
static int32_t evaluate(void* const* args, int64_t* symbols, int64_t first, int64_t last, void* scratch) {
  (void)symbols, (void)first, (void)last, (void)scratch;
  const float *w = args[0], *x = args[1], *target = args[2];
  float* copy = args[3];
  float* loss = args[4];
  *loss = 0;
  for (int i = 0; i < WIDTH; ++i) {
    copy[i] = target[i] - w[i] * x[i];
    *loss += copy[i] * copy[i];
  }
  return 0;
}

static const fcc_size dims[] = {FIXED(WIDTH)};
static const fcc_slot in_x[] = {{"x", FCC_F32, 1, dims}, {"target", FCC_F32, 1, dims}};
static const fcc_slot out_y[] = {{"y", FCC_F32, 1, dims}}, out_loss[] = {{"loss", FCC_F32, 0, 0}};
static const fcc_buffer large[] = {{FIXED(1 << 16), 0, 0, 0}}; /* larger than infer needs: the shared workspace grows */
static const fcc_arg infer_args[] = {{FCC_STATE, 0, 0}, {FCC_INPUT, 0, 0}, {FCC_OUTPUT, 0, 0}};
static const fcc_arg train_args[] = {
    {FCC_STATE, 0, 0}, {FCC_INPUT, 0, 0}, {FCC_INPUT, 1, 0}, {FCC_OUTPUT, 0, 0}, {FCC_STATE, 0, 64}};
static const fcc_arg evaluate_args[] = {
    {FCC_STATE, 0, 0}, {FCC_INPUT, 0, 0}, {FCC_INPUT, 1, 0}, {FCC_BUFFER, 0, 0}, {FCC_OUTPUT, 0, 0}};
#define STEP(kernel, arguments)                                                                                    \
  {{.run = kernel, .args = arguments, .n_args = COUNT(arguments), .tiles = FIXED(1), .flops = FIXED(8), .bytes = FIXED(48), \
    .work_ns = FIXED(10), .name = #kernel, .what = "Mul"}}
static const fcc_step infer_steps[] = STEP(infer, infer_args);
static const fcc_step train_steps[] = STEP(train, train_args);
static const fcc_step evaluate_steps[] = STEP(evaluate, evaluate_args);
static const fcc_entry entries[] = {
    {.name = "infer", .n_inputs = 1, .n_outputs = 1, .n_steps = 1, .max_args = 5, .inputs = in_x, .outputs = out_y,
     .steps = infer_steps, .workspace_bytes = 0},
    {.name = "train_step", .n_inputs = 2, .n_outputs = 1, .n_steps = 1, .max_args = 5, .inputs = in_x, .outputs = out_loss,
     .steps = train_steps, .workspace_bytes = 0},
    {.name = "evaluate", .n_inputs = 2, .n_outputs = 1, .n_buffers = 1, .n_steps = 1, .max_args = 5, .inputs = in_x,
     .outputs = out_loss, .buffers = large, .steps = evaluate_steps, .workspace_bytes = 1 << 16},
};
static const fcc_state states[] = {
    {.name = "w", .dtype = FCC_F32, .rank = 1, .dims = dims, .offset = 0, .bytes = 16, .init = 0},
    {.name = "steps", .dtype = FCC_I64, .rank = 0, .offset = 64, .bytes = 8, .init = -1,
#ifdef DAMAGED
     .role = 9},
#else
     .role = FCC_STATE_HYPER},
#endif
};
static const fcc_variant variants[] = {{.n_entries = 3, .entries = entries, .target = "by hand"}};
static const fcc_model model = {
    MODEL_HEADER, .constants = (const uint8_t*)first_w, .constants_bytes = sizeof first_w, .states = states, .n_states = 2,
    .n_variants = 1, .state_arena_bytes = 128, .variants = variants,
};
MODEL_QUERY(model)
