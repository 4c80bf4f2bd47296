#pragma once
// The whole road in one call: ONNX file -> graph -> passes -> kernels -> model.so. The only file that knows every
// stage; the commands of the tool and the tests go through it.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/base/diagnostic.h"
#include "ir/graph.h"

namespace fcc {

struct CompileOptions {
  std::vector<std::string> targets = {"host"};  // texts of ir/target.h; several: one file with all of them
  std::vector<std::string> dims;                // "N=64" fixes, "N=1..64" bounds an open dimension
  std::vector<std::string> skip;                // passes to leave out, by name
  int stop_after = -1;                          // run only the first n passes
  bool verify = false;                          // verify, print and parse back after every pass
  bool winograd = true;
  bool compact = false;                         // transformed weights are made when the library is loaded
  int jobs = 0;                                 // 0: all cores
  bool cache = false;                           // use and fill the user's cache of compiled kernels
  std::string dump_dir;                         // "": no dumps
  std::function<void(std::string_view stage, int done, int total)> progress;  // may be empty
};

struct StageTime {
  std::string name;
  double seconds;
};

struct CompileReport {
  std::vector<StageTime> stages;      // import, every pass, lower, codegen, link
  std::vector<std::string> notes;     // said to the user on stderr: what was ignored or assumed
  int64_t kernels = 0, distinct_kernels = 0, steps = 0;
  int64_t constant_bytes = 0, workspace_bytes = -1, file_bytes = 0;
};

// Never leaves a partial file: writes beside `output` and renames.
Result<CompileReport> compile_file(const std::string& model, const std::string& output, const CompileOptions&);

// The same from a graph as imported, perhaps changed: verify makes intermediate values outputs. options.dims is ignored.
Result<CompileReport> compile_graph(const Graph&, const std::string& output, const CompileOptions&);

// The graph after import ("import") or after all graph passes ("graph"), for dump, verify and check.
Result<Graph> graph_at_stage(const std::string& model, const CompileOptions&, std::string_view stage);
// Text of a stage: "import", "graph", "loops", "llvm", "asm"; kernel: only the one of that name.
Result<std::string> dump_stage(const std::string& model, const CompileOptions&, std::string_view stage, const std::string& kernel);

// The passes of the pipeline in order, with the equation each implements.
std::vector<std::pair<std::string, std::string>> pass_list();

}  // namespace fcc
