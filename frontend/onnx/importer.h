#pragma once
// ModelProto -> Graph, node by node. Model-local functions and branches with a known condition are inlined as they
// are met: a stack of frames, each a list of nodes with the names it can see. Private to frontend/onnx.
#include <deque>
#include <memory>
#include <set>
#include <unordered_map>

#include "frontend/onnx/dims.h"
#include "frontend/onnx/faults.h"
#include "frontend/onnx/functions.h"
#include "frontend/onnx/model_check.h"
#include "frontend/onnx/tensor_proto.h"
#include "frontend/onnx/training_info.h"
#include "frontend/onnx/upgrade/upgrade.h"
#include "frontend/onnx/walk.h"

namespace fcc {

class Importer {
 public:
  // The model must have passed check_header and check_structure. Large initializers give up their bytes.
  Importer(onnx::ModelProto& model, const FunctionTable& functions, const ModelFacts& facts,
           const TrainingBindings& training, ExternalFiles& files, std::string file);
  // Everything but sha256. Collects faults instead of stopping at the first.
  Status run(const ImportOptions& options, Import& out);
  const OpenDims& open_dims() const { return dims_; }

 private:
  // A value that a frame's names may stand for: a ValueId, or one of these.
  static constexpr ValueId kFaulty = -2;       // its node has been refused already
  static constexpr ValueId kUnusable = -1000;  // and below: refused when a node reads it; see unusable_

  using Bindings = std::unordered_map<std::string_view, const onnx::AttributeProto*>;
  struct Frame {
    const NodeList* nodes;
    int next = 0;
    int parent = -1;  // frame whose names are visible too
    int64_t opset = 0;
    std::string prefix;                          // of the names of values and nodes
    std::shared_ptr<const Bindings> attributes;  // what ref_attr_name refers to
    std::unordered_map<std::string_view, ValueId> names = {};
    std::vector<std::pair<std::string_view, std::string_view>> results = {};  // inner name -> name in the frame below
  };

  Status import_interface(const ImportOptions& options, Import& out);
  Result<TensorType> input_type(const onnx::ValueInfoProto& input);
  void import_initializers(onnx::GraphProto& graph, Frame& frame, Import* out);
  void import_initializers(const onnx::GraphProto& graph, Frame& frame);  // of a branch: bytes are copied
  void bind_initializer(Frame& frame, std::string_view name, int32_t onnx_type, Result<Tensor> data, Import* out);
  Tensor shared(Tensor t);
  void import_outputs();
  ValueId add_initializer(const std::string& name, Tensor data);
  void import_updates(OwnTraining);

  void run_frames();
  void step(const onnx::NodeProto& node);
  void finish_frame();
  void import_constant(const onnx::NodeProto& node);
  void import_if(const onnx::NodeProto& node, ValueId condition);
  Status import_gradient(const onnx::NodeProto& node, const std::vector<ValueId>& in);
  void call(const Function& function, const onnx::NodeProto& node, const std::vector<ValueId>& in);
  Status import_node(const onnx::NodeProto& node, std::vector<ValueId> in);
  void bind_results(const onnx::NodeProto& node, const std::vector<ValueId>& results);

  bool resolve_operands(const onnx::NodeProto& node, std::vector<ValueId>& in);
  std::optional<ValueId> lookup(std::string_view name) const;
  const onnx::AttributeProto* resolve(const onnx::AttributeProto& a) const;
  ValueId unusable(Diagnostic why);
  void mark_faulty(const onnx::NodeProto& node);
  void fault(Diagnostic d);  // fills in the place
  Loc loc_of(const onnx::NodeProto& node) const;
  Frame& frame() { return frames_.back(); }

  onnx::ModelProto& model_;
  const FunctionTable& functions_;
  const ModelFacts& facts_;
  const TrainingBindings& training_;
  TensorReader tensors_;
  std::string file_;
  OpenDims dims_;
  Graph* graph_ = nullptr;
  Faults faults_;
  std::deque<Frame> frames_;
  int outer_ = -1;             // index of the top-level node being imported
  std::set<ValueId> weights_;  // initializers from which nothing is folded
  std::vector<Diagnostic> unusable_;
  std::unordered_map<size_t, std::vector<Tensor>> storage_;  // by hash of the bytes
};

}  // namespace fcc
