// fcc's own operators in ONNX's words: gradients of convolutions, pools and gathers, the picking of a class, checks,
// sizes, and the optimizer, whose formula is walked expression by expression.
#include <algorithm>

#include "frontend/onnx/graph_writer.h"
#include "ir/ops/optimizers.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using Ints = std::vector<int64_t>;
using Names = GraphWriter::Names;

Ints joined(Ints a, const Ints& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::string operand(GraphWriter& e, const Node& n, size_t k) {
  return e.name(n.in[k]);
}
const std::string& result(GraphWriter& e, const Node& n, size_t k = 0) {
  return e.name(n.out[k]);
}

// What it checks, ONNX does not say.
bool identity(GraphWriter& e, const Node& n) {
  e.node("Identity", {operand(e, n, 0)}, {result(e, n)});
  return true;
}

bool dims(GraphWriter& e, const Node& n) {
  const std::optional<std::string> v = e.sizes(n.attrs.dims("dims"));
  if (!v) return false;
  std::string at = *v;
  if (const DType type = n.attrs.dtype("dtype", DType::i64); type != DType::i64)
    at = e.op("Cast", {at}, {{"to", type}});
  if (n.attrs.flag("scalar"))
    e.node("Squeeze", {at, e.ints(Ints{0})}, {result(e, n)});
  else
    e.node("Identity", {at}, {result(e, n)});
  return true;
}

// x at the labels along axis 1; 0 where the label is ignored
bool pick_class(GraphWriter& e, const Node& n) {
  const DType type = e.type(n.in[0]).dtype, label_type = e.type(n.in[1]).dtype;
  std::string labels = operand(e, n, 1), ignored;
  if (n.attrs.has("ignore_index")) {
    ignored = e.op("Equal", {labels, e.number(label_type, static_cast<double>(n.attrs.integer("ignore_index")))});
    labels = e.op("Where", {ignored, e.number(label_type, 0), labels});
  }
  const std::string axis = e.ints(Ints{1});
  const std::string column =
      e.op("GatherElements", {operand(e, n, 0), e.op("Unsqueeze", {labels, axis})}, {{"axis", int64_t{1}}});
  if (ignored.empty()) {
    e.node("Squeeze", {column, axis}, {result(e, n)});
  } else {
    const std::string picked = e.op("Squeeze", {column, axis});
    e.node("Where", {ignored, e.number(type, 0), picked}, {result(e, n)});
  }
  return true;
}

// The unbiased running variance from ONNX's, which is of the population: m v + (1-m) p, with p count / (count-1) for p.
bool batch_norm(GraphWriter& e, const Node& n) {
  if (!n.attrs.flag("unbiased") || n.out.size() < 3) return false;
  Attrs attrs = n.attrs;
  attrs.erase("unbiased");
  Names in;
  for (ValueId v : n.in) in.push_back(e.name(v));
  const TensorType x = e.type(n.in[0]);
  const DType type = e.type(n.in[4]).dtype;
  const std::string biased = e.fresh("biased");
  e.node("BatchNormalization", in, {result(e, n, 0), result(e, n, 1), biased}, attrs);
  const std::string all = e.op("Size", {in[0]}), channels = e.op("Size", {in[3]});
  const std::string count = e.op("Cast", {e.op("Div", {all, channels})}, {{"to", type}});
  const std::string correction = e.op("Div", {count, e.op("Sub", {count, e.number(type, 1)})});
  // as a float attribute says it
  const std::string kept = e.op("Mul", {in[4], e.number(type, static_cast<float>(n.attrs.number("momentum", 0.9)))});
  const std::string fresh_part = e.op("Mul", {e.op("Sub", {biased, kept}), correction});
  e.node("Add", {kept, fresh_part}, {result(e, n, 2)});
  return true;
}

// A convolution of x by dy with the batch in the place of the channels:
// dw[k,c,t] = sum over n and o of x'[c,n, t dilation - pad + o stride] dy'[k,n,o].
bool conv_weight_grad(GraphWriter& e, const Node& n) {
  if (n.attrs.flag("blocked")) return false;
  const Ints weight = n.attrs.integers("weight"), ones(weight.size() - 2, 1);
  const Ints strides = n.attrs.integers("strides", ones), dilations = n.attrs.integers("dilations", ones);
  const int64_t group = n.attrs.integer("group", 1), rank = static_cast<int64_t>(weight.size());
  const Dims x = e.type(n.in[0]).dims, dy = e.type(n.in[1]).dims;
  const auto in = constant_extents(std::span(x).subspan(2)), out = constant_extents(std::span(dy).subspan(2));
  const Dims pad_dims = n.attrs.dims("pads");
  const auto begin = pad_dims.empty() ? Ints(ones.size(), 0) : constant_extents(pad_dims).value_or(Ints{});
  if (!in || !out || begin.size() != ones.size()) return false;
  Ints end, perm{1, 0}, apart{0, group, weight[1]}, apart_perm{2, 1, 0}, whole{weight[1], -1};
  for (size_t d = 0; d < ones.size(); ++d) {
    const int64_t wanted = (weight[2 + d] - 1) * dilations[d] + ((*out)[d] - 1) * strides[d] + 1;
    end.push_back(std::max<int64_t>(0, wanted - (*in)[d] - begin[d]));
    perm.push_back(static_cast<int64_t>(2 + d));
    apart.push_back((*in)[d]);
    apart_perm.push_back(static_cast<int64_t>(3 + d));
    whole.push_back((*in)[d]);
  }
  std::string image = operand(e, n, 0);
  if (group == 1) {
    image = e.op("Transpose", {image}, {{"perm", perm}});
  } else {
    image = e.op("Transpose", {e.op("Reshape", {image, e.ints(apart)})}, {{"perm", apart_perm}});
    image = e.op("Reshape", {image, e.ints(whole)});
  }
  const std::string kernel = e.op("Transpose", {operand(e, n, 1)}, {{"perm", perm}});
  std::string dw =
      e.op("Conv", {image, kernel},
           {{"group", group}, {"strides", dilations}, {"dilations", strides}, {"pads", joined(begin, end)}});
  Ints axes, zeros, ends;
  for (int64_t d = 2; d < rank; ++d) {
    axes.push_back(d), zeros.push_back(0), ends.push_back(weight[static_cast<size_t>(d)]);
  }
  dw = e.op("Slice", {dw, e.ints(zeros), e.ints(ends), e.ints(axes)});  // what the stride of the forward pass left over
  e.node("Transpose", {dw}, {result(e, n)}, {{"perm", perm}});
  return true;
}

Attrs window(const Node& n) {
  Attrs a;
  for (const char* name : {"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"})
    if (const AttrValue* v = n.attrs.find(name)) a.set(name, *v);
  return a;
}

// MaxPool tells where its maxima are, as positions in the whole tensor.
bool max_pool_grad(GraphWriter& e, const Node& n) {
  if (n.attrs.flag("blocked")) return false;
  const std::string x = operand(e, n, 0), pooled = e.fresh("pooled"), positions = e.fresh("positions");
  e.node("MaxPool", {x}, {pooled, positions}, window(n));
  const std::string all = e.ints(Ints{-1}), shape = e.op("Shape", {x});
  const std::string zeros = e.op("Reshape", {e.op("Mul", {x, e.number(e.type(n.in[0]).dtype, 0)}), all});
  const std::string sum =
      e.op("ScatterElements", {zeros, e.op("Reshape", {positions, all}), e.op("Reshape", {operand(e, n, 2), all})},
           {{"axis", int64_t{0}}, {"reduction", std::string("add")}});
  e.node("Reshape", {sum, shape}, {result(e, n)});
  return true;
}

// dy spread by a transposed convolution with ones, a channel at a time.
bool average_pool_grad(GraphWriter& e, const Node& n) {
  const Ints kernel = n.attrs.integers("kernel_shape"), ones(kernel.size(), 1), none(2 * kernel.size(), 0);
  const Ints strides = n.attrs.integers("strides", ones), dilations = n.attrs.integers("dilations", ones);
  const Ints pads = n.attrs.integers("pads", none);
  const std::string auto_pad = n.attrs.string("auto_pad", "NOTSET");
  const bool whole = pads == none || n.attrs.flag("count_include_pad") || n.attrs.flag("sum");
  if (n.attrs.flag("blocked") || n.attrs.flag("ceil_mode") || auto_pad != "NOTSET" || !whole) return false;
  const Dims x = n.attrs.dims("dims"), dy = e.type(n.in[0]).dims;
  const auto in = constant_extents(std::span(x).subspan(2)), out = constant_extents(std::span(dy).subspan(2));
  const std::optional<std::string> shape = e.sizes(x);
  if (!in || !out || !shape) return false;
  Ints rest;
  double count = 1;
  for (size_t d = 0; d < kernel.size(); ++d) {
    const int64_t span = (kernel[d] - 1) * dilations[d] + 1;
    rest.push_back((*in)[d] - (((*out)[d] - 1) * strides[d] + span - pads[d] - pads[d + kernel.size()]));
    count *= static_cast<double>(kernel[d]);
    if (rest.back() < 0 || rest.back() >= std::max(strides[d], dilations[d])) return false;
  }
  const DType type = e.type(n.in[0]).dtype;
  Tensor weight(type, joined({1, 1}, kernel));
  for (int64_t i = 0; i < weight.elements(); ++i) weight.set_double(i, n.attrs.flag("sum") ? 1 : 1 / count);
  const std::string planes = e.op("Reshape", {operand(e, n, 0), e.ints(joined({-1, 1}, *out))});
  const std::string spread =
      e.op("ConvTranspose", {planes, e.constant(weight)},
           {{"strides", strides}, {"dilations", dilations}, {"pads", pads}, {"output_padding", rest}});
  e.node("Reshape", {spread, *shape}, {result(e, n)});
  return true;
}

// A Pad, while elements stay side by side.
bool unslice(GraphWriter& e, const Node& n) {
  const Dims whole = n.attrs.dims("dims"), starts = n.attrs.dims("starts"), steps = n.attrs.dims("steps"),
             in = e.type(n.in[0]).dims;
  Ints before, after;
  for (size_t d = 0; d < whole.size(); ++d) {
    const SymExpr end = whole[d] - starts[d] - in[d];
    if (!steps[d].is(1) || !starts[d].is_constant() || !end.is_constant()) return false;
    before.push_back(starts[d].constant());
    after.push_back(end.constant());
  }
  e.node("Pad", {operand(e, n, 0), e.ints(joined(before, after)), e.number(e.type(n.in[0]).dtype, 0)}, {result(e, n)});
  return true;
}

bool gather_grad(GraphWriter& e, const Node& n) {
  const std::optional<std::string> shape = e.sizes(n.attrs.dims("dims"));
  if (n.attrs.integer("axis", 0) != 0 || !shape) return false;
  const DType type = e.type(n.in[0]).dtype;
  const std::string zeros = e.op("ConstantOfShape", {*shape}, {{"value", Tensor::scalar(type, 0).reshaped({1})}});
  std::string indices = operand(e, n, 1);
  if (e.type(n.in[1]).dtype != DType::i64) indices = e.op("Cast", {indices}, {{"to", DType::i64}});
  const std::string tuples = e.op("Unsqueeze", {indices, e.ints(Ints{-1})});
  e.node("ScatterND", {zeros, tuples, operand(e, n, 0)}, {result(e, n)}, {{"reduction", std::string("add")}});
  return true;
}

// ---- optimizers -------------------------------------------------------------------------------------------------

// An expression over whole tensors, each node of it once.
class Formula {
 public:
  Formula(GraphWriter& e, Names operands) : e_(e), operands_(std::move(operands)) {}

  std::optional<std::string> value(const loop::Expr& x) {
    if (const auto it = known_.find(x.get()); it != known_.end()) return it->second;
    std::optional<std::string> made = make(x);
    if (made) known_[x.get()] = *made;
    return made;
  }

 private:
  std::optional<std::string> make(const loop::Expr& x) {
    using loop::ExprKind;
    if (x->kind == ExprKind::var) return operands_.at(static_cast<size_t>(x->var));
    if (x->kind == ExprKind::constant) return e_.number(x->type, is_float(x->type) ? x->f : static_cast<double>(x->i));
    Names in;
    for (const loop::Expr& a : x->args) {
      const std::optional<std::string> v = value(a);
      if (!v) return std::nullopt;
      in.push_back(*v);
    }
    switch (x->kind) {
      case ExprKind::unary:
        return named(unary_name(x->unary), in);
      case ExprKind::binary:
        return named(binary_name(x->binary), in);
      case ExprKind::select:
        return e_.op("Where", in);
      case ExprKind::cast:
        return e_.op("Cast", in, {{"to", x->type}});
      case ExprKind::fma:
        return e_.op("Add", {e_.op("Mul", {in[0], in[1]}), in[2]});
      default:
        return std::nullopt;
    }
  }
  std::optional<std::string> named(std::string_view op, const Names& in) {
    return op.empty() ? std::nullopt : std::optional(e_.op(op, in));
  }
  static std::string_view unary_name(loop::UnaryOp op) {
    using enum loop::UnaryOp;
    return op == sqrt         ? "Sqrt"
           : op == neg        ? "Neg"
           : op == sign       ? "Sign"
           : op == abs        ? "Abs"
           : op == reciprocal ? "Reciprocal"
                              : "";
  }
  static std::string_view binary_name(loop::BinaryOp op) {
    using enum loop::BinaryOp;
    static const std::map<loop::BinaryOp, std::string_view> names = {
        {add, "Add"}, {sub, "Sub"}, {mul, "Mul"},  {div, "Div"}, {min, "Min"},
        {max, "Max"}, {pow, "Pow"}, {eq, "Equal"}, {lt, "Less"}, {gt, "Greater"}};
    const auto it = names.find(op);
    return it == names.end() ? "" : it->second;
  }

  GraphWriter& e_;
  Names operands_;
  std::map<const loop::ExprNode*, std::string> known_;
};

bool optimize(GraphWriter& e, const Node& n) {
  std::vector<loop::Expr> vars;
  Names operands;
  for (ValueId v : n.in) {
    vars.push_back(loop::var(static_cast<loop::VarId>(vars.size()), loop::compute_type(e.type(v).dtype)));
    operands.push_back(e.name(v));
  }
  const std::vector<loop::Expr> next = optimize_formula(n.attrs, vars);
  Formula formula(e, operands);
  for (size_t k = 0; k < next.size(); ++k) {
    const std::optional<std::string> v = formula.value(next[k]);
    FCC_CHECK(v, "the optimizer {} has a formula that ONNX cannot say", n.attrs.string("kind"));
    e.node("Identity", {*v}, {result(e, n, k)});
  }
  return true;
}

}  // namespace

bool emit_spelled_out(GraphWriter& e, const Node& n) {
  static const std::map<std::string_view, bool (*)(GraphWriter&, const Node&)> table = {
      {"AveragePoolGrad", average_pool_grad},
      {"BatchNormalization", batch_norm},
      {"CheckCount", identity},
      {"CheckFinite", identity},
      {"ConvWeightGrad", [](GraphWriter& e, const Node& n) { return e.as_function(n, conv_weight_grad); }},
      {"Dims", dims},
      {"GatherGrad", gather_grad},
      {"MaxPoolGrad", [](GraphWriter& e, const Node& n) { return e.as_function(n, max_pool_grad); }},
      {"Optimize", optimize},
      {"PickClass", pick_class},
      {"Unslice", unslice}};
  const auto it = table.find(n.op->name);
  return it != table.end() && it->second(e, n);
}

}  // namespace fcc
