#include "tools/fit/judge.h"

#include <cstring>
#include <string_view>

namespace fcc {
namespace {

// "target.NAME" is compared with the output NAME, "target" with the first behind the loss.
int64_t output_of(const fcc_entry& entry, std::string_view target) {
  for (uint32_t i = 0; i < entry.n_outputs; ++i) {
    const std::string_view name = entry.outputs[i].name;
    if (target.starts_with("target.") ? name == target.substr(7) : name != "loss") return i;
  }
  return -1;
}

template <class Float>
void judge(const fcc_tensor& scores, const int64_t* labels, const std::function<void(int64_t, int64_t)>& fn) {
  const auto* values = static_cast<const Float*>(scores.data);
  const int64_t classes = scores.dims[1];
  int64_t inner = 1;
  for (uint32_t axis = 2; axis < scores.rank; ++axis) inner *= scores.dims[axis];
  for (int64_t n = 0; n < scores.dims[0]; ++n) {
    for (int64_t k = 0; k < inner; ++k) {
      const Float* row = values + n * classes * inner + k;
      int64_t best = 0;
      for (int64_t c = 1; c < classes; ++c)
        if (row[c * inner] > row[best * inner]) best = c;
      if (const int64_t label = labels[n * inner + k]; label >= 0) fn(label, best);
    }
  }
}

}  // namespace

bool judge_outputs(fcc_session* session, std::span<const fcc_tensor> inputs, uint32_t first_target,
                   const std::function<void(int64_t, int64_t)>& fn) {
  const fcc_entry& entry = *fcc_session_table(session);
  bool any = false;
  for (uint32_t t = first_target; t < entry.n_inputs; ++t) {
    if (class_count(entry, t) == 0) continue;
    fcc_tensor scores{};
    detail::check(fcc_session_output(session, static_cast<uint32_t>(output_of(entry, entry.inputs[t].name)), &scores));
    any = true;
    if (scores.dtype == FCC_F32) judge<float>(scores, static_cast<const int64_t*>(inputs[t].data), fn);
    if (scores.dtype == FCC_F64) judge<double>(scores, static_cast<const int64_t*>(inputs[t].data), fn);
  }
  return any;
}

int64_t class_count(const fcc_entry& entry, uint32_t target) {
  const fcc_slot& slot = entry.inputs[target];
  const int64_t output = output_of(entry, slot.name);
  if (slot.dtype != FCC_I64 || output < 0) return 0;
  const fcc_slot& scores = entry.outputs[output];
  const bool fits =
      scores.rank == slot.rank + 1 && scores.rank >= 2 && (scores.dtype == FCC_F32 || scores.dtype == FCC_F64);
  return fits && scores.dims[1].kind == FCC_SIZE_FIXED ? scores.dims[1].value : 0;
}

}  // namespace fcc
