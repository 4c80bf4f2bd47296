#include "ir/loop/program.h"

#include <array>
#include <cmath>

#include "ir/base/check.h"

namespace fcc::loop {

static constexpr size_t kMaxRank = 16;

static Value run_load(const LoadSite& site, const Value* frame, Memory* memory) {
  if (site.guarded && !frame[site.guard].i) return frame[site.otherwise];
  std::array<int64_t, kMaxRank> indices{};
  for (size_t d = 0; d < site.indices.size(); ++d) indices[d] = frame[site.indices[d]].i;
  FCC_CHECK(memory, "a load where there is no memory");
  return memory->load(site.buffer, {indices.data(), site.indices.size()});
}

static Value run_reduce(const ReduceLoop& loop, Value* frame, Memory* memory) {
  Value sum = loop.identity;
  const int64_t hi = frame[loop.hi].i;
  for (int64_t v = frame[loop.lo].i; v < hi; ++v) {
    frame[loop.var].i = v;
    loop.code.run(frame, memory);
    sum = loop.step(sum, frame[loop.body]);
  }
  return round_to(loop.type, sum);
}

static double fma_f32(double a, double b, double c) {
  return std::fma(static_cast<float>(a), static_cast<float>(b), static_cast<float>(c));
}

void Code::run(Value* frame, Memory* memory) const {
  using K = Instruction::Kind;
  for (const Instruction& i : instructions) {
    switch (i.kind) {
      case K::unary:
        frame[i.dst] = i.unary(frame[i.a]);
        break;
      case K::binary:
        frame[i.dst] = i.binary(frame[i.a], frame[i.b]);
        break;
      case K::select:
        frame[i.dst] = frame[i.a].i ? frame[i.b] : frame[i.c];
        break;
      case K::fma_f32:
        frame[i.dst].f = fma_f32(frame[i.a].f, frame[i.b].f, frame[i.c].f);
        break;
      case K::fma_f64:
        frame[i.dst].f = std::fma(frame[i.a].f, frame[i.b].f, frame[i.c].f);
        break;
      case K::load:
        frame[i.dst] = run_load(*i.load, frame, memory);
        break;
      case K::reduce:
        frame[i.dst] = run_reduce(*i.reduce, frame, memory);
        break;
    }
  }
}

void ProgramBuilder::begin(Code& code) {
  levels_.clear();
  levels_.push_back({&code, -1, {}});
}

Register ProgramBuilder::compile(const Expr& e, Code& code) {
  if (levels_.empty() || levels_[0].code != &code) begin(code);
  return visit(e);
}

std::vector<Value> ProgramBuilder::new_frame() const {
  std::vector<Value> frame(next_, Value{.i = 0});
  for (const auto& [r, v] : constants_) frame[r] = v;
  return frame;
}

bool ProgramBuilder::has_loads(const Expr& e) {
  if (e->kind == ExprKind::load) return true;
  if (e->args.empty()) return false;
  if (auto it = loads_.find(e.get()); it != loads_.end()) return it->second;
  bool any = false;
  for (const Expr& a : e->args) any = has_loads(a) || any;
  return loads_[e.get()] = any;
}

// The outermost level where e can be computed: below every reduce whose variable it uses. Loads stay where they
// are written, since the loop around them may run zero times.
size_t ProgramBuilder::home_level(const Expr& e) {
  if (has_loads(e)) return levels_.size() - 1;
  for (size_t l = levels_.size() - 1; l > 0; --l)
    if (uses(e, levels_[l].var)) return l;
  return 0;
}

Register ProgramBuilder::visit(const Expr& e) {
  if (e->kind == ExprKind::var) return register_of(e->var);
  for (const Level& l : levels_)
    if (auto it = l.done.find(e.get()); it != l.done.end()) return it->second;
  const size_t home = home_level(e);
  // Levels below home are set aside while compiling e, so that its parts land at home or above.
  std::vector<Level> inner(std::make_move_iterator(levels_.begin() + static_cast<ptrdiff_t>(home) + 1),
                           std::make_move_iterator(levels_.end()));
  levels_.resize(home + 1);
  const Register r = emit(e);
  levels_[home].done[e.get()] = r;
  for (Level& l : inner) levels_.push_back(std::move(l));
  return r;
}

Register ProgramBuilder::add(size_t level, Instruction i) {
  i.dst = next_++;
  levels_[level].code->instructions.push_back(i);
  return i.dst;
}

Register ProgramBuilder::fixed(Value v) {
  constants_.emplace_back(next_, v);
  return next_++;
}

Register ProgramBuilder::register_of(VarId v) const {
  auto it = bound_.find(v);
  FCC_CHECK(it != bound_.end(), "variable {} has no value", v);
  return it->second;
}

Register ProgramBuilder::emit(const Expr& e) {
  using K = Instruction::Kind;
  const size_t here = levels_.size() - 1;
  Instruction i{.kind = K::unary};
  switch (e->kind) {
    case ExprKind::constant:
      return fixed(is_float(e->type) ? float_value(e->f) : int_value(e->i));
    case ExprKind::symbol: {
      auto it = symbols_.find(e->symbol);
      FCC_CHECK(it != symbols_.end(), "symbol {} has no value", e->symbol);
      return fixed(int_value(it->second));
    }
    case ExprKind::load:
      return emit_load(e);
    case ExprKind::reduce:
      return emit_reduce(e);
    case ExprKind::unary:
      i.unary = unary_function(e->unary, e->args[0]->type);
      break;
    case ExprKind::cast:
      i.unary = cast_function(e->type, e->args[0]->type);
      break;
    case ExprKind::binary:
      i.kind = K::binary;
      i.binary = binary_function(e->binary, e->args[0]->type);
      break;
    case ExprKind::select:
      i.kind = K::select;
      break;
    case ExprKind::fma:
      i.kind = e->type == DType::f32 ? K::fma_f32 : K::fma_f64;
      break;
    case ExprKind::var:
      FCC_UNREACHABLE();
  }
  i.a = visit(e->args[0]);
  if (e->args.size() > 1) i.b = visit(e->args[1]);
  if (e->args.size() > 2) i.c = visit(e->args[2]);
  return add(here, i);
}

Register ProgramBuilder::emit_load(const Expr& e) {
  LoadSite site{.buffer = e->buffer, .indices = {}, .guarded = e->guarded};
  const size_t rank = e->args.size() - (e->guarded ? 2 : 0);
  FCC_CHECK(rank <= kMaxRank, "a load of rank {}", rank);
  for (size_t d = 0; d < rank; ++d) site.indices.push_back(visit(e->args[d]));
  if (e->guarded) {
    site.guard = visit(e->args[rank]);
    site.otherwise = visit(e->args[rank + 1]);
  }
  load_sites_.push_back(std::move(site));
  return add(levels_.size() - 1, {.kind = Instruction::Kind::load, .load = &load_sites_.back()});
}

Register ProgramBuilder::emit_reduce(const Expr& e) {
  reduce_loops_.push_back({.op = e->reduce,
                           .type = e->type,
                           .step = reduce_function(e->reduce, e->type),
                           .identity = reduce_identity(e->reduce, e->type)});
  ReduceLoop& loop = reduce_loops_.back();
  loop.lo = visit(e->args[0]);
  loop.hi = visit(e->args[1]);
  loop.var = bound_.contains(e->var) ? register_of(e->var) : bind(e->var);
  levels_.push_back({&loop.code, e->var, {}});
  loop.body = visit(e->args[2]);
  levels_.pop_back();
  return add(levels_.size() - 1, {.kind = Instruction::Kind::reduce, .reduce = &loop});
}

}  // namespace fcc::loop
