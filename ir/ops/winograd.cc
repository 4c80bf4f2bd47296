// PackWinogradWeight, WinogradConv. The rules are in winograd.h.
#include "ir/ops/winograd.h"

#include <algorithm>

#include "ir/ops/conv_geometry.h"
#include "ir/ops/shape.h"

namespace fcc {

using loop::Expr;
using loop::ReduceOp;
using Index = std::span<const Expr>;

namespace {

// Coefficients of the product of (x - p) over all points but the one left out (-1: none), lowest degree first.
std::vector<double> product_without(std::span<const double> points, int64_t left_out) {
  std::vector<double> c{1};
  for (int64_t j = 0; j < static_cast<int64_t>(points.size()); ++j) {
    if (j == left_out) continue;
    c.insert(c.begin(), 0.0);
    for (size_t i = 0; i + 1 < c.size(); ++i) c[i] -= points[static_cast<size_t>(j)] * c[i + 1];
  }
  return c;
}

WinogradMatrices make_matrices(std::span<const double> points) {
  WinogradMatrices w;
  const auto finite = static_cast<int64_t>(points.size());
  w.alpha = finite + 1;
  w.m = w.alpha - 2;
  std::array<double, WinogradMatrices::kMaxAlpha> f{};
  for (int64_t k = 0; k < w.alpha; ++k) {
    const bool infinity = k == finite;
    const auto row = static_cast<size_t>(k);
    const std::vector<double> b = product_without(points, infinity ? -1 : k);
    std::copy(b.begin(), b.end(), w.bt[row].begin());
    double power = 1;
    f[row] = 1;
    for (int64_t j = 0; j < finite && !infinity; ++j)
      if (j != k) f[row] *= points[row] - points[static_cast<size_t>(j)];
    for (int64_t i = 0; i < w.m; ++i, power *= infinity ? 0 : points[row])
      w.at[static_cast<size_t>(i)][row] = infinity ? i == w.m - 1 : power;
    power = 1;
    for (size_t i = 0; i < 3; ++i, power *= infinity ? 0 : points[row])
      w.g[row][i] = infinity ? i == 2 : power / f[row];
  }
  // Points 0, 1, -1 and infinity come first and last: w(0), w(1) - w(-1), w(infinity) give the coefficients.
  w.recover[0][0] = f[0];
  w.recover[1][1] = f[1] / 2;
  w.recover[1][2] = -f[2] / 2;
  w.recover[2][static_cast<size_t>(finite)] = 1;
  return w;
}

}  // namespace

const WinogradMatrices& winograd_matrices(int64_t m) {
  static constexpr double kPoints4[] = {0, 1, -1, 0.5, -2}, kPoints2[] = {0, 1, -1};
  static const WinogradMatrices four = make_matrices(kPoints4), two = make_matrices(kPoints2);
  FCC_CHECK(m == 2 || m == 4, "F({},3)", m);
  return m == 4 ? four : two;
}

ConvPacking winograd_packing(const Attrs& attrs, int64_t in_per_group) {
  ConvPacking p{attrs.integer("out_channels"), in_per_group, attrs.integer("group", 1), attrs.integer("nr")};
  p.tail = attrs.integer("tail", 0);
  return p;
}

namespace {

Status check_m(InferContext& c) {
  const int64_t m = c.attrs.integer("m");
  if (m == 2 || m == 4) return {};
  return c.fail("m is " + std::to_string(m), "there are F(2,3) and F(4,3)");
}

// ---- PackWinogradWeight -------------------------------------------------------------------------------------

ConvPacking weight_packing(const Attrs& attrs, const Dims& w) {
  const bool mirrored = attrs.flag("mirrored");  // the operand is [C,K,3,3] with its taps in reverse
  ConvPacking p{w[mirrored].constant(), w[!mirrored].constant(), attrs.integer("group", 1), attrs.integer("nr")};
  p.tail = attrs.integer("tail", 0);
  return p;
}

// Extents of the transformed weight: with a tail the panels of a position follow each other, [C, width] each.
Dims transformed_dims(const ConvPacking& p, int64_t alpha, const SymExpr& channels) {
  return {alpha * alpha, p.tail ? 1 : p.blocks(), channels, p.tail ? p.lanes() : p.nr};
}

// The element of the transformed weight at a position, panel, input channel and lane.
std::vector<Expr> transformed_place(const ConvPacking& p, int64_t channels, const Expr& position, const Expr& block, const Expr& ci, const Expr& lane) {
  if (!p.tail) return {position, block, ci, lane};
  const Expr width = loop::select(loop::eq(block, loop::index(p.blocks() - 1)), loop::index(p.tail), loop::index(p.nr));
  const Expr flat = block * (channels * p.nr) + ci * width + lane, lanes = loop::index(p.lanes());
  return {position, loop::index(0), floordiv(flat, lanes), mod(flat, lanes)};
}

Status infer_pack(InferContext& c) {
  FCC_CHECKED(check_m(c));
  const Dims& w = c.dims(0);
  if (w.size() != 4 || !c.type(0).is_static() || !w[2].is(3) || !w[3].is(3) || !is_float(c.dtype(0)))
    return c.fail("the weight must be [K,C,3,3] with known extents");
  const int64_t group = c.attrs.integer("group", 1), nr = c.attrs.integer("nr"), alpha = c.attrs.integer("m") + 2;
  if (group < 1 || w[0].constant() % group != 0 || nr < 1)
    return c.fail(w[0].text() + " output channels cannot be split into " + std::to_string(group) + " groups");
  const bool mirrored = c.attrs.flag("mirrored");
  if (mirrored && (group != 1 || c.attrs.has("tail"))) return c.fail("a mirrored weight has neither groups nor a tail");
  const ConvPacking p = weight_packing(c.attrs, w);
  if (p.tail && !p.tail_fits()) return c.fail("the last panel cannot have " + std::to_string(p.tail) + " lanes");
  c.set(0, c.dtype(0), transformed_dims(p, alpha, w[mirrored ? 0 : 1]));
  return {};
}

// U[i][j] of one block and input channel for nr output channels at a time: t = G w, then t G^T, in double.
void transform_weights(const WinogradMatrices& f, const double* w, double* u, int64_t nr) {
  std::vector<double> t(static_cast<size_t>(f.alpha * 3 * nr));
  for (int64_t i = 0; i < f.alpha; ++i)
    for (int64_t b = 0; b < 3; ++b) {
      const auto& g = f.g[static_cast<size_t>(i)];
      double* to = t.data() + (i * 3 + b) * nr;
      for (int64_t l = 0; l < nr; ++l)
        to[l] = g[0] * w[b * nr + l] + g[1] * w[(3 + b) * nr + l] + g[2] * w[(6 + b) * nr + l];
    }
  for (int64_t i = 0; i < f.alpha; ++i)
    for (int64_t j = 0; j < f.alpha; ++j) {
      const auto& g = f.g[static_cast<size_t>(j)];
      const double* from = t.data() + i * 3 * nr;
      double* to = u + (i * f.alpha + j) * nr;
      for (int64_t l = 0; l < nr; ++l) to[l] = g[0] * from[l] + g[1] * from[nr + l] + g[2] * from[2 * nr + l];
    }
}

void eval_pack(EvalContext& c) {
  if (c.out[0].empty()) return;
  const WinogradMatrices& f = winograd_matrices(c.attrs.integer("m"));
  const std::vector<int64_t>& s = c.in[0]->shape();
  const ConvPacking p = weight_packing(c.attrs, c.in[0]->type().dims);
  const bool mirrored = c.attrs.flag("mirrored");
  const int64_t channels = s[mirrored ? 0 : 1], positions = f.alpha * f.alpha, blocks = p.blocks();
  const int64_t widest = std::max(p.nr, p.tail), plane = c.out[0].elements() / positions;
  std::vector<std::vector<int64_t>> members(static_cast<size_t>(blocks),
                                            std::vector<int64_t>(static_cast<size_t>(widest), -1));
  for (int64_t k = 0; k < p.out_channels; ++k) members[static_cast<size_t>(p.block(k))][static_cast<size_t>(p.lane(k))] = k;
  const bool plain = c.in[0]->dtype() == DType::f32;
  const std::span<const float> from = plain ? c.in[0]->as<float>() : std::span<const float>();
  const std::span<float> to = plain ? c.out[0].as<float>() : std::span<float>();
  std::vector<double> w(static_cast<size_t>(9 * widest)), u(static_cast<size_t>(positions * widest));
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t ci = 0; ci < channels; ++ci) {
      const int64_t nr = p.width(block);
      for (int64_t l = 0; l < nr; ++l) {
        const int64_t k = members[static_cast<size_t>(block)][static_cast<size_t>(l)];
        const int64_t at = (mirrored ? ci * p.out_channels + k : k * channels + ci) * 9;
        for (int64_t tap = 0; tap < 9; ++tap) {
          const int64_t i = at + (mirrored ? 8 - tap : tap);
          w[static_cast<size_t>(tap * nr + l)] = k < 0   ? 0
                                                   : plain ? from[static_cast<size_t>(i)]
                                                           : c.in[0]->get_double(i);
        }
      }
      transform_weights(f, w.data(), u.data(), nr);
      for (int64_t i = 0; i < positions; ++i)
        for (int64_t l = 0; l < nr; ++l) {
          const int64_t at = i * plane + block * channels * p.nr + ci * nr + l;
          const double value = u[static_cast<size_t>(i * nr + l)];
          plain ? void(to[static_cast<size_t>(at)] = static_cast<float>(value)) : c.out[0].set_double(at, value);
        }
    }
}

// ---- TransformWinogradWeight --------------------------------------------------------------------------------

Status infer_transform(InferContext& c) {
  FCC_CHECKED(check_m(c));
  const int64_t channels = c.attrs.integer("channels"), alpha = c.attrs.integer("m") + 2;
  const ConvPacking p = winograd_packing(c.attrs, channels);
  const Dims packed = p.tail ? Dims{1, channels * p.lanes(), 3, 3, 1} : Dims{p.blocks(), channels, 3, 3, p.nr};
  if (c.dtype(0) != DType::f32 || c.dims(0) != packed || p.nr < 1 || (p.tail && !p.tail_fits()))
    return c.fail("the weight is not that of PackConvWeight");
  c.set(0, DType::f32, transformed_dims(p, alpha, channels));
  return {};
}

void eval_transform(EvalContext& c) {
  const WinogradMatrices& f = winograd_matrices(c.attrs.integer("m"));
  const int64_t channels = c.attrs.integer("channels"), positions = f.alpha * f.alpha, plane = c.out[0].elements() / positions;
  const ConvPacking p = winograd_packing(c.attrs, channels);
  const std::span<const float> from = c.in[0]->as<float>();
  const std::span<float> to = c.out[0].as<float>();
  const auto widest = static_cast<size_t>(std::max(p.nr, p.tail));
  std::vector<double> w(9 * widest), u(static_cast<size_t>(positions) * widest);
  for (int64_t block = 0; block < p.blocks(); ++block)
    for (int64_t ci = 0; ci < channels; ++ci) {
      const int64_t nr = p.width(block), at = block * channels * p.nr + ci * nr;
      std::copy_n(from.begin() + 9 * at, 9 * nr, w.begin());
      transform_weights(f, w.data(), u.data(), nr);
      for (int64_t i = 0; i < positions; ++i)
        for (int64_t l = 0; l < nr; ++l) to[static_cast<size_t>(i * plane + at + l)] = static_cast<float>(u[static_cast<size_t>(i * nr + l)]);
    }
}

// A coefficient that depends on an index: a chain of selections.
Expr coefficient(const Expr& at, DType t, int64_t n, const std::function<double(int64_t)>& value) {
  Expr e = loop::constant(t, value(n - 1));
  for (int64_t i = n - 1; i-- > 0;) e = loop::select(loop::eq(at, loop::index(i)), loop::constant(t, value(i)), e);
  return e;
}

Expr define_pack(DefineContext& c, size_t, Index index) {
  const WinogradMatrices& f = winograd_matrices(c.attrs->integer("m"));
  const ConvPacking p = weight_packing(*c.attrs, c.dims(0));
  const DType t = loop::compute_type(c.dtype(0));
  const Expr i = floordiv(index[0], loop::index(f.alpha)), j = mod(index[0], loop::index(f.alpha));
  const Expr per_group = loop::index(p.contiguous() ? p.blocks() : p.blocks_per_group());
  const int64_t channels_per_group = p.contiguous() ? p.out_channels : p.out_per_group();
  Expr in_group = mod(index[1], per_group) * p.nr + index[3], ci = index[2];
  Expr k = floordiv(index[1], per_group) * channels_per_group + in_group;
  if (p.tail) {
    const Expr flat = index[2] * p.lanes() + index[3], panel_floats = loop::index(c.dims(0)[1].constant() * p.nr), last = loop::index(p.blocks() - 1);
    const Expr panel = loop::min(floordiv(flat, panel_floats), last), in_panel = flat - panel * panel_floats;
    const Expr width = loop::select(loop::eq(panel, last), loop::index(p.tail), loop::index(p.nr));
    ci = floordiv(in_panel, width);
    k = in_group = panel * p.nr + mod(in_panel, width);
  }
  const bool ragged = channels_per_group % (p.tail ? 8 : p.nr) != 0;
  const bool mirrored = c.attrs->flag("mirrored");
  auto weight = [&](int64_t a, int64_t b) {
    const std::vector<Expr> at = mirrored ? std::vector{ci, k, loop::index(2 - a), loop::index(2 - b)}
                                          : std::vector{k, ci, loop::index(a), loop::index(b)};
    return ragged ? c.in_guarded(0, at, loop::lt(in_group, loop::index(channels_per_group)), loop::constant(t, 0))
                  : c.in(0, at);
  };
  auto g = [&](const Expr& row, int64_t tap) {
    return coefficient(row, t, f.alpha,
                       [&](int64_t r) { return f.g[static_cast<size_t>(r)][static_cast<size_t>(tap)]; });
  };
  Expr sum;
  for (int64_t b = 0; b < 3; ++b) {
    Expr column;
    for (int64_t a = 0; a < 3; ++a) {
      const Expr term = g(i, a) * weight(a, b);
      column = column ? column + term : term;
    }
    sum = sum ? sum + g(j, b) * column : g(j, b) * column;
  }
  return sum;
}

// In double, as eval: what a library prepares when it is loaded has the bits that compiling would have given.
Expr define_transform(DefineContext& c, size_t, Index index) {
  const WinogradMatrices& f = winograd_matrices(c.attrs->integer("m"));
  const int64_t channels = c.attrs->integer("channels");
  const ConvPacking p = winograd_packing(*c.attrs, channels);
  const Expr i = floordiv(index[0], loop::index(f.alpha)), j = mod(index[0], loop::index(f.alpha));
  Expr block = index[1], ci = index[2], lane = index[3], width = loop::index(p.nr);
  if (p.tail) {
    const Expr flat = index[2] * p.lanes() + index[3], last = loop::index(p.blocks() - 1);
    block = loop::min(floordiv(flat, loop::index(channels * p.nr)), last);
    width = loop::select(loop::eq(block, last), loop::index(p.tail), width);
    const Expr inside = flat - block * (channels * p.nr);
    ci = floordiv(inside, width), lane = mod(inside, width);
  }
  auto weight = [&](int64_t a, int64_t b) {
    if (!p.tail) return loop::cast(DType::f64, c.in(0, std::vector<Expr>{block, ci, loop::index(a), loop::index(b), lane}));
    const Expr flat = (block * (channels * p.nr) + ci * width) * 9 + width * (a * 3 + b) + lane;
    const Expr row = floordiv(flat, loop::index(9)), tap = mod(flat, loop::index(9));
    return loop::cast(DType::f64, c.in(0, std::vector<Expr>{loop::index(0), row, floordiv(tap, loop::index(3)), mod(tap, loop::index(3)), loop::index(0)}));
  };
  auto g = [&](const Expr& row, size_t tap) {
    return coefficient(row, DType::f64, f.alpha, [&](int64_t r) { return f.g[static_cast<size_t>(r)][tap]; });
  };
  std::vector<Expr> t;
  for (int64_t b = 0; b < 3; ++b) t.push_back(g(i, 0) * weight(0, b) + g(i, 1) * weight(1, b) + g(i, 2) * weight(2, b));
  return loop::cast(DType::f32, g(j, 0) * t[0] + g(j, 1) * t[1] + g(j, 2) * t[2]);
}

// ---- WinogradConv -------------------------------------------------------------------------------------------

constexpr int64_t kKernel[] = {3, 3};

Status infer_conv(InferContext& c) {
  FCC_CHECKED(check_m(c));
  const Dims &x = c.dims(0), &u = c.dims(1);
  const int64_t alpha = c.attrs.integer("m") + 2;
  if (x.size() != 5 || !x[4].is(kChannelBlock)) return c.fail("x is not blocked", "x is [N,ceil(C/16),H,W,16]");
  if (u.size() != 4 || !c.type(1).is_static() || !u[0].is(alpha * alpha) ||
      u != transformed_dims(winograd_packing(c.attrs, u[2].constant()), alpha, u[2]))
    return c.fail("the weight is not that of PackWinogradWeight", "the weight is [alpha*alpha,blocks,C/group,nr]");
  if (c.dtype(0) != c.dtype(1) || !is_float(c.dtype(0))) return c.fail("x and weight differ in type");
  const int64_t groups = c.attrs.integer("group", 1), channels = c.attrs.integer("channels");
  if (groups < 1 || u[2].constant() * groups != channels ||
      (x[1].is_constant() && !x[1].is((channels + kChannelBlock - 1) / kChannelBlock)))
    return c.fail("the weight wants " + u[2].text() + " channels in each of " + std::to_string(groups) +
                  " groups, x has " + std::to_string(channels));
  const std::vector<SymExpr> in{x[2], x[3]};
  FCC_TRY(Window w, infer_window(c, in, kKernel));
  for (const WindowAxis& a : w)
    if (a.stride != 1 || a.dilation != 1)
      return c.fail("a stride or dilation above 1", "Winograd's transform wants both to be 1");
  c.set(0, c.dtype(0),
        {x[0], ceildiv(c.attrs.integer("out_channels"), kChannelBlock), w[0].out, w[1].out, kChannelBlock});
  return {};
}

Attrs conv_attrs(const Attrs& from) {
  Attrs attrs;
  for (std::string_view name : {"auto_pad", "pads", "group", "channels", "out_channels", "nr", "tail"})
    if (from.has(name)) attrs.set(name, *from.find(name));
  for (std::string_view name : {"blocked", "blocked_in", "blocked_out"}) attrs.set(name, int64_t{1});
  return attrs;
}

// The plain weights, packed as PackConvWeight does: exact but for one rounding of each transformed weight.
Tensor recovered_weights(const Tensor& u, const WinogradMatrices& f, const ConvPacking& p) {
  const int64_t blocks = p.blocks(), channels = u.shape()[2], plane = u.shape()[1] * channels * u.shape()[3];
  Tensor w = p.tail ? Tensor(DType::f64, {1, channels * p.lanes(), 3, 3, 1}) : Tensor(DType::f64, {blocks, channels, 3, 3, p.nr});
  const std::span<double> to = w.as<double>();
  const bool plain = u.dtype() == DType::f32;
  const std::span<const float> from = plain ? u.as<float>() : std::span<const float>();
  for (int64_t bc = 0; bc < blocks * channels; ++bc) {
    const int64_t block = bc / channels, nr = p.width(block), ci = bc % channels;
    const int64_t first = block * channels * p.nr + ci * nr, first_tap = block * channels * 9 * p.nr + ci * 9 * nr;
    for (int64_t tap = 0; tap < 9; ++tap)
      for (int64_t i = 0; i < f.alpha; ++i)
        for (int64_t j = 0; j < f.alpha; ++j) {
          const double r = f.recover[static_cast<size_t>(tap / 3)][static_cast<size_t>(i)] *
                           f.recover[static_cast<size_t>(tap % 3)][static_cast<size_t>(j)];
          if (r == 0) continue;
          for (int64_t l = 0; l < nr; ++l) {
            const int64_t at = (i * f.alpha + j) * plane + first + l;
            to[static_cast<size_t>(first_tap + tap * nr + l)] +=
                r * (plain ? from[static_cast<size_t>(at)] : u.get_double(at));
          }
        }
  }
  return w;
}

void eval_conv(EvalContext& c) {
  if (c.out[0].empty()) return;
  const ConvPacking p = winograd_packing(c.attrs, c.in[1]->shape()[2]);
  const Tensor weights = recovered_weights(*c.in[1], winograd_matrices(c.attrs.integer("m")), p);
  const Attrs attrs = conv_attrs(c.attrs);
  EvalContext plain{.op = op("Conv"), .attrs = attrs, .body = nullptr, .in = {c.in[0], &weights}, .out = {c.out[0]}};
  plain.op.eval(plain);
}

Expr define_conv(DefineContext& c, size_t, Index index) {
  const WinogradMatrices& f = winograd_matrices(c.attrs->integer("m"));
  const Dims &x = c.dims(0), &u = c.dims(1);
  const int64_t in_per_group = u[2].constant(), groups = c.attrs->integer("group", 1);
  const ConvPacking p = winograd_packing(*c.attrs, in_per_group);
  const std::vector<SymExpr> in{x[2], x[3]};
  Result<Window> w = window_of(*c.attrs, in, kKernel);
  FCC_CHECK(w, "{}", w.error().what);
  const DType t = loop::compute_type(c.dtype(0));
  const Expr k = loop::min(index[1] * kChannelBlock + index[4], loop::index(p.out_channels - 1));
  const Expr block = p.block(k), lane = p.lane(k);
  const Expr group = groups == 1 ? loop::index(0) : floordiv(k, loop::index(p.out_per_group()));
  auto weight = [&](const Expr& ci, size_t a, size_t b) {
    Expr sum;
    for (int64_t i = 0; i < f.alpha; ++i)
      for (int64_t j = 0; j < f.alpha; ++j) {
        const double r = f.recover[a][static_cast<size_t>(i)] * f.recover[b][static_cast<size_t>(j)];
        if (r == 0) continue;
        const std::vector<Expr> at = transformed_place(p, in_per_group, loop::index(i * f.alpha + j), block, ci, lane);
        const Expr term = c.in(1, at) * loop::constant(t, r);
        sum = sum ? sum + term : term;
      }
    return sum;
  };
  return c.reduce(ReduceOp::add, "c", loop::index(in_per_group), [&](Expr ci) {
    const Expr channel = group * in_per_group + ci;
    const std::vector<Expr> lead{index[0], floordiv(channel, loop::index(kChannelBlock))},
        trail{mod(channel, loop::index(kChannelBlock))};
    Expr sum;
    for (int64_t a = 0; a < 3; ++a)
      for (int64_t b = 0; b < 3; ++b) {
        const std::vector<Expr> from{window_position((*w)[0], index[2], loop::index(a)),
                                     window_position((*w)[1], index[3], loop::index(b))};
        const Expr term = window_load(c, 0, *w, lead, from, trail, loop::constant(t, 0)) *
                          weight(ci, static_cast<size_t>(a), static_cast<size_t>(b));
        sum = sum ? sum + term : term;
      }
    return sum;
  });
}

}  // namespace

void register_winograd(Registry& r) {
  OpDef transform{.name = "TransformWinogradWeight",
                  .doc = "the same from the weight as PackConvWeight packs it: what a compact library does when it is loaded",
                  .attrs = {{"m", AttrType::integer, true}, {"channels", AttrType::integer, true}, {"out_channels", AttrType::integer, true}},
                  .in = {1, 1},
                  .out = {1, 1},
                  .infer = infer_transform,
                  .eval = eval_transform,
                  .define = define_transform,
                  .no_grad = "passes make it after gradients are taken"};
  for (std::string_view name : {"nr", "group", "tail"}) transform.attrs.push_back({name, AttrType::integer, name == "nr"});
  r.add(std::move(transform));
  r.add({.name = "PackWinogradWeight",
         .doc = "G w G^T of a 3x3 convolution weight, in panels of nr output channels; mirrored as in PackConvWeight",
         .attrs = {{"m", AttrType::integer, true}, {"nr", AttrType::integer, true}, {"group", AttrType::integer}, {"mirrored", AttrType::integer}, {"tail", AttrType::integer}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_pack,
         .eval = eval_pack,
         .define = define_pack,
         .no_grad = "passes make it after gradients are taken"});
  std::vector<AttrSpec> attrs{{"m", AttrType::integer, true},    {"auto_pad", AttrType::string},
                              {"dilations", AttrType::integers}, {"kernel_shape", AttrType::integers},
                              {"pads", AttrType::integers},      {"strides", AttrType::integers}};
  for (std::string_view name : {"group", "blocked", "blocked_in", "blocked_out", "channels", "out_channels", "nr", "tail"})
    attrs.push_back({name, AttrType::integer});
  r.add({.name = "WinogradConv",
         .doc = "3x3 convolution of stride 1 over blocked channels by transformed weights",
         .attrs = attrs,
         .in = {2, 2},
         .out = {1, 1},
         .strategy = Strategy::window,
         .infer = infer_conv,
         .eval = eval_conv,
         .define = define_conv,
         .no_grad = "passes make it after gradients are taken"});
}

}  // namespace fcc
