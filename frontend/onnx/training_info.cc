#include "frontend/onnx/training_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "frontend/onnx/faults.h"
#include "ir/eval.h"
#include "ir/ops/random.h"

namespace fcc {
namespace {

using onnx::GraphProto;
using onnx::ModelProto;
using onnx::NodeProto;
using onnx::TensorProto;

TensorProto tensor_proto(const std::string& name, const Tensor& t) {
  TensorProto p;
  p.ParseFromString(write_tensor_proto(name, t));
  return p;
}

TensorProto* find_initializer(GraphProto& g, std::string_view name) {
  for (TensorProto& t : *g.mutable_initializer())
    if (t.name() == name) return &t;
  return nullptr;
}

// ---- initialization ---------------------------------------------------------------------------------------------

const onnx::AttributeProto* attribute(const NodeProto& n, std::string_view name) {
  for (const auto& a : n.attribute())
    if (a.name() == name) return &a;
  return nullptr;
}
double number_of(const NodeProto& n, std::string_view name, double otherwise) {
  const onnx::AttributeProto* a = attribute(n, name);
  return a ? a->f() : otherwise;
}

// RandomNormal and RandomUniform have their place here and nowhere else: they become constants, drawn from NumPy's
// generator with the node's seed, or with its position when it has none.
Result<Tensor> drawn(const NodeProto& n, int index) {
  const onnx::AttributeProto *shape = attribute(n, "shape"), *type = attribute(n, "dtype");
  const bool f64 = type && type->i() == TensorProto::DOUBLE;
  if (!shape || (type && !f64 && type->i() != TensorProto::FLOAT))
    return fail(fmt::format("{} {} of the training's initialization needs a shape, and float or double", n.op_type(),
                            quoted(n.name())));
  Tensor t(f64 ? DType::f64 : DType::f32, {shape->ints().begin(), shape->ints().end()});
  const int64_t count = t.elements();
  const auto seed = static_cast<uint32_t>(number_of(n, "seed", index));
  const bool normal = n.op_type() == "RandomNormal";
  const std::vector<double> u = numpy_uniform(seed, normal ? 2 * count : count);
  const double low = number_of(n, "low", 0), high = number_of(n, "high", 1);
  const double mean = number_of(n, "mean", 0), scale = number_of(n, "scale", 1);
  for (int64_t i = 0; i < count; ++i) {
    const auto k = static_cast<size_t>(i);
    t.set_double(i, normal ? mean + scale * std::sqrt(-2 * std::log(1 - u[2 * k])) *
                                        std::cos(2 * std::numbers::pi * u[2 * k + 1])
                           : low + (high - low) * u[k]);
  }
  return t;
}

Status replace_random(GraphProto& g) {
  for (int i = 0; i < g.node_size(); ++i) {
    NodeProto& n = *g.mutable_node(i);
    if (!domain_of(n.domain()).empty() || (n.op_type() != "RandomNormal" && n.op_type() != "RandomUniform")) continue;
    if (n.output_size() != 1) return fail(n.op_type() + " has one result");
    FCC_TRY(const Tensor t, drawn(n, i));
    n.clear_attribute();
    n.set_op_type("Constant");
    onnx::AttributeProto& value = *n.add_attribute();
    value.set_name("value");
    value.set_type(onnx::AttributeProto::TENSOR);
    *value.mutable_t() = tensor_proto("", t);
  }
  return {};
}

// Runs the initialization in the interpreter and puts its results in the place of initializers.
Status initialize(ModelProto& model, onnx::TrainingInfoProto& training) {
  if (!training.has_initialization() || training.initialization_binding_size() == 0) return {};
  if (training.initialization().input_size() > 0)
    return fail("the training's initialization has inputs", {}, "ONNX runs it without any");
  ModelProto alone;
  alone.set_ir_version(model.ir_version());
  *alone.mutable_opset_import() = model.opset_import();
  *alone.mutable_functions() = model.functions();
  *alone.mutable_graph() = training.initialization();
  FCC_CHECKED(replace_random(*alone.mutable_graph()));
  const std::string bytes = alone.SerializeAsString();
  FCC_TRY(const Import import, import_bytes(std::as_bytes(std::span(bytes)), "", {}, "the training's initialization"));
  FCC_TRY(const EvalResult result, evaluate(import.graph, {}));
  for (const auto& binding : training.initialization_binding()) {
    const auto& names = import.graph.output_names;
    const auto at = std::find(names.begin(), names.end(), binding.value());
    TensorProto* t = find_initializer(*model.mutable_graph(), binding.key());
    if (!t) t = find_initializer(*training.mutable_algorithm(), binding.key());
    if (at == names.end() || !t)
      return fail(fmt::format("the training's initialization gives {} the value {}, and the model has no such {}",
                              quoted(binding.key()), quoted(binding.value()), t ? "value" : "initializer"));
    *t = tensor_proto(binding.key(), result.outputs[static_cast<size_t>(at - names.begin())]);
  }
  return {};
}

// ---- the step ---------------------------------------------------------------------------------------------------

template <class List, class Name>
void append_new(List& to, const List& from, Name name) {
  std::set<std::string> known;
  for (const auto& x : to) known.insert(name(x));
  for (const auto& x : from)
    if (known.insert(name(x)).second) *to.Add() = x;
}

// Learning rates: first operands of ONNX's optimizers, and what fcc itself calls one.
void find_rates(const GraphProto& algorithm, TrainingBindings& b) {
  std::set<std::string_view> scalars;
  for (const TensorProto& t : algorithm.initializer()) {
    const bool real = t.data_type() == TensorProto::FLOAT || t.data_type() == TensorProto::DOUBLE;
    if (t.dims_size() == 0 && real && !b.states.contains(t.name())) scalars.insert(t.name());
    if (t.name().starts_with("hyper/lr") && scalars.contains(t.name())) b.rates.insert(t.name());
    if (t.name() == "hyper/seed") b.states.insert(t.name());
  }
  for (const NodeProto& n : algorithm.node())
    if (n.domain() == kTrainingDomain && n.op_type() != "Gradient" && n.input_size() > 0 &&
        scalars.contains(n.input(0)))
      b.rates.insert(n.input(0));
}

void append(GraphProto& g, const GraphProto& algorithm, const TrainingBindings& b) {
  g.mutable_node()->MergeFrom(algorithm.node());
  g.mutable_initializer()->MergeFrom(algorithm.initializer());
  g.mutable_sparse_initializer()->MergeFrom(algorithm.sparse_initializer());
  const auto name = [](const onnx::ValueInfoProto& v) { return v.name(); };
  append_new(*g.mutable_input(), algorithm.input(), name);
  std::set<std::string> next;
  for (const auto& [state, value] : b.updates) next.insert(value);
  google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> results;
  for (const auto& o : algorithm.output())
    if (!next.contains(o.name())) *results.Add() = o;
  append_new(*g.mutable_output(), results, name);
}

}  // namespace

bool has_training_info(const ModelProto& model) {
  return model.training_info_size() > 0 && model.training_info(0).has_algorithm() &&
         model.training_info(0).update_binding_size() > 0;
}

Result<TrainingBindings> join_training(ModelProto& model, OwnTraining how) {
  TrainingBindings b;
  if (model.training_info_size() > 1)
    return fail(fmt::format("the model has {} training_info; one is supported", model.training_info_size()), {},
                "join their algorithms into one");
  onnx::TrainingInfoProto& training = *model.mutable_training_info(0);
  GraphProto& g = *model.mutable_graph();
  GraphProto& algorithm = *training.mutable_algorithm();
  FCC_CHECKED(initialize(model, training));
  b.model_outputs = g.output_size();
  for (const auto& binding : training.update_binding()) {
    const bool own = find_initializer(algorithm, binding.key()) != nullptr;
    if (!own && !find_initializer(g, binding.key()))
      return fail(fmt::format("the training updates {}, which is no initializer", quoted(binding.key())), {},
                  "update_binding names initializers of the model or of the algorithm");
    if (!b.states.insert(binding.key()).second)
      return fail(fmt::format("the training updates {} twice", quoted(binding.key())));
    b.updates.emplace_back(binding.key(), binding.value());
    if (own) b.slots.push_back(binding.key());
  }
  find_rates(algorithm, b);
  if (how == OwnTraining::step) append(g, algorithm, b);
  return b;
}

}  // namespace fcc
