#pragma once
// One graph on its way into a GraphProto: names of values, nodes, constants. Private to frontend/onnx.
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "frontend/onnx/proto.h"
#include "ir/op.h"

namespace fcc {

class GraphWriter {
 public:
  using Names = std::vector<std::string>;
  // prefix: of every name but those of inputs, states and outputs. taken: names that exist in the joined graph.
  GraphWriter(const Graph& graph, onnx::GraphProto& out, std::string prefix, std::set<std::string>& taken);

  // given_inputs: those that the joined graph has already.
  void run(const std::set<std::string>& given_inputs);
  void initializer(const std::string& name, const Tensor& value);
  void update(ValueId next);  // becomes an output
  const std::string& name(ValueId v) const { return names_[static_cast<size_t>(v)]; }
  const std::set<std::string>& foreign() const { return foreign_; }
  const std::vector<onnx::FunctionProto>& functions() const { return functions_; }
  int64_t opset() const { return opset_; }

  // ---- what the spelled-out operators are written with (emit_gradients.cc); every call returns names of results
  const Graph& graph() const { return g_; }
  const TensorType& type(ValueId v) const { return g_.value(v).type; }
  std::string op(std::string_view op_type, Names in, const Attrs& attrs = {});
  void node(std::string_view op_type, const Names& in, const Names& out, const Attrs& attrs = {},
            std::string_view domain = "");
  // A call of a function whose body is what `write` makes of the node: other tools read the body, fcc the name, which
  // is that of its own operator.
  bool as_function(const Node&, bool (*write)(GraphWriter&, const Node&));
  std::string fresh(std::string_view wanted);
  std::string constant(const Tensor& t);
  std::string number(DType type, double v) { return constant(Tensor::scalar(type, v)); }
  std::string ints(std::span<const int64_t> v) { return constant(Tensor::ints(v)); }
  // i64 vectors of sizes; nullopt when ONNX's operators cannot say the expression.
  std::optional<std::string> size(const SymExpr&);  // of one element
  std::optional<std::string> sizes(const Dims&);

 private:
  void name_outputs();
  void one(const Node&);
  void plain(const Node&);
  void value_info(onnx::ValueInfoProto& info, const std::string& name, const TensorType& type);

  const Graph& g_;
  onnx::GraphProto& out_;
  google::protobuf::RepeatedPtrField<onnx::NodeProto>* nodes_;  // of the graph, or of a function
  std::vector<onnx::FunctionProto> functions_;
  std::string prefix_;
  std::set<std::string>& taken_;
  std::vector<std::string> names_;
  std::vector<std::pair<ValueId, std::string>> copies_;  // outputs that are no results of nodes, or not the first
  std::map<std::string, std::string> constants_, symbols_;
  std::set<std::string> foreign_;
  int64_t opset_ = 21;
};

// Spells a node out in ONNX's operators. False, with nothing added, when ONNX has no words for it.
bool emit_spelled_out(GraphWriter&, const Node&);

}  // namespace fcc
