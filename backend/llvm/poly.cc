#include "backend/llvm/poly.h"

#include <algorithm>

namespace fcc {

static int64_t wrap_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
static int64_t wrap_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

void Poly::add(const Monomial& m, int64_t coefficient) {
  if (coefficient == 0) return;
  auto [it, fresh] = terms_.emplace(m, coefficient);
  if (fresh) return;
  it->second = wrap_add(it->second, coefficient);
  if (it->second == 0) terms_.erase(it);
}

int64_t Poly::constant() const {
  auto it = terms_.find({});
  return it == terms_.end() ? 0 : it->second;
}

Poly operator+(const Poly& a, const Poly& b) {
  Poly sum = a;
  for (const auto& [m, c] : b.terms_) sum.add(m, c);
  return sum;
}

Poly operator-(const Poly& a, const Poly& b) {
  Poly difference = a;
  for (const auto& [m, c] : b.terms_) difference.add(m, wrap_mul(c, -1));
  return difference;
}

Poly operator*(const Poly& a, const Poly& b) {
  Poly product;
  for (const auto& [m, c] : a.terms_)
    for (const auto& [n, d] : b.terms_) {
      Poly::Monomial merged;
      std::merge(m.begin(), m.end(), n.begin(), n.end(), std::back_inserter(merged));
      product.add(merged, wrap_mul(c, d));
    }
  return product;
}

}  // namespace fcc
