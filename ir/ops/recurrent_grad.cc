// Back-propagation through time. What can be done for all steps at once is in terms of other operators: the products of
// the states before each step with R, of dq with R's operand, sums over steps. RecurrentGrad goes through the steps:
//   RecurrentGrad(x, R, _, c0, lengths, P, b, q, dy, h) -> dx, dh0 [, dc0, cells | , dq]
//   q        [D,S,N,gates H]: R times the state before each step; of a GRU without reset_after, Rn (r h)
//   dy       [S + final_rows,D,N,H]: gradients of the scan's result       h  [D,S,N,H]: states before each step, for a
//   GRU dx       [S,N,D gates H], 0 past the end of a sequence                dq [S,N,D gates H], where it is not dx
//   (reset_after) dh0, dc0 [D,N,H]                                                      cells  [S,D,N,H]: c after each
//   step, 0 past the end
// R is that of the scan, or packed by pack_recurrent: [D,panels,gates H,nr], of the matrix [gates H,H] of a direction.
// An LSTM first goes forward once more through its cell states, elementwise; then all go back:
//   LSTM  do = dh h(c') o'   dc += dh o h'(c') + do Po   di = dc g i'   df = dc c f'   dg = dc i g'   dc = dc f + di Pi
//   + df Pf GRU   dn = dh (1 - z) n'   dz = dh (h - n) z'   dr = (Rn' dn) h r' or, reset_after, dn (q + b) r'   dq = dn
//   r dh of the step before = R' dq, and of a GRU + dh z
// RecurrentBefore(states [S + final_rows,D,N,H], first [D,N,H], lengths) is the state before each step: [D,S,N,H].
#include <algorithm>

#include "ir/ops/grads.h"
#include "ir/ops/numeric.h"
#include "ir/ops/recurrent.h"

namespace fcc {
namespace {

using loop::Expr;
using Index = std::span<const Expr>;
using Gradients = Result<std::vector<ValueId>>;
using Dy = std::span<const ValueId>;
using Shape = RecurrentGradShape;

// ---- RecurrentBefore ------------------------------------------------------------------------------------------

Status infer_before(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the states"));
  if (c.rank(0) != 4) return c.fail("the states must be [steps,directions,batch,hidden]");
  const Dims& d = c.dims(0);
  c.set(0, c.dtype(0), {d[1], d[0] - c.attrs.integer("final_rows"), d[2], d[3]});
  return {};
}

void eval_before(EvalContext& c) {
  const std::vector<int64_t>& shape = c.out[0].shape();
  const int64_t directions = shape[0], steps = shape[1], batch = shape[2], hidden = shape[3];
  for_each_index(shape, [&](std::span<const int64_t> at) {
    const int64_t d = at[0], s = at[1], n = at[2], j = at[3];
    const bool backwards = d == 1 || c.attrs.flag("reverse_first");
    const int64_t length = c.has(2) ? std::clamp<int64_t>(c.in[2]->get_int(n), 0, steps) : steps;
    const int64_t from = backwards ? s + 1 : s - 1;
    double value = 0;
    if (backwards ? from < length : from >= 0)
      value = c.in[0]->get_double(((from * directions + d) * batch + n) * hidden + j);
    else if (c.has(1))
      value = c.in[1]->get_double((d * batch + n) * hidden + j);
    c.out[0].set_double(flat_index(shape, at), value);
  });
}

Expr define_before(DefineContext& c, size_t, Index index) {
  const Expr &d = index[0], &s = index[1], &n = index[2], &j = index[3];
  const bool one = c.dims(0)[1].is(1);
  Expr length = loop::from_sym(c.out_types[0]->dims[1]);
  if (c.has(2)) length = loop::min(loop::cast(DType::i64, c.in(2, {&n, 1})), length);
  const auto side = [&](Expr if_forward, Expr if_backward) {
    if (one) return c.attrs->flag("reverse_first") ? if_backward : if_forward;
    return loop::select(loop::eq(d, loop::index(1)), if_backward, if_forward);
  };
  const Expr from = side(s - 1, s + 1);
  const Expr inside = loop::both(loop::ge(from, loop::index(0)), loop::lt(from, side(from + 1, length)));
  Expr first = loop::constant(loop::compute_type(c.dtype(0)), 0);
  if (c.has(1)) {
    const Expr at[] = {d, n, j};
    first = c.in(1, at);
  }
  const Expr at[] = {from, d, n, j};
  return c.in_guarded(0, at, inside, first);
}

// ---- RecurrentGrad --------------------------------------------------------------------------------------------

Status infer_recurrent_grad(InferContext& c) {
  const Shape s(c.attrs);
  FCC_CHECKED(ops::require_type(c, Shape::kInput, ops::kFloats, "the input"));
  if (c.n_out() != s.results()) return c.fail("has " + std::to_string(s.results()) + " results");
  if (!c.has(Shape::kProduct) || !c.has(Shape::kGradient)) return c.fail("wants the products and the gradients");
  if (s.cell == Cell::gru && !c.has(Shape::kBefore)) return c.fail("wants the states before each step");
  if (c.rank(0) != 3 || c.rank(Shape::kProduct) != 4 || c.rank(Shape::kGradient) != 4)
    return c.fail("wants an input of rank 3, products and gradients of rank 4");
  const DType t = c.dtype(0);
  const Dims x = c.dims(0);
  c.set(Shape::kInputGrad, t, x);
  for (size_t k = 1; k < c.n_out(); ++k) c.set(k, t, {s.directions, x[1], s.hidden});
  if (s.cell == Cell::lstm) c.set(Shape::kCells, t, {x[0], s.directions, x[1], s.hidden});
  if (s.gives_product()) c.set(Shape::kProductGrad, t, x);
  return {};
}

// One sequence of one direction in plain loops.
class HostGrad {
 public:
  HostGrad(const Shape& s, EvalContext& c) : s_(s), c_(c) {
    for (const Tensor* t : c.in) in_.push_back(t ? t->to_doubles() : std::vector<double>{});
    for (const Tensor& t : c.out) out_.emplace_back(static_cast<size_t>(t.elements()), 0.0);
    steps_ = c.in[0]->shape()[0], batch_ = c.in[0]->shape()[1];
    const std::vector<int64_t>& r = c.in[Shape::kWeight]->shape();
    if (r.size() == 4) nr_ = r[3];
  }

  void run() {
    for (d_ = 0; d_ < s_.directions; ++d_)
      for (n_ = 0; n_ < batch_; ++n_) sequence();
    for (size_t k = 0; k < out_.size(); ++k) ops::store(c_.out[k], out_[k]);
  }

 private:
  using Vector = std::vector<double>;

  double read(size_t k, int64_t at, double absent = 0) const {
    return k < in_.size() && c_.in[k] ? in_[k][static_cast<size_t>(at)] : absent;
  }
  double weight(int64_t gate, int64_t j, int64_t k) const {
    const int64_t row = gate * s_.hidden + j, rows = s_.gates() * s_.hidden,
                  panels = nr_ ? (s_.hidden + nr_ - 1) / nr_ : 0;
    return read(Shape::kWeight,
                nr_ ? ((d_ * panels + k / nr_) * rows + row) * nr_ + k % nr_ : (d_ * rows + row) * s_.hidden + k);
  }
  int64_t gate_at(int64_t at, int64_t gate, int64_t j) const {  // of x, dx, dq
    return ((at * batch_ + n_) * s_.directions + d_) * s_.gates() * s_.hidden + gate * s_.hidden + j;
  }
  int64_t row_at(int64_t row, int64_t j) const { return ((row * s_.directions + d_) * batch_ + n_) * s_.hidden + j; }
  int64_t state_at(int64_t j) const { return (d_ * batch_ + n_) * s_.hidden + j; }
  double product(int64_t at, int64_t gate, int64_t j) const {
    return read(Shape::kProduct, (((d_ * steps_ + at) * batch_ + n_) * s_.gates() + gate) * s_.hidden + j);
  }
  double peephole(int64_t which, int64_t j) const { return read(Shape::kPeephole, (d_ * 3 + which) * s_.hidden + j); }

  // A function of the cell at a sum: clipped first, unless it is the LSTM's last one.
  struct Point {
    double value, slope;
  };
  Point function(size_t k, double x) const {
    const bool clips = s_.clip > 0 && !(s_.cell == Cell::lstm && k == 2);
    const double at = clips ? std::clamp(x, -s_.clip, s_.clip) : x;
    const CellFunction& f = s_.function(d_, k);
    return {apply(f, at), at == x ? slope(f, at) : 0};
  }
  Point gate(size_t k, int64_t at, int64_t which, int64_t j, double more = 0) const {
    return function(k, read(Shape::kInput, gate_at(at, which, j)) + product(at, which, j) + more);
  }

  int64_t position(int64_t t) const { return d_ == 1 || s_.reverse_first ? length_ - 1 - t : t; }

  void sequence() {
    length_ = c_.in[Shape::kLengths] ? std::clamp<int64_t>(c_.in[Shape::kLengths]->get_int(n_), 0, steps_) : steps_;
    Vector dh(static_cast<size_t>(s_.hidden)), dc = dh;
    for (int64_t j = 0; j < s_.hidden; ++j) {
      if (s_.final_rows > 0) dh[static_cast<size_t>(j)] = read(Shape::kGradient, row_at(steps_, j));
      if (s_.final_rows > 1) dc[static_cast<size_t>(j)] = read(Shape::kGradient, row_at(steps_ + 1, j));
    }
    if (s_.cell == Cell::lstm) cells();
    for (int64_t t = length_; t-- > 0;) step(t, dh, dc);
    for (int64_t j = 0; j < s_.hidden; ++j) {
      out_[Shape::kHiddenGrad][static_cast<size_t>(state_at(j))] = dh[static_cast<size_t>(j)];
      if (s_.cell == Cell::lstm) out_[Shape::kCellGrad][static_cast<size_t>(state_at(j))] = dc[static_cast<size_t>(j)];
    }
  }

  double cell_before(int64_t t, int64_t j) const {
    return t > 0 ? out_[Shape::kCells][static_cast<size_t>(row_at(position(t - 1), j))]
                 : read(Shape::kCell, state_at(j));
  }
  struct LstmGates {
    Point i, f, g;
    double before, cell;
  };
  LstmGates lstm(int64_t t, int64_t j) const {
    const int64_t at = position(t);
    const double c = cell_before(t, j);
    LstmGates x{gate(0, at, 0, j, peephole(0, j) * c), {}, gate(1, at, 3, j), c, 0};
    x.f = s_.couple ? Point{1 - x.i.value, 0} : gate(0, at, 2, j, peephole(2, j) * c);
    x.cell = x.f.value * c + x.i.value * x.g.value;
    return x;
  }
  void cells() {
    for (int64_t t = 0; t < length_; ++t)
      for (int64_t j = 0; j < s_.hidden; ++j)
        out_[Shape::kCells][static_cast<size_t>(row_at(position(t), j))] = lstm(t, j).cell;
  }

  void step(int64_t t, Vector& dh, Vector& dc) {
    const int64_t at = position(t), hidden = s_.hidden;
    for (int64_t j = 0; j < hidden; ++j) dh[static_cast<size_t>(j)] += read(Shape::kGradient, row_at(at, j));
    Vector dq(static_cast<size_t>(s_.gates() * hidden)), dx, carry(dh.size(), 0.0);
    const auto d = [&](int64_t which, int64_t j) -> double& { return dq[static_cast<size_t>(which * hidden + j)]; };
    for (int64_t j = 0; j < hidden; ++j) {
      const double total = dh[static_cast<size_t>(j)];
      if (s_.cell == Cell::rnn) d(0, j) = total * gate(0, at, 0, j).slope;
      if (s_.cell == Cell::lstm) {
        const LstmGates x = lstm(t, j);
        const Point o = gate(0, at, 1, j, peephole(1, j) * x.cell), h = function(2, x.cell);
        double& cell = dc[static_cast<size_t>(j)];
        d(1, j) = total * h.value * o.slope;
        cell += total * o.value * h.slope + d(1, j) * peephole(1, j);
        d(0, j) = cell * (x.g.value - (s_.couple ? x.before : 0)) * x.i.slope;
        d(2, j) = cell * x.before * x.f.slope;
        d(3, j) = cell * x.i.value * x.g.slope;
        cell = cell * x.f.value + d(0, j) * peephole(0, j) + d(2, j) * peephole(2, j);
      }
    }
    if (s_.cell == Cell::gru) {
      dx.resize(dq.size());
      gru(at, dh, dq, dx, carry);
    }
    const Vector& back = s_.gives_product() || s_.cell != Cell::gru ? dq : dx;
    // Without reset_after the candidate's part has gone back through the reset already.
    const int64_t gates = s_.cell == Cell::gru && !s_.reset_after ? 2 : s_.gates();
    for (int64_t k = 0; k < hidden; ++k)
      for (int64_t g = 0; g < gates; ++g)
        for (int64_t j = 0; j < hidden; ++j)
          carry[static_cast<size_t>(k)] += back[static_cast<size_t>(g * hidden + j)] * weight(g, j, k);
    dh = carry;
    for (int64_t g = 0; g < s_.gates(); ++g)
      for (int64_t j = 0; j < hidden; ++j) {
        const auto e = static_cast<size_t>(g * hidden + j);
        out_[Shape::kInputGrad][static_cast<size_t>(gate_at(at, g, j))] = s_.cell == Cell::gru ? dx[e] : dq[e];
        if (s_.gives_product()) out_[Shape::kProductGrad][static_cast<size_t>(gate_at(at, g, j))] = dq[e];
      }
  }

  void gru(int64_t at, const Vector& dh, Vector& dq, Vector& dx, Vector& carry) const {
    const int64_t hidden = s_.hidden;
    const auto e = [&](int64_t which, int64_t j) { return static_cast<size_t>(which * hidden + j); };
    const auto before = [&](int64_t j) {
      return read(Shape::kBefore, ((d_ * steps_ + at) * batch_ + n_) * hidden + j);
    };
    for (int64_t j = 0; j < hidden; ++j) {
      const Point z = gate(0, at, 0, j), r = gate(0, at, 1, j);
      const double inner = product(at, 2, j) + read(Shape::kBias, d_ * hidden + j), total = dh[e(0, j)];
      const double input = read(Shape::kInput, gate_at(at, 2, j));
      const Point n = function(1, input + (s_.reset_after ? r.value * inner : product(at, 2, j)));
      dx[e(0, j)] = total * (before(j) - n.value) * z.slope;
      dx[e(2, j)] = total * (1 - z.value) * n.slope;
      if (s_.reset_after) dx[e(1, j)] = dx[e(2, j)] * inner * r.slope;
      dq[e(0, j)] = dx[e(0, j)], dq[e(1, j)] = dx[e(1, j)], dq[e(2, j)] = dx[e(2, j)] * r.value;
      carry[e(0, j)] = total * z.value;
    }
    for (int64_t k = 0; k < hidden && !s_.reset_after; ++k) {
      const Point r = gate(0, at, 1, k);
      double kept = 0;
      for (int64_t j = 0; j < hidden; ++j) kept += dx[e(2, j)] * weight(2, j, k);
      dx[e(1, k)] = kept * before(k) * r.slope;
      carry[e(0, k)] += kept * r.value;
    }
  }

  const Shape& s_;
  EvalContext& c_;
  std::vector<Vector> in_, out_;
  int64_t steps_ = 0, batch_ = 0, nr_ = 0;  // nr 0: the weights are as in ONNX
  int64_t d_ = 0, n_ = 0, length_ = 0;      // the sequence at hand
};

void eval_recurrent_grad(EvalContext& c) {
  const Shape s(c.attrs);
  HostGrad(s, c).run();
}

// ---- the rule ---------------------------------------------------------------------------------------------------

Term apply(const CellFunction& f, Term x) {
  const std::string& s = f.name;
  const Attrs alpha{{"alpha", f.alpha}};
  if (s == "Affine") return x * f.alpha + f.beta;
  if (s == "ScaledTanh") return fn("Tanh", x * f.beta) * f.alpha;
  if (s == "HardSigmoid") return x.b->node(s, {x}, {{"alpha", f.alpha}, {"beta", f.beta}});
  if (s == "LeakyRelu" || s == "ThresholdedRelu" || s == "Elu") return x.b->node(s, {x}, alpha);
  return fn(s, x);
}

class ScanRule {
 public:
  ScanRule(GradBuilder& b, const Node& n) : b_(b), s_(n.attrs), attrs_(n.attrs) {
    const Dims x = b.dims(Shape::kInput);
    steps_ = x[0], batch_ = x[1], rows_ = s_.gates() * s_.hidden;
  }

  Gradients run() {
    if (b_.dims(Shape::kWeight).size() != 3) return b_.fail("has no gradient once its weights are packed");
    before_ = states_before(b_.out(), operand(Shape::kHidden), s_.final_rows);
    weight_ = b_.reshape(b_.in(Shape::kWeight), {s_.directions, rows_, s_.hidden});
    const Term q = s_.cell == Cell::gru && !s_.reset_after ? product_through_reset() : times(before_, weight_);
    std::vector<ValueId> in(Shape::kBefore + 1, kNoValue);
    for (size_t k : {Shape::kInput, Shape::kWeight, Shape::kCell, Shape::kLengths, Shape::kPeephole, Shape::kBias})
      in[k] = operand(k).v;
    in[Shape::kProduct] = q.v, in[Shape::kGradient] = b_.dy().v;
    if (s_.cell == Cell::gru) in[Shape::kBefore] = before_.v;
    const std::vector<ValueId> out = b_.many("RecurrentGrad", in, attrs_, static_cast<int32_t>(s_.results()));
    FCC_CHECKED(b_.status());
    for (ValueId v : out) out_.push_back(b_.term(v));
    give();
    return b_.done();
  }

 private:
  Term operand(size_t k) { return b_.has(k) ? b_.in(k) : Term{&b_, kNoValue}; }
  Term slice(Term t, int64_t axis, int64_t from, int64_t to) {
    return b_.node("Slice", {t, b_.term(b_.ints({from})), b_.term(b_.ints({to})), b_.term(b_.ints({axis}))});
  }
  Term states_before(Term states, Term first, int64_t final_rows) {
    return b_.node("RecurrentBefore", {states, first, operand(Shape::kLengths)},
                   {{"reverse_first", int64_t{s_.reverse_first}}, {"final_rows", final_rows}});
  }
  // Of two [D,..,..], in two dimensions when there is one direction.
  Term matmul(Term x, Term y) {
    if (s_.directions != 1) return b_.node("MatMul", {x, y});
    const auto flat = [&](Term t) {
      const Dims d = t.type().dims;
      return b_.reshape(t, {d[1], d[2]});
    };
    const Dims to{1, x.type().dims[1], y.type().dims[2]};
    return b_.reshape(b_.node("MatMul", {flat(x), flat(y)}), to);
  }
  // [D,S,N,H] by the transpose of [D,rows,H].
  Term times(Term states, Term w) {
    const SymExpr rows = w.type().dims[1];
    const Term y = matmul(all_steps(states), transposed(w));
    return b_.reshape(y, {s_.directions, steps_, batch_, rows});
  }
  Term all_steps(Term states) { return b_.reshape(states, {s_.directions, steps_ * batch_, s_.hidden}); }
  Term transposed(Term w) {
    if (s_.directions != 1) return b_.transpose(w, {0, 2, 1});
    const Dims d = w.type().dims;
    return b_.reshape(b_.transpose(b_.reshape(w, {d[1], d[2]}), {1, 0}), {1, d[2], d[1]});
  }
  // Gate `which` of [S,N,D gates H] as [D,S,N,H].
  Term gate(Term x, int64_t which) {
    const Term apart = b_.reshape(x, {steps_, batch_, s_.directions, rows_});
    return b_.transpose(slice(apart, 3, which * s_.hidden, (which + 1) * s_.hidden), {2, 0, 1, 3});
  }
  Term function(size_t k, Term x) {
    if (s_.clip > 0) {
      const DType t = x.type().dtype;
      x = b_.node("Clip", {x, b_.number(t, -s_.clip), b_.number(t, s_.clip)});
    }
    if (s_.directions_alike()) return apply(s_.function(0, k), x);
    std::vector<Term> parts;
    for (int64_t d = 0; d < s_.directions; ++d) parts.push_back(apply(s_.function(d, k), slice(x, 0, d, d + 1)));
    return b_.node("Concat", parts, {{"axis", int64_t{0}}});
  }

  Term product_through_reset() {
    const int64_t h = s_.hidden;
    const Term gates = times(before_, slice(weight_, 1, 0, 2 * h));
    kept_ = function(0, gate(b_.in(Shape::kInput), 1) + slice(gates, 3, h, 2 * h)) * before_;
    return b_.node("Concat", {gates, times(kept_, slice(weight_, 1, 2 * h, 3 * h))}, {{"axis", int64_t{3}}});
  }

  void give() {
    b_.give(Shape::kInput, [&] { return out_[Shape::kInputGrad]; });
    b_.give(Shape::kHidden, [&] { return out_[Shape::kHiddenGrad]; });
    if (s_.cell == Cell::lstm) b_.give(Shape::kCell, [&] { return out_[Shape::kCellGrad]; });
    b_.give(Shape::kWeight, [&] { return weight_gradient(); });
    if (s_.cell == Cell::lstm) b_.give(Shape::kPeephole, [&] { return peephole_gradient(); });
    if (s_.gives_product()) b_.give(Shape::kBias, [&] { return bias_gradient(); });
  }

  // dq as [S N,D,gates H].
  Term product_gradient() {
    return b_.reshape(out_[s_.gives_product() ? Shape::kProductGrad : Shape::kInputGrad],
                      {steps_ * batch_, s_.directions, rows_});
  }
  Term weight_gradient() {
    Term columns = product_gradient();
    columns = s_.directions == 1 ? transposed(b_.reshape(columns, {1, steps_ * batch_, rows_}))
                                 : b_.transpose(columns, {1, 2, 0});
    Term dw;
    if (kept_) {
      const int64_t h = s_.hidden;
      dw = b_.node("Concat",
                   {matmul(slice(columns, 1, 0, 2 * h), all_steps(before_)),
                    matmul(slice(columns, 1, 2 * h, 3 * h), all_steps(kept_))},
                   {{"axis", int64_t{1}}});
    } else {
      dw = matmul(columns, all_steps(before_));
    }
    return b_.reshape(dw, b_.dims(Shape::kWeight));
  }
  Term bias_gradient() { return b_.sum(slice(product_gradient(), 2, 2 * s_.hidden, rows_), {0}, false); }
  Term peephole_gradient() {
    const Term cells = out_[Shape::kCells], before = states_before(cells, operand(Shape::kCell), 0);
    const auto sum = [&](int64_t which, Term c) {
      return b_.sum(gate(out_[Shape::kInputGrad], which) * c, {1, 2}, false);
    };
    return b_.node("Concat", {sum(0, before), sum(1, b_.transpose(cells, {1, 0, 2, 3})), sum(2, before)},
                   {{"axis", int64_t{1}}});
  }

  GradBuilder& b_;
  Shape s_;
  Attrs attrs_;
  SymExpr steps_, batch_;
  int64_t rows_ = 0;             // of one direction's weights
  Term before_, weight_, kept_;  // kept: r h, of a GRU without reset_after
  std::vector<Term> out_;
};

}  // namespace

Gradients grad_recurrent_scan(GradBuilder& b, const Node& n, Dy) {
  return ScanRule(b, n).run();
}

void register_recurrent_grad(Registry& r) {
  const std::string_view part = "part of the gradient of LSTM, GRU and RNN";
  r.add({.name = "RecurrentBefore",
         .doc = "the state before each step of a recurrent layer",
         .attrs = {{"reverse_first", AttrType::integer}, {"final_rows", AttrType::integer}},
         .in = {1, 3},
         .out = {1, 1},
         .infer = infer_before,
         .eval = eval_before,
         .define = define_before,
         .no_grad = part});
  r.add({.name = "RecurrentGrad",
         .doc = "the steps of LSTM, GRU and RNN from the last to the first: gradients of what RecurrentScan reads",
         .attrs = recurrent_attrs(),
         .in = {2, 10},
         .out = {2, 4},
         .infer = infer_recurrent_grad,
         .eval = eval_recurrent_grad,
         .no_grad = part});
}

}  // namespace fcc
