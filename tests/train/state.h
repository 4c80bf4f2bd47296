#pragma once
// The states of a compiled training step, for tests that look at them.
#include <gtest/gtest.h>

#include "tools/compiled_model.h"

namespace fcc {

// Values of the state `name` in the model's session; empty where there is none.
inline std::vector<double> state_of(const CompiledModel& model, const std::string& name) {
  uint32_t index = 0;
  fcc_tensor t{};
  if (fcc_session_find_state(model.session(), name.c_str(), &index) != FCC_OK) return {};
  EXPECT_EQ(fcc_session_state(model.session(), index, &t), FCC_OK);
  return Tensor::view(static_cast<DType>(t.dtype), {t.dims, t.dims + t.rank}, static_cast<const std::byte*>(t.data),
                      nullptr)
      .to_doubles();
}

}  // namespace fcc
