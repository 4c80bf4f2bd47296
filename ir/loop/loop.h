#pragma once
// Loop IR: one kernel as a loop nest over buffers. Nine statements; expressions are in expr.h, the text form in
// text.h, invariants in verify.h, the meaning in eval.h. A kernel knows nothing of threads or instruction sets: its
// outermost `for @tile` is the unit handed to a thread pool, and `tile` statements are register-tiled
// contractions whose meaning is a plain triple loop.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ir/loop/expr.h"

namespace fcc::loop {

struct Var {
  std::string name;
  DType type = DType::i64;
};

enum class Space : uint8_t {
  input,    // parameter, read only, never aliases an output
  output,   // parameter; write, and read back only what this tile wrote
  update,   // parameter that is read and written: an element is read only by the iteration that writes it, and before
  stack,    // small local array of one tile (alloc @stack): dims are constants
  scratch,  // local array in the thread's scratch memory (alloc @thread), undefined at the start of a tile
};

struct Buffer {
  std::string name;
  DType dtype = DType::f32;
  Dims dims;              // row-major; numbers or expressions of symbols
  Space space = Space::input;
  bool constant = false;  // input whose contents never change: weights
};

struct Stmt;
using StmtRef = std::shared_ptr<const Stmt>;
using Block = std::vector<StmtRef>;

enum class LoopKind : uint8_t {
  seq,
  tile,    // outermost only: iterations are independent and may run on any thread
  vec,     // iterations are independent; execute `lanes` at a time
  unroll,  // constant trip count: fully unrolled
};

// acc[r,c] = sum over k of a[a_base + row(r) + sum(k_i*a_stride_i)] * b[b_base + c + sum(k_i*b_stride_i)]
// with row(r) = r*a_row, or, when line_rows is set, r/line_rows*a_line + r%line_rows*a_row (pixels of several lines)
// for r < rows, c < cols, then `epilogue` for every (r,c) with c = 16*block + lane and row_var, block_var, lane_var
// and acc_var bound: the epilogue runs on registers; row_var and block_var are constants to the emitter, lane_var
// (0..15) is the vector direction. All offsets are in elements of the flat buffer.
// a and b must stay readable for c < cols (or b_cols) even where the epilogue masks its store (b is padded when packed).
struct ContractTile {
  BufferId a = -1, b = -1;
  Expr a_base, b_base;
  Expr a_row;                 // element stride between rows, best a constant
  int32_t line_rows = 0;      // > 0: every so many rows start anew, a_line elements after the last start
  Expr a_line;
  int32_t rows = 1, cols = 16;  // register tile; cols is 8 or a multiple of 16
  int32_t b_cols = 0;         // > 0: b has only so many of the columns, a multiple of 8; sums past them are 0
  int32_t k_split = 1;        // > 1: the innermost reduction alternates between this many accumulator sets,
                              // added pairwise at the end (hides FMA latency when rows*cols is small)
  struct Reduction {
    Expr extent;              // >= 0
    Expr a_stride, b_stride;
    bool unroll = false;      // constant extent, unrolled
  };
  std::vector<Reduction> reductions;  // outermost first; empty: acc = a*b once
  int32_t last = 0;           // > 0: the second reduction's extent in the last step of the first, whose extent is a
                              // constant: channels that do not fill their last block
  // A hint: while the tile runs, fetch the elements of b from here on into the second-level cache, at 1/prefetch_share
  // of the pace at which the tile itself walks through b. Null: none. May lie past the end of b.
  Expr prefetch;
  int32_t prefetch_share = 1;
  VarId row_var = -1, block_var = -1, lane_var = -1, acc_var = -1;
  Block epilogue;             // let, store, if
};

enum class StmtKind : uint8_t { for_, let, store, alloc, if_, contract, fault, define_symbol, block };

struct Stmt {
  StmtKind kind;
  VarId var = -1;            // for_, let
  Expr lo, hi;               // for_: [lo, hi)
  int64_t step = 1;          // for_: the variable advances by this; with vec the step is 1
  LoopKind loop = LoopKind::seq;
  int32_t lanes = 1;         // for_ @vec
  Block body;                // for_, block; the then-branch of if_
  Block otherwise;           // if_
  Expr value;                // let, store, if_ (condition), fault (condition), define_symbol
  BufferId buffer = -1;      // store, alloc
  std::vector<Expr> indices; // store
  Expr mask;                 // store: null, or store only where true
  std::shared_ptr<const ContractTile> contract;
  std::string text;          // fault: the sentence; define_symbol: the symbol's name
};

struct Kernel {
  std::string name;      // spells the contract: conv_f32_7x32_relu
  std::string note;      // why these tiles: printed beside the loop
  std::vector<Var> vars;
  std::vector<Buffer> buffers;  // parameters first, in call order; then locals
  int32_t n_params = 0;
  Block body;            // one `for @tile`, or define_symbol statements
  SymExpr tiles = 1;     // trip count of that loop
  SymExpr flops = 0, bytes = 0;

  VarId add_var(std::string name, DType type = DType::i64);
  BufferId add_buffer(Buffer);
};

// ---- builders ------------------------------------------------------------------------------------------
StmtRef for_loop(VarId, Expr lo, Expr hi, Block body, LoopKind = LoopKind::seq, int32_t lanes = 1, int64_t step = 1);
StmtRef let(VarId, Expr value);
StmtRef store(BufferId, std::vector<Expr> indices, Expr value, Expr mask = nullptr);
StmtRef alloc(BufferId);
StmtRef if_then(Expr condition, Block then, Block otherwise = {});
StmtRef contract(ContractTile);
StmtRef fault(Expr condition, std::string text);
StmtRef define_symbol(std::string name, Expr value);
StmtRef block(Block);

// Flat element offset of an index into a row-major buffer.
Expr flat_index(const Buffer&, std::span<const Expr> indices);
// Calls visit on every statement, outermost first (contract epilogues included).
void walk(const Block&, const std::function<void(const Stmt&)>& visit);

}  // namespace fcc::loop
