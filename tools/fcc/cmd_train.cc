// fcc train: a training step compiled from a model file.
#include <filesystem>

#include "tools/driver/train.h"
#include "tools/fcc/arguments.h"
#include "tools/fcc/compile_flags.h"
#include "tools/fcc/progress.h"

namespace fcc {
namespace {

struct Options {
  std::string model, output, dtype = "f32";
  TrainFiles files;
  bool time = false;
  const CLI::App* app = nullptr;
  TrainOptions train;
  CompileFlags flags;
};

std::string summary(const std::string& output, const TrainReport& r) {
  std::string s = fmt::format(
      "{}: {}, {} of {} parameters trained by {}\n", output, bytes_text(static_cast<double>(r.compile.file_bytes)),
      count_text(static_cast<double>(r.trained)), count_text(static_cast<double>(r.parameters)), r.optimizer);
  s += fmt::format("memory: {} of states, {} for a step{}\n", bytes_text(static_cast<double>(r.state_bytes)),
                   bytes_text(static_cast<double>(r.step_bytes)),
                   r.batch > 0 ? fmt::format(" of batch {}", r.batch) : "");
  return s;
}

// A step that the file brings (training_info) is compiled as it is, unless a loss or an optimizer is asked for.
Result<bool> takes_own_step(const Options& o, const CompileOptions& compile) {
  if (o.app->count("--loss") + o.app->count("--optimizer") > 0) return false;
  FCC_TRY(const bool brings, brings_training(o.model, compile));
  if (!brings) return false;
  for (const char* name : {"--group", "--trainable", "--freeze", "--init", "--dropout", "--bn-eval", "--clip-norm",
                           "--clip-value", "--gradients", "--keep-ties", "--compat"})
    if (o.app->count(name) > 0)
      throw UsageError(
          fmt::format("{} changes a step that fcc makes, and {} brings its own: give --optimizer too", name, o.model));
  return true;
}

Result<ExitCode> train(const Options& options) {
  const std::string output =
      options.output.empty() ? std::filesystem::path(options.model).stem().string() + ".so" : options.output;
  std::error_code ignored;
  if (std::filesystem::equivalent(options.model, output, ignored))
    throw UsageError("the output " + output + " is the model itself");
  if (options.dtype != "f32" && options.dtype != "f64")
    throw UsageError("--dtype " + options.dtype + ": expected f32 or f64");
  if (!options.train.compat.empty() && options.train.compat != "torch" && options.train.compat != "onnx")
    throw UsageError("--compat " + options.train.compat + ": expected torch or onnx");
  const CompileOptions compile_options = options.flags.options();
  TrainOptions train = options.train;
  train.f64 = options.dtype == "f64";
  FCC_TRY(const bool own_step, takes_own_step(options, compile_options));
  FCC_TRY(TrainReport report, train_file(options.model, output, train, options.files, compile_options, own_step));
  print_notes(report.compile);
  if (options.time)
    for (const StageTime& s : report.compile.stages) fmt::print(stderr, "{:>9.3f} s  {}\n", s.seconds, s.name);
  fmt::print(stderr, "{}", summary(output, report));
  return kDone;
}

void add_list(CLI::App& app, const char* name, std::vector<std::string>& list, const char* text, const char* type) {
  app.add_option(name, list, text)->type_name(type)->expected(1)->take_all();
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->app = &app;
  TrainOptions& t = o->train;
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("-o,--output", o->output, "the library to write; default: the model's name with .so, in this folder")
      ->type_name("FILE.so");
  app.add_option("--loss", t.loss,
                 "cross_entropy (default), nll, mse, l1, smooth_l1, huber, bce, bce_logits, kl_div, cosine, "
                 "output:NAME, none; with arguments in "
                 "parentheses; sums such as 'mse(y0)+0.1*l1(y1)'")
      ->type_name("LOSS");
  app.add_option("--optimizer,--optim", t.optimizer,
                 "adam (default), sgd, adamw, nadam, radam, rmsprop, adagrad, adadelta, lion, onnx.adam, onnx.adagrad, "
                 "onnx.momentum, such as 'adamw(lr=1e-3,weight_decay=0.01)'")
      ->type_name("OPTIMIZER");
  app.add_option("--schedule", o->files.schedule,
                 "how the learning rate goes, for fcc fit and fcc::Trainer, such as 'cosine(epochs=10,warmup=1)'")
      ->type_name("SCHEDULE");
  add_list(app, "--group", t.groups,
           "parameters with a rate or decay of their own: 'RE: lr*=0.1, weight_decay=0' or 'RE: freeze'", "GROUP");
  add_list(app, "--trainable", t.trainable, "train only parameters whose names match this regular expression", "RE");
  add_list(app, "--freeze", t.freeze, "do not train parameters whose names match", "RE");
  add_list(app, "--init", t.init,
           "first values: 'RE=kaiming_normal(nonlinearity=relu)'; keep (default), default, kaiming_*, xavier_*, "
           "orthogonal, constant(V), normal, uniform",
           "RE=RULE");
  add_list(app, "--dropout", t.dropout,
           "put Dropout behind the nodes that match, or change that of the file: RE=p; off: none at all", "RE=P");
  add_list(app, "--bn-eval", t.bn_eval, "BatchNormalizations that keep their stored statistics", "RE");
  app.add_option("--clip-norm", t.clip_norm, "scale all gradients together so that their norm is at most this")
      ->type_name("C")
      ->check(CLI::PositiveNumber);
  app.add_option("--clip-value", t.clip_value, "clip every element of a gradient to [-C, C]")
      ->type_name("C")
      ->check(CLI::PositiveNumber);
  app.add_flag("--gradients", t.gradients,
               "entries for gradients out and apply in: accumulation, data-parallel and federated training");
  app.add_flag("--keep-ties", t.keep_ties, "keep initializers that several nodes share together");
  app.add_option("--seed", t.seed, "of dropout and of drawn first values; default 0")->type_name("N");
  app.add_option("--compat", t.compat,
                 "conventions of BatchNormalization's running variance: torch or onnx; default: as the file's producer")
      ->type_name("NAME");
  app.add_option("--dtype", o->dtype, "compute in f32 (default) or f64")->type_name("TYPE");
  app.add_option("--emit-onnx", o->files.emit_onnx,
                 "also write the model with its whole training step in ONNX's operators (training_info)")
      ->type_name("FILE.onnx");
  o->flags.add(app);
  app.add_flag("--time", o->time, "how long each stage took, on stderr");
  return [o] { return train(*o); };
}

}  // namespace

Command train_command() {
  return {
      .name = "train",
      .usage = "train MODEL.onnx -o MODEL.so [--loss LOSS] [--optimizer OPTIMIZER]",
      .summary = "Compile a whole training step: forward, loss, backward, optimizer.",
      .about =
          "The library has the entries infer, evaluate and train_step on one set of weights; fcc fit trains it from "
          "files, fcc::Trainer from a program. The model "
          "may be exported in inference mode: BatchNormalization goes to training mode by itself, and Dropout is put "
          "back with --dropout where the exporter took it out. "
          "Formulas are PyTorch's.",
      .examples =
          {{"fcc train net.onnx -o net.so --loss cross_entropy --optimizer 'adam(lr=1e-3)'",
            "a classifier; the targets are class indices"},
           {"fcc train net.onnx -o net.so --loss mse --optimizer 'sgd(lr=0.01,momentum=0.9)' --dropout 'relu=0.2'",
            "regression, with dropout behind every node named relu"},
           {"fcc train resnet.onnx -o head.so --trainable '^fc' --bn-eval .",
            "fine-tune the last layer; the rest is frozen and costs no backward pass"},
           {"fcc train net.onnx -o net.so --group 'bias: weight_decay=0' --optimizer 'adamw(weight_decay=0.05)' "
            "--clip-norm 1",
            "no decay on biases"},
           {"fcc train net.onnx -o net.so --optimizer adam --emit-onnx step.onnx",
            "also as an ONNX model with training_info; fcc train step.onnx compiles that step again"},
           {"fcc train net.onnx -o net.so --init 'default' --seed 7",
            "forget the file's weights: start as PyTorch starts"}},
      .setup = setup,
  };
}

}  // namespace fcc
