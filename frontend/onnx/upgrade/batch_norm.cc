// BatchNormalization-7 and -9: training was meant when more than one result was asked for; -7 had `spatial`.
#include "frontend/onnx/upgrade/upgrade.h"

namespace fcc {
namespace {

Status spatial(NodeForm& n) {
  FCC_TRY(const int64_t per_channel, n.integer("spatial", 1));
  if (per_channel == 0)
    return n.refuse("spatial=0 (statistics per element) is not supported", "export with opset 9 or later");
  n.attrs.erase("spatial");
  return {};
}

Status results_mean_training(NodeForm& n) {
  if (n.uses_result(3) || n.uses_result(4))
    return n.refuse("the saved mean and variance of opsets before 14 are not supported",
                    "export with opset 14 or later");
  if (n.uses_result(1) || n.uses_result(2)) n.attrs.set("training_mode", int64_t{1});
  if (n.out.size() > 3) n.out.resize(3);
  while (n.out.size() > 1 && n.out.back().empty()) n.out.pop_back();
  return {};
}

}  // namespace

void register_batch_norm_upgrades(UpgradeTable& t) {
  t.add("BatchNormalization", 9, spatial);
  t.add("BatchNormalization", 14, results_mean_training);
}

}  // namespace fcc
