// The value of a size that may be open, given symbols and what follows from them.
#pragma once

#include <cstdint>
#include <vector>

#include "fcc/model_abi.h"

namespace fcc::runtime {

struct Sizes {
  std::vector<int64_t> symbols, derived;

  int64_t operator()(const fcc_size& size) const {
    if (size.kind == FCC_SIZE_FIXED) return size.value;
    return size.kind == FCC_SIZE_SYMBOL ? symbols[size.index] : derived[size.index];
  }
  void derive(const fcc_entry& entry) {
    if (entry.n_derived > 0) entry.derive(symbols.data(), derived.data());
  }
};

}  // namespace fcc::runtime
