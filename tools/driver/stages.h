#pragma once
// The stages of the road that compile.cc and train.cc share. Not for others: they call compile.h and train.h.
#include <chrono>
#include <filesystem>
#include <fstream>

#include "backend/schedule.h"
#include "frontend/onnx/import.h"
#include "passes/manager.h"
#include "tools/driver/compile.h"

namespace fcc::driver {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

// Numbered files, one a changed stage.
class Dumper {
 public:
  explicit Dumper(std::string dir);
  void write(std::string_view stage, const std::string& text);
  bool on() const { return !dir_.empty(); }

 private:
  std::string dir_;
  int index_ = 0;
};

Result<std::vector<Target>> targets_of(const CompileOptions&);
Result<Import> import_model(const std::string& model, const CompileOptions&, bool weights_stay = false,
                            OwnTraining = OwnTraining::ignored);
// The whole pipeline over a graph, or the passes of these names.
Result<Graph> optimize(Graph, const Target&, const CompileOptions&, CompileReport&, Dumper&,
                       std::vector<PassContext::Prepared>* prepared = nullptr);
Status run_named(Graph&, const Target&, const CompileOptions&, CompileReport&,
                 std::span<const std::string_view> passes);
backend::SymbolBounds bounds_of(const Import&);
// Code, link, file.
Status write_image(const ModelImage&, const std::string& output, const CompileOptions&, CompileReport&);

}  // namespace fcc::driver
