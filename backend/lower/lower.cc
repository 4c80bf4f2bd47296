#include "backend/lower/lower.h"

#include "backend/lower/attention.h"
#include "backend/lower/concat.h"
#include "backend/lower/contraction.h"
#include "backend/lower/convolution.h"
#include "backend/lower/depthwise.h"
#include "backend/lower/epilogue.h"
#include "backend/lower/generic.h"
#include "backend/lower/recurrent.h"
#include "ir/op.h"

namespace fcc::backend {

static loop::Kernel choose(const Graph& body, const Target& target) {
  const NodeId root = find_root(body);
  if (root != kNoNode && body.node(root).op->name == "MatMulPacked" && body.value(body.node(root).out[0]).type.dtype == DType::f32)
    return lower_matmul_packed(body, root, target);
  if (root != kNoNode && is_direct_convolution(body, root)) return lower_convolution(body, root, target);
  if (root != kNoNode && is_depthwise(body, root)) return lower_depthwise(body, root, target);
  if (is_attention(body)) return lower_attention(body, target);
  if (is_recurrent(body)) return lower_recurrent(body, target);
  if (root != kNoNode && is_blocked_pooling(body, root)) return lower_depthwise(body, root, target);
  if (is_concat(body)) return lower_concat(body);
  return lower_generic(body, target);
}

Result<loop::Kernel> lower_kernel(const Graph& graph, const Node& node, const Target& target) {
  FCC_CHECK(node.body, "{} is no kernel", node.op->name);
  loop::Kernel k = choose(*node.body, target);
  k.bytes = 0;
  for (int32_t i = 0; i < k.n_params; ++i) {
    const loop::Buffer& b = k.buffers[static_cast<size_t>(i)];
    SymExpr bytes = byte_size(b.dtype);
    for (const SymExpr& d : b.dims) bytes = bytes * d;
    k.bytes = k.bytes + bytes;
  }
  for (size_t i = 0; i < node.in.size(); ++i) k.buffers[i].constant = graph.value(node.in[i]).role == Role::constant;
  return k;
}

}  // namespace fcc::backend
