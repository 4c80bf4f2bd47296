#pragma once
// Index arithmetic as polynomials: integer coefficients over products of atoms. Flattened offsets are turned into
// this form so that constants reach the displacement of an address, and what varies slowly is added up first and
// leaves the inner loops. Only a helper of the emitter: it gives atoms their meaning.
#include <cstdint>
#include <map>
#include <vector>

namespace fcc {

using AtomId = int32_t;

class Poly {
 public:
  using Monomial = std::vector<AtomId>;  // sorted, repeated for powers; empty for the constant term

  Poly() = default;
  explicit Poly(int64_t constant) { add({}, constant); }
  static Poly atom(AtomId a) {
    Poly p;
    p.add({a}, 1);
    return p;
  }

  void add(const Monomial& m, int64_t coefficient);
  const std::map<Monomial, int64_t>& terms() const { return terms_; }
  bool is_constant() const { return terms_.empty() || (terms_.size() == 1 && terms_.begin()->first.empty()); }
  int64_t constant() const;

  friend Poly operator+(const Poly&, const Poly&);
  friend Poly operator-(const Poly&, const Poly&);
  friend Poly operator*(const Poly&, const Poly&);

 private:
  std::map<Monomial, int64_t> terms_;  // no zero coefficients; arithmetic wraps
};

}  // namespace fcc
