// Constant factors and terms move into the constants of the operator before them, so that scale, BatchNorm and bias
// cost nothing at run time and Linear + BatchNorm is one kernel.
//   x / c → x (1/c)      x - c → x + (-c)      (x + c1) c2 → x c2 + c1 c2      (x c1) c2 → x (c1 c2)
//   MatMul(x, W) c[N] → MatMul(x, W c)         Conv(x, W, b) c[K,1,1] → Conv(x, W c, b c)
//   likewise ConvTranspose without groups
//   LayerNormalization(x, s, b) c → LayerNormalization(x, s c, b c)            move(x) c[] → move(x c)
//   MatMul(x s, y t) with numbers s, t → MatMul(x (s t), y)                    (the smaller side of attention's scale)
//   (x + c1) + c2 → x + (c1 + c2)              Conv(x, W, b) + c[K,1,1] → Conv(x, W, b + c)
// A producer that something else uses is left alone: its other user would pay. Shapes never change.
#include <algorithm>
#include <cmath>

#include "ir/op.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

constexpr int64_t kMaxConstant = int64_t{1} << 28;  // elements

bool is_movement_of_one(const Node& n) {
  static constexpr std::string_view kNames[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"};
  return std::find(std::begin(kNames), std::end(kNames), n.op->name) != std::end(kNames);
}

bool is_convolution(const Node& n) {
  return (n.op->name == "Conv" && !n.attrs.flag("blocked")) || (n.op->name == "ConvTranspose" && n.attrs.integer("group", 1) == 1);
}

// Axis of a convolution's weight that counts output channels.
size_t channel_axis(const Node& conv) { return conv.op->name == "Conv" ? 0 : 1; }

// Elements of c in the order of `shape`, whose broadcast c is part of.
template <class F>
Tensor map_with(const Tensor& t, const Tensor& c, std::vector<int64_t> shape, F f) {
  Tensor out(t.dtype(), shape);
  if (c.elements() == 1 && t.shape() == shape) {  // most of the work there is: a number times a large weight
    const double k = c.get_double(0);
    for (int64_t i = 0; i < t.elements(); ++i) out.set_double(i, f(t.get_double(i), k));
    return out;
  }
  const auto offset = [](const Tensor& from, std::span<const int64_t> index) {
    int64_t flat = 0;
    const size_t skip = index.size() - from.shape().size();
    for (size_t d = 0; d < from.shape().size(); ++d) flat = flat * from.shape()[d] + (from.shape()[d] == 1 ? 0 : index[skip + d]);
    return flat;
  };
  int64_t i = 0;
  for_each_index(shape, [&](std::span<const int64_t> index) { out.set_double(i++, f(t.get_double(offset(t, index)), c.get_double(offset(c, index)))); });
  return out;
}

// The position of c's only axis that is longer than 1, counted from the right end (0: the last); nothing for two.
struct OneAxis {
  int64_t from_right = 0, extent = 1;
};
std::optional<OneAxis> one_axis(const Tensor& c) {
  OneAxis a;
  for (size_t d = 0; d < c.shape().size(); ++d) {
    if (c.shape()[d] == 1) continue;
    if (a.extent != 1) return std::nullopt;
    a = {c.rank() - 1 - static_cast<int64_t>(d), c.shape()[d]};
  }
  return a;
}

class Folder {
 public:
  Folder(Graph& g, GraphBuilder& b) : g_(g), b_(b) {}

  // A value equal to v * c whose cost is v's, or kNoValue. Nothing is added to the graph in that case.
  ValueId scale(ValueId v, const Tensor& c) {
    if (g_.is_constant(v)) return scale_constant(v, c);
    if (!g_.def(v) || !used_once(g_, v)) return kNoValue;
    const Node n = *g_.def(v);
    const std::string_view s = n.op->name;
    if (s == "Mul" || s == "Add") return scale_pointwise(n, c);
    if (s == "MatMul") return scale_matmul(n, c);
    if (is_convolution(n)) return scale_conv(n, c);
    if (s == "LayerNormalization" && n.out.size() == 1) return scale_norm(n, c);
    if (is_movement_of_one(n) && c.elements() == 1) return scale_movement(n, c);
    return kNoValue;
  }

  // A value equal to v + c whose cost is v's, or kNoValue.
  ValueId shift(ValueId v, const Tensor& c) {
    if (!g_.def(v) || !used_once(g_, v)) return kNoValue;
    const Node n = *g_.def(v);
    if (n.op->name == "Add") {
      const auto split = with_constant(g_, n);
      const ValueId sum = split ? combined(split->constant, c, g_.value(split->variable).type, std::plus<>()) : kNoValue;
      return sum == kNoValue ? kNoValue : b_("Add", {split->variable, sum});
    }
    if (!is_convolution(n) || (n.in.size() > 2 && !g_.is_constant(n.in[2]))) return kNoValue;
    if (!per_channel(g_.value(v).type, c)) return kNoValue;
    return b_(n.op->name, {n.in[0], n.in[1], channel_constant(n, c, std::plus<>())}, n.attrs);
  }

 private:
  // f(constant, c) as a constant, when it broadcasts into `whole`.
  template <class F>
  ValueId combined(ValueId constant, const Tensor& c, const TensorType& whole, F f) {
    const Value& value = g_.value(constant);
    const std::optional<Dims> dims = broadcast(value.type.dims, c.type().dims);
    if (!dims) return kNoValue;
    const TensorType type{value.type.dtype, *dims};
    if (!broadcasts_into(type, whole) || type.elements().constant() > kMaxConstant) return kNoValue;
    return b_.constant(map_with(value.data, c, type.extents(), f), value.name);
  }

  ValueId scale_constant(ValueId v, const Tensor& c) { return combined(v, c, g_.value(v).type, std::multiplies<>()); }

  ValueId scale_pointwise(const Node& n, const Tensor& c) {
    const auto split = with_constant(g_, n);
    if (!split) return kNoValue;
    const TensorType whole = g_.value(n.out[0]).type;
    if (!broadcasts_into(g_.value(split->constant).type, g_.value(split->variable).type)) return kNoValue;
    if (n.op->name == "Mul") {
      const ValueId k = combined(split->constant, c, whole, std::multiplies<>());
      return k == kNoValue ? kNoValue : b_("Mul", {split->variable, k});
    }
    const ValueId x = scale(split->variable, c);
    if (x == kNoValue) return kNoValue;
    const ValueId k = combined(split->constant, c, whole, std::multiplies<>());
    FCC_CHECK(k != kNoValue, "{} broadcasts before but not after scaling", g_.value(split->constant).name);
    return b_("Add", {x, k});
  }

  // c varies along the last axis at most, and so do the columns of W.
  ValueId scale_matmul(const Node& n, const Tensor& c) {
    const auto axis = one_axis(c);
    if (!axis || axis->from_right != 0) return kNoValue;
    if (g_.is_constant(n.in[1]) && g_.value(n.in[1]).type.rank() >= 2) {
      const Tensor column = c.reshaped({c.elements()});
      const ValueId w = combined(n.in[1], column, g_.value(n.in[1]).type, std::multiplies<>());
      return w == kNoValue ? kNoValue : b_("MatMul", {n.in[0], w});
    }
    if (c.elements() != 1) return kNoValue;
    const ValueId a = scale(n.in[0], c.reshaped({}));
    return a == kNoValue ? kNoValue : b_("MatMul", {a, n.in[1]});
  }

  // Does c vary along the channel axis of an [N,C,...] tensor at most?
  static bool per_channel(const TensorType& type, const Tensor& c) {
    const auto axis = one_axis(c);
    return axis && c.rank() <= type.rank() && (axis->extent == 1 || axis->from_right == type.rank() - 2);
  }

  // The bias of a convolution combined with c: [K].
  template <class F>
  ValueId channel_constant(const Node& conv, const Tensor& c, F f) {
    const int64_t channels = g_.value(conv.in[1]).type.dims[channel_axis(conv)].constant();
    Tensor bias(g_.value(conv.in[1]).type.dtype, {channels});
    if (conv.in.size() > 2) bias = g_.value(conv.in[2]).data;
    return b_.constant(map_with(bias, c.reshaped({c.elements()}), {channels}, f), "bias");
  }

  ValueId scale_conv(const Node& n, const Tensor& c) {
    const bool has_bias = n.in.size() > 2;
    if (!g_.is_constant(n.in[1]) || (has_bias && !g_.is_constant(n.in[2])) || !per_channel(g_.value(n.out[0]).type, c)) return kNoValue;
    const Tensor& w = g_.value(n.in[1]).data;
    std::vector<int64_t> column(w.shape().size(), 1);
    column[channel_axis(n)] = c.elements();
    std::vector<ValueId> in{n.in[0], b_.constant(map_with(w, c.reshaped(column), w.shape(), std::multiplies<>()), g_.value(n.in[1]).name)};
    if (has_bias) in.push_back(channel_constant(n, c, std::multiplies<>()));
    return b_(n.op->name, std::move(in), n.attrs);
  }

  ValueId scale_norm(const Node& n, const Tensor& c) {
    for (size_t k = 1; k < n.in.size(); ++k)
      if (!g_.is_constant(n.in[k])) return kNoValue;
    std::vector<ValueId> in{n.in[0]};
    for (size_t k = 1; k < n.in.size(); ++k) {
      in.push_back(combined(n.in[k], c, g_.value(n.in[k]).type, std::multiplies<>()));
      if (in.back() == kNoValue) return kNoValue;
    }
    return b_("LayerNormalization", std::move(in), n.attrs);
  }

  ValueId scale_movement(const Node& n, const Tensor& c) {
    std::vector<ValueId> in = n.in;
    in[0] = scale(in[0], c.reshaped({}));
    return in[0] == kNoValue ? kNoValue : b_(n.op->name, std::move(in), n.attrs);
  }

  Graph& g_;
  GraphBuilder& b_;
};

// x / c and x - c by the constant that makes them x * c' and x + c'; other operators by none.
std::optional<Tensor> opposite(const Node& n, const Tensor& c) {
  Tensor out(c.dtype(), c.shape());
  for (int64_t i = 0; i < c.elements(); ++i) {
    const double v = c.get_double(i), r = n.op->name == "Div" ? 1 / v : -v;
    if (!std::isfinite(r) || (r != 0 && std::fabs(r) < 1e-30)) return std::nullopt;
    out.set_double(i, r);
  }
  return out;
}

ValueId fold_constant_operand(Graph& g, GraphBuilder& b, const Node& n) {
  const auto split = with_constant(g, n);
  const TensorType& whole = g.value(n.out[0]).type;
  if (!split || g.value(split->variable).type != whole) return kNoValue;
  const std::string_view s = n.op->name;
  const bool inverts = s == "Div" || s == "Sub", scales = s == "Mul" || s == "Div";
  Tensor c = g.value(split->constant).data;
  if (c.elements() == 0 || c.elements() > kMaxConstant) return kNoValue;
  if (inverts) {
    const std::optional<Tensor> o = opposite(n, c);
    if (!o) return kNoValue;
    c = *o;
  }
  Folder folder(g, b);
  const ValueId folded = scales ? folder.scale(split->variable, c) : folder.shift(split->variable, c);
  if (folded != kNoValue || !inverts) return folded;
  return b(scales ? "Mul" : "Add", {split->variable, b.constant(std::move(c), g.value(split->constant).name)});
}

// MatMul(x s, y t) → MatMul(x (s t), y), so that one factor is left, which may meet x's own constants.
ValueId gather_scales(Graph& g, GraphBuilder& b, const Node& n) {
  if (!used_once(g, n.in[0]) || !used_once(g, n.in[1])) return kNoValue;
  const Affine left = scaled(g, n.in[0]), right = scaled(g, n.in[1]);
  if (right.of == n.in[1] || g.value(right.of).type != g.value(n.in[1]).type || g.value(left.of).type != g.value(n.in[0]).type) return kNoValue;
  const Tensor factor = Tensor::scalar(g.value(n.in[0]).type.dtype, left.scale * right.scale);
  const ValueId scaled_left = left.of == n.in[0] ? kNoValue : Folder(g, b).scale(left.of, factor);
  const ValueId a = scaled_left != kNoValue ? scaled_left : b("Mul", {left.of, b.constant(factor, "scale")});
  return b("MatMul", {a, right.of});
}

ValueId fold(Graph& g, GraphBuilder& b, const Node& n) {
  const std::string_view s = n.op->name;
  if (s == "MatMul") return gather_scales(g, b, n);
  if (s == "Mul" || s == "Add" || s == "Sub" || s == "Div") return fold_constant_operand(g, b, n);
  return kNoValue;
}

}  // namespace

Result<bool> fold_scale(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.dead || n.out.size() != 1 || !is_float(g.value(n.out[0]).type.dtype)) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId y = fold(g, b, n);
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    if (y == kNoValue) continue;
    FCC_CHECK(g.value(y).type == g.value(n.out[0]).type, "{} changed its type", describe(*n.op, n.loc));
    g.replace_uses(n.out[0], y);
    g.erase(id);
    g.erase_dead();  // so that the next node sees who still uses what
    changed = true;
  }
  return changed;
}

}  // namespace fcc
