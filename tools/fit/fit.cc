#include "tools/fit/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "fcc/train.hpp"
#include "tools/files.h"
#include "tools/fit/gather.h"
#include "tools/fit/judge.h"
#include "tools/fit/ranks.h"
#include "tools/runtime_error.h"

namespace fcc {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kPictureValues = 4096;  // of a weight, for its histogram
constexpr int64_t kSampleRows = 64;       // for the histograms of activations

// Rows of a mean, weighted.
struct Mean {
  double sum = 0, weight = 0;
  void add(double value, double n) { sum += value * n, weight += n; }
  double value() const { return weight > 0 ? sum / weight : kNone; }
};

std::string time_text(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

// A schedule without its length takes that of the run.
std::string with_length(std::string schedule, int64_t steps) {
  const std::string name = schedule.substr(0, schedule.find('('));
  const bool needs = name == "cosine" || name == "onecycle" || name == "linear";
  if (!needs || schedule.find("steps") != schedule.npos || schedule.find("epochs") != schedule.npos) return schedule;
  const size_t open = schedule.find('(');
  if (open == schedule.npos) return fmt::format("{}(steps={})", schedule, steps);
  const bool empty = schedule.find_first_not_of(' ', open + 1) == schedule.find(')');
  return schedule.substr(0, open + 1) + fmt::format("steps={}{}", steps, empty ? "" : ", ") + schedule.substr(open + 1);
}

class Fit {
 public:
  Fit(const FitOptions& options, const std::string& model_schedule, const FitEvents& events, Ranks* ranks)
      : o_(options),
        events_(events),
        ranks_(ranks),
        model_(options.model),
        trainer_(make_trainer()),
        model_schedule_(model_schedule) {}

  Result<FitResult> run() {
    FCC_CHECKED(read_data());
    FCC_CHECKED(start());
    picture(false);
    while (trainer_.progress().epoch < o_.epochs && !result_.interrupted) FCC_CHECKED(epoch());
    FCC_CHECKED(finish());
    return std::move(result_);
  }

 private:
  // ---- data
  Trainer make_trainer() {
    TrainerOptions t;
    t.threads = static_cast<uint32_t>(o_.threads);
    t.on_nonfinite = o_.on_nonfinite;
    if (o_.threads > 0) {
      pool_ = std::make_unique<Pool>(t.threads);
      t.pool = pool_.get();
    }
    return Trainer(model_, t);
  }
  const fcc_entry& table(const char* name) { return *fcc_session_table(trainer_.session(name)); }
  bool first_rank() const { return ranks_ == nullptr || ranks_->rank() == 0; }
  int64_t size() const { return ranks_ ? ranks_->size() : 1; }

  Status read_data() {
    const fcc_entry& step = table("train_step");
    if (step.n_outputs == 0 || std::strcmp(step.outputs[0].name, "loss") != 0)
      return fail("the model was compiled without a loss: its gradients come from a program", {},
                  "compile it with --loss, or train it with fcc::Trainer");
    data_inputs_ = table("infer").n_inputs;
    std::vector<int64_t> classes;
    for (uint32_t t = data_inputs_; t < step.n_inputs; ++t) classes.push_back(class_count(step, t));
    FCC_TRY(train_, load_data(o_.data, step, data_inputs_));
    if (!o_.validation.data.empty()) {
      FCC_TRY(validation_, load_data(o_.validation, step, data_inputs_));
    } else if (o_.validation_split > 0) {
      auto [kept, held] = split_rows(train_.rows(), o_.validation_split, o_.seed);
      if (kept.empty() || held.empty())
        return fail(
            fmt::format("{} rows cannot be split, {} of them for validation", train_.rows(), o_.validation_split));
      for (const Array& a : train_.targets)  // before rows are taken by number
        if (a.rows() != train_.rows()) return prepare_data(train_, step, data_inputs_, {}, classes, "training data");
      validation_ = take_rows(train_, held);
      train_ = take_rows(train_, kept);
    }
    Preparation p = o_.preparation;
    if (o_.standardize && train_.rows() > 0) p.columns = moments(train_.inputs[0]);
    FCC_CHECKED(prepare_data(train_, step, data_inputs_, p, classes, "training data"));
    if (!validation_.inputs.empty())
      FCC_CHECKED(prepare_data(validation_, step, data_inputs_, p, classes, "validation data"));
    result_.train_rows = train_.rows();
    result_.validation_rows = validation_.rows();
    return fit_batch();
  }

  // The batch size that the model takes.
  Status fit_batch() {
    const fcc_entry& step = table("train_step");
    batch_ = std::min(o_.batch_size, train_.rows());
    if (step.n_inputs == 0 || step.inputs[0].rank == 0) return fail("the model's input has no rows to make batches of");
    const fcc_size& rows = step.inputs[0].dims[0];
    if (rows.kind == FCC_SIZE_SYMBOL) {
      const fcc_symbol& n = step.symbols[rows.index];
      if (o_.batch_size >= n.min && o_.batch_size <= n.max) return {};
      return fail(fmt::format("--batch-size {}: the model was compiled for {} from {} to {}", o_.batch_size, n.name,
                              n.min, n.max),
                  {}, fmt::format("choose a batch within it, or compile with --dim {}=1..{}", n.name, o_.batch_size));
    }
    if (rows.value > train_.rows())
      return fail(fmt::format("the model takes batches of {} rows, the data has {}", rows.value, train_.rows()));
    if (rows.value != o_.batch_size)
      result_.notes.push_back(
          fmt::format("the model's batch is fixed: {} rows a step; short batches are left out", rows.value));
    batch_ = rows.value;
    fixed_batch_ = true;
    return {};
  }

  int64_t batches() const {
    const bool whole = o_.drop_last || fixed_batch_;
    return std::max<int64_t>(1, whole ? train_.rows() / batch_ : (train_.rows() + batch_ - 1) / batch_);
  }

  // ---- the state to start from
  Status start() {
    const fcc_model& m = model_.table();
    for (uint32_t i = 0; i < m.n_states; ++i)
      if (m.states[i].role == FCC_STATE_PARAMETER)
        result_.parameters += m.states[i].bytes / fcc_dtype_bytes(m.states[i].dtype);
    trainer_.seed(o_.seed + (ranks_ ? static_cast<uint64_t>(ranks_->rank()) : 0));
    if (!o_.resume.empty()) {
      FCC_CHECKED(resume());
    } else {
      FCC_CHECKED(fresh());
    }
    for (const std::string& pattern : o_.freeze) trainer_.freeze(pattern);
    gather_.emplace(train_, batch_, o_.shuffle, o_.seed);
    if (o_.collect) detail::check(fcc_session_set_profile(trainer_.session(step_entry()), 1));
    return {};
  }

  const char* step_entry() const { return ranks_ ? "gradients" : "train_step"; }

  Status fresh() {
    if (!o_.weights.empty()) trainer_.load_weights(o_.weights);
    for (const std::string& init : o_.init) {
      const size_t equals = init.find('=');
      if (equals == init.npos)
        return fail(fmt::format("--init {}: expected PATTERN=INITIALIZER", init), {},
                    "--init '.*weight=kaiming_normal(nonlinearity=relu)'");
      trainer_.reinit(init.substr(0, equals), init.substr(equals + 1));
    }
    set_rates(model_schedule_);
    trainer_.set_note("fit.seed", std::to_string(o_.seed));
    trainer_.set_note("fit.batch", std::to_string(batch_));
    trainer_.set_note("fit.rows", std::to_string(train_.rows()));
    return {};
  }

  // What was set before and is given again, as in a repeated command line, goes on instead of starting anew.
  void set_rates(const std::string& otherwise) {
    const std::string lr = o_.lr ? fmt::format("{}", *o_.lr) : "";
    if (o_.lr && trainer_.note("fit.lr") != lr) trainer_.set_lr(*o_.lr);
    if (o_.lr) trainer_.set_note("fit.lr", lr);
    const std::string given = o_.schedule.empty() ? otherwise : o_.schedule;
    const std::string schedule = given.empty() ? "" : with_length(given, o_.epochs * batches());
    if (schedule.empty() || trainer_.note("fit.schedule") == schedule) return;
    trainer_.schedule(schedule);
    trainer_.set_note("fit.schedule", schedule);
  }

  Status resume() {
    trainer_.resume(o_.resume);
    const std::pair<const char*, int64_t> same[] = {
        {"fit.seed", static_cast<int64_t>(o_.seed)}, {"fit.batch", batch_}, {"fit.rows", train_.rows()}};
    for (const auto& [key, now] : same)
      if (const std::string then = trainer_.note(key); !then.empty() && then != std::to_string(now))
        return fail(
            fmt::format("{} was saved with {} {}, now it is {}", o_.resume, std::string(key).substr(4), then, now), {},
            "resume with the same --seed, --batch-size and data; or start from its weights: --weights");
    if (ranks_ && ranks_->rank() > 0) trainer_.seed(o_.seed + static_cast<uint64_t>(ranks_->rank()));
    set_rates("");
    if (const std::string best = trainer_.note("fit.best"); !best.empty()) {
      result_.best_loss = std::strtod(best.c_str(), nullptr);
      result_.best_epoch = std::atoll(trainer_.note("fit.best_epoch").c_str());
      result_.best_accuracy = std::strtod(trainer_.note("fit.best_accuracy").c_str(), nullptr);
    }
    std::error_code ignored;
    if (!o_.log.empty() && std::filesystem::exists(o_.log, ignored)) {
      FCC_TRY(result_.history, read_history(o_.log, trainer_.progress().epoch));
    }
    if (trainer_.progress().epoch >= o_.epochs)
      result_.notes.push_back(fmt::format("{} has all of its {} epochs behind it: nothing is left to train", o_.resume,
                                          trainer_.progress().epoch));
    return {};
  }

  // ---- training
  Status epoch() {
    const int64_t number = trainer_.progress().epoch, all = batches();
    gather_->set_epoch(number);
    Mean loss, accuracy;
    const double rate_now = trainer_.lr();
    double rows_done = 0;
    const auto began = Clock::now();
    auto told = began;
    for (int64_t b = trainer_.progress().epoch_steps; b < all && !result_.interrupted; ++b) {
      const int64_t first = b * batch_, n = std::min(batch_, train_.rows() - first);
      FCC_CHECKED(step(first, n, loss, accuracy));
      rows_done += static_cast<double>(n);
      result_.interrupted = events_.interrupted && events_.interrupted();
      const int64_t steps = trainer_.progress().steps;
      if (o_.checkpoint_steps > 0 && steps % o_.checkpoint_steps == 0) save(o_.checkpoint);
      if (events_.progress && std::chrono::duration<double>(Clock::now() - told).count() > 0.1) {
        told = Clock::now();
        const double rate = rows_done / seconds_since(began);
        const double left =
            static_cast<double>((all - b - 1) + (o_.epochs - number - 1) * all) * static_cast<double>(batch_) / rate;
        events_.progress(
            fmt::format("epoch {}/{}  {}/{}  loss {:.4f}{}  {:.0f} samples/s  {} left", number + 1, o_.epochs, b + 1,
                        all, loss.value(),
                        std::isnan(accuracy.value()) ? "" : fmt::format("  accuracy {:.2f} %", 100 * accuracy.value()),
                        rate, time_text(left)));
      }
    }
    if (result_.interrupted) {
      save(o_.checkpoint);
      return {};
    }
    const double seconds = seconds_since(began);
    EpochRow row{.epoch = number + 1,
                 .steps = trainer_.progress().steps,
                 .lr = rate_now,
                 .loss = loss.value(),
                 .accuracy = accuracy.value(),
                 .val_loss = kNone,
                 .val_accuracy = kNone,
                 .seconds = seconds,
                 .rows_per_second = rows_done / seconds};
    return end_epoch(row);
  }

  Status step(int64_t first, int64_t n, Mean& loss, Mean& accuracy) {
    double value = kNone;
    int64_t judged = 0, correct = 0;
    auto count = [&](std::span<const fcc_tensor> batch) {
      judge_outputs(trainer_.session(step_entry()), batch, data_inputs_,
                    [&](int64_t label, int64_t best) { ++judged, correct += label == best; });
    };
    if (ranks_ == nullptr) {
      const std::span<const fcc_tensor> batch = gather_->rows(first, n);
      const int64_t skipped = trainer_.progress().skipped + trainer_.progress().rolled_back;
      detail::check(fcc_trainer_step(trainer_.handle(), batch.data(), static_cast<uint32_t>(batch.size()), &value));
      if (trainer_.progress().skipped + trainer_.progress().rolled_back > skipped) return {};
      count(batch);
    } else {
      const int64_t r = ranks_->rank(), mine = first + n * r / size(), share = first + n * (r + 1) / size() - mine;
      double sums[3] = {};
      if (share > 0) {
        const std::span<const fcc_tensor> batch = gather_->rows(mine, share);
        detail::check(
            fcc_trainer_gradients(trainer_.handle(), batch.data(), static_cast<uint32_t>(batch.size()), &value));
        count(batch);
        sums[0] = value * static_cast<double>(share), sums[1] = static_cast<double>(judged),
        sums[2] = static_cast<double>(correct);
      }
      FCC_CHECKED(average_gradients(static_cast<double>(share) / static_cast<double>(n)));
      trainer_.apply();
      FCC_CHECKED(ranks_->sum(std::span<double>(sums)));
      value = sums[0] / static_cast<double>(n);
      judged = static_cast<int64_t>(sums[1]), correct = static_cast<int64_t>(sums[2]);
    }
    loss.add(value, static_cast<double>(n));
    if (judged > 0)
      accuracy.add(static_cast<double>(correct) / static_cast<double>(judged), static_cast<double>(judged));
    result_.history.step_losses.push_back(static_cast<float>(value));
    return {};
  }

  // The gradient of the whole batch from those of the ranks' shares, each of weight `share`.
  Status average_gradients(double share) {
    const fcc_model& m = model_.table();
    for (uint32_t i = 0; i < m.n_states; ++i) {
      const bool counter = std::strcmp(m.states[i].name, "hyper/accumulated") == 0;
      if (m.states[i].role != FCC_STATE_GRADIENT && !counter) continue;
      Values values = trainer_.state(m.states[i].name);
      if (counter) {
        values.as<int64_t>()[0] = 1;
      } else if (m.states[i].dtype == FCC_F32) {
        Span<float> g = values.as<float>();
        for (float& x : g) x *= static_cast<float>(share);
        FCC_CHECKED(ranks_->sum(std::span(g.data(), g.size())));
      } else {
        Span<double> g = values.as<double>();
        for (double& x : g) x *= share;
        FCC_CHECKED(ranks_->sum(std::span(g.data(), g.size())));
      }
    }
    return {};
  }

  // Running statistics are each rank's own until here.
  Status average_buffers() {
    const fcc_model& m = model_.table();
    for (uint32_t i = 0; i < m.n_states; ++i) {
      if (m.states[i].role != FCC_STATE_BUFFER || m.states[i].dtype != FCC_F32) continue;
      Span<float> b = trainer_.state(m.states[i].name).as<float>();
      for (float& x : b) x /= static_cast<float>(size());
      FCC_CHECKED(ranks_->sum(std::span(b.data(), b.size())));
    }
    return {};
  }

  // A fixed batch leaves out the rows that do not fill one.
  fcc_evaluation evaluate(const DataSet& set) {
    const int64_t rows = fixed_batch_ ? set.rows() / batch_ * batch_ : set.rows();
    Gatherer gather(set, 0, false, 0);
    const std::span<const fcc_tensor> all = gather.rows(0, rows);
    fcc_evaluation e{};
    detail::check(fcc_trainer_evaluate(trainer_.handle(), all.data(), static_cast<uint32_t>(all.size()), 0, &e));
    return e;
  }

  Status end_epoch(EpochRow row) {
    if (ranks_) FCC_CHECKED(average_buffers());
    bool best = false;
    if (validation_.rows() > 0) {
      const fcc_evaluation e = evaluate(validation_);
      row.val_loss = e.loss;
      row.val_accuracy = e.accuracy;
      best = result_.best_epoch == 0 || e.loss < result_.best_loss;
      if (best) {
        result_.best_epoch = row.epoch, result_.best_loss = e.loss, result_.best_accuracy = e.accuracy;
        keep_best();
        trainer_.set_note("fit.best", fmt::format("{:.17g}", e.loss));
        trainer_.set_note("fit.best_accuracy", fmt::format("{:.17g}", e.accuracy));
        trainer_.set_note("fit.best_epoch", std::to_string(row.epoch));
      }
    }
    trainer_.end_epoch(std::isnan(row.val_loss) ? row.loss : row.val_loss);
    result_.history.epochs.push_back(row);
    if (first_rank()) {
      if (best || validation_.rows() == 0) save(o_.save);
      save(o_.checkpoint);
      if (!o_.log.empty()) FCC_CHECKED(write_text_file(o_.log, csv_of(result_.history)));
      if (events_.epoch) events_.epoch(row);
    }
    if (ranks_) FCC_CHECKED(ranks_->barrier());
    return {};
  }

  void save(const std::string& path) {
    if (!path.empty() && first_rank()) trainer_.save(path);
  }

  // ---- the end
  bool is_weight(uint32_t i) const {
    const uint32_t role = model_.table().states[i].role;
    return role == FCC_STATE_PARAMETER || role == FCC_STATE_BUFFER;
  }
  void keep_best() {
    best_.clear();
    for (uint32_t i = 0; i < model_.table().n_states; ++i) {
      if (!is_weight(i)) continue;
      Values v = trainer_.state(model_.table().states[i].name);
      best_.emplace_back(static_cast<const char*>(v.data()), static_cast<const char*>(v.data()) + v.bytes());
    }
  }
  void use_best() {
    if (best_.empty()) {
      std::error_code ignored;
      const bool earlier =
          result_.best_epoch > 0 && result_.best_epoch < trainer_.progress().epoch && !o_.resume.empty();
      if (earlier && !o_.save.empty() && std::filesystem::exists(o_.save, ignored)) trainer_.load_weights(o_.save);
      return;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < model_.table().n_states; ++i)
      if (is_weight(i))
        std::memcpy(trainer_.state(model_.table().states[i].name).data(), best_[at].data(), best_[at].size()), ++at;
  }

  Status finish() {
    result_.epochs_done = trainer_.progress().epoch;
    result_.steps = trainer_.progress().steps;
    if (trainer_.progress().skipped > 0)
      result_.notes.push_back(
          fmt::format("{} batches were left out: their loss or update was not finite", trainer_.progress().skipped));
    if (!first_rank()) return {};
    if (!result_.interrupted) use_best();
    if (!o_.output.empty() && !result_.interrupted) trainer_.export_onnx(o_.output);
    if (o_.collect) FCC_CHECKED(collect());
    return {};
  }

  void picture(bool after) {
    if (!o_.collect) return;
    const fcc_model& m = model_.table();
    size_t at = 0;
    for (uint32_t i = 0; i < m.n_states; ++i) {
      if (m.states[i].role != FCC_STATE_PARAMETER || m.states[i].dtype != FCC_F32) continue;
      Values values = trainer_.state(m.states[i].name);
      Span<float> all = values.as<float>();
      const size_t stride = std::max<size_t>(1, all.size() / kPictureValues);
      std::vector<float> some;
      for (size_t k = 0; k < all.size(); k += stride) some.push_back(all[k]);
      if (!after)
        result_.weights.push_back({m.states[i].name, fmt::format("[{}]", fmt::join(values.dims(), ",")), some, {}});
      else
        result_.weights[at++].after = some;
    }
  }

  Status collect() {
    picture(true);
    fcc_session* session = trainer_.session(step_entry());
    for (uint32_t i = 0; i < fcc_session_table(session)->n_steps; ++i) {
      fcc_step_profile p{};
      detail::check(fcc_session_step_profile(session, i, &p));
      result_.step_times.push_back(
          {p.name, p.what, static_cast<double>(p.ns) * 1e-9, p.calls, static_cast<double>(p.flops)});
    }
    const DataSet& judged = validation_.rows() > 0 ? validation_ : train_;
    confusion(judged);
    std::vector<int64_t> some;
    for (int64_t r = 0; r < std::min(judged.rows(), fixed_batch_ ? batch_ : kSampleRows); ++r) some.push_back(r);
    result_.sample = take_rows(judged, some);
    TemporaryFolder folder;
    const std::string path = folder.path() + "/model.onnx";
    trainer_.export_onnx(path);
    FCC_TRY(result_.onnx_bytes, read_text_file(path));
    return {};
  }

  void confusion(const DataSet& set) {
    const fcc_entry& entry = table("evaluate");
    if (entry.n_inputs != data_inputs_ + 1) return;
    const int64_t classes = class_count(entry, data_inputs_);
    if (classes == 0 || classes > 1000) return;
    Confusion c;
    c.validation = &set == &validation_;
    c.counts.assign(static_cast<size_t>(classes * classes), 0);
    for (int64_t k = 0; k < classes; ++k)
      c.classes.push_back(static_cast<size_t>(k) < train_.classes.size() ? train_.classes[static_cast<size_t>(k)]
                                                                         : std::to_string(k));
    Gatherer gather(set, 0, false, 0);
    fcc_session* session = trainer_.session("evaluate");
    for (int64_t at = 0; at < set.rows(); at += batch_) {
      if (fixed_batch_ && set.rows() - at < batch_) break;
      const std::span<const fcc_tensor> batch = gather.rows(at, std::min(batch_, set.rows() - at));
      fcc_evaluation e{};
      detail::check(
          fcc_trainer_evaluate(trainer_.handle(), batch.data(), static_cast<uint32_t>(batch.size()), batch_, &e));
      judge_outputs(session, batch, data_inputs_, [&](int64_t label, int64_t best) {
        if (label < classes) ++c.counts[static_cast<size_t>(label * classes + best)];
      });
    }
    result_.confusion = std::move(c);
  }

  const FitOptions& o_;
  const FitEvents& events_;
  Ranks* ranks_;
  std::unique_ptr<Pool> pool_;
  Model model_;
  Trainer trainer_;
  std::string model_schedule_;
  DataSet train_, validation_;
  std::optional<Gatherer> gather_;
  uint32_t data_inputs_ = 0;
  int64_t batch_ = 0;
  bool fixed_batch_ = false;
  std::vector<std::vector<char>> best_;
  FitResult result_;
};

}  // namespace

Result<FitResult> fit(const FitOptions& options, const std::string& model_schedule, const FitEvents& events,
                      Ranks* ranks) {
  try {
    return Fit(options, model_schedule, events, ranks).run();
  } catch (const Error& e) {
    return fail(diagnostic_of(e));
  }
}

}  // namespace fcc
