#pragma once
// A graph of kernels as a table of steps: which kernel runs when, on which memory. Views become aliases, equal
// kernels are compiled once, temporaries get lifetimes and, when all sizes are known, offsets.
#include <string>
#include <unordered_map>
#include <vector>

#include "backend/llvm/model_image.h"
#include "ir/graph.h"

namespace fcc::backend {

// Constants of a model, each distinct content once; shared by all variants.
class ConstantPool {
 public:
  int64_t add(const Tensor& t);  // offset of its bytes
  std::vector<ConstantImage> take() { return std::move(images_); }
  int64_t bytes() const { return bytes_; }

 private:
  std::vector<ConstantImage> images_;
  std::unordered_multimap<size_t, size_t> by_hash_;
  int64_t bytes_ = 0;
};

// Bounds of open dimensions by name; absent: 0 to unbounded.
using SymbolBounds = std::map<std::string, std::pair<int64_t, int64_t>>;

// Appends the kernels that the entry needs to variant.kernels.
Result<EntryImage> schedule(const Graph&, std::string entry_name, const Target&, const SymbolBounds&, VariantImage& variant, ConstantPool&);

}  // namespace fcc::backend
