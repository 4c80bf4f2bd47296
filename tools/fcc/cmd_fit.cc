// fcc fit: train a model from files, without writing a program.
#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "backend/llvm/link.h"
#include "tools/fcc/arguments.h"
#include "tools/fcc/progress.h"
#include "tools/files.h"
#include "tools/fit/ranks.h"
#include "tools/fit/report.h"

namespace fcc {
namespace {

using Json = nlohmann::json;

struct Options {
  FitOptions fit;
  std::string report, on_nonfinite = "stop";
  double scale = 0, lr = 0;
  bool no_shuffle = false;
  int ranks = 1;
  ThreadOption threads;
};

std::atomic<bool> stop_asked{false};

// The first Ctrl-C ends the run after the step under way; a second one ends the process as usual.
void ask_to_stop(int signal) {
  stop_asked = true;
  std::signal(signal, SIG_DFL);
}

Json training_info(const std::string& model) {
  const Result<std::string> info = read_info(model);
  const Json json = info ? Json::parse(*info, nullptr, false) : Json();
  return json.is_object() && json.contains("training") ? json["training"] : Json::object();
}

std::string text_of(const Json& training, const char* key) {
  return training.contains(key) && training[key].is_string() ? training[key].get<std::string>() : "";
}

fcc_on_nonfinite policy_of(const std::string& text) {
  if (text == "skip") return FCC_NONFINITE_SKIP;
  if (text == "rollback") return FCC_NONFINITE_ROLLBACK;
  if (text == "ignore") return FCC_NONFINITE_IGNORE;
  if (text != "stop") throw UsageError(fmt::format("--on-nonfinite {}: expected stop, skip, rollback or ignore", text));
  return FCC_NONFINITE_STOP;
}

Status check(const Options& o) {
  if (o.fit.checkpoint_steps > 0 && o.fit.checkpoint.empty())
    throw UsageError("--checkpoint-steps needs --checkpoint FILE");
  if (!o.fit.validation.data.empty() && o.fit.validation_split > 0)
    throw UsageError("--val-data and --val-split exclude each other");
  if (!o.fit.resume.empty() && (!o.fit.weights.empty() || !o.fit.init.empty()))
    throw UsageError("--resume brings its own weights: leave out --weights and --init");
  for (const std::string* path : {&o.fit.output, &o.fit.save, &o.fit.checkpoint, &o.fit.log, &o.report}) {
    const std::filesystem::path folder = std::filesystem::path(*path).parent_path();
    std::error_code ignored;
    if (!path->empty() && !folder.empty() && !std::filesystem::is_directory(folder, ignored))
      return fail(fmt::format("cannot write {}: there is no folder {}", *path, folder.string()));
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> settings(const Options& o, const Json& training) {
  std::vector<std::pair<std::string, std::string>> out;
  auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) out.emplace_back(key, value);
  };
  add("loss", text_of(training, "loss"));
  add("optimizer", text_of(training, "optimizer"));
  add("learning rate", o.fit.lr ? fmt::format("{:g}", *o.fit.lr) : "");
  add("schedule", o.fit.schedule.empty() ? text_of(training, "schedule") : o.fit.schedule);
  add("batch size", std::to_string(o.fit.batch_size));
  add("epochs", std::to_string(o.fit.epochs));
  add("seed", std::to_string(o.fit.seed));
  add("data", fmt::format("{}", fmt::join(o.fit.data.data, ", ")));
  add("targets", fmt::format("{}", fmt::join(o.fit.data.targets, ", ")));
  add("validation", fmt::format("{}", fmt::join(o.fit.validation.data, ", ")));
  if (o.fit.validation_split > 0) add("validation", fmt::format("{:g} of the data", o.fit.validation_split));
  add("frozen", fmt::format("{}", fmt::join(o.fit.freeze, ", ")));
  add("initialised", fmt::format("{}", fmt::join(o.fit.init, ", ")));
  add("resumed from", o.fit.resume);
  return out;
}

Status write_report(const Options& o, const FitResult& result, const Json& training) {
  Insight insight;
  Result<Insight> seen = look_inside(result);
  if (seen)
    insight = std::move(*seen);
  else
    insight.note = seen.error().what;
  const ReportHead head{std::filesystem::path(o.fit.model).filename().string(), settings(o, training)};
  return write_text_file(o.report, report_html(head, result, insight));
}

void print_result(const Options& o, const FitResult& r) {
  for (const std::string& note : r.notes) fmt::print(stderr, "note: {}\n", note);
  if (r.best_epoch > 0)
    fmt::print("best: epoch {}, val loss {:.4f}{}\n", r.best_epoch, r.best_loss,
               std::isnan(r.best_accuracy) ? "" : fmt::format(", val accuracy {:.2f} %", 100 * r.best_accuracy));
  if (!o.fit.output.empty() && !r.interrupted)
    fmt::print("{}: the weights of {}\n", o.fit.output,
               r.best_epoch > 0 ? fmt::format("epoch {}", r.best_epoch) : "the last epoch");
}

// The same command as several processes, which print what a single one prints.
Result<ExitCode> in_processes(const Options& o) {
  const int status = run_under_mpirun(o.ranks);
  if (status == 0) return kDone;
  return fail(fmt::format("the run of {} processes ended early, with status {}", o.ranks, status), {},
              o.fit.checkpoint.empty() ? "with --checkpoint FILE a run can be resumed"
                                       : "go on from its last checkpoint: --resume " + o.fit.checkpoint);
}

Result<ExitCode> run(Options o) {
  o.fit.threads = o.threads.threads;
  o.fit.shuffle = !o.no_shuffle;
  o.fit.on_nonfinite = policy_of(o.on_nonfinite);
  o.fit.collect = !o.report.empty();
  FCC_CHECKED(check(o));
  std::unique_ptr<Ranks> ranks;
  if (o.ranks > 1 || started_by_mpirun()) {
    if (!started_by_mpirun()) return in_processes(o);
    FCC_TRY(ranks, open_mpi_ranks());
  }
  const bool first = ranks == nullptr || ranks->rank() == 0;
  const Json training = training_info(o.fit.model);
  ProgressLine line;
  FitEvents events;
  if (first && line.on_terminal()) events.progress = [&](const std::string& text) { line.show(text); };
  events.epoch = [&](const EpochRow& row) {
    line.clear();
    fmt::print("{}\n", line_of(row, o.fit.epochs));
    std::fflush(stdout);
  };
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  events.interrupted = [] { return stop_asked.load(); };
  Result<FitResult> result = fit(o.fit, text_of(training, "schedule"), events, ranks.get());
  line.clear();
  if (!result) {
    if (ranks == nullptr || ranks->size() == 1) return std::unexpected(std::move(result).error());
    fmt::print(stderr, "{}\n", result.error().text());
    ranks->abort(kModelFault);
  }
  if (!first) return kDone;
  if (!o.report.empty()) FCC_CHECKED(write_report(o, *result, training));
  print_result(o, *result);
  if (!result->interrupted) return kDone;
  return fail(fmt::format("interrupted in epoch {}, after step {}", result->epochs_done + 1, result->steps), {},
              o.fit.checkpoint.empty() ? "with --checkpoint FILE a run can be resumed"
                                       : "go on with --resume " + o.fit.checkpoint);
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  FitOptions& f = o->fit;
  auto files = [&](const char* names, std::vector<std::string>& to, const char* text) {
    app.add_option(names, to, text)->type_name("FILE")->expected(1)->take_all();
  };
  app.add_option("model", f.model, "the model, made by fcc train")->required();
  files("--data,-x", f.data.data,
        "training data: IDX (.gz too), .npy, .npz, .csv or a folder of images; NAME=FILE for several inputs");
  files("--target,-y", f.data.targets,
        "their targets; default: inside the data (.npz: y, .csv: the last column, images: the folder)");
  files("--val-data", f.validation.data, "validation data, judged after each epoch");
  files("--val-target", f.validation.targets, "their targets");
  app.add_option("--val-split", f.validation_split, "share of the training data to hold out for validation")
      ->type_name("SHARE")
      ->check(CLI::Range(0.0, 0.99));
  app.add_option("--target-columns", f.data.target_columns, "of a .csv without --target: the last K columns; default 1")
      ->type_name("K")
      ->check(CLI::PositiveNumber);
  app.add_option("--epochs", f.epochs, "passes over the data; default 1")
      ->type_name("E")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--batch-size", f.batch_size, "rows a step; default 64")->type_name("B")->check(CLI::PositiveNumber);
  app.add_option("--lr", f.lr, "learning rate; default: the one compiled in")
      ->type_name("LR")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--schedule", f.schedule,
                 "of the learning rate, such as cosine or step(epochs=2, gamma=0.5); see docs/trainer.md")
      ->type_name("TEXT");
  app.add_option("--seed", f.seed, "of shuffling, splitting, dropout and initialisers; default 0")->type_name("N");
  app.add_flag("--no-shuffle", o->no_shuffle, "keep the order of the files");
  app.add_flag("--drop-last", f.drop_last, "leave out a short last batch");
  app.add_option("--scale", f.preparation.scale, "factor for the inputs; default 1/255 for bytes, else 1")
      ->type_name("F");
  app.add_option("--mean", f.preparation.mean, "subtracted after scaling")->type_name("M");
  app.add_option("--std", f.preparation.deviation, "divided by after that")->type_name("S")->check(CLI::PositiveNumber);
  app.add_flag("--standardize", f.standardize, "each column by its mean and deviation in the training data");
  files("--init", f.init, "draw weights anew, PATTERN=INITIALIZER, such as '.=default'");
  files("--freeze", f.freeze, "keep the parameters whose name matches a regular expression");
  app.add_option("--weights", f.weights, "start from the weights in a safetensors file")->type_name("FILE");
  app.add_option("--resume", f.resume, "go on from a checkpoint")->type_name("FILE");
  app.add_option("-o,--output", f.output, "the trained model, .onnx")->type_name("FILE.onnx");
  app.add_option("--save", f.save, "checkpoint of the epoch with the least validation loss")->type_name("FILE");
  app.add_option("--checkpoint", f.checkpoint, "checkpoint after every epoch, for --resume")->type_name("FILE");
  app.add_option("--checkpoint-steps", f.checkpoint_steps, "also every N steps")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--log", f.log, "a row an epoch, CSV")->type_name("FILE.csv");
  app.add_option("--report", o->report, "curves, confusion matrix, weights, activations, graph and times as one page")
      ->type_name("FILE.html");
  app.add_option("--on-nonfinite", o->on_nonfinite,
                 "an infinite loss or weight: stop (default), skip the batch, rollback, or ignore")
      ->type_name("WHAT");
  app.add_option("--ranks", o->ranks, "train in N processes, each on its share of a batch (MPI)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  o->threads.add(app);
  return [o] { return run(*o); };
}

}  // namespace

Command fit_command() {
  return {
      .name = "fit",
      .usage = "fit MODEL.so --data X --target Y --epochs E --batch-size B -o TRAINED.onnx",
      .summary = "Train a model from files, without writing a program.",
      .about =
          "A line an epoch goes to stdout, a progress line to the terminal. With validation data the exported weights "
          "are "
          "those of the epoch with the least validation loss, else the last. Bytes (images) become 0 to 1. The same "
          "command "
          "gives the same weights, for any number of threads, and after an interruption and --resume too.",
      .examples = {{"fcc fit net.so --data train-images-idx3-ubyte.gz --target train-labels-idx1-ubyte.gz --epochs 5 "
                    "-o trained.onnx",
                    "MNIST and its kin"},
                   {"fcc fit net.so --data houses.csv --standardize --val-split 0.1 --epochs 50 --schedule cosine -o "
                    "trained.onnx --report report.html",
                    "a table whose last column is the target"},
                   {"fcc fit net.so --data photos/ --val-split 0.2 --checkpoint run.safetensors --resume "
                    "run.safetensors -o trained.onnx",
                    "a folder a class; goes on where it stopped"}},
      .setup = setup,
  };
}

}  // namespace fcc
