#include <llvm/IR/InlineAsm.h>

#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Value;
using loop::ContractTile;

static constexpr int64_t kBlock = 16;  // columns of a block, whatever the native width

// A register tile: rows x chunks accumulators of native vectors (times k_split sets), carried as phis around every
// loop, so that nothing of it touches memory before the epilogue.
struct Emitter::Tile {
  const ContractTile& t;
  DType type;                       // of the accumulators
  int64_t lanes, chunks;            // columns = chunks * lanes
  std::vector<Value*> row_offsets;  // elements; constants where a_row and a_line are
  Carried acc;                      // [set][row][chunk]

  int64_t columns() const { return t.b_cols > 0 ? t.b_cols : t.cols; }  // of b
  size_t at(size_t set, int64_t row, int64_t chunk) const {
    return (set * static_cast<size_t>(t.rows) + static_cast<size_t>(row)) * static_cast<size_t>(chunks) +
           static_cast<size_t>(chunk);
  }
};

static Value* advance(llvm::IRBuilderBase& b, llvm::Type* element, Value* pointer, Value* count, Value* stride) {
  auto *c = llvm::dyn_cast<ConstantInt>(count), *s = llvm::dyn_cast<ConstantInt>(stride);
  if ((c && c->isZero()) || (s && s->isZero())) return pointer;
  return b.CreateGEP(element, pointer, b.CreateMul(count, stride));
}

// v and zeros: half of a register is loaded as such, which clears the rest.
static Value* widened(llvm::IRBuilderBase& b, Value* v, int64_t lanes) {
  const auto has = static_cast<int64_t>(llvm::cast<llvm::FixedVectorType>(v->getType())->getNumElements());
  std::vector<int> mask;
  for (int64_t i = 0; i < lanes; ++i) mask.push_back(static_cast<int>(std::min(i, has)));
  return b.CreateShuffleVector(v, llvm::Constant::getNullValue(v->getType()), mask);
}

// The same pointers, in a form the optimiser cannot see through. Neighbouring taps of a convolution read the same
// elements of a; kept apart, they are loaded again where they are used (load ports are idle there), while merged
// they would have to stay in registers over several taps, which are all taken by accumulators. Likewise the loads of
// b are kept from moving up into the tap before.
static void hide(llvm::IRBuilderBase& b, Value*& x, Value*& y) {
  llvm::Type* pointer = b.getPtrTy();
  auto* type = llvm::FunctionType::get(llvm::StructType::get(pointer, pointer), {pointer, pointer}, false);
  Value* both = b.CreateCall(type, llvm::InlineAsm::get(type, "", "=r,=r,0,1", false), {x, y});
  x = b.CreateExtractValue(both, 0);
  y = b.CreateExtractValue(both, 1);
}

void Emitter::emit_contract(const ContractTile& t) {
  FCC_CHECK(lanes_ == 1, "{}: a contraction inside a vector loop", kernel_.name);
  FCC_CHECK(t.rows >= 1 && (t.cols == kBlock / 2 || t.cols % kBlock == 0) && t.cols > 0 && t.k_split >= 1, "{}: tile {}x{}", kernel_.name, t.rows,
            t.cols);
  ScopeGuard scope(*this, true);
  const DType type = kernel_.vars[t.acc_var].type;
  const int64_t lanes = std::min({target_.lanes(byte_size(type)), kBlock, int64_t{t.cols}});
  Tile tile{t, type, lanes, t.cols / lanes, {}, {}};
  llvm::Constant* zero = arith_.reduce_identity(loop::ReduceOp::add, type);
  tile.acc.assign(static_cast<size_t>(t.k_split) * static_cast<size_t>(t.rows) * static_cast<size_t>(tile.chunks),
                  splat(b_, zero, lanes));
  Value *row = value(t.a_row), *line = t.line_rows > 0 ? value(t.a_line) : nullptr;
  auto times = [&](Value* stride, int64_t n) { return b_.CreateMul(stride, b_.getInt64(static_cast<uint64_t>(n))); };
  for (int64_t r = 0; r < t.rows; ++r)
    tile.row_offsets.push_back(line ? b_.CreateAdd(times(line, r / t.line_rows), times(row, r % t.line_rows))
                                    : times(row, r));
  Pointers at{pointer_at(t.a, offset_of(poly(t.a_base))), pointer_at(t.b, offset_of(poly(t.b_base))), nullptr};
  if (t.prefetch) at.ahead = pointer_at(t.b, offset_of(poly(t.prefetch)));
  contract_level(tile, 0, at);
  join_sets(tile);
  ++epoch_;
  contract_epilogue(tile);
}

// The pointers after `count` steps of a reduction; what is fetched ahead moves at its share of the pace of b.
Emitter::Pointers Emitter::advance(const Tile& tile, const Pointers& from, Value* count,
                                   const ContractTile::Reduction& r) {
  llvm::Type *a_type = memory_type(context_, kernel_.buffers[tile.t.a].dtype),
             *b_type = memory_type(context_, kernel_.buffers[tile.t.b].dtype);
  Value *a_stride = value(r.a_stride), *b_stride = value(r.b_stride);
  Pointers to{fcc::advance(b_, a_type, from.a, count, a_stride), fcc::advance(b_, b_type, from.b, count, b_stride),
              from.ahead};
  if (!from.ahead) return to;
  Value* share = b_.CreateSDiv(b_stride, b_.getInt64(static_cast<uint64_t>(tile.t.prefetch_share)));
  to.ahead = fcc::advance(b_, b_type, from.ahead, count, share);
  return to;
}

void Emitter::contract_level(Tile& tile, size_t level, const Pointers& at) {
  const auto& reductions = tile.t.reductions;
  if (level == reductions.size()) return contract_step(tile, 0, at);
  const auto& r = reductions[level];
  if (level > 0 || tile.t.last == 0) return contract_steps(tile, level, at, value(r.extent));
  Value* whole = b_.CreateSub(value(r.extent), b_.getInt64(1));
  contract_steps(tile, 0, at, whole);
  contract_steps(tile, 1, advance(tile, at, whole, r), b_.getInt64(static_cast<uint64_t>(tile.t.last)));
}

// All steps of a reduction, `steps` of them.
void Emitter::contract_steps(Tile& tile, size_t level, const Pointers& at, Value* steps) {
  const auto& reductions = tile.t.reductions;
  if (!reductions[level].unroll) return contract_loop(tile, level, at, steps);
  const auto& r = reductions[level];
  auto* extent = llvm::dyn_cast<ConstantInt>(steps);
  FCC_CHECK(extent, "{}: an unrolled reduction needs a constant extent", kernel_.name);
  const bool innermost = level + 1 == reductions.size();
  for (int64_t k = 0; k < extent->getSExtValue(); ++k) {
    Pointers next = advance(tile, at, b_.getInt64(static_cast<uint64_t>(k)), r);
    if (k > 0 && tile.t.rows > 1) hide(b_, next.a, next.b);
    if (innermost)
      contract_step(tile, static_cast<size_t>(k % tile.t.k_split), next);
    else
      contract_level(tile, level + 1, next);
  }
}

void Emitter::contract_loop(Tile& tile, size_t level, const Pointers& from, Value* extent) {
  const auto& r = tile.t.reductions[level];
  const bool innermost = level + 1 == tile.t.reductions.size();
  const int64_t sets = innermost ? tile.t.k_split : 1;
  auto at = [&](Value* i, int64_t k) {
    const Pointers next = advance(tile, advance(tile, from, i, r), b_.getInt64(static_cast<uint64_t>(k)), r);
    if (innermost)
      contract_step(tile, static_cast<size_t>(k), next);
    else
      contract_level(tile, level + 1, next);
  };
  Value* whole = extent;
  if (sets > 1) whole = b_.CreateSub(extent, b_.CreateURem(extent, b_.getInt64(static_cast<uint64_t>(sets))));
  counted_loop(b_.getInt64(0), whole, sets, tile.acc, nullptr, [&](Value* i) {
    for (int64_t k = 0; k < sets; ++k) at(i, k);
  });
  if (sets == 1) return;
  if (auto* n = llvm::dyn_cast<ConstantInt>(extent)) {
    for (int64_t k = 0; k < n->getSExtValue() % sets; ++k) at(whole, k);
    return;
  }
  counted_loop(whole, extent, 1, tile.acc, nullptr, [&](Value* i) { at(i, 0); });
}

// One multiply-add for each accumulator. The shorter side (rows of a or vectors of b) is loaded first and kept, the
// longer one is loaded as it is used, so that few registers are taken besides the accumulators.
void Emitter::contract_step(Tile& tile, size_t set, const Pointers& at) {
  const ContractTile& t = tile.t;
  if (at.ahead)  // read, into the second level
    b_.CreateIntrinsic(llvm::Intrinsic::prefetch, {b_.getPtrTy()},
                       {at.ahead, b_.getInt32(0), b_.getInt32(2), b_.getInt32(1)});
  const DType a_dtype = kernel_.buffers[t.a].dtype, b_dtype = kernel_.buffers[t.b].dtype;
  llvm::Type *a_type = memory_type(context_, a_dtype), *b_type = memory_type(context_, b_dtype);
  auto load = [&](loop::BufferId id, DType dtype, llvm::Type* type, Value* pointer) {
    auto* l = b_.CreateAlignedLoad(type, pointer, llvm::Align(static_cast<uint64_t>(byte_size(dtype))));
    tag(l, id);
    return arith_.cast(dtype, tile.type, arith_.from_memory(dtype, l));
  };
  auto row = [&](int64_t r) {
    Value* p = r ? b_.CreateGEP(a_type, at.a, tile.row_offsets[static_cast<size_t>(r)]) : at.a;
    return splat(b_, load(t.a, a_dtype, a_type, p), tile.lanes);
  };
  auto column = [&](int64_t c) {
    Value* p = c ? b_.CreateConstGEP1_64(b_type, at.b, static_cast<uint64_t>(c * tile.lanes)) : at.b;
    const int64_t there = std::min(tile.lanes, tile.columns() - c * tile.lanes);
    Value* v = load(t.b, b_dtype, with_lanes(b_type, there), p);
    return there < tile.lanes ? widened(b_, v, tile.lanes) : v;
  };
  auto multiply = [&](Value* x, Value* y, int64_t r, int64_t c) {
    Value*& acc = tile.acc[tile.at(set, r, c)];
    acc = is_float(tile.type) ? arith_.fma(x, y, acc) : b_.CreateAdd(b_.CreateMul(x, y), acc);
  };
  const int64_t chunks = (tile.columns() + tile.lanes - 1) / tile.lanes;  // past them sums stay 0
  const bool rows_first = t.rows < chunks;
  const int64_t kept = rows_first ? t.rows : chunks, streamed = rows_first ? chunks : t.rows;
  std::vector<Value*> held;
  for (int64_t i = 0; i < kept; ++i) held.push_back(rows_first ? row(i) : column(i));
  for (int64_t j = 0; j < streamed; ++j) {
    Value* next = rows_first ? column(j) : row(j);
    for (int64_t i = 0; i < kept; ++i) {
      if (rows_first)
        multiply(held[static_cast<size_t>(i)], next, i, j);
      else
        multiply(next, held[static_cast<size_t>(i)], j, i);
    }
  }
}

void Emitter::join_sets(Tile& tile) {
  const size_t one = static_cast<size_t>(tile.t.rows) * static_cast<size_t>(tile.chunks);
  for (auto sets = static_cast<size_t>(tile.t.k_split); sets > 1;) {
    const size_t half = (sets + 1) / 2;
    for (size_t s = half; s < sets; ++s)
      for (size_t i = 0; i < one; ++i) {
        Value*& low = tile.acc[(s - half) * one + i];
        low = arith_.reduce_step(loop::ReduceOp::add, tile.type, low, tile.acc[s * one + i]);
      }
    sets = half;
  }
  tile.acc.resize(one);
}

// Columns outside, so that what depends on the column alone (a bias) is loaded once and few registers are live.
void Emitter::contract_epilogue(Tile& tile) {
  const ContractTile& t = tile.t;
  for (int64_t c = 0; c < tile.chunks; ++c) {
    ScopeGuard column(*this, true);
    LaneGuard context(*this, tile.lanes, nullptr);
    bind_uniform(t.block_var, b_.getInt64(static_cast<uint64_t>(c * tile.lanes / kBlock)));
    bind_lane(t.lane_var, b_.getInt64(static_cast<uint64_t>(c * tile.lanes % kBlock)), 0, true, 0);
    for (int64_t r = 0; r < t.rows; ++r) {
      ScopeGuard row(*this, true);
      bind_uniform(t.row_var, b_.getInt64(static_cast<uint64_t>(r)));
      Value* acc = tile.acc[tile.at(0, r, c)];
      binding(t.acc_var) = {
          .scalar = nullptr, .vector = acc, .facts = {.varies = true, .linear = false}, .depth = scopes_.size() - 1};
      emit(t.epilogue);
    }
  }
}

}  // namespace fcc
