// ai.onnx.preview.training: one step of Adagrad, Adam or Momentum on any number of tensors, spelled out in ordinary
// operators. Operands: learning rate R, step count T, then the tensors X..., their gradients G..., their states.
#include <fmt/format.h>

#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

// Arithmetic on values of one element type; R and T are brought to it.
class Formula {
 public:
  explicit Formula(NodeForm& n) : b_(n.builder()), dtype_(n.type(2).dtype) {}
  ValueId number(double v) { return b_.scalar(dtype_, v); }
  ValueId of(ValueId v) { return b_.type(v).dtype == dtype_ ? v : b_("Cast", {v}, {{"to", dtype_}}); }
  ValueId add(ValueId x, ValueId y) { return b_("Add", {x, y}); }
  ValueId sub(ValueId x, ValueId y) { return b_("Sub", {x, y}); }
  ValueId mul(ValueId x, ValueId y) { return b_("Mul", {x, y}); }
  ValueId div(ValueId x, ValueId y) { return b_("Div", {x, y}); }
  ValueId sqrt(ValueId x) { return b_("Sqrt", {x}); }
  ValueId pow(ValueId x, ValueId y) { return b_("Pow", {x, y}); }
  // t > 0 ? then : otherwise
  ValueId after_first(ValueId t, ValueId then, ValueId otherwise) {
    return b_("Where", {b_("Greater", {t, number(0)}), then, otherwise});
  }
  const Status& status() const { return b_.status(); }

 private:
  GraphBuilder b_;
  DType dtype_;
};

struct Step {
  Formula f;
  size_t tensors;  // how many X
  ValueId rate, count;
  // Operand `slot` (0: X, 1: G, 2...: states) of tensor k.
  ValueId operand(const NodeForm& n, size_t slot, size_t k) const { return n.in[2 + slot * tensors + k]; }
  // X's weight decay joins the gradient: norm_coefficient * X + G
  ValueId gradient(const NodeForm& n, size_t k, double norm) {
    return f.add(f.mul(f.number(norm), operand(n, 0, k)), operand(n, 1, k));
  }
};

Result<Step> begin(NodeForm& n, size_t slots) {
  const size_t given = n.in.size();
  bool complete = given >= 2 + slots && (given - 2) % slots == 0;
  for (size_t k = 0; k < given; ++k) complete &= n.has(k);
  if (!complete)
    return n.refuse(fmt::format("has {} operands", given),
                    fmt::format("give R, T, then {} groups of as many tensors each", slots));
  Step s{Formula(n), (given - 2) / slots, kNoValue, kNoValue};
  s.rate = s.f.of(n.in[0]);
  s.count = s.f.of(n.in[1]);
  n.results.assign((slots - 1) * s.tensors, kNoValue);  // every group but the gradients has a next value
  return s;
}

Status adagrad(NodeForm& n) {
  FCC_TRY(const double decay, n.number("decay_factor", 0));
  FCC_TRY(const double epsilon, n.number("epsilon", 1e-6));
  FCC_TRY(const double norm, n.number("norm_coefficient", 0));
  FCC_TRY(Step s, begin(n, 3));
  Formula& f = s.f;
  const ValueId rate = f.div(s.rate, f.add(f.number(1), f.mul(s.count, f.number(decay))));
  for (size_t k = 0; k < s.tensors; ++k) {
    const ValueId g = s.gradient(n, k, norm), h = f.add(s.operand(n, 2, k), f.mul(g, g));
    n.results[k] = f.sub(s.operand(n, 0, k), f.div(f.mul(rate, g), f.add(f.sqrt(h), f.number(epsilon))));
    n.results[s.tensors + k] = h;
  }
  return f.status();
}

Status adam(NodeForm& n) {
  FCC_TRY(const double alpha, n.number("alpha", 0.9));
  FCC_TRY(const double beta, n.number("beta", 0.999));
  FCC_TRY(const double epsilon, n.number("epsilon", 1e-6));
  FCC_TRY(const double norm, n.number("norm_coefficient", 0));
  FCC_TRY(const double norm_post, n.number("norm_coefficient_post", 0));
  FCC_TRY(Step s, begin(n, 4));
  Formula& f = s.f;
  const auto bias = [&](double rate) { return f.sub(f.number(1), f.pow(f.number(rate), s.count)); };  // 1 - rate^T
  const ValueId rate = f.after_first(s.count, f.div(f.mul(s.rate, f.sqrt(bias(beta))), bias(alpha)), s.rate);
  for (size_t k = 0; k < s.tensors; ++k) {
    const ValueId g = s.gradient(n, k, norm);
    const ValueId v = f.add(f.mul(f.number(alpha), s.operand(n, 2, k)), f.mul(f.number(1 - alpha), g));
    const ValueId h = f.add(f.mul(f.number(beta), s.operand(n, 3, k)), f.mul(f.number(1 - beta), f.mul(g, g)));
    const ValueId x = f.sub(s.operand(n, 0, k), f.div(f.mul(rate, v), f.add(f.sqrt(h), f.number(epsilon))));
    n.results[k] = f.mul(f.number(1 - norm_post), x);
    n.results[s.tensors + k] = v;
    n.results[2 * s.tensors + k] = h;
  }
  return f.status();
}

Status momentum(NodeForm& n) {
  FCC_TRY(const double alpha, n.number("alpha", 0.9));
  FCC_TRY(const double beta, n.number("beta", 1));
  FCC_TRY(const double norm, n.number("norm_coefficient", 0));
  const Result<std::string> mode = n.string("mode", "standard");
  if (!mode) return std::unexpected(mode.error());
  const bool nesterov = *mode == "nesterov";
  if (!nesterov && *mode != "standard") return n.refuse("mode is \"" + *mode + "\"", "mode is standard or nesterov");
  FCC_TRY(Step s, begin(n, 3));
  Formula& f = s.f;
  const ValueId damping = f.after_first(s.count, f.number(beta), f.number(1));
  for (size_t k = 0; k < s.tensors; ++k) {
    const ValueId g = s.gradient(n, k, norm);
    const ValueId v = f.add(f.mul(f.number(alpha), s.operand(n, 2, k)), f.mul(damping, g));
    const ValueId direction = nesterov ? f.add(g, f.mul(f.number(alpha), v)) : v;
    n.results[k] = f.sub(s.operand(n, 0, k), f.mul(s.rate, direction));
    n.results[s.tensors + k] = v;
  }
  return f.status();
}

}  // namespace

void register_preview_training_upgrades(UpgradeTable& t) {
  t.add("ai.onnx.preview.training.Adagrad", kAnyOpset, adagrad);
  t.add("ai.onnx.preview.training.Adam", kAnyOpset, adam);
  t.add("ai.onnx.preview.training.Momentum", kAnyOpset, momentum);
}

}  // namespace fcc
