#pragma once
// The committed models and inputs for them, for tests that run over all of them.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "frontend/onnx/import.h"
#include "tools/cost.h"
#include "tools/random_input.h"

namespace fcc::tests {

// Paths of every .onnx below tests/models and examples, sorted.
inline std::vector<std::string> model_files() {
  std::vector<std::string> paths;
  for (const char* folder : {"tests/models", "examples"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(std::filesystem::path(FCC_SOURCE_DIR) / folder))
      if (entry.path().extension() == ".onnx") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// "bert_new_open" of tests/models/bert.new_open/model.onnx; otherwise folder and file, as "train_mlp_house_price".
inline std::string model_name(const std::string& path) {
  const std::filesystem::path p(path);
  std::string name = p.parent_path().filename().string();
  if (p.stem() != "model") name += "_" + p.stem().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

// Odd for batches and sequences; a size that three poolings halve for the axes of an image.
inline Sizes sizes_of(const Graph& g) {
  Sizes sizes;
  for (const std::string& s : g.symbols()) sizes[s] = s == "H" || s == "W" ? 16 : 3;
  return sizes;
}

inline std::vector<Tensor> random_inputs(const Graph& g) {
  const Sizes sizes = sizes_of(g);
  std::vector<Tensor> inputs;
  for (ValueId v : g.inputs()) {
    const Value& value = g.value(v);
    std::vector<int64_t> shape;
    for (const SymExpr& d : value.type.dims) shape.push_back(evaluate_size(d, sizes));
    inputs.push_back(random_tensor(value.name, value.type.dtype, std::move(shape), {}));
  }
  return inputs;
}

}  // namespace fcc::tests
