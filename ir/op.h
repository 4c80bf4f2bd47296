#pragma once
// OpDef: all that the compiler knows of an operator, in one place. A family of operators is one file in ir/ops/
// that registers OpDefs; the importer, the verifier, the interpreter, the passes and the lowering only ask.
//
// An operator needs infer (or pointwise's default), one meaning for the interpreter and one for the backend:
//   pointwise   `formula` serves both: interpreter, constant folder and vector emitter read the same expression;
//   define      `eval` is the plain oracle, `define` gives any output element as an expression of inputs
//               (movement, reductions, norms, pooling: the generic strategies lower it, fused with neighbours);
//   composite   `expand` rewrites it into other operators;
//   contraction / window   `eval` + `define` (the slow generic form), and a strategy in backend/lower makes it fast.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ir/loop/expr.h"

namespace fcc {

struct AttrSpec {
  std::string_view name;
  AttrType type;
  bool required = false;
};

struct Arity {
  int32_t min = 1, max = 1;  // max -1: any number
};

// What infer sees and fills. Operand k is absent when type(k) is null.
class InferContext {
 public:
  InferContext(const OpDef& op, const Attrs& attrs, const Loc& loc, size_t n_in, size_t n_out)
      : op(op), attrs(attrs), loc(loc), types_(n_in), contents_(n_in), out_types(n_out), out_contents(n_out) {}

  const OpDef& op;
  const Attrs& attrs;
  const Loc& loc;
  const Graph* body = nullptr;

  size_t n_in() const { return types_.size(); }
  size_t n_out() const { return out_types.size(); }
  bool has(size_t k) const { return k < types_.size() && types_[k] != nullptr; }
  const TensorType& type(size_t k) const { return *types_.at(k); }
  DType dtype(size_t k) const { return type(k).dtype; }
  const Dims& dims(size_t k) const { return type(k).dims; }
  int64_t rank(size_t k) const { return type(k).rank(); }
  // What is known of operand k's elements, or null.
  const SymTensor* content(size_t k) const { return k < contents_.size() ? contents_[k].get() : nullptr; }
  // The elements of operand k; unknown ones become '$' symbols that a step will read while the model runs.
  // Fails when the operand is no rank-0/1 tensor of known, small length.
  Result<SymTensor> observe(size_t k);
  // As numbers: fails unless they are constants, with a hint.
  Result<std::vector<int64_t>> constants(size_t k, std::string_view what);

  void set(size_t k, TensorType type) { out_types.at(k) = std::move(type); }
  void set(size_t k, DType dtype, Dims dims) { out_types.at(k) = TensorType{dtype, std::move(dims)}; }
  void set_content(size_t k, SymTensor c) { out_contents.at(k) = std::make_shared<const SymTensor>(std::move(c)); }

  // A diagnostic whose `what` is prefixed by the node and whose `seen` lists the operands' types when empty.
  std::unexpected<Diagnostic> fail(std::string what, std::string hint = {}, std::string seen = {}) const;
  // Axis in [0, rank), from ONNX's negative form; fails with the node's name.
  Result<int64_t> axis(int64_t a, int64_t rank) const;

  std::vector<const TensorType*> types_;
  std::vector<std::shared_ptr<const SymTensor>> contents_;
  std::vector<TensorType> out_types;
  std::vector<std::shared_ptr<const SymTensor>> out_contents;
  // Extents taken to be equal although only running can tell: the model checks them before it computes.
  std::vector<std::pair<SymExpr, SymExpr>> assumed_equal;
  std::function<SymExpr()> fresh_symbol;      // given by Graph::add
  std::vector<size_t> observed;               // operands whose content became '$' symbols
};

// One evaluation by the interpreter: operands, and outputs allocated with the inferred types (zeros).
class EvalContext {
 public:
  const OpDef& op;
  const Attrs& attrs;
  const Graph* body = nullptr;
  std::vector<const Tensor*> in;  // null when absent
  std::vector<Tensor> out;

  bool has(size_t k) const { return k < in.size() && in[k] != nullptr; }
};

// What define sees: the node, and a way to reach operands element by element.
class DefineContext {
 public:
  virtual ~DefineContext() = default;
  const OpDef* op = nullptr;
  const Attrs* attrs = nullptr;
  std::vector<const TensorType*> in_types, out_types;   // null when absent
  std::vector<const SymTensor*> contents;               // of operands, null when unknown

  bool has(size_t k) const { return k < in_types.size() && in_types[k] != nullptr; }
  const Dims& dims(size_t k) const { return in_types.at(k)->dims; }
  int64_t rank(size_t k) const { return in_types.at(k)->rank(); }
  DType dtype(size_t k) const { return in_types.at(k)->dtype; }
  // Extent of an operand's axis.
  loop::Expr dim(size_t k, size_t axis) const { return loop::from_sym(dims(k).at(axis)); }
  // Element of operand k. The type is compute_type(dtype(k)): f16/bf16 arrive as f32.
  virtual loop::Expr in(size_t k, std::span<const loop::Expr> index) = 0;
  // The same, but `otherwise` where guard is false (no memory is touched there).
  virtual loop::Expr in_guarded(size_t k, std::span<const loop::Expr> index, loop::Expr guard, loop::Expr otherwise) = 0;
  virtual loop::VarId fresh_var(std::string_view name) = 0;  // i64, for a reduce
  // Stops the run with a sentence when the condition (which may use the output index) is true.
  virtual void fault_if(loop::Expr condition, std::string text) = 0;

  // Element of operand k broadcast to an output index of rank >= rank(k).
  loop::Expr in_broadcast(size_t k, std::span<const loop::Expr> index);
  // Element e of a rank-0/1 operand as i64: from its known content, else loaded.
  loop::Expr element(size_t k, size_t e);
  // reduce over v in [0, extent) with a body made by the callback.
  loop::Expr reduce(loop::ReduceOp op, std::string_view name, loop::Expr extent, const std::function<loop::Expr(loop::Expr)>& body,
                    bool unroll = false);
};

// What formula sees.
struct FormulaContext {
  const Attrs& attrs;
  std::span<const DType> in_dtypes;  // as stored; the expressions have compute_type of these
  DType out_dtype;
};

enum class Strategy : uint8_t { pointwise, define, composite, contraction, window, kernel /* a fused kernel with a body */, none /* sources: constants, dims */ };
std::string_view name(Strategy);

class GraphBuilder;
class GradBuilder;  // ir/grad.h

struct OpDef {
  std::string_view name, doc;
  std::vector<AttrSpec> attrs;
  Arity in, out;
  Strategy strategy = Strategy::define;
  bool movement = false;      // define only renames indices (possibly with a guard): free to fuse into consumers
  bool elementwise = false;   // define reads operands only at the broadcast result index; all results have one shape
  bool has_body = false;
  std::vector<size_t> shape_operands;  // operands whose contents, not bytes, matter once they are known

  Status (*infer)(InferContext&) = nullptr;   // null: pointwise default (broadcast, dtype of operand 0 or result_dtype)
  DType (*result_dtype)(const InferContext&) = nullptr;
  void (*eval)(EvalContext&) = nullptr;
  loop::Expr (*formula)(const FormulaContext&, std::span<const loop::Expr> in) = nullptr;
  loop::Expr (*define)(DefineContext&, size_t result, std::span<const loop::Expr> index) = nullptr;
  Result<std::vector<ValueId>> (*expand)(GraphBuilder&, const Node&) = nullptr;
  // Reverse-mode rule: from the gradients of the results (kNoValue: zero) those of the operands, one each, in their
  // types; kNoValue where there is none. Null: not differentiable, for the reason in no_grad ("" when nobody wrote one).
  Result<std::vector<ValueId>> (*grad)(GradBuilder&, const Node&, std::span<const ValueId> dy) = nullptr;
  std::string_view no_grad;

  const AttrSpec* attr(std::string_view attr_name) const;
};

// ---- registry: filled once from ir/ops/ops.def ---------------------------------------------------------
class Registry {
 public:
  void add(OpDef def);  // a second definition of a name is a bug
  const OpDef* find(std::string_view name) const;
  std::vector<const OpDef*> all() const;  // sorted by name

 private:
  std::unordered_map<std::string_view, std::unique_ptr<OpDef>> ops_;
};
const Registry& registry();
// The op of that name; a bug when it does not exist.
const OpDef& op(std::string_view name);

// Runs infer with the registry's checks around it (arity, attribute names and types).
Status infer(InferContext&);

// ---- building ----------------------------------------------------------------------------------------
// Adds nodes at the graph's insert point. A refusal is remembered and later calls do nothing useful; check
// status() at the end, so that expansions read like formulas.
class GraphBuilder {
 public:
  GraphBuilder(Graph& g, Loc loc) : graph(g), loc_(std::move(loc)) {}
  Graph& graph;

  ValueId operator()(std::string_view op_name, std::vector<ValueId> in, Attrs attrs = {}, std::string result_name = {});
  std::vector<ValueId> many(std::string_view op_name, std::vector<ValueId> in, Attrs attrs, int32_t n_results);
  ValueId scalar(DType dtype, double value);  // constant of rank 0
  ValueId ints(std::vector<int64_t> values);  // constant i64[n]
  ValueId dims(const Dims& dims);             // i64[n]: a constant, or a Dims node when open
  ValueId constant(Tensor t, std::string_view name = "const");
  const TensorType& type(ValueId v) const { return graph.value(v).type; }
  const Status& status() const { return status_; }

 private:
  Loc loc_;
  Status status_;
};

// Every element of the results depends on the operands' elements at its own index alone.
inline bool is_elementwise(const Node& n) { return n.op->formula || n.op->elementwise; }

// ---- helpers shared by operator files ----------------------------------------------------------------
// Output index -> operand index under NumPy broadcasting: drops leading axes, 0 where the operand's extent is 1.
std::vector<loop::Expr> broadcast_index(const Dims& operand, std::span<const loop::Expr> index);
// Calls visit(multi-index) for every index of a shape in row-major order.
void for_each_index(std::span<const int64_t> shape, const std::function<void(std::span<const int64_t>)>& visit);
int64_t flat_index(std::span<const int64_t> shape, std::span<const int64_t> index);
// Sorted, non-negative, distinct axes; all axes when the list is empty and empty_means_all.
Result<std::vector<int64_t>> normalize_axes(const InferContext&, std::vector<int64_t> axes, int64_t rank, bool empty_means_all);

}  // namespace fcc
