// Pad-2: pads and value were attributes.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {

static Status pad_2(NodeForm& n) {
  if (!n.has(0)) return {};
  FCC_CHECKED(n.ints_to_operand("pads", 1));
  return n.number_to_operand("value", 2, n.type(0).dtype);
}

void register_pad_upgrades(UpgradeTable& t) {
  t.add("Pad", 11, pad_2);
}

}  // namespace fcc
