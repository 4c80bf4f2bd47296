#include "frontend/onnx/emit.h"

#include <fmt/format.h>

#include "frontend/onnx/graph_writer.h"
#include "frontend/onnx/import.h"
#include "frontend/onnx/operators.h"

namespace fcc {
namespace {

void set_attribute(onnx::AttributeProto& a, const std::string& name, const AttrValue& value) {
  using onnx::AttributeProto;
  a.set_name(name);
  if (const auto* i = std::get_if<int64_t>(&value)) {
    a.set_type(AttributeProto::INT), a.set_i(*i);
  } else if (const auto* f = std::get_if<double>(&value)) {
    a.set_type(AttributeProto::FLOAT), a.set_f(static_cast<float>(*f));
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    a.set_type(AttributeProto::STRING), a.set_s(*s);
  } else if (const auto* t = std::get_if<DType>(&value)) {
    a.set_type(AttributeProto::INT), a.set_i(onnx_number(*t));
  } else if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) {
    a.set_type(AttributeProto::INTS);
    for (int64_t v : *list) a.add_ints(v);
  } else if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    a.set_type(AttributeProto::FLOATS);
    for (double v : *numbers) a.add_floats(static_cast<float>(v));
  } else if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
    a.set_type(AttributeProto::STRINGS);
    for (const std::string& v : *texts) a.add_strings(v);
  } else if (const auto* dims = std::get_if<Dims>(&value)) {
    a.set_type(AttributeProto::STRINGS);
    for (const SymExpr& e : *dims) a.add_strings(e.text());
  } else if (const auto* tensor = std::get_if<Tensor>(&value)) {
    a.set_type(AttributeProto::TENSOR);
    a.mutable_t()->ParseFromString(write_tensor_proto("", *tensor));
  }
}

}  // namespace

GraphWriter::GraphWriter(const Graph& graph, onnx::GraphProto& out, std::string prefix, std::set<std::string>& taken)
    : g_(graph),
      out_(out),
      nodes_(out.mutable_node()),
      prefix_(std::move(prefix)),
      taken_(taken),
      names_(static_cast<size_t>(graph.value_count())) {}

std::string GraphWriter::fresh(std::string_view wanted) {
  const std::string base = prefix_ + std::string(wanted.empty() ? "value" : wanted);
  std::string name = base;
  for (int k = 1; !taken_.insert(name).second; ++k) name = fmt::format("{}.{}", base, k);
  return name;
}

void GraphWriter::run(const std::set<std::string>& given_inputs) {
  for (ValueId v : g_.inputs()) {
    names_[static_cast<size_t>(v)] = g_.value(v).name;
    if (!given_inputs.contains(g_.value(v).name)) value_info(*out_.add_input(), g_.value(v).name, type(v));
  }
  for (ValueId v : g_.states()) names_[static_cast<size_t>(v)] = g_.value(v).name;
  name_outputs();
  for (NodeId id : g_.order()) {
    for (ValueId v : g_.node(id).in)
      if (g_.is_constant(v) && name(v).empty()) names_[static_cast<size_t>(v)] = constant(g_.value(v).data);
    for (ValueId v : g_.node(id).out)
      if (v != kNoValue && name(v).empty()) names_[static_cast<size_t>(v)] = fresh(g_.value(v).name);
    one(g_.node(id));
  }
  for (const auto& [v, as] : copies_) {
    if (g_.is_constant(v) && name(v).empty()) names_[static_cast<size_t>(v)] = constant(g_.value(v).data);
    node("Identity", {name(v)}, {as});
  }
}

// A result that is an output has its name; anything else is copied.
void GraphWriter::name_outputs() {
  for (size_t i = 0; i < g_.outputs.size(); ++i) {
    const ValueId v = g_.outputs[i];
    std::string as = g_.output_names[i];
    if (!taken_.insert(as).second) as = fresh(as);
    value_info(*out_.add_output(), as, type(v));
    if (g_.value(v).role == Role::temp && name(v).empty())
      names_[static_cast<size_t>(v)] = as;
    else
      copies_.emplace_back(v, as);
  }
}

void GraphWriter::update(ValueId next) {
  if (g_.value(next).role != Role::temp) {
    if (name(next).empty()) names_[static_cast<size_t>(next)] = constant(g_.value(next).data);
    names_[static_cast<size_t>(next)] = op("Identity", {name(next)});
  }
  for (const auto& o : out_.output())
    if (o.name() == name(next)) return;
  value_info(*out_.add_output(), name(next), type(next));
}

void GraphWriter::initializer(const std::string& name, const Tensor& value) {
  out_.add_initializer()->ParseFromString(write_tensor_proto(name, value));
  taken_.insert(name);
}

std::string GraphWriter::constant(const Tensor& t) {
  static constexpr int64_t kWorthSharing = 256;  // numbers and shapes; a large one comes once
  const std::string key = t.bytes() <= kWorthSharing ? write_tensor_proto("", t) : "";
  if (const auto it = constants_.find(key); it != constants_.end()) return it->second;
  const std::string name = fresh("constant");
  if (nodes_ == out_.mutable_node())
    initializer(name, t);
  else
    node("Constant", {}, {name}, {{"value", t}});
  if (!key.empty()) constants_[key] = name;
  return name;
}

void GraphWriter::value_info(onnx::ValueInfoProto& info, const std::string& name, const TensorType& type) {
  info.set_name(name);
  auto& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx_number(type.dtype));
  auto& shape = *tensor.mutable_shape();
  for (const SymExpr& d : type.dims) {
    auto& dim = *shape.add_dim();
    if (d.is_constant())
      dim.set_dim_value(d.constant());
    else
      dim.set_dim_param(d.text());
  }
}

// ---- nodes ------------------------------------------------------------------------------------------------------

void GraphWriter::node(std::string_view op_type, const Names& in, const Names& out, const Attrs& attrs,
                       std::string_view domain) {
  onnx::NodeProto& n = *nodes_->Add();
  n.set_op_type(std::string(op_type));
  n.set_domain(std::string(domain));
  for (const std::string& s : in) n.add_input(s);
  while (n.input_size() > 0 && n.input(n.input_size() - 1).empty()) n.mutable_input()->RemoveLast();
  for (const std::string& s : out) n.add_output(s);
  for (const auto& [key, value] : attrs.items()) set_attribute(*n.add_attribute(), key, value);
}

std::string GraphWriter::op(std::string_view op_type, Names in, const Attrs& attrs) {
  const std::string result = fresh(op_type);
  node(op_type, in, {result}, attrs);
  return result;
}

bool GraphWriter::as_function(const Node& n, bool (*write)(GraphWriter&, const Node&)) {
  onnx::FunctionProto f;
  f.set_domain(std::string(kFccDomain));
  f.set_name(fmt::format("{}{}{}", n.op->name, kFunctionMark, functions_.size()));
  const std::vector<std::string> names = names_;
  std::map<std::string, std::string> constants;
  std::swap(constants, constants_);
  nodes_ = f.mutable_node();
  for (size_t k = 0; k < n.in.size(); ++k) {
    f.add_input(fmt::format("in{}", k));
    names_[static_cast<size_t>(n.in[k])] = f.input(static_cast<int>(k));
  }
  for (size_t k = 0; k < n.out.size(); ++k) {
    f.add_output(fmt::format("out{}", k));
    names_[static_cast<size_t>(n.out[k])] = f.output(static_cast<int>(k));
  }
  const bool said = write(*this, n);
  nodes_ = out_.mutable_node();
  std::swap(constants, constants_);
  names_ = names;
  if (!said) return false;
  for (const auto& [key, value] : n.attrs.items()) f.add_attribute(key);
  Names in, out;
  for (ValueId v : n.in) in.push_back(name(v));
  for (ValueId v : n.out) out.push_back(name(v));
  node(f.name(), in, out, n.attrs, kFccDomain);
  functions_.push_back(std::move(f));
  return true;
}

void GraphWriter::one(const Node& n) {
  if (emit_spelled_out(*this, n)) return;
  plain(n);
}

void GraphWriter::plain(const Node& n) {
  Names in, out;
  for (ValueId v : n.in) in.push_back(v == kNoValue ? "" : name(v));
  for (ValueId v : n.out) out.push_back(v == kNoValue ? "" : name(v));
  int64_t needed = opset_;
  while (needed <= kNewestOpset && refusal("", n.op->name, needed)) ++needed;
  if (needed > kNewestOpset) {
    foreign_.insert(std::string(n.op->name));
    return node(n.op->name, in, out, n.attrs, kFccDomain);
  }
  opset_ = needed;
  Attrs attrs = n.attrs;
  if (n.op->name == "Split" && in.size() < 2) attrs.set("num_outputs", static_cast<int64_t>(out.size()));
  node(n.op->name, in, out, attrs);
}

// ---- sizes ------------------------------------------------------------------------------------------------------

std::optional<std::string> GraphWriter::size(const SymExpr& e) {
  if (e.is_constant()) return ints(std::vector{e.constant()});
  if (const auto it = symbols_.find(e.text()); it != symbols_.end()) return it->second;
  for (ValueId v : g_.inputs())
    for (int64_t d = 0; d < type(v).rank(); ++d)
      if (type(v).dims[static_cast<size_t>(d)] == e)
        return symbols_[e.text()] = op("Shape", {name(v)}, {{"start", d}, {"end", d + 1}});
  std::string sum;
  for (const SymTerm& t : e.terms()) {
    std::string product = t.coefficient == 1 && !t.atoms.empty() ? "" : ints(std::vector{t.coefficient});
    for (const SymAtomRef& a : t.atoms) {
      const std::optional<std::string> factor = [&]() -> std::optional<std::string> {
        if (a->kind == SymAtom::Kind::symbol) {
          const SymExpr alone = SymExpr::symbol(a->name);
          return alone == e ? std::nullopt : size(alone);
        }
        if (a->kind != SymAtom::Kind::floordiv || !a->args[0].provably_nonnegative()) return std::nullopt;
        const auto x = size(a->args[0]), y = size(a->args[1]);
        return x && y ? std::optional(op("Div", {*x, *y})) : std::nullopt;
      }();
      if (!factor) return std::nullopt;
      product = product.empty() ? *factor : op("Mul", {product, *factor});
    }
    sum = sum.empty() ? product : op("Add", {sum, product});
  }
  return symbols_[e.text()] = sum;
}

std::optional<std::string> GraphWriter::sizes(const Dims& dims) {
  std::vector<int64_t> numbers;
  for (const SymExpr& d : dims)
    if (d.is_constant()) numbers.push_back(d.constant());
  if (numbers.size() == dims.size()) return ints(numbers);
  Names parts;
  for (const SymExpr& d : dims) {
    const std::optional<std::string> part = size(d);
    if (!part) return std::nullopt;
    parts.push_back(*part);
  }
  return parts.size() == 1 ? parts[0] : op("Concat", parts, {{"axis", int64_t{0}}});
}

// ---- the model --------------------------------------------------------------------------------------------------

Result<EmittedModel> emit_training_model(const Graph& infer, const Graph& step,
                                         const std::vector<EmittedState>& states) {
  onnx::ModelProto model;
  model.set_ir_version(10);
  model.set_producer_name("fcc");
  std::set<std::string> taken;
  std::set<std::string> of_both;  // inputs of the joined graph, each in the list of one of them
  for (const EmittedState& s : states) taken.insert(s.name);
  for (ValueId v : infer.inputs()) of_both.insert(infer.value(v).name);
  taken.insert(of_both.begin(), of_both.end());
  for (ValueId v : step.inputs()) taken.insert(step.value(v).name);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name(infer.name.empty() ? "model" : infer.name);
  GraphWriter of_model(infer, graph, "", taken);
  of_model.run({});

  onnx::TrainingInfoProto& training = *model.add_training_info();
  onnx::GraphProto& algorithm = *training.mutable_algorithm();
  algorithm.set_name(graph.name() + "_step");
  GraphWriter of_step(step, algorithm, "step/", taken);
  of_step.run(of_both);
  for (const auto& [state, next] : step.updates) {
    of_step.update(next);
    auto& binding = *training.add_update_binding();
    binding.set_key(step.value(state).name);
    binding.set_value(of_step.name(next));
  }
  std::set<std::string> used;
  for (ValueId v : step.states()) used.insert(step.value(v).name);
  for (const EmittedState& s : states) {
    if (s.of_model)
      of_model.initializer(s.name, s.value);
    else if (used.contains(s.name))
      of_step.initializer(s.name, s.value);
  }
  EmittedModel out;
  out.foreign.assign(of_step.foreign().begin(), of_step.foreign().end());
  out.foreign.insert(out.foreign.end(), of_model.foreign().begin(), of_model.foreign().end());
  auto& opset = *model.add_opset_import();
  opset.set_version(std::max(of_model.opset(), of_step.opset()));
  for (onnx::FunctionProto f : of_step.functions()) {
    f.add_opset_import()->set_version(opset.version());
    *model.add_functions() = std::move(f);
  }
  if (!out.foreign.empty() || model.functions_size() > 0) {
    auto& own = *model.add_opset_import();
    own.set_domain(std::string(kFccDomain));
    own.set_version(1);
  }
  if (!model.SerializeToString(&out.bytes)) return fail("the training model is too large for one ONNX file (2 GiB)");
  return out;
}

}  // namespace fcc
