#pragma once
// The model's open dimensions: dim_param texts become symbols or expressions of them, unknown extents get names,
// and the user's --dim settings fix or bound them.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "frontend/onnx/import.h"
#include "frontend/onnx/proto.h"

namespace fcc {

class OpenDims {
 public:
  // Reads "N=64" and "N=1..64".
  static Result<OpenDims> parse(const std::vector<std::string>& settings);

  void open_extents(OpenExtents which) { open_extents_ = which; }

  // First pass: plain names, which a text such as "N + 1" may refer to.
  void note_names(const onnx::TensorShapeProto&);
  // The extents of an input; a negative extent other than -1, which exporters write for "unknown", is refused.
  // `may_open` false: open_extents does not apply, as for a list of sizes or axes.
  Result<Dims> dims_of(const onnx::TensorShapeProto&, std::string_view input, bool may_open = true);
  // After all inputs: settings that name no dimension of the model.
  Status check_settings() const;
  std::map<std::string, DimBounds> bounds() const;  // of those that stay open
  std::vector<std::string> names() const { return {order_.begin(), order_.end()}; }

 private:
  SymExpr symbol(const std::string& name);
  SymExpr from_text(const std::string& text, std::string_view input, int axis);

  bool opens(int64_t extent, int axis) const;

  OpenExtents open_extents_ = OpenExtents::none;
  std::map<std::string, DimBounds> settings_;
  std::set<std::string, std::less<>> plain_, seen_;
  std::vector<std::string> order_;
};

}  // namespace fcc
