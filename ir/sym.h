#pragma once
// Symbolic integers: sizes and small shape arithmetic over open dimensions such as 2*N+1.
//
// A SymExpr is a polynomial with int64 coefficients over atoms; an atom is a symbol or a function of
// SymExprs (floordiv, mod, min, max, select). The form is canonical, so == decides equality of polynomials.
// A symbol names an open dimension and is assumed >= 0; a symbol whose name starts with '$' is an element of
// a tensor seen only while running and may have any sign. Arithmetic saturates at the ends of int64: a
// saturated size is far above any limit and is refused by the size checks in types.h.
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

class SymExpr;

struct SymAtom {
  enum class Kind : uint8_t { symbol, floordiv, mod, min, max, select_eq, select_lt };  // select_*(a,b,c,d): a op b ? c : d
  Kind kind = Kind::symbol;
  std::string name;            // of a symbol
  std::vector<SymExpr> args;   // of a function
};
using SymAtomRef = std::shared_ptr<const SymAtom>;

struct SymTerm {
  int64_t coefficient = 0;
  std::vector<SymAtomRef> atoms;  // sorted; repeated for powers; empty for the constant term
};

class SymExpr {
 public:
  SymExpr() = default;
  SymExpr(int64_t value) : constant_(value) {}  // NOLINT: numbers are expressions
  static SymExpr symbol(std::string_view name);
  // Reads what text() writes: + - *, floordiv(a,b), mod, min, max, select_eq, select_lt, `quoted names`.
  static Result<SymExpr> parse(std::string_view text);

  bool is_constant() const { return !terms_; }
  bool is(int64_t v) const { return is_constant() && constant_ == v; }
  int64_t constant() const;  // the value; a bug when not constant
  std::string text() const;
  // Sum of coefficient * product(atoms), sorted; a constant has at most one term.
  std::vector<SymTerm> terms() const;

  friend SymExpr operator+(const SymExpr&, const SymExpr&);
  friend SymExpr operator-(const SymExpr&, const SymExpr&);
  friend SymExpr operator*(const SymExpr&, const SymExpr&);
  SymExpr operator-() const { return SymExpr(0) - *this; }
  friend bool operator==(const SymExpr&, const SymExpr&);
  friend std::strong_ordering operator<=>(const SymExpr&, const SymExpr&);

  // Every symbol inside, each once, sorted.
  std::vector<std::string> symbols() const;
  // The value with every symbol replaced by lookup(name). Division by zero gives 0.
  int64_t evaluate(const std::function<int64_t(std::string_view)>& lookup) const;
  SymExpr substitute(const std::function<SymExpr(std::string_view)>& lookup) const;
  // True only when it can be shown for all admissible values of the symbols.
  bool provably_nonnegative() const;
  bool provably_positive() const { return (*this - 1).provably_nonnegative(); }

  // Number of terms, atoms and arguments inside, counted up to about `limit`: expressions can share parts and would
  // otherwise be exponentially long.
  int64_t weight(int64_t limit = 1000) const;

  static SymExpr make(std::vector<SymTerm> terms);  // any order, any repetition
  static SymExpr call(SymAtom::Kind kind, std::vector<SymExpr> args);

 private:
  int64_t constant_ = 0;
  std::shared_ptr<const std::vector<SymTerm>> terms_;  // null for a constant
};

SymExpr floordiv(const SymExpr& a, const SymExpr& b);
SymExpr ceildiv(const SymExpr& a, const SymExpr& b);
SymExpr mod(const SymExpr& a, const SymExpr& b);  // sign of b, as floordiv
SymExpr min(const SymExpr& a, const SymExpr& b);
SymExpr max(const SymExpr& a, const SymExpr& b);
SymExpr select_eq(const SymExpr& a, const SymExpr& b, const SymExpr& then, const SymExpr& otherwise);
SymExpr select_lt(const SymExpr& a, const SymExpr& b, const SymExpr& then, const SymExpr& otherwise);

// a*b clamped to the range of int64.
int64_t saturating_multiply(int64_t a, int64_t b);
int64_t saturating_add(int64_t a, int64_t b);
// Quotient rounded towards minus infinity; 0 when b is 0.
int64_t floor_divide(int64_t a, int64_t b);

}  // namespace fcc
