// Operators that rename indices: Transpose Expand Tile DepthToSpace SpaceToDepth Trilu.
#include "ir/ops/movement.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ir/grad.h"
#include "ir/ops/shape.h"

namespace fcc {

using loop::Expr;
using Index = std::span<const Expr>;

// ---- reshape_index ------------------------------------------------------------------------------------------

namespace {

// Suffix products: strides of a row-major shape.
std::vector<SymExpr> symbolic_strides(std::span<const SymExpr> dims) {
  std::vector<SymExpr> s(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) s[d - 1] = s[d] * dims[d];
  return s;
}

Expr linear(std::span<const SymExpr> strides, Index index) {
  Expr sum = loop::index(0);
  for (size_t d = 0; d < index.size(); ++d) sum = sum + index[d] * loop::from_sym(strides[d]);
  return sum;
}

// floor(flat / s), where flat is the linear form of index: axes whose stride is a multiple of s divide exactly, and
// the others together stay below the stride of the last of those.
Expr divide(std::span<const SymExpr> strides, Index index, const SymExpr& s) {
  size_t exact = 0;
  Expr quotient = loop::index(0);
  while (exact < index.size() && mod(strides[exact], s).is(0)) {
    quotient = quotient + index[exact] * loop::from_sym(floordiv(strides[exact], s));
    ++exact;
  }
  if (exact == index.size() || (exact > 0 && strides[exact - 1] == s)) return quotient;
  return quotient + floordiv(linear(strides.subspan(exact), index.subspan(exact)), loop::from_sym(s));
}

// One group of operand axes that holds exactly the elements of one group of result axes.
void map_group(std::span<const SymExpr> operand, std::span<const SymExpr> result, Index index, std::span<Expr> out) {
  const std::vector<SymExpr> to = symbolic_strides(operand), from = symbolic_strides(result);
  for (size_t d = 0; d < operand.size(); ++d) {
    if (d == 0) {
      out[d] = divide(from, index, to[d]);
      continue;
    }
    // Axes whose stride is a multiple of this and all inner operand axes do not matter under the mod.
    size_t first = 0;
    while (first < index.size() && mod(from[first], to[d - 1]).is(0)) ++first;
    Expr q = divide(std::span(from).subspan(first), index.subspan(first), to[d]);
    const bool below = first > 0 && from[first - 1] == to[d - 1];  // the rest cannot reach the extent
    out[d] = below ? q : mod(q, loop::from_sym(operand[d]));
  }
}

struct KeptAxes {
  std::vector<SymExpr> dims;
  std::vector<size_t> axis;
};
KeptAxes without_ones(const Dims& dims) {
  KeptAxes k;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].is(1)) continue;
    k.dims.push_back(dims[d]);
    k.axis.push_back(d);
  }
  return k;
}

// The shortest runs a[i..), b[j..) with equal products; everything that is left when there is none.
std::pair<size_t, size_t> next_group(std::span<const SymExpr> a, std::span<const SymExpr> b) {
  std::vector<SymExpr> pa, pb;
  for (const SymExpr& d : a) pa.push_back(pa.empty() ? d : pa.back() * d);
  for (const SymExpr& d : b) pb.push_back(pb.empty() ? d : pb.back() * d);
  for (size_t total = 2; total <= a.size() + b.size(); ++total)
    for (size_t na = 1; na < total && na <= a.size(); ++na) {
      const size_t nb = total - na;
      if (nb <= b.size() && pa[na - 1] == pb[nb - 1]) return {na, nb};
    }
  return {a.size(), b.size()};
}

}  // namespace

std::vector<Expr> reshape_index(const Dims& operand, const Dims& result, Index index) {
  FCC_CHECK(index.size() == result.size(), "index of rank {} into {}", index.size(), text(result));
  std::vector<Expr> out(operand.size(), loop::index(0));
  const KeptAxes a = without_ones(operand), b = without_ones(result);
  std::vector<Expr> from;
  for (size_t axis : b.axis) from.push_back(index[axis]);
  size_t i = 0, j = 0;
  while (i < a.dims.size()) {
    auto [na, nb] = next_group(std::span(a.dims).subspan(i), std::span(b.dims).subspan(j));
    if (na == a.dims.size() - i) nb = b.dims.size() - j;  // the last group takes every index that is left
    std::vector<Expr> part(na);
    map_group(std::span(a.dims).subspan(i, na), std::span(b.dims).subspan(j, nb), Index(from).subspan(j, nb), part);
    for (size_t k = 0; k < na; ++k) out[a.axis[i + k]] = part[k];
    i += na;
    j += nb;
  }
  return out;
}

// ---- strided_copy -------------------------------------------------------------------------------------------

template <class T>
static void copy_rows(std::span<const int64_t> extents, T* to, const StridedSide& ts, const T* from,
                      const StridedSide& fs) {
  const size_t rank = extents.size();
  const int64_t n = rank ? extents[rank - 1] : 1, st = rank ? ts.strides[rank - 1] : 1,
                sf = rank ? fs.strides[rank - 1] : 1;
  std::vector<int64_t> at(rank, 0);
  to += ts.offset;
  from += fs.offset;
  for (;;) {
    if (st == 1 && sf == 1) {
      std::memcpy(to, from, static_cast<size_t>(n) * sizeof(T));
    } else {
      for (int64_t i = 0; i < n; ++i) to[i * st] = from[i * sf];
    }
    size_t d = rank < 2 ? 0 : rank - 1;
    while (d-- > 0) {
      to += ts.strides[d];
      from += fs.strides[d];
      if (++at[d] < extents[d]) break;
      to -= ts.strides[d] * extents[d];
      from -= fs.strides[d] * extents[d];
      at[d] = 0;
    }
    if (d == static_cast<size_t>(-1)) return;
  }
}

void strided_copy(std::span<const int64_t> extents, Tensor& to, const StridedSide& ts, const Tensor& from,
                  const StridedSide& fs) {
  FCC_CHECK(byte_size(to.dtype()) == byte_size(from.dtype()), "copy of {} to {}", name(from.dtype()), name(to.dtype()));
  if (product(extents) == 0) return;
  switch (byte_size(to.dtype())) {
    case 1:
      return copy_rows(extents, to.as<uint8_t>().data(), ts, from.as<uint8_t>().data(), fs);
    case 2:
      return copy_rows(extents, to.as<uint16_t>().data(), ts, from.as<uint16_t>().data(), fs);
    case 4:
      return copy_rows(extents, to.as<uint32_t>().data(), ts, from.as<uint32_t>().data(), fs);
    default:
      return copy_rows(extents, to.as<uint64_t>().data(), ts, from.as<uint64_t>().data(), fs);
  }
}

namespace {

// ---- Transpose ----------------------------------------------------------------------------------------------

std::vector<int64_t> permutation(const Attrs& attrs, int64_t rank) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.rbegin(), perm.rend(), 0);  // reversed axes when absent
  return attrs.integers("perm", std::move(perm));
}

Status infer_transpose(InferContext& c) {
  const std::vector<int64_t> perm = permutation(c.attrs, c.rank(0));
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  bool ok = static_cast<int64_t>(perm.size()) == c.rank(0);
  for (size_t i = 0; ok && i < sorted.size(); ++i) ok = sorted[i] == static_cast<int64_t>(i);
  if (!ok)
    return c.fail("perm has " + std::to_string(perm.size()) +
                      " entries and is no order of the axes of an operand of rank " + std::to_string(c.rank(0)),
                  "perm must name every axis from 0 to rank-1 once");
  Dims dims;
  for (int64_t p : perm) dims.push_back(c.dims(0)[static_cast<size_t>(p)]);
  c.set(0, c.dtype(0), std::move(dims));
  pass_content(c);
  return {};
}

void eval_transpose(EvalContext& c) {
  const std::vector<int64_t> perm = permutation(c.attrs, c.in[0]->rank()), strides = strides_of(c.in[0]->shape());
  StridedSide from;
  for (int64_t p : perm) from.strides.push_back(strides[static_cast<size_t>(p)]);
  strided_copy(c.out[0].shape(), c.out[0], {0, strides_of(c.out[0].shape())}, *c.in[0], from);
}

Expr define_transpose(DefineContext& c, size_t, Index index) {
  const std::vector<int64_t> perm = permutation(*c.attrs, c.rank(0));
  std::vector<Expr> at(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) at[static_cast<size_t>(perm[i])] = index[i];
  return c.in(0, at);
}

// ---- Expand -------------------------------------------------------------------------------------------------

// Extent of broadcasting x with what `shape` asks for; nothing when they clash.
std::optional<SymExpr> expanded(const SymExpr& x, const SymExpr& wanted) {
  if (wanted.is(1) || wanted == x) return x;
  if (x.is(1)) return wanted;
  if (x.is_constant() && wanted.is_constant()) return std::nullopt;
  if (x.is_constant()) return x;  // wanted can only be 1 or x
  return reads_data(wanted) ? select_eq(wanted, 1, x, wanted) : wanted;
}

Status infer_expand(InferContext& c) {
  FCC_TRY(SymTensor shape, c.observe(1));
  const auto& wanted = shape.elements;
  const size_t rank = std::max(wanted.size(), c.dims(0).size());
  Dims dims(rank, 1);
  for (size_t d = 0; d < rank; ++d) {
    const SymExpr x = d + c.dims(0).size() >= rank ? c.dims(0)[d + c.dims(0).size() - rank] : SymExpr(1);
    const SymExpr w = d + wanted.size() >= rank ? wanted[d + wanted.size() - rank] : SymExpr(1);
    if (w.is_constant() && w.constant() < 0)
      return c.fail("shape asks for the negative extent " + w.text(), "extents must be 0 or more");
    auto e = expanded(x, w);
    if (!e)
      return c.fail(
          "shape asks for extent " + w.text() + " where the operand has " + x.text(),
          "only axes of extent 1 can be expanded; " + text(c.dims(0)) + " does not broadcast to " + text(wanted));
    if (!x.is(1)) {  // what a run finds must broadcast as it was taken to
      assume_equal(c, x, *e);
      if (!(w == *e)) assume_equal(c, select_eq(w, 1, *e, w), *e);
    }
    dims[d] = *e;
  }
  c.set(0, c.dtype(0), std::move(dims));
  const SymTensor* content = c.content(0);
  const Dims& out = c.out_types[0].dims;
  if (content && content->elements.size() == 1 && out.size() == 1 && out[0].is_constant() &&
      out[0].constant() <= kMaxSymElements)
    c.set_content(0, {1, std::vector<SymExpr>(static_cast<size_t>(std::max<int64_t>(out[0].constant(), 0)),
                                              content->elements[0])});
  else
    pass_content(c);
  return {};
}

// A zero stride repeats.
void eval_expand(EvalContext& c) {
  const auto& in = c.in[0]->shape();
  const auto& out = c.out[0].shape();
  const std::vector<int64_t> strides = strides_of(in);
  StridedSide from{0, std::vector<int64_t>(out.size(), 0)};
  for (size_t d = 0; d < in.size(); ++d)
    if (in[d] != 1) from.strides[out.size() - in.size() + d] = strides[d];
  strided_copy(out, c.out[0], {0, strides_of(out)}, *c.in[0], from);
}

Expr define_expand(DefineContext& c, size_t, Index index) {
  const Dims &in = c.dims(0), &out = c.out_types[0]->dims;
  const std::vector<SymExpr>& wanted = known_elements(c, 1);
  const size_t lead = out.size() - in.size();
  std::vector<Expr> at;
  for (size_t d = 0; d < in.size(); ++d) {
    const SymExpr& o = out[lead + d];
    if (in[d].is(1)) {
      at.push_back(loop::index(0));
    } else if (in[d] == o) {
      at.push_back(index[lead + d]);
    } else {  // an open extent may turn out to be 1
      at.push_back(loop::select(loop::eq(loop::from_sym(in[d]), loop::index(1)), loop::index(0), index[lead + d]));
    }
    const size_t w = lead + d + wanted.size() - out.size();
    if (lead + d + wanted.size() < out.size() || in[d].is(1) || in[d] == wanted[w] || wanted[w].is(1)) continue;
    const Expr x = loop::from_sym(in[d]), y = loop::from_sym(wanted[w]);
    const auto ne = [](const Expr& a, const Expr& b) { return loop::binary(loop::BinaryOp::ne, a, b); };
    c.fault_if(loop::both(loop::both(ne(x, y), ne(y, loop::index(1))), ne(x, loop::index(1))),
               "shape does not broadcast with the operand at axis " + std::to_string(lead + d));
  }
  return c.in(0, at);
}

// ---- Tile ---------------------------------------------------------------------------------------------------

Status infer_tile(InferContext& c) {
  FCC_TRY(SymTensor repeats, c.observe(1));
  if (static_cast<int64_t>(repeats.elements.size()) != c.rank(0))
    return c.fail("repeats has " + std::to_string(repeats.elements.size()) + " entries, the operand has rank " +
                      std::to_string(c.rank(0)),
                  "give one repeat count an axis");
  Dims dims;
  for (size_t d = 0; d < repeats.elements.size(); ++d) {
    const SymExpr& r = repeats.elements[d];
    if (r.is_constant() && r.constant() < 0)
      return c.fail("repeats has the negative entry " + r.text(), "repeat counts must be 0 or more");
    dims.push_back(c.dims(0)[d] * r);
  }
  c.set(0, c.dtype(0), std::move(dims));
  const SymTensor* content = c.content(0);
  if (content && content->rank == 1 && repeats.elements[0].is_constant()) {
    const int64_t n =
        saturating_multiply(repeats.elements[0].constant(), static_cast<int64_t>(content->elements.size()));
    if (n <= kMaxSymElements) {
      SymTensor s{1, {}};
      for (int64_t i = 0; i < n; ++i)
        s.elements.push_back(content->elements[static_cast<size_t>(i) % content->elements.size()]);
      c.set_content(0, std::move(s));
    }
  } else {
    pass_content(c);
  }
  return {};
}

// Each axis of the result is (repeat, extent) with a zero stride for the repeat.
void eval_tile(EvalContext& c) {
  const auto& in = c.in[0]->shape();
  const auto& out = c.out[0].shape();
  const std::vector<int64_t> si = strides_of(in), so = strides_of(out);
  std::vector<int64_t> extents;
  StridedSide to, from;
  for (size_t d = 0; d < in.size(); ++d) {
    if (in[d] == 0) return;
    extents.insert(extents.end(), {out[d] / in[d], in[d]});
    to.strides.insert(to.strides.end(), {so[d] * in[d], so[d]});
    from.strides.insert(from.strides.end(), {0, si[d]});
  }
  strided_copy(extents, c.out[0], to, *c.in[0], from);
}

Expr define_tile(DefineContext& c, size_t, Index index) {
  std::vector<Expr> at;
  for (size_t d = 0; d < index.size(); ++d) {
    const SymExpr &in = c.dims(0)[d], &out = c.out_types[0]->dims[d];
    at.push_back(in.is(1) ? loop::index(0) : in == out ? index[d] : mod(index[d], loop::from_sym(in)));
  }
  return c.in(0, at);
}

// ---- DepthToSpace, SpaceToDepth -----------------------------------------------------------------------------

Status check_block(InferContext& c) {
  const int64_t b = c.attrs.integer("blocksize");
  if (b < 1)
    return c.fail("blocksize is " + std::to_string(b) + ", expected 1 or more",
                  "blocksize is the side of the square that one pixel becomes");
  if (b > 1 << 20) return c.fail("blocksize " + std::to_string(b) + " is too large");
  if (c.rank(0) != 4)
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 4", "the operand is [N,C,H,W]");
  const std::string mode = c.attrs.string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return c.fail("mode is \"" + mode + "\"", "mode is DCR or CRD");
  return {};
}

Status infer_depth_to_space(InferContext& c) {
  FCC_CHECKED(check_block(c));
  const int64_t b = c.attrs.integer("blocksize");
  const Dims& x = c.dims(0);
  if (x[1].is_constant() && x[1].constant() % (b * b) != 0)
    return c.fail(
        x[1].text() + " channels cannot be spread over squares of " + std::to_string(b) + "x" + std::to_string(b),
        "the number of channels must be a multiple of blocksize squared, " + std::to_string(b * b));
  assume_equal(c, floordiv(x[1], b * b) * (b * b), x[1]);
  c.set(0, c.dtype(0), {x[0], floordiv(x[1], b * b), x[2] * b, x[3] * b});
  return {};
}

Status infer_space_to_depth(InferContext& c) {
  FCC_CHECKED(check_block(c));
  const int64_t b = c.attrs.integer("blocksize");
  const Dims& x = c.dims(0);
  for (size_t d : {2, 3}) {
    if (x[d].is_constant() && x[d].constant() % b != 0)
      return c.fail("extent " + x[d].text() + " is no multiple of blocksize " + std::to_string(b),
                    "height and width must be multiples of blocksize");
    assume_equal(c, floordiv(x[d], b) * b, x[d]);
  }
  c.set(0, c.dtype(0), {x[0], x[1] * (b * b), floordiv(x[2], b), floordiv(x[3], b)});
  return {};
}

// Which comes first in the depth: block, then channel (DCR), or channel, then block (CRD).
bool channel_first(const Attrs& attrs) {
  return attrs.string("mode", "DCR") == "CRD";
}

// Strides, for index (n, c, h, i, w, j), into the side with depth (blocks are channels) and into the one with
// space (blocks are pixels).
StridedSide depth_side(std::span<const int64_t> shape, int64_t b, bool crd) {
  const std::vector<int64_t> s = strides_of(shape);
  const int64_t channels = shape[1] / (b * b), step = crd ? 1 : channels;
  return {0, {s[0], s[1] * (crd ? b * b : 1), s[2], s[1] * step * b, s[3], s[1] * step}};
}
StridedSide space_side(std::span<const int64_t> shape, int64_t b) {
  const std::vector<int64_t> s = strides_of(shape);
  return {0, {s[0], s[1], s[2] * b, s[2], s[3] * b, s[3]}};
}

void eval_depth_to_space(EvalContext& c) {
  const int64_t b = c.attrs.integer("blocksize");
  const auto& out = c.out[0].shape();
  const std::vector<int64_t> extents{out[0], out[1], out[2] / b, b, out[3] / b, b};
  strided_copy(extents, c.out[0], space_side(out, b), *c.in[0],
               depth_side(c.in[0]->shape(), b, channel_first(c.attrs)));
}

void eval_space_to_depth(EvalContext& c) {
  const int64_t b = c.attrs.integer("blocksize");
  const auto& in = c.in[0]->shape();
  const std::vector<int64_t> extents{in[0], in[1], in[2] / b, b, in[3] / b, b};
  strided_copy(extents, c.out[0], depth_side(c.out[0].shape(), b, channel_first(c.attrs)), *c.in[0], space_side(in, b));
}

Expr define_depth_to_space(DefineContext& c, size_t, Index index) {
  const int64_t b = c.attrs->integer("blocksize");
  const Expr side = loop::index(b), i = mod(index[2], side), j = mod(index[3], side);
  const Expr block = i * b + j;
  const Expr channel =
      channel_first(*c.attrs) ? index[1] * (b * b) + block : block * loop::from_sym(c.out_types[0]->dims[1]) + index[1];
  const std::vector<Expr> at{index[0], channel, floordiv(index[2], side), floordiv(index[3], side)};
  return c.in(0, at);
}

Expr define_space_to_depth(DefineContext& c, size_t, Index index) {
  const int64_t b = c.attrs->integer("blocksize");
  const bool crd = channel_first(*c.attrs);
  const Expr cut = crd ? loop::index(b * b) : c.dim(0, 1), high = floordiv(index[1], cut), low = mod(index[1], cut);
  const Expr &channel = crd ? high : low, &block = crd ? low : high;
  const std::vector<Expr> at{index[0], channel, index[2] * b + floordiv(block, loop::index(b)),
                             index[3] * b + mod(block, loop::index(b))};
  return c.in(0, at);
}

// ---- Trilu --------------------------------------------------------------------------------------------------

Status infer_trilu(InferContext& c) {
  if (c.rank(0) < 2)
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 2 or more",
                  "the last two axes are the matrix");
  if (c.has(1) && !c.type(1).elements().is(1)) return c.fail("k must be one number", "k is the diagonal, a scalar");
  c.set(0, c.type(0));
  return {};
}

void eval_trilu(EvalContext& c) {
  const int64_t k = c.has(1) ? c.in[1]->get_int(0) : 0;
  const bool upper = c.attrs.flag("upper", true);
  const auto& shape = c.out[0].shape();
  const int64_t cols = shape.back(), rows = shape[shape.size() - 2], bytes = byte_size(c.out[0].dtype());
  if (c.out[0].empty()) return;
  for (int64_t r = 0; r < c.out[0].elements() / cols; ++r) {
    // Saturated so that no k overflows: the first column on or above the diagonal, or behind it.
    const int64_t diagonal = std::clamp<int64_t>(saturating_add(saturating_add(r % rows, k), upper ? 0 : 1), 0, cols);
    const int64_t lo = upper ? diagonal : 0, hi = upper ? cols : diagonal;
    std::memcpy(c.out[0].raw() + (r * cols + lo) * bytes, c.in[0]->raw() + (r * cols + lo) * bytes,
                static_cast<size_t>((hi - lo) * bytes));
  }
}

Expr define_trilu(DefineContext& c, size_t, Index index) {
  const Expr &row = index[index.size() - 2], &col = index.back();
  const Expr k = c.has(1) ? c.element(1, 0) : loop::index(0);
  const Expr keep = c.attrs->flag("upper", true) ? loop::ge(col - row, k) : loop::ge(k, col - row);
  return c.in_guarded(0, index, keep, loop::constant(loop::compute_type(c.dtype(0)), 0));
}

// ---- gradients ----------------------------------------------------------------------------------------------

using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;

Gradients grad_transpose(GradBuilder& b, const Node& n, Dy) {
  const std::vector<int64_t> perm = permutation(n.attrs, b.in_type(0).rank());
  std::vector<int64_t> back(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) back[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  b.give(0, [&] { return b.transpose(b.dy(), back); });
  return b.done();
}

// Sums over every repeat: an axis that is q times as long as the operand's is seen as [q, extent]. An open extent that
// may be 1 while running is covered by the same view.
Gradients grad_repeated(GradBuilder& b, const Node&, Dy) {
  const Dims own = b.dims(0), wide = b.dy().type().dims;
  const size_t lead = wide.size() - own.size();
  Dims split;
  std::vector<int64_t> repeats;
  for (size_t d = 0; d < wide.size(); ++d) {
    const SymExpr extent = d < lead ? SymExpr(1) : own[d - lead];
    if (!(extent == wide[d])) {
      repeats.push_back(static_cast<int64_t>(split.size()));
      split.push_back(extent.is(1) ? wide[d] : floordiv(wide[d], extent));
    }
    if (d >= lead) split.push_back(extent);
  }
  b.give(0, [&] { return b.reshape(b.sum(b.reshape(b.dy(), split), repeats, false), own); });
  return b.done();
}

template <bool to_depth>
Gradients grad_depth(GradBuilder& b, const Node& n, Dy) {
  b.give(0, [&] { return b.node(to_depth ? "SpaceToDepth" : "DepthToSpace", {b.dy()}, n.attrs); });
  return b.done();
}

Gradients grad_trilu(GradBuilder& b, const Node& n, Dy) {
  b.give(0, [&] { return b.node("Trilu", n.in.size() > 1 ? std::vector<Term>{b.dy(), b.in(1)} : std::vector<Term>{b.dy()}, n.attrs); });
  return b.done();
}

}  // namespace

void register_movement(Registry& r) {
  const AttrSpec blocksize{"blocksize", AttrType::integer, true}, mode{"mode", AttrType::string};
  r.add({.name = "Transpose",
         .doc = "axes in another order",
         .attrs = {{"perm", AttrType::integers}},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_transpose,
         .eval = eval_transpose,
         .define = define_transpose,
         .grad = grad_transpose});
  r.add({.name = "Expand",
         .doc = "broadcast to a shape",
         .in = {2, 2},
         .out = {1, 1},
         .movement = true,
         .shape_operands = {1},
         .infer = infer_expand,
         .eval = eval_expand,
         .define = define_expand,
         .grad = grad_repeated});
  r.add({.name = "Tile",
         .doc = "repeat along each axis",
         .in = {2, 2},
         .out = {1, 1},
         .movement = true,
         .shape_operands = {1},
         .infer = infer_tile,
         .eval = eval_tile,
         .define = define_tile,
         .grad = grad_repeated});
  r.add({.name = "DepthToSpace",
         .doc = "channels become squares of pixels",
         .attrs = {blocksize, mode},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_depth_to_space,
         .eval = eval_depth_to_space,
         .define = define_depth_to_space,
         .grad = grad_depth<true>});
  r.add({.name = "SpaceToDepth",
         .doc = "squares of pixels become channels",
         .attrs = {blocksize, mode},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_space_to_depth,
         .eval = eval_space_to_depth,
         .define = define_space_to_depth,
         .grad = grad_depth<false>});
  r.add({.name = "Trilu",
         .doc = "upper or lower triangle of matrices, 0 elsewhere",
         .attrs = {{"upper", AttrType::integer}},
         .in = {1, 2},
         .out = {1, 1},
         .movement = true,
         .infer = infer_trilu,
         .eval = eval_trilu,
         .define = define_trilu,
         .grad = grad_trilu});
}

}  // namespace fcc
