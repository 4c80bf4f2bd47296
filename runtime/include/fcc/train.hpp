// Training a compiled model in C++17: a wrapper over train.h, in five lines.
//
//   auto net = fcc::Trainer::load("net.so");                     // made by: fcc train net.onnx -o net.so --loss ...
//   for (int epoch = 0; epoch < 5; ++epoch) {
//     for (auto [x, y] : fcc::batches(images, labels, {64, true, 1, epoch})) net.step(x, y);
//     auto r = net.evaluate(test_images, test_labels);           // r.loss, r.accuracy
//     net.end_epoch(r.loss);                                     // for schedules that count epochs
//     net.save("run.safetensors");                               // atomic; resume(): as if it had never stopped
//   }
//   net.export_onnx("trained.onnx");
//
// Tensors are anything with data() and size(), an fcc::Array, or TensorRef(pointer, {dims}); they come in the order of
// the model's inputs, then the targets. Failures are fcc::Error. A Trainer serves one thread at a time; snapshot()
// gives other threads a Model to run meanwhile.
#pragma once

#include "fcc/data.hpp"
#include "fcc/fcc.hpp"
#include "fcc/train.h"

namespace fcc {

struct TrainerOptions {
  uint32_t threads = 0;        // as in SessionOptions
  const Pool* pool = nullptr;  // null: the one of the process
  fcc_on_nonfinite on_nonfinite = FCC_NONFINITE_STOP;
  uint32_t good_copy_steps = 0;  // 0: every 100 steps
};

// ---- schedules: text with names for its parts; docs/trainer.md has all forms ----
namespace detail {
class CallWriter {
 public:
  explicit CallWriter(const char* name) {
    text_ << name << "(";
    text_.imbue(std::locale::classic());
    text_.precision(17);
  }
  template <class T>
  CallWriter& add(const char* key, T value, T unless) {
    if (value != unless) text_ << (std::exchange(first_, false) ? "" : ", ") << key << "=" << value;
    return *this;
  }
  std::string text() const { return text_.str() + ")"; }

 private:
  std::ostringstream text_;
  bool first_ = true;
};
}  // namespace detail

// Exactly one of steps and epochs.
struct Cosine {
  int64_t steps = 0, epochs = 0, warmup = 0;
  double min_lr = 0;
  operator std::string() const {
    return detail::CallWriter("cosine")
        .add("steps", steps, int64_t{0})
        .add("epochs", epochs, int64_t{0})
        .add("warmup", warmup, int64_t{0})
        .add("min_lr", min_lr, 0.0)
        .text();
  }
};
struct StepLr {
  int64_t steps = 0, epochs = 0;
  double gamma = 0.1;
  operator std::string() const {
    return detail::CallWriter("step")
        .add("steps", steps, int64_t{0})
        .add("epochs", epochs, int64_t{0})
        .add("gamma", gamma, 0.1)
        .text();
  }
};
struct OneCycle {
  int64_t steps = 0, epochs = 0;
  double max_lr = 0, pct_start = 0.3;
  operator std::string() const {
    return detail::CallWriter("onecycle")
        .add("steps", steps, int64_t{0})
        .add("epochs", epochs, int64_t{0})
        .add("max_lr", max_lr, 0.0)
        .add("pct_start", pct_start, 0.3)
        .text();
  }
};
struct Plateau {
  double factor = 0.1;
  int64_t patience = 10;
  double min_lr = 0;
  operator std::string() const {
    return detail::CallWriter("plateau")
        .add("factor", factor, 0.1)
        .add("patience", patience, int64_t{10})
        .add("min_lr", min_lr, 0.0)
        .text();
  }
};

class Trainer {
 public:
  explicit Trainer(const Model& model, const TrainerOptions& options = {}) : model_(model) {
    fcc_trainer_options inner{};
    inner.bytes = sizeof inner;
    inner.threads = options.threads;
    inner.pool = options.pool ? options.pool->handle() : nullptr;
    inner.on_nonfinite = options.on_nonfinite;
    inner.good_copy_steps = options.good_copy_steps;
    fcc_trainer* trainer = nullptr;
    detail::check(fcc_trainer_create(model.handle(), &inner, &trainer));
    handle_.reset(trainer);
  }
  static Trainer load(const std::string& path, const TrainerOptions& options = {}) {
    return Trainer(Model(path), options);
  }

  // ---- steps
  // Forward, loss, backward, update; the loss of this batch, as it was before the update.
  template <class... Tensors>
  double step(const Tensors&... tensors) {
    return with_loss(fcc_trainer_step, tensors...);
  }
  // Any number of rows, batch_rows() at a time.
  template <class... Tensors>
  fcc_evaluation evaluate(const Tensors&... tensors) {
    const Refs<sizeof...(Tensors)> refs(tensors...);
    fcc_evaluation evaluation{};
    detail::check(fcc_trainer_evaluate(handle_.get(), refs.raw.data(), refs.count(), batch_rows_, &evaluation));
    return evaluation;
  }
  void batch_rows(int64_t rows) { batch_rows_ = rows; }
  // The first output on the live weights; others by prediction(name). Valid until the next prediction.
  template <class... Tensors>
  Values predict(const Tensors&... tensors) {
    const Refs<sizeof...(Tensors)> refs(tensors...);
    detail::check(fcc_trainer_predict(handle_.get(), refs.raw.data(), refs.count()));
    return prediction(0);
  }
  Values prediction(const Key& key) { return output("infer", key); }
  // An output of the last run of an entry.
  Values output(const char* entry, const Key& key) {
    fcc_session* session = this->session(entry);
    fcc_tensor tensor{};
    detail::check(fcc_session_output(session, key.index(session, fcc_session_find_output), &tensor));
    return Values(tensor);
  }
  // Models compiled with --gradients: gradients of micro-batches are averaged by apply().
  template <class... Tensors>
  double gradients(const Tensors&... tensors) {
    return with_loss(fcc_trainer_gradients, tensors...);
  }
  void apply() { detail::check(fcc_trainer_apply(handle_.get())); }
  void clear_gradients() { detail::check(fcc_trainer_clear_gradients(handle_.get())); }

  // ---- learning rate
  double lr(uint32_t group = 0) const {
    double lr = 0;
    detail::check(fcc_trainer_lr(handle_.get(), group, &lr));
    return lr;
  }
  void set_lr(double lr, uint32_t group = FCC_ALL_GROUPS) {
    detail::check(fcc_trainer_set_lr(handle_.get(), group, lr));
  }
  void schedule(const std::string& text) { detail::check(fcc_trainer_schedule(handle_.get(), text.c_str())); }
  void end_epoch(double metric) { detail::check(fcc_trainer_end_epoch(handle_.get(), metric)); }
  fcc_training_progress progress() const {
    fcc_training_progress progress{};
    detail::check(fcc_trainer_progress(handle_.get(), &progress));
    return progress;
  }

  // ---- weights: live views, which may be written between steps
  Values param(const std::string& name) { return state(name); }
  Values grad(const std::string& name) { return state("grad/" + name); }
  Values state(const std::string& name) {
    fcc_tensor tensor{};
    detail::check(fcc_trainer_state(handle_.get(), name.c_str(), &tensor));
    return Values(tensor);
  }
  // How many parameters match. Patterns are regular expressions, found anywhere in a name.
  uint32_t freeze(const std::string& pattern, bool frozen = true) {
    uint32_t count = 0;
    detail::check(fcc_trainer_freeze(handle_.get(), pattern.c_str(), frozen, &count));
    return count;
  }
  uint32_t reinit(const std::string& pattern, const std::string& initializer = "default") {
    uint32_t count = 0;
    detail::check(fcc_trainer_reinit(handle_.get(), pattern.c_str(), initializer.c_str(), &count));
    return count;
  }
  void seed(uint64_t seed) { detail::check(fcc_trainer_seed(handle_.get(), seed)); }
  // An immutable copy that any threads may run while this one goes on training.
  Model snapshot() {
    fcc_library* library = nullptr;
    detail::check(fcc_trainer_snapshot(handle_.get(), &library));
    return Model::adopt(library);
  }

  // ---- files
  void save(const std::string& path) { detail::check(fcc_trainer_save(handle_.get(), path.c_str())); }
  void resume(const std::string& path) { detail::check(fcc_trainer_resume(handle_.get(), path.c_str())); }
  void load_weights(const std::string& path) { detail::check(fcc_trainer_load_weights(handle_.get(), path.c_str())); }
  void export_onnx(const std::string& path) { detail::check(fcc_trainer_export_onnx(handle_.get(), path.c_str())); }
  void set_note(const std::string& key, const std::string& value) {
    detail::check(fcc_trainer_set_note(handle_.get(), key.c_str(), value.c_str()));
  }
  std::string note(const std::string& key) const {
    const char* value = fcc_trainer_note(handle_.get(), key.c_str());
    return value ? value : "";
  }

  // ---- looking inside
  // Belongs to the trainer: tables, outputs and profile of one entry.
  fcc_session* session(const char* entry) {
    fcc_session* session = fcc_trainer_session(handle_.get(), entry);
    if (session == nullptr) throw Error(FCC_NOT_FOUND, fcc_error_text());
    return session;
  }
  const Model& model() const { return model_; }
  fcc_trainer* handle() const { return handle_.get(); }

 private:
  template <size_t N>
  struct Refs {
    template <class... Tensors>
    explicit Refs(const Tensors&... tensors) : refs{TensorRef(tensors)...} {
      for (size_t i = 0; i < N; ++i) raw[i] = refs[i].raw();
    }
    uint32_t count() const { return static_cast<uint32_t>(N); }
    std::array<TensorRef, N> refs;
    std::array<fcc_tensor, N> raw;
  };
  template <class Call, class... Tensors>
  double with_loss(Call call, const Tensors&... tensors) {
    const Refs<sizeof...(Tensors)> refs(tensors...);
    double loss = 0;
    detail::check(call(handle_.get(), refs.raw.data(), refs.count(), &loss));
    return loss;
  }
  struct Close {
    void operator()(fcc_trainer* trainer) const { fcc_trainer_close(trainer); }
  };
  Model model_;
  std::unique_ptr<fcc_trainer, Close> handle_;
  int64_t batch_rows_ = 0;
};

}  // namespace fcc
