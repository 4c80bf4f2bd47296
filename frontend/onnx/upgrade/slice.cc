// Slice-1: starts, ends and axes were attributes.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {

static Status slice_1(NodeForm& n) {
  FCC_CHECKED(n.ints_to_operand("starts", 1));
  FCC_CHECKED(n.ints_to_operand("ends", 2));
  return n.ints_to_operand("axes", 3);
}

void register_slice_upgrades(UpgradeTable& t) {
  t.add("Slice", 10, slice_1);
}

}  // namespace fcc
