#pragma once
// The fcc command on a model in a folder: exit status, what it said, what it cost. For tests that define FCC_COMMAND.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <string>

#include "tests/errors/model_maker.h"

namespace fcc::test {

struct CommandRun {
  int status = -1;  // -1: ended by a signal
  std::string text;
  double cpu_seconds = 0;
  int64_t peak_kb = 0;
};

#ifdef FCC_COMMAND
// fcc m.onnx -o m.so in that folder; `meanwhile` runs beside it, with the process and a place for its wait status.
inline CommandRun compile_in(const TempDir& folder, const std::function<void(pid_t)>& meanwhile = {}) {
  const std::string err = folder.file("err");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(folder.path().c_str()) == 0 && std::freopen("err", "w", stderr))
      ::execl(FCC_COMMAND, "fcc", "m.onnx", "-o", "m.so", nullptr);
    ::_exit(127);
  }
  if (meanwhile) meanwhile(child);
  int status = 0;
  rusage usage{};
  CommandRun run;
  if (::wait4(child, &status, 0, &usage) != child) return run;
  if (WIFEXITED(status)) run.status = WEXITSTATUS(status);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  run.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  run.peak_kb = usage.ru_maxrss;
  std::ifstream said(err);
  run.text.assign(std::istreambuf_iterator<char>(said), {});
  std::filesystem::remove(err);
  return run;
}
#endif

}  // namespace fcc::test
