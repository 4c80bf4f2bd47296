// The C interface: null checks, index checks, and nothing thrown past here. All meaning is in the classes behind it.
#include <cstring>

#include "board.h"
#include "handles.h"
#include "text.h"
#include "topology.h"

namespace rt = fcc::runtime;

namespace {

// Index of a name in a table of named rows.
template <class Row>
fcc_status find_named(const char* what, const Row* rows, uint32_t count, const char* name, uint32_t* index) {
  for (uint32_t i = 0; i < count; ++i)
    if (std::strcmp(rows[i].name, name) == 0) {
      *index = i;
      return FCC_OK;
    }
  return rt::guarded([&] {
    return rt::fail(FCC_NOT_FOUND, "no %s \"%s\"%s", what, name,
                    rt::name_help(name, count, [&](uint32_t i) { return rows[i].name; }).c_str());
  });
}

fcc_status wrap(std::unique_ptr<rt::Session> made, fcc_session** session) {
  *session = new fcc_session{std::move(made)};
  return FCC_OK;
}

constexpr fcc_env_variable kEnvironment[] = {
    {"FCC_MAX_ISA", "highest instruction set a loaded model may use: x86-64-v2, x86-64-v3, x86-64-v4 or aarch64"},
    {"FCC_NUM_THREADS", "threads a run uses when the program does not say, the calling one included"},
};

constexpr const char* kStatusNames[] = {"ok",        "bad argument",   "bad shape",  "bad dtype",     "bad buffer",
                                        "not found", "bad library",    "bad CPU",    "out of memory", "busy",
                                        "fault",     "internal error", "not finite", "bad file"};

}  // namespace

extern "C" {

const char* fcc_runtime_version(void) {
  return FCC_RUNTIME_VERSION;
}
const char* fcc_status_name(fcc_status status) {
  auto index = static_cast<size_t>(status);
  return index < std::size(kStatusNames) ? kStatusNames[index] : "?";
}
const char* fcc_dtype_name(uint32_t dtype) {
  return rt::dtype_name(dtype);
}
int64_t fcc_dtype_bytes(uint32_t dtype) {
  return rt::dtype_bytes(dtype);
}
const char* fcc_error_text(void) {
  return rt::error_text();
}
const fcc_env_variable* fcc_environment(uint32_t* count) {
  if (count != nullptr) *count = std::size(kEnvironment);
  return kEnvironment;
}

fcc_status fcc_library_open(const char* path, fcc_library** library) {
  FCC_REFUSE_NULL(path);
  FCC_REFUSE_NULL(library);
  return rt::guarded([&] {
    auto handle = std::make_unique<fcc_library>();
    FCC_RETURN_IF_FAILED(rt::Library::open(path, &handle->library));
    *library = handle.release();
    return FCC_OK;
  });
}

fcc_status fcc_library_from_query(fcc_model_query_fn query, fcc_library** library) {
  FCC_REFUSE_NULL(query);
  FCC_REFUSE_NULL(library);
  return rt::guarded([&] {
    auto handle = std::make_unique<fcc_library>();
    FCC_RETURN_IF_FAILED(rt::Library::from_query(query, &handle->library));
    *library = handle.release();
    return FCC_OK;
  });
}

void fcc_library_close(fcc_library* library) {
  delete library;
}
const fcc_model* fcc_library_model(const fcc_library* library) {
  return library ? &library->library->model() : nullptr;
}
const fcc_variant* fcc_library_variant(const fcc_library* library) {
  return library ? &library->library->variant() : nullptr;
}

fcc_status fcc_pool_create(uint32_t threads, fcc_pool** pool) {
  FCC_REFUSE_NULL(pool);
  if (threads > rt::kMaxParticipants)
    return rt::fail(FCC_BAD_ARGUMENT, "threads is %u, expected 0 to %u", threads, rt::kMaxParticipants);
  return rt::guarded([&] {
    uint32_t count = threads;
    if (count == 0) FCC_RETURN_IF_FAILED(rt::default_threads(&count));
    *pool = new fcc_pool{rt::make_worker_pool(count)};
    return FCC_OK;
  });
}

fcc_status fcc_pool_from_host(const fcc_host_pool* host, fcc_pool** pool) {
  FCC_REFUSE_NULL(host);
  FCC_REFUSE_NULL(host->parallel);
  FCC_REFUSE_NULL(pool);
  return rt::guarded([&] {
    *pool = new fcc_pool{rt::make_host_pool(*host)};
    return FCC_OK;
  });
}

void fcc_pool_release(fcc_pool* pool) {
  delete pool;
}

uint32_t fcc_default_threads(void) {
  uint32_t threads = 1;
  return rt::guarded([&] { return rt::default_threads(&threads); }) == FCC_OK ? threads : 1;
}

fcc_status fcc_session_create(fcc_library* library, const fcc_session_options* options, fcc_session** session) {
  FCC_REFUSE_NULL(library);
  FCC_REFUSE_NULL(session);
  if (options != nullptr && options->bytes != sizeof *options)
    return rt::fail(FCC_BAD_ARGUMENT,
                    "options->bytes is %u, expected %zu\n hint: set it to sizeof(fcc_session_options)", options->bytes,
                    sizeof *options);
  return rt::guarded([&] {
    rt::SessionOptions inner;
    inner.snapshot = library->snapshot;
    if (options != nullptr) {
      inner.threads = options->threads;
      inner.entry = options->entry;
      if (options->pool != nullptr) inner.pool = options->pool->pool;
    }
    std::unique_ptr<rt::Session> made;
    FCC_RETURN_IF_FAILED(rt::Session::create(library->library, inner, &made));
    return wrap(std::move(made), session);
  });
}

fcc_status fcc_session_entry(fcc_session* session, const char* entry, fcc_session** sibling) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(sibling);
  return rt::guarded([&] {
    std::unique_ptr<rt::Session> made;
    FCC_RETURN_IF_FAILED(session->session->sibling(entry, &made));
    return wrap(std::move(made), sibling);
  });
}

void fcc_session_close(fcc_session* session) {
  delete session;
}
const fcc_entry* fcc_session_table(const fcc_session* session) {
  return session ? &session->session->entry() : nullptr;
}

fcc_status fcc_session_find_input(const fcc_session* session, const char* name, uint32_t* index) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(name);
  FCC_REFUSE_NULL(index);
  const fcc_entry& entry = session->session->entry();
  return find_named("input", entry.inputs, entry.n_inputs, name, index);
}

fcc_status fcc_session_find_output(const fcc_session* session, const char* name, uint32_t* index) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(name);
  FCC_REFUSE_NULL(index);
  const fcc_entry& entry = session->session->entry();
  return find_named("output", entry.outputs, entry.n_outputs, name, index);
}

fcc_status fcc_session_bind_input(fcc_session* session, uint32_t index, const fcc_tensor* tensor) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(tensor);
  uint32_t count = session->session->entry().n_inputs;
  if (index >= count) return rt::past_end("input", index, count);
  return rt::guarded([&] { return session->session->bind_input(index, *tensor); });
}

fcc_status fcc_session_bind_flat_input(fcc_session* session, uint32_t index, uint32_t dtype, const void* data,
                                       int64_t elements) {
  FCC_REFUSE_NULL(session);
  uint32_t count = session->session->entry().n_inputs;
  if (index >= count) return rt::past_end("input", index, count);
  return rt::guarded([&] { return session->session->bind_flat_input(index, dtype, data, elements); });
}

fcc_status fcc_session_bind_output(fcc_session* session, uint32_t index, uint32_t dtype, void* data, int64_t bytes) {
  FCC_REFUSE_NULL(session);
  uint32_t count = session->session->entry().n_outputs;
  if (index >= count) return rt::past_end("output", index, count);
  return rt::guarded([&] { return session->session->bind_output(index, dtype, data, bytes); });
}

fcc_status fcc_session_output_dims(fcc_session* session, uint32_t index, int64_t* dims) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(dims);
  uint32_t count = session->session->entry().n_outputs;
  if (index >= count) return rt::past_end("output", index, count);
  return rt::guarded([&] { return session->session->output_dims(index, dims); });
}

fcc_status fcc_session_run(fcc_session* session) {
  FCC_REFUSE_NULL(session);
  return rt::guarded([&] { return session->session->run(); });
}

fcc_status fcc_session_output(fcc_session* session, uint32_t index, fcc_tensor* tensor) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(tensor);
  uint32_t count = session->session->entry().n_outputs;
  if (index >= count) return rt::past_end("output", index, count);
  return session->session->output(index, tensor);
}

fcc_status fcc_session_find_state(const fcc_session* session, const char* name, uint32_t* index) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(name);
  FCC_REFUSE_NULL(index);
  const fcc_model& model = session->session->library().model();
  return find_named("state", model.states, model.n_states, name, index);
}

fcc_status fcc_session_state(fcc_session* session, uint32_t index, fcc_tensor* tensor) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(tensor);
  uint32_t count = session->session->library().model().n_states;
  if (index >= count) return rt::past_end("state", index, count);
  return session->session->state(index, tensor);
}

fcc_status fcc_session_reset_state(fcc_session* session) {
  FCC_REFUSE_NULL(session);
  return session->session->reset_state();
}

fcc_status fcc_session_set_profile(fcc_session* session, int on) {
  FCC_REFUSE_NULL(session);
  return rt::guarded([&] {
    session->session->set_profile(on != 0);
    return FCC_OK;
  });
}

fcc_status fcc_session_step_profile(const fcc_session* session, uint32_t step, fcc_step_profile* profile) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(profile);
  uint32_t count = session->session->entry().n_steps;
  if (step >= count) return rt::past_end("step", step, count);
  *profile = session->session->step_profile(step);
  return FCC_OK;
}

fcc_status fcc_session_get_stats(const fcc_session* session, fcc_session_stats* stats) {
  FCC_REFUSE_NULL(session);
  FCC_REFUSE_NULL(stats);
  *stats = session->session->stats();
  return FCC_OK;
}

}  // extern "C"
