// fcc export: the source model of a training library, with the weights of a checkpoint.
#include <fmt/format.h>

#include "fcc/train.hpp"
#include "tools/fcc/command.h"
#include "tools/runtime_error.h"

namespace fcc {
namespace {

struct Options {
  std::string model, weights, output;
};

Result<ExitCode> run(const Options& o) {
  FCC_CHECKED(caught([&] {
    TrainerOptions options;
    options.threads = 1;
    Trainer trainer = Trainer::load(o.model, options);
    if (!o.weights.empty()) trainer.load_weights(o.weights);
    trainer.export_onnx(o.output);
  }));
  fmt::print("{}\n", o.output);
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, made by fcc train")->required();
  app.add_option("weights", o->weights,
                 "a checkpoint, or any safetensors file with all its weights; default: those compiled in");
  app.add_option("-o,--output", o->output, "the model to write")->type_name("FILE.onnx")->required();
  return [o] { return run(*o); };
}

}  // namespace

Command export_command() {
  return {
      .name = "export",
      .usage = "export MODEL.so [WEIGHTS.safetensors] -o TRAINED.onnx",
      .summary = "Write the trained model as ONNX.",
      .about = "The file is the one that fcc train compiled, byte for byte, but for the tensors that training moves.",
      .examples = {{"fcc export net.so best.safetensors -o trained.onnx", "the best epoch of a run of fcc fit --save"}},
      .setup = setup,
  };
}

}  // namespace fcc
