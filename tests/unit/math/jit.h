#pragma once
// Compiles one emitted function as a loop over arrays, for a CPU level and a vector width, and runs it here.
// Lives with the tests of vector math; it checks that the object it makes refers to nothing outside itself.
#include <llvm/IR/IRBuilder.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/llvm/math.h"

namespace fcc::test {

struct Level {
  std::string cpu;  // x86-64-v2 ...
  MathTarget target;
  std::string triple = {};  // of this machine when empty
};
// The levels of this machine's family that it can run, poorest first.
std::vector<Level> host_levels();

using Emit = std::function<llvm::Value*(llvm::IRBuilderBase&, const MathTarget&, llvm::Value* x, llvm::Value* y)>;

// Names that the object of such a loop wants from outside, for any level, this machine's or not: must be empty.
std::vector<std::string> undefined_symbols(const Level&, DType, int width, const Emit&);

// out[i] = emit(x[i], y[i]); n must be a multiple of the width. Width 1 is scalar code.
class ArrayFunction {
 public:
  ArrayFunction(const Level&, DType, int width, const Emit&);
  ~ArrayFunction();
  ArrayFunction(ArrayFunction&&) noexcept;

  template <class T>
  void operator()(const T* x, const T* y, T* out, int64_t n) const {
    reinterpret_cast<void (*)(const T*, const T*, T*, int64_t)>(address_)(x, y, out, n);
  }
  const std::vector<std::string>& undefined() const { return undefined_; }
  // Machine instructions of the loop body, all of it: loads, store and counter included.
  int instructions() const { return instructions_; }

 private:
  struct Engine;
  std::unique_ptr<Engine> engine_;
  void* address_ = nullptr;
  std::vector<std::string> undefined_;
  int instructions_ = 0;
};

}  // namespace fcc::test
