// fcc bench: how fast a compiled model runs, at random inputs; with --profile, how far each step is from the machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/fcc/arguments.h"
#include "tools/fcc/peak.h"

namespace fcc {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
constexpr size_t kMaxCalls = 4'000'000;  // 32 MB of samples

struct BenchOptions {
  std::string model, entry, range = "-1..1";
  std::vector<std::string> inputs, dims;
  double seconds = 2;
  bool profile = false, json = false;
  uint64_t seed = 1;
  ThreadOption threads;
};

struct Timing {
  int64_t load_ns = 0, first_ns = 0, rss_bytes = 0;
  std::vector<int64_t> calls_ns;  // sorted
  int64_t quantile(double q) const {
    return calls_ns[static_cast<size_t>(std::lround(q * static_cast<double>(calls_ns.size() - 1)))];
  }
  int64_t median() const { return quantile(0.5); }
};

struct Step {
  std::string name, what;
  int64_t flops = 0, bytes = 0;  // of one call
  double ns = 0, ideal_ns = 0;   // of one call
  double percent() const { return ns > 0 ? 100 * ideal_ns / ns : 0; }
  double loss_ns() const { return ns - ideal_ns; }
};

int64_t ns_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

int64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// Calls for that many seconds and at least three times; a tenth of the time goes to warming up.
Status call_repeatedly(CompiledModel& model, double seconds, std::vector<int64_t>* calls_ns) {
  calls_ns->clear();
  calls_ns->reserve(kMaxCalls);
  for (Clock::time_point start = Clock::now(); static_cast<double>(ns_since(start)) < seconds * 1e8;)
    FCC_CHECKED(model.call());
  const Clock::time_point start = Clock::now();
  while ((calls_ns->size() < 3 || static_cast<double>(ns_since(start)) < seconds * 1e9) &&
         calls_ns->size() < kMaxCalls) {
    const Clock::time_point before = Clock::now();
    FCC_CHECKED(model.call());
    calls_ns->push_back(ns_since(before));
  }
  return {};
}

int64_t total_flops(const CompiledModel& model) {
  int64_t flops = 0;
  for (uint32_t s = 0; s < model.table().n_steps; ++s) {
    fcc_step_profile p = {};
    if (fcc_session_step_profile(model.session(), s, &p) == FCC_OK) flops += p.flops;
  }
  return flops;
}

// What the machine needs at least for one step: arithmetic at its peak or bytes at the bandwidth of that many.
double ideal_ns(const fcc_step_profile& p, double peak_flops, ReadBandwidth& bandwidth) {
  const double rate = bandwidth.at(p.bytes);
  const double compute = 1e9 * static_cast<double>(p.flops) / peak_flops;
  const double memory = rate > 0 ? 1e9 * static_cast<double>(p.bytes) / rate : 0;
  return std::max(compute, memory);
}

// The same for a whole call. Convolutions count the arithmetic of the direct method, so Winograd may go below it.
double limit_ns(const CompiledModel& model, double peak_flops, ReadBandwidth& bandwidth) {
  double sum = 0;
  for (uint32_t s = 0; s < model.table().n_steps; ++s) {
    fcc_step_profile p = {};
    if (fcc_session_step_profile(model.session(), s, &p) == FCC_OK) sum += ideal_ns(p, peak_flops, bandwidth);
  }
  return sum;
}

// A second, shorter round with the clocks on.
Result<std::vector<Step>> profile_steps(CompiledModel& model, double seconds, double peak_flops, ReadBandwidth& bandwidth) {
  fcc_session_set_profile(model.session(), 1);
  std::vector<int64_t> calls_ns;
  FCC_CHECKED(call_repeatedly(model, std::min(seconds, 2.0), &calls_ns));
  std::vector<Step> steps;
  for (uint32_t s = 0; s < model.table().n_steps; ++s) {
    fcc_step_profile p = {};
    if (fcc_session_step_profile(model.session(), s, &p) != FCC_OK) return fail(fcc_error_text());
    Step step{.name = p.name, .what = p.what, .flops = p.flops, .bytes = p.bytes};
    if (p.calls > 0) step.ns = static_cast<double>(p.ns) / static_cast<double>(p.calls);
    step.ideal_ns = ideal_ns(p, peak_flops, bandwidth);
    steps.push_back(std::move(step));
  }
  fcc_session_set_profile(model.session(), 0);
  return steps;
}

std::string step_line(const Step& s) {
  const double gflops = s.ns > 0 ? static_cast<double>(s.flops) / s.ns : 0,
               gbytes = s.ns > 0 ? static_cast<double>(s.bytes) / s.ns : 0;
  return fmt::format("{:>10} {:>8.1f} GFLOP/s {:>7.1f} GB/s {:>5.1f} %  {}  ({})\n", duration_text(s.ns), gflops,
                     gbytes, s.percent(), s.name, s.what);
}

void print_profile(const std::vector<Step>& steps) {
  fmt::print("\n{:>10} {:>16} {:>12} {:>7}  step\n", "time", "arithmetic", "memory", "of peak");
  for (const Step& s : steps) fmt::print("{}", step_line(s));
  std::vector<Step> worst = steps;
  std::ranges::sort(worst, std::greater(), &Step::loss_ns);
  worst.resize(std::min<size_t>(worst.size(), 3));
  fmt::print("\nmost time above what the machine allows:\n");
  for (const Step& s : worst)
    fmt::print("{:>10} of {}  {}  ({})\n", duration_text(std::max(s.loss_ns(), 0.0)), duration_text(s.ns), s.name,
               s.what);
}

Json to_json(const Timing& t, int64_t flops, double peak_flops, double limit, const std::vector<Step>* steps) {
  Json json = {{"min_ns", t.calls_ns.front()},
               {"median_ns", t.median()},
               {"p90_ns", t.quantile(0.9)},
               {"p99_ns", t.quantile(0.99)},
               {"calls", t.calls_ns.size()},
               {"load_ns", t.load_ns},
               {"first_ns", t.first_ns},
               {"flops", flops},
               {"peak_gflops", std::round(peak_flops / 1e8) / 10},
               {"limit_ns", std::round(limit)},
               {"rss_bytes", t.rss_bytes}};
  if (!steps) return json;
  for (const Step& s : *steps) {
    json["steps"].push_back({{"name", s.name},
                             {"what", s.what},
                             {"ns", s.ns},
                             {"flops", s.flops},
                             {"bytes", s.bytes},
                             {"gflops", s.ns > 0 ? static_cast<double>(s.flops) / s.ns : 0},
                             {"gbytes", s.ns > 0 ? static_cast<double>(s.bytes) / s.ns : 0},
                             {"percent_of_peak", s.percent()}});
  }
  return json;
}

void print_text(const Timing& t, int64_t flops, double peak_flops, int threads) {
  const double gflops = static_cast<double>(flops) / static_cast<double>(t.median());
  fmt::print("min {}  median {}  p90 {}  p99 {}  ({} calls, {} threads)\n",
             duration_text(static_cast<double>(t.calls_ns.front())), duration_text(static_cast<double>(t.median())),
             duration_text(static_cast<double>(t.quantile(0.9))), duration_text(static_cast<double>(t.quantile(0.99))),
             t.calls_ns.size(), threads);
  fmt::print("load {}  first call {}  memory {}\n", duration_text(static_cast<double>(t.load_ns)),
             duration_text(static_cast<double>(t.first_ns)), bytes_text(static_cast<double>(t.rss_bytes)));
  fmt::print("{} operations a call: {:.1f} GFLOP/s, {:.1f} % of the {:.1f} GFLOP/s this machine reaches\n",
             count_text(static_cast<double>(flops)), gflops, 1e11 * gflops / peak_flops, peak_flops / 1e9);
}

Result<ExitCode> bench(const BenchOptions& options) {
  const DimSizes given = parse_dim_sizes(options.dims);
  const RandomRange range = parse_range(options.range, options.seed);
  Timing timing;
  const Clock::time_point start = Clock::now();
  FCC_TRY(CompiledModel model,
          CompiledModel::open(options.model, {.threads = options.threads.threads, .entry = options.entry}));
  timing.load_ns = ns_since(start);
  const InputSource source{.files = options.inputs, .random = &range, .sizes = given};
  DimSizes assumed;
  FCC_TRY(std::vector<Tensor> inputs, gather_inputs(source, wanted_inputs(model), &assumed));
  if (!assumed.empty()) fmt::print(stderr, "assumed {}; choose with --dim\n", text(assumed));

  const Clock::time_point first = Clock::now();
  FCC_CHECKED(model.bind(inputs));
  FCC_CHECKED(model.call());
  timing.first_ns = ns_since(first);
  timing.rss_bytes = resident_bytes();  // before the samples and the yardsticks take memory of their own
  FCC_CHECKED(call_repeatedly(model, options.seconds, &timing.calls_ns));
  std::ranges::sort(timing.calls_ns);

  fcc_session_stats stats = {};
  fcc_session_get_stats(model.session(), &stats);
  const int threads = std::max(static_cast<int>(stats.threads), 1);
  const double peak = measure_peak_flops(threads);
  const int64_t flops = total_flops(model);
  ReadBandwidth bandwidth(threads);
  std::vector<Step> steps;
  if (options.profile) {
    FCC_TRY(steps, profile_steps(model, options.seconds, peak, bandwidth));
  }
  if (options.json) {
    const double limit = limit_ns(model, peak, bandwidth);
    fmt::print("{}\n", to_json(timing, flops, peak, limit, options.profile ? &steps : nullptr).dump(2));
    return kDone;
  }
  print_text(timing, flops, peak, threads);
  if (options.profile) print_profile(steps);
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  app.add_option("model", o->model, "the compiled model, a .so")->required();
  app.add_option("--dim", o->dims, "size of an open dimension; default: the smallest allowed")
      ->type_name("NAME=SIZE")
      ->expected(1)
      ->take_all();
  o->threads.add(app);
  app.add_option("--seconds", o->seconds, "how long to measure; default 2")
      ->type_name("S")
      ->check(CLI::Range(0.0, 3600.0));
  app.add_flag("--profile", o->profile, "a line for each step, and the three that lose most against the machine");
  app.add_flag("--json", o->json, "JSON on stdout");
  app.add_option("-i,--input", o->inputs, "data for an input instead of random values")
      ->type_name("NAME=FILE.npy")
      ->expected(1)
      ->take_all();
  app.add_option("--entry", o->entry, "which entry of the model; default: the first")->type_name("NAME");
  app.add_option("--range", o->range, "range of random floats; default -1..1")->type_name("LOW..HIGH");
  app.add_option("--seed", o->seed, "of the random inputs; default 1")->type_name("N");
  return [o] { return bench(*o); };
}

}  // namespace

Command bench_command() {
  return {
      .name = "bench",
      .usage = "bench MODEL.so [--dim N=64] [--threads T] [--seconds S] [--profile] [--json]",
      .summary = "Time a compiled model at random inputs.",
      .about =
          "Reports the distribution of one call's time, the time to load and of the first call, and the share of the "
          "machine's measured "
          "multiply-add peak. With --profile, each step's share of what the machine allows: the larger of its "
          "arithmetic at that peak and "
          "its bytes at the read bandwidth measured for a working set of that size.",
      .examples = {{"fcc bench digits.so --dim N=64 --threads 2", "batches of 64 on two threads"},
                   {"fcc bench digits.so --profile", "which steps take the time, and how good each is"},
                   {"fcc bench digits.so --json | jq .median_ns", "one figure for a script"}},
      .setup = setup,
  };
}

}  // namespace fcc
