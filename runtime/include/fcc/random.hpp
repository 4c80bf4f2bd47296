// A counter-based random generator: value i of stream s under key k is a pure function of the three.
//
// Shuffles, splits and initialisers draw from it, so that they do not depend on threads, can be resumed in the middle
// and are the same on every machine. It is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// 2011). Not for cryptography. Header-only, C++17.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace fcc {

class Philox {
 public:
  Philox(uint64_t key, uint64_t stream) : key_(key), stream_(stream) {}

  // 128 bits.
  std::array<uint32_t, 4> block(uint64_t counter) const {
    std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                                 static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)};
    auto k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    for (int round = 0; round < 10; ++round) {
      uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return c;
  }
  uint64_t bits(uint64_t counter) const {
    auto b = block(counter);
    return uint64_t{b[1]} << 32 | b[0];
  }
  // In [0, 1), 53 bits.
  double uniform(uint64_t counter) const { return static_cast<double>(bits(counter) >> 11) * 0x1p-53; }
  // Standard normal, by Box and Muller.
  double normal(uint64_t counter) const {
    auto b = block(counter);
    double u = (static_cast<double>(b[0]) + 0.5) * 0x1p-32, v = static_cast<double>(b[1]) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586477 * v);
  }
  // In [0, bound), unbiased to 2^-64: the high half of a product.
  uint64_t below(uint64_t counter, uint64_t bound) const {
    uint64_t x = bits(counter), high = 0;
    uint64_t low_part = (x & 0xffffffffu) * (bound & 0xffffffffu), mid1 = (x >> 32) * (bound & 0xffffffffu);
    uint64_t mid2 = (x & 0xffffffffu) * (bound >> 32);
    uint64_t carry = (low_part >> 32) + (mid1 & 0xffffffffu) + (mid2 & 0xffffffffu);
    high = (x >> 32) * (bound >> 32) + (mid1 >> 32) + (mid2 >> 32) + (carry >> 32);
    return high;
  }

 private:
  uint64_t key_, stream_;
};

// A permutation of 0..n-1 into `order`, which keeps its capacity: Fisher-Yates, the same on every machine.
template <class Index, class Vector>
void shuffled_order(Index n, uint64_t seed, uint64_t stream, Vector* order) {
  order->resize(static_cast<size_t>(n));
  for (Index i = 0; i < n; ++i) (*order)[static_cast<size_t>(i)] = i;
  Philox random(seed, stream);
  for (Index i = n; i > 1; --i) {
    auto j = static_cast<size_t>(random.below(static_cast<uint64_t>(i), static_cast<uint64_t>(i)));
    auto held = (*order)[j];
    (*order)[j] = (*order)[static_cast<size_t>(i - 1)];
    (*order)[static_cast<size_t>(i - 1)] = held;
  }
}

}  // namespace fcc
