#pragma once
// The text form of loop IR (grammar: docs/loop_ir.md): for people, for tests, and as the key under which equal
// kernels are found. Lives beside the IR; it knows nothing of how kernels are made or emitted.
#include <string>
#include <string_view>

#include "ir/loop/loop.h"

namespace fcc::loop {

// Exact: parse_kernel(print(k)) is k up to the numbering of variables, and prints as the same text. Variables and
// buffers whose names clash get a suffix. A subexpression used twice is printed once, under a name %n.
std::string print(const Kernel&);
Result<Kernel> parse_kernel(std::string_view text);
// One expression, for messages: with the kernel's names, or variables as v0, v1, ... and buffers as b0, b1, ... by id.
std::string print(const Expr&, const Kernel* names = nullptr);

// Without names, notes and costs: equal texts mean equal code, so equal kernels are compiled once.
std::string canonical_text(const Kernel&);

}  // namespace fcc::loop
