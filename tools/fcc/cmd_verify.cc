// fcc verify: compiled code against the interpreter, and where they part.
#include <algorithm>

#include "frontend/onnx/import.h"
#include "ir/eval.h"
#include "ir/op.h"
#include "tools/compare.h"
#include "tools/cost.h"
#include "tools/fcc/arguments.h"
#include "tools/fcc/compile_flags.h"
#include "tools/fcc/progress.h"
#include "tools/files.h"
#include "tools/sensitivity.h"

namespace fcc {
namespace {

constexpr int64_t kUsualSize = 3;  // of an open dimension: odd, and no special case like 1

struct Options {
  std::string model, range = "-1..1";
  std::vector<std::string> inputs, sizes;
  uint64_t seed = 1;
  ThreadOption threads;
  CompileFlags flags;
};

std::vector<WantedInput> wanted_inputs(const Import& import) {
  std::vector<WantedInput> wanted;
  for (ValueId v : import.graph.inputs()) {
    const Value& value = import.graph.value(v);
    WantedInput input{.name = value.name, .dtype = value.type.dtype, .dims = {}};
    for (const SymExpr& dim : value.type.dims) {
      WantedDim d{.size = dim};
      for (const std::string& symbol : dim.symbols()) {
        if (auto bounds = import.bounds.find(symbol); bounds != import.bounds.end())
          d.min = bounds->second.min, d.max = bounds->second.max;
      }
      input.dims.push_back(std::move(d));
    }
    wanted.push_back(std::move(input));
  }
  return wanted;
}

// The open dimensions, as the shapes of the inputs tell them.
Sizes sizes_of(const Graph& graph, const std::vector<Tensor>& inputs) {
  Sizes sizes;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const Dims& dims = graph.value(graph.inputs()[k]).type.dims;
    for (size_t d = 0; d < std::min(dims.size(), inputs[k].shape().size()); ++d) {
      const std::vector<std::string> symbols = dims[d].symbols();
      if (symbols.size() == 1 && dims[d] == SymExpr::symbol(symbols[0]))
        sizes.emplace(symbols[0], inputs[k].shape()[d]);
    }
  }
  return sizes;
}

// One model at one set of inputs: compiles graphs derived from it and compares.
class Verifier {
 public:
  Verifier(const Graph& graph, std::vector<Tensor> inputs, CompileOptions options, int threads)
      : graph_(graph),
        inputs_(std::move(inputs)),
        options_(std::move(options)),
        threads_(threads),
        sizes_(sizes_of(graph, inputs_)),
        lengths_(reduction_lengths(graph, sizes_)) {}

  // One comparison an output of the graph, which may have more outputs than the model. What exceeds the plain bound is
  // judged again by how far this graph carries its own roundings.
  Result<std::vector<Comparison>> compare_outputs(const Graph& graph, const CompileOptions& options) {
    const std::string library = fmt::format("{}/{}.so", folder_.path(), compiled_++);
    FCC_TRY(CompileReport report, compile_graph(graph, library, options));
    FCC_TRY(CompiledModel model, CompiledModel::open(library, {.threads = threads_}));
    FCC_TRY(std::vector<Tensor> actual, model.run(inputs_));
    FCC_TRY(EvalResult expected, evaluate(graph, inputs_));
    FCC_CHECK(actual.size() == graph.outputs.size(), "{} outputs, the graph has {}", actual.size(),
              graph.outputs.size());
    std::vector<Comparison> comparisons = compare_all(graph, actual, expected.outputs, {});
    if (std::ranges::all_of(comparisons, &Comparison::equal)) return comparisons;
    FCC_TRY(const std::vector<double> moved, output_sensitivity(graph, inputs_, sizes_, expected.outputs));
    return compare_all(graph, actual, expected.outputs, moved);
  }

  // With every intermediate value an output, the first that differs; nothing when they all agree then.
  Result<std::optional<std::pair<ValueId, Comparison>>> first_difference() {
    Graph exposed = graph_;
    exposed.outputs.clear();
    exposed.output_names.clear();
    for (NodeId n : exposed.order()) {
      for (ValueId v : exposed.node(n).out) {
        if (v != kNoValue) exposed.add_output(fmt::format("value {}", v), v);
      }
    }
    FCC_TRY(std::vector<Comparison> comparisons, compare_outputs(exposed, options_));
    for (size_t k = 0; k < comparisons.size(); ++k) {
      if (!comparisons[k].equal) return std::pair(exposed.outputs[k], comparisons[k]);
    }
    return std::nullopt;
  }

  // The pass without which the model's outputs agree, "" when there is none.
  std::string guilty_pass() {
    for (const auto& [pass, equation] : pass_list()) {
      if (agrees_without(pass)) return pass;
    }
    return "";
  }

 private:
  // `moved`: what each output may be off by beyond the plain bound; empty: nothing.
  std::vector<Comparison> compare_all(const Graph& graph, std::span<const Tensor> actual,
                                      std::span<const Tensor> expected, std::span<const double> moved) const {
    std::vector<Comparison> comparisons;
    for (size_t k = 0; k < actual.size(); ++k) {
      const auto v = static_cast<size_t>(graph.outputs[k]);
      Tolerance tolerance = tolerance_for(expected[k].dtype(), lengths_.at(v));
      if (!moved.empty()) tolerance.absolute += moved[k];
      comparisons.push_back(compare(actual[k], expected[k], tolerance));
    }
    return comparisons;
  }

  bool agrees_without(const std::string& pass) {
    CompileOptions without = options_;
    without.skip.push_back(pass);
    try {
      Result<std::vector<Comparison>> comparisons = compare_outputs(graph_, without);
      return comparisons && std::ranges::all_of(*comparisons, &Comparison::equal);
    } catch (const InternalError&) {  // some passes cannot be left out
      return false;
    }
  }

  const Graph& graph_;
  std::vector<Tensor> inputs_;
  CompileOptions options_;
  int threads_;
  Sizes sizes_;
  std::vector<int64_t> lengths_;
  TemporaryFolder folder_;
  int compiled_ = 0;
};

// A line an output; true when all agree.
bool print_comparisons(const Graph& graph, const std::vector<Comparison>& comparisons) {
  bool equal = true;
  for (size_t k = 0; k < comparisons.size(); ++k) {
    const Comparison& c = comparisons[k];
    equal = equal && c.equal;
    if (c.equal) {
      fmt::print("PASS {}: largest error {:.2g}, {:.2g} of what rounding allows; largest magnitude {:.3g}\n",
                 graph.output_names[k], c.worst_error, c.worst_ratio, c.largest_expected);
    } else {
      fmt::print("FAIL {}: {}\n", graph.output_names[k], c.mismatch);
    }
    if (c.vanishing) {
      fmt::print(stderr,
                 "note: output {} is nearly zero everywhere, so that this says little; give real data with -i\n",
                 graph.output_names[k]);
    }
  }
  return equal;
}

Result<ExitCode> explain(const Graph& graph, Verifier& verifier, ProgressLine& progress) {
  progress.show("looking for the first value that differs");
  FCC_TRY(auto difference, verifier.first_difference());
  progress.clear();
  if (difference) {
    const auto& [v, comparison] = *difference;
    const Node& node = *graph.def(v);
    fmt::print("first difference: {}, node {}, value \"{}\" {}: {}\n", describe(*node.op, node.loc), node.loc.index,
               graph.value(v).name, graph.value(v).type.text(), comparison.mismatch);
    return kModelFault;
  }
  fmt::print("every operator agrees by itself; the difference comes from combining them\n");
  progress.show("looking for the pass that makes the difference");
  const std::string pass = verifier.guilty_pass();
  progress.clear();
  if (!pass.empty()) fmt::print("without the pass {} they agree (--skip {})\n", pass, pass);
  return kModelFault;
}

Result<ExitCode> verify(const Options& options) {
  const RandomRange range = parse_range(options.range, options.seed);
  const InputSource source{
      .files = options.inputs, .random = &range, .sizes = parse_dim_sizes(options.sizes), .usual_size = kUsualSize};
  CompileOptions compile_options = options.flags.options();
  FCC_TRY(Import import, import_file(options.model, {.dims = compile_options.dims}));
  DimSizes assumed;
  FCC_TRY(std::vector<Tensor> inputs, gather_inputs(source, wanted_inputs(import), &assumed));
  if (!assumed.empty()) fmt::print(stderr, "assumed {}; choose with --at\n", text(assumed));

  ProgressLine progress;
  progress.show("compiling, running, interpreting");
  Verifier verifier(import.graph, std::move(inputs), compile_options, options.threads.threads);
  FCC_TRY(std::vector<Comparison> comparisons, verifier.compare_outputs(import.graph, compile_options));
  progress.clear();
  if (print_comparisons(import.graph, comparisons)) return kDone;
  return explain(import.graph, verifier, progress);
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("-i,--input", o->inputs, "data for an input instead of random values")
      ->type_name("NAME=FILE.npy")
      ->expected(1)
      ->take_all();
  app.add_option("--at", o->sizes, "size of an open dimension of the random inputs; default 3")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  o->threads.add(app);
  app.add_option("--range", o->range, "range of random floats; default -1..1")->type_name("LOW..HIGH");
  app.add_option("--seed", o->seed, "of the random inputs; default 1")->type_name("N");
  o->flags.add(app);
  o->flags.add_compact(app);
  return [o] { return verify(*o); };
}

}  // namespace

Command verify_command() {
  return {
      .name = "verify",
      .usage = "verify MODEL.onnx [-i NAME=x.npy ...]",
      .summary = "Compile, run, and compare with the interpreter.",
      .about =
          "The interpreter runs the model operator by operator with plain code. Results may differ by what rounding "
          "explains: by type, by "
          "how many additions are behind an element, and where that is not enough, by how far the model carries its "
          "own "
          "roundings, which the interpreter measures. On a difference, says which node differs first and by how much, "
          "or which pass makes the "
          "difference; then the exit status is 1.",
      .examples = {{"fcc verify model.onnx", "at random inputs"},
                   {"fcc verify model.onnx -i image=cat.npy --target x86-64-v3", "at real data, code for AVX2"},
                   {"fcc verify model.onnx --at N=17 --range 0..1", "an odd batch, inputs that are never negative"}},
      .setup = setup,
  };
}

}  // namespace fcc
