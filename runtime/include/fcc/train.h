/* Training a compiled model from C, or from anything that can call C.
 *
 * It stands on fcc.h: a trainer is one state (weights, optimizer slots) with a session for each entry of a model that
 * `fcc train` wrote. C++ programs are better served by train.hpp, a header-only wrapper over exactly this.
 *
 *   fcc_library_open("net.so", &library);
 *   fcc_trainer_create(library, NULL, &trainer);
 *   for (...) fcc_trainer_step(trainer, xy, 2, &loss);           // forward, loss, backward, update
 *   fcc_trainer_save(trainer, "run.safetensors");                // atomic; resume gives the same bits
 *   fcc_trainer_export_onnx(trainer, "trained.onnx");
 *
 * A trainer serves one call at a time; a second thread gets FCC_BUSY. Trainers of one library share nothing but the
 * code. Errors are as in fcc.h: a code, and fcc_error_text(). */
#ifndef FCC_TRAIN_H
#define FCC_TRAIN_H
#include "fcc/fcc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fcc_trainer fcc_trainer;

typedef enum fcc_on_nonfinite { /* what happens when a loss or a weight is infinite or NaN */
                                /* FCC_NOT_FINITE, and the state is again that of the last good copy */
                                FCC_NONFINITE_STOP = 0,
                                /* the step is undone, and the call succeeds; a copy of the state is made before every
                                   step */
                                FCC_NONFINITE_SKIP = 1,
                                /* the state is again that of the last good copy, and the call succeeds; the tenth time
                                   without a good copy in between it fails */
                                FCC_NONFINITE_ROLLBACK = 2,
                                FCC_NONFINITE_IGNORE = 3 /* nobody looks */
} fcc_on_nonfinite;

typedef struct fcc_trainer_options { /* zero-initialise, then set bytes = sizeof(fcc_trainer_options) */
  uint32_t bytes;
  uint32_t threads;         /* as in fcc_session_options */
  fcc_pool* pool;           /* null: the one of the process */
  uint32_t on_nonfinite;    /* fcc_on_nonfinite */
  uint32_t good_copy_steps; /* how often the state is copied for stop and rollback; 0: every 100 steps */
} fcc_trainer_options;

FCC_API fcc_status fcc_trainer_create(fcc_library* library, const fcc_trainer_options* options, fcc_trainer** trainer);
FCC_API void fcc_trainer_close(fcc_trainer* trainer); /* null is allowed */
/* The session of an entry ("infer", "evaluate", "train_step", ...), for its tables, outputs and profile. It belongs to
 * the trainer. Null, with a text, when the model has no such entry. */
FCC_API fcc_session* fcc_trainer_session(fcc_trainer* trainer, const char* entry);

/* ---- steps ---------------------------------------------------------------------------------------------------
 * Tensors come in the order of the entry's inputs: the model's inputs, then the targets. One of rank 1 where another
 * rank is wanted is flat data: its dims follow from the model when at most one is open. Nothing is allocated after the
 * first call at a shape. */
FCC_API fcc_status fcc_trainer_step(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count, double* loss);
/* Outputs on the live weights: read them from fcc_trainer_session(trainer, "infer"). */
FCC_API fcc_status fcc_trainer_predict(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count);

typedef struct fcc_evaluation {
  double loss;     /* mean over the rows */
  double accuracy; /* share of integer targets that the largest output meets; NaN for other models */
  int64_t rows, judged, correct;
} fcc_evaluation;
/* Any number of rows; they are run batch_rows at a time (0: 256, less when the model bounds it). */
FCC_API fcc_status fcc_trainer_evaluate(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count,
                                        int64_t batch_rows, fcc_evaluation* evaluation);

/* For gradients that are summed over micro-batches or machines; only in models compiled with these entries.
 * gradients adds into the gradient states, apply moves the weights by their mean over the calls and clears them: it is
 * the optimizer step. */
FCC_API fcc_status fcc_trainer_gradients(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count, double* loss);
FCC_API fcc_status fcc_trainer_apply(fcc_trainer* trainer);
FCC_API fcc_status fcc_trainer_clear_gradients(fcc_trainer* trainer);

/* ---- learning rate -------------------------------------------------------------------------------------------
 * A model has one or more parameter groups, each with its own lr; group 0 is the default one. */
#define FCC_ALL_GROUPS UINT32_MAX
FCC_API uint32_t fcc_trainer_groups(const fcc_trainer* trainer);
FCC_API fcc_status fcc_trainer_lr(const fcc_trainer* trainer, uint32_t group, double* lr); /* of the next step */
/* The rate that schedules start from. For all groups: lr is that of group 0, the others keep their ratio to it. */
FCC_API fcc_status fcc_trainer_set_lr(fcc_trainer* trainer, uint32_t group, double lr);
/* "cosine(epochs=5, warmup=1)": the forms are listed in docs/trainer.md; formulas are PyTorch's. Starts from its
 * beginning. */
FCC_API fcc_status fcc_trainer_schedule(fcc_trainer* trainer, const char* text);
/* Ends an epoch: for schedules by epoch. metric, usually the loss on validation data, is what plateau looks at. */
FCC_API fcc_status fcc_trainer_end_epoch(fcc_trainer* trainer, double metric);

typedef struct fcc_training_progress {
  int64_t steps;       /* optimizer steps taken */
  int64_t epoch;       /* epochs ended */
  int64_t epoch_steps; /* steps since then */
  int64_t skipped, rolled_back;
} fcc_training_progress;
FCC_API fcc_status fcc_trainer_progress(const fcc_trainer* trainer, fcc_training_progress* progress);

/* ---- weights -------------------------------------------------------------------------------------------------
 * Patterns are ECMAScript regular expressions, found anywhere in a name as grep does. */
/* A view of the live values by the name of the initializer, or "grad/NAME", "optim/NAME/m"; may be written. */
FCC_API fcc_status fcc_trainer_state(fcc_trainer* trainer, const char* name, fcc_tensor* tensor);
/* Frozen parameters and their optimizer slots keep their values. Their gradients are still computed: compile with
 * --freeze to save that. count, which may be null, receives how many parameters matched. */
FCC_API fcc_status fcc_trainer_freeze(fcc_trainer* trainer, const char* pattern, int frozen, uint32_t* count);
/* Draws parameters anew: "kaiming_normal(nonlinearity=relu)", "default" for PyTorch's, ... (docs/trainer.md).
 * Their optimizer slots start again from zero. */
FCC_API fcc_status fcc_trainer_reinit(fcc_trainer* trainer, const char* pattern, const char* initializer,
                                      uint32_t* count);
/* Of dropout and of reinit. */
FCC_API fcc_status fcc_trainer_seed(fcc_trainer* trainer, uint64_t seed);
/* An immutable copy of the model with the weights of now: sessions of it offer "infer" and "evaluate", in any threads,
 * while training goes on. Close it like any library. */
FCC_API fcc_status fcc_trainer_snapshot(fcc_trainer* trainer, fcc_library** library);

/* ---- files ---------------------------------------------------------------------------------------------------
 * A checkpoint is a safetensors file: all states, and in its metadata the progress, the schedule, the hash of the
 * source model and one of every tensor. Writing is atomic: the old file stays until the new one is on the disk. */
FCC_API fcc_status fcc_trainer_save(fcc_trainer* trainer, const char* path);
/* Reads everything before it changes anything. After it, training goes on as if it had never stopped. */
FCC_API fcc_status fcc_trainer_resume(fcc_trainer* trainer, const char* path);
/* Only parameters and buffers, from any safetensors file that has them all under their names. */
FCC_API fcc_status fcc_trainer_load_weights(fcc_trainer* trainer, const char* path);
/* A text of the program's own that travels in the checkpoint. Null value: forget it. */
FCC_API fcc_status fcc_trainer_set_note(fcc_trainer* trainer, const char* key, const char* value);
/* Null when there is none; valid until the note changes. */
FCC_API const char* fcc_trainer_note(const fcc_trainer* trainer, const char* key);
/* The source model with the weights of now: the same bytes but for the tensors that training moves. */
FCC_API fcc_status fcc_trainer_export_onnx(fcc_trainer* trainer, const char* path);

#ifdef __cplusplus
}
#endif
#endif
