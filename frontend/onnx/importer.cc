#include "frontend/onnx/importer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "frontend/onnx/operators.h"
#include "ir/fold.h"

namespace fcc {

using onnx::AttributeProto;
using onnx::NodeProto;

Importer::Importer(onnx::ModelProto& model, const FunctionTable& functions, const ModelFacts& facts,
                   const TrainingBindings& training, ExternalFiles& files, std::string file)
    : model_(model),
      functions_(functions),
      facts_(facts),
      training_(training),
      tensors_(files),
      file_(std::move(file)) {}

Status Importer::run(const ImportOptions& options, Import& out) {
  graph_ = &out.graph;
  graph_->file = file_;
  graph_->name = model_.graph().name().empty() ? file_.substr(0, file_.rfind('.')) : printable(model_.graph().name());
  frames_.push_back({&model_.graph().node(), 0, -1, facts_.opset, "", nullptr});
  FCC_CHECKED(import_interface(options, out));
  run_frames();
  import_outputs();
  import_updates(options.training);
  if (Status s = tensors_.finish(); !s) fault(std::move(s).error());
  if (Status s = dims_.check_settings(); !s) fault(std::move(s).error());
  out.bounds = dims_.bounds();
  return faults_.status();
}

// ---- diagnostics ----------------------------------------------------------------------------------------

void Importer::fault(Diagnostic d) {
  if (d.where.empty()) {
    d.where = outer_ < 0 ? file_ : place(file_, outer_, frames_.empty() ? facts_.opset : frame().opset);
  } else {
    d.where = file_ + ", " + d.where;
  }
  faults_.add(std::move(d));
}

ValueId Importer::unusable(Diagnostic why) {
  unusable_.push_back(std::move(why));
  return kUnusable - static_cast<ValueId>(unusable_.size() - 1);
}

void Importer::mark_faulty(const NodeProto& node) {
  for (const std::string& name : node.output()) frame().names[name] = kFaulty;
}

Loc Importer::loc_of(const NodeProto& node) const {
  const Frame& f = frames_.back();
  return {node.name().empty() ? "" : printable(f.prefix + node.name()), outer_, static_cast<int32_t>(f.opset)};
}

// ---- inputs and initializers ----------------------------------------------------------------------------

Result<TensorType> Importer::input_type(const onnx::ValueInfoProto& input) {
  const std::string what = "input " + quoted(input.name());
  const onnx::TypeProto& type = input.type();
  if (!type.has_tensor_type()) {
    if (!input.has_type() || type.value_case() == onnx::TypeProto::VALUE_NOT_SET)
      return fail(what + " has no type", {}, "give its element type and shape in the file");
    return fail(what + " is no tensor", {},
                "sequences, maps, optionals and sparse tensors are not supported as inputs");
  }
  if (auto d = unsupported_dtype(type.tensor_type().elem_type(), what)) return fail(std::move(*d));
  if (!type.tensor_type().has_shape())
    return fail(what + " has no shape", {},
                "export with a shape; unknown sizes may be open dimensions, the rank must be known");
  const DType dtype = *dtype_from_onnx(type.tensor_type().elem_type());
  const bool may_be_sizes = is_int(dtype) && type.tensor_type().shape().dim_size() == 1;
  FCC_TRY(Dims dims, dims_.dims_of(type.tensor_type().shape(), input.name(), !may_be_sizes));
  TensorType t{dtype, std::move(dims)};
  int64_t bytes = byte_size(t.dtype);
  for (const SymExpr& d : t.dims)
    if (d.is_constant()) bytes = saturating_multiply(bytes, std::max<int64_t>(d.constant(), 1));
  if (bytes > kMaxTensorBytes)
    return fail(fmt::format("{} of type {} is too large", what, t.text()), {}, "no tensor may exceed 64 TiB");
  return t;
}

Status Importer::import_interface(const ImportOptions& options, Import& out) {
  FCC_TRY(dims_, OpenDims::parse(options.dims));
  dims_.open_extents(options.open_extents);
  onnx::GraphProto& g = *model_.mutable_graph();
  std::unordered_map<std::string_view, bool> initialized;  // of the names that are inputs
  for (const auto& i : g.input()) initialized[i.name()] = false;
  const auto note = [&](std::string_view name) {
    if (auto it = initialized.find(name); it != initialized.end()) it->second = true;
  };
  for (const auto& t : g.initializer()) note(t.name());
  for (const auto& t : g.sparse_initializer()) note(t.values().name());
  const auto is_input = [&](const onnx::ValueInfoProto& i) {
    return options.initializers_stay_inputs || !initialized.at(i.name());
  };
  for (const auto& i : g.input())
    if (is_input(i)) dims_.note_names(i.type().tensor_type().shape());
  frame().names.reserve(static_cast<size_t>(g.initializer_size()) + static_cast<size_t>(g.node_size()));
  for (const auto& i : g.input()) {
    if (!is_input(i)) continue;
    Result<TensorType> type = input_type(i);
    if (!type) {
      fault(std::move(type).error());
      frame().names[i.name()] = kFaulty;
    } else {
      frame().names[i.name()] = graph_->add_input(i.name(), *std::move(type));
    }
  }
  import_initializers(g, frame(), &out);
  for (const auto& [name, v] : out.initializers)
    if (options.weights_stay && is_float(graph_->value(v).type.dtype) && graph_->value(v).type.rank() > 0)
      weights_.insert(v);
  return {};
}

// Equal bytes are kept once. The values stay apart: two biases that both start at zero are trained separately.
Tensor Importer::shared(Tensor t) {
  static constexpr int64_t kWorthSharing = 256;
  if (t.bytes() < kWorthSharing) return t;
  const size_t hash =
      std::hash<std::string_view>()({reinterpret_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes())});
  std::vector<Tensor>& same_hash = storage_[hash];
  for (const Tensor& s : same_hash)
    if (s.same_bits(t)) return s;
  same_hash.push_back(t);
  return t;
}

// A constant; a state when the model's own training moves it. The rate of an optimizer is the state that programs set,
// f64 as they expect it.
ValueId Importer::add_initializer(const std::string& name, Tensor data) {
  if (training_.states.contains(name)) return graph_->add_state(name, data.type(), data);
  if (!training_.rates.contains(name)) return graph_->add_constant(name, std::move(data));
  const DType type = data.dtype();
  const auto rates = std::count_if(graph_->states().begin(), graph_->states().end(),
                                   [&](ValueId v) { return graph_->value(v).name.starts_with("hyper/lr"); });
  const ValueId rate = graph_->add_state(rates == 0 ? "hyper/lr" : fmt::format("hyper/lr.{}", rates), {DType::f64, {}},
                                         Tensor::scalar(DType::f64, data.get_double(0)));
  if (type == DType::f64) return rate;
  GraphBuilder b(*graph_, {"rate", -1, 0});
  return b("Cast", {rate}, {{"to", type}});
}

void Importer::bind_initializer(Frame& frame, std::string_view name, int32_t onnx_type, Result<Tensor> data,
                                Import* out) {
  if (frame.names.contains(name)) return;  // an input that stays one
  if (!data) {
    const bool only_unsupported = exists_in_onnx(onnx_type) && !dtype_from_onnx(onnx_type);
    if (only_unsupported) {
      frame.names[name] = unusable(std::move(data).error());
    } else {
      fault(std::move(data).error());
      frame.names[name] = kFaulty;
    }
    return;
  }
  const ValueId v = add_initializer(frame.prefix + std::string(name), shared(*std::move(data)));
  frame.names[name] = v;
  if (out) out->initializers.emplace_back(name, v);
}

void Importer::import_initializers(onnx::GraphProto& g, Frame& frame, Import* out) {
  for (auto& t : *g.mutable_initializer()) {
    const std::string what = "initializer " + quoted(t.name());
    if (!dtype_from_onnx(t.data_type()))
      if (Status s = tensors_.check_size(t, what); !s) fault(std::move(s).error());
    bind_initializer(frame, t.name(), t.data_type(), tensors_.take(t, what), out);
  }
  for (const auto& t : g.sparse_initializer())
    bind_initializer(frame, t.values().name(), t.values().data_type(),
                     tensors_.read_sparse(t, "initializer " + quoted(t.values().name())), out);
}

void Importer::import_initializers(const onnx::GraphProto& g, Frame& frame) {
  for (const auto& t : g.initializer())
    bind_initializer(frame, t.name(), t.data_type(), tensors_.read(t, "initializer " + quoted(t.name())), nullptr);
  for (const auto& t : g.sparse_initializer())
    bind_initializer(frame, t.values().name(), t.values().data_type(),
                     tensors_.read_sparse(t, "initializer " + quoted(t.values().name())), nullptr);
}

void Importer::import_outputs() {
  outer_ = -1;
  for (const auto& o : model_.graph().output()) {
    const ValueId v = frames_.front().names.at(o.name());
    if (v <= kUnusable) fault(unusable_[static_cast<size_t>(kUnusable - v)]);
    if (v < 0) continue;
    const int32_t declared = o.type().tensor_type().elem_type();
    const DType computed = graph_->value(v).type.dtype;
    if (o.type().has_tensor_type() && declared != 0 && dtype_from_onnx(declared) != computed)
      fault({.what = fmt::format("output {} is declared as {}, but the graph computes {}", quoted(o.name()),
                                 onnx_dtype_name(declared), onnx_dtype_name(onnx_number(computed))),
             .hint = "correct the declared type, or add a Cast"});
    graph_->add_output(o.name(), v);
  }
}

void Importer::import_updates(OwnTraining how) {
  if (how != OwnTraining::step) return;
  for (const auto& [state, next] : training_.updates) {
    const std::optional<ValueId> s = lookup(state), n = lookup(next);
    if (!s || *s < 0 || (n && *n < 0)) continue;  // refused already
    if (!n) {
      fault({.what = fmt::format("the training updates {} by {}, which nothing makes", quoted(state), quoted(next)),
             .hint = "update_binding names a result of the algorithm"});
    } else if (graph_->value(*n).type != graph_->value(*s).type) {
      fault({.what = fmt::format("the training updates {} of type {} by {} of type {}", quoted(state),
                                 graph_->value(*s).type.text(), quoted(next), graph_->value(*n).type.text())});
    } else {
      graph_->updates.emplace_back(*s, *n);
    }
  }
}

// ---- frames ---------------------------------------------------------------------------------------------

std::optional<ValueId> Importer::lookup(std::string_view name) const {
  for (int i = static_cast<int>(frames_.size()) - 1; i >= 0; i = frames_[static_cast<size_t>(i)].parent) {
    const Frame& f = frames_[static_cast<size_t>(i)];
    if (auto it = f.names.find(name); it != f.names.end()) return it->second;
  }
  return std::nullopt;
}

const AttributeProto* Importer::resolve(const AttributeProto& a) const {
  if (a.ref_attr_name().empty()) return &a;
  const auto& bound = frames_.back().attributes;
  if (!bound) return nullptr;
  auto it = bound->find(a.ref_attr_name());
  return it == bound->end() ? nullptr : it->second;  // absent: the operator's default holds
}

void Importer::run_frames() {
  while (!faults_.full()) {
    Frame& f = frame();
    if (f.next < f.nodes->size()) {
      if (frames_.size() == 1) outer_ = f.next;
      step((*f.nodes)[f.next++]);
    } else if (frames_.size() > 1) {
      finish_frame();
    } else {
      return;
    }
  }
  while (frames_.size() > 1) frames_.pop_back();
  for (const auto& o : model_.graph().output()) frame().names.try_emplace(o.name(), kFaulty);
}

// Hands the results of a function or branch to the frame below, under the names that it gives them.
void Importer::finish_frame() {
  std::vector<ValueId> values;
  for (const auto& [inner, outer] : frame().results) values.push_back(lookup(inner).value_or(kFaulty));
  const Frame done = std::move(frames_.back());
  frames_.pop_back();
  for (size_t k = 0; k < values.size(); ++k) {
    const ValueId v = values[k];
    const std::string_view name = done.results[k].second;
    frame().names[name] = v;
    if (v >= 0 && graph_->value(v).role == Role::temp && graph_->value(v).name.starts_with(done.prefix))
      graph_->rename(v, frame().prefix + std::string(name));
  }
}

void Importer::call(const Function& function, const NodeProto& node, const std::vector<ValueId>& in) {
  const onnx::FunctionProto& f = *function.proto;
  const std::string what = describe(node);
  if (node.input_size() > f.input_size() || node.output_size() > f.output_size()) {
    fault({.what = fmt::format("{}: the function takes {} inputs and gives {} outputs, the node has {} and {}", what,
                               f.input_size(), f.output_size(), node.input_size(), node.output_size()),
           .hint = "the file is damaged, or the function belongs to another model"});
    return mark_faulty(node);
  }
  auto bindings = std::make_shared<Bindings>();
  for (const auto& a : function.defaults) bindings->emplace(a.name(), &a);
  for (const auto& a : node.attribute())
    if (const AttributeProto* bound = resolve(a)) (*bindings)[a.name()] = bound;
  Frame inner{
      &f.node(),
      0,
      -1,
      function.opset,
      frame().prefix + (node.name().empty() ? fmt::format("{}_{}", printable(f.name()), outer_) : node.name()) + "/",
      std::move(bindings)};
  for (int k = 0; k < f.input_size(); ++k)
    inner.names[f.input(k)] = static_cast<size_t>(k) < in.size() ? in[static_cast<size_t>(k)] : kNoValue;
  for (int k = 0; k < node.output_size(); ++k)
    if (!node.output(k).empty()) inner.results.emplace_back(f.output(k), node.output(k));
  frames_.push_back(std::move(inner));
}

void Importer::import_if(const NodeProto& node, ValueId condition) {
  const SymTensor* known = condition >= 0 ? graph_->value(condition).content.get() : nullptr;
  const std::string what = describe(node);
  if (!known || known->elements.size() != 1 || !known->is_constant()) {
    fault({.what = what + ": its condition is only known while the model runs, which is not supported yet",
           .hint = "export with the sizes fixed, so that the condition becomes a constant"});
    return mark_faulty(node);
  }
  const std::string_view branch = known->elements[0].is(0) ? "else_branch" : "then_branch";
  const onnx::GraphProto* body = nullptr;
  for (const auto& a : node.attribute())
    if (const AttributeProto* bound = resolve(a); a.name() == branch && bound && bound->has_g()) body = &bound->g();
  if (!body || body->output_size() != node.output_size() || body->input_size() > 0) {
    fault({.what = !body ? fmt::format("{}: misses its attribute \"{}\"", what, branch)
                         : fmt::format("{}: its {} has {} inputs and {} outputs, expected 0 and {}", what, branch,
                                       body->input_size(), body->output_size(), node.output_size()),
           .hint = "both branches of an If take nothing and give what the node gives"});
    return mark_faulty(node);
  }
  const auto parent = static_cast<int>(frames_.size()) - 1;
  Frame inner{&body->node(),
              0,
              parent,
              frame().opset,
              frame().prefix + (node.name().empty() ? fmt::format("If_{}", outer_) : node.name()) + "/",
              frame().attributes};
  import_initializers(*body, inner);
  for (int k = 0; k < node.output_size(); ++k)
    if (!node.output(k).empty()) inner.results.emplace_back(body->output(k).name(), node.output(k));
  frames_.push_back(std::move(inner));
}

// ---- nodes ----------------------------------------------------------------------------------------------

// False when an operand's own node has been refused: this one is passed over in silence.
bool Importer::resolve_operands(const NodeProto& node, std::vector<ValueId>& in) {
  bool usable = true;
  for (const std::string& name : node.input()) {
    const std::optional<ValueId> v = name.empty() ? kNoValue : lookup(name);
    if (!v) {
      fault({.what = fmt::format("{} reads {}, which nothing makes", describe(node), quoted(name)),
             .hint = "name an input, an initializer or a result of an earlier node"});
      usable = false;
    } else if (*v <= kUnusable) {
      Diagnostic why = unusable_[static_cast<size_t>(kUnusable - *v)];
      why.what = describe(node) + ": " + why.what;
      fault(std::move(why));
      usable = false;
    } else if (*v == kFaulty) {
      usable = false;
    }
    in.push_back(v.value_or(kNoValue));
  }
  return usable;
}

// An operator of fcc in a file that fcc has written; its function is for other tools.
static bool is_own(const NodeProto& node) {
  return node.domain() == kFccDomain && registry().find(fcc_operator(node.op_type())) != nullptr;
}

void Importer::step(const NodeProto& node) {
  std::vector<ValueId> in;
  if (!resolve_operands(node, in)) return mark_faulty(node);
  if (const Function* f = functions_.find(node); f && !is_own(node)) return call(*f, node, in);
  if (domain_of(node.domain()).empty() && node.op_type() == "Constant") return import_constant(node);
  if (domain_of(node.domain()).empty() && node.op_type() == "If") return import_if(node, in.empty() ? kNoValue : in[0]);
  const bool gradient = node.domain() == kTrainingDomain && node.op_type() == "Gradient";
  if (Status s = gradient ? import_gradient(node, in) : import_node(node, std::move(in)); !s) {
    Diagnostic d = std::move(s).error();
    if (d.hint.empty())
      d.hint = fmt::format("what it takes: https://onnx.ai/onnx/operators/onnx__{}.html", printable(node.op_type()));
    fault(std::move(d));
    mark_faulty(node);
  }
}

static Result<Tensor> constant_tensor(const AttrValue& v, const std::string& what) {
  if (const auto* t = std::get_if<Tensor>(&v)) return *t;
  if (const auto* i = std::get_if<int64_t>(&v)) {
    Tensor t(DType::i64, {});
    t.set_int(0, *i);
    return t;
  }
  if (const auto* f = std::get_if<double>(&v)) return Tensor::scalar(DType::f32, *f);
  if (const auto* i = std::get_if<std::vector<int64_t>>(&v)) return Tensor::ints(*i);
  if (const auto* f = std::get_if<std::vector<double>>(&v)) {
    Tensor t(DType::f32, {static_cast<int64_t>(f->size())});
    for (size_t k = 0; k < f->size(); ++k) t.set_double(static_cast<int64_t>(k), (*f)[k]);
    return t;
  }
  return fail(what + " holds text, which is not supported", {}, "remove the text from the model");
}

void Importer::import_constant(const NodeProto& node) {
  const std::string what = describe(node);
  const auto refuse = [&](Diagnostic d) {
    fault(std::move(d));
    mark_faulty(node);
  };
  if (node.output_size() != 1 || node.attribute_size() != 1)
    return refuse({.what = fmt::format("{} has {} attributes and {} results, expected one of each", what,
                                       node.attribute_size(), node.output_size())});
  const AttributeProto* a = resolve(node.attribute(0));
  if (!a)
    return refuse({.what = fmt::format("{}: the function's attribute {} is not given", what,
                                       quoted(node.attribute(0).ref_attr_name()))});
  if (attribute_type(*a) == AttributeProto::TENSOR)
    if (auto d = unsupported_dtype(a->t().data_type(), what); d && exists_in_onnx(a->t().data_type())) {
      frame().names[node.output(0)] = unusable(std::move(*d));
      return;
    }
  Result<AttrValue> value = attribute_value(*a, tensors_, what);
  Result<Tensor> t = value ? constant_tensor(*value, what) : std::unexpected(value.error());
  if (!t) return refuse(std::move(t).error());
  frame().names[node.output(0)] = graph_->add_constant(frame().prefix + node.output(0), shared(*std::move(t)));
}

// The diagnostic of an operator's infer lists operand types; add the operands' names.
static void name_operands(const Graph& g, const NodeForm& n, Diagnostic& d) {
  std::string types, named;
  for (ValueId v : n.in) {
    const std::string type = v == kNoValue ? "(none)" : g.value(v).type.text();
    types += (types.empty() ? "" : "  ") + type;
    named += (named.empty() ? "" : "  ") + (v == kNoValue ? type : printable(g.value(v).name) + " " + type);
  }
  if (d.seen.empty() || d.seen == types) d.seen = named;
}

Status Importer::import_node(const NodeProto& node, std::vector<ValueId> in) {
  NodeForm n{*graph_,
             is_own(node) ? std::string(fcc_operator(node.op_type())) : full_op_name(node.domain(), node.op_type()),
             frame().opset,
             std::move(in),
             {node.output().begin(), node.output().end()},
             {},
             loc_of(node),
             {}};
  const std::string what = describe(node);
  for (const auto& a : node.attribute()) {
    const AttributeProto* bound = resolve(a);
    if (!bound) continue;
    FCC_TRY(AttrValue value, attribute_value(*bound, tensors_, what));
    n.attrs.set(a.name(), std::move(value));
  }
  const auto refuse = [&](Diagnostic d) {
    name_operands(*graph_, n, d);
    return std::unexpected(std::move(d));
  };
  if (!is_own(node))
    if (Status s = upgrades().run(n); !s) return refuse(std::move(s).error());
  if (n.results.empty()) {
    const OpDef* def = registry().find(n.op);
    FCC_CHECK(def, "{} has passed the check for unsupported operators", n.op);
    FCC_CHECKED(fit_attributes(*def, n.attrs, what));
    while (!n.out.empty() && n.out.back().empty()) n.out.pop_back();
    if (n.out.empty()) return {};  // nobody reads it
    std::vector<std::string> names;
    for (const std::string& o : n.out) names.push_back(o.empty() ? "" : frame().prefix + o);
    const auto n_results = static_cast<int32_t>(names.size());
    Result<NodeId> added = graph_->add(*def, n.in, n.attrs, n.loc, std::move(names), nullptr, n_results);
    if (!added) return refuse(std::move(added).error());
    n.results = graph_->node(*added).out;
  } else {
    for (size_t k = 0; k < n.results.size() && k < n.out.size(); ++k)
      if (!n.out[k].empty()) graph_->rename(n.results[k], frame().prefix + n.out[k]);
  }
  const auto is_weight = [&](ValueId v) { return v != kNoValue && weights_.contains(v); };
  if (!std::any_of(n.in.begin(), n.in.end(), is_weight)) FCC_CHECKED(fold_if_known(*graph_, n.results));
  bind_results(node, n.results);
  return {};
}

void Importer::bind_results(const NodeProto& node, const std::vector<ValueId>& results) {
  for (int k = 0; k < node.output_size(); ++k) {
    const std::string& name = node.output(k);
    if (name.empty()) continue;
    const ValueId v = static_cast<size_t>(k) < results.size() ? results[static_cast<size_t>(k)] : kFaulty;
    frame().names[name] = v;
  }
}

}  // namespace fcc
