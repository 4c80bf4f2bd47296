// What only the command can show: it outlives what other processes do to the files it reads, and takes models of
// many parts in time and memory. The tables of the other files of this folder run through it as well, in this program.
#include <gtest/gtest.h>

#include <thread>

#include "tests/errors/run_command.h"

namespace fcc::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // slower, larger
#else
constexpr bool kSanitized = false;
#endif

bool maps(pid_t process, const std::string& file) {
  std::ifstream in("/proc/" + std::to_string(process) + "/maps");
  return std::string(std::istreambuf_iterator<char>(in), {}).find(file) != std::string::npos;
}
bool has_ended(pid_t process) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

// Weights are mapped, so a file that shrinks under the compiler raises SIGBUS.
TEST(Command, WeightsThatAreCutOffMeanwhile) {
  constexpr int64_t kRows = 16'384, kColumns = 1'024;
  const TempDir dir;
  ModelMaker m;
  m.input("x", {1, kColumns});
  auto& w = *m.g().add_initializer();
  w.set_name("w");
  w.set_data_type(kFloat);
  w.add_dims(kRows);
  w.add_dims(kColumns);
  external(w, {{"location", "w.bin"}});
  set(m.node("Gemm", {"x", "w"}, {"y"}, "layer"), "transB", 1);
  m.output("y");
  dir.write("m.onnx", m.bytes());
  const std::string weights = dir.write("w.bin", "");
  ASSERT_EQ(::truncate(weights.c_str(), kRows * kColumns * 4), 0);

  const CommandRun run = compile_in(dir, [&](pid_t process) {
    while (!maps(process, weights) && !has_ended(process)) std::this_thread::yield();
    EXPECT_EQ(::truncate(weights.c_str(), 100), 0);
  });
  if (run.status == 0) GTEST_SKIP() << "the compiler was faster";
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.text,
            "error: a file became shorter while it was read\n"
            " hint: wait until it has been written completely\n");
  EXPECT_FALSE(std::filesystem::exists(dir.file("m.so")));
}

// Row 34: what is large in number compiles in time and memory that grow with it. Seen: 1.5 s and 270 MB for the chain,
// 11 s and 1.4 GB for the initializers.
TEST(Command, ChainOf100000Nodes) {
  constexpr int kNodes = 100'000;
  const TempDir dir;
  ModelMaker m;
  m.input("v0", {"N", 8});
  for (int k = 0; k < kNodes; ++k)
    m.node(k % 2 ? "Relu" : "Sigmoid", {"v" + std::to_string(k)}, {"v" + std::to_string(k + 1)});
  m.output("v" + std::to_string(kNodes));
  dir.write("m.onnx", m.bytes());
  const CommandRun run = compile_in(dir);
  EXPECT_EQ(run.status, 0) << run.text;
  if (kSanitized) return;
  EXPECT_LT(run.cpu_seconds, 15);
  EXPECT_LT(run.peak_kb, 500'000);
}

TEST(Command, MillionInitializers) {
  if (kSanitized) GTEST_SKIP() << "takes minutes";
  constexpr int kInitializers = 1'000'000;
  const TempDir dir;
  ModelMaker m = relu_model();
  for (int k = 0; k < kInitializers; ++k) m.floats("w" + std::to_string(k), {1}, {static_cast<float>(k)});
  dir.write("m.onnx", m.bytes());
  const CommandRun run = compile_in(dir);
  EXPECT_EQ(run.status, 0) << run.text;
  EXPECT_LT(run.cpu_seconds, 60);
  EXPECT_LT(run.peak_kb, 2'000'000);
}

}  // namespace
}  // namespace fcc::test
