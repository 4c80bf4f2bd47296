// fcc check: what a model is and whether it can be compiled, before compiling it.
#include <nlohmann/json.hpp>

#include "frontend/onnx/import.h"
#include "tools/cost.h"
#include "tools/driver/train.h"
#include "tools/fcc/arguments.h"

namespace fcc {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  std::vector<std::string> dims;
  bool json = false, train = false;
  TrainOptions training;
};

// What only a model that imports can tell.
struct Costs {
  SymExpr flops_expression;
  int64_t flops = 0, activation_bytes = 0;  // with every open dimension at its smallest
  Sizes sizes;
};

Costs costs_of(const Import& import) {
  Costs c;
  for (const std::string& symbol : import.graph.symbols()) {
    auto bounds = import.bounds.find(symbol);
    c.sizes[symbol] = bounds == import.bounds.end() ? 1 : std::max<int64_t>(bounds->second.min, 1);
  }
  c.flops_expression = total_flops(import.graph);
  c.flops = evaluate_size(c.flops_expression, c.sizes);
  c.activation_bytes = peak_activation_bytes(import.graph, c.sizes);
  return c;
}

std::string place(const UnsupportedNode& u) {
  std::string text = u.op;
  if (!u.node.empty()) text += fmt::format(" \"{}\"", u.node);
  if (u.index >= 0) text += fmt::format(", node {}", u.index);
  return text;
}

void print_list(const char* title, const std::vector<std::string>& lines) {
  for (size_t k = 0; k < lines.size(); ++k) fmt::print("{:<12}{}\n", k == 0 ? title : "", lines[k]);
}

void print_text(const ModelSummary& s, const std::optional<Costs>& costs) {
  fmt::print("{:<12}{}\n", "model", s.file);
  fmt::print("{:<12}{}, opset {}, ir version {}\n", "producer", s.producer.empty() ? "unknown" : s.producer, s.opset,
             s.ir_version);
  print_list("inputs", s.inputs);
  print_list("outputs", s.outputs);
  if (!s.open_dims.empty()) fmt::print("{:<12}{}\n", "open dims", fmt::join(s.open_dims, ", "));
  fmt::print("{:<12}{} ({})\n", "parameters", count_text(static_cast<double>(s.parameters)),
             bytes_text(static_cast<double>(s.parameter_bytes)));
  if (costs) {
    const std::string at =
        costs->sizes.empty() ? "" : " at " + text(DimSizes(costs->sizes.begin(), costs->sizes.end()));
    fmt::print("{:<12}{}FLOP a call{}\n", "arithmetic",
               count_text(static_cast<double>(costs->flops)) + (costs->flops < 1000 ? " " : ""), at);
    if (!costs->flops_expression.is_constant() && costs->flops_expression.text().size() <= 80)
      fmt::print("{:<12}{}\n", "", costs->flops_expression.text());
    fmt::print("{:<12}{} weights + {} activations{}, before fusion\n", "memory",
               bytes_text(static_cast<double>(s.parameter_bytes)),
               bytes_text(static_cast<double>(costs->activation_bytes)), at);
  }
  std::vector<std::string> counts;
  for (const auto& [op, n] : s.operators) counts.push_back(fmt::format("{} {}", n, op));
  fmt::print("{:<12}{}\n", "operators", fmt::join(counts, ", "));
  for (const UnsupportedNode& u : s.unsupported) fmt::print("{:<12}{}: {}\n", "unsupported", place(u), u.reason);
  if (s.unsupported.empty() && s.faults.empty()) fmt::print("{:<12}yes\n", "compiles");
}

Json to_json(const ModelSummary& s, const std::optional<Costs>& costs) {
  Json json = {{"file", s.file},
               {"supported", s.unsupported.empty() && s.faults.empty()},
               {"producer", s.producer},
               {"sha256", s.sha256},
               {"ir_version", s.ir_version},
               {"opset", s.opset},
               {"graph", s.graph_name},
               {"inputs", s.inputs},
               {"outputs", s.outputs},
               {"open_dims", s.open_dims},
               {"nodes", s.nodes},
               {"operators", s.operators},
               {"parameters", s.parameters},
               {"parameter_bytes", s.parameter_bytes}};
  if (costs) {
    json["flops"] = costs->flops;
    json["flops_expression"] = costs->flops_expression.text();
    json["activation_bytes"] = costs->activation_bytes;
    json["memory_bytes"] = saturating_add(s.parameter_bytes, costs->activation_bytes);
    json["sizes"] = costs->sizes;
  }
  json["unsupported"] = Json::array();
  for (const UnsupportedNode& u : s.unsupported)
    json["unsupported"].push_back({{"op", u.op}, {"node", u.node}, {"index", u.index}, {"reason", u.reason}});
  json["faults"] = Json::array();
  for (const Diagnostic& d : s.faults)
    json["faults"].push_back({{"what", d.what}, {"where", d.where}, {"seen", d.seen}, {"hint", d.hint}});
  return json;
}

std::string place_of(const Diagnostic& d) { return d.where.empty() ? "" : " (" + d.where + ")"; }

// The parameters, and what stands between them and the loss.
Result<ExitCode> check_train(const Options& options) {
  CompileOptions compile;
  compile.dims = options.dims;
  FCC_TRY(TrainingCheck c, check_train_file(options.model, options.training, compile));
  if (options.json) {
    Json json = {{"parameters", Json::array()}, {"missing", Json::array()}, {"notes", c.notes}, {"trainable", c.missing.empty()}};
    for (const TrainingState& s : c.states)
      json["parameters"].push_back({{"name", s.name}, {"shape", s.type.extents()}, {"buffer", s.role == StateRole::buffer}, {"trainable", s.trainable}});
    for (const auto& m : c.missing) json["missing"].push_back({{"what", m.reason.what}, {"where", m.reason.where}, {"hint", m.reason.hint}, {"behind", m.behind}});
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    return c.missing.empty() ? kDone : kModelFault;
  }
  for (const TrainingState& s : c.states)
    fmt::print("{:<10} {:<24} {}\n", s.role == StateRole::buffer ? "buffer" : s.trainable ? "trained" : "frozen", s.type.text(), s.name);
  for (const auto& m : c.missing) {
    fmt::print("no gradient: {}{}\n", m.reason.what, place_of(m.reason));
    if (!m.behind.empty()) fmt::print("   behind it: {}\n", fmt::join(m.behind, ", "));
  }
  if (!c.missing.empty()) fmt::print("train what is left with: --freeze, a regular expression for the parameters behind the nodes above\n");
  for (const std::string& note : c.notes) fmt::print(stderr, "note: {}\n", note);
  if (c.missing.empty()) fmt::print("{:<10} yes\n", "trains");
  return c.missing.empty() ? kDone : kModelFault;
}

Result<ExitCode> check(const Options& options) {
  if (options.train) return check_train(options);
  const ImportOptions import_options{.dims = options.dims};
  FCC_TRY(ModelSummary summary, survey(options.model, import_options));
  const bool supported = summary.unsupported.empty() && summary.faults.empty();
  std::optional<Costs> costs;
  if (supported) {
    FCC_TRY(Import import, import_file(options.model, import_options));
    for (const std::string& note : import.notes) fmt::print(stderr, "note: {}\n", note);
    costs = costs_of(import);
  }
  if (options.json) {
    fmt::print("{}\n", to_json(summary, costs).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_text(summary, costs);
  }
  for (const Diagnostic& d : summary.faults) fmt::print(stderr, "{}\n", d.text());
  return supported ? kDone : kModelFault;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("--dim", o->dims, "fix (N=64) or bound (N=1..64) an open dimension")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  app.add_flag("--json", o->json, "JSON on stdout");
  app.add_flag("--train", o->train, "can it be trained: its parameters, and every node without a gradient");
  app.add_option("--loss", o->training.loss, "with --train: the loss, as for fcc train")->type_name("LOSS");
  app.add_option("--freeze", o->training.freeze, "with --train: parameters that stay as they are")
      ->type_name("RE")
      ->expected(1)
      ->take_all();
  app.add_option("--trainable", o->training.trainable, "with --train: only these are trained")
      ->type_name("RE")
      ->expected(1)
      ->take_all();
  return [o] { return check(*o); };
}

}  // namespace

Command check_command() {
  return {
      .name = "check",
      .usage = "check MODEL.onnx [--json]",
      .summary = "Say what a model is, what it costs, and every node that is not supported.",
      .about =
          "Operators, opset, inputs, open dimensions, parameters, arithmetic and memory. All unsupported nodes are "
          "listed at once, with their "
          "names and the reason. Exit status 1 when the model cannot be compiled.",
      .examples = {{"fcc check model.onnx", "for reading"},
                   {"fcc check model.onnx --json | jq .flops", "for a script"},
                   {"fcc check model.onnx --dim N=64", "what a batch of 64 costs"},
                   {"fcc check model.onnx --train --freeze '^embed'",
                    "parameters, and nodes through which no gradient goes"}},
      .setup = setup,
  };
}

}  // namespace fcc
