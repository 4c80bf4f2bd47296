// What only the command can show: it outlives what other processes do to the files it reads. The tables of the other
// files of this folder run through it as well, in this program.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/errors/model_maker.h"

namespace fcc::test {
namespace {

bool maps(pid_t process, const std::string& file) {
  std::ifstream in("/proc/" + std::to_string(process) + "/maps");
  return std::string(std::istreambuf_iterator<char>(in), {}).find(file) != std::string::npos;
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

  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(dir.path().c_str()) == 0 && std::freopen("err", "w", stderr))
      ::execl(FCC_COMMAND, "fcc", "m.onnx", "-o", "m.so", nullptr);
    ::_exit(127);
  }
  int status = 0;
  pid_t ended = 0;
  while (!maps(child, weights) && (ended = ::waitpid(child, &status, WNOHANG)) == 0) std::this_thread::yield();
  ASSERT_EQ(::truncate(weights.c_str(), 100), 0);
  if (ended == 0) ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == 0) GTEST_SKIP() << "the compiler was faster";
  EXPECT_EQ(WEXITSTATUS(status), 1);
  std::ifstream err(dir.file("err"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(err), {}),
            "error: a file became shorter while it was read\n"
            " hint: wait until it has been written completely\n");
  EXPECT_FALSE(std::filesystem::exists(dir.file("m.so")));
}

}  // namespace
}  // namespace fcc::test
