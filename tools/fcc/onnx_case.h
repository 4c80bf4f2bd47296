#pragma once
// An ONNX test case: a folder with model.onnx and test_data_set_*/ of input_*.pb and output_*.pb, as ONNX's own
// backend tests are laid out. Finding, running and judging one; `fcc test` is the loop around it.
#include <string>
#include <vector>

#include "frontend/onnx/import.h"
#include "tools/compare.h"

namespace fcc {

struct OnnxCase {
  std::string name;  // path below the folder that was asked for, or its own name
  std::string folder;
};
// A folder with a model.onnx is a case; others are searched, sorted by name.
Result<std::vector<OnnxCase>> find_cases(const std::vector<std::string>& folders);

struct CaseOptions {
  bool interpret = false;                // the interpreter instead of compiled code
  OpenExtents open = OpenExtents::none;  // fixed extents of the inputs made open
  int threads = 2;
  std::vector<std::string> targets = {"host"};
  Tolerance tolerance = allclose_tolerance();
  std::string work_folder;  // for compiled models
};
// Nothing when every data set passes.
Status run_case(const OnnxCase&, const CaseOptions&);

}  // namespace fcc
