#include "ir/eval.h"

#include <cmath>
#include <functional>

#include "ir/loop/eval.h"
#include "ir/op.h"

namespace fcc {
namespace {

class Interpreter {
 public:
  Interpreter(const Graph& g, std::map<std::string, int64_t> symbols, const std::function<void(ValueId, Tensor&)>& on_value)
      : graph_(g), symbols_(std::move(symbols)), on_value_(on_value), values_(static_cast<size_t>(g.value_count())) {}

  Result<std::vector<Tensor>> run_single(const Node& n, std::span<const Tensor* const> in) const {
    FCC_TRY(Attrs attrs, concrete_attrs(n));
    return run_op(n, attrs, {in.begin(), in.end()});
  }

  Result<EvalResult> run(std::span<const Tensor> inputs, std::span<const Tensor> states) {
    FCC_CHECKED(bind_inputs(inputs));
    for (size_t i = 0; i < graph_.states().size(); ++i)
      set(graph_.states()[i], i < states.size() ? states[i] : initial_state(graph_.states()[i]));
    const std::vector<NodeId> order = graph_.order();
    count_uses(order);
    for (NodeId n : order) FCC_CHECKED(run_node(graph_.node(n)));
    EvalResult result;
    for (ValueId v : graph_.outputs) result.outputs.push_back(get(v));
    for (auto& [state, next] : graph_.updates) result.states.emplace_back(state, get(next));
    return result;
  }

 private:
  Tensor initial_state(ValueId v) const {
    const Value& value = graph_.value(v);
    return value.data.raw() ? value.data : Tensor(value.type.dtype, value.type.extents());
  }

  Status bind_inputs(std::span<const Tensor> inputs) {
    FCC_CHECK(inputs.size() == graph_.inputs().size(), "{} inputs for {}", inputs.size(), graph_.inputs().size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& v = graph_.value(graph_.inputs()[i]);
      const Tensor& t = inputs[i];
      bool fits = t.dtype() == v.type.dtype && t.rank() == v.type.rank();
      for (size_t d = 0; fits && d < v.type.dims.size(); ++d) fits = bind_dim(v.type.dims[d], t.shape()[d]);
      if (!fits) return fail("input \"" + v.name + "\" is " + t.type().text() + ", the graph wants " + v.type.text());
      set(graph_.inputs()[i], t);
    }
    return {};
  }

  bool bind_dim(const SymExpr& dim, int64_t extent) {
    const std::vector<SymTerm> terms = dim.terms();
    if (terms.size() == 1 && terms[0].coefficient == 1 && terms[0].atoms.size() == 1 && terms[0].atoms[0]->kind == SymAtom::Kind::symbol)
      return symbols_.emplace(terms[0].atoms[0]->name, extent).first->second == extent;
    return !dim.is_constant() || dim.constant() == extent;
  }

  void set(ValueId v, Tensor t) {
    const Value& value = graph_.value(v);
    if (value.observed)
      for (size_t i = 0; i < value.content->elements.size(); ++i) symbols_[value.content->elements[i].text()] = t.get_int(static_cast<int64_t>(i));
    if (on_value_ && value.role == Role::temp) on_value_(v, t);
    values_[static_cast<size_t>(v)] = std::move(t);
  }
  const Tensor& get(ValueId v) const {
    const Value& value = graph_.value(v);
    return value.role == Role::constant ? value.data : values_[static_cast<size_t>(v)];
  }

  void count_uses(const std::vector<NodeId>& order) {
    uses_.assign(values_.size(), 0);
    for (NodeId n : order)
      for (ValueId v : graph_.node(n).in)
        if (v != kNoValue) ++uses_[static_cast<size_t>(v)];
    for (ValueId v : graph_.outputs) ++uses_[static_cast<size_t>(v)];
    for (auto& [state, next] : graph_.updates) ++uses_[static_cast<size_t>(next)];
  }

  Result<SymExpr> concrete(const SymExpr& e, const Node& n) const {
    std::string missing;
    SymExpr v = e.substitute([&](std::string_view s) -> SymExpr {
      auto it = symbols_.find(std::string(s));
      if (it != symbols_.end()) return it->second;
      missing = s;
      return 0;
    });
    if (!missing.empty()) return fail(describe(*n.op, n.loc) + ": open dimension " + missing + " has no value");
    return v;
  }

  // Attributes with every open dimension replaced by its number.
  Result<Attrs> concrete_attrs(const Node& n) const {
    Attrs attrs = n.attrs;
    for (const auto& [attr_name, value] : n.attrs.items()) {
      const Dims* dims = std::get_if<Dims>(&value);
      if (!dims) continue;
      Dims numbers;
      for (const SymExpr& d : *dims) {
        FCC_TRY(SymExpr v, concrete(d, n));
        numbers.push_back(std::move(v));
      }
      attrs.set(attr_name, std::move(numbers));
    }
    return attrs;
  }

  Status run_node(const Node& n) {
    std::vector<const Tensor*> in;
    for (ValueId v : n.in) in.push_back(v == kNoValue ? nullptr : &get(v));
    FCC_TRY(Attrs attrs, concrete_attrs(n));
    std::vector<Tensor> out;
    if (n.op->strategy == Strategy::kernel) {
      FCC_TRY(out, run_body(n, in));
    } else {
      FCC_TRY(out, run_op(n, attrs, in));
    }
    for (size_t k = 0; k < out.size(); ++k) set(n.out[k], std::move(out[k]));
    for (ValueId v : n.in)
      if (v != kNoValue && --uses_[static_cast<size_t>(v)] == 0) values_[static_cast<size_t>(v)] = {};
    return {};
  }

  Result<std::vector<Tensor>> run_body(const Node& n, const std::vector<const Tensor*>& in) {
    std::vector<Tensor> inputs;
    for (const Tensor* t : in) inputs.push_back(*t);
    Interpreter inner(*n.body, symbols_, {});
    FCC_TRY(EvalResult r, inner.run(inputs, {}));
    return std::move(r.outputs);
  }

  static Status concrete_infer(InferContext& ctx, const std::vector<const Tensor*>& in, std::vector<TensorType>& types) {
    types.resize(in.size());
    for (size_t k = 0; k < in.size(); ++k) {
      if (!in[k]) continue;
      types[k] = in[k]->type();
      ctx.types_[k] = &types[k];
      if (in[k]->rank() > 1 || in[k]->elements() > kMaxSymElements) continue;
      auto content = std::make_shared<SymTensor>();
      content->rank = in[k]->rank();
      bool whole = true;
      for (int64_t i = 0; i < in[k]->elements() && whole; ++i) {
        const double d = in[k]->get_double(i);
        whole = !is_float(in[k]->dtype()) || d == std::floor(d);
        if (whole) content->elements.emplace_back(in[k]->get_int(i));
      }
      if (whole) ctx.contents_[k] = content;
    }
    return infer(ctx);
  }

  Result<std::vector<Tensor>> run_op(const Node& n, const Attrs& attrs, const std::vector<const Tensor*>& in) const {
    InferContext ctx(*n.op, attrs, n.loc, in.size(), n.out.size());
    ctx.body = n.body.get();
    std::vector<TensorType> types;
    FCC_CHECKED(concrete_infer(ctx, in, types));
    EvalContext eval{*n.op, attrs, n.body.get(), in, {}};
    for (const TensorType& t : ctx.out_types) eval.out.emplace_back(t.dtype, t.extents());
    if (n.op->eval) {
      n.op->eval(eval);
    } else {
      FCC_CHECK(n.op->formula, "{} has neither eval nor formula", n.op->name);
      run_formula(eval);
    }
    return std::move(eval.out);
  }

  static void run_formula(EvalContext& c) {
    std::vector<DType> dtypes;
    std::vector<loop::Expr> vars;
    std::vector<loop::VarId> ids;
    std::vector<const Tensor*> operands;
    for (const Tensor* t : c.in) {
      dtypes.push_back(t ? t->dtype() : DType::f32);
      if (!t) {
        vars.push_back(nullptr);
        continue;
      }
      ids.push_back(static_cast<loop::VarId>(vars.size()));
      vars.push_back(loop::var(ids.back(), loop::compute_type(t->dtype())));
      operands.push_back(t);
    }
    Tensor& out = c.out[0];
    loop::FormulaProgram program(c.op.formula(FormulaContext{c.attrs, dtypes, out.dtype()}, vars), ids);
    std::vector<loop::Value> args(operands.size());
    std::vector<std::vector<int64_t>> strides;
    for (const Tensor* t : operands) {  // broadcast strides aligned at the right
      std::vector<int64_t> s(static_cast<size_t>(out.rank()), 0), own = strides_of(t->shape());
      for (size_t d = 0; d < own.size(); ++d)
        if (t->shape()[d] != 1) s[s.size() - own.size() + d] = own[d];
      strides.push_back(std::move(s));
    }
    int64_t flat = 0;
    for_each_index(out.shape(), [&](std::span<const int64_t> index) {
      for (size_t k = 0; k < operands.size(); ++k) {
        int64_t at = 0;
        for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[k][d];
        args[k] = loop::read_element(*operands[k], at);
      }
      loop::write_element(out, flat++, program.run(args));
    });
  }

  const Graph& graph_;
  std::map<std::string, int64_t> symbols_;
  std::function<void(ValueId, Tensor&)> on_value_;
  std::vector<Tensor> values_;
  std::vector<int64_t> uses_;
};

}  // namespace

Result<EvalResult> evaluate(const Graph& g, std::span<const Tensor> inputs, std::span<const Tensor> states,
                            const std::function<void(ValueId, Tensor&)>& on_value) {
  return Interpreter(g, {}, on_value).run(inputs, states);
}

Result<std::vector<Tensor>> evaluate_node(const Graph& g, NodeId n, std::span<const Tensor* const> in) {
  return Interpreter(g, {}, {}).run_single(g.node(n), in);
}

}  // namespace fcc
