// Pad and its transpose PadGrad: constant, edge, reflect and wrap; a negative pad crops. Cropping happens first, so that the other modes repeat
// what is left of the operand.
#include <algorithm>

#include "ir/grad.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using Index = std::span<const Expr>;

enum class Mode : uint8_t { constant, edge, reflect, wrap };
constexpr std::string_view kModes[] = {"constant", "edge", "reflect", "wrap"};

std::optional<Mode> mode_of(const Attrs& attrs) {
  const std::string mode = attrs.string("mode", "constant");
  for (size_t i = 0; i < std::size(kModes); ++i)
    if (mode == kModes[i]) return static_cast<Mode>(i);
  return std::nullopt;
}

struct AxisPad {
  SymExpr begin = 0, end = 0;
  bool is_none() const { return begin.is(0) && end.is(0); }
  SymExpr cropped(const SymExpr& extent) const { return extent + min(begin, 0) + min(end, 0); }
};

// axes empty: all of them, in order.
std::vector<AxisPad> axis_pads(size_t rank, const std::vector<SymExpr>& pads, const std::vector<SymExpr>& axes) {
  const size_t n = pads.size() / 2;
  std::vector<AxisPad> out(rank);
  for (size_t d = 0; d < rank; ++d)
    for (size_t k = 0; k < n; ++k) {
      const SymExpr axis =
          axes.empty() ? SymExpr(static_cast<int64_t>(k)) : wrap_negative(axes[k], static_cast<int64_t>(rank));
      out[d].begin = select_eq(axis, static_cast<int64_t>(d), pads[k], out[d].begin);
      out[d].end = select_eq(axis, static_cast<int64_t>(d), pads[n + k], out[d].end);
    }
  return out;
}

Status check_pads(InferContext& c, const SymTensor& pads, const std::optional<SymTensor>& axes) {
  const size_t wanted = 2 * (axes ? axes->elements.size() : c.dims(0).size());
  if (pads.elements.size() != wanted)
    return c.fail("pads has " + std::to_string(pads.elements.size()) + " entries, expected " + std::to_string(wanted),
                  "give a begin for each axis, then an end for each");
  if (axes && axes->is_constant()) {
    FCC_TRY(auto distinct, normalize_axes(c, axes->constants(), c.rank(0), false));
  }
  if (!mode_of(c.attrs))
    return c.fail("mode is \"" + c.attrs.string("mode") + "\"", "mode is one of constant, edge, reflect, wrap");
  if (c.has(2) && (c.dtype(2) != c.dtype(0) || c.rank(2) > 1))
    return c.fail("constant_value is " + c.type(2).text() + ", expected one " + std::string(name(c.dtype(0))),
                  "constant_value is a scalar of the operand's type");
  return {};
}

Status infer_pad(InferContext& c) {
  FCC_TRY(SymTensor pads, c.observe(1));
  std::optional<SymTensor> axes;
  if (c.has(3)) {
    FCC_TRY(axes, c.observe(3));
  }
  FCC_CHECKED(check_pads(c, pads, axes));
  const std::vector<AxisPad> by_axis =
      axis_pads(c.dims(0).size(), pads.elements, axes ? axes->elements : std::vector<SymExpr>{});
  Dims dims;
  for (size_t d = 0; d < by_axis.size(); ++d) {
    const SymExpr& extent = c.dims(0)[d];
    const SymExpr left = by_axis[d].cropped(extent);
    dims.push_back(extent + by_axis[d].begin + by_axis[d].end);
    if (left.is_constant() && left.constant() < 0)
      return c.fail("negative pads take more from axis " + std::to_string(d) + " than its extent " + extent.text(),
                    "the extent left must be 0 or more");
    if (*mode_of(c.attrs) != Mode::constant && left.is(0) && dims.back().provably_positive())
      return c.fail("mode " + c.attrs.string("mode") + " has nothing to repeat along axis " + std::to_string(d),
                    "pad an axis with at least one element");
  }
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

// Source of position t, counted from the start of the cropped operand of extent n; -1 for the constant.
int64_t source(Mode mode, int64_t t, int64_t n) {
  switch (mode) {
    case Mode::constant:
      return t < 0 || t >= n ? -1 : t;
    case Mode::edge:
      return std::clamp<int64_t>(t, 0, n - 1);
    case Mode::wrap:
      return t - floor_divide(t, n) * n;
    case Mode::reflect:
      break;
  }
  const int64_t period = 2 * (n - 1), m = t - floor_divide(t, period) * period;
  return period == 0 ? 0 : std::min(m, period - m);
}

struct SourceTable {
  std::vector<std::vector<int64_t>> of_axis;  // element offset of every position, -1 for the constant
};

SourceTable sources(const EvalContext& c) {
  const Mode mode = *mode_of(c.attrs);
  const auto& in = c.in[0]->shape();
  const std::vector<AxisPad> pads =
      axis_pads(in.size(), numbers_of(*c.in[1]), c.has(3) ? numbers_of(*c.in[3]) : std::vector<SymExpr>{});
  const std::vector<int64_t> strides = strides_of(in);
  SourceTable table;
  for (size_t d = 0; d < in.size(); ++d) {
    const int64_t begin = pads[d].begin.constant(), cropped = pads[d].cropped(in[d]).constant();
    std::vector<int64_t> offsets;
    for (int64_t i = 0; i < c.out[0].shape()[d]; ++i) {
      const int64_t s = source(mode, i - std::max<int64_t>(begin, 0), cropped);
      offsets.push_back(s < 0 ? -1 : (s - std::min<int64_t>(begin, 0)) * strides[d]);
    }
    table.of_axis.push_back(std::move(offsets));
  }
  return table;
}

template <class T>
void pad_elements(EvalContext& c) {
  const SourceTable table = sources(c);
  const T* from = c.in[0]->as<T>().data();
  T* to = c.out[0].as<T>().data();
  const T fill = c.has(2) ? c.in[2]->as<T>()[0] : T{0};
  for_each_index(c.out[0].shape(), [&](std::span<const int64_t> index) {
    int64_t at = 0;
    bool inside = true;
    for (size_t d = 0; d < index.size(); ++d) {
      const int64_t offset = table.of_axis[d][static_cast<size_t>(index[d])];
      inside = inside && offset >= 0;
      at += offset;
    }
    *to++ = inside ? from[at] : fill;
  });
}

void eval_pad(EvalContext& c) {
  switch (byte_size(c.in[0]->dtype())) {
    case 1:
      return pad_elements<uint8_t>(c);
    case 2:
      return pad_elements<uint16_t>(c);
    case 4:
      return pad_elements<uint32_t>(c);
    default:
      return pad_elements<uint64_t>(c);
  }
}

Expr source_expr(Mode mode, const Expr& t, const Expr& n) {
  const Expr zero = loop::index(0);
  if (mode == Mode::edge) return clamp(t, zero, n - 1);
  if (mode == Mode::wrap) return mod(t, n);
  const Expr period = (n - 1) * 2, m = mod(t, period);  // mod by 0 gives 0
  return loop::select(loop::eq(n, loop::index(1)), zero, loop::min(m, period - m));
}

Expr define_pad(DefineContext& c, size_t, Index index) {
  const Mode mode = *mode_of(*c.attrs);
  const std::vector<AxisPad> pads =
      axis_pads(index.size(), known_elements(c, 1), c.has(3) ? known_elements(c, 3) : std::vector<SymExpr>{});
  std::vector<Expr> at;
  Expr guard = loop::boolean(true);
  for (size_t d = 0; d < index.size(); ++d) {
    if (pads[d].is_none()) {
      at.push_back(index[d]);
      continue;
    }
    const SymExpr cropped = pads[d].cropped(c.dims(0)[d]), shift = max(pads[d].begin, 0), crop = -min(pads[d].begin, 0);
    const Expr t = index[d] + loop::from_sym(-shift), n = loop::from_sym(cropped);
    if (mode == Mode::constant) {
      if (!shift.is(0)) guard = loop::both(guard, loop::ge(t, loop::index(0)));
      if (!max(pads[d].end, 0).is(0)) guard = loop::both(guard, loop::lt(t, n));
      at.push_back(t + loop::from_sym(crop));
      continue;
    }
    if (!cropped.provably_positive())
      c.fault_if(loop::lt(n, loop::index(1)), "there is nothing to repeat along axis " + std::to_string(d));
    const bool crops_only = shift.is(0) && max(pads[d].end, 0).is(0);
    at.push_back((crops_only ? t : source_expr(mode, t, n)) + loop::from_sym(crop));
  }
  if (loop::is_constant(guard)) return c.in(0, at);
  return c.in_guarded(0, at, guard,
                      c.has(2) ? scalar_operand(c, 2) : loop::constant(loop::compute_type(c.dtype(0)), 0));
}

// ---- PadGrad(dy): each element of the operand sums the elements of the result that repeat it ---------------------
// For the modes that repeat. `pads`: begin of every axis, then end of every axis; `dims`: the operand's extents.

std::vector<AxisPad> grad_pads(const Attrs& attrs) {
  const Dims pads = attrs.dims("pads");
  std::vector<AxisPad> out;
  for (size_t d = 0; d < pads.size() / 2; ++d) out.push_back({pads[d], pads[pads.size() / 2 + d]});
  return out;
}

Status infer_pad_grad(InferContext& c) {
  const Dims dims = c.attrs.dims("dims");
  if (c.rank(0) != static_cast<int64_t>(dims.size()) || c.attrs.dims("pads").size() != 2 * dims.size())
    return c.fail("dims and pads need one and two entries an axis");
  c.set(0, c.dtype(0), dims);
  return {};
}

void eval_pad_grad(EvalContext& c) {
  const Mode mode = *mode_of(c.attrs);
  const std::vector<AxisPad> pads = grad_pads(c.attrs);
  const std::vector<int64_t>& shape = c.out[0].shape();
  int64_t flat = 0;
  for_each_index(c.in[0]->shape(), [&](std::span<const int64_t> index) {
    int64_t to = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      const int64_t begin = pads[d].begin.constant(), cropped = pads[d].cropped(shape[d]).constant();
      to = to * shape[d] + source(mode, index[d] - std::max<int64_t>(begin, 0), cropped) - std::min<int64_t>(begin, 0);
    }
    c.out[0].set_double(to, c.out[0].get_double(to) + c.in[0]->get_double(flat++));
  });
}

// Where along one axis the result repeats position i (of the cropped operand, n long): t in [lo, hi) one after another
// (edge), or first + k period for k in [0, count), for one or two values of first.
struct Repeats {
  Expr lo, hi;                // edge
  std::vector<Expr> first;    // wrap, reflect
  Expr period, count, valid;  // valid: the second walk is not the first
};

Repeats repeats_of(Mode mode, const Expr& i, const Expr& n, const Expr& shift, const Expr& extent) {
  Repeats r;
  const Expr zero = loop::index(0), at_end = loop::eq(i, n - 1);
  if (mode == Mode::edge) {
    r.lo = loop::select(loop::eq(i, zero), zero, i + shift);
    r.hi = loop::select(at_end, extent, i + shift + 1);
    return r;
  }
  r.period = mode == Mode::wrap ? n : loop::max((n - 1) * 2, loop::index(1));
  r.first.push_back(mod(i + shift, r.period));
  r.count = floordiv(extent - 1, r.period) + 1;
  if (mode == Mode::reflect) r.first.push_back(mod(shift - i, r.period));
  r.valid = loop::unary(loop::UnaryOp::logical_not, loop::binary(loop::BinaryOp::logical_or, loop::eq(i, zero), at_end));
  return r;
}

Expr define_pad_grad(DefineContext& c, size_t, Index index) {
  const Mode mode = *mode_of(*c.attrs);
  const std::vector<AxisPad> pads = grad_pads(*c.attrs);
  const Expr zero = loop::constant(loop::compute_type(c.dtype(0)), 0);
  std::vector<Expr> at;
  const std::function<Expr(size_t, Expr)> nest = [&](size_t d, Expr guard) -> Expr {
    if (d == index.size()) return loop::is_constant(guard) ? c.in(0, at) : c.in_guarded(0, at, guard, zero);
    const auto with = [&](Expr t, Expr inside) {
      at.push_back(std::move(t));
      Expr e = nest(d + 1, loop::both(guard, std::move(inside)));
      at.pop_back();
      return e;
    };
    if (pads[d].is_none()) return with(index[d], loop::boolean(true));
    const SymExpr extent = c.out_types[0]->dims[d], crop = -min(pads[d].begin, 0);
    const Expr n = loop::from_sym(pads[d].cropped(extent)), i = index[d] + loop::from_sym(-crop), whole = c.dim(0, d);
    const Repeats r = repeats_of(mode, i, n, loop::from_sym(max(pads[d].begin, 0)), whole);
    const Expr kept = in_range(i, n);
    if (mode == Mode::edge) {
      const loop::VarId t = c.fresh_var("t");
      return loop::reduce(loop::ReduceOp::add, t, r.lo, r.hi, with(loop::var(t), loop::both(kept, in_range(loop::var(t), whole))));
    }
    Expr sum;
    for (size_t walk = 0; walk < r.first.size(); ++walk) {
      const Expr part = c.reduce(loop::ReduceOp::add, "k", r.count, [&](Expr k) {
        const Expr t = r.first[walk] + k * r.period, inside = loop::both(kept, loop::lt(t, whole));
        return with(t, walk == 0 ? inside : loop::both(inside, r.valid));
      });
      sum = sum ? sum + part : part;
    }
    return sum;
  };
  return nest(0, loop::boolean(true));
}

Result<std::vector<ValueId>> grad_pad(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  const auto elements = [&](size_t k) { return b.has(k) ? b.graph.value(n.in[k]).content->elements : std::vector<SymExpr>{}; };
  const Dims dims = b.dims(0);
  Dims begins, ends;
  for (const AxisPad& p : axis_pads(dims.size(), elements(1), elements(3))) {
    begins.push_back(p.begin);
    ends.push_back(p.end);
  }
  if (*mode_of(n.attrs) == Mode::constant) {
    const Term inside = b.node("Unslice", {b.dy()}, [&] {
      Dims starts;
      for (const SymExpr& p : begins) starts.push_back(-p);
      return Attrs{{"dims", dims}, {"starts", starts}, {"steps", Dims(dims.size(), 1)}};
    }());
    std::vector<int64_t> axes;
    for (size_t d = 0; d < dims.size(); ++d) axes.push_back(static_cast<int64_t>(d));
    b.give(0, [&] { return inside; });
    b.give(2, [&] { return b.reshape(b.sum(b.dy(), axes, false) - b.sum(inside, axes, false), b.dims(2)); });
    return b.done();
  }
  Dims pads = begins;
  pads.insert(pads.end(), ends.begin(), ends.end());
  b.give(0, [&] { return b.node("PadGrad", {b.dy()}, {{"mode", n.attrs.string("mode")}, {"dims", dims}, {"pads", pads}}); });
  return b.done();
}

}  // namespace

void register_pad(Registry& r) {
  r.add({.name = "Pad",
         .doc = "more elements around (constant, edge, reflect, wrap), or fewer",
         .attrs = {{"mode", AttrType::string}},
         .in = {2, 4},
         .out = {1, 1},
         .movement = true,
         .shape_operands = {1, 3},
         .infer = infer_pad,
         .eval = eval_pad,
         .define = define_pad,
         .grad = grad_pad});
  r.add({.name = "PadGrad",
         .doc = "the gradient of Pad's operand from dy, for the modes that repeat elements",
         .attrs = {{"mode", AttrType::string, true}, {"dims", AttrType::dims, true}, {"pads", AttrType::dims, true}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_pad_grad,
         .eval = eval_pad_grad,
         .define = define_pad_grad,
         .no_grad = "second derivatives of padding that repeats are not offered"});
}

}  // namespace fcc
