#pragma once
// Model-local functions: found by (domain, name, overload), checked once for cycles and for the size they expand
// to. The importer inlines calls as it meets them.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frontend/onnx/proto.h"

namespace fcc {

struct Function {
  const onnx::FunctionProto* proto = nullptr;
  std::vector<onnx::AttributeProto> defaults;  // attributes with default values
  int64_t opset = 0;                           // of the default domain, inside the body
};

class FunctionTable {
 public:
  // Refuses duplicates, too many functions, recursion and bodies that expand without bound.
  static Result<FunctionTable> build(const onnx::ModelProto& model, int64_t model_opset);
  const Function* find(const onnx::NodeProto& call) const;
  std::vector<const Function*> all() const;

 private:
  using Key = std::tuple<std::string, std::string, std::string>;
  Status check_expansion(const onnx::GraphProto& graph) const;
  std::map<Key, Function> functions_;
};

}  // namespace fcc
