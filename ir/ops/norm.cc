// Normalizations: a group of elements is moved to mean 0 and scaled to variance 1 (or to another norm).
#include <algorithm>
#include <cmath>

#include "ir/ops/grads.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::Expr;
using loop::ReduceOp;
using loop::UnaryOp;
using In = std::span<const Expr>;

// ---- shared ---------------------------------------------------------------------------------------------------

struct Moments {
  Expr mean, variance;
};
// Of the elements that the loop variables reach. Two passes: E[x^2]-E[x]^2 would cancel.
Moments moments(DefineContext& c, std::span<const Expr> extents, const std::function<Expr(In)>& element) {
  Expr sum = ops::reduce_over(c, ReduceOp::add, extents, element);
  const Expr count = loop::cast(sum->type, ops::product(extents)), mean = sum / count;
  const Expr squares = ops::reduce_over(c, ReduceOp::add, extents, [&](In vars) {
    const Expr d = element(vars) - mean;
    return d * d;
  });
  return {mean, squares / count};
}
Expr inverse_root(const Expr& variance, double epsilon) {
  return ops::number(variance, 1) / loop::unary(UnaryOp::sqrt, variance + ops::number(variance, epsilon));
}
Expr to_result(const DefineContext& c, size_t result, Expr e) {
  return loop::cast(loop::compute_type(c.out_types[result]->dtype), std::move(e));
}

struct HostMoments {
  double mean = 0, variance = 0;
};
HostMoments host_moments(std::span<const double> x) {
  HostMoments m;
  for (double v : x) m.mean += v;
  m.mean /= static_cast<double>(x.size());
  for (double v : x) m.variance += (v - m.mean) * (v - m.mean);
  m.variance /= static_cast<double>(x.size());
  return m;
}

double epsilon_of(const Attrs& attrs) {
  return attrs.number("epsilon", 1e-5);
}
int64_t axis_of(const Attrs& attrs, int64_t rank, int64_t otherwise = -1) {
  const int64_t axis = attrs.integer("axis", otherwise);
  return axis < 0 ? axis + rank : axis;
}

// Operand k holds one number a channel.
Status require_channel_vector(InferContext& c, size_t k, std::string_view operand_name, const SymExpr& channels) {
  FCC_CHECKED(ops::require_type(c, k, ops::kFloats, operand_name));
  const std::string wanted = std::string(operand_name) + " must have the shape [" + channels.text() + "]";
  if (c.rank(k) != 1)
    return c.fail(
        std::string(operand_name) + " has rank " + std::to_string(c.rank(k)) + ", expected one number a channel",
        wanted);
  if (ops::clash(c.dims(k)[0], channels))
    return c.fail(std::string(operand_name) + " has " + c.dims(k)[0].text() + " elements, the input has " +
                      channels.text() + " channels",
                  wanted);
  return {};
}
// The input is [N,C,...] of a float type.
Status require_channels(InferContext& c, int64_t lowest_rank) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  if (c.rank(0) >= lowest_rank) return {};
  return c.fail(
      "the input has rank " + std::to_string(c.rank(0)) + ", expected at least " + std::to_string(lowest_rank),
      "the layout is [N,C,...]");
}
void require_channels_at_run(DefineContext& c, size_t k) {
  ops::require_equal(c, c.dims(k)[0], c.dims(0)[1], "a normalization's scale does not have one number a channel");
}

// ---- BatchNormalization ------------------------------------------------------------------------------------

SymExpr batch_channels(const Dims& x) {
  return x.size() > 1 ? x[1] : SymExpr(1);
}

Status infer_batch(InferContext& c) {
  static constexpr std::string_view kNames[] = {"", "scale", "B", "input_mean", "input_var"};
  FCC_CHECKED(require_channels(c, 1));
  const bool training = c.attrs.flag("training_mode");
  if (!training && c.n_out() > 1) return c.fail("has running statistics as results although training_mode is 0");
  for (size_t k = 1; k < 5; ++k) FCC_CHECKED(require_channel_vector(c, k, kNames[k], batch_channels(c.dims(0))));
  c.set(0, c.type(0));
  for (size_t k = 1; k < c.n_out(); ++k) c.set(k, c.type(k + 2));
  return {};
}

// Mean and variance a channel over all other axes.
std::vector<HostMoments> channel_moments(std::span<const double> x, size_t channels, size_t inner) {
  std::vector<std::vector<double>> groups(channels);
  for (size_t i = 0; i < x.size(); ++i) groups[i / inner % channels].push_back(x[i]);
  std::vector<HostMoments> moments;
  for (const std::vector<double>& group : groups) moments.push_back(host_moments(group));
  return moments;
}

// running = momentum running + (1 - momentum) statistic of the batch
void eval_batch_training(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  const std::vector<double> scale = c.in[1]->to_doubles(), b = c.in[2]->to_doubles();
  const std::vector<int64_t>& shape = c.in[0]->shape();
  const auto channels = scale.size(),
             inner = shape.size() > 1 ? static_cast<size_t>(product(std::span(shape).subspan(2))) : 1;
  const std::vector<HostMoments> moments = channel_moments(x, channels, inner);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t ch = i / inner % channels;
    x[i] = (x[i] - moments[ch].mean) / std::sqrt(moments[ch].variance + epsilon_of(c.attrs)) * scale[ch] + b[ch];
  }
  ops::store(c.out[0], x);
  const double momentum = c.attrs.number("momentum", 0.9), n = static_cast<double>(x.size()) / static_cast<double>(channels);
  const double correction = c.attrs.flag("unbiased") ? n / (n - 1) : 1;
  for (size_t k = 1; k < c.out.size(); ++k) {
    std::vector<double> running = c.in[k + 2]->to_doubles();
    for (size_t ch = 0; ch < channels; ++ch)
      running[ch] = running[ch] * momentum + (1 - momentum) * (k == 1 ? moments[ch].mean : moments[ch].variance * correction);
    ops::store(c.out[k], running);
  }
}

// Batch statistics spelled out: their gradient follows from that of the parts.
Result<std::vector<ValueId>> expand_batch(GraphBuilder& b, const Node& n) {
  if (!n.attrs.flag("training_mode")) return std::vector<ValueId>{};
  const ValueId x = n.in[0];
  const TensorType type = b.type(x);
  std::vector<int64_t> axes;
  Dims per_channel(static_cast<size_t>(type.rank()), SymExpr(1));
  SymExpr count = 1;
  for (int64_t d = 0; d < type.rank(); ++d) {
    if (d == 1) continue;
    axes.push_back(d);
    count = count * type.dims[static_cast<size_t>(d)];
  }
  if (type.rank() > 1) per_channel[1] = type.dims[1];
  const auto line = [&](ValueId v) { return b("Reshape", {v, b.dims(per_channel)}, {{"allowzero", int64_t{1}}}); };
  const auto number = [&](DType t, double v) { return b.scalar(t, v); };
  ValueId mean = b("ReduceMean", {x, b.ints(axes)}, {{"keepdims", int64_t{1}}});
  if (!(count - 2).provably_nonnegative()) mean = b("CheckCount", {mean}, {{"count", Dims{count}}});
  const ValueId centered = b("Sub", {x, mean});
  const ValueId variance = b("ReduceMean", {b("Mul", {centered, centered}), b.ints(axes)}, {{"keepdims", int64_t{1}}});
  const ValueId inverse = b("Reciprocal", {b("Sqrt", {b("Add", {variance, number(type.dtype, epsilon_of(n.attrs))})})});
  const auto parameter = [&](size_t k) {
    const ValueId v = line(n.in[k]);
    return b.type(v).dtype == type.dtype ? v : b("Cast", {v}, {{"to", type.dtype}});
  };
  std::vector<ValueId> results{b("Add", {b("Mul", {b("Mul", {centered, inverse}), parameter(1)}), parameter(2)})};
  const double momentum = n.attrs.number("momentum", 0.9);
  for (size_t k = 1; k < n.out.size(); ++k) {
    const DType t = b.type(n.in[k + 2]).dtype;
    ValueId now = k == 1 ? mean : variance;
    if (k == 2 && n.attrs.flag("unbiased")) {
      const ValueId total = b("Cast", {b("Dims", {}, {{"dims", Dims{count}}, {"scalar", int64_t{1}}})}, {{"to", type.dtype}});
      now = b("Mul", {now, b("Div", {total, b("Sub", {total, number(type.dtype, 1)})})});
    }
    now = b("Reshape", {now, b.dims(b.type(n.in[k + 2]).dims)}, {{"allowzero", int64_t{1}}});
    if (type.dtype != t) now = b("Cast", {now}, {{"to", t}});
    results.push_back(b("Add", {b("Mul", {n.in[k + 2], number(t, momentum)}), b("Mul", {now, number(t, 1 - momentum)})}));
  }
  FCC_CHECKED(b.status());
  return results;
}

void eval_batch(EvalContext& c) {
  if (c.attrs.flag("training_mode")) return eval_batch_training(c);
  std::vector<double> x = c.in[0]->to_doubles();
  const std::vector<double> scale = c.in[1]->to_doubles(), b = c.in[2]->to_doubles(), mean = c.in[3]->to_doubles(),
                            var = c.in[4]->to_doubles();
  const std::vector<int64_t>& shape = c.in[0]->shape();
  const auto channels = scale.size(),
             inner = shape.size() > 1 ? static_cast<size_t>(product(std::span(shape).subspan(2))) : 1;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t ch = i / inner % channels;
    x[i] = (x[i] - mean[ch]) * (scale[ch] / std::sqrt(var[ch] + epsilon_of(c.attrs))) + b[ch];
  }
  ops::store(c.out[0], x);
}

Expr define_batch(DefineContext& c, size_t, In index) {
  const Expr x = c.in(0, index);
  const Expr channel[] = {c.rank(0) > 1 ? index[1] : loop::index(0)};
  for (size_t k = 1; k < 5; ++k)
    ops::require_equal(c, c.dims(k)[0], batch_channels(c.dims(0)),
                       "BatchNormalization has another number of channels than its input");
  const auto parameter = [&](size_t k) { return loop::cast(x->type, c.in(k, channel)); };
  const Expr factor = parameter(1) * inverse_root(parameter(4), epsilon_of(*c.attrs));
  return to_result(c, 0, (x - parameter(3)) * factor + parameter(2));
}

// ---- LayerNormalization and RMSNormalization: the last axes, from `axis` on ---------------------------------------

// Scale and bias broadcast to the input, never the other way round.
Status require_broadcast_to_input(InferContext& c, size_t k, std::string_view operand_name) {
  FCC_CHECKED(ops::require_type(c, k, ops::kFloats, operand_name));
  std::optional<Dims> wide = c.rank(k) <= c.rank(0) ? broadcast(c.dims(0), c.dims(k)) : std::nullopt;
  bool fits = wide.has_value();
  for (size_t d = 0; fits && d < wide->size(); ++d) fits = !ops::clash((*wide)[d], c.dims(0)[d]);
  if (fits) {
    ops::assume_broadcast(c, c.dims(0), c.dims(k));
    return {};
  }
  return c.fail(std::string(operand_name) + " has shape " + text(c.dims(k)) +
                    ", which does not broadcast to the input's " + text(c.dims(0)),
                "it usually has the extents of the normalized axes");
}

Result<DType> stash_dtype(const InferContext& c) {
  switch (const int64_t stash = c.attrs.integer("stash_type", 1)) {
    case 1:
      return DType::f32;
    case 10:
      return DType::f16;
    case 11:
      return DType::f64;
    case 16:
      return DType::bf16;
    default:
      return c.fail("stash_type is " + std::to_string(stash) + ", expected a float type",
                    "1 is float32, 16 is bfloat16");
  }
}

Status infer_layer(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  FCC_TRY(const int64_t axis, c.axis(c.attrs.integer("axis", -1), c.rank(0)));
  FCC_CHECKED(require_broadcast_to_input(c, 1, "scale"));
  if (c.has(2)) FCC_CHECKED(require_broadcast_to_input(c, 2, "the bias"));
  FCC_TRY(const DType stash, stash_dtype(c));
  c.set(0, c.type(0));
  Dims kept = c.dims(0);
  for (size_t d = static_cast<size_t>(axis); d < kept.size(); ++d) kept[d] = 1;
  for (size_t k = 1; k < c.n_out(); ++k) c.set(k, stash, kept);
  return {};
}
Status infer_rms(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  FCC_CHECKED(ops::status_of(c.axis(c.attrs.integer("axis", -1), c.rank(0))));
  FCC_CHECKED(require_broadcast_to_input(c, 1, "scale"));
  FCC_CHECKED(ops::status_of(stash_dtype(c)));
  c.set(0, c.dtype(1), c.dims(0));
  return {};
}

// Row length of the normalized axes.
size_t row_length(const EvalContext& c) {
  const std::vector<int64_t>& shape = c.in[0]->shape();
  return static_cast<size_t>(product(std::span(shape).subspan(static_cast<size_t>(axis_of(c.attrs, c.in[0]->rank())))));
}
// x[i] = f(x[i], parameter broadcast to x)
template <class F>
void with_broadcast(std::vector<double>& x, std::span<const int64_t> shape, const Tensor& parameter, F f) {
  const std::vector<double> p = parameter.to_doubles();
  ops::for_each_strided(shape, ops::broadcast_strides(parameter.shape(), shape.size()),
                        [&](size_t i, size_t o) { x[i] = f(x[i], p[o]); });
}

void eval_layer(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  const size_t n = row_length(c);
  std::vector<double> means, inverses;
  for (size_t at = 0; n != 0 && at < x.size(); at += n) {
    const HostMoments m = host_moments(std::span(x).subspan(at, n));
    means.push_back(m.mean);
    inverses.push_back(1 / std::sqrt(m.variance + epsilon_of(c.attrs)));
    for (size_t i = at; i < at + n; ++i) x[i] = (x[i] - means.back()) * inverses.back();
  }
  if (n != 0 && c.out.size() > 1) ops::store(c.out[1], means);
  if (n != 0 && c.out.size() > 2) ops::store(c.out[2], inverses);
  with_broadcast(x, c.in[0]->shape(), *c.in[1], std::multiplies<>());
  if (c.has(2)) with_broadcast(x, c.in[0]->shape(), *c.in[2], std::plus<>());
  ops::store(c.out[0], x);
}

void eval_rms(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  const size_t n = row_length(c);
  for (size_t at = 0; n != 0 && at < x.size(); at += n) {
    double squares = 0;
    for (size_t i = at; i < at + n; ++i) squares += x[i] * x[i];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + epsilon_of(c.attrs));
    for (size_t i = at; i < at + n; ++i) x[i] *= inverse;
  }
  with_broadcast(x, c.in[0]->shape(), *c.in[1], std::multiplies<>());
  ops::store(c.out[0], x);
}

struct Row {
  std::vector<Expr> extents;
  std::function<Expr(In)> element;
};
Row row_of(DefineContext& c, In index) {
  const auto axis = static_cast<size_t>(axis_of(*c.attrs, c.rank(0)));
  Row row;
  for (size_t d = axis; d < c.dims(0).size(); ++d) row.extents.push_back(c.dim(0, d));
  row.element = [&c, lead = std::vector<Expr>(index.begin(), index.begin() + static_cast<int64_t>(axis))](In vars) {
    std::vector<Expr> at = lead;
    at.insert(at.end(), vars.begin(), vars.end());
    return c.in(0, at);
  };
  return row;
}
// Operand k broadcast to the index, in the type of x.
Expr parameter(DefineContext& c, size_t k, In index, const Expr& x) {
  const Dims &own = c.dims(k), &wide = c.dims(0);
  for (size_t d = 0; d < own.size(); ++d)
    if (!own[d].is(1))
      ops::require_equal(c, own[d], wide[wide.size() - own.size() + d],
                         "a normalization's scale or bias does not fit its input");
  return loop::cast(x->type, c.in_broadcast(k, index));
}

Expr define_layer(DefineContext& c, size_t result, In index) {
  const Row row = row_of(c, index);
  const Moments m = moments(c, row.extents, row.element);
  if (result == 1) return to_result(c, 1, m.mean);
  const Expr inverse = inverse_root(m.variance, epsilon_of(*c.attrs));
  if (result == 2) return to_result(c, 2, inverse);
  Expr y = (c.in(0, index) - m.mean) * inverse;
  y = y * parameter(c, 1, index, y);
  return c.has(2) ? y + parameter(c, 2, index, y) : y;
}

Expr define_rms(DefineContext& c, size_t, In index) {
  const Row row = row_of(c, index);
  const Expr squares = ops::reduce_over(c, ReduceOp::add, row.extents, [&](In vars) {
    const Expr x = row.element(vars);
    return x * x;
  });
  const Expr mean = squares / loop::cast(squares->type, ops::product(row.extents));
  const Expr y = c.in(0, index) * inverse_root(mean, epsilon_of(*c.attrs));
  return to_result(c, 0, y * parameter(c, 1, index, y));
}

// ---- InstanceNormalization (a group a channel) and GroupNormalization ---------------------------------------------

Status infer_instance(InferContext& c) {
  FCC_CHECKED(require_channels(c, 3));
  FCC_CHECKED(require_channel_vector(c, 1, "scale", c.dims(0)[1]));
  FCC_CHECKED(require_channel_vector(c, 2, "B", c.dims(0)[1]));
  c.set(0, c.type(0));
  return {};
}
Status infer_group(InferContext& c) {
  FCC_CHECKED(require_channels(c, 2));
  const SymExpr& channels = c.dims(0)[1];
  const int64_t groups = c.attrs.integer("num_groups");
  if (groups < 1) return c.fail("num_groups is " + std::to_string(groups) + ", expected at least 1");
  if (const SymExpr rest = mod(channels, groups); rest.is_constant() && !rest.is(0))
    return c.fail(
        "the input's " + channels.text() + " channels do not divide into " + std::to_string(groups) + " groups",
        "num_groups must divide the channels");
  FCC_CHECKED(require_channel_vector(c, 1, "scale", channels));
  FCC_CHECKED(require_channel_vector(c, 2, "bias", channels));
  FCC_CHECKED(ops::status_of(stash_dtype(c)));
  c.set(0, c.type(0));
  return {};
}

// groups: 0 for one a channel.
void eval_groups(EvalContext& c, int64_t groups) {
  std::vector<double> x = c.in[0]->to_doubles();
  const std::vector<double> scale = c.in[1]->to_doubles(), bias = c.in[2]->to_doubles();
  const std::vector<int64_t>& shape = c.in[0]->shape();
  if (groups == 0) groups = shape[1];
  const auto inner = static_cast<size_t>(product(std::span(shape).subspan(2)));
  const size_t n = x.empty() ? 1 : scale.size() / static_cast<size_t>(groups) * inner;
  for (size_t at = 0; at < x.size(); at += n) {
    const HostMoments m = host_moments(std::span(x).subspan(at, n));
    const double inverse = 1 / std::sqrt(m.variance + epsilon_of(c.attrs));
    for (size_t i = at; i < at + n; ++i) {
      const size_t ch = i / inner % scale.size();
      x[i] = (x[i] - m.mean) * inverse * scale[ch] + bias[ch];
    }
  }
  ops::store(c.out[0], x);
}
void eval_instance(EvalContext& c) {
  eval_groups(c, 0);
}
void eval_group(EvalContext& c) {
  eval_groups(c, c.attrs.integer("num_groups"));
}

// y = (x - mean) inverse scale[channel] + bias[channel]
Expr affine(DefineContext& c, In index, const Moments& m) {
  require_channels_at_run(c, 1);
  require_channels_at_run(c, 2);
  const Expr channel[] = {index[1]}, x = c.in(0, index);
  const Expr factor = inverse_root(m.variance, epsilon_of(*c.attrs)) * loop::cast(x->type, c.in(1, channel));
  return (x - m.mean) * factor + loop::cast(x->type, c.in(2, channel));
}

Expr define_instance(DefineContext& c, size_t, In index) {
  std::vector<Expr> extents;
  for (size_t d = 2; d < c.dims(0).size(); ++d) extents.push_back(c.dim(0, d));
  return affine(c, index, moments(c, extents, [&](In vars) {
                  std::vector<Expr> at = {index[0], index[1]};
                  at.insert(at.end(), vars.begin(), vars.end());
                  return c.in(0, at);
                }));
}

Expr define_group(DefineContext& c, size_t, In index) {
  const int64_t groups = c.attrs->integer("num_groups");
  const Expr per_group = loop::from_sym(floordiv(c.dims(0)[1], groups));
  ops::fault_if(c, loop::binary(loop::BinaryOp::ne, loop::from_sym(mod(c.dims(0)[1], groups)), loop::index(0)),
                "the channels of a GroupNormalization do not divide into its groups");
  std::vector<Expr> extents = {per_group};
  for (size_t d = 2; d < c.dims(0).size(); ++d) extents.push_back(c.dim(0, d));
  const Expr first = loop::floordiv(index[1], per_group) * per_group;
  return affine(c, index, moments(c, extents, [&](In vars) {
                  std::vector<Expr> at = {index[0], first + vars[0]};
                  at.insert(at.end(), vars.begin() + 1, vars.end());
                  return c.in(0, at);
                }));
}

// ---- LRN: x / (bias + alpha/size * sum of squares of neighbouring channels)^beta -----------------------------------

Status infer_lrn(InferContext& c) {
  FCC_CHECKED(require_channels(c, 2));
  if (const int64_t size = c.attrs.integer("size"); size < 1)
    return c.fail("size is " + std::to_string(size) + ", expected at least 1 channel");
  c.set(0, c.type(0));
  return {};
}

struct LrnSettings {
  int64_t before, after;
  double factor, bias, beta;
  explicit LrnSettings(const Attrs& a)
      : before((a.integer("size") - 1) / 2),
        after(a.integer("size") - 1 - before),
        factor(a.number("alpha", 1e-4) / static_cast<double>(a.integer("size"))),
        bias(a.number("bias", 1)),
        beta(a.number("beta", 0.75)) {}
};

void eval_lrn(EvalContext& c) {
  const LrnSettings s(c.attrs);
  const std::vector<double> x = c.in[0]->to_doubles();
  std::vector<double> y(x.size());
  const ops::Lines lines(c.in[0]->shape(), 1);
  lines.each([&](size_t first) {
    for (int64_t k = 0; k < lines.n; ++k) {
      double squares = 0;
      for (int64_t j = std::max<int64_t>(0, k - s.before); j < std::min(lines.n, k + 1 + std::min(s.after, lines.n));
           ++j)
        squares += x[lines.at(first, j)] * x[lines.at(first, j)];
      y[lines.at(first, k)] = x[lines.at(first, k)] / std::pow(s.bias + s.factor * squares, s.beta);
    }
  });
  ops::store(c.out[0], y);
}

Expr define_lrn(DefineContext& c, size_t, In index) {
  const LrnSettings s(*c.attrs);
  const Expr &k = index[1], channels = c.dim(0, 1);
  const Expr lo = loop::max(loop::index(0), k - s.before),
             hi = loop::min(channels, k + 1 + loop::min(channels, loop::index(s.after)));
  const loop::VarId j = c.fresh_var("j");
  const Expr neighbour = c.in(0, ops::replaced(index, 1, loop::var(j)));
  const Expr squares = loop::reduce(ReduceOp::add, j, lo, hi, neighbour * neighbour);
  const Expr base = squares * ops::number(squares, s.factor) + ops::number(squares, s.bias);
  return c.in(0, index) / loop::binary(loop::BinaryOp::pow, base, ops::number(base, s.beta));
}

// ---- LpNormalization: x / |x|_p along an axis, 0 where the norm is 0 -----------------------------------------------

Status infer_lp(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  FCC_CHECKED(ops::status_of(c.axis(c.attrs.integer("axis", -1), c.rank(0))));
  if (const int64_t p = c.attrs.integer("p", 2); p != 1 && p != 2)
    return c.fail("p is " + std::to_string(p) + ", expected 1 or 2");
  c.set(0, c.type(0));
  return {};
}

void eval_lp(EvalContext& c) {
  const bool absolute = c.attrs.integer("p", 2) == 1;
  std::vector<double> x = c.in[0]->to_doubles();
  const ops::Lines lines(c.in[0]->shape(), axis_of(c.attrs, c.in[0]->rank()));
  lines.each([&](size_t first) {
    double norm = 0;
    for (int64_t k = 0; k < lines.n; ++k)
      norm += absolute ? std::fabs(x[lines.at(first, k)]) : x[lines.at(first, k)] * x[lines.at(first, k)];
    if (!absolute) norm = std::sqrt(norm);
    for (int64_t k = 0; k < lines.n; ++k) x[lines.at(first, k)] = norm == 0 ? 0 : x[lines.at(first, k)] / norm;
  });
  ops::store(c.out[0], x);
}

Expr define_lp(DefineContext& c, size_t, In index) {
  const int64_t axis = axis_of(*c.attrs, c.rank(0));
  const bool absolute = c.attrs->integer("p", 2) == 1;
  Expr norm = c.reduce(ReduceOp::add, "k", c.dim(0, static_cast<size_t>(axis)), [&](Expr k) {
    const Expr x = c.in(0, ops::replaced(index, axis, std::move(k)));
    return absolute ? loop::unary(UnaryOp::abs, x) : x * x;
  });
  if (!absolute) norm = loop::unary(UnaryOp::sqrt, norm);
  const Expr is_zero = loop::eq(norm, ops::number(norm, 0));
  return loop::select(is_zero, ops::number(norm, 0),
                      c.in(0, index) / loop::select(is_zero, ops::number(norm, 1), norm));
}

// ---- MeanVarianceNormalization over chosen axes --------------------------------------------------------------------

constexpr double kMvnEpsilon = 1e-9;  // added to the deviation, as in ONNX's function body

std::vector<int64_t> mvn_axes(const Attrs& attrs, int64_t rank) {
  std::vector<int64_t> axes = attrs.integers("axes", {0, 2, 3});
  for (int64_t& a : axes) a += a < 0 ? rank : 0;
  std::sort(axes.begin(), axes.end());
  return axes;
}
Status infer_mvn(InferContext& c) {
  FCC_CHECKED(ops::require_type(c, 0, ops::kFloats, "the input"));
  FCC_CHECKED(ops::status_of(normalize_axes(c, c.attrs.integers("axes", {0, 2, 3}), c.rank(0), false)));
  c.set(0, c.type(0));
  return {};
}

void eval_mvn(EvalContext& c) {
  std::vector<double> x = c.in[0]->to_doubles();
  const std::vector<int64_t>& shape = c.in[0]->shape();
  std::vector<int64_t> kept = shape;
  double count = 1;
  for (int64_t a : mvn_axes(c.attrs, c.in[0]->rank())) {
    count *= static_cast<double>(shape[static_cast<size_t>(a)]);
    kept[static_cast<size_t>(a)] = 1;
  }
  std::vector<int64_t> strides = strides_of(kept);
  for (int64_t a : mvn_axes(c.attrs, c.in[0]->rank())) strides[static_cast<size_t>(a)] = 0;
  std::vector<double> mean(static_cast<size_t>(product(kept)), 0), variance = mean;
  const auto each = [&](auto visit) { ops::for_each_strided(shape, strides, visit); };
  each([&](size_t i, size_t o) { mean[o] += x[i] / count; });
  each([&](size_t i, size_t o) { variance[o] += (x[i] - mean[o]) * (x[i] - mean[o]) / count; });
  each([&](size_t i, size_t o) { x[i] = (x[i] - mean[o]) / (std::sqrt(variance[o]) + kMvnEpsilon); });
  ops::store(c.out[0], x);
}

Expr define_mvn(DefineContext& c, size_t, In index) {
  const std::vector<int64_t> axes = mvn_axes(*c.attrs, c.rank(0));
  std::vector<Expr> extents;
  for (int64_t a : axes) extents.push_back(c.dim(0, static_cast<size_t>(a)));
  const Moments m = moments(c, extents, [&](In vars) {
    std::vector<Expr> at(index.begin(), index.end());
    for (size_t i = 0; i < axes.size(); ++i) at[static_cast<size_t>(axes[i])] = vars[i];
    return c.in(0, at);
  });
  const Expr deviation = loop::unary(UnaryOp::sqrt, m.variance) + ops::number(m.variance, kMvnEpsilon);
  return (c.in(0, index) - m.mean) * (ops::number(deviation, 1) / deviation);
}

// ---- registration ---------------------------------------------------------------------------------------------

struct Entry {
  std::string_view name, doc;
  std::vector<AttrSpec> attrs;
  Arity in, out;
  Status (*infer)(InferContext&);
  void (*eval)(EvalContext&);
  Expr (*define)(DefineContext&, size_t, In);
  GradRule grad;
  Result<std::vector<ValueId>> (*expand)(GraphBuilder&, const Node&) = nullptr;
};
void add(Registry& r, Entry e) {
  r.add({.name = e.name,
         .doc = e.doc,
         .attrs = std::move(e.attrs),
         .in = e.in,
         .out = e.out,
         .infer = e.infer,
         .eval = e.eval,
         .define = e.define,
         .expand = e.expand,
         .grad = e.grad});
}

}  // namespace

void register_norm(Registry& r) {
  const AttrSpec axis{"axis", AttrType::integer}, epsilon{"epsilon", AttrType::number},
      stash{"stash_type", AttrType::integer};
  const Arity one{1, 1};
  add(r, {"BatchNormalization",
          "(x - mean) / sqrt(var + epsilon) scale + B with stored statistics, or in training_mode with the batch's; "
          "unbiased: the running variance takes n/(n-1) of the batch's, as PyTorch does",
          {epsilon,
           {"momentum", AttrType::number},
           {"training_mode", AttrType::integer},
           {"unbiased", AttrType::integer}},
          {5, 5},
          {1, 3},
          infer_batch,
          eval_batch,
          define_batch,
          grad_batch_norm,
          expand_batch});
  add(r, {"LayerNormalization",
          "the axes from `axis` on to mean 0 and variance 1, then scale and bias",
          {axis, epsilon, stash},
          {2, 3},
          {1, 3},
          infer_layer,
          eval_layer,
          define_layer,
          grad_layer_norm});
  add(r, {"RMSNormalization",
          "x / sqrt(mean(x^2) + epsilon) scale over the axes from `axis` on",
          {axis, epsilon, stash},
          {2, 2},
          one,
          infer_rms,
          eval_rms,
          define_rms,
          grad_rms_norm});
  add(r, {"InstanceNormalization",
          "each channel of each sample to mean 0 and variance 1, then scale and bias",
          {epsilon},
          {3, 3},
          one,
          infer_instance,
          eval_instance,
          define_instance,
          grad_instance_norm});
  add(r, {"GroupNormalization",
          "groups of channels of each sample to mean 0 and variance 1, then scale and bias a channel",
          {epsilon, {"num_groups", AttrType::integer, true}, stash},
          {3, 3},
          one,
          infer_group,
          eval_group,
          define_group,
          grad_group_norm});
  add(r, {"LRN",
          "x / (bias + alpha/size sum of neighbouring channels' squares)^beta",
          {{"size", AttrType::integer, true},
           {"alpha", AttrType::number},
           {"beta", AttrType::number},
           {"bias", AttrType::number}},
          one,
          one,
          infer_lrn,
          eval_lrn,
          define_lrn,
          grad_lrn});
  add(r, {"LpNormalization",
          "x / |x|_p along an axis; 0 where the norm is 0",
          {axis, {"p", AttrType::integer}},
          one,
          one,
          infer_lp,
          eval_lp,
          define_lp,
          grad_lp_norm});
  add(r, {"MeanVarianceNormalization",
          "(x - mean) / deviation over chosen axes",
          {{"axes", AttrType::integers}},
          one,
          one,
          infer_mvn,
          eval_mvn,
          define_mvn,
          grad_mean_variance});
}

}  // namespace fcc
