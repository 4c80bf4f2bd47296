// fcc run: one call of a compiled model, .npy in and out.
#include <filesystem>
#include <set>

#include "ir/base/check.h"
#include "tools/fcc/arguments.h"
#include "tools/npy.h"

namespace fcc {
namespace {

struct RunOptions {
  std::string model, folder, entry, range = "-1..1";
  std::vector<std::string> inputs, dims;
  bool random = false;
  uint64_t seed = 1;
  ThreadOption threads;
};

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

// File names for the outputs: other characters become '_', and a name that is taken gets a number.
std::vector<std::string> file_names(const std::vector<std::string>& outputs) {
  std::set<std::string> taken;
  std::vector<std::string> files;
  for (const std::string& output : outputs) {
    std::string base;
    for (char c : output) base += is_plain(c) ? c : '_';
    std::string file = base;
    for (int n = 2; !taken.insert(file).second; ++n) file = fmt::format("{}_{}", base, n);
    files.push_back(file + ".npy");
  }
  return files;
}

Status make_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(fmt::format("cannot make the folder {}: {}", folder, error.message()));
  return {};
}

Result<ExitCode> run(const RunOptions& options) {
  const DimSizes given = parse_dim_sizes(options.dims);
  const RandomRange range = parse_range(options.range, options.seed);
  FCC_TRY(CompiledModel model,
          CompiledModel::open(options.model, {.threads = options.threads.threads, .entry = options.entry}));
  const InputSource source{.files = options.inputs, .random = options.random ? &range : nullptr, .sizes = given};
  DimSizes assumed;
  FCC_TRY(std::vector<Tensor> inputs, gather_inputs(source, wanted_inputs(model), &assumed));
  if (!assumed.empty()) fmt::print(stderr, "assumed {}; choose with --dim\n", text(assumed));

  FCC_TRY(std::vector<Tensor> outputs, model.run(inputs));
  FCC_CHECKED(make_folder(options.folder));
  const std::vector<std::string> names = model.output_names(), files = file_names(names);
  for (size_t k = 0; k < outputs.size(); ++k) {
    const std::string path = (std::filesystem::path(options.folder) / files[k]).string();
    FCC_CHECKED(write_npy(path, outputs[k]));
    fmt::print("{} {}\n", path, outputs[k].type().text());
  }
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<RunOptions>();
  app.add_option("model", o->model, "the compiled model, a .so")->required();
  app.add_option("-i,--input", o->inputs, "data for an input; the name may be left out when there is one input")
      ->type_name("NAME=FILE.npy")
      ->expected(1)
      ->take_all();
  app.add_option("-o,--output", o->folder, "folder that receives OUTPUT.npy for each output, made when missing")
      ->type_name("DIR")
      ->required();
  o->threads.add(app);
  app.add_option("--entry", o->entry, "which entry of the model; default: the first")->type_name("NAME");
  app.add_flag("--random", o->random, "random data for the inputs without a file");
  app.add_option("--dim", o->dims, "size of an open dimension of the random inputs")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  app.add_option("--range", o->range, "range of random floats; default -1..1")->type_name("LOW..HIGH");
  app.add_option("--seed", o->seed, "of the random inputs; default 1")->type_name("N");
  return [o] { return run(*o); };
}

}  // namespace

Command run_command() {
  return {
      .name = "run",
      .usage = "run MODEL.so -i NAME=x.npy ... -o DIR [--threads T]",
      .summary = "Call a compiled model once, .npy files in and out.",
      .about =
          "Every output is written to DIR/OUTPUT.npy, where characters of the output's name outside A-Z a-z 0-9 _ . - "
          "are written _. "
          "bfloat16 travels as its raw bits in uint16. The paths and types written are printed.",
      .examples = {{"fcc run digits.so -i image=seven.npy -o out", "one input by name; the result is in out/"},
                   {"fcc run digits.so -i seven.npy -o out --threads 1",
                    "the name is not needed when there is one input"},
                   {"fcc run digits.so --random --dim N=64 -o out", "no data at hand: 64 random rows"}},
      .setup = setup,
  };
}

}  // namespace fcc
