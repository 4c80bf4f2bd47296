#include "ir/op.h"

#include <algorithm>
#include <set>

#include "ir/ops/numeric.h"

namespace fcc {

std::string_view name(Strategy s) {
  static constexpr std::string_view kNames[] = {"pointwise", "define", "composite", "contraction", "window", "kernel", "none"};
  return kNames[static_cast<size_t>(s)];
}

// ---- InferContext -----------------------------------------------------------------------------------------

std::unexpected<Diagnostic> InferContext::fail(std::string what, std::string hint, std::string seen) const {
  if (seen.empty()) {
    for (size_t k = 0; k < n_in(); ++k) seen += (seen.empty() ? "" : "  ") + (has(k) ? type(k).text() : std::string("(none)"));
  }
  Diagnostic d{.what = describe(op, loc) + ": " + std::move(what), .seen = std::move(seen), .hint = std::move(hint)};
  if (loc.index >= 0) d.where = "node " + std::to_string(loc.index) + ", opset " + std::to_string(loc.opset);
  return fcc::fail(std::move(d));
}

Result<int64_t> InferContext::axis(int64_t a, int64_t rank) const {
  if (a < -rank || a >= rank)
    return fail("axis " + std::to_string(a) + " is out of range for rank " + std::to_string(rank),
                "use an axis from " + std::to_string(-rank) + " to " + std::to_string(rank - 1));
  return a < 0 ? a + rank : a;
}

Result<SymTensor> InferContext::observe(size_t k) {
  if (const SymTensor* c = content(k)) return *c;
  const TensorType& t = type(k);
  if (t.rank() > 1 || (t.rank() == 1 && !t.dims[0].is_constant()) || is_float(t.dtype))
    return fail("operand " + std::to_string(k) + " decides a shape, but its own length is not known at compile time",
                "give it a fixed length, or make it a constant");
  const int64_t n = t.rank() == 0 ? 1 : t.dims[0].constant();
  if (n > kMaxSymElements) return fail("operand " + std::to_string(k) + " has " + std::to_string(n) + " elements; a shape has at most 64");
  auto s = std::make_shared<SymTensor>();
  s->rank = t.rank();
  for (int64_t i = 0; i < n; ++i) s->elements.push_back(fresh_symbol());
  contents_[k] = s;
  observed.push_back(k);
  return *s;
}

Result<std::vector<int64_t>> InferContext::constants(size_t k, std::string_view what) {
  const SymTensor* c = content(k);
  if (!c || !c->is_constant())
    return fail(std::string(what) + " must be known at compile time", "make it a constant (an initializer) of the model");
  return c->constants();
}

// ---- DefineContext ----------------------------------------------------------------------------------------

std::vector<loop::Expr> broadcast_index(const Dims& operand, std::span<const loop::Expr> index) {
  FCC_CHECK(index.size() >= operand.size(), "broadcast of rank {} to {}", operand.size(), index.size());
  std::vector<loop::Expr> out;
  const size_t lead = index.size() - operand.size();
  for (size_t d = 0; d < operand.size(); ++d) out.push_back(operand[d].is(1) ? loop::index(0) : index[lead + d]);
  return out;
}

loop::Expr DefineContext::in_broadcast(size_t k, std::span<const loop::Expr> index) { return in(k, broadcast_index(dims(k), index)); }

loop::Expr DefineContext::element(size_t k, size_t e) {
  if (contents.at(k)) return loop::from_sym(contents[k]->elements.at(e));
  std::vector<loop::Expr> at;
  if (rank(k) == 1) at.push_back(loop::index(static_cast<int64_t>(e)));
  return loop::cast(DType::i64, in(k, at));
}

loop::Expr DefineContext::reduce(loop::ReduceOp op, std::string_view name, loop::Expr extent, const std::function<loop::Expr(loop::Expr)>& body,
                                 bool unroll) {
  const loop::VarId v = fresh_var(name);
  return loop::reduce(op, v, loop::index(0), std::move(extent), body(loop::var(v)), 1, unroll);
}

// ---- registry ---------------------------------------------------------------------------------------------

const AttrSpec* OpDef::attr(std::string_view attr_name) const {
  for (const AttrSpec& a : attrs)
    if (a.name == attr_name) return &a;
  return nullptr;
}

void Registry::add(OpDef def) {
  auto owned = std::make_unique<OpDef>(std::move(def));
  const std::string_view key = owned->name;
  FCC_CHECK(ops_.emplace(key, std::move(owned)).second, "operator {} registered twice", key);
}

const OpDef* Registry::find(std::string_view op_name) const {
  auto it = ops_.find(op_name);
  return it == ops_.end() ? nullptr : it->second.get();
}

std::vector<const OpDef*> Registry::all() const {
  std::vector<const OpDef*> v;
  for (const auto& [key, def] : ops_) v.push_back(def.get());
  std::sort(v.begin(), v.end(), [](auto* a, auto* b) { return a->name < b->name; });
  return v;
}

#define FCC_OP_FAMILY(family) void register_##family(Registry&);
#include "ir/ops/ops.def"
#undef FCC_OP_FAMILY

const Registry& registry() {
  static const Registry* the_registry = [] {
    auto* r = new Registry;
#define FCC_OP_FAMILY(family) register_##family(*r);
#include "ir/ops/ops.def"
#undef FCC_OP_FAMILY
    return r;
  }();
  return *the_registry;
}

const OpDef& op(std::string_view op_name) {
  const OpDef* def = registry().find(op_name);
  FCC_CHECK(def, "no operator {}", op_name);
  return *def;
}

// ---- infer ------------------------------------------------------------------------------------------------

static Status check_signature(InferContext& c) {
  const auto n = static_cast<int32_t>(c.n_in());
  size_t required = 0;
  while (required < c.n_in() && c.has(required)) ++required;
  if (n < c.op.in.min || static_cast<int32_t>(std::min<size_t>(required, static_cast<size_t>(c.op.in.min))) < c.op.in.min)
    return c.fail("needs at least " + std::to_string(c.op.in.min) + " operands, has " + std::to_string(required));
  if (c.op.in.max >= 0 && n > c.op.in.max) return c.fail("takes at most " + std::to_string(c.op.in.max) + " operands, has " + std::to_string(n));
  const auto m = static_cast<int32_t>(c.n_out());
  if (m < c.op.out.min || (c.op.out.max >= 0 && m > c.op.out.max)) return c.fail("cannot have " + std::to_string(m) + " results");
  for (const auto& [attr_name, value] : c.attrs.items()) {
    const AttrSpec* spec = c.op.attr(attr_name);
    if (!spec) return c.fail("has no attribute \"" + attr_name + "\"");
    if (value.index() != static_cast<size_t>(spec->type))
      return c.fail("attribute \"" + attr_name + "\" is a " + std::string(name(static_cast<AttrType>(value.index()))) + ", expected a " + std::string(name(spec->type)));
  }
  for (const AttrSpec& spec : c.op.attrs)
    if (spec.required && !c.attrs.has(spec.name)) return c.fail("misses its attribute \"" + std::string(spec.name) + "\"");
  return {};
}

static Status check_sizes(const InferContext& c) {
  for (const TensorType& t : c.out_types) {
    int64_t bytes = byte_size(t.dtype);
    for (const SymExpr& d : t.dims) {
      if (!d.is_constant()) continue;
      if (d.constant() < 0) return c.fail("result has the negative extent " + d.text(), "check the attributes against the operand's shape");
      bytes = saturating_multiply(bytes, std::max<int64_t>(d.constant(), 1));
    }
    if (bytes > kMaxTensorBytes) return c.fail("result " + t.text() + " is too large", "no tensor may exceed 64 TiB; check the sizes that produce it");
    if (t.rank() > 16) return c.fail("result has rank " + std::to_string(t.rank()) + "; at most 16 is supported");
  }
  return {};
}

// Contents too long to be of use are forgotten: a step will read the tensor instead.
static void forget_long_contents(InferContext& c) {
  constexpr int64_t kLongest = 100;
  for (auto& content : c.out_contents) {
    if (!content) continue;
    const auto& e = content->elements;
    if (std::any_of(e.begin(), e.end(), [](const SymExpr& x) { return x.weight(kLongest) > kLongest; })) content = nullptr;
  }
}

Status infer(InferContext& c) {
  FCC_CHECKED(check_signature(c));
  FCC_CHECKED(c.op.infer ? c.op.infer(c)
                         : ops::broadcast_operands(c, c.op.result_dtype ? c.op.result_dtype(c) : c.dtype(0)));
  forget_long_contents(c);
  return check_sizes(c);
}

// ---- GraphBuilder ------------------------------------------------------------------------------------------

std::vector<ValueId> GraphBuilder::many(std::string_view op_name, std::vector<ValueId> in, Attrs attrs, int32_t n_results) {
  const std::vector<ValueId> none(static_cast<size_t>(n_results), kNoValue);
  if (!status_) return none;
  Result<NodeId> n = graph.add(op(op_name), std::move(in), std::move(attrs), loc_, {}, nullptr, n_results);
  if (!n) {
    status_ = std::unexpected(std::move(n).error());
    return none;
  }
  return graph.node(*n).out;
}

ValueId GraphBuilder::operator()(std::string_view op_name, std::vector<ValueId> in, Attrs attrs, std::string result_name) {
  ValueId v = many(op_name, std::move(in), std::move(attrs), 1)[0];
  if (v != kNoValue && !result_name.empty()) graph.rename(v, std::move(result_name));
  return v;
}

ValueId GraphBuilder::scalar(DType dtype, double value) { return graph.add_constant("c", Tensor::scalar(dtype, value)); }
ValueId GraphBuilder::ints(std::vector<int64_t> values) { return graph.add_constant("c", Tensor::ints(values)); }
ValueId GraphBuilder::constant(Tensor t, std::string_view wanted) { return graph.add_constant(std::string(wanted), std::move(t)); }

ValueId GraphBuilder::dims(const Dims& dims) {
  if (std::all_of(dims.begin(), dims.end(), [](const SymExpr& d) { return d.is_constant(); })) {
    std::vector<int64_t> v;
    for (const SymExpr& d : dims) v.push_back(d.constant());
    return ints(std::move(v));
  }
  return (*this)("Dims", {}, {{"dims", dims}});
}

// ---- helpers ----------------------------------------------------------------------------------------------

void for_each_index(std::span<const int64_t> shape, const std::function<void(std::span<const int64_t>)>& visit) {
  if (product(shape) == 0) return;
  std::vector<int64_t> index(shape.size(), 0);
  for (;;) {
    visit(index);
    size_t d = shape.size();
    while (d > 0 && ++index[d - 1] == shape[d - 1]) index[--d] = 0;
    if (d == 0) return;
  }
}

int64_t flat_index(std::span<const int64_t> shape, std::span<const int64_t> index) {
  int64_t flat = 0;
  for (size_t d = 0; d < shape.size(); ++d) flat = flat * shape[d] + index[d];
  return flat;
}

Result<std::vector<int64_t>> normalize_axes(const InferContext& c, std::vector<int64_t> axes, int64_t rank, bool empty_means_all) {
  if (axes.empty() && empty_means_all) {
    for (int64_t a = 0; a < rank; ++a) axes.push_back(a);
    return axes;
  }
  std::set<int64_t> distinct;
  for (int64_t a : axes) {
    FCC_TRY(int64_t n, c.axis(a, rank));
    if (!distinct.insert(n).second) return c.fail("axis " + std::to_string(a) + " is named twice");
  }
  return std::vector<int64_t>(distinct.begin(), distinct.end());
}

}  // namespace fcc
