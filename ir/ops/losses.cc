// Losses of ONNX over classes, and the checks of a training step.
//
// Both losses are spelled out in PickClass, which takes from the scores of all classes the one that the label names. It
// alone looks at labels: one outside of [0, classes) that is not ignore_index stops the run, before anything is
// updated.
#include <cmath>

#include "ir/grad.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using In = std::span<const Expr>;

std::optional<int64_t> ignored_of(const Attrs& attrs) {
  if (!attrs.has("ignore_index")) return std::nullopt;
  return attrs.integer("ignore_index");
}

// Scores [N,C,...] and labels [N,...] of integers.
Status require_labels(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the scores"));
  FCC_CHECKED(ops::require_type(c, 1, ops::kInts, "the labels"));
  if (c.rank(0) < 2) return c.fail("the scores have rank " + std::to_string(c.rank(0)) + ", expected [N,C,...]");
  Dims wanted = c.dims(0);
  wanted.erase(wanted.begin() + 1);
  bool fits = wanted.size() == c.dims(1).size();
  for (size_t d = 0; fits && d < wanted.size(); ++d) {
    fits = !ops::clash(wanted[d], c.dims(1)[d]);
    if (wanted[d] != c.dims(1)[d]) c.assumed_equal.emplace_back(wanted[d], c.dims(1)[d]);
  }
  if (!fits)
    return c.fail("the labels have shape " + text(c.dims(1)) + ", expected " + text(wanted),
                  "one class index where the scores have a vector of classes");
  return {};
}

// ---- PickClass -----------------------------------------------------------------------------------------------------

Status infer_pick(InferContext& c) {
  FCC_CHECKED(require_labels(c));
  c.set(0, c.dtype(0), c.dims(1));
  return {};
}

void eval_pick(EvalContext& c) {
  const Tensor &x = *c.in[0], &labels = *c.in[1];
  const std::optional<int64_t> ignored = ignored_of(c.attrs);
  const ops::Lines lines(x.shape(), 1);
  for (int64_t o = 0; o < lines.outer; ++o)
    for (int64_t i = 0; i < lines.inner; ++i) {
      const int64_t at = o * lines.inner + i, label = labels.get_int(at);
      if (ignored && label == *ignored) continue;
      FCC_CHECK(label >= 0 && label < lines.n, "label {} of {} classes", label, lines.n);
      c.out[0].set_double(at, x.get_double((o * lines.n + label) * lines.inner + i));
    }
}

Expr define_pick(DefineContext& c, size_t, In index) {
  using namespace loop;
  const Expr label = cast(DType::i64, c.in(1, index)), classes = c.dim(0, 1);
  const Expr inside = both(ge(label, loop::index(0)), lt(label, classes));
  Expr fault = unary(UnaryOp::logical_not, inside), read = inside;
  if (const std::optional<int64_t> ignored = ignored_of(*c.attrs)) {
    const Expr kept = binary(BinaryOp::ne, label, loop::index(*ignored));
    fault = both(fault, kept);
    read = both(read, kept);
  }
  c.fault_if(fault, "a label is outside of the classes");
  std::vector<Expr> at(index.begin(), index.end());
  at.insert(at.begin() + 1, label);
  return c.in_guarded(0, at, read, constant(compute_type(c.dtype(0)), 0));
}

// The gradient goes to the element that was picked.
Result<std::vector<ValueId>> grad_pick(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  const Dims dims = b.dims(0);
  if (!dims[1].is_constant()) return b.fail("the number of classes must be known at compile time to have a gradient");
  b.give(0, [&] {
    const DType type = b.in_type(1).dtype;
    std::vector<int64_t> shape(dims.size() - 1, 1);
    shape[0] = dims[1].constant();
    Tensor classes(type, shape);
    for (int64_t k = 0; k < shape[0]; ++k) classes.set_int(k, k);
    Dims line = dims;
    line[1] = 1;
    Term dy = b.dy(), labels = b.in(1);
    if (const std::optional<int64_t> ignored = ignored_of(n.attrs))
      dy = where(equal(labels, static_cast<double>(*ignored)), 0, dy);
    return where(equal(b.reshape(labels, line), b.term(b.constant(std::move(classes), "classes"))), b.reshape(dy, line),
                 0);
  });
  return b.done();
}

// ---- NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss
// --------------------------------------------------------------

Status infer_nll(InferContext& c) {
  FCC_CHECKED(require_labels(c));
  if (c.has(2)) {
    FCC_CHECKED(ops::require_same_type(c, 2, "the weights"));
    if (c.rank(2) != 1 || ops::clash(c.dims(2)[0], c.dims(0)[1]))
      return c.fail("the weights have shape " + text(c.dims(2)), "one weight a class");
  }
  const std::string reduction = c.attrs.string("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    return c.fail("reduction is \"" + reduction + "\"", "reduction is none, sum or mean");
  c.set(0, c.dtype(0), reduction == "none" ? c.dims(1) : Dims{});
  if (c.n_out() > 1) c.set(1, c.type(0));
  return {};
}

// The losses of scores that are log-probabilities already.
std::vector<double> host_nll(const EvalContext& c, const std::vector<double>& log_probabilities) {
  const ops::Lines lines(c.in[0]->shape(), 1);
  const std::optional<int64_t> ignored = ignored_of(c.attrs);
  std::vector<double> losses;
  double weights = 0, sum = 0;
  for (int64_t o = 0; o < lines.outer; ++o)
    for (int64_t i = 0; i < lines.inner; ++i) {
      const int64_t label = c.in[1]->get_int(o * lines.inner + i);
      const bool kept = !ignored || label != *ignored;
      FCC_CHECK(!kept || (label >= 0 && label < lines.n), "label {} of {} classes", label, lines.n);
      const double w = !kept ? 0 : c.has(2) ? c.in[2]->get_double(label) : 1;
      losses.push_back(kept ? -w * log_probabilities[static_cast<size_t>((o * lines.n + label) * lines.inner + i)] : 0);
      weights += w;
      sum += losses.back();
    }
  const std::string reduction = c.attrs.string("reduction", "mean");
  if (reduction == "none") return losses;
  return {reduction == "sum" ? sum : sum / weights};
}

void eval_nll(EvalContext& c) {
  ops::store(c.out[0], host_nll(c, c.in[0]->to_doubles()));
}

void eval_cross_entropy(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  const ops::Lines lines(c.in[0]->shape(), 1);
  lines.each([&](size_t first) {
    double top = -HUGE_VAL, sum = 0;
    for (int64_t k = 0; k < lines.n; ++k) top = std::max(top, x[lines.at(first, k)]);
    for (int64_t k = 0; k < lines.n; ++k) sum += std::exp(x[lines.at(first, k)] - top);
    for (int64_t k = 0; k < lines.n; ++k) x[lines.at(first, k)] -= top + std::log(sum);
  });
  if (c.out.size() > 1) ops::store(c.out[1], x);
  ops::store(c.out[0], host_nll(c, x));
}

// loss_i = -w[l_i] x[i, l_i], 0 where l_i is ignored; the mean divides by the sum of the weights that were used.
ValueId expand_nll(GraphBuilder& b, const Node& n, ValueId x) {
  const ValueId labels = n.in[1], weights = n.in.size() > 2 ? n.in[2] : kNoValue;
  const DType type = b.type(x).dtype, label_type = b.type(labels).dtype;
  const std::optional<int64_t> ignored = ignored_of(n.attrs);
  Attrs pick_attrs;
  if (ignored) pick_attrs.set("ignore_index", *ignored);
  ValueId loss = b("Neg", {b("PickClass", {x, labels}, pick_attrs)}), used = kNoValue;
  const ValueId is_ignored =
      ignored ? b("Equal", {labels, b.scalar(label_type, static_cast<double>(*ignored))}) : kNoValue;
  if (weights != kNoValue) {
    const ValueId safe = ignored ? b("Where", {is_ignored, b.scalar(label_type, 0), labels}) : labels;
    used = b("Gather", {weights, safe});
    if (ignored) used = b("Where", {is_ignored, b.scalar(type, 0), used});
    loss = b("Mul", {loss, used});
  } else if (ignored) {
    used = b("Where", {is_ignored, b.scalar(type, 0), b.scalar(type, 1)});
  }
  const std::string reduction = n.attrs.string("reduction", "mean");
  const Attrs scalar{{"keepdims", int64_t{0}}};
  if (reduction == "none") return loss;
  if (reduction == "sum") return b("ReduceSum", {loss}, scalar);
  if (used == kNoValue) return b("ReduceMean", {loss}, scalar);
  return b("Div", {b("ReduceSum", {loss}, scalar), b("ReduceSum", {used}, scalar)});
}

Result<std::vector<ValueId>> expand_nll_node(GraphBuilder& b, const Node& n) {
  const ValueId loss = expand_nll(b, n, n.in[0]);
  FCC_CHECKED(b.status());
  return std::vector<ValueId>{loss};
}
Result<std::vector<ValueId>> expand_cross_entropy(GraphBuilder& b, const Node& n) {
  const ValueId log_probabilities = b("LogSoftmax", {n.in[0]}, {{"axis", int64_t{1}}});
  std::vector<ValueId> results{expand_nll(b, n, log_probabilities)};
  if (n.out.size() > 1) results.push_back(log_probabilities);
  FCC_CHECKED(b.status());
  return results;
}

// ---- checks
// ----------------------------------------------------------------------------------------------------------

Status infer_check(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the value"));
  c.set(0, c.type(0));
  return {};
}
void eval_check(EvalContext& c) {
  ops::store(c.out[0], c.in[0]->to_doubles());
}

Expr define_check_finite(DefineContext& c, size_t, In index) {
  const Expr x = c.in(0, index);
  const Expr bad = loop::binary(loop::BinaryOp::logical_or, loop::unary(loop::UnaryOp::is_nan, x),
                                loop::unary(loop::UnaryOp::is_inf, x));
  c.fault_if(bad, c.attrs->string("what", "the value") + " is not finite");
  return x;
}
Expr define_check_count(DefineContext& c, size_t, In index) {
  c.fault_if(loop::lt(loop::from_sym(c.attrs->dims("count").at(0)), loop::index(2)),
             "training needs more than one value a channel: give a batch of two or more, or keep this node in "
             "evaluation mode");
  return c.in(0, index);
}
Result<std::vector<ValueId>> grad_check(GradBuilder& b, const Node&, std::span<const ValueId>) {
  b.give(0, [&] { return b.dy(); });
  return b.done();
}

}  // namespace

void register_losses(Registry& r) {
  const AttrSpec ignore{"ignore_index", AttrType::integer}, reduction{"reduction", AttrType::string};
  r.add({.name = "PickClass",
         .doc = "of the scores of all classes (axis 1) that of the label; 0 where the label is ignored",
         .attrs = {ignore},
         .in = {2, 2},
         .out = {1, 1},
         .infer = infer_pick,
         .eval = eval_pick,
         .define = define_pick,
         .grad = grad_pick});
  r.add({.name = "NegativeLogLikelihoodLoss",
         .doc = "-w[label] x[label], reduced",
         .attrs = {ignore, reduction},
         .in = {2, 3},
         .out = {1, 1},
         .strategy = Strategy::composite,
         .infer = infer_nll,
         .eval = eval_nll,
         .expand = expand_nll_node});
  r.add({.name = "SoftmaxCrossEntropyLoss",
         .doc = "NegativeLogLikelihoodLoss of LogSoftmax(x), and the latter",
         .attrs = {ignore, reduction},
         .in = {2, 3},
         .out = {1, 2},
         .strategy = Strategy::composite,
         .infer = infer_nll,
         .eval = eval_cross_entropy,
         .expand = expand_cross_entropy});
  r.add({.name = "CheckFinite",
         .doc = "x; infinities and NaN stop the run",
         .attrs = {{"what", AttrType::string}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_check,
         .eval = eval_check,
         .define = define_check_finite,
         .grad = grad_check});
  r.add({.name = "CheckCount",
         .doc = "x; a count below two stops the run",
         .attrs = {{"count", AttrType::dims, true}},
         .in = {1, 1},
         .out = {1, 1},
         .infer = infer_check,
         .eval = eval_check,
         .define = define_check_count,
         .grad = grad_check});
}

}  // namespace fcc
