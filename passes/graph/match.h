#pragma once
// Questions that pattern-matching passes ask of a graph: who made this value, is it a number, which numbers does it
// multiply. Shared by the recognize_* and fold_* passes so that each reads like the equation it implements.
// Nothing here changes a graph.
#include <optional>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace fcc {

// The node that makes v when it is this operator; null otherwise.
const Node* made_by(const Graph& g, ValueId v, std::string_view op_name);
inline bool used_once(const Graph& g, ValueId v) { return g.use_count(v) == 1; }
// The only node that uses v, when it is this operator; kNoNode otherwise.
NodeId only_user(const Graph& g, ValueId v, std::string_view op_name);

// The value of a constant of one element.
std::optional<double> number(const Graph& g, ValueId v);
// Equal up to what storing a constant as f32 does to it.
bool near(double a, double b);
bool is_number(const Graph& g, ValueId v, double wanted);

// A node of two operands as (variable, constant), when exactly one is constant. In this order for Sub, Div and Pow.
struct WithConstant {
  ValueId variable = kNoValue, constant = kNoValue;
};
std::optional<WithConstant> with_constant(const Graph& g, const Node& n);

// v = scale * of + shift, by one Add or Sub of a number and one Mul, Div or Neg below it; a number never widens v's
// shape. Without any: 1 * v + 0.
struct Affine {
  double scale = 1, shift = 0;
  ValueId of = kNoValue;
};
Affine affine(const Graph& g, ValueId v);
// The same without an Add: v = scale * of.
Affine scaled(const Graph& g, ValueId v);

// v = coefficient * product of factors, through all Mul and Div by numbers above `stop`.
struct Product {
  double coefficient = 1;
  std::vector<ValueId> factors;
};
Product product_of(const Graph& g, ValueId v, ValueId stop = kNoValue);

// v = x^power, spelled as Pow or as repeated Mul; the coefficient before it.
std::optional<double> coefficient_of_power(const Graph& g, ValueId v, ValueId x, int power);

// Does an operand of this type leave the other operand's shape as it is under broadcasting?
bool broadcasts_into(const TensorType& operand, const TensorType& whole);

}  // namespace fcc
