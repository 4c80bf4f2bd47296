#include "tests/grad/harness.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/eval.h"
#include "ir/loop/eval.h"

namespace fcc::test {
namespace {

// The weights of the results in the scalar that is differentiated.
std::vector<double> weights(const Case& c, size_t result, size_t n) {
  std::vector<double> w(n, 1);
  if (!c.expected.empty()) return w;
  std::minstd_rand random(static_cast<uint32_t>(17 + result));
  for (double& x : w) x = std::uniform_real_distribution<>(0.5, 1.5)(random) * (random() % 2 ? 1 : -1);
  return w;
}

bool differentiated(const Case& c, size_t k) {
  return c.in[k].raw() && c.in[k].dtype() == DType::f64 && std::ranges::find(c.fixed, k) == c.fixed.end();
}

struct Built {
  Graph g;
  std::vector<Tensor> inputs;
  std::vector<ValueId> operands, results;
};

TensorType opened(TensorType t) {
  for (SymExpr& d : t.dims)
    if (!d.is(1) && !d.is(0)) d = SymExpr::symbol("E" + d.text());
  return t;
}

// The node on inputs; operands that decide shapes are constants.
Built forward(const Case& c, bool open) {
  Built b;
  for (size_t k = 0; k < c.in.size(); ++k) {
    const Tensor& t = c.in[k];
    if (!t.raw()) {
      b.operands.push_back(kNoValue);
    } else if (t.dtype() == DType::f64 || t.elements() > kMaxSymElements) {
      b.operands.push_back(
          b.g.add_input("x" + std::to_string(k), open && t.dtype() == DType::f64 ? opened(t.type()) : t.type()));
      b.inputs.push_back(t);
    } else {
      b.operands.push_back(b.g.add_constant("x" + std::to_string(k), t));
    }
  }
  auto n = b.g.add(op(c.op), b.operands, c.attrs, Loc{.node = "node"}, {}, nullptr, c.n_results);
  FCC_CHECK(n.has_value(), "{}: {}", text(c), n.error().text());
  for (ValueId v : b.g.node(*n).out)
    if (is_float(b.g.value(v).type.dtype)) b.results.push_back(v);
  for (ValueId v : b.results) b.g.add_output("y" + std::to_string(v), v);
  return b;
}

// sum(weights * results) for other operands.
class Scalar {
 public:
  explicit Scalar(const Case& c) : case_(c), built_(forward(c, false)) {}
  double operator()(const std::vector<Tensor>& operands) const {
    std::vector<Tensor> inputs;
    for (size_t k = 0; k < operands.size(); ++k)
      if (built_.operands[k] != kNoValue && built_.g.value(built_.operands[k]).role == Role::input)
        inputs.push_back(operands[k]);
    auto r = evaluate(built_.g, inputs);
    FCC_CHECK(r.has_value(), "{}", r.error().text());
    double sum = 0;
    for (size_t i = 0; i < r->outputs.size(); ++i) {
      const std::vector<double> y = r->outputs[i].to_doubles(), w = weights(case_, i, y.size());
      for (size_t j = 0; j < y.size(); ++j) sum += y[j] * w[j];
    }
    return sum;
  }

 private:
  const Case& case_;
  Built built_;
};

// df(x + t v)/dt at 0 by five points; move(operands, t) goes along v.
double slope(const Scalar& f, const std::vector<Tensor>& at,
             const std::function<void(std::vector<Tensor>&, double)>& move) {
  constexpr double h = 1e-3;
  const auto value = [&](double t) {
    std::vector<Tensor> operands = at;
    move(operands, t * h);
    return f(operands);
  };
  return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h);
}

Tensor moved(const Tensor& t, const std::function<double(int64_t)>& by) {
  Tensor m(t.dtype(), t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) m.set_double(i, t.get_double(i) + by(i));
  return m;
}

}  // namespace

std::string text(const Case& c) {
  std::string s = c.op + "(";
  for (size_t k = 0; k < c.in.size(); ++k)
    s += (k ? ", " : "") + (c.in[k].raw() ? c.in[k].type().text() : std::string("_"));
  s += ")";
  for (const auto& [name, value] : c.attrs.items()) {
    s += " " + name;
    if (auto* i = std::get_if<int64_t>(&value)) s += "=" + std::to_string(*i);
    if (auto* d = std::get_if<double>(&value)) s += "=" + std::to_string(*d);
    if (auto* t = std::get_if<std::string>(&value)) s += "=" + *t;
    if (auto* v = std::get_if<std::vector<int64_t>>(&value))
      for (int64_t x : *v) s += " " + std::to_string(x);
  }
  return s;
}

std::string text(const Gradients& g) {
  std::string s;
  for (size_t i = 0; i < g.of.size(); ++i) {
    s += "d" + std::to_string(g.operands[i]) + ":";
    for (double x : g.of[i]) s += " " + std::to_string(x);
    s += "\n";
  }
  return s;
}

Tensor reals(std::vector<int64_t> shape, std::vector<double> values) {
  return Tensor::of<double>(DType::f64, std::move(shape), values);
}
Tensor whole(std::vector<int64_t> shape, std::vector<int64_t> values) {
  return Tensor::of<int64_t>(DType::i64, std::move(shape), values);
}
Tensor truths(std::vector<int64_t> shape, std::vector<int64_t> values) {
  Tensor t(DType::boolean, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) t.set_int(static_cast<int64_t>(i), values[i]);
  return t;
}
// Values in the middle of cells of 1/50, so that none is near a kink at a round number.
Tensor random(std::vector<int64_t> shape, double low, double high) {
  static std::mt19937 generator(42);  // cases are made in one order: new ones go to the end of a list
  Tensor t(DType::f64, std::move(shape));
  for (int64_t i = 0; i < t.elements(); ++i) {
    const double x = std::uniform_real_distribution<>(low, high)(generator),
                 jitter = std::uniform_real_distribution<>(0.3, 0.7)(generator);
    t.set_double(i, (std::floor(x * 50) + jitter) / 50);
  }
  return t;
}

namespace {

struct Differentiated {
  Built b;
  std::vector<size_t> operands;
};

// The graph with the gradients as its outputs.
Result<Differentiated> differentiate(const Case& c, bool open, const Adjust& adjust) {
  Differentiated d{forward(c, open), {}};
  Built& b = d.b;
  GradRequest request{.adjust = adjust};
  const auto plain = evaluate(b.g, b.inputs);
  FCC_CHECK(plain.has_value(), "{}", plain.error().text());
  for (size_t i = 0; i < b.results.size(); ++i) {
    const Tensor& y = plain->outputs[i];
    const ValueId seed = b.g.add_input("dy" + std::to_string(i), TensorType(b.g.value(b.results[i]).type));
    Tensor dy(y.dtype(), y.shape());
    const std::vector<double> w = weights(c, i, static_cast<size_t>(y.elements()));
    for (size_t j = 0; j < w.size(); ++j) dy.set_double(static_cast<int64_t>(j), w[j]);
    b.inputs.push_back(dy);
    request.seeds.emplace_back(b.results[i], seed);
  }
  for (size_t k = 0; k < c.in.size(); ++k)
    if (differentiated(c, k)) {
      d.operands.push_back(k);
      request.wrt.push_back(b.operands[k]);
    }
  FCC_TRY(const std::vector<ValueId> found, add_gradients(b.g, request));
  b.g.outputs.clear();
  b.g.output_names.clear();
  for (size_t i = 0; i < found.size(); ++i) {
    FCC_CHECK(b.g.value(found[i]).type == b.g.value(request.wrt[i]).type, "{}: gradient of operand {} is {}", text(c),
              d.operands[i], b.g.value(found[i]).type.text());
    b.g.add_output("g" + std::to_string(i), found[i]);
  }
  return d;
}

}  // namespace

Result<Gradients> by_rule(const Case& c, bool open, const Adjust& adjust) {
  FCC_TRY(const Differentiated d, differentiate(c, open, adjust));
  FCC_TRY(EvalResult r, evaluate(d.b.g, d.b.inputs));
  Gradients result{d.operands, {}};
  for (const Tensor& t : r.outputs) result.of.push_back(t.to_doubles());
  return result;
}

namespace {

// Operands are buffers, an element is a load.
class LoadingContext : public DefineContext {
 public:
  loop::Expr in(size_t k, std::span<const loop::Expr> index) override {
    return loop::load(static_cast<loop::BufferId>(k), dtype(k), {index.begin(), index.end()});
  }
  loop::Expr in_guarded(size_t k, std::span<const loop::Expr> index, loop::Expr guard, loop::Expr otherwise) override {
    return loop::load_guarded(static_cast<loop::BufferId>(k), dtype(k), {index.begin(), index.end()}, std::move(guard),
                              std::move(otherwise));
  }
  loop::VarId fresh_var(std::string_view) override { return next_++; }
  void fault_if(loop::Expr, std::string) override {}

 private:
  loop::VarId next_ = 100;
};

double node_error(const Graph& g, const Node& n, const std::vector<Tensor>& values, loop::Environment& env) {
  LoadingContext context;
  context.op = n.op;
  context.attrs = &n.attrs;
  for (ValueId v : n.in) {
    context.in_types.push_back(v == kNoValue ? nullptr : &g.value(v).type);
    context.contents.push_back(v == kNoValue ? nullptr : g.value(v).content.get());
  }
  for (ValueId v : n.out) context.out_types.push_back(&g.value(v).type);
  env.load = [&](loop::BufferId k, std::span<const int64_t> index) {
    const Tensor& t = values[static_cast<size_t>(n.in[static_cast<size_t>(k)])];
    for (size_t d = 0; d < index.size(); ++d)
      FCC_CHECK(index[d] >= 0 && index[d] < t.shape().at(d), "{}: operand {} read at {} of {}", n.op->name, k, index[d],
                t.shape()[d]);
    return loop::read_element(t, flat_index(t.shape(), index));
  };
  const Tensor& expected = values[static_cast<size_t>(n.out[0])];
  std::vector<loop::Expr> index;
  for (size_t d = 0; d < expected.shape().size(); ++d) index.push_back(loop::var(static_cast<loop::VarId>(d)));
  const loop::Expr e = n.op->define(context, 0, index);
  double worst = 0, largest = 1e-9;
  int64_t flat = 0;
  for_each_index(expected.shape(), [&](std::span<const int64_t> at) {
    for (size_t d = 0; d < at.size(); ++d) env.vars[static_cast<loop::VarId>(d)] = loop::int_value(at[d]);
    const loop::Value got = loop::evaluate(e, env);
    const double x = is_float(e->type) ? got.f : static_cast<double>(got.i), y = expected.get_double(flat++);
    largest = std::max(largest, std::fabs(y));
    if (x != y && !(std::isnan(x) && std::isnan(y)))
      worst = std::max(worst, std::isnan(x - y) ? HUGE_VAL : std::fabs(x - y));
  });
  return worst / largest;
}

}  // namespace

double define_error(const Case& c, bool open, std::string& worst) {
  const auto d = differentiate(c, open, {});
  FCC_CHECK(d.has_value(), "{}", d.error().text());
  const Graph& g = d->b.g;
  std::vector<Tensor> values(static_cast<size_t>(g.value_count()));
  loop::Environment env;
  for (size_t i = 0; i < g.inputs().size(); ++i) {
    const Tensor& t = values[static_cast<size_t>(g.inputs()[i])] = d->b.inputs[i];
    const Dims& dims = g.value(g.inputs()[i]).type.dims;
    for (size_t axis = 0; axis < dims.size(); ++axis)
      if (!dims[axis].is_constant()) env.symbols.emplace(dims[axis].text(), t.shape()[axis]);
  }
  for (ValueId v = 0; v < g.value_count(); ++v)
    if (g.is_constant(v)) values[static_cast<size_t>(v)] = g.value(v).data;
  const auto r = evaluate(g, d->b.inputs, {}, [&](ValueId v, const Tensor& t) { values[static_cast<size_t>(v)] = t; });
  FCC_CHECK(r.has_value(), "{}", r.error().text());
  double error = 0;
  for (NodeId id : g.order()) {
    const Node& n = g.node(id);
    if (!n.op->define || n.out.size() > 1) continue;
    const double e = node_error(g, n, values, env);
    if (e > error) worst = n.op->name;
    error = std::max(error, e);
  }
  return error;
}

Gradients by_differences(const Case& c) {
  const Scalar f(c);
  Gradients g;
  for (size_t k = 0; k < c.in.size(); ++k) {
    if (!differentiated(c, k)) continue;
    g.operands.push_back(k);
    g.of.emplace_back();
    for (int64_t i = 0; i < c.in[k].elements(); ++i)
      g.of.back().push_back(slope(f, c.in, [&](std::vector<Tensor>& operands, double t) {
        operands[k] = moved(operands[k], [&](int64_t j) { return i == j ? t : 0.0; });
      }));
  }
  return g;
}

double error(const Gradients& a, const Gradients& b) {
  double worst = 0;
  for (size_t i = 0; i < a.of.size(); ++i) {
    if (a.of[i].size() != b.of[i].size()) return HUGE_VAL;
    double largest = 1e-9;
    for (double x : b.of[i]) largest = std::max(largest, std::fabs(x));
    for (size_t j = 0; j < a.of[i].size(); ++j) {
      const double x = a.of[i][j], y = b.of[i][j];
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double e = std::fabs(x - y) / std::max(std::fabs(y), largest / 100);
      worst = std::isnan(e) ? HUGE_VAL : std::max(worst, e);
    }
  }
  return worst;
}

double adjoint_error(const Case& c, const Gradients& g) {
  const Scalar f(c);
  std::vector<std::vector<double>> v;
  std::minstd_rand random(5);
  double right = 0, terms = 1e-9;
  for (const auto& of : g.of) {
    v.emplace_back();
    for (double x : of) {
      v.back().push_back(std::uniform_real_distribution<>(-1, 1)(random));
      right += x * v.back().back();
      terms += std::fabs(x * v.back().back());
    }
  }
  const double left = slope(f, c.in, [&](std::vector<Tensor>& operands, double t) {
    for (size_t i = 0; i < g.operands.size(); ++i) {
      Tensor& operand = operands[g.operands[i]];
      operand = moved(operand, [&](int64_t j) { return t * v[i][static_cast<size_t>(j)]; });
    }
  });
  return std::fabs(left - right) / terms;
}

}  // namespace fcc::test
