#pragma once
// Graph IR: a whole program as a list of operator nodes over values, always in topological order.
//
// What may be assumed:
//  - Values are immutable results; a graph is pure. Only `updates` (state, next value) talk about time.
//  - A Graph owns everything in it; copying a Graph copies the program (constant bytes stay shared).
//  - Ids are indices that are never reused; erased nodes and values keep their slot, marked dead.
//  - Every value of a node has the type that its operator's infer gives; add() refuses anything else.
//  - An absent optional operand is kNoValue.
// The operators' knowledge is in op.h; text form in text.h; invariants in verify.h; meaning in eval.h.
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/attrs.h"
#include "ir/tensor.h"
#include "ir/types.h"

namespace fcc {

using ValueId = int32_t;
using NodeId = int32_t;
inline constexpr ValueId kNoValue = -1;
inline constexpr NodeId kNoNode = -1;

struct OpDef;
class Graph;

enum class Role : uint8_t { temp, input, constant, state };
std::string_view name(Role);

// The contents of a small tensor of rank 0 or 1 whose elements are known as expressions: shape arithmetic.
// Integer-valued elements only; for float tensors each element is a whole number.
struct SymTensor {
  int64_t rank = 0;               // 0: one element
  std::vector<SymExpr> elements;
  bool is_constant() const;
  std::vector<int64_t> constants() const;  // a bug unless is_constant()
  friend bool operator==(const SymTensor&, const SymTensor&) = default;
};
inline constexpr int64_t kMaxSymElements = 64;

// Where a node came from, for diagnostics.
struct Loc {
  std::string node;    // the source node's name
  int32_t index = -1;  // its position in the file
  int32_t opset = 0;
};

struct Value {
  std::string name;    // unique within the graph
  TensorType type;
  Role role = Role::temp;
  NodeId def = kNoNode;
  int32_t result = 0;  // which result of def
  Tensor data;         // constant: the contents; state: the initial contents (may be null: zeros)
  std::shared_ptr<const SymTensor> content;  // what is known of the elements, or null
  bool observed = false;  // content consists of '$' symbols that a step must read from the tensor while running
  bool dead = false;
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<ValueId> in, out;
  Attrs attrs;
  std::shared_ptr<const Graph> body;  // fused kernel: its formula as a graph; control flow: the branch
  Loc loc;
  bool dead = false;
};

class Graph {
 public:
  std::string name;
  std::string file;  // source file, for diagnostics
  std::vector<ValueId> outputs;
  std::vector<std::string> output_names;  // as the model calls them; parallel to outputs
  std::vector<std::pair<ValueId, ValueId>> updates;  // (state, next value)
  // Open extents that some operator takes to be equal, with the sentence for when they are not.
  struct Assumption {
    SymExpr a, b;
    std::string text;
  };
  std::vector<Assumption> assumptions;

  ValueId add_input(std::string name, TensorType type);
  ValueId add_constant(std::string name, Tensor data);
  ValueId add_state(std::string name, TensorType type, Tensor initial);
  // Appends a node (or inserts it before insert_point()), inferring result types, or refuses with a diagnostic.
  Result<NodeId> add(const OpDef& op, std::vector<ValueId> in, Attrs attrs = {}, Loc loc = {}, std::vector<std::string> result_names = {},
                     std::shared_ptr<const Graph> body = nullptr, int32_t n_results = -1);
  void add_output(std::string name, ValueId v);

  void set_insert_point(NodeId before) { insert_before_ = before; }  // kNoNode: append
  NodeId insert_point() const { return insert_before_; }

  const Value& value(ValueId v) const { return values_.at(static_cast<size_t>(v)); }
  const Node& node(NodeId n) const { return nodes_.at(static_cast<size_t>(n)); }
  const OpDef& op_of(ValueId v) const;  // of the defining node
  bool is_constant(ValueId v) const { return v != kNoValue && value(v).role == Role::constant; }
  const Node* def(ValueId v) const { return v == kNoValue || value(v).def == kNoNode ? nullptr : &node(value(v).def); }
  int32_t value_count() const { return static_cast<int32_t>(values_.size()); }
  int32_t node_count() const { return static_cast<int32_t>(nodes_.size()); }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& states() const { return states_; }

  // Live nodes in topological order: a snapshot, so that the graph may change while it is walked.
  std::vector<NodeId> order() const;
  // Nodes that use v, each as often as it uses it. Graph outputs and updates are not nodes: see is_output.
  const std::vector<NodeId>& users(ValueId v) const { return users_.at(static_cast<size_t>(v)); }
  bool is_output(ValueId v) const;
  int64_t use_count(ValueId v) const;  // users + outputs + updates

  void replace_uses(ValueId from, ValueId to);  // in nodes, outputs and updates
  void set_operand(NodeId n, size_t k, ValueId v);
  void erase(NodeId n);        // refused (a bug) while a result still has uses
  void erase_dead();           // every node and constant that no output or update needs
  void rename(ValueId v, std::string name);
  std::string unique_name(std::string_view wanted) const;
  void set_type(ValueId v, TensorType type);  // only to sharpen an open dim to an equal, better known one
  void set_content(ValueId v, SymTensor content, bool observed = false);
  // Names an element of a tensor that is read while running: "$0", "$1", ...
  SymExpr fresh_data_symbol();
  // Moves a node so that it stands directly before another; the caller keeps the order topological.
  void move_before(NodeId n, NodeId before);

  // Open dimensions in the order in which the inputs introduce them.
  std::vector<std::string> symbols() const;

 private:
  struct Link { NodeId prev = kNoNode, next = kNoNode; };
  ValueId new_value(std::string name, TensorType type, Role role);
  void link(NodeId n, NodeId before);
  void unlink(NodeId n);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<Link> links_;
  std::vector<std::vector<NodeId>> users_;
  std::vector<ValueId> inputs_, states_;
  std::unordered_map<std::string, int32_t> names_;
  NodeId first_ = kNoNode, last_ = kNoNode, insert_before_ = kNoNode;
  int32_t data_symbols_ = 0;
};

// The fragment of a diagnostic that names a node and its operands: Conv "backbone/conv1".
std::string describe(const OpDef& op, const Loc& loc);

}  // namespace fcc
