#include "backend/lower/lower.h"

#include <algorithm>

#include "backend/lower/attention.h"
#include "backend/lower/collapse.h"
#include "backend/lower/concat.h"
#include "backend/lower/contraction.h"
#include "backend/lower/conv_weight_grad.h"
#include "backend/lower/convolution.h"
#include "backend/lower/depthwise.h"
#include "backend/lower/epilogue.h"
#include "backend/lower/expansion.h"
#include "backend/lower/generic.h"
#include "backend/lower/max_pool_grad.h"
#include "backend/lower/recurrent.h"
#include "backend/lower/transpose.h"
#include "backend/lower/winograd.h"
#include "backend/lower/winograd_weight.h"
#include "backend/lower/winograd_weight_grad.h"
#include "ir/op.h"

namespace fcc::backend {

static bool is_matmul(const Graph& body, NodeId root) {
  return root != kNoNode && body.node(root).op->name == "MatMulPacked" && body.value(body.node(root).out[0]).type.dtype == DType::f32;
}

bool may_update_in_place(const Graph& body, size_t input) {
  if (is_pointwise(body)) return true;
  const NodeId root = find_root(body);
  if (!is_matmul(body, root)) return false;
  const std::vector<ValueId>& operands = body.node(root).in;
  return std::find(operands.begin(), operands.end(), body.inputs()[input]) == operands.end();
}

// Blocks from image to image of a body's input, or 0.
static int64_t blocks_of(const Graph& body, ValueId v, std::span<const int64_t> image_blocks) {
  for (size_t i = 0; i < body.inputs().size() && i < image_blocks.size(); ++i)
    if (body.inputs()[i] == v) return image_blocks[i];
  return 0;
}

static loop::Kernel choose(const Graph& body, const Target& target, std::span<const int64_t> image_blocks, const InPlace& in_place) {
  const NodeId root = find_root(body);
  if (is_matmul(body, root)) return lower_matmul_packed(body, root, target, in_place);
  if (!in_place.empty()) return lower_generic(body, target, in_place);
  if (root != kNoNode && is_winograd(body, root)) return lower_winograd(body, root, target);
  if (root != kNoNode && is_expansion(body)) return lower_expansion(body, target, blocks_of(body, body.node(root).in[0], image_blocks));
  if (root != kNoNode && is_direct_convolution(body, root)) return lower_convolution(body, root, target, blocks_of(body, body.node(root).in[0], image_blocks));
  if (root != kNoNode && is_depthwise(body, root)) return lower_depthwise(body, root, target);
  if (is_weight_transform(body)) return lower_weight_transform(body);
  if (is_attention(body)) return lower_attention(body, target);
  if (is_recurrent(body)) return lower_recurrent(body, target);
  if (is_recurrent_grad(body)) return lower_recurrent_grad(body, target);
  if (root != kNoNode && is_blocked_pooling(body, root)) return lower_depthwise(body, root, target);
  if (root != kNoNode && is_max_pool_grad(body, root)) return lower_max_pool_grad(body, root, target);
  if (is_winograd_weight_grad(body)) return lower_winograd_weight_grad(body, target);
  if (is_conv_weight_grad(body)) return lower_conv_weight_grad(body, target);
  if (is_winograd_weight(body)) return lower_winograd_weight(body, target);
  if (is_matrix_transpose(body)) return lower_matrix_transpose(body, target);
  if (is_concat(body)) return lower_concat(body);
  return lower_generic(body, target);
}

// The second axis of a part of a buffer is as long as the whole: only strides follow from it.
static void widen(loop::Buffer& b, int64_t blocks) {
  if (blocks == 0 || b.dims[0].is(1)) return;
  FCC_CHECK(b.dims.size() >= 3 && b.dims[1].is_constant(), "{} is no blocked tensor in its kernel", b.name);
  b.dims[1] = blocks;
}

Result<loop::Kernel> lower_kernel(const Graph& graph, const Node& node, const Target& target, std::span<const int64_t> image_blocks,
                                  const InPlace& in_place) {
  FCC_CHECK(node.body, "{} is no kernel", node.op->name);
  loop::Kernel k = choose(*node.body, target, image_blocks, in_place);
  k.bytes = 0;
  for (int32_t i = 0; i < k.n_params; ++i) {
    const loop::Buffer& b = k.buffers[static_cast<size_t>(i)];
    SymExpr bytes = byte_size(b.dtype);
    for (const SymExpr& d : b.dims) bytes = bytes * d;
    k.bytes = k.bytes + bytes;
  }
  for (size_t i = 0; i < image_blocks.size(); ++i) widen(k.buffers[i], image_blocks[i]);
  for (size_t i = 0; i < node.in.size(); ++i) k.buffers[i].constant = graph.value(node.in[i]).role == Role::constant;
  return k;
}

}  // namespace fcc::backend
