#pragma once
// Concat over channels without copies: the kernels that make its operands write straight into its result, and a Concat
// that is a part of a longer one (the layers of a DenseNet block) is a part of the longer one's buffer. Decided here on
// the graph of kernels; the scheduler gives the arguments their offsets, lowering the stride from image to image.
#include <map>
#include <optional>
#include <set>

#include "ir/graph.h"

namespace fcc::backend {

class JointBuffers {
 public:
  explicit JointBuffers(const Graph&);

  // A blocked value [N,B,H,W,16] inside of another's buffer, where an image has image_blocks blocks.
  struct Place {
    ValueId owner = kNoValue;
    int64_t first_block = 0, block_bytes = 0, image_blocks = 0;
    int64_t offset() const { return first_block * block_bytes; }
  };
  // Where v lives when that is not memory of its own.
  std::optional<Place> of(ValueId v) const;
  // Blocks an image takes in v's buffer, when more than v's own; else 0.
  int64_t image_blocks(ValueId v) const;
  // Is this Concat nothing but a name for what its operands' kernels wrote?
  bool is_placed(NodeId concat) const { return placed_.contains(concat); }

 private:
  bool place(NodeId concat);
  bool is_sound() const;

  const Graph& g_;
  std::map<ValueId, Place> places_;  // owners too, at 0
  std::set<NodeId> placed_;
};

}  // namespace fcc::backend
