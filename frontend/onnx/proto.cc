#include "frontend/onnx/proto.h"

#include <google/protobuf/unknown_field_set.h>

#include "ir/base/check.h"

namespace fcc {
namespace {

struct OnnxDType {
  std::string_view name;
  int64_t bits;
  std::optional<DType> dtype;
};

constexpr OnnxDType kDTypes[] = {{"undefined", 0, {}},
                                 {"float", 32, DType::f32},
                                 {"uint8", 8, DType::u8},
                                 {"int8", 8, DType::i8},
                                 {"uint16", 16, DType::u16},
                                 {"int16", 16, DType::i16},
                                 {"int32", 32, DType::i32},
                                 {"int64", 64, DType::i64},
                                 {"string", 0, {}},
                                 {"bool", 8, DType::boolean},
                                 {"float16", 16, DType::f16},
                                 {"double", 64, DType::f64},
                                 {"uint32", 32, DType::u32},
                                 {"uint64", 64, DType::u64},
                                 {"complex64", 64, {}},
                                 {"complex128", 128, {}},
                                 {"bfloat16", 16, DType::bf16},
                                 {"float8e4m3fn", 8, {}},
                                 {"float8e4m3fnuz", 8, {}},
                                 {"float8e5m2", 8, {}},
                                 {"float8e5m2fnuz", 8, {}},
                                 {"uint4", 4, {}},
                                 {"int4", 4, {}},
                                 {"float4e2m1", 4, {}},
                                 {"float8e8m0", 8, {}},
                                 {"uint2", 2, {}},
                                 {"int2", 2, {}}};

const OnnxDType* facts(int64_t number) {
  return number >= 0 && number < static_cast<int64_t>(std::size(kDTypes)) ? &kDTypes[number] : nullptr;
}

std::string unknown_string(const google::protobuf::UnknownFieldSet& fields, int number) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& f = fields.field(i);
    if (f.number() == number && f.type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      return f.length_delimited();
  }
  return {};
}

}  // namespace

std::optional<DType> dtype_from_onnx(int64_t number) {
  const OnnxDType* f = facts(number);
  return f ? f->dtype : std::nullopt;
}

int onnx_number(DType t) {
  for (size_t i = 0; i < std::size(kDTypes); ++i)
    if (kDTypes[i].dtype == t) return static_cast<int>(i);
  FCC_UNREACHABLE("{} has no ONNX number", name(t));
}

std::string onnx_dtype_name(int64_t number) {
  const OnnxDType* f = facts(number);
  return f ? std::string(f->name) : "type " + std::to_string(number);
}

bool exists_in_onnx(int64_t number) {
  return number > 0 && facts(number);
}

int64_t onnx_dtype_bits(int64_t number) {
  const OnnxDType* f = facts(number);
  return f ? f->bits : 0;
}

std::string overload_of(const onnx::NodeProto& n) {
  return unknown_string(n.unknown_fields(), 8);
}
std::string overload_of(const onnx::FunctionProto& f) {
  return unknown_string(f.unknown_fields(), 13);
}

std::vector<onnx::AttributeProto> default_attributes(const onnx::FunctionProto& f) {
  std::vector<onnx::AttributeProto> out;
  const auto& fields = f.unknown_fields();
  for (int i = 0; i < fields.field_count(); ++i) {
    const auto& field = fields.field(i);
    if (field.number() != 11 || field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) continue;
    onnx::AttributeProto a;
    if (a.ParseFromString(field.length_delimited())) out.push_back(std::move(a));
  }
  return out;
}

}  // namespace fcc
