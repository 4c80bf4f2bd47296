#pragma once
// Writes a model file: compiles the kernels of every variant, emits the tables of model_abi.h, streams the
// constants, and links it all with LLD in this process. The last step of the compiler; it decides nothing about the
// model. Same image, same bytes, whatever the path, the machine or the number of jobs.
#include <string>

#include "backend/llvm/model_image.h"
#include "ir/base/diagnostic.h"

namespace fcc {

struct WriteOptions {
  int jobs = 1;              // threads compiling kernels
  std::string cache_folder;  // of kernels compiled before (kernel_cache.h); "": none
};

struct WriteReport {
  int64_t code_bytes = 0;  // sum of the objects
  double compile_seconds = 0, link_seconds = 0;
  std::vector<double> kernel_seconds;  // of all variants, in order
  int64_t kernels_from_cache = 0;
};

// Replaces the file at `path` at the end, or leaves what was there and says why.
Status write_model(const ModelImage&, const std::string& path, const WriteOptions& = {}, WriteReport* = nullptr);

// The JSON of .fcc_info of a model file, read without loading it.
Result<std::string> read_info(const std::string& path);

}  // namespace fcc
