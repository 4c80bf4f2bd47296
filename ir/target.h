#pragma once
// What a kernel is compiled for: instruction set, caches, threads, as one text that round-trips.
//
// Lives in ir because lowering strategies choose tiles from it and the backend emits code from it. It is a
// description, never a measurement: "host" only picks one of the named levels, so that the same model and the
// same options give the same bytes on every machine of that level. No LLVM in here.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

enum class Isa : uint8_t { x86_64_v2, x86_64_v3, x86_64_v4, aarch64 };

// Extension bits beyond the level, used only when the text names them.
inline constexpr uint32_t kAvx512Bf16 = 1u << 0;
inline constexpr uint32_t kAvx512Vnni = 1u << 1;

struct Target {
  Isa isa = Isa::x86_64_v3;
  uint32_t extensions = 0;                           // kAvx512Bf16, kAvx512Vnni
  std::string triple;                                // x86_64-unknown-linux-gnu
  std::string cpu, features;                         // LLVM's names
  int64_t l1_bytes = 0, l2_bytes = 0, l3_bytes = 0;  // per core, per core, shared
  int64_t line_bytes = 64;
  int64_t vector_bytes = 0;      // native register: 16, 32 or 64
  int64_t vector_registers = 0;  // 16 or 32
  int64_t threads = 2;           // expected, for cutting tiles only

  // "host", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", then optional ",avx512-bf16", ",avx512-vnni",
  // ",l1=32K", ",l2=2M", ",l3=32M", ",threads=2".
  static Result<Target> parse(std::string_view text);
  // The best level of this CPU, capped by FCC_MAX_ISA, with that level's default caches.
  static Result<Target> host();
  static Target level(Isa);
  // The shortest text that parse() turns back into this target.
  std::string text() const;

  int64_t lanes(int64_t element_bytes) const { return vector_bytes / element_bytes; }
  bool is_x86() const { return isa != Isa::aarch64; }
  bool has_fma() const { return isa != Isa::x86_64_v2; }
  // Loads and stores with a per-lane mask exist for elements of this size.
  bool has_masked_memory(int64_t element_bytes) const {
    return isa == Isa::x86_64_v4 || (isa == Isa::x86_64_v3 && element_bytes >= 4);
  }
  // The fcc_isa bits (model_abi.h) a CPU must have to run code for this target.
  uint32_t isa_bits() const;
  friend bool operator==(const Target&, const Target&) = default;
};

// Several targets for one file, separated by ';' or by a comma before a level name: "x86-64-v3,x86-64-v4".
// Sorted best first, duplicates removed; mixing processor families is refused.
Result<std::vector<Target>> parse_targets(std::string_view text);

}  // namespace fcc
