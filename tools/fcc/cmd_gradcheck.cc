// fcc gradcheck: the gradients of a network against finite differences, node by node and as a whole.
#include <algorithm>
#include <cmath>

#include "frontend/onnx/import.h"
#include "ir/eval.h"
#include "ir/op.h"
#include "passes/graph/grad.h"
#include "tools/fcc/arguments.h"
#include "tools/fcc/progress.h"

namespace fcc {
namespace {

constexpr int64_t kUsualSize = 2;    // of an open dimension
constexpr double kTolerance = 1e-6;  // relative; far above what differences in double leave, far below a wrong rule

struct Options {
  std::string model, range = "-1..1";
  std::vector<std::string> inputs, sizes;
  uint64_t seed = 1;
};

// ---- the network in double --------------------------------------------------------------------------------

DType in_double(DType t) {
  return is_float(t) ? DType::f64 : t;
}
Tensor in_double(const Tensor& t) {
  if (!is_float(t.dtype())) return t;
  Tensor d(DType::f64, t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) d.set_double(i, t.get_double(i));
  return d;
}

Result<Graph> in_double(const Graph& g) {
  Graph d;
  std::vector<ValueId> map(static_cast<size_t>(g.value_count()), kNoValue);
  for (ValueId v : g.inputs())
    map[static_cast<size_t>(v)] =
        d.add_input(g.value(v).name, {in_double(g.value(v).type.dtype), g.value(v).type.dims});
  for (ValueId v = 0; v < g.value_count(); ++v)
    if (!g.value(v).dead && g.is_constant(v))
      map[static_cast<size_t>(v)] = d.add_constant(g.value(v).name, in_double(g.value(v).data));
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    Attrs attrs = n.attrs;
    for (const auto& [name, value] : n.attrs.items()) {
      if (auto* t = std::get_if<DType>(&value)) attrs.set(name, in_double(*t));
      if (auto* t = std::get_if<Tensor>(&value)) attrs.set(name, in_double(*t));
    }
    if (n.op->attr("stash_type")) attrs.set("stash_type", int64_t{11});
    std::vector<ValueId> in;
    for (ValueId v : n.in) in.push_back(v == kNoValue ? kNoValue : map[static_cast<size_t>(v)]);
    std::vector<std::string> names;
    for (ValueId v : n.out) names.push_back(g.value(v).name);
    FCC_TRY(const NodeId added, d.add(*n.op, std::move(in), std::move(attrs), n.loc, std::move(names), n.body));
    for (size_t k = 0; k < n.out.size(); ++k) map[static_cast<size_t>(n.out[k])] = d.node(added).out[k];
  }
  for (size_t i = 0; i < g.outputs.size(); ++i) d.add_output(g.output_names[i], map[static_cast<size_t>(g.outputs[i])]);
  return d;
}

// ---- one graph at one point -------------------------------------------------------------------------------

// A number for every element, the same on every machine: the weights of results, and a direction through operands.
double spread(size_t tensor, int64_t element) {
  return std::sin(1.7 * static_cast<double>(element) + 2.3 * static_cast<double>(tensor) + 0.4);
}

Tensor spread_like(size_t tensor, const Tensor& t) {
  Tensor s(t.dtype(), t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) s.set_double(i, spread(tensor, i));
  return s;
}

// Compares <gradient of sum(weights results), direction> with the slope along the direction. All f64 inputs of the
// graph are moved; its outputs are the results.
class Check {
 public:
  Check(Graph g, std::vector<Tensor> inputs) : forward_(std::move(g)), inputs_(std::move(inputs)) {}

  // Relative to the terms of the inner product. At a kink differences mislead: the best of four steps counts.
  Result<double> error() {
    double largest = 0;
    FCC_TRY(const double product, inner_product(largest));
    double best = HUGE_VAL;
    for (double h : {1e-3, 1e-5, 1e-6, 1e-7}) {
      FCC_TRY(const double slope, slope_at(h));
      best = std::min(best, std::fabs(slope - product) / std::max(largest, 1e-12));
      if (best < kTolerance / 100) break;
    }
    return best;
  }

 private:
  Result<double> inner_product(double& largest) {
    Graph g = forward_;
    std::vector<Tensor> inputs = inputs_;
    GradRequest request;
    FCC_TRY(const EvalResult at, evaluate(forward_, inputs_));
    for (size_t i = 0; i < at.outputs.size(); ++i) {
      if (!is_float(at.outputs[i].dtype())) continue;
      request.seeds.emplace_back(g.outputs[i],
                                 g.add_input("dy" + std::to_string(i), TensorType(g.value(g.outputs[i]).type)));
      inputs.push_back(spread_like(100 + i, at.outputs[i]));
    }
    for (ValueId v : forward_.inputs())
      if (is_float(g.value(v).type.dtype)) request.wrt.push_back(v);
    FCC_TRY(const std::vector<ValueId> gradients, add_gradients(g, request));
    g.outputs.clear();
    g.output_names.clear();
    for (ValueId v : gradients) g.add_output(g.value(v).name, v);
    FCC_TRY(const EvalResult r, evaluate(g, inputs));
    double sum = 0, terms = 0;
    for (size_t k = 0; k < r.outputs.size(); ++k)
      for (int64_t i = 0; i < r.outputs[k].elements(); ++i) {
        const double term = r.outputs[k].get_double(i) * spread(k, i);
        sum += term;
        terms += std::fabs(term);
      }
    largest = terms;
    return sum;
  }

  Result<double> value_at(double t) const {
    std::vector<Tensor> inputs = inputs_;
    size_t k = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!is_float(inputs[i].dtype())) continue;
      Tensor moved(inputs[i].dtype(), inputs[i].shape());
      for (int64_t e = 0; e < moved.elements(); ++e) moved.set_double(e, inputs[i].get_double(e) + t * spread(k, e));
      inputs[i] = std::move(moved);
      ++k;
    }
    FCC_TRY(const EvalResult r, evaluate(forward_, inputs));
    double sum = 0;
    for (size_t i = 0; i < r.outputs.size(); ++i)
      if (is_float(r.outputs[i].dtype()))
        for (int64_t e = 0; e < r.outputs[i].elements(); ++e) sum += r.outputs[i].get_double(e) * spread(100 + i, e);
    return sum;
  }

  // Five points around 0.
  Result<double> slope_at(double h) const {
    double sum = 0;
    for (const auto& [t, weight] : {std::pair{1, 8.0}, {-1, -8.0}, {2, -1.0}, {-2, 1.0}}) {
      FCC_TRY(const double value, value_at(t * h));
      sum += weight * value;
    }
    return sum / (12 * h);
  }

  Graph forward_;
  std::vector<Tensor> inputs_;
};

// ---- the command ----------------------------------------------------------------------------------------------

// A little off, so that no two elements tie: behind a Relu many are 0, and a maximum of equals has no slope.
Tensor apart(const Tensor& t) {
  Tensor a(t.dtype(), t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double x = t.get_double(i), u = std::fmod(0.6180339887498949 * static_cast<double>(i), 1.0);
    a.set_double(i, x + 1e-3 * (1 + std::fabs(x)) * u);
  }
  return a;
}

// The node alone, its floating-point operands as inputs.
Result<Check> check_of_node(const Graph& g, const Node& n, const std::vector<Tensor>& values) {
  Graph alone;
  std::vector<Tensor> inputs;
  std::vector<ValueId> in;
  for (size_t k = 0; k < n.in.size(); ++k) {
    if (n.in[k] == kNoValue) {
      in.push_back(kNoValue);
      continue;
    }
    const Tensor& t = values[static_cast<size_t>(n.in[k])];
    const std::string name = "x" + std::to_string(k);
    if (is_float(t.dtype()) && std::ranges::find(n.op->shape_operands, k) == n.op->shape_operands.end()) {
      in.push_back(alone.add_input(name, t.type()));
      inputs.push_back(apart(t));
    } else {
      in.push_back(alone.add_constant(name, t));
    }
  }
  FCC_TRY(const NodeId added,
          alone.add(*n.op, std::move(in), n.attrs, n.loc, {}, n.body, static_cast<int32_t>(n.out.size())));
  for (ValueId v : std::vector<ValueId>(alone.node(added).out)) alone.add_output(alone.value(v).name, v);
  return Check(std::move(alone), std::move(inputs));
}

// Every floating-point constant becomes an input, so that it is differentiated too.
std::vector<Tensor> free_parameters(Graph& g, std::vector<Tensor> inputs, std::vector<std::string>& names) {
  for (ValueId v = 0, end = g.value_count(); v < end; ++v) {
    const Value value = g.value(v);
    if (value.dead || value.role != Role::constant || !is_float(value.type.dtype) || value.content ||
        g.use_count(v) == 0)
      continue;
    const ValueId free = g.add_input(value.name + ".free", value.type);
    g.replace_uses(v, free);
    inputs.push_back(value.data);
    names.push_back(value.name);
  }
  return inputs;
}

Result<std::vector<Tensor>> make_inputs(const Options& options, const Import& import) {
  const RandomRange range = parse_range(options.range, options.seed);
  const InputSource source{
      .files = options.inputs, .random = &range, .sizes = parse_dim_sizes(options.sizes), .usual_size = kUsualSize};
  std::vector<WantedInput> wanted;
  for (ValueId v : import.graph.inputs()) {
    const Value& value = import.graph.value(v);
    WantedInput input{.name = value.name, .dtype = value.type.dtype, .dims = {}};
    for (const SymExpr& dim : value.type.dims) input.dims.push_back({.size = dim});
    wanted.push_back(std::move(input));
  }
  DimSizes assumed;
  FCC_TRY(std::vector<Tensor> inputs, gather_inputs(source, wanted, &assumed));
  if (!assumed.empty()) fmt::print(stderr, "assumed {}; choose with --at\n", text(assumed));
  for (Tensor& t : inputs) t = in_double(t);
  return inputs;
}

// Nodes without a gradient, all at once; true when there are none.
bool print_missing(const Graph& g) {
  GradRequest request;
  for (ValueId v : g.outputs)
    if (is_float(g.value(v).type.dtype)) request.seeds.emplace_back(v, kNoValue);
  for (ValueId v : g.inputs())
    if (is_float(g.value(v).type.dtype)) request.wrt.push_back(v);
  const std::vector<MissingGradient> missing = missing_gradients(g, request);
  for (const MissingGradient& m : missing) fmt::print("{}\n", m.reason.text());
  return missing.empty();
}

struct Worst {
  double error = 0;
  std::string node;
  int checked = 0;
};

Result<Worst> check_nodes(const Graph& g, const std::vector<Tensor>& values, ProgressLine& progress) {
  Worst worst;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    const auto floats = [&](const std::vector<ValueId>& list) {
      return std::ranges::any_of(list, [&](ValueId v) { return v != kNoValue && is_float(g.value(v).type.dtype); });
    };
    if (!floats(n.in) || !floats(n.out)) continue;
    progress.show(fmt::format("{} {}", n.op->name, n.loc.node));
    FCC_TRY(Check check, check_of_node(g, n, values));
    FCC_TRY(const double error, check.error());
    ++worst.checked;
    if (error < worst.error && !worst.node.empty()) continue;
    worst.error = error;
    worst.node = fmt::format("{}, node {}", describe(*n.op, n.loc), n.loc.index);
  }
  return worst;
}

Result<ExitCode> gradcheck(const Options& options) {
  FCC_TRY(Import import, import_file(options.model, {}));
  FCC_TRY(const std::vector<Tensor> given, make_inputs(options, import));
  FCC_TRY(Graph g, in_double(import.graph));
  std::vector<std::string> parameters;
  const std::vector<Tensor> inputs = free_parameters(g, given, parameters);
  if (!print_missing(g)) return kModelFault;

  ProgressLine progress;
  progress.show("interpreting");
  std::vector<Tensor> values(static_cast<size_t>(g.value_count()));
  for (size_t i = 0; i < inputs.size(); ++i) values[static_cast<size_t>(g.inputs()[i])] = inputs[i];
  for (ValueId v = 0; v < g.value_count(); ++v)
    if (g.is_constant(v)) values[static_cast<size_t>(v)] = g.value(v).data;
  FCC_TRY(const EvalResult forward,
          evaluate(g, inputs, {}, [&](ValueId v, const Tensor& t) { values[static_cast<size_t>(v)] = t; }));
  FCC_TRY(const Worst worst, check_nodes(g, values, progress));
  progress.show("the whole network");
  FCC_TRY(const double whole, Check(g, inputs).error());
  progress.clear();
  const auto verdict = [](double error) { return error <= kTolerance ? "PASS" : "FAIL"; };
  fmt::print("{} {} nodes by themselves: largest error {:.2g}, at {}\n", verdict(worst.error), worst.checked,
             worst.error, worst.node);
  fmt::print("{} the whole network, {} parameters and {} inputs at once: error {:.2g}\n", verdict(whole),
             parameters.size(), given.size(), whole);
  return worst.error <= kTolerance && whole <= kTolerance ? kDone : kModelFault;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("model", o->model, "the model, an .onnx file")->required();
  app.add_option("-i,--input", o->inputs, "data for an input instead of random values")
      ->type_name("NAME=FILE.npy")
      ->expected(1)
      ->take_all();
  app.add_option("--at", o->sizes, "size of an open dimension of the random inputs; default 2")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  app.add_option("--range", o->range, "range of random floats; default -1..1")->type_name("LOW..HIGH");
  app.add_option("--seed", o->seed, "of the random inputs; default 1")->type_name("N");
  return [o] { return gradcheck(*o); };
}

}  // namespace

Command gradcheck_command() {
  return {
      .name = "gradcheck",
      .usage = "gradcheck MODEL.onnx [-i NAME=x.npy ...]",
      .summary = "Compare the gradients of a network with finite differences.",
      .about =
          "Runs the network in double precision, by the interpreter: every node by itself, at the values that it has "
          "in "
          "the network, then the whole network along one direction through all its parameters and inputs. Names the "
          "node "
          "with the largest error. Differences of five points leave errors around 1e-10; above 1e-6 the exit status is "
          "1. "
          "Nodes without a gradient are listed, all of them. Slow: give small sizes.",
      .examples = {{"fcc gradcheck model.onnx", "at random inputs"},
                   {"fcc gradcheck model.onnx --at N=1 -i image=cat.npy", "a batch of one, at real data"}},
      .setup = setup,
  };
}

}  // namespace fcc
