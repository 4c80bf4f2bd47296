#pragma once
// AttributeProto -> AttrValue. First by the file's own type, so that upgrades see what the model says; then, when
// the node is in its newest form, by the operator's AttrSpec (`to` becomes a DType, 1 becomes 1.0 for a number).
#include "frontend/onnx/tensor_proto.h"
#include "ir/attrs.h"
#include "ir/op.h"

namespace fcc {

// Graph attributes are no values: the caller handles them. Element types stay ONNX numbers.
Result<AttrValue> attribute_value(const onnx::AttributeProto&, TensorReader&, const std::string& node);
// The type that the file gives, or that the filled field implies when it gives none.
onnx::AttributeProto::AttributeType attribute_type(const onnx::AttributeProto&);

// Converts in place; unknown attributes are refused with a hint. `node` names the node in diagnostics.
Status fit_attributes(const OpDef& op, Attrs& attrs, const std::string& node);

}  // namespace fcc
