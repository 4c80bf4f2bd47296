// ai.onnx.preview.training.Gradient: the gradient of a value of the same graph, given by name, becomes the nodes that
// compute it. The operator may in principle evaluate that part of the graph at other inputs than those it has there;
// nobody writes such models, and they are refused.
#include "frontend/onnx/importer.h"
#include "frontend/onnx/proto.h"
#include "ir/differentiate.h"

namespace fcc {

static std::vector<std::string> strings_of(const onnx::NodeProto& node, std::string_view name) {
  for (const auto& a : node.attribute()) {
    if (a.name() != name) continue;
    if (!a.s().empty()) return {a.s()};
    return {a.strings().begin(), a.strings().end()};
  }
  return {};
}

Status Importer::import_gradient(const onnx::NodeProto& node, const std::vector<ValueId>& in) {
  const std::string what = describe(node);
  const std::vector<std::string> xs = strings_of(node, "xs"), zs = strings_of(node, "zs"), y = strings_of(node, "y");
  if (y.size() != 1 || xs.empty() || in.size() != xs.size() + zs.size() ||
      static_cast<size_t>(node.output_size()) > xs.size())
    return fail(fmt::format("{}: has {} inputs and {} outputs for {} names in xs and {} in zs", what, in.size(),
                            node.output_size(), xs.size(), zs.size()),
                {}, "it takes one input a name and gives one output a name in xs; y names what is differentiated");
  GradRequest request;
  const std::optional<ValueId> of = lookup(y[0]);
  if (!of || *of < 0)
    return fail(fmt::format("{}: differentiates {}, which nothing makes before it", what, quoted(y[0])), {},
                "y names a value of the same graph");
  for (size_t k = 0; k < in.size(); ++k) {
    const std::string& name = k < xs.size() ? xs[k] : zs[k - xs.size()];
    if (lookup(name) != in[k])
      return fail(fmt::format("{}: evaluates {} at another value of {}, which is not supported", what, quoted(y[0]),
                              quoted(name)),
                  {}, "its inputs must be the values that xs and zs name");
    if (k < xs.size()) request.wrt.push_back(in[k]);
  }
  request.seeds.emplace_back(*of, kNoValue);
  FCC_TRY(const std::vector<ValueId> gradients, add_gradients(*graph_, request));
  bind_results(node, gradients);
  return {};
}

}  // namespace fcc
