#include "frontend/onnx/model_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "frontend/onnx/training_info.h"
#include "frontend/onnx/walk.h"

namespace fcc {

std::string describe(const onnx::NodeProto& node) {
  const std::string op = node.op_type().empty() ? "node" : printable(full_op_name(node.domain(), node.op_type()));
  return node.name().empty() ? op : op + " " + quoted(node.name());
}

std::string place(const std::string& file, int64_t node, int64_t opset) {
  return node < 0 ? fmt::format("{}, opset {}", file, opset) : fmt::format("{}, node {}, opset {}", file, node, opset);
}

static Status check_opset(int64_t opset, ModelFacts& facts) {
  if (opset < kOldestOpset)
    return fail(fmt::format("the model declares opset {}; {} to {} are supported", opset, kOldestOpset, kNewestOpset),
                {}, "convert it: onnx.version_converter.convert_version(model, 17)");
  if (opset > kNewestOpset)
    return fail(fmt::format("the model declares opset {}; {} to {} are supported", opset, kOldestOpset, kNewestOpset),
                {}, "export with opset_version=20");
  if (opset > 24)
    facts.notes.push_back(fmt::format("opset {} is newer than 24, up to which every operator is covered", opset));
  return {};
}

Result<ModelFacts> check_header(const onnx::ModelProto& model) {
  ModelFacts facts;
  facts.ir_version = model.ir_version();
  if (!model.has_graph()) return fail("the file holds no graph", {}, "an ONNX model has one; export the model again");
  if (facts.ir_version < kOldestIrVersion || facts.ir_version > kLargestIrVersion)
    return fail(fmt::format("the model has ir_version {}; {} to {} are supported", facts.ir_version, kOldestIrVersion,
                            kNewestIrVersion),
                {}, "the file is damaged, or was written by a much older or newer ONNX");
  if (facts.ir_version > kNewestIrVersion)
    facts.notes.push_back(fmt::format("ir_version {} is newer than {}", facts.ir_version, kNewestIrVersion));
  std::set<std::string, std::less<>> domains;
  bool found = false;
  for (const auto& o : model.opset_import()) {
    const std::string_view domain = domain_of(o.domain());
    if (!domains.insert(std::string(domain)).second)
      return fail(fmt::format("the model imports the domain {} twice", domain.empty() ? "ai.onnx" : quoted(domain)), {},
                  "one opset_import a domain");
    if (!domain.empty()) continue;
    found = true;
    facts.opset = o.version();
    FCC_CHECKED(check_opset(facts.opset, facts));
  }
  if (!found) {
    bool needed = model.opset_import_size() == 0;
    for_each_node(model.graph().node(),
                  [&](const onnx::NodeProto& n, int) { needed |= domain_of(n.domain()).empty(); });
    if (needed) return fail("the model imports no opset of ai.onnx", {}, "add an opset_import, such as version 17");
    facts.opset = kNewestOpset;  // every node belongs to another domain
  }
  if (model.training_info_size() > 0)
    facts.notes.push_back(has_training_info(model) ? "the file brings a training step of its own: fcc train compiles it"
                                                   : "training_info without an algorithm is ignored");
  return facts;
}

namespace {

// One scope: a graph or a function body while its nodes are walked.
struct Scope {
  const NodeList* nodes;
  const onnx::GraphProto* graph;  // null: a function body
  int next_node = 0;
  size_t next_graph = 0;
  std::vector<const onnx::GraphProto*> bodies;          // of the next node
  std::unordered_set<std::string_view> defined;         // of a body: leaves sight with it
  std::unordered_map<std::string_view, int> producers;  // filled when a fault needs an explanation
};

// What a node's op may hold graphs for.
bool has_body(std::string_view op) {
  return op == "If" || op == "Loop" || op == "Scan" || op == "SequenceMap";
}

class StructureCheck {
 public:
  StructureCheck(const std::string& file, int64_t opset, const FunctionTable& functions, Faults& faults)
      : file_(file), opset_(opset), functions_(functions), faults_(faults) {}

  void graph(const onnx::GraphProto& g) {
    open(g);
    run();
  }

  void function(const Function& f) {
    opset_ = f.opset;
    in_function_ = true;
    where_ = fmt::format("{}, in function {}", file_, quoted(f.proto->name()));
    scopes_.push_back({&f.proto->node(), nullptr});
    for (const std::string& name : f.proto->input()) define(name, "function input");
    run();
    for (const std::string& name : f.proto->output())
      if (!visible(name) && !faults_.full())
        fault(fmt::format("function output {} is produced by no node", quoted(name)), {},
              "remove it, or name a value of the body");
  }

 private:
  std::string where() const { return in_function_ ? where_ : place(file_, outer_, opset_); }
  void fault(std::string what, std::string seen = {}, std::string hint = {}) {
    faults_.add({.what = std::move(what), .where = where(), .seen = std::move(seen), .hint = std::move(hint)});
  }

  bool good_name(std::string_view name, std::string_view kind) {
    if (name.find('\0') != name.npos || !is_utf8(name)) {
      fault(fmt::format("the name {} of {} {} {}", quoted(name), kind.starts_with('i') ? "an" : "a", kind,
                        name.find('\0') != name.npos ? "contains a NUL byte" : "is not UTF-8"),
            {}, "rename it");
      return false;
    }
    return true;
  }

  bool visible(std::string_view name) const {
    auto it = visible_.find(name);
    return it != visible_.end() && it->second > 0;
  }

  void define(std::string_view name, std::string_view kind) {
    good_name(name, kind);  // a bad name is still known, or each of its readers would be a fault too
    if (name.empty())
      return fault(fmt::format("{} {} has no name", kind.starts_with('i') ? "an" : "a", kind), {},
                   "name it; nodes refer to values by name");
    ++visible_[name];
    if (scopes_.size() > 1) scopes_.back().defined.insert(name);
  }

  void open(const onnx::GraphProto& g) {
    const bool body = !scopes_.empty();
    scopes_.push_back({&g.node(), &g});
    if (!body) visible_.reserve(static_cast<size_t>(g.initializer_size() + g.node_size()));
    const auto add = [&](std::string_view name, std::string_view kind) {
      if (visible(name) && made_here(name))
        return fault(fmt::format("{} {} is given twice", kind, quoted(name)), {}, "every name must be given once");
      define(name, kind);
    };
    for (const auto& t : g.initializer()) add(t.name(), "initializer");
    for (const auto& t : g.sparse_initializer()) add(t.values().name(), "initializer");
    std::unordered_map<std::string_view, int> inputs;
    for (const auto& i : g.input()) {
      if (++inputs[i.name()] > 1) {
        fault(fmt::format("input {} is given twice", quoted(i.name())), {}, "every name must be given once");
      } else if (body && visible(i.name())) {
        fault(fmt::format("the subgraph's input {} is also an initializer or a value outside", quoted(i.name())), {},
              "rename the subgraph's input");
      } else if (!visible(i.name())) {
        define(i.name(), "input");
      }
    }
  }

  void close() {
    Scope& s = scopes_.back();
    if (s.graph) check_outputs(*s.graph);
    if (scopes_.size() > 1)
      for (std::string_view name : s.defined) --visible_[name];
    scopes_.pop_back();
  }

  void check_outputs(const onnx::GraphProto& g) {
    if (g.output_size() == 0) fault("the graph has no outputs", {}, "name the values that the model is asked for");
    std::unordered_map<std::string_view, int> seen;
    for (const auto& o : g.output()) {
      if (!good_name(o.name(), "output")) continue;
      if (o.name().empty())
        fault("an output has no name", {}, "name it after the value it stands for");
      else if (++seen[o.name()] > 1)
        fault(fmt::format("output {} is given twice", quoted(o.name())), {}, "every name must be given once");
      else if (!visible(o.name()))
        fault(fmt::format("output {} is produced by no node", quoted(o.name())), {}, near_name(o.name()));
    }
  }

  void run() {
    while (!scopes_.empty() && !faults_.full()) {
      Scope& s = scopes_.back();
      if (s.next_node == s.nodes->size()) {
        if (scopes_.size() == 1) outer_ = -1;
        close();
        continue;
      }
      const onnx::NodeProto& n = (*s.nodes)[s.next_node];
      if (scopes_.size() == 1) outer_ = s.next_node;
      if (s.next_graph == 0) {
        check_inputs(n);
        s.bodies = subgraphs(n);
        if (!s.bodies.empty() && !has_body(n.op_type()) && !functions_.find(n)) {
          fault(describe(n) + ": only If, Loop and Scan may hold a subgraph", {}, "remove the graph attribute");
          s.bodies.clear();
        }
      }
      if (s.next_graph < s.bodies.size()) {
        open(*s.bodies[s.next_graph++]);
        continue;
      }
      check_attributes(n);
      define_outputs(n);
      ++s.next_node;
      s.next_graph = 0;
    }
  }

  void check_attributes(const onnx::NodeProto& n) {
    static constexpr int kMaxAttributes = 256;
    if (n.attribute_size() > kMaxAttributes)
      return fault(fmt::format("{} has {} attributes; at most {} are supported", describe(n), n.attribute_size(),
                               kMaxAttributes),
                   {}, "the file is damaged");
    std::set<std::string_view> names;
    for (const auto& a : n.attribute())
      if (!names.insert(a.name()).second)
        fault(fmt::format("{}: attribute {} is given twice", describe(n), quoted(a.name())), {}, "give it once");
  }

  void define_outputs(const onnx::NodeProto& n) {
    if (n.op_type().empty()) fault(describe(n) + " names no operator", {}, "set its op_type");
    good_name(n.name(), "node");
    for (const std::string& name : n.output()) {
      if (name.empty()) continue;
      if (auto it = visible_.find(name); it != visible_.end() && it->second > 0 && made_here(name)) {
        fault(fmt::format("{}: its result {} exists already", describe(n), quoted(name)), {},
              "every value must be made once");
        continue;
      }
      define(name, "value");
    }
  }

  // In a body a result may hide an outer value; in the graph or a function nothing is outer.
  bool made_here(std::string_view name) const { return scopes_.size() == 1 || scopes_.back().defined.contains(name); }

  void check_inputs(const onnx::NodeProto& n) {
    for (const std::string& name : n.input()) {
      if (name.empty() || visible(name)) continue;
      if (!good_name(name, "operand")) continue;
      explain(n, name);
    }
  }

  // A value that no earlier node makes: misspelt, made later, or part of a cycle.
  void explain(const onnx::NodeProto& n, std::string_view name) {
    Scope& s = scopes_.back();
    if (s.producers.empty())
      for (int i = 0; i < s.nodes->size(); ++i)
        for (const std::string& out : (*s.nodes)[i].output()) s.producers.emplace(out, i);
    auto it = s.producers.find(name);
    if (it == s.producers.end())
      return fault(fmt::format("{} reads {}, which nothing makes", describe(n), quoted(name)), {}, near_name(name));
    const onnx::NodeProto& maker = (*s.nodes)[it->second];
    if (on_cycle(s, s.next_node))
      return fault(fmt::format("{} depends on itself: it reads {} of {}", describe(n), quoted(name), describe(maker)),
                   {}, "a graph must have no cycles");
    fault(fmt::format("{} reads {}, which node {} ({}) makes later", describe(n), quoted(name), it->second,
                      describe(maker)),
          {}, "ONNX nodes must be in topological order; sort the graph");
  }

  // Whether a node can reach itself along its operands. Linear: a visited set, an explicit stack.
  bool on_cycle(const Scope& s, int start) const {
    std::vector<int> stack{start};
    std::vector<bool> seen(static_cast<size_t>(s.nodes->size()), false);
    while (!stack.empty()) {
      const int i = stack.back();
      stack.pop_back();
      for (const std::string& in : (*s.nodes)[i].input()) {
        auto it = s.producers.find(in);
        if (it == s.producers.end()) continue;
        if (it->second == start) return true;
        if (seen[static_cast<size_t>(it->second)]) continue;
        seen[static_cast<size_t>(it->second)] = true;
        stack.push_back(it->second);
      }
    }
    return false;
  }

  std::string near_name(std::string_view name) const {
    static constexpr size_t kSearched = 2000;  // edit distance against every name of a large model would be slow
    std::vector<std::string_view> names;
    for (const auto& [known, count] : visible_)
      if (count > 0 && names.size() < kSearched) names.push_back(known);
    std::sort(names.begin(), names.end());
    const std::string_view near = nearest_name(name, names);
    return near.empty() ? "name an input, an initializer or a result of an earlier node"
                        : fmt::format("did you mean {}?", quoted(near));
  }

  const std::string& file_;
  int64_t opset_;
  const FunctionTable& functions_;
  Faults& faults_;
  bool in_function_ = false;
  std::string where_;
  int64_t outer_ = -1;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string_view, int> visible_;
};

}  // namespace

void check_structure(const onnx::ModelProto& model, const FunctionTable& functions, const std::string& file,
                     int64_t opset, Faults& faults) {
  StructureCheck(file, opset, functions, faults).graph(model.graph());
  for (const Function* f : functions.all())
    if (!faults.full()) StructureCheck(file, opset, functions, faults).function(*f);
}

}  // namespace fcc
