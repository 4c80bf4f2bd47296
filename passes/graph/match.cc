#include "passes/graph/match.h"

#include <algorithm>
#include <cmath>

#include "ir/op.h"

namespace fcc {

const Node* made_by(const Graph& g, ValueId v, std::string_view op_name) {
  const Node* n = g.def(v);
  return n && n->op->name == op_name ? n : nullptr;
}

NodeId only_user(const Graph& g, ValueId v, std::string_view op_name) {
  if (!used_once(g, v) || g.users(v).size() != 1) return kNoNode;
  const NodeId user = g.users(v)[0];
  return g.node(user).op->name == op_name ? user : kNoNode;
}

std::optional<double> number(const Graph& g, ValueId v) {
  if (!g.is_constant(v) || g.value(v).data.elements() != 1) return std::nullopt;
  return g.value(v).data.get_double(0);
}

bool near(double a, double b) { return std::fabs(a - b) <= 1e-6 * std::fabs(b); }

bool is_number(const Graph& g, ValueId v, double wanted) {
  const std::optional<double> d = number(g, v);
  return d && near(*d, wanted);
}

std::optional<WithConstant> with_constant(const Graph& g, const Node& n) {
  if (n.in.size() != 2) return std::nullopt;
  const bool first = g.is_constant(n.in[0]), second = g.is_constant(n.in[1]);
  if (first == second) return std::nullopt;
  const bool commutes = n.op->name == "Add" || n.op->name == "Mul";
  if (first && !commutes) return std::nullopt;
  return first ? WithConstant{n.in[1], n.in[0]} : WithConstant{n.in[0], n.in[1]};
}

bool broadcasts_into(const TensorType& operand, const TensorType& whole) {
  if (operand.rank() > whole.rank()) return false;
  const std::optional<Dims> wide = broadcast(whole.dims, operand.dims);
  return wide && *wide == whole.dims;
}

// Operand and number of a two-operand node of one of two names, when the number leaves the shape alone.
struct WithNumber {
  ValueId of;
  double value;
};
static std::optional<WithNumber> with_number(const Graph& g, const Node& n) {
  const std::optional<WithConstant> split = with_constant(g, n);
  if (!split) return std::nullopt;
  const std::optional<double> value = number(g, split->constant);
  if (!value || !is_float(g.value(split->variable).type.dtype)) return std::nullopt;
  if (!broadcasts_into(g.value(split->constant).type, g.value(split->variable).type)) return std::nullopt;
  return WithNumber{split->variable, *value};
}

Affine scaled(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  if (n && n->op->name == "Neg") return {-1, 0, n->in[0]};
  if (n && (n->op->name == "Mul" || n->op->name == "Div"))
    if (const auto k = with_number(g, *n)) return {n->op->name == "Mul" ? k->value : 1 / k->value, 0, k->of};
  return {1, 0, v};
}

Affine affine(const Graph& g, ValueId v) {
  const Node* n = g.def(v);
  if (!n || (n->op->name != "Add" && n->op->name != "Sub")) return scaled(g, v);
  const auto k = with_number(g, *n);
  if (!k) return scaled(g, v);
  Affine a = scaled(g, k->of);
  a.shift = n->op->name == "Add" ? k->value : -k->value;
  return a;
}

static void collect_factors(const Graph& g, ValueId v, ValueId stop, int depth, Product& p) {
  const Node* n = v == stop || depth == 0 ? nullptr : g.def(v);
  if (!n) {
    p.factors.push_back(v);
    return;
  }
  if (const Affine a = scaled(g, v); a.of != v) {
    p.coefficient *= a.scale;
    return collect_factors(g, a.of, stop, depth - 1, p);
  }
  if (n->op->name != "Mul" || g.value(n->in[0]).type != g.value(n->in[1]).type) {
    p.factors.push_back(v);
    return;
  }
  for (ValueId operand : std::vector<ValueId>(n->in)) collect_factors(g, operand, stop, depth - 1, p);
}

Product product_of(const Graph& g, ValueId v, ValueId stop) {
  Product p;
  collect_factors(g, v, stop, 6, p);
  return p;
}

std::optional<double> coefficient_of_power(const Graph& g, ValueId v, ValueId x, int power) {
  const Product p = product_of(g, v, x);
  int seen = 0;
  for (ValueId f : p.factors) {
    if (f == x) {
      ++seen;
    } else if (const Node* pow = made_by(g, f, "Pow"); pow && pow->in[0] == x && number(g, pow->in[1])) {
      const double e = *number(g, pow->in[1]);
      if (e != std::floor(e) || e < 1) return std::nullopt;
      seen += static_cast<int>(std::min(e, 8.0));
    } else {
      return std::nullopt;
    }
  }
  if (seen != power) return std::nullopt;
  return p.coefficient;
}

}  // namespace fcc
