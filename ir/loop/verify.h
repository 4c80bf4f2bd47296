#pragma once
// Invariants of a loop kernel: types agree, variables are bound once on every path before their use, indices match
// ranks, one outermost @tile loop over all tiles, locals allocated before use, outputs read back only after a store,
// contraction tiles well formed. Lives beside the IR; whether indices stay in bounds is the interpreter's to see.
#include <string_view>

#include "ir/loop/loop.h"

namespace fcc::loop {

// The first violation, naming the kernel and the statement.
Status verify(const Kernel&);
// After lowering or a pass: a violation is our bug; prints the kernel and stops.
void verify_or_die(const Kernel&, std::string_view after);

}  // namespace fcc::loop
