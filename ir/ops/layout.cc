// Packing nodes: PackC16 UnpackC16 PackGemmB PackConvWeight PackVector. The rules are in layout.h.
#include "ir/ops/layout.h"

#include <algorithm>
#include <cstring>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/movement.h"
#include "ir/ops/shape.h"

namespace fcc {

using loop::Expr;
using Index = std::span<const Expr>;

ConvPacking::ConvPacking(int64_t out_channels, int64_t in_per_group, int64_t groups, int64_t nr)
    : out_channels(out_channels),
      groups(groups),
      nr(nr),
      depthwise(groups == out_channels && in_per_group == 1 && groups > 1) {}

int64_t ConvPacking::block(int64_t k) const {
  return tail ? std::min(k / nr, blocks() - 1) : contiguous() ? k / nr : k / out_per_group() * blocks_per_group() + k % out_per_group() / nr;
}
int64_t ConvPacking::lane(int64_t k) const {
  return tail ? k - block(k) * nr : (contiguous() ? k : k % out_per_group()) % nr;
}

Expr ConvPacking::block(const Expr& k) const {
  if (tail) return loop::min(floordiv(k, loop::index(nr)), loop::index(blocks() - 1));
  if (contiguous()) return floordiv(k, loop::index(nr));
  const Expr n = loop::index(out_per_group());
  return floordiv(k, n) * blocks_per_group() + floordiv(mod(k, n), loop::index(nr));
}
Expr ConvPacking::lane(const Expr& k) const {
  if (tail) return k - block(k) * nr;
  return mod(contiguous() ? k : mod(k, loop::index(out_per_group())), loop::index(nr));
}

namespace {

Expr zero_of(DType t) {
  return loop::constant(loop::compute_type(t), 0);
}

// Operand 0 at `at`, or 0 where e reaches its extent: no guard when the extent is a multiple of the block.
Expr load_below(DefineContext& c, Index at, const Expr& e, const SymExpr& extent, int64_t block) {
  if (mod(extent, block).is(0)) return c.in(0, at);
  return c.in_guarded(0, at, loop::lt(e, loop::from_sym(extent)), zero_of(c.dtype(0)));
}

Status check_nr(InferContext& c) {
  const int64_t nr = c.attrs.integer("nr");
  if (nr >= 1 && nr <= 1 << 16) return {};
  return c.fail("nr is " + std::to_string(nr), "nr is the width of a packed block, a multiple of 16");
}

// ---- PackC16, UnpackC16 -------------------------------------------------------------------------------------

Status infer_pack_c16(InferContext& c) {
  if (c.rank(0) < 2)
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 2 or more",
                  "the operand is [N,C,...]");
  Dims dims = c.dims(0);
  dims[1] = ceildiv(dims[1], kChannelBlock);
  dims.push_back(kChannelBlock);
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

// Copies between plain [N,C,S] and blocked [N,B,S,16], channel blocks one by one, the last one partly.
void copy_blocks(Tensor& to, const Tensor& from, std::span<const int64_t> plain, bool pack) {
  const int64_t n = plain[0], channels = plain[1], spatial = product(plain.subspan(2)),
                blocks = (channels + kChannelBlock - 1) / kChannelBlock;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t lanes = std::min(kChannelBlock, channels - b * kChannelBlock);
    const std::vector<int64_t> extents{n, spatial, lanes};
    const StridedSide blocked{b * spatial * kChannelBlock, {blocks * spatial * kChannelBlock, kChannelBlock, 1}};
    const StridedSide flat{b * kChannelBlock * spatial, {channels * spatial, 1, spatial}};
    strided_copy(extents, to, pack ? blocked : flat, from, pack ? flat : blocked);
  }
}

void eval_pack_c16(EvalContext& c) {
  copy_blocks(c.out[0], *c.in[0], c.in[0]->shape(), true);
}

Expr define_pack_c16(DefineContext& c, size_t, Index index) {
  std::vector<Expr> at(index.begin(), index.end() - 1);
  at[1] = index[1] * kChannelBlock + index.back();
  return load_below(c, at, at[1], c.dims(0)[1], kChannelBlock);
}

Status infer_unpack_c16(InferContext& c) {
  const int64_t channels = c.attrs.integer("channels");
  if (c.rank(0) < 3 || !c.dims(0).back().is(kChannelBlock))
    return c.fail("the operand is not blocked", "the operand is [N,ceil(C/16),...,16]");
  const SymExpr blocks = c.dims(0)[1];
  if (channels < 0 || (blocks.is_constant() && ceildiv(channels, kChannelBlock) != blocks))
    return c.fail(std::to_string(channels) + " channels do not fill " + blocks.text() + " blocks of 16");
  Dims dims(c.dims(0).begin(), c.dims(0).end() - 1);
  dims[1] = channels;
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

void eval_unpack_c16(EvalContext& c) {
  copy_blocks(c.out[0], *c.in[0], c.out[0].shape(), false);
}

Expr define_unpack_c16(DefineContext& c, size_t, Index index) {
  std::vector<Expr> at(index.begin(), index.end());
  at[1] = floordiv(index[1], loop::index(kChannelBlock));
  at.push_back(mod(index[1], loop::index(kChannelBlock)));
  return c.in(0, at);
}

// ---- PackGemmB ----------------------------------------------------------------------------------------------

Status infer_pack_gemm_b(InferContext& c) {
  FCC_CHECKED(check_nr(c));
  if (c.rank(0) < 2)
    return c.fail("the operand has rank " + std::to_string(c.rank(0)) + ", expected 2 or more",
                  "the operand is [...,K,N]");
  Dims dims = c.dims(0);
  if (c.attrs.flag("trans")) std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
  const SymExpr n = dims.back(), k = dims[dims.size() - 2];
  dims[dims.size() - 2] = ceildiv(n, c.attrs.integer("nr"));
  dims.back() = k;
  dims.push_back(c.attrs.integer("nr"));
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

void eval_pack_gemm_b(EvalContext& c) {
  const auto& in = c.in[0]->shape();
  const bool trans = c.attrs.flag("trans");
  const int64_t nr = c.attrs.integer("nr"), last = in.back(), before = in[in.size() - 2];
  const int64_t k = trans ? last : before, n = trans ? before : last,
                batch = k > 0 && n > 0 ? c.in[0]->elements() / (k * n) : 0;
  const int64_t blocks = (n + nr - 1) / nr;
  for (int64_t b = 0; b < blocks; ++b) {
    const std::vector<int64_t> extents{batch, k, std::min(nr, n - b * nr)};
    const StridedSide from{b * nr * (trans ? k : 1), {k * n, trans ? 1 : n, trans ? k : 1}};
    strided_copy(extents, c.out[0], {b * k * nr, {blocks * k * nr, nr, 1}}, *c.in[0], from);
  }
}

Expr define_pack_gemm_b(DefineContext& c, size_t, Index index) {
  const size_t rank = c.dims(0).size();
  const bool trans = c.attrs->flag("trans");
  const int64_t nr = c.attrs->integer("nr");
  const Expr n = index[rank - 2] * nr + index[rank];
  std::vector<Expr> at(index.begin(), index.begin() + static_cast<int64_t>(rank) - 2);
  at.push_back(trans ? n : index[rank - 1]);
  at.push_back(trans ? index[rank - 1] : n);
  return load_below(c, at, n, c.dims(0)[rank - (trans ? 2 : 1)], nr);
}

// ---- PackConvWeight -----------------------------------------------------------------------------------------

ConvPacking packing_of(const Attrs& attrs, const SymExpr& out_channels, const SymExpr& in_per_group) {
  ConvPacking p{out_channels.constant(), in_per_group.constant(), attrs.integer("group", 1), attrs.integer("nr")};
  p.tail = attrs.integer("tail", 0);
  return p;
}

Status infer_pack_conv_weight(InferContext& c) {
  FCC_CHECKED(check_nr(c));
  const Dims& w = c.dims(0);
  if (w.size() < 3 || !c.type(0).is_static()) return c.fail("the weight must be [K,C,k...] with known extents");
  const int64_t group = c.attrs.integer("group", 1);
  if (group < 1 || w[0].constant() % group != 0)
    return c.fail(w[0].text() + " output channels cannot be split into " + std::to_string(group) + " groups");
  const ConvPacking p = packing_of(c.attrs, w[0], w[1]);
  Dims dims = w;
  const bool mirrored = c.attrs.flag("mirrored");
  if (mirrored && (group != 1 || p.tail)) return c.fail("a mirrored weight has neither groups nor a tail");
  if (mirrored) std::swap(dims[0], dims[1]);
  dims[0] = p.tail ? 1 : mirrored ? packing_of(c.attrs, w[1], w[0]).blocks() : p.blocks();
  if (p.tail && !p.tail_fits()) return c.fail("the last panel cannot have " + std::to_string(p.tail) + " lanes");
  if (p.tail) dims[1] = w[1].constant() * p.lanes();
  dims.push_back(p.tail ? 1 : p.nr);
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

// Packs w[c,k,-t] as the weight [k,c,t].
void eval_pack_mirrored(EvalContext& c) {
  const Dims w = c.in[0]->type().dims;
  const ConvPacking p = packing_of(c.attrs, w[1], w[0]);
  const int64_t channels = w[0].constant(), taps = channels && p.out_channels ? c.in[0]->elements() / (channels * p.out_channels) : 0;
  for (int64_t k = 0; k < p.out_channels; ++k)
    for (int64_t ci = 0; ci < channels; ++ci)
      for (int64_t t = 0; t < taps; ++t)
        c.out[0].set_double(((p.block(k) * channels + ci) * taps + t) * p.nr + p.lane(k),
                            c.in[0]->get_double((ci * p.out_channels + k) * taps + taps - 1 - t));
}

void eval_pack_conv_weight(EvalContext& c) {
  if (c.attrs.flag("mirrored")) return eval_pack_mirrored(c);
  const Dims w = c.in[0]->type().dims;
  const ConvPacking p = packing_of(c.attrs, w[0], w[1]);
  const int64_t row = p.out_channels ? c.in[0]->elements() / p.out_channels : 0;  // weights of one output channel
  const std::vector<int64_t> extents{row};
  for (int64_t k = 0; k < p.out_channels; ++k)
    strided_copy(extents, c.out[0], {p.position(k, row, 0), {p.width(p.block(k))}}, *c.in[0], {k * row, {1}});
}

// The other way round: from the place in the packed weight to channel, input channel and tap.
Expr define_packed_tail(DefineContext& c, const ConvPacking& p, Index index) {
  const Dims& w = c.dims(0);
  Expr flat = index[1], taps = loop::index(1);
  for (size_t d = 2; d < w.size(); ++d) {
    flat = flat * w[d].constant() + index[d];
    taps = taps * w[d].constant();
  }
  const int64_t last = p.blocks() - 1;
  const Expr row = taps * w[1].constant(), panel = loop::min(floordiv(flat, row * p.nr), loop::index(last)), in_panel = flat - panel * (row * p.nr);
  const Expr width = loop::select(loop::eq(panel, loop::index(last)), loop::index(p.tail), loop::index(p.nr));
  const Expr k = panel * p.nr + mod(in_panel, width);
  Expr rest = floordiv(in_panel, width);
  std::vector<Expr> at(w.size());
  at[0] = k;
  for (size_t d = w.size() - 1; d >= 1; --d) {
    at[d] = mod(rest, loop::index(w[d].constant()));
    rest = floordiv(rest, loop::index(w[d].constant()));
  }
  return load_below(c, at, k, p.out_channels, p.lanes());
}

Expr define_pack_conv_weight(DefineContext& c, size_t, Index index) {
  if (c.attrs->flag("mirrored")) {
    const Dims w = c.dims(0);
    const ConvPacking packing = packing_of(*c.attrs, w[1], w[0]);
    std::vector<Expr> from{index[1], index[0] * packing.nr + index.back()};
    for (size_t d = 2; d < w.size(); ++d) from.push_back(loop::index(w[d].constant() - 1) - index[d]);
    return load_below(c, from, from[1], packing.out_channels, packing.nr);
  }
  const ConvPacking p = packing_of(*c.attrs, c.dims(0)[0], c.dims(0)[1]);
  std::vector<Expr> at(index.begin(), index.end() - 1);
  if (p.tail) return define_packed_tail(c, p, index);
  if (p.contiguous()) {
    at[0] = index[0] * p.nr + index.back();
    return load_below(c, at, at[0], p.out_channels, p.nr);
  }
  const Expr per_group = loop::index(p.blocks_per_group());
  const Expr in_group = mod(index[0], per_group) * p.nr + index.back();
  at[0] = floordiv(index[0], per_group) * p.out_per_group() + in_group;
  return load_below(c, at, in_group, p.out_per_group(), p.nr);
}

// ---- PackVector ---------------------------------------------------------------------------------------------

Status infer_pack_vector(InferContext& c) {
  const int64_t n = c.attrs.integer("n");
  if (c.rank(0) != 1 || (c.dims(0)[0].is_constant() && c.dims(0)[0].constant() > n))
    return c.fail("the operand does not fit into " + std::to_string(n) + " elements",
                  "the operand is a vector of at most n elements");
  c.set(0, c.dtype(0), {n});
  return {};
}

void eval_pack_vector(EvalContext& c) {
  std::memcpy(c.out[0].raw(), c.in[0]->raw(), static_cast<size_t>(c.in[0]->bytes()));
}

Expr define_pack_vector(DefineContext& c, size_t, Index index) {
  if (c.dims(0)[0].is(c.attrs->integer("n"))) return c.in(0, index);
  return c.in_guarded(0, index, loop::lt(index[0], c.dim(0, 0)), zero_of(c.dtype(0)));
}

void add(Registry& r, std::string_view name, std::string_view doc, std::vector<AttrSpec> attrs,
         Status (*infer)(InferContext&), void (*eval)(EvalContext&), Expr (*define)(DefineContext&, size_t, Index)) {
  r.add({.name = name,
         .doc = doc,
         .attrs = std::move(attrs),
         .in = {1, 1},
         .out = {1, 1},
         .movement = true,
         .infer = infer,
         .eval = eval,
         .define = define,
         .no_grad = "passes make it after gradients are taken"});
}

}  // namespace

void register_layout(Registry& r) {
  const AttrSpec nr{"nr", AttrType::integer, true};
  add(r, "PackC16", "[N,C,...] to blocks of 16 channels [N,ceil(C/16),...,16]", {}, infer_pack_c16, eval_pack_c16,
      define_pack_c16);
  add(r, "UnpackC16", "blocks of 16 channels back to [N,C,...]", {{"channels", AttrType::integer, true}},
      infer_unpack_c16, eval_unpack_c16, define_unpack_c16);
  add(r, "PackGemmB", "matrix to column panels of nr", {nr, {"trans", AttrType::integer}}, infer_pack_gemm_b,
      eval_pack_gemm_b, define_pack_gemm_b);
  add(r, "PackConvWeight", "convolution weight to panels of nr output channels; mirrored: with its channels exchanged and its taps in reverse",
      {nr, {"group", AttrType::integer}, {"mirrored", AttrType::integer}, {"tail", AttrType::integer}},
      infer_pack_conv_weight, eval_pack_conv_weight, define_pack_conv_weight);
  add(r, "PackVector", "vector with zeros appended", {{"n", AttrType::integer, true}}, infer_pack_vector,
      eval_pack_vector, define_pack_vector);
}

}  // namespace fcc
