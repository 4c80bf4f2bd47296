#pragma once
// Labels against scores: which class a model gives the most, row by row.
#include <functional>
#include <span>

#include "fcc/train.hpp"

namespace fcc {

// Calls fn(label, best) for every judged element of the targets inputs[first_target...] that are class indices, with
// the outputs of the session's last run. Negative labels are left out. False when there is no such target.
bool judge_outputs(fcc_session* session, std::span<const fcc_tensor> inputs, uint32_t first_target,
                   const std::function<void(int64_t label, int64_t best)>& fn);

// Classes of target k of an entry: the size of axis 1 of the output it is compared with; 0 when it is no class index.
int64_t class_count(const fcc_entry& entry, uint32_t target);

}  // namespace fcc
