// One kernel at a time against what binds it: the multiply-add peak and the read bandwidth of its working set, both
// measured in this process. Each benchmark is a graph in text form, compiled for this CPU and run by the runtime.
//
//   build/release/bench/bench_kernels [--benchmark_filter=conv] [--benchmark_min_time=1]
//
// of_limit is the larger of the two bounds over the time taken; convolutions count the arithmetic of the direct method,
// so a Winograd kernel may pass 1.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "ir/text.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"
#include "tools/fcc/peak.h"
#include "tools/random_input.h"

namespace fcc {
namespace {

struct Case {
  std::string name, graph;
  bool weights_stream = false;
};

std::string matmul(int m, int k, int n) {
  return fmt::format(
      "graph \"b\" opset 17 {{\n  input x : f32[{0},{1}]\n  const w : f32[{1},{2}] = pool 0\n"
      "  y = MatMul(x, w) : f32[{0},{2}]\n  z = Relu(y) : f32[{0},{2}]\n  output z = z\n}}\n",
      m, k, n);
}

std::string conv(int c, int k, int size, int kernel, int stride, int group) {
  const int pad = kernel / 2, out = (size + 2 * pad - kernel) / stride + 1;
  return fmt::format(
      "graph \"b\" opset 17 {{\n  input x : f32[1,{0},{2},{2}]\n  const w : f32[{1},{3},{4},{4}] = pool 0\n"
      "  y = Conv(x, w) {{group={5}, pads=[{6},{6},{6},{6}], strides=[{7},{7}]}} : f32[1,{1},{8},{8}]\n"
      "  z = Relu(y) : f32[1,{1},{8},{8}]\n  output z = z\n}}\n",
      c, k, size, c / group, kernel, group, pad, stride, out);
}

std::string rows(const std::string& op, const std::string& attrs, int m, int n) {
  return fmt::format(
      "graph \"b\" opset 17 {{\n  input x : f32[{0},{1}]\n  y = {2}(x) {{{3}}} : f32[{0},{1}]\n  output y = y\n}}\n", m,
      n, op, attrs);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (auto [m, k, n] : {std::array{1, 784, 512},
                         {1, 2048, 2048},
                         {4, 784, 512},
                         {8, 784, 512},
                         {64, 784, 512},
                         {64, 784, 128},
                         {64, 512, 10},
                         {64, 2048, 2048},
                         {128, 768, 768},
                         {128, 768, 3072},
                         {128, 3072, 768},
                         {197, 768, 768},
                         {256, 256, 256}})
    all.push_back({fmt::format("matmul/{}x{}x{}", m, k, n), matmul(m, k, n)});
  for (auto [c, s] :
       {std::array{64, 224}, {128, 112}, {256, 56}, {512, 28}, {512, 14}, {64, 56}, {128, 28}, {256, 14}, {512, 7}})
    all.push_back({fmt::format("conv3x3/{}@{}", c, s), conv(c, c, s, 3, 1, 1)});
  for (auto [c, k, s] : {std::array{64, 256, 56}, {256, 64, 56}, {512, 128, 28}, {1024, 256, 14}, {2048, 512, 7}})
    all.push_back({fmt::format("conv1x1/{}-{}@{}", c, k, s), conv(c, k, s, 1, 1, 1)});
  all.push_back({"conv3x3s2/128@56", conv(128, 128, 56, 3, 2, 1)});
  all.push_back({"conv7x7s2/3-64@224", conv(3, 64, 224, 7, 2, 1)});
  all.push_back({"conv3x3s2/3-32@224", conv(3, 32, 224, 3, 2, 1)});
  for (auto [c, s, k] : {std::array{144, 56, 3}, {384, 14, 3}, {96, 112, 3}, {240, 28, 5}, {672, 14, 5}})
    all.push_back({fmt::format("depthwise{}x{}/{}@{}", k, k, c, s), conv(c, c, s, k, 1, c)});
  all.push_back({"softmax/1536x128", rows("Softmax", "axis=-1", 1536, 128)});
  all.push_back({"gelu/128x3072", rows("Gelu", "approximate=\"none\"", 128, 3072)});
  return all;
}

void run(benchmark::State& state, const Case& c, int threads) {
  auto fault = [&](const Diagnostic& d) { state.SkipWithError(d.text().c_str()); };
  Result<Graph> graph = parse_graph(c.graph);
  if (!graph) return fault(graph.error());
  const std::string path = std::filesystem::temp_directory_path() / fmt::format("fcc_bench_{}.so", getpid());
  if (Result<CompileReport> done = compile_graph(*graph, path, {}); !done) return fault(done.error());
  Result<CompiledModel> model = CompiledModel::open(path, {.threads = threads, .entry = ""});
  std::filesystem::remove(path);
  if (!model) return fault(model.error());
  std::vector<int64_t> shape;
  for (uint32_t d = 0; d < model->table().inputs[0].rank; ++d) shape.push_back(model->table().inputs[0].dims[d].value);
  const std::vector<Tensor> inputs{random_tensor("x", DType::f32, shape, {})};
  if (Status s = model->bind(inputs); !s) return fault(s.error());
  for (auto _ : state)
    if (Status s = model->call(); !s) return fault(s.error());
  double flops = 0, bytes = 0;
  for (uint32_t s = 0; s < model->table().n_steps; ++s) {
    fcc_step_profile p = {};
    if (fcc_session_step_profile(model->session(), s, &p) == FCC_OK)
      flops += static_cast<double>(p.flops), bytes += static_cast<double>(p.bytes);
  }
  ReadBandwidth bandwidth(threads);
  const double limit = std::max(flops / measure_peak_flops(threads), bytes / bandwidth.at(static_cast<int64_t>(bytes)));
  using benchmark::Counter;
  state.counters["GFLOPs"] = Counter(flops / 1e9, Counter::kIsIterationInvariantRate);
  state.counters["GBs"] = Counter(bytes / 1e9, Counter::kIsIterationInvariantRate);
  state.counters["of_limit"] = Counter(limit, Counter::kIsIterationInvariantRate);
}

}  // namespace
}  // namespace fcc

int main(int argc, char** argv) {
  for (const fcc::Case& c : fcc::cases())
    for (int threads : {1, 2})
      benchmark::RegisterBenchmark(fmt::format("{}/threads:{}", c.name, threads).c_str(), [c, threads](
                                                                                              benchmark::State& state) {
        fcc::run(state, c, threads);
      })->UseRealTime();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
