// safetensors files: named tensors behind a JSON header, and a map of texts.
//
// A checkpoint in this format is read by every framework under the same names. Reading is strict: the header's length,
// its JSON, types, shapes, and offsets that cover the data without holes, overlaps or a rest, are checked before any
// value is used. What the tensors mean is the trainer's business.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "aligned_memory.h"
#include "error.h"

namespace fcc::runtime {

struct SavedTensor {
  std::string name;
  uint32_t dtype = 0;
  std::vector<int64_t> dims;
  const std::byte* data = nullptr;
  int64_t bytes = 0;
};

struct TensorFile {
  std::vector<SavedTensor> tensors;  // data points into memory
  std::map<std::string, std::string> metadata;
  AlignedMemory memory;

  const SavedTensor* find(const std::string& name) const;
  const std::string* text(const std::string& key) const;
};

fcc_status read_tensor_file(const char* path, TensorFile* file);
// Tensors go into the file by falling element size, then as listed, so that all are aligned.
fcc_status write_tensor_file(const char* path, const std::vector<SavedTensor>& tensors,
                             const std::map<std::string, std::string>& metadata);

// A hash of name, type, shape and values; 64 bits, not cryptographic: against mishaps, not against malice.
uint64_t tensor_hash(const SavedTensor& tensor);

}  // namespace fcc::runtime
