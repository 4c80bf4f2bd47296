#include "frontend/onnx/functions.h"

#include <fmt/format.h>

#include <unordered_map>

#include "frontend/onnx/faults.h"
#include "frontend/onnx/walk.h"

namespace fcc {

static constexpr int kMaxFunctions = 100'000;
static constexpr int64_t kMaxInlinedNodes = 1'000'000;
static constexpr size_t kMaxDepth = 100;

Result<FunctionTable> FunctionTable::build(const onnx::ModelProto& model, int64_t model_opset) {
  FunctionTable table;
  if (model.functions_size() > kMaxFunctions)
    return fail(
        fmt::format("the model has {} functions; at most {} are supported", model.functions_size(), kMaxFunctions), {},
        "remove those that no node calls");
  for (const auto& f : model.functions()) {
    if (f.name().empty()) return fail("a model-local function has no name", {}, "name it; nodes call it by name");
    Function entry{&f, default_attributes(f), model_opset};
    for (const auto& o : f.opset_import())
      if (domain_of(o.domain()).empty()) entry.opset = o.version();
    if (!table.functions_.emplace(Key(domain_of(f.domain()), f.name(), overload_of(f)), std::move(entry)).second)
      return fail(fmt::format("function {} is defined twice", quoted(full_op_name(f.domain(), f.name()))), {},
                  "functions of one domain need distinct names");
  }
  if (!table.functions_.empty()) FCC_CHECKED(table.check_expansion(model.graph()));
  return table;
}

const Function* FunctionTable::find(const onnx::NodeProto& call) const {
  if (functions_.empty()) return nullptr;
  auto it = functions_.find(Key(domain_of(call.domain()), call.op_type(), overload_of(call)));
  return it == functions_.end() ? nullptr : &it->second;
}

std::vector<const Function*> FunctionTable::all() const {
  std::vector<const Function*> out;
  for (const auto& [key, f] : functions_) out.push_back(&f);
  return out;
}

// Depth-first over calls with an explicit stack: finds recursion, and counts nodes after inlining bottom-up.
Status FunctionTable::check_expansion(const onnx::GraphProto& graph) const {
  struct Visit {
    const Function* function;
    std::vector<const Function*> calls;
    size_t next = 0;
    int64_t nodes = 0;
  };
  std::unordered_map<const Function*, int64_t> expanded;  // -1 while on the stack
  const auto visit = [&](const Function* f, const NodeList& body) {
    Visit v{f, {}, 0, 0};
    for_each_node(body, [&](const onnx::NodeProto& n, int) {
      ++v.nodes;
      if (const Function* callee = find(n)) v.calls.push_back(callee);
    });
    return v;
  };
  std::vector<Visit> stack;
  stack.push_back(visit(nullptr, graph.node()));
  while (!stack.empty()) {
    Visit& v = stack.back();
    if (v.next == v.calls.size()) {
      const Visit done = std::move(v);
      stack.pop_back();
      if (done.function) expanded[done.function] = done.nodes;
      continue;
    }
    const Function* callee = v.calls[v.next];
    auto it = expanded.find(callee);
    if (it == expanded.end()) {
      expanded[callee] = -1;
      if (stack.size() > kMaxDepth)
        return fail(fmt::format("model-local functions call each other more than {} deep", kMaxDepth), {},
                    "inline them: onnx.inliner.inline_local_functions(model)");
      stack.push_back(visit(callee, callee->proto->node()));
      continue;
    }
    const std::string callee_name = quoted(full_op_name(callee->proto->domain(), callee->proto->name()));
    if (it->second < 0)
      return fail(fmt::format("function {} calls itself, directly or through others", callee_name), {},
                  "ONNX functions must not be recursive");
    ++v.next;
    v.nodes += it->second;
    if (v.nodes > kMaxInlinedNodes)
      return fail(fmt::format("the model has more than {} nodes once its functions are inlined", kMaxInlinedNodes),
                  "exceeded at calls of " + callee_name, "the file is damaged; such calls multiply without end");
  }
  return {};
}

}  // namespace fcc
