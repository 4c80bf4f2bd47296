// One spelling of pooling and padding, so that later passes know few forms.
//   ReduceMean(x){axes 2,3} → GlobalAveragePool(x), and a Reshape when it drops the axes
//   AveragePool(x){kernel = extents, no pads} → GlobalAveragePool(x)
//   Conv(Pad(x, 0)) → Conv(x){more pads}            AveragePool(Pad(x, 0)) → AveragePool(x){more pads, counted}
//   MaxPool(Pad(x, -inf)) → MaxPool(x){more pads}
#include <algorithm>
#include <limits>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"
#include "passes/graph/match.h"
#include "passes/manager.h"

namespace fcc {
namespace {

ValueId mean_to_pool(Graph& g, GraphBuilder& b, const Node& n) {
  const TensorType& x = g.value(n.in[0]).type;
  if (x.rank() != 4 || !is_float(x.dtype) || reduced_axes(g, n) != std::vector<int64_t>{2, 3}) return kNoValue;
  const Dims dims = g.value(n.out[0]).type.dims;
  const ValueId y = b("GlobalAveragePool", {n.in[0]});
  return n.attrs.flag("keepdims", true) ? y : b("Reshape", {y, b.dims(dims)}, {{"allowzero", int64_t{1}}});
}

bool is_without_pads(const Node& n) {
  const std::vector<int64_t> pads = n.attrs.integers("pads");
  const std::string automatic = n.attrs.string("auto_pad", "NOTSET");
  return (automatic == "NOTSET" || automatic == "VALID") && std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; });
}

ValueId whole_average(Graph& g, GraphBuilder& b, const Node& n) {
  const TensorType& x = g.value(n.in[0]).type;
  const std::vector<int64_t> kernel = n.attrs.integers("kernel_shape"), dilations = n.attrs.integers("dilations");
  if (n.attrs.flag("blocked") || !is_without_pads(n) || static_cast<size_t>(x.rank()) != kernel.size() + 2) return kNoValue;
  for (size_t d = 0; d < kernel.size(); ++d)
    if (!x.dims[d + 2].is(kernel[d]) || (d < dilations.size() && dilations[d] != 1)) return kNoValue;
  return b("GlobalAveragePool", {n.in[0]});
}

// The pads of a Pad of spatial axes by one number: a begin for each spatial axis, then an end for each.
std::optional<std::vector<int64_t>> spatial_pads(const Graph& g, const Node& pad, double filled_with) {
  if (pad.attrs.string("mode", "constant") != "constant") return std::nullopt;
  const bool has_value = pad.in.size() > 2 && pad.in[2] != kNoValue;
  if (has_value ? number(g, pad.in[2]) != filled_with : filled_with != 0) return std::nullopt;
  const auto numbers = [&](size_t k) -> std::optional<std::vector<int64_t>> {
    const auto& content = g.value(pad.in[k]).content;
    return content && content->is_constant() ? std::optional(content->constants()) : std::nullopt;
  };
  const int64_t rank = g.value(pad.in[0]).type.rank();
  const std::optional<std::vector<int64_t>> pads = numbers(1);
  std::vector<int64_t> axes;
  for (int64_t d = 0; d < rank; ++d) axes.push_back(d);
  if (pad.in.size() > 3 && pad.in[3] != kNoValue) {
    const auto given = numbers(3);
    if (!given) return std::nullopt;
    axes = *given;
  }
  if (!pads || pads->size() != 2 * axes.size() || rank < 3) return std::nullopt;
  std::vector<int64_t> spatial(static_cast<size_t>(2 * (rank - 2)), 0);
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t axis = axes[k] < 0 ? axes[k] + rank : axes[k], begin = (*pads)[k], end = (*pads)[axes.size() + k];
    if (begin < 0 || end < 0 || (axis < 2 && (begin || end))) return std::nullopt;
    if (axis < 2) continue;
    spatial[static_cast<size_t>(axis - 2)] = begin;
    spatial[static_cast<size_t>(axis - 2 + rank - 2)] = end;
  }
  return spatial;
}

// A pool refuses windows that see nothing but padding.
bool pads_below_kernel(const Node& n, const std::vector<int64_t>& pads) {
  const std::vector<int64_t> kernel = n.attrs.integers("kernel_shape");
  const std::vector<int64_t> dilations = n.attrs.integers("dilations", std::vector<int64_t>(kernel.size(), 1));
  for (size_t k = 0; k < pads.size(); ++k) {
    const size_t axis = k % kernel.size();
    if (pads[k] > (kernel[axis] - 1) * dilations[axis]) return false;
  }
  return true;
}

// window(Pad(x)) → window(x) with the sum of both paddings.
ValueId absorb_pad(Graph& g, GraphBuilder& b, const Node& n, double filled_with) {
  const Node* pad = made_by(g, n.in[0], "Pad");
  if (!pad || n.attrs.flag("blocked")) return kNoValue;
  const auto more = spatial_pads(g, *pad, filled_with);
  const std::string automatic = n.attrs.string("auto_pad", "NOTSET");
  if (!more || (automatic != "NOTSET" && automatic != "VALID")) return kNoValue;
  std::vector<int64_t> pads = automatic == "VALID" ? std::vector<int64_t>{} : n.attrs.integers("pads");
  pads.resize(more->size(), 0);
  for (size_t k = 0; k < pads.size(); ++k) pads[k] += (*more)[k];
  if (n.op->name != "Conv" && !pads_below_kernel(n, pads)) return kNoValue;
  std::vector<ValueId> in = n.in;
  in[0] = pad->in[0];
  Attrs attrs = n.attrs;
  attrs.set("pads", pads);
  attrs.erase("auto_pad");
  if (n.op->name == "AveragePool") attrs.set("count_include_pad", int64_t{1});
  return b(n.op->name, std::move(in), std::move(attrs));
}

ValueId canonical(Graph& g, GraphBuilder& b, const Node& n) {
  const std::string_view s = n.op->name;
  if (s == "ReduceMean") return mean_to_pool(g, b, n);
  if (s == "Conv") return absorb_pad(g, b, n, 0);
  if (s == "MaxPool" && !n.attrs.flag("ceil_mode")) return absorb_pad(g, b, n, -std::numeric_limits<double>::infinity());
  if (s != "AveragePool" || n.attrs.flag("ceil_mode")) return kNoValue;
  if (const ValueId y = whole_average(g, b, n); y != kNoValue) return y;
  return is_without_pads(n) || n.attrs.flag("count_include_pad") ? absorb_pad(g, b, n, 0) : kNoValue;
}

}  // namespace

Result<bool> canonicalize_pooling(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.out.size() != 1) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId y = canonical(g, b, n);
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    if (y == kNoValue || g.value(y).type != g.value(n.out[0]).type) continue;
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
