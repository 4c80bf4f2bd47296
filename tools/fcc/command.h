#pragma once
// What every command of the tool is made of: a description that help and the man page are printed from, and an
// action. Lives beside the commands; main.cc holds the list. Exit status is part of the contract with scripts.
#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>

#include "ir/base/diagnostic.h"

namespace fcc {

enum ExitCode : int {
  kDone = 0,
  kModelFault = 1,  // the model or the data is at fault; the diagnostic is on stderr
  kUsage = 2,       // wrong usage
  kBug = 3,         // a bug of fcc
};

// Wrong usage found after the options were parsed; printed like CLI11's own.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Action = std::function<Result<ExitCode>()>;

struct Example {
  const char *command, *what;
};

struct Command {
  const char* name;
  const char* usage;    // behind "fcc "
  const char* summary;  // one line
  const char* about;    // a paragraph or two
  std::vector<Example> examples;
  Action (*setup)(CLI::App&);  // declares the options, returns what to do once they are parsed
};

// One file a command. The first is the one that needs no word: fcc model.onnx -o model.so.
Command compile_command();
Command check_command();
Command info_command();
Command run_command();
Command bench_command();
Command verify_command();
Command gradcheck_command();
Command test_command();
Command dump_command();
Command fit_command();
Command export_command();
Command train_command();
std::span<const Command> commands();

}  // namespace fcc
