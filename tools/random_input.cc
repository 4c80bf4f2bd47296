#include "tools/random_input.h"

namespace fcc {
namespace {

constexpr uint64_t kIntegerValues = 4;

// SplitMix64 (Steele, Lea, Flood 2014): one addition and a finaliser a number, good enough for test data.
class SplitMix {
 public:
  explicit SplitMix(uint64_t state) : state_(state) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, 1), of 24 bits: exact in f32.
  float unit() { return static_cast<float>(next() >> 40) * 0x1p-24f; }

 private:
  uint64_t state_;
};

uint64_t hash(std::string_view text) {  // FNV-1a
  uint64_t h = 0xcbf29ce484222325u;
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3u;
  return h;
}

}  // namespace

Tensor random_tensor(std::string_view name, DType dtype, std::vector<int64_t> shape, const RandomRange& range) {
  Tensor tensor(dtype, std::move(shape));
  SplitMix random(hash(name) ^ (range.seed * 0x9e3779b97f4a7c15u));
  if (dtype == DType::f32) {  // the usual case, worth more than a call an element
    const auto low = static_cast<float>(range.low), span = static_cast<float>(range.high - range.low);
    for (float& v : tensor.as<float>()) v = low + span * random.unit();
    return tensor;
  }
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (is_float(dtype)) {
      tensor.set_double(i, range.low + (range.high - range.low) * random.unit());
    } else {
      tensor.set_int(i, static_cast<int64_t>(random.next() % (dtype == DType::boolean ? 2 : kIntegerValues)));
    }
  }
  return tensor;
}

}  // namespace fcc
