#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::Value;
using loop::BufferId;

// ---- addresses --------------------------------------------------------------------------------------------------

Value* Emitter::pointer_at(BufferId id, const Offset& o) {
  llvm::Type* element = memory_type(context_, kernel_.buffers[id].dtype);
  Value* p = buffer_pointer(id);
  if (o.base) p = b_.CreateGEP(element, p, o.base);
  return o.constant ? b_.CreateConstGEP1_64(element, p, static_cast<uint64_t>(o.constant)) : p;
}

Value* Emitter::pointer_of_lane(BufferId id, const Offset& o, int64_t lane) {
  llvm::Type* element = memory_type(context_, kernel_.buffers[id].dtype);
  if (o.lanes == Offset::Lanes::scattered)
    return b_.CreateGEP(element, buffer_pointer(id), b_.CreateExtractElement(o.vector, static_cast<uint64_t>(lane)));
  Offset one = o;
  if (o.lanes == Offset::Lanes::linear) one.constant += lane * o.step;
  if (o.lanes == Offset::Lanes::strided && lane > 0) {
    Value* moved = b_.CreateMul(o.stride, b_.getInt64(static_cast<uint64_t>(lane)));
    one.base = o.base ? b_.CreateAdd(o.base, moved) : moved;
  }
  return pointer_at(id, one);
}

Value* Emitter::active(Value* guard) {
  if (!guard) return mask_;
  guard = splat(b_, guard, lanes_);
  return mask_ ? b_.CreateAnd(mask_, guard) : guard;
}

// A constant `otherwise` is stored in the pad itself, so no select follows the load.
Value* Emitter::pad_for(const loop::ExprNode& e, Value*& otherwise) {
  const DType dtype = kernel_.buffers[e.buffer].dtype;
  llvm::Type* element = memory_type(context_, dtype);
  llvm::Constant* fill = llvm::Constant::getNullValue(element);
  if (auto* c = llvm::dyn_cast_or_null<llvm::Constant>(otherwise); c && !c->getType()->isVectorTy()) {
    const bool same_form = c->getType() == element;
    if (same_form || c->isNullValue()) {
      if (same_form) fill = c;
      otherwise = nullptr;
    }
  }
  return pad(element, fill);
}

// ---- loads ------------------------------------------------------------------------------------------------------

Value* Emitter::load_scalar(BufferId id, Value* pointer) {
  const DType dtype = kernel_.buffers[id].dtype;
  auto* load =
      b_.CreateAlignedLoad(memory_type(context_, dtype), pointer, llvm::Align(static_cast<uint64_t>(byte_size(dtype))));
  tag(load, id);
  return arith_.from_memory(dtype, load);
}

Value* Emitter::emit_load(const Expr& e) {
  const size_t n = e->args.size() - (e->guarded ? 2 : 0);
  Value *guard = nullptr, *otherwise = nullptr;
  if (e->guarded) {
    guard = value(e->args[n]);
    otherwise = value(e->args[n + 1]);
    if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(guard)) {
      if (c->isZero()) return otherwise;
      guard = nullptr;
    }
  }
  const Offset o = offset_of(e->buffer, std::span(e->args).first(n));
  if (o.lanes == Offset::Lanes::linear && o.step == 1) return load_contiguous(*e, o, guard, otherwise);
  if (o.lanes != Offset::Lanes::uniform) return load_lanes(*e, o, guard, otherwise);

  Value* pointer = pointer_at(e->buffer, o);
  if (!guard) return load_scalar(e->buffer, pointer);
  Value *condition = guard, *missing = otherwise;
  if (lanes_of(guard) > 1) condition = b_.CreateOrReduce(active(guard));
  Value* safe = pad_for(*e, missing);
  Value* loaded = load_scalar(e->buffer, b_.CreateSelect(condition, pointer, safe));
  if (lanes_of(guard) > 1) return arith_.select(guard, loaded, otherwise);
  return missing ? arith_.select(guard, loaded, missing) : loaded;
}

Value* Emitter::load_contiguous(const loop::ExprNode& e, const Offset& o, Value* guard, Value* otherwise) {
  const DType dtype = kernel_.buffers[e.buffer].dtype;
  const llvm::Align align(static_cast<uint64_t>(byte_size(dtype)));
  llvm::Type* type = with_lanes(memory_type(context_, dtype), lanes_);
  const bool scalar_guard = guard && lanes_of(guard) == 1;
  if (!mask_ && (!guard || scalar_guard)) {
    Value* pointer = pointer_at(e.buffer, o);
    Value* missing = otherwise;
    if (guard) pointer = b_.CreateSelect(guard, pointer, pad_for(e, missing));
    auto* load = b_.CreateAlignedLoad(type, pointer, align);
    tag(load, e.buffer);
    Value* loaded = arith_.from_memory(dtype, load);
    return guard && missing ? arith_.select(guard, loaded, missing) : loaded;
  }
  if (!target_.has_masked_memory(byte_size(dtype))) return load_lanes(e, o, guard, otherwise);
  // Lanes switched off receive the guard's alternative when it has the form of memory, else zeros.
  const bool pass = guard && otherwise->getType()->getScalarType() == type->getScalarType();
  Value* through = pass ? splat(b_, otherwise, lanes_) : llvm::Constant::getNullValue(type);
  auto* load = b_.CreateMaskedLoad(type, pointer_at(e.buffer, o), align, active(guard), through);
  tag(load, e.buffer);
  Value* loaded = arith_.from_memory(dtype, load);
  return guard && !pass ? arith_.select(guard, loaded, otherwise) : loaded;
}

// Every second element: two overlapping loads that stay between the first and the last element wanted.
Value* Emitter::load_strided_pair(BufferId id, const Offset& o) {
  const DType dtype = kernel_.buffers[id].dtype;
  llvm::Type* type = with_lanes(memory_type(context_, dtype), lanes_);
  const llvm::Align align(static_cast<uint64_t>(byte_size(dtype)));
  const int64_t n = lanes_, first = o.step > 0 ? 0 : o.step * (n - 1);
  auto part = [&](int64_t shift) {
    Offset moved = o;
    moved.constant += first + shift;
    auto* load = b_.CreateAlignedLoad(type, pointer_at(id, moved), align);
    tag(load, id);
    return load;
  };
  std::vector<int> pick;
  if (o.step == -1) {
    for (int64_t i = 0; i < n; ++i) pick.push_back(static_cast<int>(n - 1 - i));
    return arith_.from_memory(dtype, b_.CreateShuffleVector(part(0), pick));
  }
  // The second load starts at n-1, so element j of it is element n-1+j of the row.
  for (int64_t i = 0; i < n; ++i) pick.push_back(static_cast<int>(2 * i < n ? 2 * i : n + 2 * i - (n - 1)));
  Value* low = part(0);
  return arith_.from_memory(dtype, b_.CreateShuffleVector(low, part(n - 1), pick));
}

Value* Emitter::load_lanes(const loop::ExprNode& e, const Offset& o, Value* guard, Value* otherwise) {
  const DType dtype = kernel_.buffers[e.buffer].dtype;
  const int64_t bytes = byte_size(dtype);
  Value* on = guard || mask_ ? active(guard) : nullptr;
  if (!on && o.lanes == Offset::Lanes::linear && (o.step == 2 || o.step == -1)) return load_strided_pair(e.buffer, o);
  llvm::Type* type = with_lanes(memory_type(context_, dtype), lanes_);
  Value* loaded = nullptr;
  if (target_.isa == Isa::x86_64_v4 && bytes >= 4 && o.lanes == Offset::Lanes::scattered) {
    Value* pointers = b_.CreateGEP(type->getScalarType(), buffer_pointer(e.buffer), o.vector);
    Value* all = on ? on : splat(b_, b_.getTrue(), lanes_);
    auto* gather = b_.CreateMaskedGather(type, pointers, llvm::Align(static_cast<uint64_t>(bytes)), all,
                                         llvm::Constant::getNullValue(type));
    tag(gather, e.buffer);
    loaded = gather;
  } else {
    Value* safe = on ? pad(type->getScalarType(), llvm::Constant::getNullValue(type->getScalarType())) : nullptr;
    loaded = llvm::PoisonValue::get(type);
    for (int64_t i = 0; i < lanes_; ++i) {
      Value* pointer = pointer_of_lane(e.buffer, o, i);
      if (on) pointer = b_.CreateSelect(b_.CreateExtractElement(on, static_cast<uint64_t>(i)), pointer, safe);
      auto* load = b_.CreateAlignedLoad(type->getScalarType(), pointer, llvm::Align(static_cast<uint64_t>(bytes)));
      tag(load, e.buffer);
      loaded = b_.CreateInsertElement(loaded, load, static_cast<uint64_t>(i));
    }
  }
  loaded = arith_.from_memory(dtype, loaded);
  return guard ? arith_.select(guard, loaded, otherwise) : loaded;
}

// ---- stores -----------------------------------------------------------------------------------------------------

void Emitter::when(Value* condition, const std::function<void()>& body) {
  if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(condition)) {
    if (c->isOne()) body();
    return;
  }
  auto* then = llvm::BasicBlock::Create(context_, "then", function_, exit_);
  auto* after = llvm::BasicBlock::Create(context_, "after", function_, exit_);
  b_.CreateCondBr(condition, then, after);
  b_.SetInsertPoint(then);
  {
    ScopeGuard scope(*this, false);
    body();
  }
  b_.CreateBr(after);
  b_.SetInsertPoint(after);
}

void Emitter::emit_store(const loop::Stmt& s) {
  Value* mask = s.mask ? value(s.mask) : nullptr;
  Value* computed = value(s.value);
  const Offset o = offset_of(s.buffer, s.indices);
  const DType dtype = kernel_.buffers[s.buffer].dtype;
  auto finish = [&] {
    if (o.lanes == Offset::Lanes::uniform) {
      Value* data = computed;
      // Every lane writes the same place: the last iteration is what remains.
      if (lanes_of(data) > 1) data = b_.CreateExtractElement(data, static_cast<uint64_t>(lanes_ - 1));
      auto* store = b_.CreateAlignedStore(arith_.to_memory(dtype, data), pointer_at(s.buffer, o),
                                          llvm::Align(static_cast<uint64_t>(byte_size(dtype))));
      tag(store, s.buffer);
      return;
    }
    Value* data = arith_.to_memory(dtype, splat(b_, computed, lanes_));
    Value* on = active(mask && lanes_of(mask) > 1 ? mask : nullptr);
    if (o.lanes == Offset::Lanes::linear && o.step == 1)
      store_contiguous(s.buffer, o, data, on);
    else
      store_lanes(s.buffer, o, data, on);
  };
  if (mask && lanes_of(mask) == 1)
    when(mask, finish);
  else if (mask && o.lanes == Offset::Lanes::uniform)
    when(b_.CreateOrReduce(active(mask)), finish);
  else
    finish();
  ++epoch_;
}

void Emitter::store_contiguous(BufferId id, const Offset& o, Value* data, Value* mask) {
  const llvm::Align align(static_cast<uint64_t>(byte_size(kernel_.buffers[id].dtype)));
  Value* pointer = pointer_at(id, o);
  llvm::Instruction* store = nullptr;
  if (mask)
    store = b_.CreateMaskedStore(data, pointer, align, mask);
  else
    store = b_.CreateAlignedStore(data, pointer, align);
  tag(store, id);
}

void Emitter::store_lanes(BufferId id, const Offset& o, Value* data, Value* mask) {
  const llvm::Align align(static_cast<uint64_t>(byte_size(kernel_.buffers[id].dtype)));
  for (int64_t i = 0; i < lanes_; ++i) {
    auto one = [&] {
      auto* store = b_.CreateAlignedStore(b_.CreateExtractElement(data, static_cast<uint64_t>(i)),
                                          pointer_of_lane(id, o, i), align);
      tag(store, id);
    };
    if (mask)
      when(b_.CreateExtractElement(mask, static_cast<uint64_t>(i)), one);
    else
      one();
  }
}

}  // namespace fcc
