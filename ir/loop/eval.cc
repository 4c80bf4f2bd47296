#include "ir/loop/eval.h"

#include <cstring>
#include <limits>
#include <optional>

#include "ir/base/check.h"
#include "ir/loop/program.h"

namespace fcc::loop {

Value read_element(const Tensor& t, int64_t i) {
  return is_float(t.dtype()) ? float_value(t.get_double(i)) : int_value(t.get_int(i));
}
void write_element(Tensor& t, int64_t i, Value v) {
  is_float(t.dtype()) ? t.set_double(i, v.f) : t.set_int(i, v.i);
}

// ---- single expressions -----------------------------------------------------------------------------------

namespace {

class CallbackMemory : public Memory {
 public:
  explicit CallbackMemory(const Environment& env) : env_(env) {}
  Value load(BufferId b, std::span<const int64_t> indices) override {
    FCC_CHECK(env_.load, "a load of buffer {} where there is none", b);
    return env_.load(b, indices);
  }

 private:
  const Environment& env_;
};

}  // namespace

Value evaluate(const Expr& e, const Environment& env) {
  ProgramBuilder builder(env.symbols);
  for (const auto& [v, value] : env.vars) builder.bind(v);
  Code code;
  const Register result = builder.compile(e, code);
  std::vector<Value> frame = builder.new_frame();
  for (const auto& [v, value] : env.vars) frame[builder.register_of(v)] = value;
  CallbackMemory memory(env);
  code.run(frame.data(), &memory);
  return frame[result];
}

struct FormulaProgram::Impl {
  std::map<std::string, int64_t> symbols;
  ProgramBuilder builder;
  Code code;
  std::vector<Value> frame;
  std::vector<Register> inputs;
  Register result = 0;
  DType type;

  Impl(const Expr& formula, std::span<const VarId> vars, std::map<std::string, int64_t> s)
      : symbols(std::move(s)), builder(symbols), type(formula->type) {
    for (VarId v : vars) inputs.push_back(builder.bind(v));
    result = builder.compile(formula, code);
    frame = builder.new_frame();
  }
};

FormulaProgram::FormulaProgram(const Expr& formula, std::span<const VarId> inputs,
                               const std::map<std::string, int64_t>& symbols)
    : impl_(std::make_unique<Impl>(formula, inputs, symbols)) {}
FormulaProgram::~FormulaProgram() = default;
FormulaProgram::FormulaProgram(FormulaProgram&&) noexcept = default;
FormulaProgram& FormulaProgram::operator=(FormulaProgram&&) noexcept = default;
DType FormulaProgram::type() const {
  return impl_->type;
}

Value FormulaProgram::run(std::span<const Value> inputs) {
  FCC_CHECK(inputs.size() == impl_->inputs.size(), "{} inputs for {}", inputs.size(), impl_->inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) impl_->frame[impl_->inputs[i]] = inputs[i];
  impl_->code.run(impl_->frame.data(), nullptr);
  return impl_->frame[impl_->result];
}

// ---- kernels ------------------------------------------------------------------------------------------------

namespace {

// A buffer while the kernel runs. Extents are evaluated at the first use.
struct BoundBuffer {
  Tensor* tensor = nullptr;
  std::optional<Tensor> local;
  std::vector<int64_t> extents;
  bool sized = false;
};

struct CompiledStmt;
using CompiledBlock = std::vector<CompiledStmt>;

struct CompiledContract {
  struct Reduction {
    Register extent, a_stride, b_stride;
  };
  const ContractTile* tile;
  Code code;
  Register a_base, b_base, a_row, a_line, row_var, block_var, lane_var, acc_var;
  std::vector<Reduction> reductions;
  CompiledBlock epilogue;
};

struct CompiledStmt {
  const Stmt* stmt = nullptr;
  Code code;  // computes the registers below
  Register var = 0, lo = 0, hi = 0, value = 0;
  std::optional<Register> mask;
  std::vector<Register> indices;
  CompiledBlock body, otherwise;
  std::unique_ptr<CompiledContract> contract;
};

class Machine : public Memory {
 public:
  Machine(const Kernel& k, std::span<Tensor* const> args, const std::map<std::string, int64_t>& symbols,
          std::map<std::string, int64_t>* defined);
  Status run() { return run_block(program_); }
  Value load(BufferId, std::span<const int64_t> indices) override;

 private:
  CompiledBlock compile(const Block&);
  CompiledStmt compile(const Stmt&);
  std::unique_ptr<CompiledContract> compile(const ContractTile&);

  Status run_block(const CompiledBlock&);
  Status run_stmt(const CompiledStmt&);
  Status run_for(const CompiledStmt&);
  Status run_contract(const CompiledContract&);
  Status run_store(const CompiledStmt&);
  void allocate(BufferId);
  Value contract_element(const CompiledContract&, int64_t row, int64_t col);

  int64_t number(const SymExpr&) const;
  BoundBuffer& sized(BufferId);
  int64_t flat_index_of(BufferId, std::span<const int64_t> indices);
  Tensor& storage(BufferId);
  Value element(BufferId, int64_t flat);

  const Kernel& kernel_;
  const std::map<std::string, int64_t>& symbols_;
  std::map<std::string, int64_t>* defined_;
  ProgramBuilder builder_;
  std::vector<BoundBuffer> buffers_;
  CompiledBlock program_;
  std::vector<Value> frame_;
};

Machine::Machine(const Kernel& k, std::span<Tensor* const> args, const std::map<std::string, int64_t>& symbols,
                 std::map<std::string, int64_t>* defined)
    : kernel_(k), symbols_(symbols), defined_(defined), builder_(symbols), buffers_(k.buffers.size()) {
  FCC_CHECK(static_cast<int32_t>(args.size()) == k.n_params, "{}: {} arguments for {} parameters", k.name, args.size(),
            k.n_params);
  for (size_t i = 0; i < args.size(); ++i) {
    FCC_CHECK(args[i]->dtype() == k.buffers[i].dtype, "{}: {} is {}, given {}", k.name, k.buffers[i].name,
              name(k.buffers[i].dtype), name(args[i]->dtype()));
    buffers_[i].tensor = args[i];
  }
  for (size_t v = 0; v < k.vars.size(); ++v) builder_.bind(static_cast<VarId>(v));
  program_ = compile(k.body);
  frame_ = builder_.new_frame();
}

CompiledBlock Machine::compile(const Block& b) {
  CompiledBlock out;
  for (const StmtRef& s : b) out.push_back(compile(*s));
  return out;
}

CompiledStmt Machine::compile(const Stmt& s) {
  CompiledStmt c;
  c.stmt = &s;
  builder_.begin(c.code);
  if (s.var >= 0) c.var = builder_.register_of(s.var);
  if (s.lo) c.lo = builder_.compile(s.lo, c.code);
  if (s.hi) c.hi = builder_.compile(s.hi, c.code);
  for (const Expr& i : s.indices) c.indices.push_back(builder_.compile(i, c.code));
  if (s.mask) c.mask = builder_.compile(s.mask, c.code);
  if (s.value) c.value = builder_.compile(s.value, c.code);
  c.body = compile(s.body);
  c.otherwise = compile(s.otherwise);
  if (s.contract) c.contract = compile(*s.contract);
  return c;
}

std::unique_ptr<CompiledContract> Machine::compile(const ContractTile& t) {
  auto c = std::make_unique<CompiledContract>();
  c->tile = &t;
  builder_.begin(c->code);
  auto reg = [&](const Expr& e) { return builder_.compile(e, c->code); };
  c->a_base = reg(t.a_base);
  c->b_base = reg(t.b_base);
  c->a_row = reg(t.a_row);
  c->a_line = t.line_rows > 0 ? reg(t.a_line) : c->a_row;
  for (const ContractTile::Reduction& r : t.reductions)
    c->reductions.push_back({reg(r.extent), reg(r.a_stride), reg(r.b_stride)});
  c->row_var = builder_.register_of(t.row_var);
  c->block_var = builder_.register_of(t.block_var);
  c->lane_var = builder_.register_of(t.lane_var);
  c->acc_var = builder_.register_of(t.acc_var);
  c->epilogue = compile(t.epilogue);
  return c;
}

// ---- memory

int64_t Machine::number(const SymExpr& e) const {
  return e.evaluate([&](std::string_view s) {
    auto it = symbols_.find(std::string(s));
    FCC_CHECK(it != symbols_.end(), "{}: symbol {} has no value", kernel_.name, s);
    return it->second;
  });
}

BoundBuffer& Machine::sized(BufferId id) {
  FCC_CHECK(id >= 0 && id < static_cast<BufferId>(buffers_.size()), "{}: no buffer {}", kernel_.name, id);
  BoundBuffer& b = buffers_[static_cast<size_t>(id)];
  if (b.sized) return b;
  const Buffer& decl = kernel_.buffers[static_cast<size_t>(id)];
  for (const SymExpr& d : decl.dims) b.extents.push_back(number(d));
  b.sized = true;
  if (b.tensor)
    FCC_CHECK(b.tensor->elements() >= product(b.extents), "{}: {}{} given {} elements", kernel_.name, decl.name,
              text(decl.dims), b.tensor->elements());
  return b;
}

// Undefined contents: NaN in floats, an unlikely number elsewhere, so that reading them shows.
void Machine::allocate(BufferId id) {
  BoundBuffer& b = sized(id);
  const Buffer& decl = kernel_.buffers[static_cast<size_t>(id)];
  if (!b.local) b.local.emplace(decl.dtype, b.extents);
  std::memset(b.local->raw(),
              decl.dtype == DType::boolean ? 1
              : is_float(decl.dtype)       ? 0xff
                                           : 0x5a,
              static_cast<size_t>(b.local->bytes()));
  b.tensor = &*b.local;
}

Tensor& Machine::storage(BufferId id) {
  BoundBuffer& b = sized(id);
  FCC_CHECK(b.tensor, "{}: {} used before its alloc", kernel_.name, kernel_.buffers[static_cast<size_t>(id)].name);
  return *b.tensor;
}

int64_t Machine::flat_index_of(BufferId id, std::span<const int64_t> indices) {
  const BoundBuffer& b = sized(id);
  FCC_CHECK(indices.size() == b.extents.size(), "{}: {} indices into {}", kernel_.name, indices.size(),
            kernel_.buffers[static_cast<size_t>(id)].name);
  int64_t flat = 0;
  for (size_t d = 0; d < indices.size(); ++d) {
    FCC_CHECK(indices[d] >= 0 && indices[d] < b.extents[d], "{}: {}[{}] outside [{}]", kernel_.name,
              kernel_.buffers[static_cast<size_t>(id)].name, fmt::join(indices, ","), fmt::join(b.extents, ","));
    flat = flat * b.extents[d] + indices[d];
  }
  return flat;
}

Value Machine::load(BufferId id, std::span<const int64_t> indices) {
  const int64_t flat = flat_index_of(id, indices);
  return read_element(storage(id), flat);
}

Value Machine::element(BufferId id, int64_t flat) {
  const BoundBuffer& b = sized(id);
  FCC_CHECK(flat >= 0 && flat < product(b.extents), "{}: contraction reads element {} of {}[{}]", kernel_.name, flat,
            kernel_.buffers[static_cast<size_t>(id)].name, fmt::join(b.extents, ","));
  return read_element(storage(id), flat);
}

// ---- statements

Status Machine::run_block(const CompiledBlock& b) {
  for (const CompiledStmt& s : b) FCC_CHECKED(run_stmt(s));
  return {};
}

Status Machine::run_stmt(const CompiledStmt& c) {
  const Stmt& s = *c.stmt;
  c.code.run(frame_.data(), this);
  switch (s.kind) {
    case StmtKind::for_:
      return run_for(c);
    case StmtKind::let:
      frame_[c.var] = frame_[c.value];
      return {};
    case StmtKind::store:
      return run_store(c);
    case StmtKind::alloc:
      allocate(s.buffer);
      return {};
    case StmtKind::if_:
      return run_block(frame_[c.value].i ? c.body : c.otherwise);
    case StmtKind::contract:
      return run_contract(*c.contract);
    case StmtKind::fault:
      return frame_[c.value].i ? Status(fail(s.text)) : Status();
    case StmtKind::define_symbol:
      if (defined_) (*defined_)[s.text] = frame_[c.value].i;
      return {};
    case StmtKind::block:
      return run_block(c.body);
  }
  FCC_UNREACHABLE();
}

Status Machine::run_for(const CompiledStmt& c) {
  const int64_t lo = frame_[c.lo].i, hi = frame_[c.hi].i;
  FCC_CHECK(c.stmt->step > 0, "{}: a loop with step {}", kernel_.name, c.stmt->step);
  for (int64_t v = lo; v < hi; v += c.stmt->step) {
    frame_[c.var].i = v;
    FCC_CHECKED(run_block(c.body));
  }
  return {};
}

Status Machine::run_store(const CompiledStmt& c) {
  if (c.mask && !frame_[*c.mask].i) return {};
  std::vector<int64_t> indices;
  for (Register r : c.indices) indices.push_back(frame_[r].i);
  const int64_t flat = flat_index_of(c.stmt->buffer, indices);
  FCC_CHECK(kernel_.buffers[static_cast<size_t>(c.stmt->buffer)].space != Space::input, "{}: a store into input {}",
            kernel_.name, kernel_.buffers[static_cast<size_t>(c.stmt->buffer)].name);
  write_element(storage(c.stmt->buffer), flat, frame_[c.value]);
  return {};
}

Value Machine::contract_element(const CompiledContract& c, int64_t row, int64_t col) {
  const ContractTile& t = *c.tile;
  const bool floats = is_float(kernel_.buffers[static_cast<size_t>(t.a)].dtype);
  const size_t n = c.reductions.size();
  std::vector<int64_t> at(n, 0);
  if (t.b_cols > 0 && col >= t.b_cols) return {.i = 0};  // also 0.0
  auto extent = [&](size_t d) {
    const bool last = d == 1 && t.last > 0 && at[0] + 1 == frame_[c.reductions[0].extent].i;
    return last ? int64_t{t.last} : frame_[c.reductions[d].extent].i;
  };
  for (const CompiledContract::Reduction& r : c.reductions)
    if (frame_[r.extent].i <= 0) return {.i = 0};
  double sum = 0;
  uint64_t int_sum = 0;
  const int64_t in_line = t.line_rows > 0 ? row % t.line_rows : row, line = t.line_rows > 0 ? row / t.line_rows : 0;
  int64_t a = frame_[c.a_base].i + line * frame_[c.a_line].i + in_line * frame_[c.a_row].i;
  int64_t b = frame_[c.b_base].i + col;
  while (true) {
    const Value x = element(t.a, a), y = element(t.b, b);
    if (floats)
      sum += x.f * y.f;
    else
      int_sum += static_cast<uint64_t>(x.i) * static_cast<uint64_t>(y.i);
    size_t d = n;
    for (; d > 0; --d) {  // the odometer over the reductions, innermost last
      const CompiledContract::Reduction& r = c.reductions[d - 1];
      a += frame_[r.a_stride].i;
      b += frame_[r.b_stride].i;
      if (++at[d - 1] < extent(d - 1)) break;
      a -= at[d - 1] * frame_[r.a_stride].i;
      b -= at[d - 1] * frame_[r.b_stride].i;
      at[d - 1] = 0;
    }
    if (d == 0) break;
  }
  const DType type = kernel_.vars[static_cast<size_t>(t.acc_var)].type;
  if (floats) return round_to(type, float_value(sum));
  return cast_function(type, DType::i64)(int_value(static_cast<int64_t>(int_sum)));
}

// All sums first, then all epilogues: the epilogue runs on registers once the tile is complete.
Status Machine::run_contract(const CompiledContract& c) {
  c.code.run(frame_.data(), this);
  const ContractTile& t = *c.tile;
  std::vector<Value> sums;
  for (int64_t row = 0; row < t.rows; ++row)
    for (int64_t col = 0; col < t.cols; ++col) sums.push_back(contract_element(c, row, col));
  for (int64_t row = 0; row < t.rows; ++row) {
    for (int64_t col = 0; col < t.cols; ++col) {
      frame_[c.row_var].i = row;
      frame_[c.block_var].i = col / 16;
      frame_[c.lane_var].i = col % 16;
      frame_[c.acc_var] = sums[static_cast<size_t>(row * t.cols + col)];
      FCC_CHECKED(run_block(c.epilogue));
    }
  }
  return {};
}

}  // namespace

Status evaluate(const Kernel& k, std::span<Tensor* const> args, const std::map<std::string, int64_t>& symbols,
                std::map<std::string, int64_t>* defined_symbols) {
  return Machine(k, args, symbols, defined_symbols).run();
}

}  // namespace fcc::loop
