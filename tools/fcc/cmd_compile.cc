// fcc model.onnx -o model.so: the command that needs no word.
#include <filesystem>

#include "tools/fcc/arguments.h"
#include "tools/fcc/compile_flags.h"
#include "tools/fcc/progress.h"

namespace fcc {
namespace {

struct Options {
  std::string model, output;
  bool time = false, cache = true;
  CompileFlags flags;
};

void print_times(const CompileReport& report) {
  double total = 0;
  for (const StageTime& s : report.stages) {
    fmt::print(stderr, "{:>9.3f} s  {}\n", s.seconds, s.name);
    total += s.seconds;
  }
  fmt::print(stderr, "{:>9.3f} s  in all\n", total);
}

std::string summary(const std::string& output, const CompileReport& r) {
  return fmt::format("{}: {}, {} steps, {} kernels ({} distinct)", output,
                     bytes_text(static_cast<double>(r.file_bytes)), r.steps, r.kernels, r.distinct_kernels);
}

Result<ExitCode> compile(const Options& options) {
  const std::string output =
      options.output.empty() ? std::filesystem::path(options.model).stem().string() + ".so" : options.output;
  std::error_code ignored;
  if (std::filesystem::equivalent(options.model, output, ignored))
    throw UsageError("the output " + output + " is the model itself");
  CompileOptions compile_options = options.flags.options();
  compile_options.cache = options.cache;
  ProgressLine progress;
  compile_options.progress = [&](std::string_view stage, int done, int total) {
    progress.show(total > 0 ? fmt::format("{} {}/{}", stage, done, total) : std::string(stage));
  };
  FCC_TRY(CompileReport report, compile_file(options.model, output, compile_options));
  progress.clear();
  print_notes(report);
  if (options.time) print_times(report);
  if (progress.on_terminal()) fmt::print(stderr, "{}\n", summary(output, report));
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("-o,--output", o->output, "the library to write; default: the model's name with .so, in this folder")
      ->type_name("FILE.so");
  o->flags.add(app);
  o->flags.add_compact(app);
  app.add_flag("!--no-cache", o->cache,
               "compile every kernel, without those kept in $XDG_CACHE_HOME/fcc or ~/.cache/fcc; the file is the same");
  app.add_flag("--time", o->time, "how long each stage took, on stderr");
  return [o] { return compile(*o); };
}

}  // namespace

Command compile_command() {
  return {
      .name = "compile",
      .usage = "MODEL.onnx -o MODEL.so [--target TARGET] [--dim N=1..64]",
      .summary = "Compile a model into one shared library.",
      .about =
          "The library holds the weights and the code for every target asked for, needs nothing but memcpy, and runs "
          "any size of the model's "
          "open dimensions. The same model and options give the same bytes on every machine. The word compile may be "
          "left out.",
      .examples = {{"fcc model.onnx -o model.so", "for this machine"},
                   {"fcc model.onnx -o model.so --target x86-64-v3,x86-64-v4",
                    "one file, the best code chosen when it is loaded"},
                   {"fcc model.onnx -o model.so --dim N=1",
                    "fix the open dimension N: faster, for batches of one only"},
                   {"fcc check model.onnx && fcc model.onnx -o model.so && fcc bench model.so",
                    "can it be compiled, compile it, how fast is it"}},
      .setup = setup,
  };
}

}  // namespace fcc
