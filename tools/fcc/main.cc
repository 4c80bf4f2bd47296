// The fcc command: finds the command word, parses its options, runs it, and turns whatever comes back into an exit
// status and text on stderr. What the commands do is in cmd_*.cc.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <new>

#include "ir/base/check.h"
#include "tools/fcc/help.h"

namespace fcc {

std::span<const Command> commands() {
  static const std::vector<Command> list = {
      compile_command(), check_command(),  info_command(), run_command(),
      bench_command(),   verify_command(), gradcheck_command(), test_command(), dump_command(),
      train_command(),   fit_command(),     export_command(),
  };
  return list;
}

namespace {

ExitCode print(const std::string& text) {
  fmt::print("{}", text);
  return kDone;
}

const Command* find_command(std::string_view word) {
  for (const Command& c : commands()) {
    if (c.name == word) return &c;
  }
  return nullptr;
}

ExitCode run(const Command& command, std::vector<std::string> arguments) {
  CLI::App app;
  app.set_help_flag("--help,-h", "show this page");
  Action action = command.setup(app);
  std::ranges::reverse(arguments);  // CLI11 takes them last first
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    return print(command_text(command));
  } catch (const CLI::ParseError& e) {
    throw UsageError(e.what());
  }
  Result<ExitCode> code = action();
  if (code) return *code;
  fmt::print(stderr, "{}\n", code.error().text());
  return kModelFault;
}

ExitCode dispatch(std::vector<std::string> arguments) {
  if (arguments.empty()) {
    fmt::print(stderr, "{}", overview_text());
    return kUsage;
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h") return print(overview_text());
  if (first == "--help-env") return print(environment_text());
  if (first == "--man") return print(manual_page());
  if (first == "--version") return print(version_text());
  const Command* command = find_command(first);
  if (command) {
    arguments.erase(arguments.begin());
  } else {
    command = &commands().front();
  }
  try {
    return run(*command, std::move(arguments));
  } catch (const UsageError& e) {
    fmt::print(stderr, "error: {}\n hint: fcc {}--help\n", e.what(),
               command == &commands().front() ? "" : fmt::format("{} ", command->name));
    return kUsage;
  }
}

int guarded_main(std::vector<std::string> arguments) {
  try {
    int code = dispatch(std::move(arguments));
    if (std::fflush(stdout) != 0) {
      fmt::print(stderr, "error: the results cannot be written to stdout\n");
      return code == kDone ? kModelFault : code;
    }
    return code;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory\n");
    return kModelFault;
  } catch (const std::exception& e) {
    fmt::print(stderr,
               "{}\nThis is a bug of fcc, not of your model. Please report it with the model and the command line.\n",
               e.what());
    return kBug;
  }
}

// Weights beside a model are mapped; a page of a file that somebody cut off meanwhile raises SIGBUS.
void explain_bus_error(int) {
  constexpr std::string_view kText =
      "error: a file became shorter while it was read\n hint: wait until it has been written completely\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText.data(), kText.size());
  ::_exit(kModelFault);
}

}  // namespace
}  // namespace fcc

int main(int argc, char** argv) {
  ::signal(SIGBUS, fcc::explain_bus_error);
  return fcc::guarded_main(std::vector<std::string>(argv + 1, argv + argc));
}
