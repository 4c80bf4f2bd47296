// BatchNormalization(x){scale, bias, mean, var} → x s + t with s = scale / sqrt(var + epsilon), t = bias - mean s.
// When x is a convolution by constant weights that nothing else uses, s and t go into its weights and bias.
#include <cmath>

#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {
namespace {

struct Affine {
  std::vector<double> scale, shift;  // a number a channel
};

Affine affine_of(const Graph& g, const Node& n) {
  auto numbers = [&](size_t k) { return g.value(n.in[k]).data.to_doubles(); };
  const std::vector<double> gamma = numbers(1), beta = numbers(2), mean = numbers(3), var = numbers(4);
  const double epsilon = n.attrs.number("epsilon", 1e-5);
  Affine a;
  for (size_t c = 0; c < gamma.size(); ++c) {
    a.scale.push_back(gamma[c] / std::sqrt(var[c] + epsilon));
    a.shift.push_back(beta[c] - mean[c] * a.scale[c]);
  }
  return a;
}

Tensor per_channel(DType dtype, const std::vector<double>& v, std::vector<int64_t> shape) {
  Tensor t(dtype, std::move(shape));
  for (size_t i = 0; i < v.size(); ++i) t.set_double(static_cast<int64_t>(i), v[i]);
  return t;
}

// conv(x, w, b) s + t = conv(x, w s, b s + t): s scales output channels, the leading axis of w.
ValueId fold_into_conv(Graph& g, GraphBuilder& b, const Node& conv, const Affine& a) {
  const Tensor& w = g.value(conv.in[1]).data;
  Tensor scaled(w.dtype(), w.shape());
  const int64_t channels = w.shape()[0], inner = w.elements() / std::max<int64_t>(1, channels);
  for (int64_t k = 0; k < channels; ++k)
    for (int64_t i = 0; i < inner; ++i) scaled.set_double(k * inner + i, w.get_double(k * inner + i) * a.scale[static_cast<size_t>(k)]);
  std::vector<double> bias = a.shift;
  if (conv.in.size() > 2 && conv.in[2] != kNoValue)
    for (int64_t k = 0; k < channels; ++k) bias[static_cast<size_t>(k)] += g.value(conv.in[2]).data.get_double(k) * a.scale[static_cast<size_t>(k)];
  const ValueId new_w = b.constant(std::move(scaled), g.value(conv.in[1]).name + ".bn");
  const ValueId new_b = b.constant(per_channel(w.dtype(), bias, {channels}), "bias.bn");
  return b("Conv", {conv.in[0], new_w, new_b}, conv.attrs);
}

}  // namespace

Result<bool> fold_batchnorm(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.op->name != "BatchNormalization" || n.attrs.flag("training_mode")) continue;
    bool constant = true;
    for (size_t k = 1; k < 5; ++k) constant = constant && g.is_constant(n.in[k]);
    if (!constant) continue;
    const Affine a = affine_of(g, n);
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const Node* producer = g.def(n.in[0]);
    const bool into_conv = producer && producer->op->name == "Conv" && g.use_count(n.in[0]) == 1 && g.is_constant(producer->in[1]) &&
                           (producer->in.size() < 3 || g.is_constant(producer->in[2]));
    ValueId y;
    if (into_conv) {
      y = fold_into_conv(g, b, Node(*producer), a);
    } else {
      std::vector<int64_t> shape(static_cast<size_t>(std::max<int64_t>(1, g.value(n.in[0]).type.rank() - 1)), 1);
      shape[0] = static_cast<int64_t>(a.scale.size());
      const DType t = g.value(n.in[0]).type.dtype;
      y = b("Mul", {n.in[0], b.constant(per_channel(t, a.scale, shape), "scale.bn")});
      y = b("Add", {y, b.constant(per_channel(t, a.shift, shape), "shift.bn")});
    }
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
