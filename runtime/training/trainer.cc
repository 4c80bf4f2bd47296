#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "text.h"

namespace fcc::runtime {
namespace {

constexpr int64_t kMostRollbacks = 10;  // to one copy: after that it cannot be luck
constexpr int64_t kDefaultCopySteps = 100;

// Elements of a float tensor up to the first that is infinite or NaN; n when there is none. Exponents of all ones, by
// blocks so that the compiler makes vectors of it.
template <class Word, Word kExponent>
int64_t first_nonfinite(const void* data, int64_t n) {
  constexpr int64_t kBlock = 1024;
  const Word* words = static_cast<const Word*>(data);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    int64_t end = std::min(n, begin + kBlock);
    Word bad = 0;
    for (int64_t i = begin; i < end; ++i) bad |= static_cast<Word>((words[i] & kExponent) == kExponent);
    if (bad == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if ((words[i] & kExponent) == kExponent) return i;
  }
  return n;
}

int64_t first_nonfinite(uint32_t dtype, const void* data, int64_t n) {
  if (dtype == FCC_F32) return first_nonfinite<uint32_t, 0x7f800000u>(data, n);
  if (dtype == FCC_F64) return first_nonfinite<uint64_t, 0x7ff0000000000000u>(data, n);
  if (dtype == FCC_F16) return first_nonfinite<uint16_t, 0x7c00u>(data, n);
  if (dtype == FCC_BF16) return first_nonfinite<uint16_t, 0x7f80u>(data, n);
  return n;
}

int64_t elements_of(const fcc_tensor& tensor) {
  int64_t n = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) n *= tensor.dims[i];
  return n;
}

}  // namespace

bool fit_rows(const fcc_slot& slot, const fcc_tensor& tensor, int64_t* dims) {
  if (tensor.dims == nullptr || tensor.strides != nullptr || tensor.rank == 0 || slot.rank == 0) return false;
  if (slot.rank == tensor.rank || slot.rank > kMostDims) return false;
  int64_t wanted = 1, given = 1;
  for (uint32_t axis = 1; axis < slot.rank; ++axis) {
    if (slot.dims[axis].kind != FCC_SIZE_FIXED) return false;
    wanted *= dims[axis] = slot.dims[axis].value;
  }
  for (uint32_t axis = 1; axis < tensor.rank; ++axis) given *= tensor.dims[axis];
  dims[0] = tensor.dims[0];
  return given == wanted;
}

fcc_status Trainer::create(const fcc_library& library, const SessionOptions& session, fcc_on_nonfinite on_nonfinite,
                           int64_t good_copy_steps, std::unique_ptr<Trainer>* trainer) {
  if (library.snapshot != nullptr)
    return fail(FCC_BAD_ARGUMENT, "a snapshot is immutable\n hint: make the trainer from the model's file");
  std::unique_ptr<Trainer> made(new Trainer(library));
  made->on_nonfinite_ = on_nonfinite;
  made->good_copy_steps_ = good_copy_steps > 0 ? good_copy_steps : kDefaultCopySteps;
  if (on_nonfinite == FCC_NONFINITE_SKIP) made->good_copy_steps_ = 1;
  FCC_RETURN_IF_FAILED(made->open_entries(session));
  FCC_RETURN_IF_FAILED(made->find_rates());
  *trainer = std::move(made);
  return FCC_OK;
}

fcc_status Trainer::open_entries(const SessionOptions& options) {
  const fcc_variant& variant = library_->variant();
  auto named = [&](const char* name) {
    return std::any_of(variant.entries, variant.entries + variant.n_entries,
                       [&](const fcc_entry& entry) { return std::strcmp(entry.name, name) == 0; });
  };
  if (!named("train_step") || model().n_states == 0)
    return fail(FCC_NOT_FOUND,
                "%s was compiled for inference: it has no entry \"train_step\"\n"
                " hint: fcc train net.onnx -o net.so --loss cross_entropy --optimizer adam",
                library_->path().c_str());
  SessionOptions first = options;
  first.entry = "train_step";
  std::unique_ptr<Session> session;
  FCC_RETURN_IF_FAILED(Session::create(library_, first, &session));
  core_ = session->core();
  for (uint32_t i = 0; i < variant.n_entries; ++i) {
    const char* name = variant.entries[i].name;
    std::unique_ptr<Session> sibling;
    if (std::strcmp(name, "train_step") == 0)
      sibling = std::move(session);
    else
      sibling = std::make_unique<Session>(core_, variant.entries[i]);
    entries_.push_back({name, std::make_unique<fcc_session>()});
    entries_.back().session->session = std::move(sibling);
  }
  train_ = find_entry("train_step");
  evaluate_ = find_entry("evaluate");
  infer_ = find_entry("infer");
  gradients_ = find_entry("gradients");
  apply_ = find_entry("apply");
  return FCC_OK;
}

Session* Trainer::find_entry(const char* name) const {
  for (const Entry& entry : entries_)
    if (entry.name == name) return entry.session->session.get();
  return nullptr;
}

fcc_status Trainer::session(const char* name, fcc_session** session) {
  for (const Entry& entry : entries_)
    if (entry.name == name) {
      *session = entry.session.get();
      return FCC_OK;
    }
  return fail(FCC_NOT_FOUND, "no entry \"%s\"%s", name,
              name_help(name, static_cast<uint32_t>(entries_.size()), [&](uint32_t i) {
                return entries_[i].name.c_str();
              }).c_str());
}

fcc_status Trainer::need(const char* entry, const char* compile_with, Session** session) const {
  *session = find_entry(entry);
  if (*session != nullptr) return FCC_OK;
  return fail(FCC_NOT_FOUND, "%s has no entry \"%s\"\n hint: compile it with: fcc train %s", library_->path().c_str(),
              entry, compile_with);
}

fcc_status Trainer::find_rates() {
  uint32_t index = 0;
  for (std::string name = "hyper/lr"; find_state(name, &index); name = "hyper/lr." + std::to_string(rates_.size())) {
    if (row(index).dtype != FCC_F64 || row(index).rank != 0)
      return fail(FCC_BAD_LIBRARY, "%s has inconsistent tables: state \"%s\" is no f64[]", library_->path().c_str(),
                  name.c_str());
    double base;
    std::memcpy(&base, value_of(index), sizeof base);
    rates_.push_back({index, base});
  }
  return FCC_OK;
}

bool Trainer::find_state(const std::string& name, uint32_t* index) const {
  for (uint32_t i = 0; i < model().n_states; ++i)
    if (name == row(i).name) {
      *index = i;
      return true;
    }
  return false;
}

// ---- steps ----------------------------------------------------------------------------------------------------------

fcc_status Trainer::bind(Session& session, const fcc_tensor* tensors, uint32_t count) {
  const fcc_entry& entry = session.entry();
  if (count != entry.n_inputs) {
    std::string wanted;
    for (uint32_t i = 0; i < entry.n_inputs; ++i)
      wanted += std::string(i ? ", \"" : "\"") + entry.inputs[i].name + "\" " + slot_text(entry, entry.inputs[i]);
    return fail(FCC_BAD_ARGUMENT, "entry \"%s\" takes %u tensors, got %u\n hint: in this order: %s", entry.name,
                entry.n_inputs, count, wanted.c_str());
  }
  session.unbind_inputs();
  for (uint32_t i = 0; i < count; ++i) {
    const fcc_tensor& tensor = tensors[i];
    const fcc_slot& slot = entry.inputs[i];
    int64_t dims[kMostDims];
    if (fit_rows(slot, tensor, dims))
      FCC_RETURN_IF_FAILED(session.bind_input(i, {tensor.data, tensor.dtype, slot.rank, dims, nullptr}));
    else if (tensor.rank == 1 && slot.rank != 1 && tensor.dims != nullptr && tensor.strides == nullptr)
      FCC_RETURN_IF_FAILED(session.bind_flat_input(i, tensor.dtype, tensor.data, tensor.dims[0]));
    else
      FCC_RETURN_IF_FAILED(session.bind_input(i, tensor));
  }
  return FCC_OK;
}

// Runs and reads the loss, when the entry has one.
fcc_status Trainer::run(Session& session, double* loss) {
  FCC_RETURN_IF_FAILED(session.run());
  const fcc_entry& entry = session.entry();
  for (uint32_t i = 0; loss != nullptr && i < entry.n_outputs; ++i) {
    if (std::strcmp(entry.outputs[i].name, "loss") != 0) continue;
    fcc_tensor tensor{};
    FCC_RETURN_IF_FAILED(session.output(i, &tensor));
    if (tensor.dtype == FCC_F32)
      *loss = static_cast<double>(*static_cast<const float*>(tensor.data));
    else if (tensor.dtype == FCC_F64)
      *loss = *static_cast<const double*>(tensor.data);
  }
  return FCC_OK;
}

int64_t Trainer::schedule_time() const {
  int64_t time = schedule_.by_step() ? progress_.steps - schedule_first_step_ : progress_.epoch - schedule_first_epoch_;
  return std::max<int64_t>(time, 0);  // rolled back to before the schedule was set
}

double Trainer::rate(uint32_t group) const {
  return schedule_.rate(rates_[group].base, rates_[0].base, schedule_time());
}

void Trainer::write_rates() {
  for (uint32_t i = 0; i < rates_.size(); ++i) {
    double value = rate(i);
    std::memcpy(value_of(rates_[i].state), &value, sizeof value);
  }
}

void Trainer::capture(Kept* kept) const {
  std::memcpy(kept->value.data(), value_of(kept->state), kept->value.size());
}

void Trainer::put_back(const std::vector<Kept>& all) {
  for (const Kept& kept : all) std::memcpy(value_of(kept.state), kept.value.data(), kept.value.size());
}

const char* Trainer::first_nonfinite_state() const {
  for (uint32_t i = 0; i < model().n_states; ++i) {
    int64_t elements = row(i).bytes / std::max<int64_t>(1, dtype_bytes(row(i).dtype));
    if (row(i).role != FCC_STATE_GRADIENT && first_nonfinite(row(i).dtype, value_of(i), elements) < elements)
      return row(i).name;
  }
  return nullptr;
}

// A copy of the state that is known to be good, for the time when it no longer is.
fcc_status Trainer::copy_when_due() {
  if (on_nonfinite_ == FCC_NONFINITE_IGNORE || (good_.valid && steps_since_copy_ < good_copy_steps_)) return FCC_OK;
  if (const char* name = first_nonfinite_state()) {
    if (!good_.valid) {
      return fail(FCC_NOT_FINITE,
                  "state \"%s\" holds an infinite or undefined value before the first step\n"
                  " hint: look at the weights in the source model or in the checkpoint",
                  name);
    }
    return not_finite(name, nullptr, 0);  // afterwards the state is the copy
  }
  good_.state.ensure(model().state_arena_bytes);
  std::memcpy(good_.state.data(), arena(), static_cast<size_t>(model().state_arena_bytes));
  good_.steps = progress_.steps;
  good_.valid = true;
  good_.rollbacks = 0;
  steps_since_copy_ = 0;
  return FCC_OK;
}

// The epoch goes on: only what the state says is as it was.
void Trainer::roll_back() {
  std::memcpy(arena(), good_.state.data(), static_cast<size_t>(model().state_arena_bytes));
  progress_.steps = good_.steps;
  steps_since_copy_ = 0;
}

// The loss (state null) or a state has gone bad: puts the last good copy back and says so, or goes on, as the options
// say. A model that notices itself has changed nothing by then.
fcc_status Trainer::not_finite(const char* state, const fcc_tensor* tensors, uint32_t count) {
  int64_t step = progress_.steps + 1;
  std::string what = state != nullptr ? "\"" + std::string(state) + "\" holds an infinite or undefined value"
                                      : "the loss is not finite";
  std::string hint = "lower the learning rate, clip gradients (fcc train --clip-norm 1), or look at the data";
  for (uint32_t i = 0; i < count; ++i) {
    int64_t elements = elements_of(tensors[i]), bad = first_nonfinite(tensors[i].dtype, tensors[i].data, elements);
    if (bad < elements)
      hint = "input \"" + std::string(train_->entry().inputs[i].name) + "\" is not finite at element " +
             std::to_string(bad) + " of this batch";
  }
  bool stops = on_nonfinite_ == FCC_NONFINITE_STOP;
  if (std::string culprit; stops && state == nullptr && !(culprit = train_->first_nonfinite_step()).empty())
    what += "; the first value that is not comes from " + culprit;
  if (tensors != nullptr) ++progress_.epoch_steps;  // this batch is used up
  if (on_nonfinite_ == FCC_NONFINITE_SKIP) {
    if (state != nullptr) roll_back();
    ++progress_.skipped;
    return FCC_OK;
  }
  if (state != nullptr || on_nonfinite_ == FCC_NONFINITE_ROLLBACK) {
    roll_back();
    ++progress_.rolled_back;
    ++good_.rollbacks;
  }
  if (on_nonfinite_ == FCC_NONFINITE_ROLLBACK && good_.rollbacks < kMostRollbacks) return FCC_OK;
  return fail(FCC_NOT_FINITE, "step %lld: %s; the state is that of step %lld\n hint: %s", static_cast<long long>(step),
              what.c_str(), static_cast<long long>(progress_.steps), hint.c_str());
}

fcc_status Trainer::step(const fcc_tensor* tensors, uint32_t count, double* loss) {
  FCC_RETURN_IF_FAILED(bind(*train_, tensors, count));
  FCC_RETURN_IF_FAILED(copy_when_due());
  write_rates();
  double value = std::numeric_limits<double>::quiet_NaN();
  bool watched = on_nonfinite_ != FCC_NONFINITE_IGNORE;
  if (fcc_status status = run(*train_, &value); status != FCC_OK) {
    if (!watched || status != FCC_FAULT || std::strstr(error_text(), "not finite") == nullptr) return status;
    if (loss != nullptr) *loss = value;
    return not_finite(nullptr, tensors, count);
  }
  if (loss != nullptr) *loss = value;
  put_back(frozen_);
  if (on_nonfinite_ == FCC_NONFINITE_SKIP)
    if (const char* state = first_nonfinite_state()) return not_finite(state, tensors, count);
  ++progress_.steps;
  ++progress_.epoch_steps;
  ++steps_since_copy_;
  return FCC_OK;
}

fcc_status Trainer::predict(const fcc_tensor* tensors, uint32_t count) {
  Session* session = nullptr;
  FCC_RETURN_IF_FAILED(need("infer", "(any release)", &session));
  FCC_RETURN_IF_FAILED(bind(*session, tensors, count));
  return session->run();
}

fcc_status Trainer::gradients(const fcc_tensor* tensors, uint32_t count, double* loss) {
  Session* session = nullptr;
  FCC_RETURN_IF_FAILED(need("gradients", "--gradients", &session));
  FCC_RETURN_IF_FAILED(bind(*session, tensors, count));
  FCC_RETURN_IF_FAILED(run(*session, loss));
  gradients_pending_ = true;
  return FCC_OK;
}

fcc_status Trainer::apply() {
  Session* session = nullptr;
  FCC_RETURN_IF_FAILED(need("apply", "--gradients", &session));
  bool watched = on_nonfinite_ != FCC_NONFINITE_IGNORE;
  FCC_RETURN_IF_FAILED(copy_when_due());
  for (uint32_t i = 0; watched && i < model().n_states; ++i) {
    if (row(i).role != FCC_STATE_GRADIENT) continue;
    int64_t elements = row(i).bytes / std::max<int64_t>(1, dtype_bytes(row(i).dtype));
    if (first_nonfinite(row(i).dtype, value_of(i), elements) == elements) continue;
    fcc_status status = not_finite(row(i).name, nullptr, 0);
    clear_gradients();
    return status;
  }
  write_rates();
  FCC_RETURN_IF_FAILED(session->run());
  put_back(frozen_);
  gradients_pending_ = false;
  ++progress_.steps;
  ++progress_.epoch_steps;
  ++steps_since_copy_;
  return FCC_OK;
}

fcc_status Trainer::clear_gradients() {
  for (uint32_t i = 0; i < model().n_states; ++i)
    if (row(i).role == FCC_STATE_GRADIENT || std::strcmp(row(i).name, "hyper/accumulated") == 0)
      std::memset(value_of(i), 0, static_cast<size_t>(row(i).bytes));
  gradients_pending_ = false;
  return FCC_OK;
}

// ---- learning rate --------------------------------------------------------------------------------------------------

void Trainer::set_rate(uint32_t group, double lr) {
  if (group != FCC_ALL_GROUPS) {
    rates_[group].base = lr;
    return;
  }
  double first = rates_[0].base;
  for (Rate& rate : rates_) rate.base = first != 0 ? rate.base / first * lr : lr;
  rates_[0].base = lr;
}

fcc_status Trainer::set_schedule(const std::string& text) {
  FCC_RETURN_IF_FAILED(Schedule::parse(text, &schedule_));
  schedule_first_step_ = progress_.steps;
  schedule_first_epoch_ = progress_.epoch;
  return FCC_OK;
}

void Trainer::end_epoch(double metric) {
  schedule_.observe(metric);
  ++progress_.epoch;
  progress_.epoch_steps = 0;
}

}  // namespace fcc::runtime
