// Operators that keep elements and their order and change only the shape: Reshape Flatten Squeeze Unsqueeze.
#include <algorithm>
#include <utility>

#include "ir/grad.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::Expr;
using Index = std::span<const Expr>;

void eval_same_bytes(EvalContext& c) {
  c.out[0] = c.in[0]->reshaped(c.out[0].shape());
}

Expr define_same_order(DefineContext& c, size_t, Index index) {
  return c.in(0, reshape_index(c.dims(0), c.out_types[0]->dims, index));
}

Status set_reshaped(InferContext& c, Dims dims) {
  assume_equal(c, c.type(0).elements(), product(dims));
  c.set(0, c.dtype(0), std::move(dims));
  pass_content(c);
  return {};
}

// ---- Reshape ------------------------------------------------------------------------------------------------

struct Target {
  Dims dims;
  std::optional<size_t> wild;     // a known -1; its extent in dims is 1
  std::vector<size_t> seen_late;  // extents that are known only while running
};

std::string count_text(const SymExpr& total) {
  return total.text() + (total.is(1) ? " element" : " elements");
}

Result<Target> read_target(const InferContext& c, const std::vector<SymExpr>& shape, bool allowzero) {
  Target t;
  const Dims& in = c.dims(0);
  for (size_t i = 0; i < shape.size(); ++i) {
    const SymExpr& e = shape[i];
    if (e.is(-1)) {
      if (t.wild)
        return c.fail("shape " + text(shape) + " has more than one -1",
                      "only one extent can be worked out from the others");
      t.wild = i;
      t.dims.push_back(1);
    } else if (e.is_constant() && e.constant() < 0) {
      return c.fail("shape " + text(shape) + " has the negative extent " + e.text(),
                    "an extent is 0 or more, or -1 to work it out");
    } else if (e.is(0) && !allowzero) {
      if (i >= in.size())
        return c.fail("shape " + text(shape) + " copies extent " + std::to_string(i) + ", but the operand has rank " +
                          std::to_string(in.size()),
                      "a 0 in shape means: the operand's extent at that position; for an empty result set allowzero=1");
      t.dims.push_back(in[i]);
    } else if (reads_data(e)) {
      t.seen_late.push_back(i);
      t.dims.push_back(!allowzero && i < in.size() ? select_eq(e, 0, in[i], e) : e);
    } else {
      t.dims.push_back(e);
    }
  }
  return t;
}

// Extents seen late may be -1. With one of them its extent follows from the rest; with several the rule itself
// becomes the extent.
void resolve_late(InferContext& c, Target& t, const std::vector<SymExpr>& shape) {
  const SymExpr total = c.type(0).elements();
  if (t.wild || t.seen_late.empty()) return;
  SymExpr known = 1;
  if (t.seen_late.size() == 1) {
    for (size_t i = 0; i < t.dims.size(); ++i)
      if (i != t.seen_late[0]) known = known * t.dims[i];
    if (!known.is(0) && mod(total, known).is(0)) {
      SymExpr& extent = t.dims[t.seen_late[0]];
      const SymExpr asked = std::exchange(extent, floordiv(total, known));
      assume_equal(c, select_eq(shape[t.seen_late[0]], -1, extent, asked), extent);
      return;
    }
  }
  known = 1;
  for (size_t i = 0; i < t.dims.size(); ++i)
    known = known * (reads_data(shape[i]) ? select_eq(shape[i], -1, 1, t.dims[i]) : t.dims[i]);
  for (size_t i : t.seen_late) t.dims[i] = select_eq(shape[i], -1, floordiv(total, known), t.dims[i]);
}

Status infer_reshape(InferContext& c) {
  FCC_TRY(SymTensor operand, c.observe(1));
  const std::vector<SymExpr>& shape = operand.elements;
  const bool allowzero = c.attrs.flag("allowzero");
  const SymExpr total = c.type(0).elements();
  FCC_TRY(Target t, read_target(c, shape, allowzero));
  if (t.wild) {
    const SymExpr known = product(t.dims);
    const bool broken =
        known.is(0) || (known.is_constant() && total.is_constant() && total.constant() % known.constant() != 0);
    if (broken)
      return c.fail("cannot reshape " + count_text(total) + " into " + text(shape),
                    "the product of the other extents, " + known.text() + ", must divide the number of elements");
    t.dims[*t.wild] = floordiv(total, known);
  } else {
    resolve_late(c, t, shape);
    const SymExpr difference = total - product(t.dims);
    if (difference.is_constant() && !difference.is(0))
      return c.fail("cannot reshape " + count_text(total) + " into " + text(t.dims),
                    "the extents must multiply to the number of elements; one of them may be -1");
  }
  return set_reshaped(c, std::move(t.dims));
}

Status infer_flatten(InferContext& c) {
  const int64_t rank = c.rank(0), a = c.attrs.integer("axis", 1);
  if (a < -rank || a > rank)
    return c.fail("axis " + std::to_string(a) + " is out of range for rank " + std::to_string(rank),
                  "use an axis from " + std::to_string(-rank) + " to " + std::to_string(rank));
  const std::span<const SymExpr> dims = c.dims(0);
  const auto split = static_cast<size_t>(a < 0 ? a + rank : a);
  return set_reshaped(c, {product(dims.first(split)), product(dims.subspan(split))});
}

// ---- Squeeze, Unsqueeze -------------------------------------------------------------------------------------
// Axes may be known only while running: then their number decides the rank, and the extents are expressions that
// ask each axis where it fell. With known axes the same expressions fold to the extents themselves.

std::vector<SymExpr> wrapped(const std::vector<SymExpr>& axes, int64_t rank) {
  std::vector<SymExpr> out;
  for (const SymExpr& a : axes) out.push_back(wrap_negative(a, rank));
  return out;
}

// 1 when one of the axes is d, else 0.
SymExpr is_axis(const std::vector<SymExpr>& axes, size_t d) {
  SymExpr any = 0;
  for (const SymExpr& a : axes) any = max(any, select_eq(a, static_cast<int64_t>(d), 1, 0));
  return any;
}

Status check_known_axes(InferContext& c, const SymTensor& axes, int64_t rank) {
  for (const SymExpr& a : axes.elements) assume_axis(c, a, rank);
  if (!axes.is_constant()) return {};
  FCC_TRY(auto normal, normalize_axes(c, axes.constants(), rank, false));
  return {};
}

Status infer_unsqueeze(InferContext& c) {
  FCC_TRY(SymTensor operand, c.observe(1));
  const int64_t rank = c.rank(0) + static_cast<int64_t>(operand.elements.size());
  FCC_CHECKED(check_known_axes(c, operand, rank));
  const std::vector<SymExpr> axes = wrapped(operand.elements, rank);
  const Dims& in = c.dims(0);
  Dims dims;
  SymExpr taken = 0;  // axes before d
  for (size_t d = 0; d < static_cast<size_t>(rank); ++d) {
    const SymExpr here = is_axis(axes, d), source = SymExpr(static_cast<int64_t>(d)) - taken;
    SymExpr extent = 1;
    for (size_t i = 0; i < in.size(); ++i) extent = select_eq(source, static_cast<int64_t>(i), in[i], extent);
    dims.push_back(select_eq(here, 1, 1, extent));
    taken = taken + here;
  }
  return set_reshaped(c, std::move(dims));
}

// Without axes: every axis known to be 1.
Dims squeeze_all(const Dims& in) {
  Dims dims;
  for (const SymExpr& d : in)
    if (!d.is(1)) dims.push_back(d);
  return dims;
}

Status infer_squeeze(InferContext& c) {
  const Dims& in = c.dims(0);
  if (!c.has(1)) return set_reshaped(c, squeeze_all(in));
  FCC_TRY(SymTensor operand, c.observe(1));
  const int64_t rank = c.rank(0), n = static_cast<int64_t>(operand.elements.size());
  if (n > rank)
    return c.fail("axes names " + std::to_string(n) + " axes, the operand has rank " + std::to_string(rank));
  FCC_CHECKED(check_known_axes(c, operand, rank));
  const std::vector<SymExpr> axes = wrapped(operand.elements, rank);
  for (const SymExpr& a : axes)
    if (a.is_constant() && in[static_cast<size_t>(a.constant())].is_constant() &&
        !in[static_cast<size_t>(a.constant())].is(1))
      return c.fail("axis " + a.text() + " has extent " + in[static_cast<size_t>(a.constant())].text() + ", expected 1",
                    "only axes of extent 1 can be squeezed");
  const auto candidates =
      std::count_if(in.begin(), in.end(), [](const SymExpr& d) { return d.is(1) || !d.is_constant(); });
  if (candidates < n)
    return c.fail("axes names " + std::to_string(n) + " axes, but only " + std::to_string(candidates) +
                  " have extent 1");
  if (!operand.is_constant() && candidates == n && static_cast<int64_t>(squeeze_all(in).size()) == rank - n)
    return set_reshaped(c, squeeze_all(in));  // there is only one way to squeeze that many
  Dims dims(static_cast<size_t>(rank - n), 1);
  SymExpr taken = 0;
  for (size_t d = 0; d < in.size(); ++d) {
    const SymExpr here = is_axis(axes, d), target = SymExpr(static_cast<int64_t>(d)) - taken;
    for (size_t i = 0; i < dims.size(); ++i)
      dims[i] = select_eq(target + here * rank, static_cast<int64_t>(i), in[d], dims[i]);  // + rank: to nowhere
    taken = taken + here;
  }
  return set_reshaped(c, std::move(dims));
}

void add(Registry& r, std::string_view name, std::string_view doc, Status (*infer)(InferContext&), Arity in,
         std::vector<AttrSpec> attrs = {}) {
  OpDef def{.name = name,
            .doc = doc,
            .attrs = std::move(attrs),
            .in = in,
            .out = {1, 1},
            .movement = true,
            .infer = infer,
            .eval = eval_same_bytes,
            .define = define_same_order,
            .grad = reshape_gradient};
  if (in.max == 2) def.shape_operands = {1};
  r.add(std::move(def));
}

}  // namespace

void register_reshape(Registry& r) {
  add(r, "Reshape", "the same elements in another shape; 0 copies an extent, -1 works it out", infer_reshape, {2, 2},
      {{"allowzero", AttrType::integer}});
  add(r, "Flatten", "a matrix: axes before `axis` by the others", infer_flatten, {1, 1}, {{"axis", AttrType::integer}});
  add(r, "Squeeze", "without axes of extent 1", infer_squeeze, {1, 2});
  add(r, "Unsqueeze", "with new axes of extent 1", infer_unsqueeze, {2, 2});
}

}  // namespace fcc
