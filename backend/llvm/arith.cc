#include "backend/llvm/arith.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <limits>

#include "backend/llvm/math.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Type;
using llvm::Value;
using llvm::Intrinsic::ID;
using loop::BinaryOp;
using loop::ReduceOp;
using loop::UnaryOp;

// ---- types and lanes ----------------------------------------------------------------------------------------

Type* value_type(llvm::LLVMContext& c, DType t) {
  switch (t) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return Type::getFloatTy(c);
    case DType::f64:
      return Type::getDoubleTy(c);
    case DType::boolean:
      return Type::getInt1Ty(c);
    default:
      return Type::getIntNTy(c, static_cast<unsigned>(8 * byte_size(t)));
  }
}

Type* memory_type(llvm::LLVMContext& c, DType t) {
  if (t == DType::f16 || t == DType::bf16) return Type::getInt16Ty(c);
  if (t == DType::boolean) return Type::getInt8Ty(c);
  return value_type(c, t);
}

Type* with_lanes(Type* t, int64_t lanes) {
  return lanes > 1 ? llvm::FixedVectorType::get(t, static_cast<unsigned>(lanes)) : t;
}

int64_t lanes_of(const Value* v) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
  return vector ? vector->getNumElements() : 1;
}

Value* splat(llvm::IRBuilderBase& b, Value* v, int64_t lanes) {
  if (lanes <= 1 || lanes_of(v) > 1) return v;
  return b.CreateVectorSplat(static_cast<unsigned>(lanes), v);
}

void unify(llvm::IRBuilderBase& b, Value*& x, Value*& y) {
  x = splat(b, x, lanes_of(y));
  y = splat(b, y, lanes_of(x));
}

llvm::Constant* iota(Type* element, int64_t lanes, int64_t step) {
  std::vector<llvm::Constant*> values;
  for (int64_t i = 0; i < lanes; ++i) values.push_back(ConstantInt::getSigned(element, i * step));
  return lanes > 1 ? llvm::ConstantVector::get(values) : values[0];
}

static bool is_constant_finite(const Value* v) {
  auto* c = llvm::dyn_cast<llvm::Constant>(v);
  if (c && c->getType()->isVectorTy()) c = c->getSplatValue();
  auto* f = llvm::dyn_cast_or_null<llvm::ConstantFP>(c);
  return f && !f->isNaN();
}

static const llvm::APInt* constant_of(const Value* v) {
  auto* c = llvm::dyn_cast<llvm::Constant>(v);
  if (c && c->getType()->isVectorTy()) c = c->getSplatValue();
  auto* i = llvm::dyn_cast_or_null<ConstantInt>(c);
  return i ? &i->getValue() : nullptr;
}

static Value* int_like(const Value* v, int64_t i) {
  return ConstantInt::getSigned(v->getType(), i);
}

MathTarget Arith::math() const {
  return {.fma = target.has_fma(), .avx512 = target.isa == Isa::x86_64_v4};
}

// ---- unary ----------------------------------------------------------------------------------------------------

Value* Arith::unary(UnaryOp op, DType t, Value* x) const {
  if (op == UnaryOp::logical_not) return b.CreateNot(x);
  return is_float(t) ? float_unary(op, x) : int_unary(op, t, x);
}

Value* Arith::int_unary(UnaryOp op, DType t, Value* x) const {
  Value* zero = int_like(x, 0);
  switch (op) {
    case UnaryOp::neg:
      return b.CreateNeg(x);
    case UnaryOp::abs:
      return is_signed_int(t) ? b.CreateBinaryIntrinsic(llvm::Intrinsic::abs, x, b.getFalse()) : x;
    case UnaryOp::sign:
      if (!is_signed_int(t)) return b.CreateZExt(b.CreateICmpNE(x, zero), x->getType());
      return b.CreateSub(b.CreateZExt(b.CreateICmpSGT(x, zero), x->getType()),
                         b.CreateZExt(b.CreateICmpSLT(x, zero), x->getType()));
    case UnaryOp::floor:
    case UnaryOp::ceil:
    case UnaryOp::round:
    case UnaryOp::trunc:
      return x;
    case UnaryOp::bit_not:
      return b.CreateNot(x);
    case UnaryOp::is_nan:
    case UnaryOp::is_inf:
      return splat(b, b.getFalse(), lanes_of(x));
    default:
      FCC_UNREACHABLE("{} of {}", loop::name(op), name(t));
  }
}

Value* Arith::float_unary(UnaryOp op, Value* x) const {
  Type* type = x->getType();
  auto real = [&](double v) { return llvm::ConstantFP::get(type, v); };
  switch (op) {
    case UnaryOp::neg:
      return b.CreateFNeg(x);
    case UnaryOp::abs:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
    case UnaryOp::sign: {
      Value* below = select(b.CreateFCmpOLT(x, real(0)), real(-1), select(b.CreateFCmpUNO(x, x), x, real(0)));
      return select(b.CreateFCmpOGT(x, real(0)), real(1), below);
    }
    case UnaryOp::floor:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x);
    case UnaryOp::ceil:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, x);
    case UnaryOp::round:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x);
    case UnaryOp::trunc:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, x);
    case UnaryOp::sqrt:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x);
    case UnaryOp::reciprocal:
      return b.CreateFDiv(real(1), x);
    case UnaryOp::is_nan:
      return b.CreateFCmpUNO(x, x);
    case UnaryOp::is_inf:
      return b.CreateFCmpOEQ(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x), llvm::ConstantFP::getInfinity(type));
    default:
      return emit_unary_math(b, math(), op, x);
  }
}

// ---- binary ---------------------------------------------------------------------------------------------------

static bool is_comparison(BinaryOp op) {
  return op >= BinaryOp::eq && op <= BinaryOp::ge;
}

Value* Arith::binary(BinaryOp op, DType t, Value* x, Value* y) const {
  unify(b, x, y);
  if (is_comparison(op)) return compare(op, t, x, y);
  return is_float(t) ? float_binary(op, t, x, y) : int_binary(op, t, x, y);
}

Value* Arith::compare(BinaryOp op, DType t, Value* x, Value* y) const {
  using P = llvm::CmpInst::Predicate;
  const auto i = static_cast<size_t>(op) - static_cast<size_t>(BinaryOp::eq);
  constexpr P kFloat[] = {P::FCMP_OEQ, P::FCMP_UNE, P::FCMP_OLT, P::FCMP_OLE, P::FCMP_OGT, P::FCMP_OGE};
  constexpr P kSigned[] = {P::ICMP_EQ, P::ICMP_NE, P::ICMP_SLT, P::ICMP_SLE, P::ICMP_SGT, P::ICMP_SGE};
  constexpr P kUnsigned[] = {P::ICMP_EQ, P::ICMP_NE, P::ICMP_ULT, P::ICMP_ULE, P::ICMP_UGT, P::ICMP_UGE};
  if (is_float(t)) return b.CreateFCmp(kFloat[i], x, y);
  return b.CreateICmp(is_signed_int(t) ? kSigned[i] : kUnsigned[i], x, y);
}

Value* Arith::int_binary(BinaryOp op, DType t, Value* x, Value* y) const {
  const bool is_signed = is_signed_int(t);
  switch (op) {
    case BinaryOp::add:
      return b.CreateAdd(x, y);
    case BinaryOp::sub:
      return b.CreateSub(x, y);
    case BinaryOp::mul:
      return b.CreateMul(x, y);
    case BinaryOp::div:
    case BinaryOp::floordiv:
    case BinaryOp::mod:
    case BinaryOp::rem:
      return divide(op, t, x, y);
    case BinaryOp::min:
      return b.CreateBinaryIntrinsic(is_signed ? llvm::Intrinsic::smin : llvm::Intrinsic::umin, x, y);
    case BinaryOp::max:
      return b.CreateBinaryIntrinsic(is_signed ? llvm::Intrinsic::smax : llvm::Intrinsic::umax, x, y);
    case BinaryOp::pow:
      return int_power(t, x, y);
    case BinaryOp::logical_and:
    case BinaryOp::bit_and:
      return b.CreateAnd(x, y);
    case BinaryOp::logical_or:
    case BinaryOp::bit_or:
      return b.CreateOr(x, y);
    case BinaryOp::logical_xor:
    case BinaryOp::bit_xor:
      return b.CreateXor(x, y);
    case BinaryOp::shl:
    case BinaryOp::shr:
      return shift(op, t, x, y);
    default:
      FCC_UNREACHABLE("{} of {}", loop::name(op), name(t));
  }
}

Value* Arith::divide_nonnegative(BinaryOp op, Value* x, Value* y) const {
  unify(b, x, y);
  const bool quotient = op == BinaryOp::div || op == BinaryOp::floordiv;
  const llvm::APInt* c = constant_of(y);
  if (c && !c->isZero()) return quotient ? b.CreateUDiv(x, y) : b.CreateURem(x, y);
  Value* is_zero = b.CreateICmpEQ(y, int_like(y, 0));
  Value* safe = select(is_zero, int_like(y, 1), y);
  // x % 1 is 0 already.
  return quotient ? select(is_zero, int_like(x, 0), b.CreateUDiv(x, safe)) : b.CreateURem(x, safe);
}

// A divisor of 0 or, for signed types, -1 under the lowest value would trap: both are replaced before dividing.
Value* Arith::divide(BinaryOp op, DType t, Value* x, Value* y) const {
  if (!is_signed_int(t)) return divide_nonnegative(op, x, y);
  const llvm::APInt* c = constant_of(y);
  Value *zero = int_like(x, 0), *one = int_like(x, 1);
  if (c && c->isZero()) return zero;
  Value* safe = y;
  Value *is_zero = nullptr, *is_minus_one = nullptr;
  if (!c || c->isAllOnes()) {
    is_zero = b.CreateICmpEQ(y, zero);
    is_minus_one = b.CreateICmpEQ(y, int_like(x, -1));
    safe = select(b.CreateOr(is_zero, is_minus_one), one, y);
  }
  const bool floors = op == BinaryOp::floordiv || op == BinaryOp::mod;
  if (floors && c && c->isPowerOf2()) {
    if (op == BinaryOp::floordiv) return b.CreateAShr(x, int_like(x, c->logBase2()));
    return b.CreateAnd(x, int_like(x, c->getSExtValue() - 1));
  }
  Value* q = b.CreateSDiv(x, safe);
  Value* r = b.CreateSub(x, b.CreateMul(q, safe));
  if (floors) {
    Value* wrong = b.CreateAnd(b.CreateICmpNE(r, zero), b.CreateICmpSLT(b.CreateXor(r, safe), zero));
    q = b.CreateAdd(q, b.CreateSExt(wrong, q->getType()));
    r = b.CreateAdd(r, select(wrong, safe, zero));
  }
  if (op == BinaryOp::mod || op == BinaryOp::rem) return r;  // 0 for a divisor of 0, 1 or -1
  if (!is_zero) return q;
  return select(is_zero, zero, select(is_minus_one, b.CreateNeg(x), q));
}

Value* Arith::saturating(BinaryOp op, Value* x, Value* y) const {
  if (op == BinaryOp::add) return b.CreateBinaryIntrinsic(llvm::Intrinsic::sadd_sat, x, y);
  if (op == BinaryOp::sub) return b.CreateBinaryIntrinsic(llvm::Intrinsic::ssub_sat, x, y);
  Value* pair = b.CreateBinaryIntrinsic(llvm::Intrinsic::smul_with_overflow, x, y);
  Value* negative = b.CreateICmpSLT(b.CreateXor(x, y), int_like(x, 0));
  Value* limit = select(negative, b.getInt64(std::numeric_limits<int64_t>::min()),
                        b.getInt64(std::numeric_limits<int64_t>::max()));
  return select(b.CreateExtractValue(pair, 1), limit, b.CreateExtractValue(pair, 0));
}

// Amounts of the width or more, and negative ones, shift everything out.
Value* Arith::shift(BinaryOp op, DType t, Value* x, Value* y) const {
  const auto width = static_cast<int64_t>(x->getType()->getScalarSizeInBits());
  Value* inside = b.CreateICmpULT(y, int_like(y, width));
  Value* last = int_like(y, width - 1);
  if (op == BinaryOp::shr && is_signed_int(t)) return b.CreateAShr(x, select(inside, y, last));
  Value* amount = select(inside, y, int_like(y, 0));
  Value* shifted = op == BinaryOp::shl ? b.CreateShl(x, amount) : b.CreateLShr(x, amount);
  return select(inside, shifted, int_like(x, 0));
}

// By squaring, straight-line, wrapping. A negative exponent gives the truncated reciprocal: 1, -1 or 0.
Value* Arith::int_power(DType t, Value* x, Value* y) const {
  const unsigned width = x->getType()->getScalarSizeInBits();
  Value *one = int_like(x, 1), *zero = int_like(x, 0), *result = one, *square = x;
  for (unsigned bit = 0; bit < width; ++bit) {
    Value* take = b.CreateICmpNE(b.CreateAnd(y, b.CreateShl(one, bit)), zero);
    result = select(take, b.CreateMul(result, square), result);
    square = b.CreateMul(square, square);
  }
  if (!is_signed_int(t)) return result;
  Value* minus_one = int_like(x, -1);
  Value* alternating = select(b.CreateICmpNE(b.CreateAnd(y, one), zero), minus_one, one);
  Value* inverse = select(b.CreateICmpEQ(x, one), one, select(b.CreateICmpEQ(x, minus_one), alternating, zero));
  return select(b.CreateICmpSLT(y, zero), inverse, result);
}

Value* Arith::float_binary(BinaryOp op, DType t, Value* x, Value* y) const {
  switch (op) {
    case BinaryOp::add:
      return b.CreateFAdd(x, y);
    case BinaryOp::sub:
      return b.CreateFSub(x, y);
    case BinaryOp::mul:
      return b.CreateFMul(x, y);
    case BinaryOp::div:
      return b.CreateFDiv(x, y);
    case BinaryOp::floordiv:
      return b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, b.CreateFDiv(x, y));
    case BinaryOp::rem:
      return emit_fmod(b, math(), x, y);
    case BinaryOp::mod:
      return emit_mod(b, math(), x, y);
    case BinaryOp::min:
      return float_min_max(false, x, y);
    case BinaryOp::max:
      return float_min_max(true, x, y);
    case BinaryOp::pow:
      return emit_pow(b, math(), x, y);
    case BinaryOp::atan2:
      return emit_atan2(b, math(), x, y);
    default:
      FCC_UNREACHABLE("{} of {}", loop::name(op), name(t));
  }
}

// maxps or minps on a vector of whole registers: the second operand when either is NaN. As an intrinsic, because
// the optimiser turns the comparison and select that mean the same into a form with two instructions.
static Value* x86_pick(llvm::IRBuilderBase& b, bool is_max, Value* x, Value* y) {
  namespace I = llvm::Intrinsic;
  const bool f64 = x->getType()->getScalarType()->isDoubleTy();
  const int64_t lanes = lanes_of(x), bits = lanes * (f64 ? 64 : 32);
  if (lanes > 1 && bits == 128)
    return b.CreateIntrinsic(
        is_max ? (f64 ? I::x86_sse2_max_pd : I::x86_sse_max_ps) : (f64 ? I::x86_sse2_min_pd : I::x86_sse_min_ps), {},
        {x, y});
  if (bits == 256)
    return b.CreateIntrinsic(is_max ? (f64 ? I::x86_avx_max_pd_256 : I::x86_avx_max_ps_256)
                                    : (f64 ? I::x86_avx_min_pd_256 : I::x86_avx_min_ps_256),
                             {}, {x, y});
  constexpr uint32_t kCurrentDirection = 4;
  return b.CreateIntrinsic(is_max ? (f64 ? I::x86_avx512_max_pd_512 : I::x86_avx512_max_ps_512)
                                  : (f64 ? I::x86_avx512_min_pd_512 : I::x86_avx512_min_ps_512),
                           {}, {x, y, b.getInt32(kCurrentDirection)});
}

// NaN in either operand gives NaN. x86 maxps returns its second operand when either is NaN, so a constant goes
// first and costs one instruction; otherwise a NaN first operand is put back (three).
Value* Arith::float_min_max(bool is_max, Value* x, Value* y) const {
  if (target.isa == Isa::aarch64)
    return b.CreateBinaryIntrinsic(is_max ? llvm::Intrinsic::maximum : llvm::Intrinsic::minimum, x, y);
  if (is_constant_finite(y)) std::swap(x, y);
  const int64_t bytes = lanes_of(x) * static_cast<int64_t>(x->getType()->getScalarSizeInBits() / 8);
  const bool constants = llvm::isa<llvm::Constant>(x) && llvm::isa<llvm::Constant>(y);
  const bool whole = !constants && lanes_of(x) > 1 && bytes >= 16 && bytes <= target.vector_bytes;
  Value* picked =
      whole ? x86_pick(b, is_max, x, y) : b.CreateSelect(is_max ? b.CreateFCmpOGT(x, y) : b.CreateFCmpOLT(x, y), x, y);
  return is_constant_finite(x) ? picked : b.CreateSelect(b.CreateFCmpUNO(x, x), x, picked);
}

Value* Arith::select(Value* cond, Value* then, Value* otherwise) const {
  unify(b, then, otherwise);
  if (auto* c = llvm::dyn_cast<ConstantInt>(cond)) return c->isOne() ? then : otherwise;
  // A scalar condition over vectors would become a branch.
  cond = splat(b, cond, lanes_of(then));
  then = splat(b, then, lanes_of(cond));
  otherwise = splat(b, otherwise, lanes_of(cond));
  return b.CreateSelect(cond, then, otherwise);
}

Value* Arith::fma(Value* x, Value* y, Value* z) const {
  unify(b, x, y);
  unify(b, x, z);
  unify(b, y, z);
  if (!target.has_fma()) return b.CreateFAdd(b.CreateFMul(x, y), z);
  return b.CreateIntrinsic(llvm::Intrinsic::fma, {x->getType()}, {x, y, z});
}

// ---- casts ----------------------------------------------------------------------------------------------------

Value* Arith::cast(DType from, DType to, Value* x) const {
  from = loop::compute_type(from);
  to = loop::compute_type(to);
  if (from == to) return x;
  Type* type = with_lanes(value_type(b.getContext(), to), lanes_of(x));
  const bool is_signed = is_signed_int(from);
  if (to == DType::boolean) {
    return is_float(from) ? b.CreateFCmpUNE(x, llvm::ConstantFP::get(x->getType(), 0))
                          : b.CreateICmpNE(x, int_like(x, 0));
  }
  if (is_float(from) && is_float(to)) return b.CreateFPCast(x, type);
  if (is_float(from)) {
    const ID id = is_signed_int(to) ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat;
    return b.CreateIntrinsic(id, {type, x->getType()}, {x});
  }
  if (is_float(to)) return is_signed ? b.CreateSIToFP(x, type) : b.CreateUIToFP(x, type);
  return b.CreateIntCast(x, type, is_signed);
}

// ---- reductions -------------------------------------------------------------------------------------------------

static BinaryOp step_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::add:
      return BinaryOp::add;
    case ReduceOp::mul:
      return BinaryOp::mul;
    case ReduceOp::min:
      return BinaryOp::min;
    case ReduceOp::max:
      return BinaryOp::max;
    case ReduceOp::logical_and:
      return BinaryOp::logical_and;
    case ReduceOp::logical_or:
      return BinaryOp::logical_or;
  }
  FCC_UNREACHABLE();
}

// The accumulator goes second for min and max: a NaN in it then stays without being looked at.
Value* Arith::reduce_step(ReduceOp op, DType t, Value* acc, Value* x) const {
  return binary(step_of(op), t, x, acc);
}

llvm::Constant* Arith::reduce_identity(ReduceOp op, DType t) const {
  Type* type = value_type(b.getContext(), t);
  switch (op) {
    case ReduceOp::add:
      return llvm::Constant::getNullValue(type);
    case ReduceOp::mul:
      return is_float(t) ? llvm::ConstantFP::get(type, 1) : ConstantInt::get(type, 1);
    case ReduceOp::logical_and:
      return b.getTrue();
    case ReduceOp::logical_or:
      return b.getFalse();
    case ReduceOp::min:
    case ReduceOp::max:
      break;
  }
  const bool lowest = op == ReduceOp::max;
  if (is_float(t)) return llvm::ConstantFP::getInfinity(type, lowest);
  const unsigned bits = type->getScalarSizeInBits();
  if (is_signed_int(t))
    return ConstantInt::get(type, lowest ? llvm::APInt::getSignedMinValue(bits) : llvm::APInt::getSignedMaxValue(bits));
  return ConstantInt::get(type, lowest ? llvm::APInt::getZero(bits) : llvm::APInt::getMaxValue(bits));
}

Value* Arith::reduce_lanes(ReduceOp op, DType t, Value* x) const {
  for (int64_t lanes = lanes_of(x); lanes > 1; lanes /= 2) {
    FCC_CHECK(lanes % 2 == 0, "{} lanes", lanes);
    std::vector<int> low, high;
    for (int64_t i = 0; i < lanes / 2; ++i) {
      low.push_back(static_cast<int>(i));
      high.push_back(static_cast<int>(i + lanes / 2));
    }
    Value *a = b.CreateShuffleVector(x, low), *c = b.CreateShuffleVector(x, high);
    if (lanes == 2) {
      a = b.CreateExtractElement(x, uint64_t{0});
      c = b.CreateExtractElement(x, uint64_t{1});
    }
    x = reduce_step(op, t, a, c);
  }
  return x;
}

// ---- memory forms -----------------------------------------------------------------------------------------------

Value* Arith::from_memory(DType t, Value* x) const {
  if (t == DType::boolean) return b.CreateICmpNE(x, int_like(x, 0));
  if (t == DType::f16) return half_to_float(x);
  if (t != DType::bf16) return x;
  Value* wide = b.CreateZExt(x, with_lanes(b.getInt32Ty(), lanes_of(x)));
  return b.CreateBitCast(b.CreateShl(wide, 16), with_lanes(b.getFloatTy(), lanes_of(x)));
}

Value* Arith::to_memory(DType t, Value* x) const {
  if (t == DType::boolean) return b.CreateZExt(x, with_lanes(b.getInt8Ty(), lanes_of(x)));
  if (t == DType::f16) return float_to_half(x);
  if (t == DType::bf16) return float_to_bfloat(x);
  return x;
}

// The target's conversion where there is one; on x86-64-v2 LLVM would call the compiler runtime, so the exponent
// is moved by a multiplication instead (exact, subnormals included).
Value* Arith::half_to_float(Value* x) const {
  const int64_t lanes = lanes_of(x);
  Type *f32 = with_lanes(b.getFloatTy(), lanes), *i32 = with_lanes(b.getInt32Ty(), lanes);
  if (target.isa != Isa::x86_64_v2) return b.CreateFPExt(b.CreateBitCast(x, with_lanes(b.getHalfTy(), lanes)), f32);
  Value* h = b.CreateZExt(x, i32);
  Value* magnitude = b.CreateAnd(h, int_like(h, 0x7fff));
  Value* sign = b.CreateShl(b.CreateAnd(h, int_like(h, 0x8000)), 16);
  Value* scaled = b.CreateFMul(b.CreateBitCast(b.CreateShl(magnitude, 13), f32), llvm::ConstantFP::get(f32, 0x1p112));
  Value* special = b.CreateOr(b.CreateShl(magnitude, 13), int_like(h, 0x7f800000));  // Inf and NaN keep their payload
  Value* bits = select(b.CreateICmpUGE(magnitude, int_like(h, 0x7c00)), special, b.CreateBitCast(scaled, i32));
  return b.CreateBitCast(b.CreateOr(bits, sign), f32);
}

Value* Arith::float_to_half(Value* x) const {
  const int64_t lanes = lanes_of(x);
  Type *f32 = with_lanes(b.getFloatTy(), lanes), *i32 = with_lanes(b.getInt32Ty(), lanes),
       *i16 = with_lanes(b.getInt16Ty(), lanes);
  if (target.isa != Isa::x86_64_v2) return b.CreateBitCast(b.CreateFPTrunc(x, with_lanes(b.getHalfTy(), lanes)), i16);
  Value* u = b.CreateBitCast(x, i32);
  Value* sign = b.CreateAnd(b.CreateLShr(u, 16), int_like(u, 0x8000));
  Value* magnitude = b.CreateAnd(u, int_like(u, 0x7fffffff));
  // Normal results: add half an ulp (ties to even), drop 13 bits, rebias.
  Value* odd = b.CreateAnd(b.CreateLShr(magnitude, 13), int_like(u, 1));
  Value* rounded = b.CreateAdd(b.CreateAdd(magnitude, int_like(u, 0xfff)), odd);
  Value* normal = b.CreateLShr(b.CreateSub(rounded, int_like(u, int64_t{112} << 23)), 13);
  // Subnormal results: adding 0.5 lets the hardware round at bit 2^-24.
  Value* tiny = b.CreateBitCast(b.CreateFAdd(b.CreateBitCast(magnitude, f32), llvm::ConstantFP::get(f32, 0.5)), i32);
  Value* subnormal = b.CreateSub(tiny, int_like(u, 0x3f000000));
  Value* value = select(b.CreateICmpULT(magnitude, int_like(u, int64_t{113} << 23)), subnormal, normal);
  value = select(b.CreateICmpUGE(magnitude, int_like(u, 0x477ff000)), int_like(u, 0x7c00), value);
  Value* payload = b.CreateAnd(b.CreateLShr(magnitude, 13), int_like(u, 0x3ff));
  Value* nan = b.CreateOr(payload, int_like(u, 0x7e00));
  value = select(b.CreateICmpUGT(magnitude, int_like(u, 0x7f800000)), nan, value);
  return b.CreateTrunc(b.CreateOr(value, sign), i16);
}

Value* Arith::float_to_bfloat(Value* x) const {
  const int64_t lanes = lanes_of(x);
  Value* u = b.CreateBitCast(x, with_lanes(b.getInt32Ty(), lanes));
  Value* odd = b.CreateAnd(b.CreateLShr(u, 16), int_like(u, 1));
  Value* rounded = b.CreateAdd(b.CreateAdd(u, int_like(u, 0x7fff)), odd);
  Value* quiet = b.CreateOr(u, int_like(u, 0x400000));
  Value* bits = select(b.CreateFCmpUNO(x, x), quiet, rounded);
  return b.CreateTrunc(b.CreateLShr(bits, 16), with_lanes(b.getInt16Ty(), lanes));
}

llvm::Constant* Arith::constant(DType t, double f, int64_t i) const {
  Type* type = value_type(b.getContext(), t);
  if (t == DType::boolean) return b.getInt1(i != 0);
  if (!is_float(t)) return ConstantInt::getSigned(type, i);
  return llvm::ConstantFP::get(type, f);
}

}  // namespace fcc
