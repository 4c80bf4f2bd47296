#include "frontend/onnx/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "frontend/onnx/faults.h"
#include "frontend/onnx/upgrade/upgrade.h"
#include "frontend/onnx/walk.h"
#include "ir/op.h"

namespace fcc {
namespace {

struct OnnxOp {
  std::string_view name;
  int64_t since, removed;  // removed 0: still there
};
constexpr OnnxOp kOps[] = {
#define FCC_ONNX_OP(name, since, removed) {name, since, removed},
#include "frontend/onnx/onnx_ops.def"
#undef FCC_ONNX_OP
};

const OnnxOp* find_onnx_op(std::string_view name) {
  const auto* it = std::lower_bound(std::begin(kOps), std::end(kOps), name,
                                    [](const OnnxOp& o, std::string_view n) { return o.name < n; });
  return it != std::end(kOps) && it->name == name ? it : nullptr;
}

std::vector<std::string_view> onnx_names() {
  std::vector<std::string_view> names;
  for (const OnnxOp& o : kOps) names.push_back(o.name);
  return names;
}

Refusal refuse_domain(std::string_view domain) {
  if (domain == "ai.onnx.ml")
    return {"operators of classical machine learning (ai.onnx.ml) are not supported",
            "export the neural network alone"};
  if (domain == "com.microsoft")
    return {"operators of ONNX Runtime (com.microsoft) are not supported",
            "give the model as exported, before ONNX Runtime's optimizer"};
  if (domain == kTrainingDomain)
    return {"ONNX's preview of training operators is not supported", "compile the training step with: fcc train"};
  return {fmt::format("the model defines no such function, and the domain {} is unknown", quoted(domain)),
          "export without custom operators"};
}

}  // namespace

std::optional<Refusal> refusal(std::string_view domain, std::string_view op, int64_t opset) {
  if (domain == kTrainingDomain && op == "Gradient") return std::nullopt;
  if (domain == kFccDomain && registry().find(fcc_operator(op))) return std::nullopt;
  if (!domain_of(domain).empty() && upgrades().knows(full_op_name(domain, op))) return std::nullopt;
  if (!domain_of(domain).empty()) return refuse_domain(domain);
  const OnnxOp* known = find_onnx_op(op);
  if (!known) {
    const std::string_view near = nearest_name(op, onnx_names());
    return Refusal{"this is no ONNX operator", near.empty() ? "ONNX's operators: https://onnx.ai/onnx/operators"
                                                            : fmt::format("did you mean {}?", near)};
  }
  if (known->since > opset)
    return Refusal{
        fmt::format("the operator exists from opset {} on, the model declares opset {}", known->since, opset),
        fmt::format("export with opset {} or later", known->since)};
  if (known->removed && opset >= known->removed)
    return Refusal{fmt::format("the operator was removed in opset {}", known->removed),
                   fmt::format("declare an opset below {}, or use its successor {}", known->removed, newest_name(op))};
  if (op == "Constant" || op == "If" || registry().find(newest_name(op))) return std::nullopt;
  if (op == "Loop" || op == "Scan")
    return Refusal{"loops are not supported yet", "export with the loop unrolled (fixed trip count)"};
  return Refusal{"the operator is not supported yet", "replace it by other operators before the export"};
}

std::vector<UnsupportedSite> unsupported_nodes(const onnx::ModelProto& model, const FunctionTable& functions,
                                               int64_t opset) {
  std::vector<UnsupportedSite> sites;
  std::map<std::tuple<std::string_view, std::string_view, int64_t>, std::optional<Refusal>> known;
  const auto look = [&](const NodeList& nodes, int64_t at_opset, bool in_function) {
    for_each_node(nodes, [&](const onnx::NodeProto& n, int index) {
      if (functions.find(n) || n.op_type().empty()) return;  // the structure check speaks of the latter
      auto [it, fresh] = known.try_emplace({n.domain(), n.op_type(), at_opset});
      if (fresh) it->second = refusal(n.domain(), n.op_type(), at_opset);
      if (it->second)
        sites.push_back(
            {full_op_name(n.domain(), n.op_type()), n.name(), in_function ? -1 : index, at_opset, *it->second});
    });
  };
  look(model.graph().node(), opset, false);
  for (const Function* f : functions.all()) look(f->proto->node(), f->opset, true);
  return sites;
}

std::vector<Diagnostic> describe_unsupported(const std::vector<UnsupportedSite>& sites, const std::string& file) {
  static constexpr size_t kShown = 8;
  std::map<std::pair<std::string, std::string>, std::vector<const UnsupportedSite*>> groups;
  std::vector<const std::vector<const UnsupportedSite*>*> in_order;
  for (const UnsupportedSite& s : sites) {
    auto& group = groups[{s.op, s.why.reason}];
    if (group.empty()) in_order.push_back(&group);
    group.push_back(&s);
  }
  std::vector<Diagnostic> out;
  for (const auto* group : in_order) {
    const UnsupportedSite& first = *group->front();
    Diagnostic d;
    std::vector<std::string> names, places;
    for (size_t i = 0; i < std::min(group->size(), kShown); ++i) {
      const UnsupportedSite& s = *(*group)[i];
      if (!s.node.empty()) names.push_back(quoted(s.node));
      if (s.index >= 0) places.push_back(std::to_string(s.index));
    }
    const bool one = group->size() == 1;
    d.what = printable(first.op) +
             (one && !names.empty() ? " " + names[0]
              : one                 ? ""
                                    : fmt::format(" ({} nodes)", group->size())) +
             ": " + first.why.reason;
    d.where =
        file +
        (places.empty() ? ", in a function" : fmt::format(", node{} {}", one ? "" : "s", fmt::join(places, " "))) +
        (group->size() > kShown ? " ..." : "") + fmt::format(", opset {}", first.opset);
    if (!one) d.seen = fmt::format("{}", fmt::join(names, " "));
    d.hint = first.why.hint;
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace fcc
