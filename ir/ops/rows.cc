// Movement of whole rows, as transformers over images need it: Roll shifts axes around their ends (windows that wrap);
// PackC16FromRows and UnpackC16ToRows go between [N,H,W,C] and the blocked layout without the transpose between.
#include <algorithm>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using Index = std::span<const Expr>;

// ---- Roll: y[i] = x[(i + shift) mod extent] for each axis ---------------------------------------------------------

Status infer_roll(InferContext& c) {
  const std::vector<int64_t> shifts = c.attrs.integers("shifts");
  if (static_cast<int64_t>(shifts.size()) != c.rank(0)) return c.fail("wants a shift for every axis");
  for (size_t d = 0; d < shifts.size(); ++d)
    if (shifts[d] < 0 || (shifts[d] > 0 && (!c.dims(0)[d].is_constant() || shifts[d] >= c.dims(0)[d].constant())))
      return c.fail("shift " + std::to_string(shifts[d]) + " is outside of axis " + std::to_string(d));
  c.set(0, c.type(0));
  return {};
}

void eval_roll(EvalContext& c) {
  const std::vector<int64_t>& shape = c.out[0].shape();
  const std::vector<int64_t> shifts = c.attrs.integers("shifts");
  const int64_t bytes = byte_size(c.out[0].dtype());
  std::vector<int64_t> from(shape.size());
  int64_t at = 0;
  for_each_index(shape, [&](std::span<const int64_t> i) {
    for (size_t d = 0; d < shape.size(); ++d) from[d] = (i[d] + shifts[d]) % shape[d];
    std::copy_n(c.in[0]->raw() + flat_index(shape, from) * bytes, bytes, c.out[0].raw() + at++ * bytes);
  });
}

Expr define_roll(DefineContext& c, size_t, Index index) {
  const std::vector<int64_t> shifts = c.attrs->integers("shifts");
  std::vector<Expr> at(index.begin(), index.end());
  for (size_t d = 0; d < at.size(); ++d)
    if (shifts[d]) at[d] = loop::mod(at[d] + shifts[d], c.dim(0, d));
  return c.in(0, at);
}

// ---- rows and blocks ------------------------------------------------------------------------------------------------

Status infer_pack(InferContext& c) {
  if (c.rank(0) != 4) return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected [N,H,W,C]");
  const Dims& d = c.dims(0);
  c.set(0, c.dtype(0), {d[0], ceildiv(d[3], kChannelBlock), d[1], d[2], kChannelBlock});
  return {};
}
Status infer_unpack(InferContext& c) {
  const int64_t channels = c.attrs.integer("channels");
  if (c.rank(0) != 5 || !c.dims(0)[4].is(kChannelBlock)) return c.fail("the operand is not blocked");
  const Dims& d = c.dims(0);
  if (d[1].is_constant() && ceildiv(channels, kChannelBlock) != d[1])
    return c.fail(std::to_string(channels) + " channels do not fill " + d[1].text() + " blocks");
  c.set(0, c.dtype(0), {d[0], d[2], d[3], channels});
  return {};
}

// The element of the other side for every element of `rows`, in order.
template <class Visit>
void each_channel(const std::vector<int64_t>& rows, Visit visit) {
  const int64_t blocks = (rows[3] + kChannelBlock - 1) / kChannelBlock, area = rows[1] * rows[2];
  for (int64_t n = 0, at = 0; n < rows[0]; ++n)
    for (int64_t p = 0; p < area; ++p)
      for (int64_t ch = 0; ch < rows[3]; ++ch)
        visit(at++, ((n * blocks + ch / kChannelBlock) * area + p) * kChannelBlock + ch % kChannelBlock);
}
void eval_pack(EvalContext& c) {
  const int64_t bytes = byte_size(c.out[0].dtype());
  each_channel(c.in[0]->shape(), [&](int64_t row, int64_t block) {
    std::copy_n(c.in[0]->raw() + row * bytes, bytes, c.out[0].raw() + block * bytes);
  });
}
void eval_unpack(EvalContext& c) {
  const int64_t bytes = byte_size(c.out[0].dtype());
  each_channel(c.out[0].shape(), [&](int64_t row, int64_t block) {
    std::copy_n(c.in[0]->raw() + block * bytes, bytes, c.out[0].raw() + row * bytes);
  });
}

Expr define_pack(DefineContext& c, size_t, Index i) {
  const Expr channel = i[1] * kChannelBlock + i[4];
  const Expr at[] = {i[0], i[2], i[3], channel};
  if (mod(c.dims(0)[3], kChannelBlock).is(0)) return c.in(0, at);
  return c.in_guarded(0, at, loop::lt(channel, c.dim(0, 3)), loop::constant_int(loop::compute_type(c.dtype(0)), 0));
}
Expr define_unpack(DefineContext& c, size_t, Index i) {
  const Expr block = loop::index(kChannelBlock);
  const Expr at[] = {i[0], loop::floordiv(i[3], block), i[1], i[2], loop::mod(i[3], block)};
  return c.in(0, at);
}

}  // namespace

void register_rows(Registry& r) {
  r.add({.name = "Roll",
         .doc = "axes shifted around their ends",
         .attrs = {{"shifts", AttrType::integers, true}},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_roll,
         .eval = eval_roll,
         .define = define_roll,
         .no_grad = "passes make it after gradients are taken"});
  r.add({.name = "PackC16FromRows",
         .doc = "[N,H,W,C] in blocks of 16 channels",
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_pack,
         .eval = eval_pack,
         .define = define_pack,
         .no_grad = "passes make it after gradients are taken"});
  r.add({.name = "UnpackC16ToRows",
         .doc = "blocks of 16 channels as [N,H,W,C]",
         .attrs = {{"channels", AttrType::integer, true}},
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer_unpack,
         .eval = eval_unpack,
         .define = define_unpack,
         .no_grad = "passes make it after gradients are taken"});
}

}  // namespace fcc
