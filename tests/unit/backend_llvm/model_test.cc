// The file as a whole: tables, symbols it needs, the same bytes every time, what happens when it cannot be written,
// and a model for another processor run under an emulator.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "backend/llvm/elf.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using namespace loop;  // NOLINT: the builders

// y[i] = tanh(x[i]) + pow and a rounding cast: a kernel that would like to call libm.
Kernel busy(const SymExpr& n) {
  Kernel k;
  k.name = "busy";
  const BufferId x = k.add_buffer({.name = "x", .dtype = DType::f16, .dims = {n}});
  const BufferId y = k.add_buffer({.name = "y", .dtype = DType::f64, .dims = {n}, .space = Space::output});
  k.n_params = 2;
  const VarId t = k.add_var("t"), v = k.add_var("v");
  Expr e = load(x, DType::f16, {var(v)});
  Expr sum = unary(UnaryOp::tanh, e) + binary(BinaryOp::pow, e, e) + binary(BinaryOp::rem, e, unary(UnaryOp::exp, e)) +
             fma(e, e, e);
  Expr big = cast(DType::f32, binary(BinaryOp::div, cast(DType::i64, e), cast(DType::i64, sum)));
  k.body = {for_loop(
      t, index(0), index(1),
      {for_loop(v, index(0), from_sym(n), {store(y, {var(v)}, cast(DType::f64, sum + big))}, LoopKind::vec, 16)},
      LoopKind::tile)};
  return k;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

ModelImage full_image() {
  ModelImage m = image_of(busy(SymExpr::symbol("N")),
                          {Target::level(Isa::x86_64_v4), Target::level(Isa::x86_64_v3), Target::level(Isa::x86_64_v2)},
                          {{"N", 0}});
  m.producer = "fcc test";
  m.info_json = R"({"inputs":["x"]})";
  m.constants = {{0, random(DType::f32, {100})}, {448, random(DType::i8, {5000})}};
  m.constants_bytes = 5504;
  m.states = {{.name = "w", .type = {DType::f32, {10, 10}}, .offset = 64, .init = 0, .role = FCC_STATE_BUFFER}};
  m.source = std::string("a source\0with any bytes", 22);
  m.state_arena_bytes = 464;
  const SymExpr n = SymExpr::symbol("N");
  for (VariantImage& v : m.variants) {
    EntryImage& e = v.entries[0];
    e.inputs = {{"x", {DType::f16, {n}}}};
    e.outputs = {{"y", {DType::f64, {n}}}};
    e.symbols[0].min = 1;
    e.buffers = {{.bytes = n * 64 + 7, .offset = -1, .first_step = 0, .last_step = 0}, {.bytes = 128, .offset = 64}};
    e.steps[0].args = {{FCC_INPUT, 0, 0}, {FCC_OUTPUT, 0, 0}};
    e.steps[0].flops = n * n;
    e.steps[0].bytes = ceildiv(n, 3) + max(n, 10);
    e.steps[0].work_ns = n * 64 + 7;
    e.steps[0].what = "Tanh";
  }
  return m;
}

TEST(Model, TablesSayWhatTheImageSays) {
  const ModelImage image = full_image();
  const std::string path = scratch_file("full.so");
  WriteReport report;
  const Status written = write_model(image, path, {.jobs = 2}, &report);
  ASSERT_TRUE(written) << written.error().text();
  EXPECT_EQ(report.kernel_seconds.size(), 3u);
  const LoadedModel loaded(path);
  const fcc_model& m = loaded.model();
  EXPECT_EQ(m.abi_version, FCC_ABI_VERSION);
  EXPECT_EQ(m.step_bytes, sizeof(fcc_step));
  EXPECT_STREQ(m.producer, "fcc test");
  ASSERT_EQ(m.n_variants, 3u);
  EXPECT_STREQ(m.variants[1].target, "x86-64-v3");
  EXPECT_EQ(m.variants[1].isa, FCC_ISA_X86_64_V2 | FCC_ISA_X86_64_V3);
  EXPECT_EQ(m.constants_bytes, 5504);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(m.constants) % 4096, 0u);
  EXPECT_EQ(std::memcmp(m.constants + 448, image.constants[1].data.raw(), 5000), 0);
  ASSERT_EQ(m.n_states, 1u);
  EXPECT_EQ(m.states[0].bytes, 400);
  EXPECT_EQ(m.states[0].dims[1].value, 10);
  EXPECT_EQ(m.states[0].role, FCC_STATE_BUFFER);
  const fcc_entry& e = m.variants[2].entries[0];
  EXPECT_EQ(e.inputs[0].dims[0].kind, FCC_SIZE_SYMBOL);
  EXPECT_EQ(e.symbols[0].min, 1);
  EXPECT_EQ(e.max_args, 2u);
  EXPECT_STREQ(e.steps[0].what, "Tanh");
  ASSERT_EQ(e.n_derived, 3u);  // equal expressions share one
  EXPECT_EQ(e.buffers[0].bytes.index, e.steps[0].work_ns.index);
  for (int64_t n : {1, 10, 1000}) {
    int64_t derived[3];
    e.derive(&n, derived);
    EXPECT_EQ(derived[e.buffers[0].bytes.index], n * 64 + 7);
    EXPECT_EQ(derived[e.steps[0].flops.index], n * n);
    EXPECT_EQ(derived[e.steps[0].bytes.index], (n + 2) / 3 + std::max<int64_t>(n, 10));
  }
  const int64_t huge = int64_t{1} << 62;
  int64_t derived[3];
  e.derive(&huge, derived);
  EXPECT_EQ(derived[e.buffers[0].bytes.index], INT64_MAX) << "sizes saturate instead of wrapping";
  EXPECT_EQ(read_info(path).value(), image.info_json);
  EXPECT_EQ(read_section(path, ".fcc_source").value().value_or(""), image.source);
}

TEST(Model, NeedsNothingButMemoryFunctions) {
  for (const std::vector<Target>& targets : {std::vector{Target::level(Isa::x86_64_v2), Target::level(Isa::x86_64_v4)},
                                             std::vector{Target::level(Isa::aarch64)}}) {
    const std::string path = scratch_file("nm.so");
    ASSERT_TRUE(write_model(image_of(busy(SymExpr::symbol("N")), targets, {{"N", 0}}), path));
    Result<ElfSummary> s = read_dynamic_symbols(path);
    ASSERT_TRUE(s);
    for (const std::string& name : s->undefined)
      EXPECT_TRUE(name == "memcpy" || name == "memmove" || name == "memset") << name;
    EXPECT_EQ(s->exported, std::vector<std::string>{"fcc_model_query"});
    EXPECT_FALSE(read_section(path, ".eh_frame").value().has_value());
  }
}

TEST(Model, SameBytesForAnyPathAndJobs) {
  const std::string a = scratch_file("a.so"), b = scratch_file("another_name.so");
  ASSERT_TRUE(write_model(full_image(), a, {.jobs = 1}));
  ASSERT_TRUE(write_model(full_image(), b, {.jobs = 4}));
  EXPECT_EQ(slurp(a), slurp(b));
}

TEST(Model, CannotBeWritten) {
  const std::string good = scratch_file("keep.so");
  const std::string missing = good + "_folder/x.so";
  const Status s = write_model(full_image(), missing);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().what, "cannot write \"" + missing + "\": No such file or directory");
  EXPECT_EQ(s.error().hint, "the folder does not exist");
  std::filesystem::create_directories(good);
  EXPECT_FALSE(write_model(full_image(), good)) << "a folder is in the way";
  EXPECT_TRUE(std::filesystem::is_empty(good));
  const Result<std::string> info = read_info(std::string(FCC_SOURCE_DIR) + "/CMakeLists.txt");
  ASSERT_FALSE(info);
  EXPECT_NE(info.error().what.find("is not a compiled model"), std::string::npos);
}

TEST(Model, LeavesNoFilesBehind) {
  const std::string folder = scratch_file("folder");
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(write_model(full_image(), folder + "/m.so"));
  size_t files = 0;
  for ([[maybe_unused]] auto& f : std::filesystem::directory_iterator(folder)) ++files;
  EXPECT_EQ(files, 1u);
}

TEST(Model, RunsOnAArch64) {
  if (!can_run_aarch64()) GTEST_SKIP() << "no AArch64 compiler or emulator here";
  constexpr int64_t kN = 53;
  const Kernel k = busy(kN);
  std::vector<Tensor> args{random(DType::f16, {kN}), Tensor(DType::f64, {kN})};
  Tensor expected(DType::f64, {kN});
  std::vector<Tensor*> pointers{&args[0], &expected};
  ASSERT_TRUE(loop::evaluate(k, pointers, {}));
  EXPECT_EQ(run_on_aarch64(k, args).code, 0);
  for (int64_t i = 0; i < kN; ++i) {
    const double want = expected.get_double(i), got = args[1].get_double(i);
    if (std::isfinite(want))
      EXPECT_NEAR(got, want, 1e-4 * (1 + std::fabs(want))) << i;
    else
      EXPECT_EQ(std::isnan(got), std::isnan(want)) << i;
  }
}

}  // namespace
}  // namespace fcc::test
