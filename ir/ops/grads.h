#pragma once
// Gradient rules that stand beside their family's file because it would be too long with them. The family registers
// them; they are no part of any other contract.
#include "ir/grad.h"

namespace fcc {

#define FCC_GRAD_RULE(name) Result<std::vector<ValueId>> grad_##name(GradBuilder&, const Node&, std::span<const ValueId> dy)
FCC_GRAD_RULE(conv);
FCC_GRAD_RULE(conv_transpose);
FCC_GRAD_RULE(batch_norm);
FCC_GRAD_RULE(layer_norm);
FCC_GRAD_RULE(rms_norm);
FCC_GRAD_RULE(instance_norm);
FCC_GRAD_RULE(group_norm);
FCC_GRAD_RULE(lrn);
FCC_GRAD_RULE(lp_norm);
FCC_GRAD_RULE(mean_variance);
FCC_GRAD_RULE(max_pool);
FCC_GRAD_RULE(average_pool);
FCC_GRAD_RULE(lp_pool);
FCC_GRAD_RULE(global_average_pool);
FCC_GRAD_RULE(global_max_pool);
FCC_GRAD_RULE(global_lp_pool);
FCC_GRAD_RULE(recurrent_scan);
FCC_GRAD_RULE(gather);
FCC_GRAD_RULE(gather_elements);
FCC_GRAD_RULE(gather_nd);
FCC_GRAD_RULE(scatter_elements);
FCC_GRAD_RULE(scatter_nd);
#undef FCC_GRAD_RULE

}  // namespace fcc
