#pragma once
// The source .onnx of a training model with gaps where its trained tensors were: what export_onnx fills in again.
//
// Works on the bytes of the protobuf wire format, not on parsed messages: everything that is not the payload of a moved
// tensor stays as its writer wrote it, fields unknown to us included. Only when it must, a message is put together
// anew: for external data, which is taken into the file, and for a state that the file has no initializer for (running
// statistics that the exporter made an Identity of another weight). The format of the section is described in
// runtime/training/onnx_source.h, which reads it.
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"
#include "ir/types.h"

namespace fcc {

struct SkeletonState {
  std::string name;  // of a parameter or buffer: an initializer's
  DType dtype;
  std::vector<int64_t> shape;
};

struct OnnxSkeleton {
  std::string section;               // empty: the source cannot be kept, see notes
  std::vector<std::string> missing;  // states that the source has no tensor for: export leaves the file's values
  std::vector<std::string> notes;
};

// `base_dir` is where external data lies.
Result<OnnxSkeleton> onnx_skeleton(std::span<const std::byte> model, const std::string& base_dir,
                                   const std::vector<SkeletonState>& states, std::string_view source_sha256);

}  // namespace fcc
