// Is a model's table consistent with itself? Checked once at load, so that nothing later needs to check an index.
// A table that fails was damaged or written by a faulty producer; the sentence names the entry and the step.
#pragma once

#include "error.h"

namespace fcc::runtime {

fcc_status validate_model(const char* path, const fcc_model& model);

}  // namespace fcc::runtime
