#include "ir/sym.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "ir/base/check.h"

namespace fcc {

using Kind = SymAtom::Kind;

int64_t saturating_multiply(int64_t a, int64_t b) {
  int64_t r;
  if (!__builtin_mul_overflow(a, b, &r)) return r;
  return (a < 0) == (b < 0) ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

int64_t saturating_add(int64_t a, int64_t b) {
  int64_t r;
  if (!__builtin_add_overflow(a, b, &r)) return r;
  return a > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return saturating_multiply(a, -1);
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

// ---- order -------------------------------------------------------------------------------------------

static std::strong_ordering compare(const SymAtom& a, const SymAtom& b) {
  if (&a == &b) return std::strong_ordering::equal;
  if (auto c = a.kind <=> b.kind; c != 0) return c;
  if (auto c = a.name <=> b.name; c != 0) return c;
  return std::lexicographical_compare_three_way(a.args.begin(), a.args.end(), b.args.begin(), b.args.end());
}

static std::strong_ordering compare(const std::vector<SymAtomRef>& a, const std::vector<SymAtomRef>& b) {
  if (auto c = b.size() <=> a.size(); c != 0) return c;  // higher degree first, the constant last
  for (size_t i = 0; i < a.size(); ++i)
    if (auto c = compare(*a[i], *b[i]); c != 0) return c;
  return std::strong_ordering::equal;
}

bool operator==(const SymExpr& a, const SymExpr& b) { return (a <=> b) == 0; }

std::strong_ordering operator<=>(const SymExpr& a, const SymExpr& b) {
  if (a.is_constant() && b.is_constant()) return a.constant_ <=> b.constant_;
  if (a.terms_ == b.terms_ && a.terms_) return std::strong_ordering::equal;
  std::vector<SymTerm> x = a.terms(), y = b.terms();
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (auto c = compare(x[i].atoms, y[i].atoms); c != 0) return c;
    if (auto c = x[i].coefficient <=> y[i].coefficient; c != 0) return c;
  }
  return x.size() <=> y.size();
}

// ---- construction --------------------------------------------------------------------------------------

SymExpr SymExpr::symbol(std::string_view name) {
  auto atom = std::make_shared<SymAtom>();
  atom->name = name;
  SymExpr e;
  e.terms_ = std::make_shared<const std::vector<SymTerm>>(std::vector<SymTerm>{{1, {atom}}});
  return e;
}

SymExpr SymExpr::make(std::vector<SymTerm> terms) {
  for (SymTerm& t : terms)
    std::sort(t.atoms.begin(), t.atoms.end(), [](auto& a, auto& b) { return compare(*a, *b) < 0; });
  std::sort(terms.begin(), terms.end(), [](auto& a, auto& b) { return compare(a.atoms, b.atoms) < 0; });
  std::vector<SymTerm> sum;
  for (SymTerm& t : terms) {
    if (!sum.empty() && compare(sum.back().atoms, t.atoms) == 0) {
      sum.back().coefficient = saturating_add(sum.back().coefficient, t.coefficient);
    } else {
      sum.push_back(std::move(t));
    }
    if (sum.back().coefficient == 0) sum.pop_back();
  }
  if (sum.empty()) return 0;
  if (sum.size() == 1 && sum[0].atoms.empty()) return sum[0].coefficient;
  SymExpr e;
  e.terms_ = std::make_shared<const std::vector<SymTerm>>(std::move(sum));
  return e;
}

std::vector<SymTerm> SymExpr::terms() const {
  if (terms_) return *terms_;
  if (constant_ == 0) return {};
  return {SymTerm{constant_, {}}};
}

int64_t SymExpr::constant() const {
  FCC_CHECK(is_constant(), "{} is not a number", text());
  return constant_;
}

SymExpr operator+(const SymExpr& a, const SymExpr& b) {
  if (a.is_constant() && b.is_constant()) return saturating_add(a.constant_, b.constant_);
  std::vector<SymTerm> t = a.terms(), u = b.terms();
  t.insert(t.end(), u.begin(), u.end());
  return SymExpr::make(std::move(t));
}

SymExpr operator-(const SymExpr& a, const SymExpr& b) { return a + b * SymExpr(-1); }

SymExpr operator*(const SymExpr& a, const SymExpr& b) {
  if (a.is_constant() && b.is_constant()) return saturating_multiply(a.constant_, b.constant_);
  std::vector<SymTerm> product;
  for (const SymTerm& t : a.terms())
    for (const SymTerm& u : b.terms()) {
      SymTerm p{saturating_multiply(t.coefficient, u.coefficient), t.atoms};
      p.atoms.insert(p.atoms.end(), u.atoms.begin(), u.atoms.end());
      product.push_back(std::move(p));
    }
  return SymExpr::make(std::move(product));
}

// ---- functions -------------------------------------------------------------------------------------------

static SymExpr atom(Kind kind, std::vector<SymExpr> args) {
  auto a = std::make_shared<SymAtom>();
  a->kind = kind;
  a->args = std::move(args);
  return SymExpr::make({{1, {a}}});
}

// t / u when u's atoms are a sub-multiset of t's and the coefficient divides.
static std::optional<SymTerm> divide_term(const SymTerm& t, const SymTerm& u) {
  if (u.coefficient == 0 || t.coefficient % u.coefficient != 0) return std::nullopt;
  SymTerm q{t.coefficient / u.coefficient, {}};
  size_t j = 0;
  for (const SymAtomRef& a : t.atoms) {
    if (j < u.atoms.size() && compare(*a, *u.atoms[j]) == 0) {
      ++j;
    } else {
      q.atoms.push_back(a);
    }
  }
  if (j != u.atoms.size()) return std::nullopt;
  return q;
}

// a / b when the division leaves no remainder as polynomials: long division by leading terms.
static std::optional<SymExpr> divide_exactly(SymExpr a, const SymExpr& b) {
  const std::vector<SymTerm> divisor = b.terms();
  if (divisor.empty()) return std::nullopt;
  SymExpr quotient = 0;
  for (int step = 0; step < 64; ++step) {
    if (a.is(0)) return quotient;
    std::optional<SymTerm> q = divide_term(a.terms().front(), divisor.front());
    if (!q) return std::nullopt;
    SymExpr qe = SymExpr::make({*q});
    quotient = quotient + qe;
    a = a - qe * b;
  }
  return std::nullopt;
}

SymExpr floordiv(const SymExpr& a, const SymExpr& b) {
  if (a.is_constant() && b.is_constant()) return floor_divide(a.constant(), b.constant());
  if (b.is(1)) return a;
  if (auto q = divide_exactly(a, b)) return *q;
  if (b.is_constant() && b.constant() > 0) {  // (c*q + r) / c = q + r/c; nested floordiv(x,m)/c = x/(m*c)
    std::vector<SymTerm> whole, rest;
    for (const SymTerm& t : a.terms()) {
      const int64_t c = b.constant(), q = t.atoms.empty() ? floor_divide(t.coefficient, c) : t.coefficient / c;
      const int64_t r = t.coefficient - q * c;
      if (q != 0) whole.push_back({q, t.atoms});
      if (r != 0) rest.push_back({r, t.atoms});
    }
    SymExpr remainder = SymExpr::make(rest);
    if (!whole.empty()) return SymExpr::make(whole) + floordiv(remainder, b);
    if (rest.size() == 1 && rest[0].coefficient == 1 && rest[0].atoms.size() == 1) {
      const SymAtom& inner = *rest[0].atoms[0];
      if (inner.kind == Kind::floordiv && inner.args[1].is_constant() && inner.args[1].constant() > 0)
        return floordiv(inner.args[0], inner.args[1] * b);
    }
  }
  return atom(Kind::floordiv, {a, b});
}

SymExpr ceildiv(const SymExpr& a, const SymExpr& b) { return floordiv(a + b - 1, b); }

SymExpr mod(const SymExpr& a, const SymExpr& b) {
  if (b.is(1) || divide_exactly(a, b)) return 0;
  if (a.is_constant() && b.is_constant()) return a.constant() - floor_divide(a.constant(), b.constant()) * b.constant();
  return atom(Kind::mod, {a, b});
}

SymExpr max(const SymExpr& a, const SymExpr& b) {
  if ((a - b).provably_nonnegative()) return a;
  if ((b - a).provably_nonnegative()) return b;
  return a < b ? atom(Kind::max, {a, b}) : atom(Kind::max, {b, a});
}

SymExpr min(const SymExpr& a, const SymExpr& b) {
  if ((a - b).provably_nonnegative()) return b;
  if ((b - a).provably_nonnegative()) return a;
  return a < b ? atom(Kind::min, {a, b}) : atom(Kind::min, {b, a});
}

SymExpr select_eq(const SymExpr& a, const SymExpr& b, const SymExpr& then, const SymExpr& otherwise) {
  const SymExpr difference = a - b;
  if (difference.is(0) || then == otherwise) return then;
  if (difference.is_constant() || difference.provably_positive() || (-difference).provably_positive()) return otherwise;
  return atom(Kind::select_eq, {a, b, then, otherwise});
}

SymExpr select_lt(const SymExpr& a, const SymExpr& b, const SymExpr& then, const SymExpr& otherwise) {
  if (then == otherwise || (b - a).provably_positive()) return then;
  if ((a - b).provably_nonnegative()) return otherwise;
  return atom(Kind::select_lt, {a, b, then, otherwise});
}

SymExpr SymExpr::call(Kind kind, std::vector<SymExpr> args) {
  switch (kind) {
    case Kind::floordiv: return floordiv(args.at(0), args.at(1));
    case Kind::mod: return mod(args.at(0), args.at(1));
    case Kind::min: return min(args.at(0), args.at(1));
    case Kind::max: return max(args.at(0), args.at(1));
    case Kind::select_eq: return select_eq(args.at(0), args.at(1), args.at(2), args.at(3));
    case Kind::select_lt: return select_lt(args.at(0), args.at(1), args.at(2), args.at(3));
    case Kind::symbol: break;
  }
  FCC_UNREACHABLE("a symbol is not a function");
}

static bool nonnegative(const SymAtom& a) {
  const auto& x = a.args;
  switch (a.kind) {
    case Kind::symbol: return !a.name.starts_with('$');
    case Kind::floordiv: return x[0].provably_nonnegative() && x[1].provably_nonnegative();
    case Kind::mod: return x[1].provably_nonnegative();
    case Kind::max: return x[0].provably_nonnegative() || x[1].provably_nonnegative();
    case Kind::min: return x[0].provably_nonnegative() && x[1].provably_nonnegative();
    case Kind::select_eq:
    case Kind::select_lt: return x[2].provably_nonnegative() && x[3].provably_nonnegative();
  }
  return false;
}

bool SymExpr::provably_nonnegative() const {
  if (is_constant()) return constant_ >= 0;
  for (const SymTerm& t : *terms_) {
    if (t.coefficient < 0) return false;
    for (const SymAtomRef& a : t.atoms)
      if (!nonnegative(*a)) return false;
  }
  return true;
}

// ---- walks ------------------------------------------------------------------------------------------------

static void collect(const SymExpr& e, std::set<std::string>& names) {
  for (const SymTerm& t : e.terms())
    for (const SymAtomRef& a : t.atoms) {
      if (a->kind == Kind::symbol) names.insert(a->name);
      for (const SymExpr& x : a->args) collect(x, names);
    }
}

std::vector<std::string> SymExpr::symbols() const {
  std::set<std::string> names;
  collect(*this, names);
  return {names.begin(), names.end()};
}

int64_t SymExpr::weight(int64_t limit) const {
  int64_t w = 1;
  if (is_constant()) return w;
  for (const SymTerm& t : *terms_)
    for (const SymAtomRef& a : t.atoms) {
      ++w;
      for (const SymExpr& x : a->args) {
        if (w > limit) return w;
        w += x.weight(limit - w);
      }
    }
  return w;
}

SymExpr SymExpr::substitute(const std::function<SymExpr(std::string_view)>& lookup) const {
  if (is_constant()) return *this;
  SymExpr sum = 0;
  for (const SymTerm& t : *terms_) {
    SymExpr product = t.coefficient;
    for (const SymAtomRef& a : t.atoms) {
      if (a->kind == Kind::symbol) {
        product = product * lookup(a->name);
        continue;
      }
      std::vector<SymExpr> args;
      for (const SymExpr& x : a->args) args.push_back(x.substitute(lookup));
      product = product * call(a->kind, std::move(args));
    }
    sum = sum + product;
  }
  return sum;
}

int64_t SymExpr::evaluate(const std::function<int64_t(std::string_view)>& lookup) const {
  return substitute([&](std::string_view name) { return SymExpr(lookup(name)); }).constant();
}

// ---- text -------------------------------------------------------------------------------------------------

static constexpr std::string_view kFunctionNames[] = {"", "floordiv", "mod", "min", "max", "select_eq", "select_lt"};
static constexpr size_t kFunctionArity[] = {0, 2, 2, 2, 2, 4, 4};

static bool is_identifier(std::string_view s) {
  if (s.empty() || (!std::isalpha(static_cast<unsigned char>(s[0])) && s[0] != '_' && s[0] != '$')) return false;
  return std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '$' || c == '.'; });
}

static std::string atom_text(const SymAtom& a) {
  if (a.kind == Kind::symbol) return is_identifier(a.name) ? a.name : "`" + a.name + "`";
  std::string s = std::string(kFunctionNames[static_cast<size_t>(a.kind)]) + "(";
  for (size_t i = 0; i < a.args.size(); ++i) s += (i ? "," : "") + a.args[i].text();
  return s + ")";
}

std::string SymExpr::text() const {
  if (is_constant()) return std::to_string(constant_);
  std::string s;
  for (const SymTerm& t : *terms_) {
    int64_t c = t.coefficient;
    if (!s.empty() && c >= 0) s += "+";
    if (t.atoms.empty()) {
      s += std::to_string(c);
      continue;
    }
    if (c == -1) s += "-";
    else if (c != 1) s += std::to_string(c) + "*";
    for (size_t i = 0; i < t.atoms.size(); ++i) s += (i ? "*" : "") + atom_text(*t.atoms[i]);
  }
  return s;
}

namespace {
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<SymExpr> whole() {
    FCC_TRY(SymExpr e, sum());
    skip();
    if (at_ != text_.size()) return error("unexpected text");
    return e;
  }

 private:
  void skip() { while (at_ < text_.size() && text_[at_] == ' ') ++at_; }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::unexpected<Diagnostic> error(std::string_view what) {
    return fail("size expression \"" + std::string(text_) + "\": " + std::string(what) + " at column " + std::to_string(at_ + 1));
  }

  Result<SymExpr> sum() {
    if (++depth_ > 64) return error("nested too deep");
    bool negative = take('-');
    FCC_TRY(SymExpr e, product());
    if (negative) e = -e;
    for (;;) {
      if (take('+')) {
        FCC_TRY(SymExpr f, product());
        e = e + f;
      } else if (take('-')) {
        FCC_TRY(SymExpr f, product());
        e = e - f;
      } else {
        --depth_;
        return e;
      }
    }
  }

  Result<SymExpr> product() {
    FCC_TRY(SymExpr e, factor());
    while (take('*')) {
      FCC_TRY(SymExpr f, factor());
      e = e * f;
    }
    return e;
  }

  Result<SymExpr> factor() {
    skip();
    if (take('(')) {
      FCC_TRY(SymExpr e, sum());
      if (!take(')')) return error("expected )");
      return e;
    }
    if (take('`')) {
      size_t end = text_.find('`', at_);
      if (end == text_.npos) return error("unterminated name");
      std::string_view name = text_.substr(at_, end - at_);
      at_ = end + 1;
      return SymExpr::symbol(name);
    }
    size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || text_[at_] == '$' || text_[at_] == '.')) ++at_;
    std::string_view word = text_.substr(start, at_ - start);
    if (word.empty()) return error("expected a number or a name");
    if (std::isdigit(static_cast<unsigned char>(word[0]))) return number(word);
    for (size_t k = 1; k < std::size(kFunctionNames); ++k)
      if (word == kFunctionNames[k] && take('(')) return function(static_cast<Kind>(k), kFunctionArity[k]);
    return SymExpr::symbol(word);
  }

  Result<SymExpr> number(std::string_view word) {
    int64_t v = 0;
    for (char c : word) {
      if (!std::isdigit(static_cast<unsigned char>(c))) return error("malformed number");
      v = saturating_add(saturating_multiply(v, 10), c - '0');
    }
    return SymExpr(v);
  }

  Result<SymExpr> function(Kind kind, size_t arity) {
    std::vector<SymExpr> args;
    do {
      FCC_TRY(SymExpr e, sum());
      args.push_back(std::move(e));
    } while (take(','));
    if (!take(')')) return error("expected )");
    if (args.size() != arity) return error("wrong number of arguments");
    return SymExpr::call(kind, std::move(args));
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};
}  // namespace

Result<SymExpr> SymExpr::parse(std::string_view text) { return Parser(text).whole(); }

}  // namespace fcc
