#pragma once
// ONNX bytes -> canonical Graph: every node in the newest form of its operator, every weight a constant, every
// size a number or an expression of the model's open dimensions. This is the whole interface of the importer;
// protobuf and the ONNX headers stay behind it. Nothing here runs or optimises a model.
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/graph.h"

namespace fcc {

// Admissible values of an open dimension, both ends included.
struct DimBounds {
  static constexpr int64_t kOpen = std::numeric_limits<int64_t>::max();
  int64_t min = 1, max = kOpen;
  friend bool operator==(const DimBounds&, const DimBounds&) = default;
};

// For tests: fixed extents of inputs that become open dimensions, as if the model had been exported with them open.
// Equal extents become the same dimension; 0 and 1 stay.
enum class OpenExtents : uint8_t { none, first /* of each input: the batch */, all };

// What becomes of a training step that the model brings (ModelProto.training_info).
enum class OwnTraining : uint8_t {
  ignored,
  states,  // the model's graph; what a step updates are states
  step     // the whole step: the model's graph and the algorithm's, with updates
};

struct ImportOptions {
  std::vector<std::string> dims;  // "N=64" fixes an open dimension, "N=1..64" bounds it
  OpenExtents open_extents = OpenExtents::none;
  bool initializers_stay_inputs = false;  // an initializer that is listed as an input too: input instead of constant
  bool weights_stay = false;              // nothing is computed from initializers of float vectors: training moves them
  OwnTraining training = OwnTraining::ignored;
};

struct Import {
  Graph graph;
  int64_t ir_version = 0, opset = 0;  // opset of the default domain
  std::string producer;               // "pytorch 2.1.0"
  std::map<std::string, std::string> metadata;
  std::string sha256;                       // of the model file's bytes, hexadecimal
  std::map<std::string, DimBounds> bounds;  // of each open dimension that --dim named
  // Weights by the file's names, in its order: what a state_dict user looks up. Equal weights are distinct
  // values (training may move them apart) that share their bytes.
  std::vector<std::pair<std::string, ValueId>> initializers;
  std::vector<std::string> notes;  // accepted, but worth a line
  bool has_training = false;       // the file brings a training step
  int64_t model_outputs = 0;       // of the outputs, with OwnTraining::step: the first so many are the model's
  std::vector<std::string> slots;  // states that the training step brings, by name: what an optimizer keeps
};

Result<Import> import_file(const std::string& path, const ImportOptions& options = {});
// `base_dir` is where external data is looked for; empty: external data is refused. `file` names the model in
// diagnostics.
Result<Import> import_bytes(std::span<const std::byte> model, const std::string& base_dir,
                            const ImportOptions& options = {}, std::string_view file = "model.onnx");

// ---- before compiling: what `fcc check` prints ----------------------------------------------------------
struct UnsupportedNode {
  std::string op;      // "LSTM", "com.microsoft.FusedMatMul"
  std::string node;    // its name, may be empty
  int64_t index = -1;  // position in the file; -1 inside a function
  std::string reason;
};

struct ModelSummary {
  std::string file, producer, sha256, graph_name;
  int64_t ir_version = 0, opset = 0, nodes = 0;
  std::vector<std::string> inputs, outputs;  // "x: f32[N,3,224,224]"
  std::map<std::string, int64_t> operators;  // name -> number of nodes
  std::vector<UnsupportedNode> unsupported;  // all of them
  std::vector<std::string> open_dims;
  int64_t parameters = 0, parameter_bytes = 0;  // elements and bytes of all initializers
  std::vector<Diagnostic> faults;               // what an import would refuse; empty: the model imports
};

// Works on every file that parses as ONNX, whether or not it can be imported.
Result<ModelSummary> survey(const std::string& path, const ImportOptions& options = {});

// ---- TensorProto files: ONNX test data ------------------------------------------------------------------
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// SequenceProto and OptionalProto files are refused with a sentence.
Result<NamedTensor> read_tensor_proto(const std::string& path);
Result<NamedTensor> read_tensor_proto(std::span<const std::byte> bytes, std::string_view file = "tensor.pb");
std::string write_tensor_proto(std::string_view name, const Tensor& tensor);  // serialised bytes
// Writes beside the path and renames, so that a reader never sees half a file.
Status write_tensor_proto(const std::string& path, std::string_view name, const Tensor& tensor);

}  // namespace fcc
