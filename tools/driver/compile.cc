#include "tools/driver/compile.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backend/lower/lower.h"
#include "backend/llvm/kernel_cache.h"
#include "backend/llvm/link.h"
#include "backend/llvm/object.h"
#include "backend/schedule.h"
#include "frontend/onnx/import.h"
#include "ir/base/env.h"
#include "ir/loop/text.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/manager.h"
#include "tools/driver/model_info.h"
#include "tools/driver/stages.h"

namespace fcc {
namespace driver {

Dumper::Dumper(std::string dir) : dir_(std::move(dir)) {
  if (!dir_.empty()) std::filesystem::create_directories(dir_);
}
void Dumper::write(std::string_view stage, const std::string& text) {
  if (dir_.empty()) return;
  std::ofstream(fmt::format("{}/{:02}_{}.txt", dir_, index_++, stage)) << text;
}

static std::vector<std::string> split(const std::string& s, char separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < s.size();) {
    const size_t end = std::min(s.find(separator, at), s.size());
    if (end > at) parts.push_back(s.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

static PassOptions pass_options(const CompileOptions& options, CompileReport& report) {
  PassOptions p;
  p.skip = options.skip;
  for (const std::string& s : split(env("FCC_SKIP"), ',')) p.skip.push_back(s);
  p.stop_after = options.stop_after;
  if (const std::string s = env("FCC_STOP_AFTER"); !s.empty() && p.stop_after < 0) p.stop_after = std::atoi(s.c_str());
#ifdef NDEBUG
  p.verify = options.verify || env("FCC_VERIFY") == "1";
#else
  p.verify = true;
#endif
  p.on_time = [&report](std::string_view pass, double s) { report.stages.push_back({std::string(pass), s}); };
  return p;
}

Result<std::vector<Target>> targets_of(const CompileOptions& options) {
  std::string text;
  for (const std::string& t : options.targets) text += (text.empty() ? "" : ";") + t;
  return parse_targets(text.empty() ? "host" : text);
}

Result<Graph> optimize(Graph g, const Target& target, const CompileOptions& options, CompileReport& report, Dumper& dumper,
                       std::vector<PassContext::Prepared>* prepared) {
  PassContext context{.target = target, .winograd = options.winograd, .compact = prepared != nullptr, .prepared = {}, .notes = {}};
  PassOptions p = pass_options(options, report);
  if (dumper.on()) p.on_change = [&dumper](int, std::string_view pass, const Graph& changed) { dumper.write(pass, print(changed)); };
  FCC_CHECKED(run_passes(g, context, p));
  report.notes.insert(report.notes.end(), context.notes.begin(), context.notes.end());
  if (prepared) *prepared = std::move(context.prepared);
  return g;
}

Status run_named(Graph& g, const Target& target, const CompileOptions& options, CompileReport& report, std::span<const std::string_view> passes) {
  PassContext context{.target = target, .winograd = options.winograd, .prepared = {}, .notes = {}};
  PassOptions p = pass_options(options, report);
  p.stop_after = -1;
  return run_passes(g, context, p, passes);
}

backend::SymbolBounds bounds_of(const Import& import) {
  backend::SymbolBounds bounds;
  for (const auto& [symbol, b] : import.bounds) bounds[symbol] = {b.min, b.max};
  return bounds;
}

Result<Import> import_model(const std::string& model, const CompileOptions& options, bool weights_stay, OwnTraining training) {
  ImportOptions o;
  o.training = training;
  o.weights_stay = weights_stay;
  o.dims = options.dims;
  return import_file(model, o);
}

Status write_image(const ModelImage& image, const std::string& output, const CompileOptions& options, CompileReport& report) {
  const auto start = Clock::now();
  WriteOptions w;
  w.jobs = options.jobs > 0 ? options.jobs : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (options.cache) w.cache_folder = user_cache_folder();
  FCC_CHECKED(write_model(image, output, w));
  report.stages.push_back({"codegen+link", seconds_since(start)});
  struct stat st {};
  if (stat(output.c_str(), &st) == 0) report.file_bytes = st.st_size;
  return {};
}

}  // namespace driver

namespace {

using namespace driver;

struct Lowered {
  ModelImage image;
  std::vector<Graph> graphs;
};

// What a compact library does once when it is loaded: the states that `infer` reads instead of transformed weights.
Result<Graph> preparing_graph(std::vector<PassContext::Prepared>& prepared) {
  Graph g;
  for (PassContext::Prepared& p : prepared) {
    GraphBuilder b(g, {});
    Attrs packing;
    for (const char* name : {"nr", "group", "tail"})
      if (p.transform.has(name)) packing.set(name, p.transform.integer(name));
    const ValueId plain = g.add_constant(p.name + "/plain", std::move(p.weight));
    const ValueId next = b("TransformWinogradWeight", {b("PackConvWeight", {plain}, std::move(packing))}, p.transform);
    FCC_CHECKED(b.status());
    const ValueId state = g.add_state(p.name, p.type, {});
    g.updates.emplace_back(state, next);
  }
  return g;
}

// Takes the graph from the import: the passes then free each weight as soon as its packed form exists.
Result<Lowered> lower_all(Import& import, const CompileOptions& options, CompileReport& report, Dumper& dumper) {
  FCC_TRY(std::vector<Target> targets, targets_of(options));
  Lowered out;
  backend::ConstantPool pool;
  backend::StatePool states(pool);
  const backend::SymbolBounds bounds = bounds_of(import);
  for (const Target& target : targets) {
    const bool last = &target == &targets.back();
    std::vector<PassContext::Prepared> prepared;
    FCC_TRY(Graph g, optimize(last ? std::move(import.graph) : import.graph, target, options, report, dumper, options.compact ? &prepared : nullptr));
    const auto start = Clock::now();
    for (const PassContext::Prepared& p : prepared) states.add(p.name, p.type, {}, FCC_STATE_PREPARED);
    VariantImage variant;
    variant.target = target;
    FCC_TRY(EntryImage entry, backend::schedule(g, "infer", target, bounds, variant, pool, states));
    std::optional<EntryImage> prepare;
    if (!prepared.empty()) {
      FCC_TRY(Graph transforms, preparing_graph(prepared));
      FCC_TRY(transforms, optimize(std::move(transforms), target, options, report, dumper));
      const int64_t declared = states.bytes();
      FCC_TRY(prepare, backend::schedule(transforms, FCC_PREPARE_ENTRY, target, {}, variant, pool, states));
      FCC_CHECK(states.bytes() == declared, "what is prepared has another name than what is read");
    }
    report.stages.push_back({"lower", seconds_since(start)});
    report.steps = static_cast<int64_t>(entry.steps.size());
    report.distinct_kernels += static_cast<int64_t>(variant.kernels.size());
    report.workspace_bytes = entry.workspace_bytes;
    if (dumper.on())
      for (const loop::Kernel& k : variant.kernels) dumper.write("loops_" + k.name, loop::print(k));
    variant.entries.push_back(std::move(entry));
    if (prepare) variant.entries.push_back(std::move(*prepare));
    out.image.variants.push_back(std::move(variant));
    out.graphs.push_back(std::move(g));
  }
  report.kernels = report.steps;
  out.image.state_arena_bytes = states.bytes();
  out.image.states = states.take();
  out.image.constants_bytes = pool.bytes();
  out.image.constants = pool.take();
  out.image.source_hash = import.sha256;
  report.constant_bytes = out.image.constants_bytes;
  return out;
}

void tell(const CompileOptions& options, std::string_view stage, int done) {
  if (options.progress) options.progress(stage, done, 3);
}

// From the imported graph to the file; `report` holds what the import said.
Result<CompileReport> compile_import(Import import, const std::string& output, const CompileOptions& options, CompileReport report) {
  Dumper dumper(options.dump_dir.empty() ? env("FCC_DUMP") : options.dump_dir);
  if (dumper.on()) dumper.write("import", print(import.graph));
  tell(options, "optimize", 1);
  FCC_TRY(Lowered lowered, lower_all(import, options, report, dumper));
  lowered.image.producer = "fcc " FCC_VERSION;
  lowered.image.info_json = model_info_json(lowered.image, import);
  tell(options, "generate code", 2);
  FCC_CHECKED(write_image(lowered.image, output, options, report));
  tell(options, "done", 3);
  return report;
}

}  // namespace

Result<CompileReport> compile_file(const std::string& model, const std::string& output, const CompileOptions& options) {
  CompileReport report;
  tell(options, "import", 0);
  const auto start = Clock::now();
  FCC_TRY(Import import, import_model(model, options));
  report.stages.push_back({"import", seconds_since(start)});
  report.notes = import.notes;
  return compile_import(std::move(import), output, options, std::move(report));
}

Result<CompileReport> compile_graph(const Graph& graph, const std::string& output, const CompileOptions& options) {
  Import import;
  import.graph = graph;
  return compile_import(std::move(import), output, options, {});
}

Result<Graph> graph_at_stage(const std::string& model, const CompileOptions& options, std::string_view stage) {
  FCC_TRY(Import import, import_model(model, options));
  if (stage == "import") return std::move(import.graph);
  FCC_TRY(std::vector<Target> targets, targets_of(options));
  CompileReport report;
  Dumper dumper("");
  return optimize(std::move(import.graph), targets[0], options, report, dumper);
}

static Result<std::string> dump_code(const ModelImage& image, const std::string& kernel, bool assembly) {
  const VariantImage& v = image.variants[0];
  std::vector<std::string> symbols;
  for (const SymbolImage& s : v.entries[0].symbols) symbols.push_back(s.name);
  std::map<std::string, int32_t> faults;
  for (const loop::Kernel& k : v.kernels)
    loop::walk(k.body, [&](const loop::Stmt& s) {
      if (s.kind == loop::StmtKind::fault) faults.emplace(s.text, static_cast<int32_t>(faults.size()));
    });
  std::string out;
  for (const loop::Kernel& k : v.kernels) {
    if (!kernel.empty() && k.name != kernel) continue;
    FCC_TRY(CompiledKernel c, compile_kernel(k, v.target, symbols, faults, k.name, ::fcc::CompileKernelOptions{.want_ir = !assembly, .want_asm = assembly}));
    out += assembly ? c.assembly : c.ir;
  }
  return out;
}

Result<std::string> dump_stage(const std::string& model, const CompileOptions& options, std::string_view stage, const std::string& kernel) {
  if (stage == "import" || stage == "graph") {
    FCC_TRY(Graph g, graph_at_stage(model, options, stage));
    return print(g);
  }
  FCC_TRY(Import import, import_model(model, options));
  CompileReport report;
  Dumper dumper("");
  FCC_TRY(Lowered lowered, lower_all(import, options, report, dumper));
  if (stage == "loops") {
    std::string out;
    for (const loop::Kernel& k : lowered.image.variants[0].kernels)
      if (kernel.empty() || k.name == kernel) out += loop::print(k) + "\n";
    return out;
  }
  if (stage == "llvm" || stage == "asm") return dump_code(lowered.image, kernel, stage == "asm");
  return fail("there is no stage \"" + std::string(stage) + "\"", "", "stages are import, graph, loops, llvm and asm");
}

std::vector<std::pair<std::string, std::string>> pass_list() {
  std::vector<std::pair<std::string, std::string>> list;
  for (std::string_view wanted : pipeline())
    for (const PassInfo& p : all_passes())
      if (p.name == wanted) list.emplace_back(p.name, p.equation);
  return list;
}

}  // namespace fcc
