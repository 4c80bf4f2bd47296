#pragma once
// TensorProto -> Tensor: the single entry point for every tensor byte of a model, whether it is an initializer, an
// attribute, a sparse tensor's part or test data, stored inside the file or beside it. All size and containment
// rules are therefore here and in ExternalFiles, and nowhere else.
#include "frontend/onnx/file.h"
#include "frontend/onnx/proto.h"
#include "ir/tensor.h"

namespace fcc {

class TensorReader {
 public:
  explicit TensorReader(ExternalFiles& files) : files_(files) {}

  // `what` names the tensor in diagnostics: initializer "conv1.weight".
  Result<Tensor> read(const onnx::TensorProto& t, const std::string& what);
  // The same, but may take over the bytes of raw_data, which is empty afterwards.
  Result<Tensor> take(onnx::TensorProto& t, const std::string& what);
  Result<Tensor> read_sparse(const onnx::SparseTensorProto& t, const std::string& what);
  // Size checks only, for element types that fcc cannot hold.
  Status check_size(const onnx::TensorProto& t, const std::string& what);
  // Faults that only show when all tensors have been read: ranges of one external file that overlap in part.
  Status finish();

 private:
  struct Range {
    const ExternalFiles::File* file;
    int64_t begin, end;
    std::string what;
  };
  Result<Tensor> external(const onnx::TensorProto& t, DType dtype, std::vector<int64_t> shape, const std::string& what);
  ExternalFiles& files_;
  std::vector<Range> ranges_;
};

// "Element type float8e4m3fn is not supported", or nothing.
std::optional<Diagnostic> unsupported_dtype(int64_t onnx_number, const std::string& what);

}  // namespace fcc
