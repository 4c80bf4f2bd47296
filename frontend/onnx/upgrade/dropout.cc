// Dropout-7 and -10: the ratio was an attribute, there was no training mode, and (-7) the mask had the data's type.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

Status ratio_to_operand(NodeForm& n) {
  return n.number_to_operand("ratio", 1, DType::f32);
}

Status mask_of_data_type(NodeForm& n) {
  if (!n.has(0) || !n.uses_result(1)) return {};
  GraphBuilder b = n.builder();
  n.results = b.many("Dropout", n.in, n.attrs, 2);
  n.results[1] = b("Cast", {n.results[1]}, {{"to", n.type(0).dtype}});
  return b.status();
}

}  // namespace

void register_dropout_upgrades(UpgradeTable& t) {
  t.add("Dropout", 12, ratio_to_operand);
  t.add("Dropout", 10, mask_of_data_type);
}

}  // namespace fcc
