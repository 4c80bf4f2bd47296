// Memory that grows and never shrinks, aligned for generated code.
// Workspaces, scratch, state and outputs all use it. Large blocks ask for huge pages: streaming through 4 KiB pages
// costs a few percent, and touching 3.6 MB of them for the first time 890 page faults (MobileNetV2).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "fcc/model_abi.h"

namespace fcc::runtime {

class AlignedMemory {
 public:
  AlignedMemory() = default;
  AlignedMemory(AlignedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedMemory& operator=(AlignedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~AlignedMemory() { std::free(data_); }

  // True when the memory moved; its contents are then undefined. Throws bad_alloc and keeps the old block.
  bool ensure(int64_t bytes) {
    if (bytes <= bytes_) return false;
    constexpr int64_t kHugePage = int64_t{2} << 20;
    constexpr int64_t kLimit = int64_t{1} << 56;  // beyond any address space: refuse before rounding up
    if (bytes > kLimit) throw std::bad_alloc();
    int64_t alignment = bytes >= kHugePage ? kHugePage : FCC_ALIGNMENT;
    int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* block = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(rounded));
    if (block == nullptr) throw std::bad_alloc();
    if (alignment == kHugePage) ::madvise(block, static_cast<size_t>(rounded), MADV_HUGEPAGE);
    std::free(data_);
    data_ = block;
    bytes_ = rounded;
    return true;
  }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace fcc::runtime
