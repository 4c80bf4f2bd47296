#include "tools/fit/gather.h"

#include <cstring>

namespace fcc {

Gatherer::Gatherer(const DataSet& set, int64_t most_rows, bool shuffle, uint64_t seed)
    : shuffle_(shuffle), seed_(seed) {
  for (const Array& a : set.inputs) arrays_.push_back(&a);
  for (const Array& a : set.targets) arrays_.push_back(&a);
  for (const Array* a : arrays_) {
    dims_.push_back(a->dims());
    memory_.emplace_back(shuffle ? static_cast<size_t>(most_rows * a->row_elements() * fcc_dtype_bytes(a->dtype()))
                                 : 0);
  }
  tensors_.resize(arrays_.size());
  set_epoch(0);
}

void Gatherer::set_epoch(int64_t epoch) {
  if (shuffle_) shuffled_order(arrays_[0]->rows(), seed_, static_cast<uint64_t>(epoch), &order_);
}

std::span<const fcc_tensor> Gatherer::rows(int64_t first, int64_t n) {
  for (size_t i = 0; i < arrays_.size(); ++i) {
    const Array& a = *arrays_[i];
    const auto bytes = static_cast<size_t>(a.row_elements() * fcc_dtype_bytes(a.dtype()));
    const void* data = a.bytes() + static_cast<size_t>(first) * bytes;
    if (shuffle_) {
      for (int64_t r = 0; r < n; ++r)
        std::memcpy(memory_[i].data() + static_cast<size_t>(r) * bytes,
                    a.bytes() + static_cast<size_t>(order_[static_cast<size_t>(first + r)]) * bytes, bytes);
      data = memory_[i].data();
    }
    dims_[i][0] = n;
    tensors_[i] = {const_cast<void*>(data), a.dtype(), static_cast<uint32_t>(dims_[i].size()), dims_[i].data(),
                   nullptr};
  }
  return tensors_;
}

}  // namespace fcc
