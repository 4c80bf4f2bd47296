#include "cpu_check.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fcc::runtime {
namespace {

struct Feature {
  const char* name;
  uint32_t isa;  // the level or extension that asks for it
  uint8_t leaf;  // index into the cpuid words below
  uint8_t bit;
};

// Words: 0 leaf 1 ecx, 1 leaf 7 ebx, 2 leaf 7 ecx, 3 leaf 7.1 eax, 4 leaf 0x80000001 ecx, 5 xcr0.
constexpr Feature kFeatures[] = {
    {"sse3", FCC_ISA_X86_64_V2, 0, 0},          {"ssse3", FCC_ISA_X86_64_V2, 0, 9},
    {"cmpxchg16b", FCC_ISA_X86_64_V2, 0, 13},   {"sse4.1", FCC_ISA_X86_64_V2, 0, 19},
    {"sse4.2", FCC_ISA_X86_64_V2, 0, 20},       {"popcnt", FCC_ISA_X86_64_V2, 0, 23},
    {"lahf", FCC_ISA_X86_64_V2, 4, 0},          {"fma", FCC_ISA_X86_64_V3, 0, 12},
    {"movbe", FCC_ISA_X86_64_V3, 0, 22},        {"osxsave", FCC_ISA_X86_64_V3, 0, 27},
    {"avx", FCC_ISA_X86_64_V3, 0, 28},          {"f16c", FCC_ISA_X86_64_V3, 0, 29},
    {"bmi1", FCC_ISA_X86_64_V3, 1, 3},          {"avx2", FCC_ISA_X86_64_V3, 1, 5},
    {"bmi2", FCC_ISA_X86_64_V3, 1, 8},          {"lzcnt", FCC_ISA_X86_64_V3, 4, 5},
    {"xmm state", FCC_ISA_X86_64_V3, 5, 1},     {"ymm state", FCC_ISA_X86_64_V3, 5, 2},
    {"avx512f", FCC_ISA_X86_64_V4, 1, 16},      {"avx512dq", FCC_ISA_X86_64_V4, 1, 17},
    {"avx512cd", FCC_ISA_X86_64_V4, 1, 28},     {"avx512bw", FCC_ISA_X86_64_V4, 1, 30},
    {"avx512vl", FCC_ISA_X86_64_V4, 1, 31},     {"mask state", FCC_ISA_X86_64_V4, 5, 5},
    {"zmm state", FCC_ISA_X86_64_V4, 5, 6},     {"zmm16-31 state", FCC_ISA_X86_64_V4, 5, 7},
    {"avx512-bf16", FCC_ISA_AVX512_BF16, 3, 5}, {"avx512-vnni", FCC_ISA_AVX512_VNNI, 2, 11},
};

struct Level {
  const char* name;
  uint32_t isa;      // the bit of this level
  uint32_t implies;  // every bit that a machine capped at this level may still use
};
constexpr uint32_t kV2 = FCC_ISA_X86_64_V2, kV3 = kV2 | FCC_ISA_X86_64_V3;
constexpr uint32_t kV4 = kV3 | FCC_ISA_X86_64_V4;
constexpr Level kLevels[] = {
    {"x86-64-v2", FCC_ISA_X86_64_V2, kV2},
    {"x86-64-v3", FCC_ISA_X86_64_V3, kV3},
    {"x86-64-v4", FCC_ISA_X86_64_V4, kV4},
    {"aarch64", FCC_ISA_AARCH64, FCC_ISA_AARCH64},
};
constexpr Level kExtensions[] = {
    {"avx512-bf16", FCC_ISA_AVX512_BF16, 0},
    {"avx512-vnni", FCC_ISA_AVX512_VNNI, 0},
};

struct CpuWords {
  uint32_t word[6] = {};
};

CpuWords read_cpu() {
  CpuWords cpu;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) cpu.word[0] = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    cpu.word[1] = b;
    cpu.word[2] = c;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) cpu.word[3] = a;
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d)) cpu.word[4] = c;
  if (cpu.word[0] & (1u << 27)) {  // osxsave: xgetbv exists
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpu.word[5] = low;
  }
#endif
  return cpu;
}

bool has(const CpuWords& cpu, const Feature& feature) {
  return (cpu.word[feature.leaf] >> feature.bit) & 1u;
}

}  // namespace

uint32_t detect_isa() {
#if defined(__aarch64__)
  return FCC_ISA_AARCH64;
#else
  CpuWords cpu = read_cpu();
  uint32_t isa = kV4 | FCC_ISA_AVX512_BF16 | FCC_ISA_AVX512_VNNI;
  for (const Feature& feature : kFeatures)
    if (!has(cpu, feature)) isa &= ~feature.isa;
  // A level includes the ones below it.
  if (!(isa & FCC_ISA_X86_64_V2)) isa &= ~FCC_ISA_X86_64_V3;
  if (!(isa & FCC_ISA_X86_64_V3)) isa &= ~FCC_ISA_X86_64_V4;
  if (!(isa & FCC_ISA_X86_64_V4)) isa &= kV3;
  return isa;
#endif
}

fcc_status usable_isa(uint32_t* isa) {
  static const uint32_t detected = detect_isa();
  *isa = detected;
  const char* cap = std::getenv("FCC_MAX_ISA");
  if (cap == nullptr || *cap == '\0') return FCC_OK;
  for (const Level& level : kLevels) {
    if (std::strcmp(cap, level.name) != 0) continue;
    // The highest level caps nothing: extensions beyond it stay usable.
    if (level.isa != FCC_ISA_X86_64_V4) *isa &= level.implies;
    return FCC_OK;
  }
  return fail(FCC_BAD_ARGUMENT,
              "environment variable FCC_MAX_ISA is \"%s\", which is no instruction set level\n"
              " hint: use x86-64-v2, x86-64-v3, x86-64-v4 or aarch64",
              cap);
}

std::string isa_text(uint32_t isa) {
  std::string text;
  for (const Level& level : kLevels)
    if (isa & level.isa) text = level.name;  // the highest names the lower ones
  for (const Level& extension : kExtensions)
    if (isa & extension.isa) text += (text.empty() ? "" : " + ") + std::string(extension.name);
  return text.empty() ? "x86-64" : text;
}

std::string missing_features(uint32_t needed, uint32_t usable) {
  uint32_t lacking = needed & ~usable;
  CpuWords cpu = read_cpu();
  std::string text;
#if defined(__x86_64__)
  for (const Feature& feature : kFeatures)
    if ((feature.isa & lacking) && !has(cpu, feature)) text += (text.empty() ? "" : ", ") + std::string(feature.name);
#endif
  if (!text.empty()) return text;
  if ((detect_isa() & needed) == needed) return isa_text(lacking) + ", switched off by FCC_MAX_ISA";
  return isa_text(lacking);
}

}  // namespace fcc::runtime
