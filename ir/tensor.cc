#include "ir/tensor.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace fcc {

int64_t product(std::span<const int64_t> v) {
  int64_t n = 1;
  for (int64_t d : v) n = saturating_multiply(n, d);
  return n;
}

std::vector<int64_t> strides_of(std::span<const int64_t> shape) {
  std::vector<int64_t> s(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    s[i] = stride;
    stride *= shape[i];
  }
  return s;
}

Tensor::Tensor(DType dtype, std::vector<int64_t> shape) : dtype_(dtype), shape_(std::move(shape)), elements_(product(shape_)) {
  FCC_CHECK(elements_ >= 0 && elements_ <= kMaxTensorBytes / byte_size(dtype), "{} is too large", type().text());
  size_t size = (static_cast<size_t>(bytes()) + 127) / 64 * 64;  // slack: never null, 64 readable bytes past the end
  auto* p = static_cast<std::byte*>(std::aligned_alloc(64, size));
  if (!p) throw std::bad_alloc();
  std::memset(p, 0, size);
  data_ = std::shared_ptr<const std::byte>(p, [](const std::byte* q) { std::free(const_cast<std::byte*>(q)); });
}

Tensor Tensor::view(DType dtype, std::vector<int64_t> shape, const std::byte* bytes, std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.shape_ = std::move(shape);
  t.elements_ = product(t.shape_);
  t.data_ = std::shared_ptr<const std::byte>(std::move(owner), bytes);
  return t;
}

Tensor Tensor::scalar(DType dtype, double value) {
  Tensor t(dtype, {});
  t.set_double(0, value);
  return t;
}

Tensor Tensor::ints(std::span<const int64_t> values) {
  return of<int64_t>(DType::i64, {static_cast<int64_t>(values.size())}, values);
}

TensorType Tensor::type() const {
  TensorType t{dtype_, {}};
  for (int64_t d : shape_) t.dims.emplace_back(d);
  return t;
}

double Tensor::get_double(int64_t i) const {
  switch (dtype_) {
    case DType::f32: return as<float>()[i];
    case DType::f64: return as<double>()[i];
    case DType::f16: return f16_to_float(as<uint16_t>()[i]);
    case DType::bf16: return bf16_to_float(as<uint16_t>()[i]);
    case DType::u64: return static_cast<double>(as<uint64_t>()[i]);
    default: return static_cast<double>(get_int(i));
  }
}

int64_t Tensor::get_int(int64_t i) const {
  switch (dtype_) {
    case DType::i8: return as<int8_t>()[i];
    case DType::i16: return as<int16_t>()[i];
    case DType::i32: return as<int32_t>()[i];
    case DType::i64: return as<int64_t>()[i];
    case DType::u8: return as<uint8_t>()[i];
    case DType::boolean: return as<uint8_t>()[i] != 0;
    case DType::u16: return as<uint16_t>()[i];
    case DType::u32: return as<uint32_t>()[i];
    case DType::u64: return static_cast<int64_t>(as<uint64_t>()[i]);
    default: return static_cast<int64_t>(get_double(i));
  }
}

void Tensor::set_double(int64_t i, double v) {
  switch (dtype_) {
    case DType::f32: as<float>()[i] = static_cast<float>(v); break;
    case DType::f64: as<double>()[i] = v; break;
    case DType::f16: as<uint16_t>()[i] = float_to_f16(static_cast<float>(v)); break;
    case DType::bf16: as<uint16_t>()[i] = float_to_bf16(static_cast<float>(v)); break;
    case DType::boolean: as<uint8_t>()[i] = v != 0; break;
    default: set_int(i, static_cast<int64_t>(v)); break;
  }
}

void Tensor::set_int(int64_t i, int64_t v) {
  switch (dtype_) {
    case DType::i8: as<int8_t>()[i] = static_cast<int8_t>(v); break;
    case DType::i16: as<int16_t>()[i] = static_cast<int16_t>(v); break;
    case DType::i32: as<int32_t>()[i] = static_cast<int32_t>(v); break;
    case DType::i64: as<int64_t>()[i] = v; break;
    case DType::u8: as<uint8_t>()[i] = static_cast<uint8_t>(v); break;
    case DType::boolean: as<uint8_t>()[i] = v != 0; break;
    case DType::u16: as<uint16_t>()[i] = static_cast<uint16_t>(v); break;
    case DType::u32: as<uint32_t>()[i] = static_cast<uint32_t>(v); break;
    case DType::u64: as<uint64_t>()[i] = static_cast<uint64_t>(v); break;
    default: set_double(i, static_cast<double>(v)); break;
  }
}

std::vector<double> Tensor::to_doubles() const {
  std::vector<double> v(static_cast<size_t>(elements_));
  for (int64_t i = 0; i < elements_; ++i) v[static_cast<size_t>(i)] = get_double(i);
  return v;
}

std::vector<int64_t> Tensor::to_ints() const {
  std::vector<int64_t> v(static_cast<size_t>(elements_));
  for (int64_t i = 0; i < elements_; ++i) v[static_cast<size_t>(i)] = get_int(i);
  return v;
}

Tensor Tensor::reshaped(std::vector<int64_t> shape) const {
  FCC_CHECK(product(shape) == elements_, "reshape changes the element count of {}", type().text());
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

bool Tensor::same_bits(const Tensor& o) const {
  return dtype_ == o.dtype_ && shape_ == o.shape_ && std::memcmp(raw(), o.raw(), static_cast<size_t>(bytes())) == 0;
}

float bf16_to_float(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

uint16_t float_to_bf16(float f) {
  uint32_t b = std::bit_cast<uint32_t>(f);
  if (std::isnan(f)) return static_cast<uint16_t>((b >> 16) | 0x40);
  return static_cast<uint16_t>((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}

float f16_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (static_cast<uint32_t>(mantissa) << 13));
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return sign ? -magnitude : magnitude;
}

uint16_t float_to_f16(float f) {
  const uint32_t b = std::bit_cast<uint32_t>(f);
  const auto sign = static_cast<uint16_t>((b >> 16) & 0x8000);
  if (std::isnan(f)) return sign | 0x7e00;
  const float a = std::fabs(f);
  if (a >= 65520.0f) return sign | 0x7c00;
  if (a == 0) return sign;
  int e = 0;
  std::frexp(a, &e);
  const int shift = std::max(e - 11, -24);  // weight of the last mantissa bit
  const auto m = static_cast<uint32_t>(std::nearbyint(std::ldexp(a, -shift)));
  const uint32_t bits = (shift == -24) ? m : m - 1024 + (static_cast<uint32_t>(shift + 25) << 10);
  return sign | static_cast<uint16_t>(bits);
}

}  // namespace fcc
