#pragma once
// What `fcc info` shows of a compiled model, as JSON stored in the file. training: the object of docs/training.md, or "".
#include <string>

#include "backend/llvm/model_image.h"
#include "frontend/onnx/import.h"

namespace fcc {

std::string model_info_json(const ModelImage&, const Import&, const std::string& training = "");

}  // namespace fcc
