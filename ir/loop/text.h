#pragma once
// The text form of loop IR (grammar: docs/loop_ir.md).
#include <string>

#include "ir/loop/loop.h"

namespace fcc::loop {

// For people and for golden tests: names, notes, every loop.
std::string print(const Kernel&);
// Without names and notes: equal texts mean equal code, so equal kernels are compiled once.
std::string canonical_text(const Kernel&);

}  // namespace fcc::loop
