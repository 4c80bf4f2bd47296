/* Running a compiled model from C, or from anything that can call C.
 *
 * It lives beside model_abi.h, which says what a model.so is; this says how to load and run one. It is not
 * the compiler. C++ programs are better served by fcc.hpp, a header-only wrapper over exactly this.
 *
 *   fcc_library_open("net.so", &library);
 *   fcc_session_create(library, NULL, &session);
 *   fcc_session_bind_input(session, 0, &x);   fcc_session_bind_output(session, 0, y, sizeof y);
 *   fcc_session_run(session);                 // as often as you like; no allocation after the first
 *
 * Every fallible function returns a code; fcc_error_text() is a sentence for the last failure of the thread.
 * Nothing here prints, aborts, throws, or changes the floating-point environment of the caller. */
#ifndef FCC_FCC_H
#define FCC_FCC_H
#include "fcc/model_abi.h"

#if defined(FCC_RUNTIME_SHARED)
#define FCC_API __attribute__((visibility("default")))
#else
#define FCC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fcc_status { /* values are stable */
                          FCC_OK = 0,
                          FCC_BAD_ARGUMENT =
                              1,             /* null handle, index past the end, an option or variable out of range */
                          FCC_BAD_SHAPE = 2, /* rank or dimension the model does not accept */
                          FCC_BAD_DTYPE = 3, /* element type the model does not accept */
                          FCC_BAD_BUFFER =
                              4, /* null, misaligned, too small, strided or overlapping memory; an input never bound */
                          FCC_NOT_FOUND = 5,     /* no such file, input, output, entry or state */
                          FCC_BAD_LIBRARY = 6,   /* the file is not a model, is damaged, or was made for another ABI or
                                                    processor family */
                          FCC_BAD_CPU = 7,       /* the model is sound but this CPU lacks instructions it needs */
                          FCC_OUT_OF_MEMORY = 8, /* the call changed nothing and may be repeated */
                          FCC_BUSY = 9,          /* the session is running in another thread */
                          FCC_FAULT =
                              10, /* a kernel refused its data, such as an index out of range; outputs are undefined */
                          FCC_INTERNAL = 11,   /* a bug of the runtime */
                          FCC_NOT_FINITE = 12, /* training met an infinite or undefined loss or weight */
                          FCC_BAD_FILE = 13    /* a checkpoint or data file that cannot be read or written, is damaged,
                                                  or belongs to another model */
} fcc_status;

typedef struct fcc_library fcc_library; /* immutable once open; any number of threads may use it */
typedef struct fcc_session fcc_session; /* state + workspace of one model; serves one call at a time */
typedef struct fcc_pool fcc_pool;       /* threads; may be shared by any number of sessions */

/* A tensor in the caller's memory. strides are in elements; null means dense row-major, the only layout accepted
 * (the field exists so that a strided view is refused with a sentence instead of read wrongly). */
typedef struct fcc_tensor {
  void* data;
  uint32_t dtype, rank; /* fcc_dtype */
  const int64_t* dims;
  const int64_t* strides;
} fcc_tensor;

FCC_API const char* fcc_runtime_version(void);
FCC_API const char* fcc_status_name(fcc_status status);
FCC_API const char* fcc_dtype_name(uint32_t dtype); /* "f32"; "?" when unknown */
FCC_API int64_t fcc_dtype_bytes(uint32_t dtype);    /* of one element; 0 when unknown */
/* The last failure in this thread, valid until the next failing call in it; "" when there was none. */
FCC_API const char* fcc_error_text(void);

/* Environment variables the runtime reads, for a --help-env page. */
typedef struct fcc_env_variable {
  const char *name, *help;
} fcc_env_variable;
FCC_API const fcc_env_variable* fcc_environment(uint32_t* count);

/* ---- library ------------------------------------------------------------------------------------------------ */
/* Opens a model.so and picks its best variant for this CPU. A path without a slash means the current folder.
 * Loading a library is running code: open only files you trust. */
FCC_API fcc_status fcc_library_open(const char* path, fcc_library** library);
/* The same for a model linked into the program: pass its fcc_model_query. */
FCC_API fcc_status fcc_library_from_query(fcc_model_query_fn query, fcc_library** library);
/* Sessions keep the library loaded; closing first is fine. Null is allowed. */
FCC_API void fcc_library_close(fcc_library* library);
/* The model's own tables (model_abi.h): every name, shape, cost. Valid while the library is open. */
FCC_API const fcc_model* fcc_library_model(const fcc_library* library);
FCC_API const fcc_variant* fcc_library_variant(const fcc_library* library); /* the one chosen */

/* ---- threads ------------------------------------------------------------------------------------------------ */
/* A host program's own threads. parallel calls fn(arg, i) for 0 <= i < n, at most once each, on as many threads at the
 * same time as it has, and returns when the calls it made have returned. It need not make them all, nor all at once:
 * the work is claimed, not divided, so a call that comes late finds nothing to do and returns at once. */
typedef struct fcc_host_pool {
  void* self;
  uint32_t threads; /* how many calls are worth asking for, the caller included */
  void (*parallel)(void* self, uint32_t n, void (*fn)(void* arg, uint32_t index), void* arg);
} fcc_host_pool;
/* Threads of the runtime's own. threads 0: as many as this process may use. */
FCC_API fcc_status fcc_pool_create(uint32_t threads, fcc_pool** pool);
FCC_API fcc_status fcc_pool_from_host(const fcc_host_pool* host, fcc_pool** pool);
/* Sessions keep their pool; releasing first is fine. Null is allowed. */
FCC_API void fcc_pool_release(fcc_pool* pool);
/* What threads = 0 means here: FCC_NUM_THREADS, else min(affinity mask, physical cores, cgroup quota). */
FCC_API uint32_t fcc_default_threads(void);

/* ---- session ------------------------------------------------------------------------------------------------ */
typedef struct fcc_session_options { /* zero-initialise, then set bytes = sizeof(fcc_session_options) */
  uint32_t bytes;
  uint32_t threads;  /* 0: the pool's size; 1: never fork; results are the same bits for any value */
  fcc_pool* pool;    /* null: one pool for the whole process */
  const char* entry; /* null: the model's first, usually "infer" */
} fcc_session_options;
FCC_API fcc_status fcc_session_create(fcc_library* library, const fcc_session_options* options, fcc_session** session);
/* Another entry on the same state and workspace ("train_step" and "evaluate" on the same weights).
 * The two serve one call at a time between them. */
FCC_API fcc_status fcc_session_entry(fcc_session* session, const char* entry, fcc_session** sibling);
FCC_API void fcc_session_close(fcc_session* session); /* null is allowed */
/* The tables of the session's entry: inputs, outputs, symbols, steps. */
FCC_API const fcc_entry* fcc_session_table(const fcc_session* session);

/* ---- inputs and outputs: bind once, run many ---------------------------------------------------------------- */
FCC_API fcc_status fcc_session_find_input(const fcc_session* session, const char* name, uint32_t* index);
FCC_API fcc_status fcc_session_find_output(const fcc_session* session, const char* name, uint32_t* index);
/* The caller keeps the memory alive and unchanged during runs; binding again replaces. dims are copied. */
FCC_API fcc_status fcc_session_bind_input(fcc_session* session, uint32_t index, const fcc_tensor* tensor);
/* The same for data without dims: they follow from the model when at most one dimension is open. */
FCC_API fcc_status fcc_session_bind_flat_input(fcc_session* session, uint32_t index, uint32_t dtype, const void* data,
                                               int64_t elements);
/* Where the output goes; bytes is the room there. data null: the runtime's own memory again (the default). */
FCC_API fcc_status fcc_session_bind_output(fcc_session* session, uint32_t index, uint32_t dtype, void* data,
                                           int64_t bytes);
/* Dims of an output (table->outputs[index].rank of them) for the inputs bound now; before a run, a dimension that
 * only the run can tell is -1. */
FCC_API fcc_status fcc_session_output_dims(fcc_session* session, uint32_t index, int64_t* dims);
FCC_API fcc_status fcc_session_run(fcc_session* session);
/* An output after a run. Memory of the runtime and the dims are valid until the session's next run or bind. */
FCC_API fcc_status fcc_session_output(fcc_session* session, uint32_t index, fcc_tensor* tensor);

/* ---- state: weights in training, optimizer slots (model->states) -------------------------------------------- */
FCC_API fcc_status fcc_session_find_state(const fcc_session* session, const char* name, uint32_t* index);
/* A view of the live values: read or write it between runs. Valid until the session and its siblings are closed. */
FCC_API fcc_status fcc_session_state(fcc_session* session, uint32_t index, fcc_tensor* tensor);
FCC_API fcc_status fcc_session_reset_state(fcc_session* session); /* back to the first values */

/* ---- looking inside ----------------------------------------------------------------------------------------- */
typedef struct fcc_step_profile {
  const char *name, *what; /* of the step */
  int64_t flops, bytes;    /* of one call at the last shape */
  int64_t calls, ns;       /* since profiling was switched on */
} fcc_step_profile;
FCC_API fcc_status fcc_session_set_profile(fcc_session* session, int on); /* clears the counts; off costs nothing */
FCC_API fcc_status fcc_session_step_profile(const fcc_session* session, uint32_t step, fcc_step_profile* profile);

typedef struct fcc_session_stats {
  int64_t workspace_bytes; /* held now, shared with siblings */
  int64_t state_bytes;
  int64_t plans; /* memory plans made; grows only at shapes not seen lately */
  int64_t runs;
  int64_t forked_runs; /* runs that used more than the calling thread */
  uint32_t threads;    /* that a run may use */
  uint32_t reserved;
} fcc_session_stats;
FCC_API fcc_status fcc_session_get_stats(const fcc_session* session, fcc_session_stats* stats);

#ifdef __cplusplus
}
#endif
#endif
