#include "tools/fcc/compile_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/target.h"

namespace fcc {
namespace {

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == text.npos;
}

// NAME=64 or NAME=1..64; the name may hold anything.
bool is_dim(std::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals == text.npos || equals == 0) return false;
  const std::string_view size = text.substr(equals + 1);
  const size_t dots = size.find("..");
  return dots == size.npos ? is_number(size) : is_number(size.substr(0, dots)) && is_number(size.substr(dots + 2));
}

void check_passes(const std::vector<std::string>& skipped) {
  std::vector<std::string> names;
  for (auto& [name, equation] : pass_list()) names.push_back(name);
  for (const std::string& pass : skipped) {
    if (std::ranges::find(names, pass) != names.end()) continue;
    throw UsageError(fmt::format("--skip {}: there is no such pass; the passes: {}", pass, fmt::join(names, ", ")));
  }
}

}  // namespace

std::vector<std::string> targets_named(const std::string& list) {
  Result<std::vector<Target>> targets = parse_targets(list);
  if (!targets) {
    const Diagnostic& d = targets.error();
    throw UsageError(fmt::format("--target {}: {}{}{}", list, d.what, d.hint.empty() ? "" : "; ", d.hint));
  }
  std::vector<std::string> texts;
  for (const Target& t : *targets) texts.push_back(t.text());
  return texts;
}

void CompileFlags::add(CLI::App& app) {
  app.add_option("--target", target_,
                 "host (default), x86-64-v2, x86-64-v3, x86-64-v4 or aarch64; a list makes one file with several")
      ->type_name("TARGET[,TARGET]");
  app.add_option("--dim", options_.dims, "fix an open dimension (N=64) or bound it (N=1..64)")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  app.add_option("--jobs", options_.jobs, "cores to compile with; default: all")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  app.add_option("--skip", options_.skip, "leave out a pass, by name")->type_name("PASS")->expected(1)->take_all();
  app.add_option("--stop-after", options_.stop_after, "run only the first N passes")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--dump", options_.dump_dir, "write every changed stage into this folder, numbered")->type_name("DIR");
  app.add_flag("--verify-passes", options_.verify, "verify, print and parse back the program after every pass");
  app.add_flag("!--no-winograd", options_.winograd,
               "convolve without Winograd's transform: slower, a little more exact");
}

void CompileFlags::add_compact(CLI::App& app) {
  app.add_flag("--compact", options_.compact,
               "keep the file at the size of the plain weights and transform them when it is loaded");
}

CompileOptions CompileFlags::options() const {
  for (const std::string& dim : options_.dims) {
    if (!is_dim(dim))
      throw UsageError(fmt::format("--dim {}: expected NAME=SIZE or NAME=MIN..MAX, such as N=1..64", dim));
  }
  check_passes(options_.skip);
  CompileOptions options = options_;
  options.targets = targets_named(target_);
  return options;
}

void print_notes(const CompileReport& report) {
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
}

}  // namespace fcc
