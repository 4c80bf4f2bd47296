#pragma once
// The state of emitting one kernel, shared by emit.cc (frame), emit_expr.cc, emit_index.cc, emit_memory.cc,
// emit_stmt.cc, emit_reduce.cc and emit_contract.cc. Private to this folder; emit.h is the interface.
//
// How vectors come about: inside a @vec loop, a reduction with lanes, or the epilogue of a contraction, one
// variable (the lane variable) stands for `lanes_` consecutive values. A value that depends on it is a vector,
// every other stays scalar and is splat where it meets one. i64 arithmetic that is linear in the lane variable is
// carried as "value in lane 0, plus a constant step", so addresses stay scalar.
//
// How values are shared: scopes nest like the control flow. A value is remembered for its expression node in the
// outermost scope that it may live in, so a shared node is computed once per scope that dominates its uses.
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "backend/llvm/arith.h"
#include "backend/llvm/emit.h"
#include "backend/llvm/poly.h"

namespace fcc {

// What is known of an i64 value; `varies` is meaningful for every type.
struct Facts {
  bool varies = false;  // differs between lanes
  bool linear = true;   // lane i = lane 0 + i * step
  int64_t step = 0;
  int64_t divisor = 1;  // divides the value in lane 0; 0 when that value is 0
  bool nonnegative = false;
  int64_t max = std::numeric_limits<int64_t>::max();  // of all lanes, when nonnegative
};

struct Binding {
  llvm::Value* scalar = nullptr;  // the value, or that of lane 0 when linear
  llvm::Value* vector = nullptr;  // all lanes, when it varies (made on demand when linear)
  Facts facts;
  size_t depth = 0;  // scope it was bound in
};

// A flattened element offset. Lane i of a linear one is base + constant + i*step.
struct Offset {
  enum class Lanes : uint8_t { uniform, linear, strided, scattered };
  Lanes lanes = Lanes::uniform;
  llvm::Value* base = nullptr;  // null: 0
  int64_t constant = 0;
  int64_t step = 0;               // linear
  llvm::Value* stride = nullptr;  // strided: step known at run time only
  llvm::Value* vector = nullptr;  // scattered: all lanes, complete
};

class Emitter {
 public:
  Emitter(llvm::Module&, const loop::Kernel&, const EmitRequest&);
  Emitted run();

 private:
  using Expr = loop::Expr;
  using Value = llvm::Value;
  using Carried = std::vector<llvm::Value*>;

  struct Memo {
    Value *value = nullptr, *lane0 = nullptr;
    uint64_t epoch = 0;
  };
  struct Scope {
    bool straight;  // runs exactly when its parent does, once, and dominates what follows in it
    std::unordered_map<const loop::ExprNode*, Memo> memo;
    std::unordered_map<const loop::ExprNode*, Facts> facts;
  };
  struct ScopeGuard {
    explicit ScopeGuard(Emitter& e, bool straight) : emitter(e) { e.scopes_.push_back({straight, {}, {}}); }
    ~ScopeGuard() { emitter.scopes_.pop_back(); }
    ScopeGuard(const ScopeGuard&) = delete;
    Emitter& emitter;
  };
  // Sets the lane context and puts the former one back.
  struct LaneGuard {
    LaneGuard(Emitter& e, int64_t lanes, Value* mask) : emitter(e), lanes(e.lanes_), mask(e.mask_) {
      e.lanes_ = lanes;
      e.mask_ = mask;
    }
    ~LaneGuard() {
      emitter.lanes_ = lanes;
      emitter.mask_ = mask;
    }
    LaneGuard(const LaneGuard&) = delete;
    Emitter& emitter;
    int64_t lanes;
    Value* mask;
  };

  // -- emit.cc: the function around the kernel
  void open_function();
  Value* buffer_pointer(loop::BufferId);
  Value* symbol_value(std::string_view name);
  void tag(llvm::Instruction*, loop::BufferId);  // alias and invariance metadata
  Value* pad(llvm::Type* element, llvm::Constant* fill);
  void return_code(Value* condition, int32_t code);
  void declare_local(loop::BufferId);

  // -- emit_expr.cc
  Value* value(const Expr&);  // scalar when uniform, else a vector
  Value* lane0(const Expr&);  // i64 only: the value in lane 0
  Value* vector_of(const Expr& e) { return splat(b_, value(e), lanes_); }
  Value* compute(const Expr&);
  Value* compute_binary(const Expr&);
  Value* compute_cast(const Expr&);
  Value* compare_linear(const Expr&);
  Value* divide_linear(const Expr&);
  Value* from_linear(Value* scalar, int64_t step);
  Value* index_binary(loop::BinaryOp, const Expr& a, const Expr& b, Value* x, Value* y);
  const Facts& facts(const Expr&);
  Facts compute_facts(const Expr&);
  Facts binary_facts(const Expr&);
  bool varies(const Expr&);
  bool reads_mutable(const Expr&);
  Memo* find(const Expr&);
  void remember(const Expr&, Value*, bool lane0);
  size_t level_of(const Expr&);  // outermost scope where it may live
  size_t free_depth(const Expr&);
  void bind_uniform(loop::VarId, Value*, Facts = {});
  void bind_lane(loop::VarId, Value* base, int64_t divisor, bool nonnegative, int64_t max);
  void bind_expr(loop::VarId, const Expr&);  // let
  Value* bound(loop::VarId);
  Binding& binding(loop::VarId);
  // Evaluates here what the expression needs of values that do not depend on the listed variables.
  void hoist(const Expr&, std::vector<loop::VarId>& inner, std::unordered_set<const loop::ExprNode*>& seen);

  // -- emit_index.cc
  Poly poly(const Expr&);
  Poly flat_poly(loop::BufferId, std::span<const Expr> indices);
  AtomId atom_of(const Expr&);
  Offset offset_of(const Poly&);
  Offset offset_of(loop::BufferId, std::span<const Expr> indices);
  Value* atom_scalar(AtomId);
  const Facts& atom_facts(AtomId);
  size_t atom_depth(AtomId);
  Value* scalar_offset(const Offset&);  // base + constant

  // -- emit_memory.cc
  Value* emit_load(const Expr&);
  Value* load_scalar(loop::BufferId, Value* pointer);
  Value* load_contiguous(const loop::ExprNode&, const Offset&, Value* guard, Value* otherwise);
  Value* load_lanes(const loop::ExprNode&, const Offset&, Value* guard, Value* otherwise);
  Value* load_strided_pair(loop::BufferId, const Offset&);
  Value* pointer_at(loop::BufferId, const Offset&);
  Value* pointer_of_lane(loop::BufferId, const Offset&, int64_t lane);
  Value* pad_for(const loop::ExprNode&, Value*& otherwise);  // clears otherwise when the pad already holds it
  Value* active(Value* guard);                               // guard and the lane mask; null when neither
  void emit_store(const loop::Stmt&);
  void store_lanes(loop::BufferId, const Offset&, Value* data, Value* mask);
  void store_contiguous(loop::BufferId, const Offset&, Value* data, Value* mask);
  void when(Value* condition, const std::function<void()>& body);

  // -- emit_stmt.cc
  void emit(const loop::Block&);
  void emit(const loop::Stmt&);
  void emit_for(const loop::Stmt&);
  void emit_tile_loop(const loop::Stmt&);
  void emit_vec(const loop::Stmt&);
  void emit_vec_straight(const loop::Stmt&, Value* lo, int64_t trip, int64_t lanes, bool masked);
  void emit_vec_body(const loop::Stmt&, Value* base, int64_t lanes, Value* mask, const Facts& lo, int64_t max);
  void emit_scalar_loop(const loop::Stmt&, Value* lo, Value* hi);
  void emit_if(const loop::Stmt&);
  void emit_masked_if(Value* condition, const loop::Stmt&);
  void hoist_reductions(const loop::Stmt&);
  bool vectorisable(const loop::Stmt&);
  bool can_mask(const loop::Block&);
  bool can_mask(const Expr&);
  void counted_loop(Value* lo, Value* hi, int64_t step, Carried& carried, const std::function<void()>& prologue,
                    const std::function<void(Value*)>& body);
  Value* tail_mask(Value* remaining, int64_t lanes);

  // -- emit_reduce.cc
  struct Reduction;
  Value* emit_reduce(const Expr&);
  Value* emit_levels(const loop::ExprNode&);
  void plan_reduction(Reduction&);
  void reduce_level(Reduction&, size_t level, size_t set);
  void reduce_rounds(Reduction&, size_t level, Value* lo, Value* hi, int64_t lanes);
  void reduce_vectors(Reduction&, size_t level);
  void reduce_at(Reduction&, size_t level, Value* at, int64_t lanes, Value* mask, size_t set);
  void accumulate(const Reduction&, Value*& acc);
  std::function<void()> reduction_prologue(const loop::ExprNode&);

  // -- emit_contract.cc
  struct Tile;
  struct Pointers {
    Value *a, *b, *ahead;  // ahead: what is fetched of b for later, or null
  };
  void emit_contract(const loop::ContractTile&);
  Pointers advance(const Tile&, const Pointers&, Value* count, const loop::ContractTile::Reduction&);
  void contract_level(Tile&, size_t level, const Pointers&);
  void contract_step(Tile&, size_t set, const Pointers&);
  void contract_steps(Tile&, size_t level, const Pointers&, Value* steps);
  void contract_loop(Tile&, size_t level, const Pointers&, Value* extent);
  void contract_epilogue(Tile&);
  void join_sets(Tile&);

  llvm::Module& module_;
  llvm::LLVMContext& context_;
  const loop::Kernel& kernel_;
  const EmitRequest& request_;
  const Target& target_;
  llvm::IRBuilder<> b_;
  Arith arith_;

  llvm::Function* function_ = nullptr;
  llvm::Instruction* entry_end_ = nullptr;  // code that belongs to the entry goes before it
  llvm::BasicBlock* exit_ = nullptr;        // returns 0
  std::vector<Value*> pointers_;            // of a buffer
  std::vector<llvm::MDNode*> alias_scope_, no_alias_;
  std::map<std::string, Value*, std::less<>> symbols_;
  std::map<std::pair<llvm::Type*, llvm::Constant*>, llvm::GlobalVariable*> pads_;
  int64_t scratch_bytes_ = 0;

  std::vector<Scope> scopes_;
  std::vector<Binding> bindings_;
  int64_t lanes_ = 1;      // of the lane context
  Value* mask_ = nullptr;  // active lanes; null: all. At least one is active wherever code is emitted.
  uint64_t epoch_ = 0;     // grows with every store that later loads may see

  std::vector<Expr> keep_;  // expressions made here
  std::unordered_map<const loop::ExprNode*, bool> mutable_;
  std::unordered_map<const loop::ExprNode*, Poly> polys_;
  std::unordered_map<loop::VarId, std::pair<const loop::ExprNode*, Poly>> definitions_;  // of index lets
  std::deque<Expr> atoms_;  // references stay valid while nested indices add more
  std::map<std::pair<int, std::string>, AtomId> named_atoms_;
  std::unordered_map<const loop::ExprNode*, AtomId> opaque_atoms_;
  std::vector<std::vector<Poly>> strides_;  // of a buffer
};

}  // namespace fcc
