// The C interface of training: null checks, index checks, one call at a time, and nothing thrown past here.
#include "training/trainer.h"

namespace rt = fcc::runtime;

struct fcc_trainer {
  std::unique_ptr<rt::Trainer> trainer;
};

namespace {

// Runs `body` when no other thread is in a call on the same trainer.
template <class Body>
fcc_status exclusively(fcc_trainer* trainer, Body&& body) {
  rt::Trainer& t = *trainer->trainer;
  if (t.busy().exchange(true, std::memory_order_acquire))
    return rt::fail(FCC_BUSY,
                    "this trainer is working in another thread\n"
                    " hint: other threads predict on a snapshot, or train a trainer of their own");
  fcc_status status = rt::guarded([&] { return body(t); });
  t.busy().store(false, std::memory_order_release);
  return status;
}

fcc_status check_group(const rt::Trainer& trainer, uint32_t group) {
  if (trainer.groups() == 0)
    return rt::fail(FCC_NOT_FOUND, "the model has no learning rate: it has no state \"hyper/lr\"");
  return group < trainer.groups() ? FCC_OK : rt::past_end("parameter group", group, trainer.groups());
}

}  // namespace

extern "C" {

fcc_status fcc_trainer_create(fcc_library* library, const fcc_trainer_options* options, fcc_trainer** trainer) {
  FCC_REFUSE_NULL(library);
  FCC_REFUSE_NULL(trainer);
  if (options != nullptr && options->bytes != sizeof *options)
    return rt::fail(FCC_BAD_ARGUMENT,
                    "options->bytes is %u, expected %zu\n hint: set it to sizeof(fcc_trainer_options)", options->bytes,
                    sizeof *options);
  if (options != nullptr && options->on_nonfinite > FCC_NONFINITE_IGNORE)
    return rt::fail(FCC_BAD_ARGUMENT, "on_nonfinite is %u, expected 0 to %d", options->on_nonfinite,
                    FCC_NONFINITE_IGNORE);
  return rt::guarded([&] {
    rt::SessionOptions session;
    fcc_trainer_options given = {};
    if (options != nullptr) given = *options;
    session.threads = given.threads;
    if (given.pool != nullptr) session.pool = given.pool->pool;
    auto made = std::make_unique<fcc_trainer>();
    FCC_RETURN_IF_FAILED(rt::Trainer::create(*library, session, static_cast<fcc_on_nonfinite>(given.on_nonfinite),
                                             given.good_copy_steps, &made->trainer));
    *trainer = made.release();
    return FCC_OK;
  });
}

void fcc_trainer_close(fcc_trainer* trainer) {
  delete trainer;
}

fcc_session* fcc_trainer_session(fcc_trainer* trainer, const char* entry) {
  fcc_session* session = nullptr;
  if (trainer == nullptr || entry == nullptr)
    rt::null_argument(__func__, trainer == nullptr ? "trainer" : "entry");
  else
    rt::guarded([&] { return trainer->trainer->session(entry, &session); });
  return session;
}

fcc_status fcc_trainer_step(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count, double* loss) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(tensors);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.step(tensors, count, loss); });
}

fcc_status fcc_trainer_predict(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(tensors);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.predict(tensors, count); });
}

fcc_status fcc_trainer_evaluate(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count, int64_t batch_rows,
                                fcc_evaluation* evaluation) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(tensors);
  FCC_REFUSE_NULL(evaluation);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.evaluate(tensors, count, batch_rows, evaluation); });
}

fcc_status fcc_trainer_gradients(fcc_trainer* trainer, const fcc_tensor* tensors, uint32_t count, double* loss) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(tensors);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.gradients(tensors, count, loss); });
}

fcc_status fcc_trainer_apply(fcc_trainer* trainer) {
  FCC_REFUSE_NULL(trainer);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.apply(); });
}

fcc_status fcc_trainer_clear_gradients(fcc_trainer* trainer) {
  FCC_REFUSE_NULL(trainer);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.clear_gradients(); });
}

uint32_t fcc_trainer_groups(const fcc_trainer* trainer) {
  return trainer ? trainer->trainer->groups() : 0;
}

fcc_status fcc_trainer_lr(const fcc_trainer* trainer, uint32_t group, double* lr) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(lr);
  FCC_RETURN_IF_FAILED(check_group(*trainer->trainer, group));
  *lr = trainer->trainer->rate(group);
  return FCC_OK;
}

fcc_status fcc_trainer_set_lr(fcc_trainer* trainer, uint32_t group, double lr) {
  FCC_REFUSE_NULL(trainer);
  if (!(lr >= 0 && lr <= 1e30))
    return rt::fail(FCC_BAD_ARGUMENT, "the learning rate is %g, expected a number from 0", lr);
  return exclusively(trainer, [&](rt::Trainer& t) {
    FCC_RETURN_IF_FAILED(check_group(t, group == FCC_ALL_GROUPS ? 0 : group));
    t.set_rate(group, lr);
    return FCC_OK;
  });
}

fcc_status fcc_trainer_schedule(fcc_trainer* trainer, const char* text) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(text);
  return exclusively(trainer, [&](rt::Trainer& t) {
    FCC_RETURN_IF_FAILED(check_group(t, 0));
    return t.set_schedule(text);
  });
}

fcc_status fcc_trainer_end_epoch(fcc_trainer* trainer, double metric) {
  FCC_REFUSE_NULL(trainer);
  return exclusively(trainer, [&](rt::Trainer& t) {
    t.end_epoch(metric);
    return FCC_OK;
  });
}

fcc_status fcc_trainer_progress(const fcc_trainer* trainer, fcc_training_progress* progress) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(progress);
  *progress = trainer->trainer->progress();
  return FCC_OK;
}

fcc_status fcc_trainer_state(fcc_trainer* trainer, const char* name, fcc_tensor* tensor) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(name);
  FCC_REFUSE_NULL(tensor);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.state(name, tensor); });
}

fcc_status fcc_trainer_freeze(fcc_trainer* trainer, const char* pattern, int frozen, uint32_t* count) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(pattern);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.freeze(pattern, frozen != 0, count); });
}

fcc_status fcc_trainer_reinit(fcc_trainer* trainer, const char* pattern, const char* initializer, uint32_t* count) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(pattern);
  FCC_REFUSE_NULL(initializer);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.reinitialize(pattern, initializer, count); });
}

fcc_status fcc_trainer_seed(fcc_trainer* trainer, uint64_t seed) {
  FCC_REFUSE_NULL(trainer);
  return exclusively(trainer, [&](rt::Trainer& t) {
    t.set_seed(seed);
    return FCC_OK;
  });
}

fcc_status fcc_trainer_snapshot(fcc_trainer* trainer, fcc_library** library) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(library);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.snapshot(library); });
}

fcc_status fcc_trainer_save(fcc_trainer* trainer, const char* path) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(path);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.save(path); });
}

fcc_status fcc_trainer_resume(fcc_trainer* trainer, const char* path) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(path);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.resume(path); });
}

fcc_status fcc_trainer_load_weights(fcc_trainer* trainer, const char* path) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(path);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.load_weights(path); });
}

fcc_status fcc_trainer_set_note(fcc_trainer* trainer, const char* key, const char* value) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(key);
  return exclusively(trainer, [&](rt::Trainer& t) {
    t.set_note(key, value);
    return FCC_OK;
  });
}

const char* fcc_trainer_note(const fcc_trainer* trainer, const char* key) {
  return trainer && key ? trainer->trainer->note(key) : nullptr;
}

fcc_status fcc_trainer_export_onnx(fcc_trainer* trainer, const char* path) {
  FCC_REFUSE_NULL(trainer);
  FCC_REFUSE_NULL(path);
  return exclusively(trainer, [&](rt::Trainer& t) { return t.export_onnx(path); });
}

}  // extern "C"
