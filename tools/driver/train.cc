#include "tools/driver/train.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "backend/memory_plan.h"
#include "frontend/onnx/emit.h"
#include "ir/text.h"
#include "passes/train/own_step.h"
#include "tools/driver/model_info.h"
#include "tools/driver/onnx_skeleton.h"
#include "tools/driver/stages.h"

namespace fcc {
namespace {

using namespace driver;
using Json = nlohmann::ordered_json;

// What recognises must come before differentiation, while the graph still has the exporter's spelling; what folds
// weights finds states instead of constants and leaves them alone.
constexpr std::string_view kEarly[] = {"fold_constants",    "fold_shapes",     "simplify",
                                       "merge_equal",       "recognize_norms", "recognize_activations",
                                       "expand_composites", "fold_constants",  "simplify"};

constexpr int64_t kUsualBatch = 64;  // for the figure of memory when the batch is open

EarlyPasses early_passes(const CompileOptions& compile, CompileReport& report, const Target& target) {
  return [&](Graph& g) { return run_named(g, target, compile, report, kEarly); };
}

Result<Training> training_of(const Import& import, TrainOptions options, const CompileOptions& compile,
                             CompileReport& report, const Target& target) {
  options.producer = import.producer;
  return build_training(import.graph, import.initializers, options, early_passes(compile, report, target));
}

// The graphs of a step that the file brings.
Result<Training> own_training_of(const std::string& model, const Import& import, const TrainOptions& options,
                                 const CompileOptions& compile) {
  FCC_TRY(Import joined, import_model(model, compile, false, OwnTraining::step));
  return build_own_training(
      {import.graph, std::move(joined.graph), static_cast<size_t>(joined.model_outputs), joined.slots}, options);
}

const Graph& entry_named(const Training& t, std::string_view name) {
  return std::find_if(t.entries.begin(), t.entries.end(), [&](const TrainingEntry& e) { return e.name == name; })
      ->graph;
}

Status write_step(const Training& training, const std::string& path, CompileReport& report) {
  std::vector<EmittedState> states;
  for (const TrainingState& s : training.states) {
    const bool of_model = s.role == StateRole::parameter || s.role == StateRole::buffer;
    states.push_back({s.name, s.initial.raw() ? s.initial : Tensor(s.type.dtype, s.type.extents()), of_model});
  }
  FCC_TRY(const EmittedModel made,
          emit_training_model(entry_named(training, "infer"), entry_named(training, "train_step"), states));
  const std::string beside = fmt::format("{}.{}.tmp", path, ::getpid());
  std::ofstream out(beside, std::ios::binary);
  out << made.bytes;
  out.close();
  std::error_code failed;
  if (out) std::filesystem::rename(beside, path, failed);
  if (!out || failed) {
    std::filesystem::remove(beside, failed);
    return fail(path + " cannot be written");
  }
  if (!made.foreign.empty())
    report.notes.push_back(
        fmt::format("{}: ONNX has no operator for {}; they are in the domain \"fcc\", which fcc alone reads", path,
                    fmt::join(made.foreign, ", ")));
  return {};
}

Json training_json(const Training& t, const TrainOptions& options, const std::string& schedule, bool own_step) {
  Json groups = Json::array(), parameters = Json::array(), targets = Json::array();
  for (const ParameterGroup& g : t.groups)
    groups.push_back({{"lr", g.lr}, {"factor", g.factor}, {"state", g.state}, {"match", g.match}});
  for (const TrainingState& s : t.states) {
    if (s.role != StateRole::parameter) continue;
    parameters.push_back({{"name", s.name},
                          {"dtype", std::string(name(s.type.dtype))},
                          {"shape", s.type.extents()},
                          {"trainable", s.trainable}});
    if (s.trainable) parameters.back()["group"] = s.group;
  }
  for (const TrainingTarget& x : t.targets) {
    targets.push_back({{"input", x.input}, {"output", x.output}, {"loss", x.loss}});
    if (x.classes > 0) targets.back()["classes"] = x.classes;
  }
  Json j = {{"loss", own_step ? "of the model" : options.loss}, {"optimizer", t.optimizer}};
  if (!schedule.empty()) j["schedule"] = schedule;
  j["groups"] = groups;
  j["parameters"] = parameters;
  j["targets"] = targets;
  j["seed"] = options.seed;
  j["notes"] = t.notes;
  return j;
}

// The most that a step has live at once, open dimensions at `size`.
int64_t workspace_at(const EntryImage& entry, int64_t size) {
  if (entry.workspace_bytes >= 0) return entry.workspace_bytes;
  std::vector<backend::BufferLife> lives;
  for (const BufferImage& b : entry.buffers)
    lives.push_back({b.bytes.evaluate([&](std::string_view) { return size; }), b.first_step, b.last_step});
  return backend::peak_bytes(lives);
}

Status lower_entries(const Training& training, const Import& import, const std::vector<Target>& targets,
                     const CompileOptions& options, ModelImage& image, TrainReport& report) {
  Dumper dumper(options.dump_dir);
  backend::ConstantPool pool;
  backend::StatePool states(pool);
  for (const TrainingState& s : training.states)
    states.add(s.name, s.type, s.initial, static_cast<fcc_state_role>(s.role));
  const backend::SymbolBounds bounds = bounds_of(import);
  for (const Target& target : targets) {
    VariantImage variant;
    variant.target = target;
    for (const TrainingEntry& e : training.entries) {
      if (dumper.on()) dumper.write(e.name, print(e.graph));
      FCC_TRY(Graph g, optimize(e.graph, target, options, report.compile, dumper));
      const auto start = Clock::now();
      FCC_TRY(EntryImage entry, backend::schedule(g, e.name, target, bounds, variant, pool, states));
      report.compile.stages.push_back({"lower " + e.name, seconds_since(start)});
      report.compile.steps += static_cast<int64_t>(entry.steps.size());
      if (e.name == "train_step") {
        const bool open = entry.workspace_bytes < 0;
        report.batch = open ? kUsualBatch : 0;
        report.step_bytes = workspace_at(entry, kUsualBatch);
        report.compile.workspace_bytes = report.step_bytes;
      }
      variant.entries.push_back(std::move(entry));
    }
    report.compile.distinct_kernels += static_cast<int64_t>(variant.kernels.size());
    image.variants.push_back(std::move(variant));
  }
  report.compile.kernels = report.compile.steps;
  image.state_arena_bytes = report.state_bytes = states.bytes();
  image.states = states.take();
  image.constants_bytes = report.compile.constant_bytes = pool.bytes();
  image.constants = pool.take();
  return {};
}

// The source file goes into the library without the payloads that training moves: export_onnx fills them in again.
Status keep_source(const std::string& model, const Import& import, const Training& training, bool f64,
                   ModelImage& image, TrainReport& report) {
  if (f64) {
    report.compile.notes.push_back("computed in f64, while the file's weights are f32: there will be no export_onnx");
    return {};
  }
  std::ifstream in(model, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::vector<SkeletonState> states;
  for (const TrainingState& s : training.states)
    if (s.role == StateRole::parameter || s.role == StateRole::buffer)
      states.push_back({s.name, s.type.dtype, s.type.extents()});
  FCC_TRY(OnnxSkeleton kept, onnx_skeleton(std::as_bytes(std::span(bytes)),
                                           std::filesystem::path(model).parent_path().string(), states, import.sha256));
  image.source = std::move(kept.section);
  report.compile.notes.insert(report.compile.notes.end(), kept.notes.begin(), kept.notes.end());
  for (const std::string& name : kept.missing)
    report.compile.notes.push_back("the file has no tensor of its own for \"" + name +
                                   "\": export_onnx leaves it as it was");
  return {};
}

}  // namespace

Result<Training> training_graphs(const std::string& model, const TrainOptions& options, const CompileOptions& compile) {
  FCC_TRY(Import import, import_model(model, compile, true));
  FCC_TRY(std::vector<Target> targets, targets_of(compile));
  CompileReport report;
  return training_of(import, options, compile, report, targets[0]);
}

Result<TrainingCheck> check_train_file(const std::string& model, const TrainOptions& options,
                                       const CompileOptions& compile) {
  FCC_TRY(Import import, import_model(model, compile, true));
  FCC_TRY(std::vector<Target> targets, targets_of(compile));
  CompileReport report;
  TrainOptions train = options;
  train.producer = import.producer;
  return check_training(import.graph, import.initializers, train, early_passes(compile, report, targets[0]));
}

Result<bool> brings_training(const std::string& model, const CompileOptions& compile) {
  FCC_TRY(Import import, import_model(model, compile, true));
  return import.has_training;
}

Result<TrainReport> train_file(const std::string& model, const std::string& output, const TrainOptions& options,
                               const TrainFiles& files, const CompileOptions& compile, bool own_step) {
  TrainReport report;
  const auto start = Clock::now();
  FCC_TRY(Import import,
          import_model(model, compile, !own_step, own_step ? OwnTraining::states : OwnTraining::ignored));
  FCC_TRY(std::vector<Target> targets, targets_of(compile));
  report.compile.stages.push_back({"import", seconds_since(start)});
  report.compile.notes = import.notes;
  FCC_TRY(Training training, own_step ? own_training_of(model, import, options, compile)
                                      : training_of(import, options, compile, report.compile, targets[0]));
  if (!files.emit_onnx.empty()) FCC_CHECKED(write_step(training, files.emit_onnx, report.compile));
  report.compile.notes.insert(report.compile.notes.end(), training.notes.begin(), training.notes.end());
  report.optimizer = training.optimizer;
  for (const TrainingState& s : training.states) {
    if (s.role != StateRole::parameter) continue;
    const int64_t n = s.type.elements().constant();
    report.parameters += n;
    report.trained += s.trainable ? n : 0;
  }
  ModelImage image;
  FCC_CHECKED(lower_entries(training, import, targets, compile, image, report));
  image.producer = "fcc " FCC_VERSION;
  image.source_hash = import.sha256;
  image.info_json = model_info_json(image, import, training_json(training, options, files.schedule, own_step).dump());
  FCC_CHECKED(keep_source(model, import, training, options.f64, image, report));
  FCC_CHECKED(write_image(image, output, compile, report.compile));
  report.states = std::move(training.states);
  return report;
}

}  // namespace fcc
