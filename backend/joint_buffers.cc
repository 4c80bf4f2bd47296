#include "backend/joint_buffers.h"

#include <algorithm>

#include "backend/lower/collapse.h"
#include "backend/lower/concat.h"
#include "backend/lower/epilogue.h"
#include "ir/op.h"
#include "ir/ops/conv_geometry.h"

namespace fcc::backend {
namespace {

bool is_blocked(const TensorType& t) {
  if (t.dtype != DType::f32 || t.rank() != 5 || !t.dims[4].is(kChannelBlock)) return false;
  return t.dims[1].is_constant() && t.dims[2].is_constant() && t.dims[3].is_constant();
}

bool is_kernel(const Node* n) { return n && n->op->strategy == Strategy::kernel; }
bool is_concat_kernel(const Node& n) { return is_kernel(&n) && is_concat(*n.body); }

// The graph's values that a Concat kernel joins, in order.
std::vector<ValueId> operands_of(const Node& concat) {
  std::vector<ValueId> operands;
  const std::vector<ValueId>& inputs = concat.body->inputs();
  for (ValueId v : concat.body->node(concat.body->order()[0]).in)
    operands.push_back(concat.in[static_cast<size_t>(std::find(inputs.begin(), inputs.end(), v) - inputs.begin())]);
  return operands;
}

// Does the kernel's code keep images and channel blocks as axes of their own? Pointwise kernels and copies merge axes.
bool keeps_images_apart(const Graph& body) { return !is_pointwise(body) && !is_concat(body); }

// Roots that know what to do with an operand of foreign stride.
bool reads_parts(const Graph& body) {
  const NodeId root = find_root(body);
  if (root == kNoNode) return keeps_images_apart(body);
  const std::string_view s = body.node(root).op->name;
  return s == "Conv" || s == "WinogradConv" || s.ends_with("Pool");
}

}  // namespace

JointBuffers::JointBuffers(const Graph& g) : g_(g) {
  std::vector<NodeId> concats;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (!is_concat_kernel(n) || !is_blocked(g.value(n.out[0]).type)) continue;
    const int64_t axis = n.body->node(n.body->order()[0]).attrs.integer("axis");
    if (axis == 1 || axis == -4) concats.push_back(id);
  }
  auto blocks = [&](NodeId id) { return g.value(g.node(id).out[0]).type.dims[1].constant(); };
  std::stable_sort(concats.begin(), concats.end(), [&](NodeId a, NodeId b) { return blocks(a) > blocks(b); });
  for (NodeId id : concats)
    if (place(id)) placed_.insert(id);
  if (!is_sound()) {
    places_.clear();
    placed_.clear();
  }
}

// A Concat that stayed a copy cannot read or write parts whose images lie apart.
bool JointBuffers::is_sound() const {
  for (NodeId id : g_.order()) {
    const Node& n = g_.node(id);
    if (!is_concat_kernel(n) || placed_.contains(id) || g_.value(n.out[0]).type.dims[0].is(1)) continue;
    if (image_blocks(n.out[0]) > 0 || std::any_of(n.in.begin(), n.in.end(), [&](ValueId v) { return image_blocks(v) > 0; })) return false;
  }
  return true;
}

std::optional<JointBuffers::Place> JointBuffers::of(ValueId v) const {
  const auto it = places_.find(v);
  if (it == places_.end() || it->second.owner == v) return std::nullopt;
  return it->second;
}

int64_t JointBuffers::image_blocks(ValueId v) const {
  const auto it = places_.find(v);
  if (it == places_.end() || g_.value(v).type.dims[1].is(it->second.image_blocks)) return 0;
  return it->second.image_blocks;
}

bool JointBuffers::place(NodeId concat) {
  const Node& n = g_.node(concat);
  const ValueId result = n.out[0];
  const TensorType& type = g_.value(result).type;
  const bool one_image = type.dims[0].is(1);
  auto read_by_kernels = [&](ValueId v) {  // each of them fit for a part of a buffer, or a Concat, judged by itself
    if (g_.is_output(v)) return false;
    const auto& users = g_.users(v);
    return std::all_of(users.begin(), users.end(), [&](NodeId u) {
      const Node& user = g_.node(u);
      if (!is_kernel(&user)) return false;
      return one_image || reads_parts(*user.body) || placed_.contains(u) || u == concat;
    });
  };
  if (!read_by_kernels(result)) return false;

  Place whole{result, 0, type.dims[2].constant() * type.dims[3].constant() * kChannelBlock * 4, type.dims[1].constant()};
  if (const auto it = places_.find(result); it != places_.end()) whole = it->second;
  const std::vector<ValueId> operands = operands_of(n);

  // Is it a run of parts that a longer Concat has placed already?
  const auto first = places_.find(operands[0]);
  if (first != places_.end() && !places_.contains(result)) {
    whole = first->second;
    int64_t at = whole.first_block;
    for (ValueId v : operands) {
      const auto it = places_.find(v);
      if (it == places_.end() || it->second.owner != whole.owner || it->second.first_block != at) return false;
      at += g_.value(v).type.dims[1].constant();
    }
    places_[result] = whole;
    return true;
  }

  std::map<ValueId, Place> parts;
  int64_t at = whole.first_block;
  for (ValueId v : operands) {
    const Value& value = g_.value(v);
    if (value.role != Role::temp || !is_kernel(g_.def(v)) || !is_blocked(value.type) || value.observed) return false;
    if (places_.contains(v) || parts.contains(v)) return false;
    const Graph& maker = *g_.def(v)->body;
    if (!one_image && !is_concat(maker) && !keeps_images_apart(maker)) return false;
    const auto& users = g_.users(v);
    const bool readable = !g_.is_output(v) && std::all_of(users.begin(), users.end(), [&](NodeId u) {
      const Node& user = g_.node(u);
      return is_kernel(&user) && (one_image || is_concat_kernel(user) || reads_parts(*user.body));
    });
    if (!readable) return false;
    Place part = whole;
    part.first_block = at;
    parts.emplace(v, part);
    at += value.type.dims[1].constant();
  }
  places_.insert(parts.begin(), parts.end());
  places_[result] = whole;
  return true;
}

}  // namespace fcc::backend
