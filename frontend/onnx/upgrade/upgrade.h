#pragma once
// Old forms of operators -> the newest form. Only operators whose meaning or signature changed between opsets
// appear here, a file a family, a line each in upgrades.def. Nothing in this folder knows protobuf: attributes
// arrive by the file's own types (element types as ONNX numbers).
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/op.h"

namespace fcc {

// An ONNX node on its way into the graph: operands and attributes may still be changed.
struct NodeForm {
  Graph& graph;
  std::string op;  // may be renamed by an upgrade
  int64_t opset = 0;
  std::vector<ValueId> in;
  std::vector<std::string> out;  // result names, "" when unused
  Attrs attrs;
  Loc loc;
  std::vector<ValueId> results;  // set by an upgrade that has built the whole meaning: no node is added then

  bool has(size_t k) const { return k < in.size() && in[k] != kNoValue; }
  bool uses_result(size_t k) const { return k < out.size() && !out[k].empty(); }
  const TensorType& type(size_t k) const { return graph.value(in.at(k)).type; }
  void set_operand(size_t k, ValueId v);
  GraphBuilder builder() { return GraphBuilder(graph, loc); }

  // The attribute becomes a constant i64 vector as operand k.
  Status ints_to_operand(std::string_view attr, size_t k);
  // The attribute becomes a constant scalar as operand k.
  Status number_to_operand(std::string_view attr, size_t k, DType dtype);
  // The attribute as a list of integers (refused when it has another type).
  Result<std::vector<int64_t>> ints(std::string_view attr) const;
  Result<int64_t> integer(std::string_view attr, int64_t otherwise) const;
  Result<double> number(std::string_view attr, double otherwise) const;
  Result<std::string> string(std::string_view attr, std::string_view otherwise) const;
  std::unexpected<Diagnostic> refuse(std::string what, std::string hint = {}) const;
};

using UpgradeFn = Status (*)(NodeForm&);
inline constexpr int64_t kAnyOpset = INT64_MAX;

class UpgradeTable {
 public:
  // For nodes of opset < below; an operator's upgrades run in the order in which they are added.
  void add(std::string_view op, int64_t below, UpgradeFn run);
  void rename(std::string_view op, std::string_view newest);
  Status run(NodeForm& node) const;
  std::string_view newest_name(std::string_view op) const;
  // Whether nodes of this (full) name are changed at all; those of other domains than ONNX's are built here or nowhere.
  bool knows(std::string_view op) const { return steps_.contains(op); }

 private:
  struct Step {
    int64_t below;
    UpgradeFn run;
  };
  std::unordered_map<std::string_view, std::vector<Step>> steps_;
  std::unordered_map<std::string_view, std::string_view> renamed_;
};
const UpgradeTable& upgrades();

// The registry's name for an ONNX operator: Upsample is a Resize now.
inline std::string_view newest_name(std::string_view op) {
  return upgrades().newest_name(op);
}

}  // namespace fcc
