#include "backend/lower/body.h"

#include <algorithm>
#include <bit>

namespace fcc::backend {

using loop::Expr;
using loop::ExprKind;
using loop::ExprNode;

// ---- Interner -----------------------------------------------------------------------------------------------

size_t Interner::Hash::operator()(const Expr& e) const {
  size_t h = static_cast<size_t>(e->kind) * 31 + static_cast<size_t>(e->type);
  auto mix = [&](size_t v) { h = h * 1099511628211ull ^ v; };
  mix(std::bit_cast<uint64_t>(e->f));
  mix(static_cast<size_t>(e->i));
  mix(static_cast<size_t>(e->var));
  mix(std::hash<std::string>()(e->symbol));
  mix(static_cast<size_t>(e->buffer));
  mix(static_cast<size_t>(e->unary) << 16 | static_cast<size_t>(e->binary) << 8 | static_cast<size_t>(e->reduce));
  mix(static_cast<size_t>(e->lanes) * 4 + e->unroll * 2 + e->guarded);
  for (const Expr& a : e->args) mix(std::hash<const void*>()(a.get()));
  return h;
}

bool Interner::Equal::operator()(const Expr& a, const Expr& b) const {
  return a->kind == b->kind && a->type == b->type && std::bit_cast<uint64_t>(a->f) == std::bit_cast<uint64_t>(b->f) && a->i == b->i &&
         a->var == b->var && a->symbol == b->symbol && a->buffer == b->buffer && a->unary == b->unary && a->binary == b->binary &&
         a->reduce == b->reduce && a->lanes == b->lanes && a->unroll == b->unroll && a->guarded == b->guarded && a->args == b->args;
}

Expr Interner::operator()(const Expr& e) {
  if (auto it = seen_.find(e.get()); it != seen_.end()) return it->second;
  Expr candidate = e;
  bool changed = false;
  std::vector<Expr> args;
  for (const Expr& a : e->args) {
    args.push_back((*this)(a));
    changed |= args.back() != a;
  }
  if (changed) {
    ExprNode n = *e;
    n.args = std::move(args);
    candidate = std::make_shared<const ExprNode>(std::move(n));
  }
  Expr result = known_.emplace(candidate, candidate).first->second;
  seen_.emplace(e.get(), result);
  seen_.emplace(result.get(), result);
  alive_.push_back(e);  // seen_ is keyed by address: keep it from being reused
  return result;
}

// ---- Body ---------------------------------------------------------------------------------------------------

class Body::Context final : public DefineContext {
 public:
  Context(Body& body, const Node& node) : body_(body), node_(node) {
    op = node.op;
    attrs = &node.attrs;
    for (ValueId v : node.in) {
      in_types.push_back(v == kNoValue ? nullptr : &body.graph_.value(v).type);
      contents.push_back(v == kNoValue ? nullptr : body.graph_.value(v).content.get());
    }
    for (ValueId v : node.out) out_types.push_back(&body.graph_.value(v).type);
  }
  Expr in(size_t k, std::span<const Expr> index) override { return body_.element(node_.in.at(k), index); }
  Expr in_guarded(size_t k, std::span<const Expr> index, Expr guard, Expr otherwise) override {
    return body_.element_guarded(node_.in.at(k), index, std::move(guard), std::move(otherwise));
  }
  loop::VarId fresh_var(std::string_view var_name) override { return body_.kernel_.add_var(std::string(var_name)); }
  void fault_if(Expr condition, std::string text) override {
    if (body_.guard_) condition = loop::both(body_.guard_, condition);
    body_.faults_.emplace_back(body_.interner_(condition), describe(*node_.op, node_.loc) + ": " + text);
  }

 private:
  Body& body_;
  const Node& node_;
};

Body::Body(const Graph& body, loop::Kernel& kernel, ValueId skipped, const InPlace& in_place) : graph_(body), kernel_(kernel) {
  outputs_.assign(body.outputs.size(), -1);
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    const ValueId v = body.inputs()[i];
    if (v == skipped) continue;
    const Value& value = body.value(v);
    const auto shared = std::find_if(in_place.begin(), in_place.end(), [&](const auto& pair) { return pair.first == i; });
    const loop::Space space = shared == in_place.end() ? loop::Space::input : loop::Space::update;
    buffers_[v] = kernel.add_buffer({value.name, value.type.dtype, value.type.dims, space, false});
    if (shared != in_place.end()) outputs_.at(shared->second) = buffers_[v];
  }
  for (size_t k = 0; k < outputs_.size(); ++k) {
    const Value& out = body.value(body.outputs[k]);
    if (outputs_[k] < 0) outputs_[k] = kernel.add_buffer({"out", out.type.dtype, out.type.dims, loop::Space::output, false});
  }
  kernel.n_params = static_cast<int32_t>(kernel.buffers.size());
}

Body::Body(const Graph& part, loop::Kernel& kernel, ValueId skipped, const Body& whole) : graph_(part), kernel_(kernel) {
  loop::BufferId next = 0;
  for (ValueId v : part.inputs())
    if (v != skipped) buffers_[v] = next++;
  FCC_CHECK(next == whole.outputs_.at(0), "parts of a kernel have {} and {} inputs", next, whole.outputs_.at(0));
}

loop::BufferId Body::buffer_of(ValueId v) const {
  auto it = buffers_.find(v);
  FCC_CHECK(it != buffers_.end(), "{} is no parameter of its kernel", graph_.value(v).name);
  return it->second;
}

std::vector<std::pair<Expr, std::string>> Body::take_faults() { return std::exchange(faults_, {}); }

Expr Body::load(ValueId v, std::span<const Expr> index, Expr otherwise) {
  const DType dtype = graph_.value(v).type.dtype;
  std::vector<Expr> at(index.begin(), index.end());
  if (!guard_) return loop::load(buffer_of(v), dtype, std::move(at));
  return loop::load_guarded(buffer_of(v), dtype, std::move(at), guard_, std::move(otherwise));
}

Expr Body::compute(ValueId v, std::span<const Expr> index) {
  const Value& value = graph_.value(v);
  const DType type = loop::compute_type(value.type.dtype);
  if (value.role == Role::constant) {
    FCC_CHECK(value.data.elements() == 1, "{} is a constant inside of a kernel", value.name);
    return is_float(type) ? loop::constant(type, value.data.get_double(0)) : loop::constant_int(type, value.data.get_int(0));
  }
  if (value.role == Role::input) return load(v, index, loop::constant_int(type, 0));
  const Node& n = *graph_.def(v);
  if (n.op->formula) {
    std::vector<Expr> in;
    std::vector<DType> dtypes;
    for (ValueId operand : n.in) {
      dtypes.push_back(operand == kNoValue ? DType::f32 : graph_.value(operand).type.dtype);
      in.push_back(operand == kNoValue ? nullptr : element(operand, broadcast_index(graph_.value(operand).type.dims, index)));
    }
    return n.op->formula(FormulaContext{n.attrs, dtypes, value.type.dtype}, in);
  }
  FCC_CHECK(n.op->define, "{} has no define", n.op->name);
  Context context(*this, n);
  return n.op->define(context, static_cast<size_t>(value.result), index);
}

Expr Body::element(ValueId v, std::span<const Expr> index) {
  if (auto it = bound_.find(v); it != bound_.end()) return it->second;
  std::vector<Expr> at;
  for (const Expr& e : index) at.push_back(interner_(e));
  std::vector<const void*> key{reinterpret_cast<const void*>(static_cast<intptr_t>(v)), guard_.get()};
  for (const Expr& e : at) key.push_back(e.get());
  if (auto it = memo_.find(key); it != memo_.end()) return it->second;
  Expr e = interner_(compute(v, at));
  const DType want = loop::compute_type(graph_.value(v).type.dtype);
  FCC_CHECK(e->type == want, "{} made {} for {}", graph_.def(v) ? graph_.def(v)->op->name : "load", name(e->type), name(want));
  memo_.emplace(std::move(key), e);
  return e;
}

Expr Body::element_guarded(ValueId v, std::span<const Expr> index, Expr guard, Expr otherwise) {
  if (loop::is_constant(guard)) return guard->i ? element(v, index) : otherwise;
  Expr saved = guard_;
  guard_ = interner_(saved ? loop::both(saved, guard) : guard);
  memo_alive_.push_back(guard_);
  Expr e;
  if (graph_.value(v).role == Role::input && !bound_.contains(v)) {
    std::vector<Expr> at;
    for (const Expr& i : index) at.push_back(interner_(i));
    e = load(v, at, otherwise);
  } else {
    e = loop::select(guard, element(v, index), otherwise);
  }
  guard_ = saved;
  return interner_(e);
}

}  // namespace fcc::backend
