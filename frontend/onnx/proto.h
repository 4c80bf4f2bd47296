#pragma once
// The one door to protobuf and the ONNX schema, and what the installed schema is too old to know: element types,
// field numbers and versions that later releases of ONNX added. Private to frontend/onnx.
#include <onnx/onnx_pb.h>

#include <optional>
#include <string>
#include <string_view>

#include "ir/types.h"

namespace fcc {

inline constexpr int64_t kOldestIrVersion = 3, kNewestIrVersion = 14, kLargestIrVersion = 31;
inline constexpr int64_t kOldestOpset = 1, kNewestOpset = 28;

// TensorProto.DataType, complete as of ONNX 1.23.
std::optional<DType> dtype_from_onnx(int64_t number);
int onnx_number(DType);
std::string onnx_dtype_name(int64_t number);  // "float8e4m3fn"; "type 99" when unknown
// Whether ONNX defines the type, supported or not.
bool exists_in_onnx(int64_t number);
// Bits of an element in raw data; 0 when unknown or not of fixed size (string).
int64_t onnx_dtype_bits(int64_t number);

// The default domain has two spellings.
inline std::string_view domain_of(std::string_view d) {
  return d == "ai.onnx" ? std::string_view() : d;
}
inline constexpr std::string_view kTrainingDomain = "ai.onnx.preview.training";
// Operators of fcc's own in files that fcc has written.
inline constexpr std::string_view kFccDomain = "fcc";
inline constexpr std::string_view kFunctionMark =
    "__";  // ConvWeightGrad__3: a function that says it in ONNX's operators
inline std::string_view fcc_operator(std::string_view op_type) {
  return op_type.substr(0, op_type.find(kFunctionMark));
}
// "Relu", "com.microsoft.FusedMatMul"
inline std::string full_op_name(std::string_view domain, std::string_view op) {
  return domain_of(domain).empty() ? std::string(op) : std::string(domain) + "." + std::string(op);
}

// NodeProto.overload (8) and FunctionProto.overload (13), since IR version 10.
std::string overload_of(const onnx::NodeProto&);
std::string overload_of(const onnx::FunctionProto&);
// FunctionProto.attribute_proto (11), since IR version 9: attributes with default values.
std::vector<onnx::AttributeProto> default_attributes(const onnx::FunctionProto&);

}  // namespace fcc
