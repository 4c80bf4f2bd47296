#pragma once
// Running passes: every pass goes through one wrapper that can skip it by name, stop after n (to bisect a wrong
// result), time it, verify the graph after it, and dump it when it changed something.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/target.h"

namespace fcc {

struct PassContext {
  Target target = Target::level(Isa::x86_64_v3);
  bool winograd = true;
  bool compact = false;  // leave transformed weights to the load: choose_layout puts a state in their place
  // Those states: their names, the weights as they are, and the attributes of TransformWinogradWeight.
  struct Prepared {
    std::string name;
    TensorType type;
    Tensor weight;
    Attrs transform;
  };
  std::vector<Prepared> prepared;
  std::vector<std::string> notes;  // said to the user
};

// True: the graph changed.
using PassFn = Result<bool> (*)(Graph&, PassContext&);

struct PassInfo {
  std::string_view name, equation;
  PassFn run;
};
// All passes of passes.def by name.
std::span<const PassInfo> all_passes();
// The pipeline: names in running order; a pass may run several times.
std::span<const std::string_view> pipeline();

struct PassOptions {
  std::vector<std::string> skip;
  int stop_after = -1;
  bool verify = false;
  std::function<void(int index, std::string_view pass, const Graph&)> on_change;  // for dumps
  std::function<void(std::string_view pass, double seconds)> on_time;
};
Status run_passes(Graph&, PassContext&, const PassOptions&);
// Other passes than the pipeline's, in this order.
Status run_passes(Graph&, PassContext&, const PassOptions&, std::span<const std::string_view> names);

}  // namespace fcc
