#pragma once
// Kernels compiled by earlier calls, in files of the user's cache folder: a model compiled again, or one that shares
// kernels with it, skips LLVM.
//
// A file's name is the digest of everything its object depends on: the kernel's text, the target, the names it is
// compiled with, and the build of this compiler and of LLVM. So nothing is ever out of date, and the model has the same
// bytes with and without. A file that is damaged, half-written or absent is compiled anew; a folder that cannot be
// written costs nothing but the time. Any number of processes may share a folder: files appear by renaming.
#include <map>
#include <optional>
#include <span>
#include <string>

#include "backend/llvm/object.h"

namespace fcc {

class KernelCache {
 public:
  static constexpr int64_t kMostBytes = int64_t{256} << 20;

  // "": finds nothing and keeps nothing. So does a compiler whose own build has no name.
  explicit KernelCache(std::string folder);
  bool on() const { return !folder_.empty(); }

  std::string key(const loop::Kernel&, const Target&, std::span<const std::string> symbol_names,
                  const std::map<std::string, int32_t>& faults, const std::string& function_name) const;
  std::optional<CompiledKernel> find(const std::string& key) const;
  void keep(const std::string& key, const CompiledKernel&) const;
  // Removes the files that were used longest ago until the others take at most so much.
  void trim(int64_t most_bytes = kMostBytes) const;

 private:
  std::string folder_, build_;
};

// $XDG_CACHE_HOME/fcc, else ~/.cache/fcc; "" when there is neither.
std::string user_cache_folder();

}  // namespace fcc
