// fcc dump: a model at any stage of the road, as text.
#include <fmt/format.h>

#include "tools/fcc/compile_flags.h"

namespace fcc {
namespace {

struct Options {
  std::string model, stage = "graph", kernel;
  CompileFlags flags;
};

Result<ExitCode> dump(const Options& options) {
  CompileOptions compile_options = options.flags.options();
  FCC_TRY(std::string text, dump_stage(options.model, compile_options, options.stage, options.kernel));
  fmt::print("{}{}", text, text.ends_with('\n') ? "" : "\n");
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("--stage", o->stage, "import, graph (default), loops, llvm or asm")
      ->type_name("STAGE")
      ->check(CLI::IsMember({"import", "graph", "loops", "llvm", "asm"}));
  app.add_option("--kernel", o->kernel, "only the kernel of that name")->type_name("NAME");
  o->flags.add(app);
  return [o] { return dump(*o); };
}

}  // namespace

Command dump_command() {
  return {
      .name = "dump",
      .usage = "dump MODEL.onnx [--stage import|graph|loops|llvm|asm] [--kernel NAME]",
      .summary = "Print a model at a stage of compilation.",
      .about =
          "import: the graph as read. graph: after all passes, operators fused into kernels. loops: the loops each "
          "kernel became, with the "
          "choices made. llvm, asm: the code.",
      .examples = {{"fcc dump model.onnx", "which operators were fused"},
                   {"fcc dump model.onnx --stage loops --kernel conv1", "how one kernel is cut into tiles"},
                   {"fcc dump model.onnx --stage asm --kernel conv1 --target x86-64-v4", "its instructions"}},
      .setup = setup,
  };
}

}  // namespace fcc
