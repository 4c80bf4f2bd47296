#pragma once
// What a gradient rule (OpDef::grad) is written with: the node's operands, results and the gradients of its results
// as terms, arithmetic on terms that adds nodes to the graph, and the movements that undo a broadcast. It lives in ir
// because rules stand beside the formulas of their operators; which nodes are visited, and how contributions are
// summed, is decided in ir/differentiate.h.
//
// A rule reads like mathematics, and computes only what is asked for:
//   b.give(0, [&] { return b.dy() * b.in(1); });      // d(x0 x1)/d x0; summed over the axes along which x0 was
//   broadcast b.give(1, [&] { return b.dy() * b.in(0); }); return b.done();
#include "ir/op.h"

namespace fcc {

// A value in a rule. Terms of one expression have one element type; numbers take it. Cheap to copy.
struct Term {
  GradBuilder* b = nullptr;
  ValueId v = kNoValue;

  explicit operator bool() const { return v != kNoValue; }
  TensorType type() const;  // a copy: adding nodes moves the graph's own
};
Term operator+(Term, Term);
Term operator-(Term, Term);
Term operator*(Term, Term);
Term operator/(Term, Term);
Term operator+(Term, double);
Term operator-(Term, double);
Term operator*(Term, double);
Term operator/(Term, double);
Term operator-(double, Term);
Term operator/(double, Term);
Term operator-(Term);
// The operator of that name on one operand: fn("Exp", x).
Term fn(std::string_view op_name, Term x);
Term less(Term, Term);
Term less(Term, double);
Term less_equal(Term, double);
Term greater(Term, double);
Term equal(Term, Term);
Term equal(Term, double);
Term where(Term condition, Term a, Term b);
Term where(Term condition, Term a, double b);
Term where(Term condition, double a, Term b);
Term cast(DType, Term);

class GradBuilder : public GraphBuilder {
 public:
  // dy: the gradients of the node's results, kNoValue where there is none; wanted: a flag an operand.
  GradBuilder(Graph& g, const Node& n, std::span<const ValueId> dy, std::vector<bool> wanted);

  // ---- the node
  bool has(size_t k) const { return k < node_.in.size() && node_.in[k] != kNoValue; }
  bool wants(size_t k) const { return k < wanted_.size() && wanted_[k]; }
  Term in(size_t k) { return {this, node_.in.at(k)}; }
  Term out(size_t k = 0) { return {this, node_.out.at(k)}; }
  Term dy(size_t k = 0) { return {this, k < dy_.size() ? dy_[k] : kNoValue}; }
  TensorType in_type(size_t k) const { return graph.value(node_.in.at(k)).type; }
  Dims dims(size_t k) const { return in_type(k).dims; }
  const Attrs& attrs() const { return node_.attrs; }
  // The elements of an operand that decides a shape; fails when they are not known at compile time.
  Result<std::vector<int64_t>> constants(size_t k, std::string_view what) const;

  // ---- results
  // Operand k's gradient is f(), summed over the axes along which the operand was broadcast, unless nobody wants it.
  template <class F>
  void give(size_t k, F f) {
    if (wants(k)) give_term(k, f());
  }
  Result<std::vector<ValueId>> done() const;
  std::unexpected<Diagnostic> fail(std::string what, std::string hint = {}) const;

  // ---- terms
  Term term(ValueId v) { return {this, v}; }
  Term node(std::string_view op_name, std::vector<Term> in, Attrs attrs = {});
  Term zeros(const TensorType& t) { return full(t, 0); }
  Term full(const TensorType&, double value);
  Term number(DType t, double value) { return {this, scalar(t, value)}; }
  Term size(DType, const SymExpr&);  // a number of elements as a scalar
  Term reshape(Term, const Dims&);
  Term expand(Term, const Dims&);
  Term transpose(Term, std::vector<int64_t> perm);
  Term sum(Term, std::vector<int64_t> axes, bool keepdims = true);
  Term mean(Term, std::vector<int64_t> axes);  // keeps the axes
  // Sums over the axes that broadcasting from these dims added or widened.
  Term sum_to(Term, const Dims&);

 private:
  void give_term(size_t k, Term);

  const Node& node_;
  std::span<const ValueId> dy_;
  std::vector<bool> wanted_;
  std::vector<ValueId> result_;
};

// ---- rules that many operators share -------------------------------------------------------------------------
using GradRule = Result<std::vector<ValueId>> (*)(GradBuilder&, const Node&, std::span<const ValueId> dy);

// Piecewise constant: the gradient is 0 wherever there is one.
Result<std::vector<ValueId>> zero_gradient(GradBuilder&, const Node&, std::span<const ValueId>);
// The result has the operand's elements in their order: gradients go back through a reshape.
Result<std::vector<ValueId>> reshape_gradient(GradBuilder&, const Node&, std::span<const ValueId>);

// Of a pointwise function of one operand: the chain rule from x, y = f(x) and d = dL/dy.
struct Chain {
  Term x, y, d;
  const Attrs& attrs;
  GradBuilder* b() const { return d.b; }
};
template <auto rule>
Result<std::vector<ValueId>> chain_rule(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  b.give(0, [&] { return rule(Chain{b.in(0), b.out(), b.dy(), n.attrs}); });
  return b.done();
}

}  // namespace fcc
