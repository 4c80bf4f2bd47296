#pragma once
// What `fcc info` shows of a compiled model, as JSON stored in the file.
#include <string>

#include "backend/llvm/model_image.h"
#include "frontend/onnx/import.h"

namespace fcc {

std::string model_info_json(const ModelImage&, const Import&);

}  // namespace fcc
