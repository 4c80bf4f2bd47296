// What this CPU and its operating system can run, as the bits of fcc_isa.
// The runtime asks before it picks a variant, so that a model for another CPU is refused with a sentence instead of
// dying on an illegal instruction. It does not tune anything.
#pragma once

#include <cstdint>
#include <string>

#include "error.h"

namespace fcc::runtime {

// The fcc_isa bits of this machine, without looking at the environment.
uint32_t detect_isa();

// detect_isa() less what FCC_MAX_ISA forbids. Fails when the variable holds an unknown level.
fcc_status usable_isa(uint32_t* isa);

// "x86-64-v3 + avx512-bf16" for messages.
std::string isa_text(uint32_t isa);

// The features of `needed` that this CPU lacks, one by one: "avx512f, avx512bw". Names FCC_MAX_ISA when only that
// stands in the way.
std::string missing_features(uint32_t needed, uint32_t usable);

}  // namespace fcc::runtime
