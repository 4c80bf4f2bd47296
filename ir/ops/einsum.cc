// Einsum: sums of products named by letters. "bij,bjk->bik", "ii->i", "...ij->...ji", ",a->a".
#include <algorithm>
#include <cctype>
#include <map>

#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using In = std::span<const Expr>;

// Axes as labels: letters by their code; the axes of an ellipsis by 1000 minus their distance from its right end,
// so that they broadcast aligned at the right.
using Labels = std::vector<int>;
struct Equation {
  std::vector<Labels> terms;
  Labels result, summed;
};
constexpr int kEllipsisEnd = 1000;
using Parsed = std::expected<Equation, std::string>;

std::string without_spaces(std::string s) {
  std::erase(s, ' ');
  return s;
}
std::vector<std::string> split(const std::string& s) {
  std::vector<std::string> parts(1);
  for (char ch : s) {
    if (ch == ',')
      parts.emplace_back();
    else
      parts.back() += ch;
  }
  return parts;
}

// Labels of a term; its ellipsis stands for so many axes.
std::expected<Labels, std::string> parse_term(const std::string& term, int64_t ellipsis_rank) {
  Labels labels;
  bool ellipsis = false;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.compare(i, 3, "...") == 0) {
      if (std::exchange(ellipsis, true)) return std::unexpected("\"" + term + "\" has two ellipses");
      for (int64_t e = 0; e < ellipsis_rank; ++e) labels.push_back(kEllipsisEnd - static_cast<int>(ellipsis_rank - e));
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(term[i]);
    } else {
      return std::unexpected("\"" + term + "\" contains '" + term[i] + "', which is no letter");
    }
  }
  return labels;
}

Labels implicit_result(const std::vector<Labels>& terms) {
  std::map<int, int> uses;
  for (const Labels& t : terms)
    for (int label : t) ++uses[label];
  Labels ellipsis, letters;
  for (auto [label, n] : uses) {  // sorted
    if (label > 127)
      ellipsis.push_back(label);
    else if (n == 1)
      letters.push_back(label);
  }
  ellipsis.insert(ellipsis.end(), letters.begin(), letters.end());
  return ellipsis;
}

Parsed parse_terms(const std::string& left, std::span<const int64_t> ranks, int64_t& widest_ellipsis) {
  Equation eq;
  const std::vector<std::string> parts = split(left);
  if (parts.size() != ranks.size())
    return std::unexpected("names " + std::to_string(parts.size()) + " operands, the node has " +
                           std::to_string(ranks.size()));
  for (size_t k = 0; k < parts.size(); ++k) {
    const bool ellipsis = parts[k].find("...") != std::string::npos;
    const int64_t named = static_cast<int64_t>(parts[k].size()) - (ellipsis ? 3 : 0), rest = ranks[k] - named;
    if (rest < 0 || (!ellipsis && rest != 0))
      return std::unexpected("gives operand " + std::to_string(k) + " " + std::to_string(named) + " axes (\"" +
                             parts[k] + "\"), it has " + std::to_string(ranks[k]));
    auto labels = parse_term(parts[k], rest);
    if (!labels) return std::unexpected(labels.error());
    if (ellipsis) widest_ellipsis = std::max(widest_ellipsis, rest);
    eq.terms.push_back(std::move(*labels));
  }
  return eq;
}

Parsed parse(const std::string& text, std::span<const int64_t> ranks) {
  const std::string s = without_spaces(text);
  const size_t arrow = s.find("->");
  int64_t widest_ellipsis = 0;
  Parsed eq = parse_terms(s.substr(0, arrow), ranks, widest_ellipsis);
  if (!eq) return eq;
  if (arrow == std::string::npos) {
    eq->result = implicit_result(eq->terms);
  } else {
    auto labels = parse_term(s.substr(arrow + 2), widest_ellipsis);
    if (!labels) return std::unexpected(labels.error());
    eq->result = std::move(*labels);
  }
  const auto contains = [](const Labels& v, int label) { return std::find(v.begin(), v.end(), label) != v.end(); };
  for (size_t i = 0; i < eq->result.size(); ++i) {
    const int label = eq->result[i];
    const std::string shown = label > 127 ? "..." : std::string(1, static_cast<char>(label));
    if (std::find(eq->result.begin() + static_cast<int64_t>(i) + 1, eq->result.end(), label) != eq->result.end())
      return std::unexpected("names \"" + shown + "\" twice in its result");
    if (std::none_of(eq->terms.begin(), eq->terms.end(), [&](const Labels& t) { return contains(t, label); }))
      return std::unexpected("has \"" + shown + "\" in its result, but no operand has it");
  }
  for (const Labels& t : eq->terms)
    for (int label : t)
      if (!contains(eq->result, label) && !contains(eq->summed, label)) eq->summed.push_back(label);
  return eq;
}

std::vector<int64_t> ranks_of(auto n, auto rank) {
  std::vector<int64_t> ranks;
  for (size_t k = 0; k < n; ++k) ranks.push_back(rank(k));
  return ranks;
}

// The extent of each label; 1 gives way to any other. meet(k, label, known, dim) sees every further extent of a label.
std::map<int, SymExpr> extents_of(const Equation& eq, const std::function<const Dims&(size_t)>& dims_of,
                                  const std::function<void(size_t, int, const SymExpr&, const SymExpr&)>& meet) {
  std::map<int, SymExpr> extents;
  for (size_t k = 0; k < eq.terms.size(); ++k)
    for (size_t d = 0; d < eq.terms[k].size(); ++d) {
      const SymExpr& dim = dims_of(k)[d];
      auto [it, fresh] = extents.emplace(eq.terms[k][d], dim);
      if (fresh || dim.is(1)) continue;
      if (!it->second.is(1)) meet(k, eq.terms[k][d], it->second, dim);
      it->second = it->second.is(1) ? dim : ops::better_known(it->second, dim);
    }
  return extents;
}

Status infer_einsum(InferContext& c) {
  for (size_t k = 0; k < c.n_in(); ++k) {
    FCC_CHECKED(ops::require_type(c, k, ops::kNumbers, "operand " + std::to_string(k)));
    FCC_CHECKED(ops::require_same_type(c, k, "operand " + std::to_string(k)));
  }
  const std::string equation = c.attrs.string("equation");
  Parsed eq = parse(equation, ranks_of(c.n_in(), [&](size_t k) { return c.rank(k); }));
  if (!eq)
    return c.fail("equation \"" + equation + "\" " + eq.error(),
                  "one term an operand, one letter an axis: \"ij,jk->ik\"");
  std::string fault;
  const std::map<int, SymExpr> extents = extents_of(
      *eq, [&](size_t k) -> const Dims& { return c.dims(k); },
      [&](size_t k, int label, const SymExpr& known, const SymExpr& dim) {
        if (!ops::clash(known, dim)) return;
        const std::string axis =
            label > 127 ? "an axis of the ellipsis" : std::string("\"") + static_cast<char>(label) + "\"";
        fault = "operand " + std::to_string(k) + " has " + dim.text() + " for " + axis + ", an axis before it has " +
                known.text();
      });
  if (!fault.empty()) return c.fail(fault, "axes of one letter must have one extent");
  Dims out;
  for (int label : eq->result) out.push_back(extents.at(label));
  c.set(0, c.dtype(0), std::move(out));
  return {};
}

template <class T>
void eval_einsum_as(EvalContext& c, const Equation& eq) {
  Labels labels = eq.result;  // the loops, outermost first
  labels.insert(labels.end(), eq.summed.begin(), eq.summed.end());
  std::vector<int64_t> extents(labels.size(), 1);
  std::vector<std::vector<T>> x;
  std::vector<std::vector<int64_t>> strides;
  for (size_t k = 0; k < eq.terms.size(); ++k) {
    x.push_back(ops::numbers<T>(*c.in[k]));
    strides.emplace_back(labels.size(), 0);
    const std::vector<int64_t> own = strides_of(c.in[k]->shape());
    for (size_t d = 0; d < own.size(); ++d) {
      const auto l = static_cast<size_t>(std::find(labels.begin(), labels.end(), eq.terms[k][d]) - labels.begin());
      if (c.in[k]->shape()[d] == 1) continue;
      extents[l] = c.in[k]->shape()[d];
      strides[k][l] += own[d];
    }
  }
  const std::vector<int64_t> summed(extents.begin() + static_cast<int64_t>(eq.result.size()), extents.end());
  const auto per_result = static_cast<size_t>(product(summed));
  std::vector<T> out(static_cast<size_t>(c.out[0].elements()), T{0});
  size_t flat = 0;
  for_each_index(extents, [&](std::span<const int64_t> index) {
    T term{1};
    for (size_t k = 0; k < x.size(); ++k) {
      int64_t at = 0;
      for (size_t l = 0; l < index.size(); ++l) at += index[l] * strides[k][l];
      term = ops::times(term, x[k][static_cast<size_t>(at)]);
    }
    T& o = out[flat++ / per_result];
    o = ops::plus(o, term);
  });
  ops::store(c.out[0], out);
}

void eval_einsum(EvalContext& c) {
  const Equation eq =
      parse(c.attrs.string("equation"), ranks_of(c.in.size(), [&](size_t k) { return c.in[k]->rank(); })).value();
  ops::with_number(c.in[0]->dtype(), [&](auto zero) { eval_einsum_as<decltype(zero)>(c, eq); });
}

Expr define_einsum(DefineContext& c, size_t, In index) {
  const size_t n = c.in_types.size();
  const Equation eq = parse(c.attrs->string("equation"), ranks_of(n, [&](size_t k) { return c.rank(k); })).value();
  const std::map<int, SymExpr> extents = extents_of(
      eq, [&](size_t k) -> const Dims& { return c.dims(k); },
      [&](size_t, int, const SymExpr& known, const SymExpr& dim) {
        ops::require_equal(c, known, dim, "axes of one letter of an Einsum differ");
      });
  std::map<int, Expr> position;
  for (size_t i = 0; i < index.size(); ++i) position[eq.result[i]] = index[i];
  std::vector<Expr> sizes;
  for (int label : eq.summed) sizes.push_back(loop::from_sym(extents.at(label)));
  return ops::reduce_over(c, ReduceOp::add, sizes, [&](In vars) {
    for (size_t i = 0; i < vars.size(); ++i) position[eq.summed[i]] = vars[i];
    Expr term;
    for (size_t k = 0; k < n; ++k) {
      std::vector<Expr> at;
      for (size_t d = 0; d < eq.terms[k].size(); ++d)
        at.push_back(c.dims(k)[d].is(1) ? loop::index(0) : position.at(eq.terms[k][d]));
      term = term ? term * c.in(k, at) : c.in(k, at);
    }
    return term;
  });
}

// ---- gradient -------------------------------------------------------------------------------------------------

// An operand's gradient is the Einsum of dy and the other operands with that operand's labels as its result. A label
// that nobody else has was summed alone: its gradient is the same all along. A label twice in the operand was a
// diagonal: off it the gradient is 0.
class OperandGradient {
 public:
  OperandGradient(GradBuilder& b, const Node& n, const Equation& eq, const std::map<int, SymExpr>& extents)
      : b_(b), n_(n), eq_(eq), extents_(extents) {}

  Term of(size_t k) {
    std::vector<Term> operands{b_.dy()};
    std::string text = letters(eq_.result);
    Labels known = eq_.result;
    for (size_t other = 0; other < n_.in.size(); ++other) {
      if (other == k) continue;
      operands.push_back(b_.in(other));
      text += "," + letters(eq_.terms[other]);
      known.insert(known.end(), eq_.terms[other].begin(), eq_.terms[other].end());
    }
    const auto contains = [](const Labels& v, int label) { return std::find(v.begin(), v.end(), label) != v.end(); };
    Labels wanted, seen;  // once each
    for (int label : eq_.terms[k])
      if (contains(known, label) && !contains(wanted, label)) wanted.push_back(label);
    const Term g = b_.node("Einsum", operands, {{"equation", text + "->" + letters(wanted)}});
    const Dims have = g.type().dims;
    Dims placed, full;
    for (int label : eq_.terms[k]) {
      const auto at = static_cast<size_t>(std::find(wanted.begin(), wanted.end(), label) - wanted.begin());
      placed.push_back(at < wanted.size() && !contains(seen, label) ? have[at] : SymExpr(1));
      full.push_back(extents_.at(label));
      seen.push_back(label);
    }
    return on_diagonals(b_.expand(b_.reshape(g, placed), full), eq_.terms[k], full);
  }

 private:
  std::string letters(const Labels& labels) {
    static constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    std::string s;
    for (int label : labels) s += kAlphabet.at(letter_.emplace(label, letter_.size()).first->second);
    return s;
  }

  Term position(size_t axis, const Dims& full) {
    const Term order = b_.term(b_("Range", {b_.scalar(DType::i64, 0), b_.size(DType::i64, full[axis]).v, b_.scalar(DType::i64, 1)}));
    Dims along(full.size(), 1);
    along[axis] = full[axis];
    return b_.reshape(order, along);
  }
  Term on_diagonals(Term g, const Labels& term, const Dims& full) {
    for (size_t d = 0; d < term.size(); ++d) {
      const auto first = static_cast<size_t>(std::find(term.begin(), term.end(), term[d]) - term.begin());
      if (first < d) g = where(equal(position(first, full), position(d, full)), g, 0);
    }
    return g;
  }

  GradBuilder& b_;
  const Node& n_;
  const Equation& eq_;
  const std::map<int, SymExpr>& extents_;
  std::map<int, size_t> letter_;
};

Result<std::vector<ValueId>> grad_einsum(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  const Equation eq = parse(n.attrs.string("equation"), ranks_of(n.in.size(), [&](size_t k) { return b.in_type(k).rank(); })).value();
  std::vector<Dims> dims;
  for (size_t k = 0; k < n.in.size(); ++k) dims.push_back(b.dims(k));
  const auto extents = extents_of(
      eq, [&](size_t k) -> const Dims& { return dims[k]; }, [](size_t, int, const SymExpr&, const SymExpr&) {});
  for (size_t k = 0; k < n.in.size(); ++k) b.give(k, [&] { return OperandGradient(b, n, eq, extents).of(k); });
  return b.done();
}

}  // namespace

void register_einsum(Registry& r) {
  r.add({.name = "Einsum",
         .doc = "sum of products of operands, axes named by letters",
         .attrs = {{"equation", AttrType::string, true}},
         .in = {1, -1},
         .out = {1, 1},
         .infer = infer_einsum,
         .eval = eval_einsum,
         .define = define_einsum,
         .grad = grad_einsum});
}

}  // namespace fcc
