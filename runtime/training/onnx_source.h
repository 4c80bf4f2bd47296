// The source model inside a compiled one, for export_onnx.
//
// `fcc train` stores the bytes of the .onnx file in the section .fcc_source, which is not loaded, without the payloads
// of the tensors that training moves. Exporting writes those bytes again with the values of now in the gaps; lengths do
// not change, so nothing has to be parsed here. Layout, little-endian:
//   "FCCSRC1\n"  u32 gaps  u32 0  u64 names_bytes  u64 skeleton_bytes
//   gaps x { u64 at (in the skeleton, rising), u64 bytes, u64 name_at (in names), u64 name_bytes }
//   char source_hash[64]   names   skeleton
// Written by tools/driver/onnx_skeleton.cc.
#pragma once

#include <functional>
#include <string>

#include "error.h"

namespace fcc::runtime {

// The value of a gap: exactly `bytes` bytes, or null with a text.
using GapValue = std::function<const void*(const std::string& name, int64_t bytes)>;

fcc_status export_onnx(const std::string& model_path, const char* source_hash, const GapValue& value,
                       const char* output_path);

}  // namespace fcc::runtime
