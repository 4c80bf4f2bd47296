// fcc test: ONNX test-case folders against compiled code (or the interpreter), a line each.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "ir/base/check.h"
#include "tools/fcc/command.h"
#include "tools/fcc/compile_flags.h"
#include "tools/fcc/forked_jobs.h"
#include "tools/fcc/onnx_case.h"
#include "tools/fcc/progress.h"
#include "tools/files.h"

namespace fcc {
namespace {

struct TestOptions {
  std::vector<std::string> folders, expected_failures;
  std::string target = "host";
  CaseOptions run;
  double rtol = 1e-3, atol = 1e-7, timeout = 60;
  int jobs = -1;
  bool quiet = false;
};

using Reasons = std::map<std::string, std::string>;

// Lines `case: reason`; blank lines and # comments are skipped.
Status read_expected_failures(const std::string& path, Reasons& reasons) {
  FCC_TRY(std::string text, read_text_file(path));
  int number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.empty() || line[0] == '#') continue;
    const size_t colon = line.find(": ");
    if (colon == line.npos || colon + 2 >= line.size()) {
      return fail(fmt::format("{}:{}: expected \"case: reason\"", path, number), fmt::format("seen \"{}\"", line));
    }
    if (!reasons.emplace(line.substr(0, colon), line.substr(colon + 2)).second) {
      return fail(fmt::format("{}:{}: {} is listed twice", path, number, line.substr(0, colon)));
    }
  }
  return {};
}

std::string one_line(std::string text) {
  for (size_t at = 0; (at = text.find('\n', at)) != text.npos;) {
    size_t end = text.find_first_not_of("\n ", at);
    text.replace(at, std::min(end, text.size()) - at, "; ");
  }
  return text;
}

// "" for a pass, else the reason. Runs in a worker.
std::string verdict_of(const OnnxCase& test, CaseOptions options, const std::string& folder, int number) {
  options.work_folder = fmt::format("{}/{}", folder, number);
  std::filesystem::create_directory(options.work_folder);
  std::string reason;
  try {
    if (Status status = run_case(test, options); !status) {
      const Diagnostic& d = status.error();
      reason = d.what.empty() ? "unknown reason" : d.what + (d.seen.empty() ? "" : "; " + d.seen);
    }
  } catch (const std::exception& e) {
    reason = e.what();
  }
  std::error_code ignored;
  std::filesystem::remove_all(options.work_folder, ignored);
  return one_line(reason);
}

struct Counts {
  int passed = 0, failed = 0, expected = 0, surprising = 0;
};

// Prints the case's line and counts it.
void report(const std::string& name, const std::string& reason, const Reasons& known, bool quiet, Counts& counts) {
  const auto listed = known.find(name);
  if (reason.empty() && listed == known.end()) {
    ++counts.passed;
    if (!quiet) fmt::print("PASS {}\n", name);
  } else if (reason.empty()) {
    ++counts.surprising;
    fmt::print("XPASS {}: listed as an expected failure, but it passes: remove its line\n", name);
  } else if (listed != known.end()) {
    ++counts.expected;
    if (!quiet) fmt::print("XFAIL {}: {}\n", name, listed->second);
  } else {
    ++counts.failed;
    fmt::print("FAIL {}: {}\n", name, reason);
  }
  std::fflush(stdout);
}

void warn_of_unknown(const Reasons& known, const std::vector<OnnxCase>& cases) {
  std::set<std::string> names;
  for (const OnnxCase& c : cases) names.insert(c.name);
  for (const auto& [name, reason] : known) {
    if (!names.contains(name))
      fmt::print(stderr, "note: no case is called {}, which the expected failures list\n", name);
  }
}

Result<ExitCode> test(TestOptions options) {
  options.run.tolerance = allclose_tolerance(options.rtol, options.atol);
  options.run.targets = targets_named(options.target);
  FCC_TRY(std::vector<OnnxCase> cases, find_cases(options.folders));
  Reasons known;
  for (const std::string& path : options.expected_failures) FCC_CHECKED(read_expected_failures(path, known));
  warn_of_unknown(known, cases);
  const int jobs =
      options.jobs >= 0 ? options.jobs : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  TemporaryFolder folder;
  ProgressLine progress;
  Counts counts;
  auto job = [&](int i) { return verdict_of(cases[static_cast<size_t>(i)], options.run, folder.path(), i); };
  auto done = [&](int i, const JobOutcome& outcome) {
    progress.clear();
    report(cases[static_cast<size_t>(i)].name, outcome.text, known, options.quiet, counts);
    progress.show(fmt::format("{} of {}", i + 1, cases.size()));
  };
  run_jobs(static_cast<int>(cases.size()), jobs, options.timeout, job, done);
  progress.clear();
  fmt::print(stderr, "{} cases: {} passed, {} failed, {} failed as expected, {} passed against expectation\n",
             cases.size(), counts.passed, counts.failed, counts.expected, counts.surprising);
  return counts.failed + counts.surprising == 0 ? kDone : kModelFault;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<TestOptions>();
  app.add_option("dir", o->folders, "a case (model.onnx, test_data_set_*) or a folder of cases")->required();
  app.add_option("--jobs", o->jobs, "worker processes; default: all cores; 0: in this process, for a debugger")
      ->type_name("N")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--interpret", o->run.interpret, "run the interpreter instead of compiled code");
  app.add_option("--open", o->run.open,
                 "make extents of the inputs open dimensions: first, the batch of each input, or all")
      ->type_name("first|all")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, OpenExtents>{{"first", OpenExtents::first}, {"all", OpenExtents::all}}));
  app.add_option("--expected-failures", o->expected_failures,
                 "lines `case: reason`; a listed case that passes fails the run")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  app.add_option("--rtol", o->rtol, "relative tolerance; default 1e-3, as ONNX's runner")
      ->type_name("X")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--atol", o->atol, "absolute tolerance; default 1e-7")->type_name("X")->check(CLI::NonNegativeNumber);
  app.add_option("--target", o->target, "what to compile for; default: host")->type_name("TARGET");
  app.add_option("--threads,-t", o->run.threads, "threads of a run; default 2")
      ->type_name("T")
      ->check(CLI::Range(1, 1024));
  app.add_option("--timeout", o->timeout, "seconds a case may take; default 60")
      ->type_name("S")
      ->check(CLI::PositiveNumber);
  app.add_flag("--quiet,-q", o->quiet, "only the lines of surprises");
  return [o] { return test(*o); };
}

}  // namespace

Command test_command() {
  return {
      .name = "test",
      .usage = "test DIR... [--expected-failures FILE] [--interpret]",
      .summary = "Run ONNX test-case folders: PASS or the reason, a line each.",
      .about =
          "A case is a folder with model.onnx and test_data_set_*/{input,output}_*.pb, as in ONNX's backend tests; "
          "other folders are searched "
          "for cases. Each is compiled, loaded, called and compared, in worker processes: a crash costs one case. Exit "
          "status 0 only if every "
          "case passes, or fails with a line in the file of expected failures.",
      .examples = {{"fcc test node/test_relu", "one case"},
                   {"fcc test node --expected-failures expected_failures.txt -q",
                    "all of them, printing only surprises"},
                   {"fcc test node --interpret", "is it the compiler or the operator?"}},
      .setup = setup,
  };
}

}  // namespace fcc
