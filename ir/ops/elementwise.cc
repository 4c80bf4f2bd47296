// Arithmetic, elementary functions, bit operations and conversions: one element in, one element out.
#include <numbers>

#include "ir/grad.h"
#include "ir/loop/scalar.h"
#include "ir/ops/numeric.h"
#include "ir/ops/random.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;
using ops::number;
using In = std::span<const Expr>;

template <UnaryOp op>
Expr apply(const FormulaContext&, In in) {
  return loop::unary(op, in[0]);
}
template <BinaryOp op>
Expr fold(const FormulaContext&, In in) {
  Expr e = in[0];
  for (size_t k = 1; k < in.size(); ++k) e = loop::binary(op, std::move(e), in[k]);
  return e;
}

Expr mean(const FormulaContext& c, In in) {
  return fold<BinaryOp::add>(c, in) / number(in[0], static_cast<double>(in.size()));
}

// fmod=1: sign of the dividend, as C's fmod; fmod=0: sign of the divisor, as Python's %.
Expr modulo(const FormulaContext& c, In in) {
  return loop::binary(c.attrs.flag("fmod") ? BinaryOp::rem : BinaryOp::mod, in[0], in[1]);
}

// The result has the base's type. A float exponent of an integer base is computed in double and truncated.
Expr power(const FormulaContext&, In in) {
  const DType base = in[0]->type, exponent = in[1]->type;
  DType work = base;
  if (!is_float(base)) work = is_float(exponent) ? DType::f64 : base == exponent ? base : DType::i64;
  return loop::cast(base, loop::binary(BinaryOp::pow, loop::cast(work, in[0]), loop::cast(work, in[1])));
}
Status infer_power(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, "the base"));
  FCC_CHECKED(ops::require_type(c, 1, ops::kNumbers, "the exponent"));
  return ops::broadcast_operands(c, c.dtype(0));
}

// min(max(x, low), high): where low > high everything becomes high, as ONNX says.
Expr clip(const FormulaContext&, In in) {
  Expr e = in[0];
  if (in.size() > 1 && in[1]) e = loop::max(std::move(e), in[1]);
  if (in.size() > 2 && in[2]) e = loop::min(std::move(e), in[2]);
  return e;
}
Status infer_clip(InferContext& c) {
  static constexpr std::string_view kNames[] = {"the input", "min", "max"};
  FCC_CHECKED(ops::require_type(c, 0, ops::kNumbers, kNames[0]));
  for (size_t k = 1; k < c.n_in(); ++k) {
    if (!c.has(k)) continue;
    FCC_CHECKED(ops::require_same_type(c, k, kNames[k]));
    if (c.rank(k) > std::min<int64_t>(c.rank(0), 1) || (c.rank(k) == 1 && !c.dims(k)[0].is(1)))
      return c.fail(std::string(kNames[k]) + " has shape " + text(c.dims(k)) + ", expected a scalar",
                    "use Min or Max for bounds that are tensors");
  }
  return ops::broadcast_operands(c, c.dtype(0));
}

Expr shift(const FormulaContext& c, In in) {
  return loop::binary(c.attrs.string("direction") == "LEFT" ? BinaryOp::shl : BinaryOp::shr, in[0], in[1]);
}
Status infer_shift(InferContext& c) {
  const std::string direction = c.attrs.string("direction");
  if (direction != "LEFT" && direction != "RIGHT")
    return c.fail("direction is \"" + direction + "\", expected \"LEFT\" or \"RIGHT\"");
  return ops::infer_same_type<ops::kInts>(c);
}

Expr cast_formula(const FormulaContext& c, In in) {
  return loop::cast(loop::compute_type(c.out_dtype), in[0]);
}
DType cast_result(const InferContext& c) {
  return c.attrs.dtype("to", DType::f32);
}
Expr identity(const FormulaContext&, In in) {
  return in[0];
}

// ---- CastLike: only the element type of operand 1 matters, not its shape -----------------------------------

Status infer_cast_like(InferContext& c) {
  c.set(0, c.dtype(1), c.dims(0));
  if (c.content(0) && c.dtype(1) != DType::boolean) c.set_content(0, *c.content(0));
  return {};
}
void eval_cast_like(EvalContext& c) {
  const loop::UnaryFn convert =
      loop::cast_function(loop::compute_type(c.out[0].dtype()), loop::compute_type(c.in[0]->dtype()));
  for (int64_t i = 0; i < c.out[0].elements(); ++i)
    loop::write_element(c.out[0], i, convert(loop::read_element(*c.in[0], i)));
}
Result<std::vector<ValueId>> expand_cast_like(GraphBuilder& b, const Node& n) {
  const ValueId v = b("Cast", {n.in[0]}, {{"to", b.type(n.in[1]).dtype}});
  FCC_CHECKED(b.status());
  return std::vector<ValueId>{v};
}

// ---- Dropout: in inference the input and a mask that keeps everything; in training what a seed makes of it ----------

Status infer_dropout(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  if (c.has(1) && (c.rank(1) != 0 || !is_float(c.dtype(1)))) return c.fail("the ratio must be one float");
  if (c.has(2) && (c.rank(2) != 0 || c.dtype(2) != DType::boolean)) return c.fail("training_mode must be one bool");
  c.set(0, c.type(0));
  if (c.n_out() > 1) c.set(1, DType::boolean, c.dims(0));
  return {};
}
constexpr int64_t kSeededTable = 65536;  // numbers drawn ahead for a size that is not known: 512 KiB
void eval_dropout(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  std::vector<int64_t> mask(x.size(), 1);
  if (c.has(2) && c.in[2]->get_int(0) != 0) {
    const double ratio = c.has(1) ? c.in[1]->get_double(0) : 0.5;
    const std::vector<double> drawn = numpy_uniform(static_cast<uint32_t>(c.attrs.integer("seed")), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      mask[i] = drawn[i] >= ratio;
      x[i] = mask[i] ? x[i] * (1 / (1 - ratio)) : 0;
    }
  }
  ops::store(c.out[0], x);
  if (c.out.size() > 1) ops::store(c.out[1], mask);
}
// mask = u >= ratio with NumPy's numbers for the seed; y = mask ? x / (1 - ratio) : 0. fcc train draws its own numbers.
Result<std::vector<ValueId>> expand_dropout(GraphBuilder& b, const Node& n) {
  const auto known_zero = [&](size_t k) {
    const auto content = n.in.size() > k && n.in[k] != kNoValue ? b.graph.value(n.in[k]).content : nullptr;
    return content && content->elements.size() == 1 && content->elements[0].is(0);
  };
  if (n.in.size() < 3 || known_zero(1) || known_zero(2)) return std::vector<ValueId>{};
  const ValueId x = n.in[0], training = n.in[2];
  const TensorType type = b.type(x);
  const SymExpr elements = type.elements();
  const std::vector<double> drawn = numpy_uniform(static_cast<uint32_t>(n.attrs.integer("seed")), elements.is_constant() ? elements.constant() : kSeededTable);
  const ValueId table = b.constant(Tensor::of<double>(DType::f64, {static_cast<int64_t>(drawn.size())}, drawn), "drawn");
  const ValueId ratio = n.in[1] == kNoValue ? b.scalar(DType::f64, 0.5) : b("Cast", {n.in[1]}, {{"to", DType::f64}});
  const ValueId drop = b("Less", {b("SeededUniform", {table, b.dims(type.dims)}), ratio});
  const ValueId keep = b("Not", {b("And", {drop, training})});
  const ValueId one = b.scalar(DType::f64, 1), scale = b("Cast", {b("Div", {one, b("Sub", {one, ratio})})}, {{"to", type.dtype}});
  const ValueId used = b("Where", {training, scale, b.scalar(type.dtype, 1)});
  std::vector<ValueId> results{b("Where", {keep, b("Mul", {x, used}), b.scalar(type.dtype, 0)})};
  if (n.out.size() > 1) results.push_back(keep);
  FCC_CHECKED(b.status());
  return results;
}
Expr define_dropout(DefineContext& c, size_t result, In index) {
  return result == 0 ? c.in(0, index) : loop::boolean(true);
}

// ---- gradients of arithmetic --------------------------------------------------------------------------------

using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;

Gradients grad_add(GradBuilder& b, const Node& n, Dy) {
  for (size_t k = 0; k < n.in.size(); ++k) b.give(k, [&] { return b.dy(); });
  return b.done();
}
Gradients grad_sub(GradBuilder& b, const Node&, Dy) {
  b.give(0, [&] { return b.dy(); });
  b.give(1, [&] { return -b.dy(); });
  return b.done();
}
Gradients grad_mul(GradBuilder& b, const Node&, Dy) {
  b.give(0, [&] { return b.dy() * b.in(1); });
  b.give(1, [&] { return b.dy() * b.in(0); });
  return b.done();
}
Gradients grad_div(GradBuilder& b, const Node&, Dy) {
  b.give(0, [&] { return b.dy() / b.in(1); });
  b.give(1, [&] { return -(b.dy() * b.out() / b.in(1)); });
  return b.done();
}
Gradients grad_mean(GradBuilder& b, const Node& n, Dy) {
  const auto count = static_cast<double>(n.in.size());
  for (size_t k = 0; k < n.in.size(); ++k) b.give(k, [&] { return b.dy() / count; });
  return b.done();
}

// a^(e-1) e for a number e, without a power where there is a shorter way; nothing for 1.
Term power_slope(Term a, Term y, double e) {
  if (e == 1) return {};
  if (e == 2) return a * 2;
  if (e == 3) return a * a * 3;
  if (e == 0.5) return 0.5 / y;
  if (e == -1) return -(y * y);
  return a.b->node("Pow", {a, a.b->number(a.type().dtype, e - 1)}) * e;
}
// d/da a^e = e a^(e-1), which is 0 for e = 0 whatever the base; d/de a^e = a^e log a, which is 0 at a = 0.
Gradients grad_pow(GradBuilder& b, const Node& n, Dy) {
  const Term a = b.in(0), d = b.dy();
  const Value exponent = b.graph.value(n.in[1]);
  const bool known = exponent.role == Role::constant && exponent.data.elements() == 1;
  b.give(0, [&] {
    if (known && exponent.data.get_double(0) == 0) return Term{};
    if (known) {
      const Term slope = power_slope(a, b.out(), exponent.data.get_double(0));
      return slope ? d * slope : d;
    }
    const Term e = cast(a.type().dtype, b.in(1));
    return where(equal(e, 0), 0, d * e * b.node("Pow", {a, e - 1}));
  });
  b.give(1, [&] {
    const Term e = b.in(1), slope = cast(e.type().dtype, d * b.out() * fn("Log", a));
    const Term at_zero = b.node("And", {equal(a, 0), b.node("GreaterOrEqual", {e, b.number(e.type().dtype, 0)})});
    return where(at_zero, 0, slope);
  });
  return b.done();
}

// y = a - b q with a whole quotient q, which is constant between its jumps.
Gradients grad_mod(GradBuilder& b, const Node&, Dy) {
  b.give(0, [&] { return b.dy(); });
  b.give(1, [&] { return -(b.dy() * fn("Round", (b.in(0) - b.out()) / b.in(1))); });
  return b.done();
}

// Operands that share the extreme share its gradient.
Gradients grad_extreme(GradBuilder& b, const Node& n, Dy) {
  const DType type = b.in_type(0).dtype;
  if (n.in.size() == 1) return grad_add(b, n, {});
  std::vector<Term> hits;
  for (size_t k = 0; k < n.in.size(); ++k) hits.push_back(cast(type, equal(b.in(k), b.out())));
  const Term share = b.dy() / b.node("Sum", hits);
  for (size_t k = 0; k < n.in.size(); ++k) b.give(k, [&] { return hits[k] * share; });
  return b.done();
}

// 1 between the bounds and on them; a bound gets the gradient of what it cuts off.
Gradients grad_clip(GradBuilder& b, const Node&, Dy) {
  const Term x = b.in(0), d = b.dy();
  const auto below = [&] { return less(x, b.in(1)); };
  const auto above = [&] { return less(b.in(2), b.has(1) ? b.node("Max", {x, b.in(1)}) : x); };
  b.give(0, [&] {
    Term g = d;
    if (b.has(1)) g = where(below(), 0, g);
    if (b.has(2)) g = where(above(), 0, g);
    return g;
  });
  b.give(1, [&] { return where(below(), b.has(2) ? where(above(), 0, d) : d, 0); });
  b.give(2, [&] { return where(above(), d, 0); });
  return b.done();
}

Gradients grad_cast(GradBuilder& b, const Node&, Dy) {
  b.give(0, [&] { return cast(b.in_type(0).dtype, b.dy()); });
  return b.done();
}

// ---- gradients of functions -----------------------------------------------------------------------------------

Term pass(const Chain& c) { return c.d; }
Term abs_gradient(const Chain& c) { return c.d * fn("Sign", c.x); }
Term neg_gradient(const Chain& c) { return -c.d; }
Term exp_gradient(const Chain& c) { return c.d * c.y; }
Term log_gradient(const Chain& c) { return c.d / c.x; }
Term sqrt_gradient(const Chain& c) { return c.d / (c.y * 2); }
Term reciprocal_gradient(const Chain& c) { return -(c.d * c.y * c.y); }
Term erf_gradient(const Chain& c) { return c.d * fn("Exp", -(c.x * c.x)) * (2 * std::numbers::inv_sqrtpi); }
Term sin_gradient(const Chain& c) { return c.d * fn("Cos", c.x); }
Term cos_gradient(const Chain& c) { return -(c.d * fn("Sin", c.x)); }
Term tan_gradient(const Chain& c) { return c.d * (c.y * c.y + 1); }
Term asin_gradient(const Chain& c) { return c.d / fn("Sqrt", 1 - c.x * c.x); }
Term acos_gradient(const Chain& c) { return -asin_gradient(c); }
Term atan_gradient(const Chain& c) { return c.d / (c.x * c.x + 1); }
Term sinh_gradient(const Chain& c) { return c.d * fn("Cosh", c.x); }
Term cosh_gradient(const Chain& c) { return c.d * fn("Sinh", c.x); }
Term asinh_gradient(const Chain& c) { return c.d / fn("Sqrt", c.x * c.x + 1); }
Term acosh_gradient(const Chain& c) { return c.d / fn("Sqrt", c.x * c.x - 1); }
Term atanh_gradient(const Chain& c) { return c.d / (1 - c.x * c.x); }

// ---- registration ------------------------------------------------------------------------------------------

struct Row {
  std::string_view name, doc;
  Expr (*formula)(const FormulaContext&, In);
  GradRule grad = nullptr;
  Status (*infer)(InferContext&) = ops::infer_same_type<ops::kFloats>;
  Arity in = {1, 1};
  std::vector<AttrSpec> attrs = {};
};

void add(Registry& r, Row row) {
  r.add({.name = row.name,
         .doc = row.doc,
         .attrs = std::move(row.attrs),
         .in = row.in,
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .infer = row.infer,
         .formula = row.formula,
         .grad = row.grad,
         .no_grad = row.grad ? "" : "it works on whole numbers"});
}

void register_arithmetic(Registry& r) {
  const auto numbers = ops::infer_same_type<ops::kNumbers>;
  const Arity two{2, 2}, any{1, -1};
  add(r, {"Add", "a + b", fold<BinaryOp::add>, grad_add, numbers, two});
  add(r, {"Sub", "a - b", fold<BinaryOp::sub>, grad_sub, numbers, two});
  add(r, {"Mul", "a b", fold<BinaryOp::mul>, grad_mul, numbers, two});
  add(r, {"Div", "a / b; integers truncate towards zero, and x / 0 is 0", fold<BinaryOp::div>, grad_div, numbers, two});
  add(r, {"Pow", "a^b in the type of a", power, grad_pow, infer_power, two});
  add(r, {"Mod",
          "remainder with the sign of b, or of a when fmod=1",
          modulo, grad_mod,
          numbers,
          two,
          {{"fmod", AttrType::integer}}});
  add(r, {"Min", "smallest operand; NaN wins", fold<BinaryOp::min>, grad_extreme, numbers, any});
  add(r, {"Max", "largest operand; NaN wins", fold<BinaryOp::max>, grad_extreme, numbers, any});
  add(r, {"Sum", "sum of the operands", fold<BinaryOp::add>, grad_add, numbers, any});
  add(r, {"Mean", "arithmetic mean of the operands", mean, grad_mean, ops::infer_same_type<ops::kFloats>, any});
  add(r, {"Abs", "|x|", apply<UnaryOp::abs>, chain_rule<abs_gradient>, numbers});
  add(r, {"Sign", "-1, 0 or 1", apply<UnaryOp::sign>, zero_gradient, numbers});
  add(r, {"Neg", "-x", apply<UnaryOp::neg>, chain_rule<neg_gradient>, ops::infer_same_type<ops::kSigned>});
  add(r, {"Clip", "min(max(x, low), high)", clip, grad_clip, infer_clip, {1, 3}});
}

void register_functions(Registry& r) {
  add(r, {"Exp", "e^x", apply<UnaryOp::exp>, chain_rule<exp_gradient>});
  add(r, {"Log", "natural logarithm", apply<UnaryOp::log>, chain_rule<log_gradient>});
  add(r, {"Sqrt", "square root", apply<UnaryOp::sqrt>, chain_rule<sqrt_gradient>});
  add(r, {"Reciprocal", "1 / x", apply<UnaryOp::reciprocal>, chain_rule<reciprocal_gradient>});
  add(r, {"Floor", "largest whole number <= x", apply<UnaryOp::floor>, zero_gradient});
  add(r, {"Ceil", "smallest whole number >= x", apply<UnaryOp::ceil>, zero_gradient});
  add(r, {"Round", "nearest whole number, halves to even", apply<UnaryOp::round>, zero_gradient});
  add(r, {"Erf", "error function", apply<UnaryOp::erf>, chain_rule<erf_gradient>, ops::infer_same_type<ops::kFloats>});
  add(r, {"Sin", "sine", apply<UnaryOp::sin>, chain_rule<sin_gradient>});
  add(r, {"Cos", "cosine", apply<UnaryOp::cos>, chain_rule<cos_gradient>});
  add(r, {"Tan", "tangent", apply<UnaryOp::tan>, chain_rule<tan_gradient>});
  add(r, {"Asin", "arc sine", apply<UnaryOp::asin>, chain_rule<asin_gradient>});
  add(r, {"Acos", "arc cosine", apply<UnaryOp::acos>, chain_rule<acos_gradient>});
  add(r, {"Atan", "arc tangent", apply<UnaryOp::atan>, chain_rule<atan_gradient>});
  add(r, {"Sinh", "hyperbolic sine", apply<UnaryOp::sinh>, chain_rule<sinh_gradient>});
  add(r, {"Cosh", "hyperbolic cosine", apply<UnaryOp::cosh>, chain_rule<cosh_gradient>});
  add(r, {"Asinh", "inverse hyperbolic sine", apply<UnaryOp::asinh>, chain_rule<asinh_gradient>});
  add(r, {"Acosh", "inverse hyperbolic cosine", apply<UnaryOp::acosh>, chain_rule<acosh_gradient>});
  add(r, {"Atanh", "inverse hyperbolic tangent", apply<UnaryOp::atanh>, chain_rule<atanh_gradient>});
}

void register_bits(Registry& r) {
  const auto ints = ops::infer_same_type<ops::kInts>;
  const Arity two{2, 2};
  add(r, {"BitShift",
          "a shifted by b bits; bits shifted out are lost, signed numbers keep their sign",
          shift, nullptr,
          infer_shift,
          two,
          {{"direction", AttrType::string, true}}});
  add(r, {"BitwiseAnd", "a & b", fold<BinaryOp::bit_and>, nullptr, ints, two});
  add(r, {"BitwiseOr", "a | b", fold<BinaryOp::bit_or>, nullptr, ints, two});
  add(r, {"BitwiseXor", "a ^ b", fold<BinaryOp::bit_xor>, nullptr, ints, two});
  add(r, {"BitwiseNot", "~x", apply<UnaryOp::bit_not>, nullptr, ints});
}

void register_conversions(Registry& r) {
  r.add({.name = "Cast",
         .doc = "x in another element type; floats out of an integer's range saturate, NaN becomes 0",
         .attrs = {{"to", AttrType::dtype, true}, {"saturate", AttrType::integer}, {"round_mode", AttrType::string}},
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .result_dtype = cast_result,
         .formula = cast_formula,
         .grad = grad_cast});
  r.add({.name = "CastLike",
         .doc = "x in the element type of operand 1",
         .attrs = {{"saturate", AttrType::integer}, {"round_mode", AttrType::string}},
         .in = {2, 2},
         .out = {1, 1},
         .strategy = Strategy::composite,
         .infer = infer_cast_like,
         .eval = eval_cast_like,
         .expand = expand_cast_like});
  r.add({.name = "Identity",
         .doc = "x",
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .formula = identity,
         .grad = chain_rule<pass>});
  r.add({.name = "Dropout",
         .doc = "x, and a mask of true; in training elements are dropped as NumPy's generator says for the seed",
         .attrs = {{"seed", AttrType::integer}},
         .in = {1, 3},
         .out = {1, 2},
         .infer = infer_dropout,
         .eval = eval_dropout,
         .define = define_dropout,
         .expand = expand_dropout,
         .grad = chain_rule<pass>});
}

}  // namespace

void register_elementwise(Registry& r) {
  register_arithmetic(r);
  register_functions(r);
  register_bits(r);
  register_conversions(r);
}

}  // namespace fcc
