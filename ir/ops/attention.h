#pragma once
// The attributes of a FusedAttention node as one struct, for its interpreter, the passes that make and change it, and
// its lowering. What they mean stands at the top of attention.cc.
#include "ir/graph.h"

namespace fcc {

struct AttentionShape {
  // Where element (b, h, i, d) lies: offset + b . batch + h head + i . rows + d.
  struct View {
    SymExpr offset = 0;
    Dims batch;
    SymExpr head = 0;
    Dims rows;
  };
  Dims batch, rows, columns;  // extents
  SymExpr heads;
  int64_t kv_group = 1, depth = 0, value_depth = 0;
  bool causal = false;
  double scale = 1;
  View q, k, v, out;

  explicit AttentionShape(const Attrs&);
  static SymExpr flat(const Dims& extents);
  static Dims dims_of(const View&);  // as the attribute holds it
};

}  // namespace fcc
