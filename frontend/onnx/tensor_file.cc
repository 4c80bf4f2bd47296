// TensorProto files: the inputs and expected outputs of ONNX test cases.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "frontend/onnx/faults.h"
#include "frontend/onnx/import.h"
#include "frontend/onnx/tensor_proto.h"
#include "frontend/onnx/wire.h"

namespace fcc {

// A TensorProto's field 1 is a number or packed numbers and field 2 a number; SequenceProto and OptionalProto keep
// a name in 1 and the kind of element in 2, with tensors in 3 and above.
static bool is_tensor(const onnx::TensorProto& t) {
  return t.data_type() != 0 && !t.has_segment();
}

Result<NamedTensor> read_tensor_proto(std::span<const std::byte> bytes, std::string_view file) {
  const auto refuse = [&](std::string what, std::string hint = {}) {
    return fail(Diagnostic{.what = std::move(what), .where = printable(file), .hint = std::move(hint)});
  };
  const std::string_view other = "sequences, maps and optionals are not supported";
  onnx::TensorProto t;
  const bool good =
      check_wire(bytes, WireRoot::tensor).has_value() && t.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (!good || !is_tensor(t)) return refuse(quoted(file) + " is no serialised tensor", std::string(other));
  ExternalFiles nowhere("");
  Result<Tensor> tensor = TensorReader(nowhere).take(t, "tensor " + quoted(t.name()));
  if (!tensor) {
    Diagnostic d = std::move(tensor).error();
    d.where = printable(file);
    return std::unexpected(std::move(d));
  }
  return NamedTensor{t.name(), *std::move(tensor)};
}

Result<NamedTensor> read_tensor_proto(const std::string& path) {
  FCC_TRY(const FileBytes bytes, read_whole_file(path, kMaxModelBytes));
  return read_tensor_proto(bytes.span(), base_name(path));
}

std::string write_tensor_proto(std::string_view name, const Tensor& tensor) {
  onnx::TensorProto t;
  t.set_name(std::string(name));
  t.set_data_type(onnx_number(tensor.dtype()));
  for (int64_t d : tensor.shape()) t.add_dims(d);
  t.set_raw_data(tensor.raw(), static_cast<size_t>(tensor.bytes()));
  return t.SerializeAsString();
}

Status write_tensor_proto(const std::string& path, std::string_view name, const Tensor& tensor) {
  const std::string bytes = write_tensor_proto(name, tensor), beside = fmt::format("{}.{}.tmp", path, ::getpid());
  std::FILE* f = std::fopen(beside.c_str(), "wbx");
  const auto refuse = [&] { return fail(quoted(path) + " cannot be written: " + std::strerror(errno)); };
  if (!f) return refuse();
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size();
  if (std::fclose(f) != 0 || !written || std::rename(beside.c_str(), path.c_str()) != 0) {
    const auto d = refuse();
    std::remove(beside.c_str());
    return d;
  }
  return {};
}

}  // namespace fcc
