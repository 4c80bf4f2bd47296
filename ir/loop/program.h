#pragma once
// Expressions compiled to flat instruction lists over a register frame: the engine under eval.h.
//
// A node shared by pointer is computed once a program. What does not depend on the variable of a reduce, and loads
// nothing, is moved out of its loop. Internal to the interpreter: include eval.h instead.
#include <deque>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/loop/eval.h"
#include "ir/loop/scalar.h"

namespace fcc::loop {

using Register = uint32_t;

// Where loads go.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual Value load(BufferId, std::span<const int64_t> indices) = 0;
};

struct Instruction;
struct Code {
  std::vector<Instruction> instructions;
  void run(Value* frame, Memory*) const;
};

struct LoadSite {
  BufferId buffer = -1;
  std::vector<Register> indices;
  bool guarded = false;
  Register guard = 0, otherwise = 0;
};

struct ReduceLoop {
  ReduceOp op{};
  DType type{};
  BinaryFn step = nullptr;
  Value identity{};
  Register var = 0, lo = 0, hi = 0, body = 0;
  Code code;
};

struct Instruction {
  enum class Kind : uint8_t { unary, binary, select, fma_f32, fma_f64, load, reduce } kind;
  Register dst = 0, a = 0, b = 0, c = 0;
  UnaryFn unary = nullptr;
  BinaryFn binary = nullptr;
  const LoadSite* load = nullptr;
  const ReduceLoop* reduce = nullptr;
};

// Compiles expressions of one scope: variables get a register each, constants are set once in the frame that
// new_frame() returns, the rest is scratch of the running code. Must outlive the code it compiled.
class ProgramBuilder {
 public:
  explicit ProgramBuilder(const std::map<std::string, int64_t>& symbols) : symbols_(symbols) {}
  // Gives a variable its register: 0, 1, ... in order of the calls.
  Register bind(VarId v) { return bound_[v] = next_++; }
  Register register_of(VarId) const;

  // Appends what computes e to code; the register that will hold it. Calls with the same code share nodes.
  Register compile(const Expr& e, Code& code);
  // Forgets what the current code has computed: a new statement starts.
  void begin(Code& code);
  std::vector<Value> new_frame() const;

 private:
  struct Level {
    Code* code;
    VarId var;  // of the reduce; -1 at the outermost level
    std::unordered_map<const ExprNode*, Register> done;
  };
  Register visit(const Expr& e);
  Register emit(const Expr& e);
  Register emit_load(const Expr& e);
  Register emit_reduce(const Expr& e);
  Register add(size_t level, Instruction);
  Register fixed(Value);
  size_t home_level(const Expr& e);
  bool has_loads(const Expr& e);

  Register next_ = 0;
  const std::map<std::string, int64_t>& symbols_;
  std::map<VarId, Register> bound_;
  std::vector<std::pair<Register, Value>> constants_;
  std::vector<Level> levels_;
  std::unordered_map<const ExprNode*, bool> loads_;
  std::deque<LoadSite> load_sites_;
  std::deque<ReduceLoop> reduce_loops_;
};

}  // namespace fcc::loop
