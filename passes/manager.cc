#include "passes/manager.h"

#include <algorithm>
#include <chrono>

#include "ir/base/check.h"
#include "ir/verify.h"

namespace fcc {

#define FCC_PASS(pass, equation) Result<bool> pass(Graph&, PassContext&);
#include "passes/passes.def"
#undef FCC_PASS

static constexpr PassInfo kPasses[] = {
#define FCC_PASS(pass, equation) {#pass, equation, pass},
#include "passes/passes.def"
#undef FCC_PASS
};

std::span<const PassInfo> all_passes() { return kPasses; }

static const PassInfo& pass_named(std::string_view wanted) {
  for (const PassInfo& p : kPasses)
    if (p.name == wanted) return p;
  FCC_UNREACHABLE("no pass {}", wanted);
}

static Status check_names(const std::vector<std::string>& skip) {
  std::vector<std::string_view> names;
  for (const PassInfo& p : kPasses) names.push_back(p.name);
  for (const std::string& s : skip) {
    if (std::find(names.begin(), names.end(), s) != names.end()) continue;
    const std::string_view near = nearest_name(s, names);
    return fail("there is no pass \"" + s + "\" to skip", "", near.empty() ? "fcc --help-passes lists them" : "did you mean " + std::string(near) + "?");
  }
  return {};
}

Status run_passes(Graph& g, PassContext& context, const PassOptions& options) { return run_passes(g, context, options, pipeline()); }

Status run_passes(Graph& g, PassContext& context, const PassOptions& options, std::span<const std::string_view> names) {
  FCC_CHECKED(check_names(options.skip));
  int index = 0;
  for (std::string_view pass_name : names) {
    if (options.stop_after >= 0 && index >= options.stop_after) break;
    ++index;
    if (std::find(options.skip.begin(), options.skip.end(), pass_name) != options.skip.end()) continue;
    const PassInfo& pass = pass_named(pass_name);
    const auto start = std::chrono::steady_clock::now();
    FCC_TRY(bool changed, pass.run(g, context));
    if (changed) g.erase_dead();
    if (options.on_time) options.on_time(pass.name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (options.verify) verify_or_die(g, pass.name);
    if (changed && options.on_change) options.on_change(index, pass.name, g);
  }
  return {};
}

}  // namespace fcc
