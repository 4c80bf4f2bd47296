// Arithmetic, elementary functions, bit operations and conversions: one element in, one element out.
#include "ir/loop/scalar.h"
#include "ir/ops/numeric.h"

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

Expr cast(const FormulaContext& c, In in) {
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

// ---- Dropout as inference sees it: the input, and a mask that keeps everything -------------------------------

Status infer_dropout(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  const auto known_zero = [&](size_t k) {
    return c.has(k) && c.content(k) && c.content(k)->elements.size() == 1 && c.content(k)->elements[0].is(0);
  };
  if (c.has(2) && !known_zero(2) && !known_zero(1))
    return c.fail("training_mode must be false",
                  "export the model in inference mode (model.eval()); fcc train adds dropout itself");
  c.set(0, c.type(0));
  if (c.n_out() > 1) c.set(1, DType::boolean, c.dims(0));
  return {};
}
void eval_dropout(EvalContext& c) {
  ops::store(c.out[0], c.in[0]->to_doubles());
  if (c.out.size() > 1) ops::store(c.out[1], std::vector<int64_t>(static_cast<size_t>(c.out[1].elements()), 1));
}
Expr define_dropout(DefineContext& c, size_t result, In index) {
  return result == 0 ? c.in(0, index) : loop::boolean(true);
}

// ---- registration ------------------------------------------------------------------------------------------

struct Row {
  std::string_view name, doc;
  Expr (*formula)(const FormulaContext&, In);
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
         .formula = row.formula});
}

void register_arithmetic(Registry& r) {
  const auto numbers = ops::infer_same_type<ops::kNumbers>;
  const Arity two{2, 2}, any{1, -1};
  add(r, {"Add", "a + b", fold<BinaryOp::add>, numbers, two});
  add(r, {"Sub", "a - b", fold<BinaryOp::sub>, numbers, two});
  add(r, {"Mul", "a b", fold<BinaryOp::mul>, numbers, two});
  add(r, {"Div", "a / b; integers truncate towards zero, and x / 0 is 0", fold<BinaryOp::div>, numbers, two});
  add(r, {"Pow", "a^b in the type of a", power, infer_power, two});
  add(r, {"Mod",
          "remainder with the sign of b, or of a when fmod=1",
          modulo,
          numbers,
          two,
          {{"fmod", AttrType::integer}}});
  add(r, {"Min", "smallest operand; NaN wins", fold<BinaryOp::min>, numbers, any});
  add(r, {"Max", "largest operand; NaN wins", fold<BinaryOp::max>, numbers, any});
  add(r, {"Sum", "sum of the operands", fold<BinaryOp::add>, numbers, any});
  add(r, {"Mean", "arithmetic mean of the operands", mean, ops::infer_same_type<ops::kFloats>, any});
  add(r, {"Abs", "|x|", apply<UnaryOp::abs>, numbers});
  add(r, {"Sign", "-1, 0 or 1", apply<UnaryOp::sign>, numbers});
  add(r, {"Neg", "-x", apply<UnaryOp::neg>, ops::infer_same_type<ops::kSigned>});
  add(r, {"Clip", "min(max(x, low), high)", clip, infer_clip, {1, 3}});
}

void register_functions(Registry& r) {
  add(r, {"Exp", "e^x", apply<UnaryOp::exp>});
  add(r, {"Log", "natural logarithm", apply<UnaryOp::log>});
  add(r, {"Sqrt", "square root", apply<UnaryOp::sqrt>});
  add(r, {"Reciprocal", "1 / x", apply<UnaryOp::reciprocal>});
  add(r, {"Floor", "largest whole number <= x", apply<UnaryOp::floor>});
  add(r, {"Ceil", "smallest whole number >= x", apply<UnaryOp::ceil>});
  add(r, {"Round", "nearest whole number, halves to even", apply<UnaryOp::round>});
  add(r, {"Erf", "error function", apply<UnaryOp::erf>, ops::infer_same_type<ops::kFloats>});
  add(r, {"Sin", "sine", apply<UnaryOp::sin>});
  add(r, {"Cos", "cosine", apply<UnaryOp::cos>});
  add(r, {"Tan", "tangent", apply<UnaryOp::tan>});
  add(r, {"Asin", "arc sine", apply<UnaryOp::asin>});
  add(r, {"Acos", "arc cosine", apply<UnaryOp::acos>});
  add(r, {"Atan", "arc tangent", apply<UnaryOp::atan>});
  add(r, {"Sinh", "hyperbolic sine", apply<UnaryOp::sinh>});
  add(r, {"Cosh", "hyperbolic cosine", apply<UnaryOp::cosh>});
  add(r, {"Asinh", "inverse hyperbolic sine", apply<UnaryOp::asinh>});
  add(r, {"Acosh", "inverse hyperbolic cosine", apply<UnaryOp::acosh>});
  add(r, {"Atanh", "inverse hyperbolic tangent", apply<UnaryOp::atanh>});
}

void register_bits(Registry& r) {
  const auto ints = ops::infer_same_type<ops::kInts>;
  const Arity two{2, 2};
  add(r, {"BitShift",
          "a shifted by b bits; bits shifted out are lost, signed numbers keep their sign",
          shift,
          infer_shift,
          two,
          {{"direction", AttrType::string, true}}});
  add(r, {"BitwiseAnd", "a & b", fold<BinaryOp::bit_and>, ints, two});
  add(r, {"BitwiseOr", "a | b", fold<BinaryOp::bit_or>, ints, two});
  add(r, {"BitwiseXor", "a ^ b", fold<BinaryOp::bit_xor>, ints, two});
  add(r, {"BitwiseNot", "~x", apply<UnaryOp::bit_not>, ints});
}

void register_conversions(Registry& r) {
  r.add({.name = "Cast",
         .doc = "x in another element type; floats out of an integer's range saturate, NaN becomes 0",
         .attrs = {{"to", AttrType::dtype, true}, {"saturate", AttrType::integer}, {"round_mode", AttrType::string}},
         .in = {1, 1},
         .out = {1, 1},
         .strategy = Strategy::pointwise,
         .result_dtype = cast_result,
         .formula = cast});
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
         .formula = identity});
  r.add({.name = "Dropout",
         .doc = "x, and a mask of true: what inference makes of it",
         .attrs = {{"seed", AttrType::integer}},
         .in = {1, 3},
         .out = {1, 2},
         .infer = infer_dropout,
         .eval = eval_dropout,
         .define = define_dropout});
}

}  // namespace

void register_elementwise(Registry& r) {
  register_arithmetic(r);
  register_functions(r);
  register_bits(r);
  register_conversions(r);
}

}  // namespace fcc
