#include "ir/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "ir/base/check.h"
#include "ir/base/env.h"

namespace fcc {

namespace {

struct LevelFacts {
  Isa isa;
  std::string_view name, cpu, features;
  int64_t l1, l2, l3, vector_bytes, vector_registers;
};
constexpr int64_t kKiB = 1024, kMiB = 1024 * 1024;
// Caches are those of common machines of the level: they steer tile sizes, so small is the safe side.
constexpr LevelFacts kLevels[] = {
    {Isa::x86_64_v2, "x86-64-v2", "x86-64-v2", "", 32 * kKiB, 256 * kKiB, 8 * kMiB, 16, 16},
    {Isa::x86_64_v3, "x86-64-v3", "x86-64-v3", "", 32 * kKiB, 512 * kKiB, 16 * kMiB, 32, 16},
    {Isa::x86_64_v4, "x86-64-v4", "x86-64-v4", "", 32 * kKiB, 1 * kMiB, 32 * kMiB, 64, 32},
    {Isa::aarch64, "aarch64", "generic", "+neon", 32 * kKiB, 512 * kKiB, 8 * kMiB, 16, 32},
};
struct ExtensionFacts {
  uint32_t bit;
  std::string_view name, feature;
};
constexpr ExtensionFacts kExtensions[] = {
    {kAvx512Bf16, "avx512-bf16", "+avx512bf16"},
    {kAvx512Vnni, "avx512-vnni", "+avx512vnni"},
};

const LevelFacts& facts(Isa isa) {
  return kLevels[static_cast<size_t>(isa)];
}

const LevelFacts* level_named(std::string_view name) {
  for (const LevelFacts& l : kLevels)
    if (l.name == name) return &l;
  return nullptr;
}

std::string size_text(int64_t v) {
  if (v % kMiB == 0 && v) return fmt::format("{}M", v / kMiB);
  if (v % kKiB == 0 && v) return fmt::format("{}K", v / kKiB);
  return fmt::format("{}", v);
}

std::optional<int64_t> parse_size(std::string_view s) {
  int64_t unit = 1;
  if (!s.empty() && (s.back() == 'K' || s.back() == 'M' || s.back() == 'G')) {
    unit = s.back() == 'K' ? kKiB : s.back() == 'M' ? kMiB : 1024 * kMiB;
    s.remove_suffix(1);
  }
  if (s.empty() || s.size() > 9) return std::nullopt;
  int64_t v = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    v = v * 10 + (c - '0');
  }
  return v * unit;
}

Status bad(std::string_view text, std::string_view item, std::string_view hint) {
  return fail(fmt::format("target \"{}\": \"{}\" is not understood", text, item), {}, std::string(hint));
}

constexpr std::string_view kHint =
    "a level (host, x86-64-v2, x86-64-v3, x86-64-v4, aarch64), then any of avx512-bf16, avx512-vnni, l1=32K, l2=1M, "
    "l3=32M, threads=2, separated by commas";

Status apply_option(Target& t, std::string_view text, std::string_view item) {
  for (const ExtensionFacts& e : kExtensions) {
    if (e.name != item) continue;
    if (t.isa != Isa::x86_64_v4) return bad(text, item, "this extension needs x86-64-v4");
    if (!(t.extensions & e.bit)) {
      t.extensions |= e.bit;
      t.features.clear();
      for (const ExtensionFacts& x : kExtensions)
        if (t.extensions & x.bit) t.features += (t.features.empty() ? "" : ",") + std::string(x.feature);
    }
    return {};
  }
  const size_t eq = item.find('=');
  if (eq == item.npos) return bad(text, item, kHint);
  const std::string_view key = item.substr(0, eq);
  const std::optional<int64_t> value = parse_size(item.substr(eq + 1));
  if (!value || *value <= 0) return bad(text, item, "sizes are positive numbers such as 48K or 2M");
  if (key == "l1")
    t.l1_bytes = *value;
  else if (key == "l2")
    t.l2_bytes = *value;
  else if (key == "l3")
    t.l3_bytes = *value;
  else if (key == "threads" && *value <= 4096)
    t.threads = *value;
  else
    return bad(text, item, kHint);
  return {};
}

std::vector<std::string_view> split(std::string_view s, char separator) {
  std::vector<std::string_view> items;
  for (;;) {
    const size_t at = s.find(separator);
    std::string_view item = s.substr(0, at);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    items.push_back(item);
    if (at == s.npos) return items;
    s.remove_prefix(at + 1);
  }
}

Isa detect_isa() {
#if defined(__aarch64__)
  return Isa::aarch64;
#else
  if (__builtin_cpu_supports("x86-64-v4")) return Isa::x86_64_v4;
  if (__builtin_cpu_supports("x86-64-v3")) return Isa::x86_64_v3;
  return Isa::x86_64_v2;
#endif
}

}  // namespace

Target Target::level(Isa isa) {
  const LevelFacts& f = facts(isa);
  Target t;
  t.isa = isa;
  t.triple = isa == Isa::aarch64 ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";
  t.cpu = f.cpu;
  t.features = f.features;
  t.l1_bytes = f.l1;
  t.l2_bytes = f.l2;
  t.l3_bytes = f.l3;
  t.vector_bytes = f.vector_bytes;
  t.vector_registers = f.vector_registers;
  return t;
}

Result<Target> Target::host() {
  Isa isa = detect_isa();
  const std::string cap = env("FCC_MAX_ISA");
  if (!cap.empty()) {
    const LevelFacts* level = level_named(cap);
    if (!level)
      return fail(fmt::format("environment variable FCC_MAX_ISA is \"{}\", which is no instruction set level", cap), {},
                  "use x86-64-v2, x86-64-v3, x86-64-v4 or aarch64");
    if (isa != Isa::aarch64 && level->isa != Isa::aarch64) isa = std::min(isa, level->isa);
  }
  return level(isa);
}

Result<Target> Target::parse(std::string_view text) {
  const std::vector<std::string_view> items = split(text, ',');
  Target t;
  if (items[0] == "host") {
    FCC_TRY(t, host());
  } else if (const LevelFacts* level_facts = level_named(items[0])) {
    t = level(level_facts->isa);
  } else {
    return fail(fmt::format("unknown target \"{}\"", text), {}, std::string(kHint));
  }
  for (size_t i = 1; i < items.size(); ++i) FCC_CHECKED(apply_option(t, text, items[i]));
  return t;
}

std::string Target::text() const {
  const Target base = level(isa);
  std::string s(facts(isa).name);
  for (const ExtensionFacts& e : kExtensions)
    if (extensions & e.bit) s += "," + std::string(e.name);
  if (l1_bytes != base.l1_bytes) s += ",l1=" + size_text(l1_bytes);
  if (l2_bytes != base.l2_bytes) s += ",l2=" + size_text(l2_bytes);
  if (l3_bytes != base.l3_bytes) s += ",l3=" + size_text(l3_bytes);
  if (threads != base.threads) s += fmt::format(",threads={}", threads);
  return s;
}

uint32_t Target::isa_bits() const {
  // The values of fcc_isa in runtime/include/fcc/model_abi.h, which ir must not include.
  constexpr uint32_t kLevelBits[] = {1u << 0, 1u << 0 | 1u << 1, 1u << 0 | 1u << 1 | 1u << 2, 1u << 16};
  uint32_t bits = kLevelBits[static_cast<size_t>(isa)];
  if (extensions & kAvx512Bf16) bits |= 1u << 3;
  if (extensions & kAvx512Vnni) bits |= 1u << 4;
  return bits;
}

Result<std::vector<Target>> parse_targets(std::string_view text) {
  std::vector<std::string> groups;
  for (std::string_view part : split(text, ';')) {
    bool first = true;
    for (std::string_view item : split(part, ',')) {
      if (first || item == "host" || level_named(item))
        groups.emplace_back(item);
      else
        groups.back() += "," + std::string(item);
      first = false;
    }
  }
  std::vector<Target> targets;
  for (const std::string& g : groups) {
    FCC_TRY(Target t, Target::parse(g));
    if (std::find(targets.begin(), targets.end(), t) == targets.end()) targets.push_back(std::move(t));
  }
  for (const Target& t : targets)
    if (t.is_x86() != targets[0].is_x86())
      return fail(fmt::format("target list \"{}\" mixes processor families", text), {},
                  "write one file for each family");
  std::stable_sort(targets.begin(), targets.end(), [](const Target& a, const Target& b) {
    return a.isa != b.isa ? a.isa > b.isa : std::popcount(a.extensions) > std::popcount(b.extensions);
  });
  return targets;
}

}  // namespace fcc
