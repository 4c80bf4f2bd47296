// LSTM, GRU and RNN: W x for all steps of both directions is one matrix product; RecurrentScan does the rest.
//   GRU   z, r = f(xz + h Rz'), f(xr + h Rr')      n = g(xn + (r h) Rn')  or, reset_after, g(xn + r (h Rn' + b))
//         h' = (1 - z) n + z h
//   LSTM  i, f = f(xi + h Ri' + Pi c), f(xf + h Rf' + Pf c)      c' = f c + i g(xc + h Rc')
//         o = f(xo + h Ro' + Po c')      h' = o h(c')
//   RNN   h' = f(x + h R')
// RecurrentScan(x, R, h0, c0, lengths, P, b):
//   x        [S,N,D gates H]: products of the inputs, biases added
//   R        [D gates,H,H], or packed by pack_recurrent: [D gates,panels,H,nr], see PackGemmB
//   h0, c0   [D,N,H] or absent (zeros)      lengths  i32[N] or absent (S)      P  [D,3 H]      b  [D,H]
//   result   [S + final_rows,D,N,H]: h of every step, 0 past the end of a sequence; then the last h, the last c
// Order of gates as in ONNX: i o f c; z r n.
#include "ir/ops/recurrent.h"

#include <algorithm>
#include <cmath>

#include "ir/ops/grads.h"
#include "ir/ops/numeric.h"

namespace fcc {

std::vector<AttrSpec> recurrent_attrs() {
  return {{"cell", AttrType::string, true},       {"hidden", AttrType::integer, true},
          {"directions", AttrType::integer},      {"reverse_first", AttrType::integer},
          {"reset_after", AttrType::integer},     {"couple", AttrType::integer},
          {"clip", AttrType::number},             {"final_rows", AttrType::integer},
          {"functions", AttrType::strings, true}, {"alpha", AttrType::numbers, true},
          {"beta", AttrType::numbers, true}};
}

RecurrentShape::RecurrentShape(const Attrs& a)
    : hidden(a.integer("hidden")),
      directions(a.integer("directions", 1)),
      reverse_first(a.flag("reverse_first")),
      reset_after(a.flag("reset_after")),
      couple(a.flag("couple")),
      clip(a.number("clip", 0)),
      final_rows(a.integer("final_rows")) {
  const std::string kind = a.string("cell");
  cell = kind == "LSTM" ? Cell::lstm : kind == "GRU" ? Cell::gru : Cell::rnn;
  const std::vector<std::string> names = a.strings("functions");
  const std::vector<double> alpha = a.numbers("alpha"), beta = a.numbers("beta");
  for (size_t i = 0; i < names.size(); ++i) functions.push_back({names[i], alpha.at(i), beta.at(i)});
}

bool RecurrentShape::directions_alike() const {
  const auto n = static_cast<int64_t>(functions_a_direction());
  return directions == 1 || std::equal(functions.begin(), functions.begin() + n, functions.begin() + n);
}

namespace {

// ---- the interpreter -----------------------------------------------------------------------------------------------

// One sequence of one direction in plain loops.
class HostScan {
 public:
  HostScan(const RecurrentShape& s, EvalContext& c) : s_(s), c_(c) {
    for (const Tensor* t : c.in) operands_.push_back(t ? t->to_doubles() : std::vector<double>{});
    steps_ = c.in[0]->shape()[0], batch_ = c.in[0]->shape()[1];
    const std::vector<int64_t>& r = c.in[RecurrentShape::kWeight]->shape();
    if (r.size() == 4) panels_ = r[1], nr_ = r[3];
    out_.assign(static_cast<size_t>(c.out[0].elements()), 0.0);
  }

  void run() {
    for (int64_t d = 0; d < s_.directions; ++d)
      for (int64_t n = 0; n < batch_; ++n) sequence(d, n);
    ops::store(c_.out[0], out_);
  }

 private:
  using R = RecurrentShape;
  bool has(size_t k) const { return k < operands_.size() && c_.in[k] != nullptr; }
  double weight(int64_t d, int64_t gate, int64_t j, int64_t k) const {
    const int64_t matrix = d * s_.gates() + gate;
    const int64_t at = panels_ ? ((matrix * panels_ + j / nr_) * s_.hidden + k) * nr_ + j % nr_
                               : (matrix * s_.hidden + j) * s_.hidden + k;
    return operands_[R::kWeight][static_cast<size_t>(at)];
  }
  double product(int64_t d, int64_t gate, int64_t j, const std::vector<double>& h) const {
    double sum = 0;
    for (int64_t k = 0; k < s_.hidden; ++k) sum += h[static_cast<size_t>(k)] * weight(d, gate, j, k);
    return sum;
  }
  double clipped(double x) const { return s_.clip > 0 ? std::clamp(x, -s_.clip, s_.clip) : x; }

  void sequence(int64_t d, int64_t n) {
    const int64_t hidden = s_.hidden,
                  length = has(R::kLengths) ? std::clamp<int64_t>(c_.in[R::kLengths]->get_int(n), 0, steps_) : steps_;
    const bool backwards = d == 1 || s_.reverse_first;
    std::vector<double> h(static_cast<size_t>(hidden), 0.0), c = h;
    const auto first = [&](size_t k, std::vector<double>& to) {
      if (has(k)) std::copy_n(operands_[k].begin() + (d * batch_ + n) * hidden, hidden, to.begin());
    };
    first(R::kHidden, h), first(R::kCell, c);
    for (int64_t t = 0; t < length; ++t) {
      const int64_t at = backwards ? length - 1 - t : t;
      step(d, n, at, h, c);
      put(at, d, n, h);
    }
    if (s_.final_rows > 0) put(steps_, d, n, h);
    if (s_.final_rows > 1) put(steps_ + 1, d, n, c);
  }
  void put(int64_t row, int64_t d, int64_t n, const std::vector<double>& x) {
    std::copy(x.begin(), x.end(), out_.begin() + ((row * s_.directions + d) * batch_ + n) * s_.hidden);
  }

  void step(int64_t d, int64_t n, int64_t at, std::vector<double>& h, std::vector<double>& c) {
    const int64_t hidden = s_.hidden, gates = s_.gates();
    const double* x = operands_[R::kInput].data() + ((at * batch_ + n) * s_.directions + d) * gates * hidden;
    const auto in = [&](int64_t gate, int64_t j) { return x[gate * hidden + j]; };
    const auto f = [&](size_t k, double v) { return apply(s_.function(d, k), v); };
    const auto peephole = [&](int64_t which, int64_t j) {
      return has(R::kPeephole) ? operands_[R::kPeephole][static_cast<size_t>((d * 3 + which) * hidden + j)] : 0.0;
    };
    std::vector<double> next = h, cell = c, reset(h.size());
    if (s_.cell == Cell::gru)
      for (int64_t j = 0; j < hidden; ++j)
        reset[static_cast<size_t>(j)] = f(0, clipped(in(1, j) + product(d, 1, j, h)));
    std::vector<double> kept = h;
    for (size_t j = 0; j < h.size(); ++j) kept[j] *= reset[j];
    for (int64_t j = 0; j < hidden; ++j) {
      const auto e = static_cast<size_t>(j);
      if (s_.cell == Cell::rnn) {
        next[e] = f(0, clipped(in(0, j) + product(d, 0, j, h)));
      } else if (s_.cell == Cell::gru) {
        const double z = f(0, clipped(in(0, j) + product(d, 0, j, h)));
        const double b = has(R::kBias) ? operands_[R::kBias][static_cast<size_t>(d * hidden + j)] : 0;
        const double inner = s_.reset_after ? reset[e] * (product(d, 2, j, h) + b) : product(d, 2, j, kept);
        next[e] = (1 - z) * f(1, clipped(in(2, j) + inner)) + z * h[e];
      } else {
        const double i = f(0, clipped(in(0, j) + product(d, 0, j, h) + peephole(0, j) * c[e]));
        const double forget = s_.couple ? 1 - i : f(0, clipped(in(2, j) + product(d, 2, j, h) + peephole(2, j) * c[e]));
        cell[e] = forget * c[e] + i * f(1, clipped(in(3, j) + product(d, 3, j, h)));
        const double o = f(0, clipped(in(1, j) + product(d, 1, j, h) + peephole(1, j) * cell[e]));
        next[e] = o * f(2, cell[e]);
      }
    }
    h = next, c = cell;
  }

  const RecurrentShape& s_;
  EvalContext& c_;
  std::vector<std::vector<double>> operands_;
  int64_t steps_ = 0, batch_ = 0, panels_ = 0, nr_ = 0;  // panels 0: the weights are as in ONNX
  std::vector<double> out_;
};

Status infer_scan(InferContext& c) {
  const RecurrentShape s(c.attrs);
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  if (c.rank(0) != 3 || (c.rank(1) != 3 && c.rank(1) != 4) ||
      s.functions.size() != static_cast<size_t>(s.directions) * s.functions_a_direction())
    return c.fail("wants products of rank 3, weights of rank 3 or packed ones of rank 4, and all functions");
  const Dims& x = c.dims(0);
  if (ops::clash(x[2], s.directions * s.gates() * s.hidden) || !c.dims(1)[2].is(s.hidden) ||
      !c.dims(1)[0].is(s.directions * s.gates()))
    return c.fail("operands do not fit " + std::to_string(s.hidden) + " hidden units");
  c.set(0, c.dtype(0), {x[0] + s.final_rows, s.directions, x[1], s.hidden});
  return {};
}
void eval_scan(EvalContext& c) {
  const RecurrentShape s(c.attrs);
  HostScan(s, c).run();
}

// ---- the operators of ONNX -----------------------------------------------------------------------------------------

// Operands of LSTM, GRU and RNN in ONNX's order.
enum : size_t { kX, kW, kR, kB, kSequenceLengths, kInitialH, kInitialC, kP };

Cell cell_of(std::string_view op_name) {
  return op_name == "LSTM" ? Cell::lstm : op_name == "GRU" ? Cell::gru : Cell::rnn;
}
int64_t gates_of(Cell cell) {
  return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1;
}

Result<std::vector<CellFunction>> functions_of(const InferContext& c, Cell cell, int64_t directions) {
  static const std::vector<std::string> kDefaults[] = {{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
  std::vector<std::string> names = c.attrs.strings("activations");
  const std::vector<std::string>& usual = kDefaults[static_cast<size_t>(cell)];
  if (names.empty())
    for (int64_t d = 0; d < directions; ++d) names.insert(names.end(), usual.begin(), usual.end());
  if (names.size() != usual.size() * static_cast<size_t>(directions))
    return c.fail("has " + std::to_string(names.size()) + " activations, expected " + std::to_string(usual.size()) +
                  " for each direction");
  const std::vector<double> alpha = c.attrs.numbers("activation_alpha"), beta = c.attrs.numbers("activation_beta");
  std::vector<CellFunction> out;
  for (size_t i = 0; i < names.size(); ++i) {
    const CellFunction* f = find_cell_function(names[i]);  // in any case, as onnxruntime takes them
    if (!f)
      return c.fail("activation \"" + names[i] + "\" is unknown",
                    "ONNX has Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, "
                    "Softsign and Softplus");
    out.push_back({f->name, i < alpha.size() ? alpha[i] : f->alpha, i < beta.size() ? beta[i] : f->beta});
  }
  return out;
}

Status check_shape(InferContext& c, size_t k, std::string_view operand_name, const Dims& wanted) {
  if (!c.has(k)) return {};
  bool fits = c.rank(k) == static_cast<int64_t>(wanted.size());
  for (size_t d = 0; fits && d < wanted.size(); ++d) fits = !ops::clash(c.dims(k)[d], wanted[d]);
  if (fits) return {};
  return c.fail(std::string(operand_name) + " is " + text(c.dims(k)) + ", expected " + text(wanted));
}

Status infer_recurrent(InferContext& c) {
  const Cell cell = cell_of(c.op.name);
  const int64_t gates = gates_of(cell);
  FCC_CHECKED(ops::require_type(c, kX, ops::kFloats, "the input"));
  for (size_t k : {kW, kR, kB, kInitialH, kInitialC, kP})
    if (c.has(k)) FCC_CHECKED(ops::require_same_type(c, k, "operand " + std::to_string(k)));
  if (c.rank(kX) != 3 || c.rank(kW) != 3 || c.rank(kR) != 3)
    return c.fail("input, W and R must have rank 3", "the input is [steps,batch,features]");
  const std::string direction = c.attrs.string("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    return c.fail("direction is \"" + direction + "\"", "forward, reverse or bidirectional");
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  const SymExpr& hidden = c.dims(kR)[2];
  if (!hidden.is_constant() || hidden.constant() < 1)
    return c.fail("the number of hidden units must be known, R is " + text(c.dims(kR)));
  if (c.attrs.has("hidden_size") && c.attrs.integer("hidden_size") != hidden.constant())
    return c.fail("hidden_size is " + std::to_string(c.attrs.integer("hidden_size")) + ", R has " + hidden.text() +
                  " columns");
  const bool rows_first = c.attrs.flag("layout");  // [batch,steps,features]
  const SymExpr steps = c.dims(kX)[rows_first ? 1 : 0], batch = c.dims(kX)[rows_first ? 0 : 1];
  FCC_CHECKED(check_shape(c, kW, "W", {directions, gates * hidden, c.dims(kX)[2]}));
  FCC_CHECKED(check_shape(c, kR, "R", {directions, gates * hidden, hidden}));
  FCC_CHECKED(check_shape(c, kB, "B", {directions, 2 * gates * hidden}));
  FCC_CHECKED(check_shape(c, kSequenceLengths, "sequence_lens", {batch}));
  const Dims state = rows_first ? Dims{batch, directions, hidden} : Dims{directions, batch, hidden};
  FCC_CHECKED(check_shape(c, kInitialH, "initial_h", state));
  FCC_CHECKED(check_shape(c, kInitialC, "initial_c", state));
  FCC_CHECKED(check_shape(c, kP, "P", {directions, 3 * hidden}));
  FCC_CHECKED(ops::status_of(functions_of(c, cell, directions)));
  if (c.n_out() > (cell == Cell::lstm ? 3u : 2u)) return c.fail("has too many results");
  c.set(0, c.dtype(kX), rows_first ? Dims{batch, steps, directions, hidden} : Dims{steps, directions, batch, hidden});
  for (size_t k = 1; k < c.n_out(); ++k) c.set(k, c.dtype(kX), state);
  return {};
}

// Sums of the two halves of B as the products of the inputs take them, and what a GRU with reset_after adds inside.
struct Biases {
  ValueId input = kNoValue, inside = kNoValue;
};
Biases split_biases(GraphBuilder& b, ValueId all, Cell cell, bool reset_after, int64_t directions, int64_t hidden) {
  const int64_t gates = gates_of(cell);
  Biases out;
  const std::vector<ValueId> halves =
      b.many("Split", {all, b.ints({gates * hidden, gates * hidden})}, {{"axis", int64_t{1}}}, 2);
  ValueId recurrent = halves[1];
  if (cell == Cell::gru && reset_after) {
    const std::vector<ValueId> parts =
        b.many("Split", {recurrent, b.ints({2 * hidden, hidden})}, {{"axis", int64_t{1}}}, 2);
    out.inside = parts[1];
    recurrent = b("Concat", {parts[0], b.constant(Tensor(b.type(all).dtype, {directions, hidden}), "zeros")},
                  {{"axis", int64_t{1}}});
  }
  const ValueId sum = b("Add", {halves[0], recurrent});
  out.input = b("Reshape", {sum, b.ints({directions * gates * hidden})});
  return out;
}

// What the operator's attributes mean to RecurrentScan.
Result<Attrs> scan_attrs(const OpDef& op, const Attrs& attrs, const Loc& loc, int64_t hidden, int64_t final_rows) {
  const std::string direction = attrs.string("direction", "forward");
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  const InferContext names(op, attrs, loc, 0, 0);
  FCC_TRY(std::vector<CellFunction> functions, functions_of(names, cell_of(op.name), directions));
  std::vector<std::string> function_names;
  std::vector<double> alpha, beta;
  for (const CellFunction& f : functions)
    function_names.push_back(f.name), alpha.push_back(f.alpha), beta.push_back(f.beta);
  return Attrs{{"cell", std::string(op.name)},
               {"hidden", hidden},
               {"directions", directions},
               {"reverse_first", int64_t{direction == "reverse"}},
               {"reset_after", attrs.integer("linear_before_reset")},
               {"couple", attrs.integer("input_forget")},
               {"clip", attrs.number("clip", 0)},
               {"final_rows", final_rows},
               {"functions", function_names},
               {"alpha", alpha},
               {"beta", beta}};
}

// Axes 0 and 1 exchanged: between [batch,steps,...] and [steps,batch,...].
Tensor exchanged(const Tensor& t) {
  std::vector<int64_t> shape = t.shape();
  std::swap(shape[0], shape[1]);
  Tensor out(DType::f64, shape);
  const int64_t inner = product(std::span(shape).subspan(2));
  for (int64_t i = 0; i < shape[0]; ++i)
    for (int64_t j = 0; j < shape[1]; ++j)
      for (int64_t k = 0; k < inner; ++k)
        out.set_double((i * shape[1] + j) * inner + k, t.get_double((j * shape[0] + i) * inner + k));
  return out;
}
Tensor as_doubles(const Tensor& t) {
  Tensor out(DType::f64, t.shape());
  for (int64_t i = 0; i < t.elements(); ++i) out.set_double(i, t.get_double(i));
  return out;
}

// W x + Wb, and Rb where it is no part of the reset: [S,N,D gates H].
Tensor projected(const Tensor& x, const Tensor& w, const Tensor* b, Cell cell, bool reset_after) {
  const int64_t steps = x.shape()[0], batch = x.shape()[1], features = x.shape()[2], directions = w.shape()[0],
                rows = w.shape()[1], hidden = rows / gates_of(cell);
  Tensor out(DType::f64, {steps, batch, directions * rows});
  for (int64_t i = 0; i < steps * batch; ++i)
    for (int64_t r = 0; r < directions * rows; ++r) {
      double sum = 0;
      for (int64_t k = 0; k < features; ++k) sum += x.get_double(i * features + k) * w.get_double(r * features + k);
      const int64_t d = r / rows, row = r % rows;
      if (b) sum += b->get_double(d * 2 * rows + row);
      if (b && !(cell == Cell::gru && reset_after && row >= 2 * hidden))
        sum += b->get_double(d * 2 * rows + rows + row);
      out.set_double(i * directions * rows + r, sum);
    }
  return out;
}

void eval_recurrent(EvalContext& c) {
  const Cell cell = cell_of(c.op.name);
  const bool rows_first = c.attrs.flag("layout"), reset_after = c.attrs.flag("linear_before_reset");
  const Tensor& r = *c.in[kR];
  const int64_t hidden = r.shape()[2], directions = r.shape()[0], gates = gates_of(cell);
  const auto turned = [&](const Tensor& t) { return rows_first ? exchanged(t) : as_doubles(t); };
  Result<Attrs> attrs = scan_attrs(c.op, c.attrs, {}, hidden, 2);
  FCC_CHECK(attrs.has_value(), "{}", attrs.error().text());
  const Tensor x = projected(turned(*c.in[kX]), *c.in[kW], c.has(kB) ? c.in[kB] : nullptr, cell, reset_after),
               matrices = r.reshaped({directions * gates, hidden, hidden});
  const Tensor h0 = c.has(kInitialH) ? turned(*c.in[kInitialH]) : Tensor(),
               c0 = c.has(kInitialC) ? turned(*c.in[kInitialC]) : Tensor();
  Tensor inside(DType::f64, {directions, hidden});
  for (int64_t i = 0; c.has(kB) && i < inside.elements(); ++i)
    inside.set_double(i, c.in[kB]->get_double((i / hidden * 2 + 2) * gates * hidden - hidden + i % hidden));
  const int64_t steps = x.shape()[0], batch = x.shape()[1], state = directions * batch * hidden;
  EvalContext scan{
      op("RecurrentScan"),
      *attrs,
      nullptr,
      {&x, &matrices, c.has(kInitialH) ? &h0 : nullptr, c.has(kInitialC) ? &c0 : nullptr,
       c.has(kSequenceLengths) ? c.in[kSequenceLengths] : nullptr, c.has(kP) ? c.in[kP] : nullptr, &inside},
      {Tensor(DType::f64, {steps + 2, directions, batch, hidden})}};
  eval_scan(scan);
  const auto rows = [&](int64_t first, int64_t n, std::vector<int64_t> shape) {
    Tensor t(DType::f64, std::move(shape));
    for (int64_t i = 0; i < n * state; ++i) t.set_double(i, scan.out[0].get_double(first * state + i));
    return t;
  };
  // [S,D,N,H], or [N,S,D,H] for rows first.
  const std::vector<double> y = rows(0, steps, {steps, directions, batch, hidden}).to_doubles();
  std::vector<double> first(y.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const auto at = static_cast<int64_t>(i), j = at % hidden, n = at / hidden % batch,
               d = at / (hidden * batch) % directions, s = at / state;
    first[static_cast<size_t>(rows_first ? ((n * steps + s) * directions + d) * hidden + j : at)] = y[i];
  }
  ops::store(c.out[0], first);
  for (size_t k = 1; k < c.out.size(); ++k)
    ops::store(c.out[k],
               turned(rows(steps + static_cast<int64_t>(k) - 1, 1, {directions, batch, hidden})).to_doubles());
}

// Zeros however exporters spell the state before the first step: it then costs nothing.
bool is_zero(const Graph& g, ValueId v) {
  for (int depth = 0; depth < 8 && v != kNoValue; ++depth) {
    if (g.is_constant(v)) {
      const Tensor& t = g.value(v).data;
      for (int64_t i = 0; i < t.elements(); ++i)
        if (t.get_double(i) != 0) return false;
      return true;
    }
    const Node* n = g.def(v);
    if (!n) return false;
    const std::string_view s = n->op->name;
    if (s == "ConstantOfShape") return !n->attrs.tensor("value") || n->attrs.tensor("value")->get_double(0) == 0;
    if (s != "Expand" && s != "Slice" && s != "Reshape" && s != "Squeeze" && s != "Unsqueeze" && s != "Transpose" &&
        s != "Split" && s != "Cast")
      return false;
    v = n->in[0];
  }
  return false;
}

Result<std::vector<ValueId>> expand_recurrent(GraphBuilder& b, const Node& n) {
  const Cell cell = cell_of(n.op->name);
  const Dims r = b.type(n.in[kR]).dims, x_dims = b.type(n.in[kX]).dims, w = b.type(n.in[kW]).dims;
  const int64_t gates = gates_of(cell), hidden = r[2].constant();
  const std::string direction = n.attrs.string("direction", "forward");
  const int64_t directions = direction == "bidirectional" ? 2 : 1;
  const bool rows_first = n.attrs.flag("layout"), reset_after = n.attrs.flag("linear_before_reset");
  const auto operand = [&](size_t k) {
    return k < n.in.size() && !((k == kInitialH || k == kInitialC) && is_zero(b.graph, n.in[k])) ? n.in[k] : kNoValue;
  };
  const auto turned = [&](ValueId v, std::vector<int64_t> perm) {
    return rows_first && v != kNoValue ? b("Transpose", {v}, {{"perm", std::move(perm)}}) : v;
  };

  // W x for every step, both directions side by side.
  const int64_t columns = directions * gates * hidden;
  const ValueId steps_first = turned(n.in[kX], {1, 0, 2});
  const ValueId matrix =
      b("Transpose", {b("Reshape", {n.in[kW], b.dims({columns, w[2]})})}, {{"perm", std::vector<int64_t>{1, 0}}});
  ValueId x = b("MatMul", {steps_first, matrix});
  Biases biases;
  if (operand(kB) != kNoValue) {
    biases = split_biases(b, n.in[kB], cell, reset_after, directions, hidden);
    x = b("Add", {x, biases.input});
  }
  const ValueId matrices = b("Reshape", {n.in[kR], b.ints({directions * gates, hidden, hidden})});

  // The last states are rows of their own when padding or a cell state asks for it; else a row of the result.
  const auto used = [&](size_t k) { return k < n.out.size() && b.graph.use_count(n.out[k]) > 0; };
  const int64_t final_rows = used(2)                                                                            ? 2
                             : used(1) && (operand(kSequenceLengths) != kNoValue || directions == 2 || used(0)) ? 1
                                                                                                                : 0;
  const bool read_last = used(1) && final_rows == 0;
  FCC_TRY(Attrs attrs, scan_attrs(*n.op, n.attrs, n.loc, hidden, final_rows + read_last));
  const ValueId all = b("RecurrentScan",
                        {x, matrices, turned(operand(kInitialH), {1, 0, 2}), turned(operand(kInitialC), {1, 0, 2}),
                         operand(kSequenceLengths), operand(kP), biases.inside},
                        std::move(attrs));
  FCC_CHECKED(b.status());
  std::vector<ValueId> out(n.out.size(), kNoValue);
  const int64_t extra = final_rows + read_last;
  const SymExpr steps = x_dims[rows_first ? 1 : 0];
  const auto row = [&](const SymExpr& from, const SymExpr& to) {
    return b("Slice", {all, b.dims({from}), b.dims({to}), b.ints({0})});
  };
  if (used(0)) {
    out[0] = extra ? row(0, steps) : all;
    if (rows_first) out[0] = b("Transpose", {out[0]}, {{"perm", std::vector<int64_t>{2, 0, 1, 3}}});
  }
  for (size_t k = 1; k < n.out.size(); ++k)
    if (used(k))
      out[k] =
          turned(b("Squeeze", {row(steps + static_cast<int64_t>(k) - 1, steps + static_cast<int64_t>(k)), b.ints({0})}),
                 {1, 0, 2});
  FCC_CHECKED(b.status());
  return out;
}

void add(Registry& r, std::string_view name, std::string_view doc, int32_t max_in, int32_t max_out,
         std::vector<AttrSpec> own) {
  std::vector<AttrSpec> attrs = {{"activations", AttrType::strings},     {"activation_alpha", AttrType::numbers},
                                 {"activation_beta", AttrType::numbers}, {"clip", AttrType::number},
                                 {"direction", AttrType::string},        {"hidden_size", AttrType::integer},
                                 {"layout", AttrType::integer}};
  attrs.insert(attrs.end(), own.begin(), own.end());
  r.add({.name = name,
         .doc = doc,
         .attrs = std::move(attrs),
         .in = {3, max_in},
         .out = {1, max_out},
         .strategy = Strategy::composite,
         .infer = infer_recurrent,
         .eval = eval_recurrent,
         .expand = expand_recurrent});
}

}  // namespace

void register_recurrent(Registry& r) {
  add(r, "RNN", "one-gate recurrent layer over a sequence", 6, 2, {});
  add(r, "GRU", "gated recurrent unit over a sequence", 6, 2, {{"linear_before_reset", AttrType::integer}});
  add(r, "LSTM", "long short-term memory over a sequence", 8, 3, {{"input_forget", AttrType::integer}});
  r.add({.name = "RecurrentScan",
         .doc = "the steps of LSTM, GRU and RNN over projected inputs",
         .attrs = recurrent_attrs(),
         .in = {2, 7},
         .out = {1, 1},
         .infer = infer_scan,
         .eval = eval_scan,
         .grad = grad_recurrent_scan});
}

}  // namespace fcc
