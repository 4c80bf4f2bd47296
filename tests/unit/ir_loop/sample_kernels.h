#pragma once
// A few well-formed kernels, one a feature, for the tests of text and verifier.
#include <vector>

#include "ir/loop/loop.h"

namespace fcc::loop {
std::vector<Kernel> sample_kernels();
}
