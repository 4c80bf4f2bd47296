#include "passes/train/loss.h"

#include <algorithm>

#include "ir/base/call_text.h"

namespace fcc {
namespace {

// What a loss sees: the model's output, a target input made on demand, and its arguments.
class LossBuilder {
 public:
  LossBuilder(Graph& g, ValueId y, std::string target_name, Arguments& arguments)
      : b(g, {"loss", -1, 0}),
        y(y),
        type(g.value(y).type),
        arguments(arguments),
        target_name_(std::move(target_name)) {}

  GraphBuilder b;
  ValueId y;
  TensorType type;
  Arguments& arguments;
  int64_t classes = 0;

  ValueId target(TensorType t) { return b.graph.add_input(target_name_, std::move(t)); }
  ValueId like_output() { return target(type); }
  ValueId n(double v) { return b.scalar(type.dtype, v); }
  ValueId add(ValueId x, ValueId z) { return b("Add", {x, z}); }
  ValueId sub(ValueId x, ValueId z) { return b("Sub", {x, z}); }
  ValueId mul(ValueId x, ValueId z) { return b("Mul", {x, z}); }
  ValueId fn(std::string_view op_name, ValueId x) { return b(op_name, {x}); }
  ValueId sum(ValueId x) { return b("ReduceSum", {x}, {{"keepdims", int64_t{0}}}); }
  ValueId mean(ValueId x) { return b("ReduceMean", {x}, {{"keepdims", int64_t{0}}}); }
  ValueId over_classes(ValueId x) { return b("ReduceSum", {x, b.ints({1})}, {{"keepdims", int64_t{0}}}); }
  // The number of elements of the output with axis 1 left out.
  ValueId rows() {
    SymExpr count = 1;
    for (size_t d = 0; d < type.dims.size(); ++d)
      if (d != 1) count = count * type.dims[d];
    return b("Cast", {b("Dims", {}, {{"dims", Dims{count}}, {"scalar", int64_t{1}}})}, {{"to", type.dtype}});
  }
  Result<ValueId> reduced(ValueId x) {
    const std::string how = arguments.text("reduction", "mean");
    if (how != "mean" && how != "sum") return fail("loss reduction is \"" + how + "\", expected mean or sum");
    return how == "sum" ? sum(x) : mean(x);
  }

 private:
  std::string target_name_;
};

using MakeLoss = Result<ValueId> (*)(LossBuilder&);

// ---- regression ----------------------------------------------------------------------------------------------------

Result<ValueId> mse(LossBuilder& l) {
  const ValueId d = l.sub(l.y, l.like_output());
  return l.reduced(l.mul(d, d));
}
Result<ValueId> l1(LossBuilder& l) {
  return l.reduced(l.fn("Abs", l.sub(l.y, l.like_output())));
}

// |d| < beta ? d^2/(2 beta) : |d| - beta/2
Result<ValueId> smooth_l1(LossBuilder& l) {
  FCC_TRY(const double beta, l.arguments.number("beta", 1));
  if (beta < 0) return fail("loss smooth_l1: beta must not be negative");
  const ValueId d = l.sub(l.y, l.like_output()), size = l.fn("Abs", d);
  if (beta == 0) return l.reduced(size);
  const ValueId inner = l.mul(l.mul(d, d), l.n(0.5 / beta)), outer = l.sub(size, l.n(beta / 2));
  return l.reduced(l.b("Where", {l.b("Less", {size, l.n(beta)}), inner, outer}));
}
// |d| <= delta ? d^2/2 : delta (|d| - delta/2)
Result<ValueId> huber(LossBuilder& l) {
  FCC_TRY(const double delta, l.arguments.number("delta", 1));
  if (delta <= 0) return fail("loss huber: delta must be positive");
  const ValueId d = l.sub(l.y, l.like_output()), size = l.fn("Abs", d);
  const ValueId inner = l.mul(l.mul(d, d), l.n(0.5)), outer = l.mul(l.n(delta), l.sub(size, l.n(delta / 2)));
  return l.reduced(l.b("Where", {l.b("LessOrEqual", {size, l.n(delta)}), inner, outer}));
}
// mean over rows of 1 - cos(y, t) along the last axis, norms at least eps
Result<ValueId> cosine(LossBuilder& l) {
  FCC_TRY(const double eps, l.arguments.number("eps", 1e-8));
  const ValueId t = l.like_output();
  const auto dot = [&](ValueId x, ValueId z) {
    return l.b("ReduceSum", {l.mul(x, z), l.b.ints({-1})}, {{"keepdims", int64_t{0}}});
  };
  const auto norm = [&](ValueId x) { return l.b("Max", {l.fn("Sqrt", dot(x, x)), l.n(eps)}); };
  return l.reduced(l.sub(l.n(1), l.b("Div", {dot(l.y, t), l.mul(norm(l.y), norm(t))})));
}

// ---- binary classes and distributions
// ---------------------------------------------------------------------------------

// -(t log y + (1-t) log(1-y)), logarithms at least -100
Result<ValueId> bce(LossBuilder& l) {
  const ValueId t = l.like_output(), one = l.n(1);
  const auto log = [&](ValueId x) { return l.b("Max", {l.fn("Log", x), l.n(-100)}); };
  const ValueId yes = l.mul(t, log(l.y)), no = l.mul(l.sub(one, t), log(l.sub(one, l.y)));
  return l.reduced(l.fn("Neg", l.add(yes, no)));
}
// (1-t) y + (1 + (pos_weight-1) t) (log(1+e^-|y|) + max(-y, 0))
Result<ValueId> bce_logits(LossBuilder& l) {
  FCC_TRY(const double pos_weight, l.arguments.number("pos_weight", 1));
  const ValueId t = l.like_output(), one = l.n(1);
  const ValueId softplus = l.add(l.fn("Softplus", l.fn("Neg", l.fn("Abs", l.y))), l.fn("Relu", l.fn("Neg", l.y)));
  const ValueId weight = pos_weight == 1 ? kNoValue : l.add(one, l.mul(l.n(pos_weight - 1), t));
  return l.reduced(l.add(l.mul(l.sub(one, t), l.y), weight == kNoValue ? softplus : l.mul(weight, softplus)));
}
// t (log t - y), y log-probabilities; 0 where t is 0
Result<ValueId> kl_div(LossBuilder& l) {
  FCC_TRY(const double log_target, l.arguments.number("log_target", 0));
  const std::string how = l.arguments.text("reduction", "mean");
  const ValueId t = l.like_output();
  ValueId terms;
  if (log_target != 0) {
    terms = l.mul(l.fn("Exp", t), l.sub(t, l.y));
  } else {
    const ValueId positive = l.b("Greater", {t, l.n(0)}), safe = l.b("Where", {positive, t, l.n(1)});
    terms = l.sub(l.mul(t, l.fn("Log", safe)), l.mul(t, l.y));
  }
  if (how != "batchmean") return l.reduced(terms);
  const ValueId batch = l.b(
      "Cast", {l.b("Dims", {}, {{"dims", Dims{l.type.rank() ? l.type.dims[0] : SymExpr(1)}}, {"scalar", int64_t{1}}})},
      {{"to", l.type.dtype}});
  return l.b("Div", {l.sum(terms), batch});
}

// ---- classes
// ---------------------------------------------------------------------------------------------------------

// [1, 2, 0.5] or 1 2 0.5
Result<std::vector<double>> number_list(const std::string& text, std::string_view what) {
  std::vector<double> values;
  std::string word;
  for (char c : text + " ") {
    if (c != ' ' && c != ',' && c != ';' && c != '[' && c != ']') {
      word += c;
    } else if (!word.empty()) {
      FCC_TRY(const double v, parse_number(word, what));
      values.push_back(v);
      word.clear();
    }
  }
  return values;
}

struct ClassOptions {
  ValueId weights = kNoValue;
  std::optional<int64_t> ignored;
  std::string reduction;
};
Result<ClassOptions> class_options(LossBuilder& l, std::string_view name) {
  const std::string what = "loss " + std::string(name);
  if (l.type.rank() < 2) return fail(what + " wants an output of shape [N,classes,...], it is " + l.type.text());
  if (!l.type.dims[1].is_constant())
    return fail(what + ": the number of classes must be known, axis 1 of " + l.type.text() + " is open");
  ClassOptions o;
  o.reduction = l.arguments.text("reduction", "mean");
  if (o.reduction != "mean" && o.reduction != "sum")
    return fail(what + ": reduction is \"" + o.reduction + "\", expected mean or sum");
  FCC_TRY(const double ignored, l.arguments.number("ignore_index", -100));
  o.ignored = static_cast<int64_t>(ignored);
  if (const std::string list = l.arguments.text("weights", ""); !list.empty()) {
    FCC_TRY(const std::vector<double> values, number_list(list, what + ": a weight"));
    if (static_cast<int64_t>(values.size()) != l.type.dims[1].constant())
      return fail(what + ": " + std::to_string(values.size()) + " weights for " + l.type.dims[1].text() + " classes");
    Tensor t(l.type.dtype, {static_cast<int64_t>(values.size())});
    for (size_t k = 0; k < values.size(); ++k) t.set_double(static_cast<int64_t>(k), values[k]);
    o.weights = l.b.constant(std::move(t), "class_weights");
  }
  return o;
}

TensorType label_type(const TensorType& scores) {
  Dims dims = scores.dims;
  dims.erase(dims.begin() + 1);
  return {DType::i64, std::move(dims)};
}

// weights [C] beside scores [N,C,...]
ValueId along_classes(LossBuilder& l, ValueId weights) {
  Dims dims(static_cast<size_t>(l.type.rank()) - 1, SymExpr(1));
  dims[0] = l.type.dims[1];
  return l.b("Reshape", {weights, l.b.dims(dims)}, {{"allowzero", int64_t{1}}});
}

struct ByLabel {
  ValueId loss, weight;  // a number a label; weight kNoValue: 1
};
// Of log-probabilities: -w[l] x[l], 0 where the label is ignored.
ByLabel negative_log_likelihood(LossBuilder& l, const ClassOptions& o, ValueId x, ValueId labels) {
  ByLabel r{l.fn("Neg", l.b("PickClass", {x, labels}, {{"ignore_index", *o.ignored}})), kNoValue};
  const ValueId is_ignored =
      l.b("Equal", {labels, l.b.graph.add_constant("c", Tensor::scalar(DType::i64, static_cast<double>(*o.ignored)))});
  if (o.weights == kNoValue) {
    r.weight = l.b("Where", {is_ignored, l.n(0), l.n(1)});
    return r;
  }
  const ValueId safe = l.b("Where", {is_ignored, l.b.scalar(DType::i64, 0), labels});
  r.weight = l.b("Where", {is_ignored, l.n(0), l.b("Gather", {o.weights, safe})});
  r.loss = l.mul(r.loss, r.weight);
  return r;
}

Result<ValueId> nll(LossBuilder& l) {
  FCC_TRY(ClassOptions o, class_options(l, "nll"));
  l.classes = l.type.dims[1].constant();
  const ByLabel r = negative_log_likelihood(l, o, l.y, l.target(label_type(l.type)));
  return o.reduction == "sum" ? l.sum(r.loss) : l.b("Div", {l.sum(r.loss), l.sum(r.weight)});
}

// The target is a distribution over the classes.
ValueId soft_cross_entropy(LossBuilder& l, const ClassOptions& o, ValueId log_p, double smoothing) {
  ValueId t = l.like_output();
  const double classes = static_cast<double>(l.type.dims[1].constant());
  if (smoothing > 0) t = l.add(l.mul(t, l.n(1 - smoothing)), l.n(smoothing / classes));
  ValueId terms = l.mul(log_p, t);
  if (o.weights != kNoValue) terms = l.mul(terms, along_classes(l, o.weights));
  const ValueId total = l.fn("Neg", l.sum(terms));
  return o.reduction == "sum" ? total : l.b("Div", {total, l.rows()});
}

Result<ValueId> cross_entropy(LossBuilder& l) {
  FCC_TRY(ClassOptions o, class_options(l, "cross_entropy"));
  FCC_TRY(const double smoothing, l.arguments.number("label_smoothing", 0));
  FCC_TRY(const double probabilities, l.arguments.number("probabilities", 0));
  if (!(smoothing >= 0 && smoothing <= 1)) return fail("loss cross_entropy: label_smoothing must be between 0 and 1");
  const ValueId log_p = l.b("LogSoftmax", {l.y}, {{"axis", int64_t{1}}});
  if (probabilities != 0) return soft_cross_entropy(l, o, log_p, smoothing);
  l.classes = l.type.dims[1].constant();
  const ValueId labels = l.target(label_type(l.type));
  const ByLabel r = negative_log_likelihood(l, o, log_p, labels);
  const bool mean = o.reduction == "mean";
  const ValueId weight_sum = l.sum(r.weight);
  ValueId loss = mean ? l.b("Div", {l.sum(r.loss), weight_sum}) : l.sum(r.loss);
  if (smoothing == 0) return loss;
  // (1-s) loss + s/C sum over classes of -w[c] log p[c], the latter 0 where the label is ignored
  const ValueId weighted = o.weights == kNoValue ? log_p : l.mul(log_p, along_classes(l, o.weights));
  const ValueId kept =
      l.b("Equal", {labels, l.b.graph.add_constant("c", Tensor::scalar(DType::i64, static_cast<double>(*o.ignored)))});
  ValueId smooth = l.sum(l.b("Where", {kept, l.n(0), l.fn("Neg", l.over_classes(weighted))}));
  if (mean) smooth = l.b("Div", {smooth, weight_sum});
  return l.add(l.mul(loss, l.n(1 - smoothing)), l.mul(smooth, l.n(smoothing / static_cast<double>(l.classes))));
}

// ---- the table
// ---------------------------------------------------------------------------------------------------------

struct Row {
  LossName name;
  MakeLoss make;
};
constexpr Row kRows[] = {
    {{"cross_entropy", "-log softmax(y)[label]; weights=[..] ignore_index=-100 label_smoothing=0 probabilities=false"},
     cross_entropy},
    {{"nll", "-y[label] of log-probabilities; weights=[..] ignore_index=-100"}, nll},
    {{"mse", "(y-t)^2"}, mse},
    {{"l1", "|y-t|"}, l1},
    {{"smooth_l1", "|d| < beta ? d^2/(2 beta) : |d| - beta/2; beta=1"}, smooth_l1},
    {{"huber", "|d| <= delta ? d^2/2 : delta (|d| - delta/2); delta=1"}, huber},
    {{"bce", "-(t log y + (1-t) log(1-y))"}, bce},
    {{"bce_logits", "bce of sigmoid(y); pos_weight=1"}, bce_logits},
    {{"kl_div", "t (log t - y) of log-probabilities y; log_target=false, reduction=mean, sum or batchmean"}, kl_div},
    {{"cosine", "1 - cos(y, t) along the last axis; eps=1e-8"}, cosine},
};

Result<size_t> output_named(const Graph& g, const CallText& call, std::string_view name) {
  if (name.empty()) {
    if (g.outputs.size() == 1) return size_t{0};
    std::string all;
    for (const std::string& o : g.output_names) all += (all.empty() ? "" : ", ") + o;
    return fail("loss " + call.name + " does not say which output it is of", "outputs: " + all,
                "write " + call.name + "(" + g.output_names[0] + ")");
  }
  for (size_t i = 0; i < g.outputs.size(); ++i)
    if (g.output_names[i] == name) return i;
  std::vector<std::string_view> names(g.output_names.begin(), g.output_names.end());
  const std::string_view near = nearest_name(name, names);
  return fail("loss " + call.name + ": the model has no output \"" + std::string(name) + "\"", "",
              near.empty() ? "" : "did you mean " + std::string(near) + "?");
}

// output:NAME: the model ends in its loss.
Result<ValueId> own_loss(Graph& g, const CallText& call) {
  FCC_TRY(const size_t at, output_named(g, call, std::string_view(call.name).substr(7)));
  GraphBuilder b(g, {"loss", -1, 0});
  const ValueId y = g.outputs[at];
  if (!is_float(b.type(y).dtype))
    return fail("loss " + call.name + ": the output is " + b.type(y).text() + ", no float");
  const ValueId loss = b.type(y).rank() == 0 ? y : b("ReduceMean", {y}, {{"keepdims", int64_t{0}}});
  FCC_CHECKED(b.status());
  return loss;
}

Result<ValueId> one_loss(Graph& g, const CallText& call, bool alone, std::vector<TrainingTarget>& targets) {
  if (call.name.starts_with("output:")) return own_loss(g, call);
  const auto* row =
      std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return r.name.name == call.name; });
  if (row == std::end(kRows)) {
    std::vector<std::string_view> names;
    std::string all;
    for (const Row& r : kRows) {
      names.push_back(r.name.name);
      all += std::string(r.name.name) + ", ";
    }
    const std::string_view near = nearest_name(call.name, names);
    return fail(
        "there is no loss \"" + call.name + "\"", "",
        near.empty() ? "losses are " + all + "output:NAME and none" : "did you mean " + std::string(near) + "?");
  }
  FCC_TRY(const size_t at, output_named(g, call, call.values.empty() ? "" : call.values[0]));
  if (!is_float(g.value(g.outputs[at]).type.dtype))
    return fail("loss " + call.name + ": output \"" + g.output_names[at] + "\" is " +
                g.value(g.outputs[at]).type.text() + ", no float");
  const std::string input = alone ? "target" : "target." + g.output_names[at];
  for (ValueId v : g.inputs())
    if (g.value(v).name == input)
      return fail("two losses want the target input \"" + input + "\"", "", "one loss an output");
  Arguments arguments(call, "loss");
  LossBuilder builder(g, g.outputs[at], input, arguments);
  FCC_TRY(const ValueId loss, row->make(builder));
  FCC_CHECKED(builder.b.status());
  FCC_CHECKED(arguments.finish(1));
  targets.push_back({input, g.output_names[at], call.name, builder.classes});
  return loss;
}

}  // namespace

std::span<const LossName> losses() {
  static const std::vector<LossName> names = [] {
    std::vector<LossName> v;
    for (const Row& r : kRows) v.push_back(r.name);
    return v;
  }();
  return names;
}

Result<ValueId> add_loss(Graph& g, const std::string& text, std::vector<TrainingTarget>& targets) {
  FCC_TRY(const auto terms, parse_sum(text, "loss"));
  if (terms.size() == 1 && terms[0].second.name == "none") return kNoValue;
  GraphBuilder b(g, {"loss", -1, 0});
  ValueId total = kNoValue;
  for (const auto& [factor, call] : terms) {
    FCC_TRY(ValueId loss, one_loss(g, call, terms.size() == 1, targets));
    if (factor != 1) loss = b("Mul", {loss, b.scalar(b.type(loss).dtype, factor)});
    total = total == kNoValue ? loss : b("Add", {total, loss});
  }
  FCC_CHECKED(b.status());
  return total;
}

}  // namespace fcc
