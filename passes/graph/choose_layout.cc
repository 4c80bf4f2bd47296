// Which values live in the blocked layout NCHW16c. Every 2-D convolution runs blocked; weights that are trained are packed
// when the step runs, all others while compiling. Operators between convolutions follow, so that inside of a CNN no
// reorder remains: PackC16 stands where a plain tensor enters, UnpackC16 where one leaves.
//
//   Conv(x, w, b)       → Conv{blocked}(x', PackConvWeight(w)) + b'
//                         WinogradConv{m}(x', PackWinogradWeight(w)) + b'   where ir/winograd_plan.h finds it cheaper
//     and Pack{mirrored}(w) for a mirrored w, that of the gradient of a convolution's input
//   f(UnpackC16(x'))    → UnpackC16(f'(x')) for pointwise f, pooling, Concat over channels, Resize, sums over pixels
//   ConvWeightGrad, MaxPoolGrad, AveragePoolGrad: on packed operands, as their forward operators
//
// A convolution with fewer than 16 input channels (a stem on 1 or 3) reads the plain tensor: padding 3 channels to 16
// would cost five times the arithmetic. Lanes past the channels hold finite junk: operators that could make it infinite
// (division, logarithm, ...) stay plain unless the channels fill whole blocks.
#include <algorithm>
#include <set>

#include "ir/op.h"
#include "ir/winograd_plan.h"
#include "passes/graph/mirrored_weight.h"
#include "passes/manager.h"

namespace fcc {
namespace {

constexpr int64_t kBlock = 16;

class LayoutChooser {
 public:
  LayoutChooser(Graph& g, PassContext& context) : g_(g), context_(context), target_(context.target), winograd_(context.winograd) {}

  Result<bool> run() {
    for (NodeId id : g_.order()) {
      const Node n = g_.node(id);
      g_.set_insert_point(id);
      GraphBuilder b(g_, n.loc);
      const ValueId y = choose(b, n);
      g_.set_insert_point(kNoNode);
      FCC_CHECKED(b.status());
      if (y == kNoValue) continue;
      g_.replace_uses(n.out[0], y);
      g_.erase(id);
      changed_ = true;
    }
    FCC_CHECKED(reshape_vectors());
    return changed_;
  }

 private:
  const TensorType& type(ValueId v) const { return g_.value(v).type; }

  // One pixel of whole blocks, such as what a global pooling leaves, is the same in memory either way.
  Status reshape_vectors() {
    for (NodeId id : g_.order()) {
      const Node n = g_.node(id);
      if (n.op->name != "UnpackC16") continue;
      const Dims out = type(n.out[0]).dims;
      if (out.size() != 4 || !out[2].is(1) || !out[3].is(1) || !mod(out[1], kBlock).is(0)) continue;
      g_.set_insert_point(id);
      GraphBuilder b(g_, n.loc);
      const ValueId y = b("Reshape", {n.in[0], b.ints({0, out[1].constant(), 1, 1})});  // 0: as many images as there are
      g_.set_insert_point(kNoNode);
      FCC_CHECKED(b.status());
      g_.replace_uses(n.out[0], y);
      g_.erase(id);
    }
    return {};
  }

  ValueId choose(GraphBuilder& b, const Node& n) {
    if (n.out.size() != 1) return kNoValue;
    if (reduces_pixels(n)) return reduction(b, n);
    if (type(n.out[0]).rank() != 4 || n.in.empty()) return kNoValue;
    const bool condition = type(n.out[0]).dtype == DType::boolean && n.op->formula;  // of a Where in a backward pass
    if (type(n.out[0]).dtype != DType::f32 && !condition) return kNoValue;
    if (n.op->name == "Conv") return convolution(b, n);
    if (n.op->name == "ConvWeightGrad") return weight_gradient(b, n);
    if (n.in.empty() || std::none_of(n.in.begin(), n.in.end(), [&](ValueId v) { return blocked_form(v) != kNoValue; })) return kNoValue;
    if (n.op->formula) return pointwise(b, n);
    const std::string_view s = n.op->name;
    if (s == "MaxPool" || s == "AveragePool" || s == "GlobalAveragePool" || s == "GlobalMaxPool") return pooling(b, n);
    if (s == "MaxPoolGrad" || s == "AveragePoolGrad") return pooling_gradient(b, n);
    if (s == "Expand") return expand(b, n);
    if (s == "Concat") return concat(b, n);
    if (s == "Resize") return resize(b, n);
    return kNoValue;
  }

  // The blocked tensor behind an UnpackC16, or kNoValue.
  ValueId blocked_form(ValueId v) const {
    const Node* n = g_.def(v);
    return n && n->op->name == "UnpackC16" ? n->in[0] : kNoValue;
  }
  ValueId unpack(GraphBuilder& b, ValueId blocked, SymExpr channels) { return b("UnpackC16", {blocked}, {{"channels", channels.constant()}}); }
  ValueId pack(GraphBuilder& b, ValueId v) {
    const ValueId known = blocked_form(v);
    return known != kNoValue ? known : b("PackC16", {v});
  }

  // ---- convolutions
  struct Weights {
    ValueId value = kNoValue;
    int64_t group = 1, in_per_group = 0, out = 0;
  };

  ValueId convolution(GraphBuilder& b, const Node& n) {
    if (!type(n.in[1]).is_static() || type(n.in[1]).rank() != 4 || !type(n.in[0]).dims[1].is_constant()) return kNoValue;
    const int64_t channels = type(n.in[0]).dims[1].constant();
    Weights w{n.in[1], n.attrs.integer("group", 1), type(n.in[1]).dims[1].constant(), type(n.in[1]).dims[0].constant()};
    if (channels == 0 || w.out == 0 || type(w.value).elements().is(0)) return kNoValue;
    const bool depthwise = w.group == channels && w.group == w.out && w.group > 1;
    const bool blocked_in = channels >= kBlock || blocked_form(n.in[0]) != kNoValue || w.group > 1;
    if (!depthwise && !fit_groups(b, w)) return kNoValue;
    const int64_t out_per_group = w.out / w.group;
    const int64_t plain_nr = depthwise ? kBlock : panel_width(out_per_group), transformed_nr = out_per_group > kBlock && (w.group == 1 || out_per_group % 32 == 0 || out_per_group > 48) ? 32 : kBlock;
    const bool known = g_.is_constant(w.value);
    const int64_t padded = (w.in_per_group + kBlock - 1) / kBlock * kBlock;  // as the transform needs them
    const bool may_pad = known || padded == w.in_per_group;                  // not in every step
    const int64_t m = may_pad && blocked_in && !depthwise ? winograd_tile(n, w, padded, transformed_nr) : 0, nr = m ? transformed_nr : plain_nr;
    const int64_t tail = known && !depthwise && w.group == 1 ? last_panel(w.out, nr) : nr;
    const ValueId source = w.group == 1 ? mirrored_weight(g_, w.value) : kNoValue;
    Attrs attrs = n.attrs;
    if (m) {
      if (padded != w.in_per_group) w.value = padded_inputs(b, w, padded);
      w.in_per_group = padded;
      attrs.set("m", m);
    }
    Attrs packing{{"nr", nr}, {"group", w.group}};
    if (source != kNoValue) packing.set("mirrored", int64_t{1});
    if (m) packing.set("m", m);
    if (tail != nr) packing.set("tail", tail);
    if (tail != nr) attrs.set("tail", tail);
    const ValueId weight = source != kNoValue ? source : w.value;
    const ValueId packed = m && known && context_.compact ? prepared_weight(b, w, std::move(packing))
                                                          : b(m ? "PackWinogradWeight" : "PackConvWeight", {weight}, std::move(packing));
    for (const auto& [key, value] : std::initializer_list<std::pair<const char*, int64_t>>{
             {"blocked", 1}, {"blocked_in", blocked_in}, {"blocked_out", 1}, {"channels", w.in_per_group * w.group}, {"out_channels", w.out}, {"nr", nr}, {"group", w.group}})
      attrs.set(key, value);
    ValueId y = b(m ? "WinogradConv" : "Conv", {blocked_in ? pack(b, n.in[0]) : n.in[0], packed}, std::move(attrs));
    if (n.in.size() > 2 && n.in[2] != kNoValue) y = b("Add", {y, per_channel(b, n.in[2], w.out)});
    return unpack(b, y, type(n.out[0]).dims[1]);
  }

  // Output channels of a packed panel. Two blocks are best for the loads of a register tile, three where that saves
  // half a panel of zeros: 24 channels are 32, 40 are 48, 144 are 3 x 48, but 80 are 3 x 32 rather than 5 x 16.
  static int64_t panel_width(int64_t out) {
    const int64_t blocks = (out + kBlock - 1) / kBlock;
    return blocks == 1 ? kBlock : blocks % 2 != 0 && blocks % 3 == 0 ? 48 : 32;
  }

  // A state in the place of the transformed weight, which the library makes of the plain one when it is loaded.
  ValueId prepared_weight(GraphBuilder& b, const Weights& w, Attrs packing) {
    const Value& plain = g_.value(w.value);
    const std::string name = "prepared/" + plain.name + "." + std::to_string(w.value) + "/" + std::to_string(packing.integer("m")) + "x" + std::to_string(packing.integer("nr"));
    for (ValueId v : g_.states())
      if (g_.value(v).name == name) return v;
    const ValueId transformed = b("PackWinogradWeight", {w.value}, packing);
    if (!b.status()) return transformed;
    const TensorType of_state = type(transformed);
    g_.erase(g_.value(transformed).def);
    packing.set("channels", w.in_per_group);
    packing.set("out_channels", w.out);
    context_.prepared.push_back({name, of_state, g_.value(w.value).data, std::move(packing)});
    return g_.add_state(name, of_state, {});
  }

  // Lanes of the last panel: what is left, in halves of a block, or that and a panel of two blocks when only one block
  // is left. Weights that are trained keep panels of equal width: they are packed in every step.
  static int64_t last_panel(int64_t out, int64_t nr) {
    const int64_t lanes = (out + 7) / 8 * 8, rest = lanes % nr;
    if (rest == 0) return nr;
    return nr == 32 && rest <= kBlock && lanes > nr ? rest + nr : rest;
  }

  // The output tile of Winograd's transform, or 0 for the direct method. An open extent counts as kGuessedExtent, an
  // open batch as 1: there the transform gains least.
  int64_t winograd_tile(const Node& n, const Weights& w, int64_t channels, int64_t nr) const {
    static const std::vector<int64_t> ones{1, 1};
    const Dims &kernel = type(w.value).dims, &y = type(n.out[0]).dims;
    if (!winograd_ || !kernel[2].is(3) || !kernel[3].is(3) || n.attrs.integers("strides", ones) != ones || n.attrs.integers("dilations", ones) != ones) return 0;
    const int64_t out = w.out / w.group;
    if (channels % kBlock != 0 || (w.group > 1 && channels != w.in_per_group) || (w.group > 1 && out % kBlock != 0)) return 0;
    constexpr int64_t kGuessedExtent = 64;
    auto guess = [](const SymExpr& e) { return std::max<int64_t>(1, e.evaluate([](std::string_view) { return kGuessedExtent; })); };
    const WinogradShape shape{.batch = y[0].is_constant() ? std::max<int64_t>(1, y[0].constant()) : 1, .oh = guess(y[2]), .ow = guess(y[3]), .open = !type(n.out[0]).is_static(),
                              .channels = channels, .out_channels = (out + kBlock - 1) / kBlock * kBlock, .groups = w.group, .nr = nr, .trained = !g_.is_constant(w.value)};
    return choose_winograd(shape, target_).m;
  }

  // Makes every group of several whole blocks of channels: small groups join into a block-diagonal one. False when the
  // shape does not allow it.
  bool fit_groups(GraphBuilder& b, Weights& w) {
    if (w.group == 1) return true;
    const int64_t in = w.in_per_group, out = w.out / w.group;
    if (in == kBlock / 2 && out == kBlock / 2) return true;  // two groups a block, each a tile of eight columns
    int64_t join = 1;
    if (!g_.is_constant(w.value) && (in % kBlock != 0 || out % kBlock != 0)) return false;
    while (join <= w.group && ((in * join) % kBlock != 0 || (out * join) % kBlock != 0)) join *= 2;
    const int64_t groups = (w.group + join - 1) / join;  // the last may be filled up with groups of zeros
    auto blocks = [](int64_t channels) { return (channels + kBlock - 1) / kBlock; };
    if (join > w.group || blocks(in * w.group) != blocks(in * join * groups) || blocks(w.out) != blocks(out * join * groups)) return false;
    if (join == 1) return true;
    w = joined_groups(b, w, join, groups);
    return true;
  }

  ValueId padded_inputs(GraphBuilder& b, const Weights& w, int64_t padded) {
    if (!g_.is_constant(w.value)) return b("Pad", {w.value, b.ints({0, 0, 0, 0, 0, padded - w.in_per_group, 0, 0})});
    const Tensor& from = g_.value(w.value).data;
    const std::vector<int64_t>& s = from.shape();
    Tensor to(from.dtype(), {s[0], padded, s[2], s[3]});
    const int64_t taps = s[2] * s[3];
    for (int64_t k = 0; k < s[0]; ++k) std::copy_n(from.as<float>().begin() + k * s[1] * taps, s[1] * taps, to.as<float>().begin() + k * padded * taps);
    return b.constant(std::move(to), g_.value(w.value).name + ".padded");
  }

  Weights joined_groups(GraphBuilder& b, const Weights& w, int64_t join, int64_t groups) {
    const Tensor& from = g_.value(w.value).data;
    const std::vector<int64_t>& s = from.shape();
    const int64_t taps = s[2] * s[3], out_per_group = w.out / w.group;
    Weights joined{kNoValue, groups, s[1] * join, groups * join * out_per_group};
    Tensor to(from.dtype(), {joined.out, joined.in_per_group, s[2], s[3]});
    for (int64_t k = 0; k < s[0]; ++k) {
      const int64_t place = k / out_per_group % join;  // of the old group within the new one
      std::copy_n(from.as<float>().begin() + k * s[1] * taps, s[1] * taps, to.as<float>().begin() + (k * join + place) * s[1] * taps);
    }
    joined.value = b.constant(std::move(to), g_.value(w.value).name + ".joined");
    return joined;
  }

  // v[C] as [1, C/16, 1, 1, 16], zeros past C.
  ValueId per_channel(GraphBuilder& b, ValueId v, int64_t channels) {
    const int64_t padded = (channels + kBlock - 1) / kBlock * kBlock;
    const ValueId vector = b("PackVector", {v}, {{"n", padded}});
    return b("Reshape", {vector, b.ints({1, padded / kBlock, 1, 1, kBlock})});
  }

  // ---- operators that follow
  static bool safe_on_junk(const Node& n) {
    static const std::set<std::string_view> unsafe = {"Div", "Log", "Pow", "Reciprocal", "Sqrt", "Exp", "Mod", "Tan", "Asin", "Acos", "Acosh", "Atanh", "Sinh", "Cosh"};
    return !unsafe.contains(n.op->name);
  }

  ValueId pointwise(GraphBuilder& b, const Node& n) {
    const Dims out = type(n.out[0]).dims;  // a copy: adding nodes moves the values
    if (!out[1].is_constant() || (out[1].constant() % kBlock != 0 && !safe_on_junk(n))) return kNoValue;
    for (ValueId v : n.in)
      if (v != kNoValue && !can_block(v, out)) return kNoValue;
    std::vector<ValueId> in;
    for (ValueId v : n.in) in.push_back(v == kNoValue ? kNoValue : block_operand(b, v));
    return unpack(b, b(n.op->name, std::move(in), n.attrs), out[1]);
  }

  // Scalars stay; a tensor that spans the channels is packed; anything else that varies over width or height without
  // channels keeps the operator plain.
  bool can_block(ValueId v, const Dims& out) const {
    const Dims& d = type(v).dims;
    if (type(v).elements().is(1)) return true;
    if (type(v).dtype == DType::boolean && blocked_form(v) != kNoValue) return true;
    if (type(v).dtype != DType::f32 || d.size() < 3 || d.size() > 4) return false;
    const SymExpr& channels = d[d.size() - 3];
    return channels == out[1];
  }

  ValueId block_operand(GraphBuilder& b, ValueId v) {
    const Dims d = type(v).dims;
    if (type(v).elements().is(1)) return d.empty() ? v : b("Reshape", {v, b.ints({})});
    if (d.size() == 3) {
      Dims with_batch = d;
      with_batch.insert(with_batch.begin(), 1);
      v = b("Reshape", {v, b.dims(with_batch)});
    }
    return pack(b, v);
  }

  ValueId pooling(GraphBuilder& b, const Node& n) {
    if (!type(n.in[0]).dims[1].is_constant()) return kNoValue;
    Attrs attrs = n.attrs;
    attrs.set("blocked", int64_t{1});
    return unpack(b, b(n.op->name, {blocked_form(n.in[0])}, std::move(attrs)), type(n.in[0]).dims[1]);
  }

  // ---- backward operators
  ValueId weight_gradient(GraphBuilder& b, const Node& n) {
    const Dims x = type(n.in[0]).dims, dy = type(n.in[1]).dims;  // copies
    const auto fixed = [](const Dims& d) { return std::all_of(d.begin() + 1, d.end(), [](const SymExpr& e) { return e.is_constant() && !e.is(0); }); };
    if (type(n.in[0]).dtype != DType::f32 || n.attrs.integer("group", 1) != 1 || !fixed(x) || !fixed(dy) || n.in[0] == n.in[1]) return kNoValue;
    for (const SymExpr& pad : n.attrs.dims("pads"))
      if (!pad.is_constant()) return kNoValue;
    const bool blocked_in = x[1].constant() >= kBlock || blocked_form(n.in[0]) != kNoValue;
    Attrs attrs = n.attrs;
    attrs.set("blocked", int64_t{1});
    attrs.set("blocked_in", int64_t{blocked_in});
    if (blocked_in && winograd_gradient(n)) attrs.set("m", WinogradGradPlan::m);
    return b("ConvWeightGrad", {blocked_in ? pack(b, n.in[0]) : n.in[0], pack(b, n.in[1])}, std::move(attrs));
  }

  bool winograd_gradient(const Node& n) const {
    static const std::vector<int64_t> ones{1, 1};
    const std::vector<int64_t> weight = n.attrs.integers("weight");
    const Dims& dy = type(n.in[1]).dims;
    if (!winograd_ || weight[2] != 3 || weight[3] != 3 || n.attrs.integers("strides", ones) != ones || n.attrs.integers("dilations", ones) != ones) return false;
    const auto whole = [](int64_t channels) { return (channels + kBlock - 1) / kBlock * kBlock; };
    const WinogradShape shape{.batch = dy[0].is_constant() ? std::max<int64_t>(1, dy[0].constant()) : 1, .oh = dy[2].constant(), .ow = dy[3].constant(),
                              .open = !dy[0].is_constant(), .channels = whole(weight[1]), .out_channels = whole(weight[0]), .trained = true};
    return choose_winograd_grad(shape, target_);
  }

  ValueId pooling_gradient(GraphBuilder& b, const Node& n) {
    const Dims out = type(n.out[0]).dims;
    if (!out[1].is_constant()) return kNoValue;
    Attrs attrs = n.attrs;
    attrs.set("blocked", int64_t{1});
    if (attrs.has("dims")) attrs.set("dims", Dims{out[0], ceildiv(out[1], kBlock), out[2], out[3], kBlock});
    std::vector<ValueId> in;
    for (ValueId v : n.in) in.push_back(pack(b, v));
    return unpack(b, b(n.op->name, std::move(in), std::move(attrs)), out[1]);
  }

  // One value a channel spread over the pixels.
  ValueId expand(GraphBuilder& b, const Node& n) {
    const Dims in = type(n.in[0]).dims, out = type(n.out[0]).dims;
    if (in.size() != 4 || in[1] != out[1] || !out[1].is_constant()) return kNoValue;
    return unpack(b, b("Expand", {blocked_form(n.in[0]), b.dims({out[0], ceildiv(out[1], kBlock), out[2], out[3], kBlock})}), out[1]);
  }

  // A sum or mean over images or pixels of a blocked tensor, not over channels.
  bool reduces_pixels(const Node& n) const {
    if (n.op->name != "ReduceSum" && n.op->name != "ReduceMean") return false;
    if (n.in.size() < 2 || blocked_form(n.in[0]) == kNoValue || type(n.in[0]).rank() != 4) return false;
    const auto& axes = g_.value(n.in[1]).content;
    if (!axes || !axes->is_constant() || axes->elements.empty() || !type(n.in[0]).dims[1].is_constant()) return false;
    for (int64_t a : axes->constants())
      if (a == 1 || a == -3) return false;
    return true;
  }

  ValueId reduction(GraphBuilder& b, const Node& n) {
    const Dims out = type(n.out[0]).dims;
    std::vector<int64_t> axes = g_.value(n.in[1]).content->constants();
    for (int64_t& a : axes) a += a < 0 ? 4 : 0;
    const SymExpr channels = type(n.in[0]).dims[1];
    const ValueId sum = b(n.op->name, {blocked_form(n.in[0]), b.ints(axes)}, {{"keepdims", int64_t{1}}});
    const ValueId y = unpack(b, sum, channels);
    return n.attrs.flag("keepdims", true) ? y : b("Reshape", {y, b.dims(out)});
  }

  ValueId concat(GraphBuilder& b, const Node& n) {
    const int64_t axis = n.attrs.integer("axis");
    if (axis != 1 && axis != -3) return kNoValue;
    size_t already = 0;
    for (ValueId v : n.in) {
      const SymExpr& c = type(v).dims[1];
      if (!c.is_constant() || c.constant() % kBlock != 0) return kNoValue;
      already += blocked_form(v) != kNoValue;
    }
    if (2 * already < n.in.size()) return kNoValue;
    std::vector<ValueId> in;
    for (ValueId v : n.in) in.push_back(pack(b, v));
    return unpack(b, b("Concat", std::move(in), {{"axis", int64_t{1}}}), type(n.out[0]).dims[1]);
  }

  // Nearest and linear enlargement over height and width: the lane axis is one more axis that keeps its size.
  ValueId resize(GraphBuilder& b, const Node& n) {
    const Dims in = type(n.in[0]).dims, out = type(n.out[0]).dims;
    const std::string mode = n.attrs.string("mode", "nearest");
    if (in[0] != out[0] || in[1] != out[1] || !in[1].is_constant() || mode == "cubic" || n.attrs.has("axes") || n.attrs.has("keep_aspect_ratio_policy")) return kNoValue;
    if (n.attrs.string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" || n.attrs.flag("antialias")) return kNoValue;
    const bool by_sizes = n.in.size() > 3 && n.in[3] != kNoValue;
    const ValueId x = blocked_form(n.in[0]);
    std::vector<ValueId> operands{x, kNoValue};
    if (by_sizes) {
      operands.push_back(kNoValue);
      operands.push_back(b.dims({out[0], ceildiv(out[1], kBlock), out[2], out[3], kBlock}));
    } else {
      if (n.in.size() < 3 || !g_.is_constant(n.in[2]) || g_.value(n.in[2]).data.elements() != 4) return kNoValue;
      Tensor scales(DType::f32, {5});
      for (int64_t i = 0; i < 4; ++i) scales.set_double(i, g_.value(n.in[2]).data.get_double(i));
      scales.set_double(4, 1);
      operands.push_back(b.constant(std::move(scales), "scales"));
    }
    return unpack(b, b("Resize", std::move(operands), n.attrs), in[1]);
  }

  Graph& g_;
  PassContext& context_;
  const Target& target_;
  bool winograd_;
  bool changed_ = false;
};

}  // namespace

Result<bool> choose_layout(Graph& g, PassContext& context) { return LayoutChooser(g, context).run(); }

}  // namespace fcc
