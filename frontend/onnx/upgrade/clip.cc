// Clip-6: the bounds were attributes.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {

static Status clip_6(NodeForm& n) {
  if (!n.has(0)) return {};
  FCC_CHECKED(n.number_to_operand("min", 1, n.type(0).dtype));
  return n.number_to_operand("max", 2, n.type(0).dtype);
}

void register_clip_upgrades(UpgradeTable& t) {
  t.add("Clip", 11, clip_6);
}

}  // namespace fcc
