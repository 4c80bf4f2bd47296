#pragma once
// Walks the nodes of a graph or function including those of nested subgraphs, without recursion. Private helper of
// the checks, the function table and the survey; conversion itself follows scopes (importer.cc).
#include <vector>

#include "frontend/onnx/attributes.h"
#include "frontend/onnx/proto.h"

namespace fcc {

using NodeList = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

// The graphs that a node holds in its attributes.
inline std::vector<const onnx::GraphProto*> subgraphs(const onnx::NodeProto& node) {
  std::vector<const onnx::GraphProto*> out;
  for (const auto& a : node.attribute()) {
    if (a.has_g()) out.push_back(&a.g());
    for (const auto& g : a.graphs()) out.push_back(&g);
  }
  return out;
}

// visit(node, outer): `outer` is the index of the top-level node that contains it.
template <class Visit>
void for_each_node(const NodeList& top, const Visit& visit) {
  std::vector<const onnx::GraphProto*> pending;
  for (int i = 0; i < top.size(); ++i) {
    visit(top[i], i);
    pending = subgraphs(top[i]);
    while (!pending.empty()) {
      const onnx::GraphProto* g = pending.back();
      pending.pop_back();
      for (const auto& n : g->node()) {
        visit(n, i);
        for (const auto* inner : subgraphs(n)) pending.push_back(inner);
      }
    }
  }
}

}  // namespace fcc
