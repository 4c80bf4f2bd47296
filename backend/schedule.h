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

// States of a model by name, shared by all entries of all variants: one arena.
class StatePool {
 public:
  explicit StatePool(ConstantPool& constants) : constants_(constants) {}
  // Declares a state; a null or all-zero first value takes no room in the file. A second declaration of a name is ignored.
  int64_t add(const std::string& name, const TensorType& type, const Tensor& initial, fcc_state_role role);
  // The offset of a state that an entry mentions: a parameter when nobody declared it.
  int64_t offset_of(const Value& state) { return add(state.name, state.type, state.data, FCC_STATE_PARAMETER); }
  std::vector<StateImage> take() { return std::move(images_); }
  int64_t bytes() const { return bytes_; }

 private:
  ConstantPool& constants_;
  std::vector<StateImage> images_;
  std::unordered_map<std::string, size_t> by_name_;
  int64_t bytes_ = 0;
};

// Bounds of open dimensions by name; absent: 0 to unbounded.
using SymbolBounds = std::map<std::string, std::pair<int64_t, int64_t>>;

// Appends the kernels that the entry needs to variant.kernels. A kernel that makes the next value of a state writes it in
// the place of the state when everyone else who reads the state has run before, and no step that may fault comes after;
// otherwise the next value is a temporary, copied at the end.
Result<EntryImage> schedule(const Graph&, std::string entry_name, const Target&, const SymbolBounds&, VariantImage& variant, ConstantPool&,
                            StatePool&);

}  // namespace fcc::backend
