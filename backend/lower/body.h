#pragma once
// The body of a fused kernel as expressions: any element of any value, found by asking each operator's formula or
// define and inlining its operands. It is where fusion happens; it decides nothing about loops.
#include <map>
#include <unordered_map>
#include <vector>

#include "ir/loop/loop.h"
#include "ir/op.h"

namespace fcc::backend {

// (input, output) of a body that share their memory: the next value of a state in the place of the state.
using InPlace = std::vector<std::pair<size_t, size_t>>;

// Gives structurally equal expressions one pointer, so that "compute once" follows from equality.
class Interner {
 public:
  loop::Expr operator()(const loop::Expr&);

 private:
  struct Hash { size_t operator()(const loop::Expr& e) const; };
  struct Equal { bool operator()(const loop::Expr& a, const loop::Expr& b) const; };
  std::unordered_map<loop::Expr, loop::Expr, Hash, Equal> known_;  // args of keys are interned
  std::unordered_map<const loop::ExprNode*, loop::Expr> seen_;
  std::vector<loop::Expr> alive_;
};

class Body {
 public:
  // Declares a parameter buffer in the kernel for every input of the body (but `skipped`), then one for each output that
  // is not written in the place of an input.
  Body(const Graph& body, loop::Kernel& kernel, ValueId skipped = kNoValue, const InPlace& in_place = {});
  // Another part of the same kernel: a graph with the same inputs but `skipped`, the parameters of `whole`, no output.
  Body(const Graph& part, loop::Kernel& kernel, ValueId skipped, const Body& whole);

  const Graph& graph() const { return graph_; }
  loop::Kernel& kernel() { return kernel_; }
  // Element of a value at an index of its rank; compute_type of its dtype.
  loop::Expr element(ValueId v, std::span<const loop::Expr> index);
  loop::Expr element_guarded(ValueId v, std::span<const loop::Expr> index, loop::Expr guard, loop::Expr otherwise);
  // From now on an element of v is this expression, whatever the index: the accumulator of a contraction.
  void bind(ValueId v, loop::Expr value) { bound_[v] = std::move(value); }
  void clear_bindings() { bound_.clear(); memo_.clear(); }

  loop::BufferId buffer_of(ValueId v) const;  // of an input or the output
  loop::BufferId output_buffer(size_t k = 0) const { return outputs_.at(k); }
  // Conditions that must stop the run, collected since the last call.
  std::vector<std::pair<loop::Expr, std::string>> take_faults();
  loop::Expr intern(const loop::Expr& e) { return interner_(e); }

 private:
  class Context;
  loop::Expr compute(ValueId v, std::span<const loop::Expr> index);
  loop::Expr load(ValueId v, std::span<const loop::Expr> index, loop::Expr otherwise);

  const Graph& graph_;
  loop::Kernel& kernel_;
  std::map<ValueId, loop::BufferId> buffers_;
  std::map<ValueId, loop::Expr> bound_;
  std::vector<loop::BufferId> outputs_;
  loop::Expr guard_;  // of the element being built, or null
  std::map<std::vector<const void*>, loop::Expr> memo_;
  std::vector<loop::Expr> memo_alive_;
  std::vector<std::pair<loop::Expr, std::string>> faults_;
  Interner interner_;
};

}  // namespace fcc::backend
