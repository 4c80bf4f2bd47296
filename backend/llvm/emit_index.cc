#include "backend/llvm/emitter.h"
#include "ir/base/check.h"

namespace fcc {

using llvm::ConstantInt;
using llvm::Value;
using loop::BinaryOp;
using loop::ExprKind;

// More terms than this are not worth expanding.
static constexpr size_t kMaxTerms = 48;

static int64_t wrap_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

AtomId Emitter::atom_of(const Expr& e) {
  auto fresh = [&] {
    atoms_.push_back(e);
    return static_cast<AtomId>(atoms_.size() - 1);
  };
  if (e->kind == ExprKind::var || e->kind == ExprKind::symbol) {
    auto [it, is_new] = named_atoms_.emplace(std::pair(e->var, e->symbol), 0);
    if (is_new) it->second = fresh();
    return it->second;
  }
  auto [it, is_new] = opaque_atoms_.emplace(e.get(), 0);
  if (is_new) it->second = fresh();
  return it->second;
}

Poly Emitter::poly(const Expr& e) {
  if (loop::is_constant(e)) return Poly(e->i);
  if (e->kind == ExprKind::var) {
    auto it = definitions_.find(e->var);
    return it != definitions_.end() ? it->second.second : Poly::atom(atom_of(e));
  }
  if (auto it = polys_.find(e.get()); it != polys_.end()) return it->second;
  Poly p;
  bool known = false;
  if (e->kind == ExprKind::binary &&
      (e->binary == BinaryOp::add || e->binary == BinaryOp::sub || e->binary == BinaryOp::mul)) {
    const Poly x = poly(e->args[0]), y = poly(e->args[1]);
    p = e->binary == BinaryOp::add ? x + y : e->binary == BinaryOp::sub ? x - y : x * y;
    known = p.terms().size() <= kMaxTerms;
  } else if (e->kind == ExprKind::unary && e->unary == loop::UnaryOp::neg) {
    p = Poly() - poly(e->args[0]);
    known = true;
  }
  if (!known) p = Poly::atom(atom_of(e));
  keep_.push_back(e);
  return polys_[e.get()] = p;
}

Poly Emitter::flat_poly(loop::BufferId id, std::span<const Expr> indices) {
  const loop::Buffer& buffer = kernel_.buffers[id];
  std::vector<Poly>& strides = strides_[static_cast<size_t>(id)];
  FCC_CHECK(indices.size() == buffer.dims.size(), "{}: {} indices into {}{}", kernel_.name, indices.size(), buffer.name,
            text(buffer.dims));
  if (strides.empty()) {
    SymExpr stride = 1;
    strides.resize(buffer.dims.size());
    for (size_t d = buffer.dims.size(); d-- > 0;) {
      Expr s = loop::from_sym(stride);
      keep_.push_back(s);
      strides[d] = poly(s);
      stride = stride * buffer.dims[d];
    }
  }
  Poly flat;
  for (size_t d = 0; d < indices.size(); ++d) flat = flat + poly(indices[d]) * strides[d];
  return flat;
}

Offset Emitter::offset_of(loop::BufferId id, std::span<const Expr> indices) {
  return offset_of(flat_poly(id, indices));
}

Value* Emitter::atom_scalar(AtomId a) {
  return facts(atoms_[a]).varies ? lane0(atoms_[a]) : value(atoms_[a]);
}
const Facts& Emitter::atom_facts(AtomId a) {
  return facts(atoms_[a]);
}
size_t Emitter::atom_depth(AtomId a) {
  return free_depth(atoms_[a]);
}

namespace {
// Sums products in the order of the loops they vary with, so that outer parts are invariant in inner loops.
struct Sum {
  struct Term {
    size_t depth;
    std::vector<std::pair<size_t, Value*>> factors;  // with depth
    int64_t coefficient;
  };
  std::vector<Term> terms;
  int64_t constant = 0;

  void add(std::vector<std::pair<size_t, Value*>> factors, int64_t coefficient) {
    std::vector<std::pair<size_t, Value*>> open;
    for (auto& f : factors) {
      if (auto* c = llvm::dyn_cast<ConstantInt>(f.second))
        coefficient = wrap_mul(coefficient, c->getSExtValue());
      else
        open.push_back(f);
    }
    if (coefficient == 0) return;
    if (open.empty()) {
      constant = static_cast<int64_t>(static_cast<uint64_t>(constant) + static_cast<uint64_t>(coefficient));
      return;
    }
    std::stable_sort(open.begin(), open.end(), [](auto& x, auto& y) { return x.first < y.first; });
    terms.push_back({open.back().first, std::move(open), coefficient});
  }

  Value* emit(llvm::IRBuilderBase& b) {
    std::stable_sort(terms.begin(), terms.end(), [](const Term& x, const Term& y) { return x.depth < y.depth; });
    Value* sum = nullptr;
    for (const Term& t : terms) {
      Value* product = t.factors[0].second;
      if (t.factors.size() > 1 && t.coefficient != 1)
        product = b.CreateMul(product, b.getInt64(static_cast<uint64_t>(t.coefficient)));
      for (size_t i = 1; i < t.factors.size(); ++i) product = b.CreateMul(product, t.factors[i].second);
      if (t.factors.size() == 1 && t.coefficient != 1)
        product = b.CreateMul(product, b.getInt64(static_cast<uint64_t>(t.coefficient)));
      sum = sum ? b.CreateAdd(sum, product) : product;
    }
    return sum;
  }
};
}  // namespace

Offset Emitter::offset_of(const Poly& p) {
  Offset offset;
  Sum base, stride;
  Value* scattered = nullptr;
  for (const auto& [monomial, coefficient] : p.terms()) {
    std::vector<AtomId> varying;
    for (AtomId a : monomial)
      if (atom_facts(a).varies) varying.push_back(a);
    if (varying.size() > 1 || (varying.size() == 1 && !atom_facts(varying[0]).linear)) {
      Value* product = b_.getInt64(static_cast<uint64_t>(coefficient));
      for (AtomId a : monomial) product = arith_.binary(BinaryOp::mul, DType::i64, product, value(atoms_[a]));
      scattered = scattered ? b_.CreateAdd(scattered, product) : product;
      continue;
    }
    std::vector<std::pair<size_t, Value*>> factors, others;
    for (AtomId a : monomial) {
      factors.emplace_back(atom_depth(a), atom_scalar(a));
      if (varying.empty() || a != varying[0]) others.push_back(factors.back());
    }
    if (!varying.empty()) stride.add(others, wrap_mul(coefficient, atom_facts(varying[0]).step));
    base.add(std::move(factors), coefficient);
  }
  offset.base = base.emit(b_);
  offset.constant = base.constant;
  offset.step = stride.constant;
  offset.stride = stride.emit(b_);
  if (offset.stride) {
    if (offset.step) offset.stride = b_.CreateAdd(offset.stride, b_.getInt64(static_cast<uint64_t>(offset.step)));
    offset.lanes = Offset::Lanes::strided;
  } else if (offset.step != 0) {
    offset.lanes = Offset::Lanes::linear;
  }
  if (!scattered) return offset;
  Value* linear = splat(b_, scalar_offset(offset), lanes_);
  if (offset.lanes == Offset::Lanes::linear) linear = b_.CreateAdd(linear, iota(b_.getInt64Ty(), lanes_, offset.step));
  if (offset.lanes == Offset::Lanes::strided)
    linear = b_.CreateAdd(linear, b_.CreateMul(splat(b_, offset.stride, lanes_), iota(b_.getInt64Ty(), lanes_)));
  offset.vector = b_.CreateAdd(linear, scattered);
  offset.lanes = Offset::Lanes::scattered;
  return offset;
}

Value* Emitter::scalar_offset(const Offset& o) {
  Value* constant = b_.getInt64(static_cast<uint64_t>(o.constant));
  if (!o.base) return constant;
  return o.constant ? b_.CreateAdd(o.base, constant) : o.base;
}

}  // namespace fcc
