#pragma once
// Host data: constants, interpreter values, .npy contents. Dense, row-major, 64-byte aligned, shared on copy:
// a copy of a Tensor refers to the same bytes, so treat a tensor as immutable once it has been handed on.
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "ir/base/check.h"
#include "ir/types.h"

namespace fcc {

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, std::vector<int64_t> shape);  // zeros
  template <class T>
  static Tensor of(DType dtype, std::vector<int64_t> shape, std::span<const T> values);
  static Tensor scalar(DType dtype, double value);
  static Tensor ints(std::span<const int64_t> values);  // i64[n]
  // Borrows memory that `owner` keeps alive (a mapped file, a protobuf string).
  static Tensor view(DType dtype, std::vector<int64_t> shape, const std::byte* bytes, std::shared_ptr<const void> owner);

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t elements() const { return elements_; }
  int64_t bytes() const { return elements_ * byte_size(dtype_); }
  TensorType type() const;
  bool empty() const { return elements_ == 0; }

  const std::byte* raw() const { return data_.get(); }
  std::byte* raw() { return const_cast<std::byte*>(data_.get()); }
  // Elements as T; T must have the size of the dtype.
  template <class T>
  std::span<const T> as() const;
  template <class T>
  std::span<T> as();

  // One element converted: slow and plain. f16/bf16 round to nearest even; ints saturate nothing, they wrap.
  double get_double(int64_t i) const;
  int64_t get_int(int64_t i) const;
  void set_double(int64_t i, double v);
  void set_int(int64_t i, int64_t v);
  std::vector<double> to_doubles() const;
  std::vector<int64_t> to_ints() const;

  Tensor reshaped(std::vector<int64_t> shape) const;  // same bytes, same element count
  bool same_bits(const Tensor&) const;

 private:
  DType dtype_ = DType::f32;
  std::vector<int64_t> shape_;
  int64_t elements_ = 0;
  std::shared_ptr<const std::byte> data_;
};

float f16_to_float(uint16_t);
uint16_t float_to_f16(float);
float bf16_to_float(uint16_t);
uint16_t float_to_bf16(float);

// Row-major strides in elements.
std::vector<int64_t> strides_of(std::span<const int64_t> shape);
int64_t product(std::span<const int64_t> v);

template <class T>
std::span<const T> Tensor::as() const {
  FCC_CHECK(sizeof(T) == static_cast<size_t>(byte_size(dtype_)), "{} read with the wrong width", name(dtype_));
  return {reinterpret_cast<const T*>(data_.get()), static_cast<size_t>(elements_)};
}
template <class T>
std::span<T> Tensor::as() {
  FCC_CHECK(sizeof(T) == static_cast<size_t>(byte_size(dtype_)), "{} read with the wrong width", name(dtype_));
  return {reinterpret_cast<T*>(raw()), static_cast<size_t>(elements_)};
}
template <class T>
Tensor Tensor::of(DType dtype, std::vector<int64_t> shape, std::span<const T> values) {
  Tensor t(dtype, std::move(shape));
  FCC_CHECK(static_cast<int64_t>(values.size()) == t.elements(), "{} values for {}", values.size(), t.type().text());
  std::copy(values.begin(), values.end(), t.as<T>().begin());
  return t;
}

}  // namespace fcc
