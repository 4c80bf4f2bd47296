#include "tests/unit/ir_ops_a/harness.h"

#include <cmath>
#include <random>

#include "ir/eval.h"
#include "ir/loop/eval.h"

namespace fcc::test {
namespace {

// Operands are buffers 0, 1, ...; an element is a load.
class LoadingContext : public DefineContext {
 public:
  loop::Expr in(size_t k, std::span<const loop::Expr> index) override {
    return loop::load(static_cast<loop::BufferId>(k), dtype(k), {index.begin(), index.end()});
  }
  loop::Expr in_guarded(size_t k, std::span<const loop::Expr> index, loop::Expr guard, loop::Expr otherwise) override {
    return loop::load_guarded(static_cast<loop::BufferId>(k), dtype(k), {index.begin(), index.end()}, std::move(guard),
                              std::move(otherwise));
  }
  loop::VarId fresh_var(std::string_view) override { return next_var++; }
  void fault_if(loop::Expr condition, std::string text) override {
    faults.emplace_back(std::move(condition), std::move(text));
  }

  loop::VarId next_var = 100;
  std::vector<std::pair<loop::Expr, std::string>> faults;
};

struct Program {
  Graph graph;
  std::vector<ValueId> in, out;
};

TensorType type_of(const Tensor& t, size_t k, Mode mode) {
  TensorType type = t.type();
  const bool shape_like = t.rank() <= 1 && !is_float(t.dtype()) && k > 0;  // its length has to be known
  if (mode == Mode::open && !shape_like)
    for (size_t d = 0; d < type.dims.size(); ++d)
      if (!type.dims[d].is(1)) type.dims[d] = SymExpr::symbol("d" + std::to_string(k) + "_" + std::to_string(d));
  return type;
}

Result<Program> build(const Case& c, Mode mode) {
  Program p;
  for (size_t k = 0; k < c.in.size(); ++k) {
    const std::string name = "x" + std::to_string(k);
    if (!c.in[k].raw())
      p.in.push_back(kNoValue);
    else if (mode == Mode::constant)
      p.in.push_back(p.graph.add_constant(name, c.in[k]));
    else
      p.in.push_back(p.graph.add_input(name, type_of(c.in[k], k, mode)));
  }
  FCC_TRY(const NodeId n, p.graph.add(op(c.op), p.in, c.attrs, Loc{.node = "n"}, {}, nullptr, c.n_results));
  p.out = p.graph.node(n).out;
  for (ValueId v : p.out) p.graph.add_output(p.graph.value(v).name, v);
  return p;
}

std::map<std::string, int64_t> symbols_of(const Program& p, const Case& c) {
  std::map<std::string, int64_t> symbols;
  for (size_t k = 0; k < c.in.size(); ++k) {
    if (p.in[k] == kNoValue) continue;
    const Value& v = p.graph.value(p.in[k]);
    for (size_t d = 0; d < v.type.dims.size(); ++d)
      if (!v.type.dims[d].is_constant()) symbols[v.type.dims[d].text()] = c.in[k].shape()[d];
    if (v.observed)
      for (size_t i = 0; i < v.content->elements.size(); ++i)
        symbols[v.content->elements[i].text()] = c.in[k].get_int(static_cast<int64_t>(i));
  }
  return symbols;
}

void fill(LoadingContext& ctx, const Program& p, const Case& c) {
  ctx.op = &op(c.op);
  ctx.attrs = &c.attrs;
  for (ValueId v : p.in) {
    ctx.in_types.push_back(v == kNoValue ? nullptr : &p.graph.value(v).type);
    ctx.contents.push_back(v == kNoValue ? nullptr : p.graph.value(v).content.get());
  }
  for (ValueId v : p.out) ctx.out_types.push_back(&p.graph.value(v).type);
}

bool any(const loop::Expr& condition, const loop::Environment& env) {
  return loop::evaluate(condition, env).i != 0;
}

}  // namespace

Tensor floats(std::vector<int64_t> shape, std::vector<double> values, DType dtype) {
  Tensor t(dtype, std::move(shape));
  FCC_CHECK(t.elements() == static_cast<int64_t>(values.size()), "{} values", values.size());
  for (size_t i = 0; i < values.size(); ++i) t.set_double(static_cast<int64_t>(i), values[i]);
  return t;
}
Tensor ints(std::vector<int64_t> shape, std::vector<int64_t> values, DType dtype) {
  Tensor t(dtype, std::move(shape));
  FCC_CHECK(t.elements() == static_cast<int64_t>(values.size()), "{} values", values.size());
  for (size_t i = 0; i < values.size(); ++i) t.set_int(static_cast<int64_t>(i), values[i]);
  return t;
}
Tensor random_tensor(uint32_t seed, DType dtype, std::vector<int64_t> shape, double low, double high) {
  std::mt19937 gen(seed);
  Tensor t(dtype, std::move(shape));
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double v = low + (high - low) * (static_cast<double>(gen()) / 4294967296.0);
    if (dtype == DType::boolean)
      t.set_int(i, gen() & 1);
    else if (is_float(dtype))
      t.set_double(i, v);
    else
      t.set_int(i, static_cast<int64_t>(std::floor(is_unsigned_int(dtype) ? std::fabs(v * 3) : v * 3)));
  }
  return t;
}

Result<std::vector<TensorType>> result_types(const Case& c, Mode mode) {
  FCC_TRY(const Program p, build(c, mode));
  std::vector<TensorType> types;
  for (ValueId v : p.out) types.push_back(p.graph.value(v).type);
  return types;
}

Result<std::vector<Tensor>> interpret(const Case& c, Mode mode) {
  FCC_TRY(const Program p, build(c, mode));
  std::vector<Tensor> inputs;
  for (size_t k = 0; k < c.in.size() && mode != Mode::constant; ++k)
    if (p.in[k] != kNoValue) inputs.push_back(c.in[k]);
  FCC_TRY(EvalResult r, evaluate(p.graph, inputs));
  return std::move(r.outputs);
}

Result<Outcome> run_define(const Case& c, Mode mode) {
  FCC_TRY(const Program p, build(c, mode));
  loop::Environment env;
  env.symbols = symbols_of(p, c);
  env.load = [&](loop::BufferId b, std::span<const int64_t> index) {
    const Tensor& t = c.in.at(static_cast<size_t>(b));
    for (size_t d = 0; d < index.size(); ++d)
      FCC_CHECK(index[d] >= 0 && index[d] < t.shape().at(d), "operand {} read at {} of {} on axis {}", b, index[d],
                t.shape()[d], d);
    return loop::read_element(t, flat_index(t.shape(), index));
  };
  Outcome outcome;
  for (size_t result = 0; result < p.out.size(); ++result) {
    const TensorType& type = p.graph.value(p.out[result]).type;
    std::vector<int64_t> shape;
    for (const SymExpr& d : type.dims)
      shape.push_back(d.evaluate([&](std::string_view s) { return env.symbols.at(std::string(s)); }));
    Tensor out(type.dtype, shape);
    LoadingContext ctx;
    fill(ctx, p, c);
    std::vector<loop::Expr> index;
    for (size_t d = 0; d < shape.size(); ++d) index.push_back(loop::var(static_cast<loop::VarId>(d)));
    const loop::Expr e = ctx.op->define(ctx, result, index);
    FCC_CHECK(e->type == loop::compute_type(type.dtype), "{} defines {} for {}", c.op, name(e->type), type.text());
    int64_t flat = 0;
    for_each_index(shape, [&](std::span<const int64_t> at) {
      for (size_t d = 0; d < at.size(); ++d) env.vars[static_cast<loop::VarId>(d)] = loop::int_value(at[d]);
      for (const auto& [condition, sentence] : ctx.faults)
        if (any(condition, env)) outcome.faults.push_back(sentence);
      if (outcome.faults.empty()) loop::write_element(out, flat++, loop::evaluate(e, env));
    });
    outcome.out.push_back(std::move(out));
  }
  return outcome;
}

double difference(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return HUGE_VAL;
  double worst = 0;
  for (int64_t i = 0; i < a.elements(); ++i) {
    if (!is_float(a.dtype())) {
      worst = std::max(worst, a.get_int(i) == b.get_int(i) ? 0.0 : HUGE_VAL);
      continue;
    }
    const double x = a.get_double(i), y = b.get_double(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::fabs(x - y) / (1 + std::fabs(y));
    worst = std::isnan(d) ? HUGE_VAL : std::max(worst, d);
  }
  return worst;
}

std::string text(const Case& c) {
  std::string s = c.op + "(";
  for (const Tensor& t : c.in) s += (s.back() == '(' ? "" : ", ") + (t.raw() ? t.type().text() : std::string("none"));
  s += ")";
  for (const auto& [name, value] : c.attrs.items()) {
    s += " " + name;
    if (const auto* i = std::get_if<int64_t>(&value)) s += "=" + std::to_string(*i);
    if (const auto* t = std::get_if<std::string>(&value)) s += "=" + *t;
  }
  return s;
}

}  // namespace fcc::test
