#include "passes/train/initialise.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "ir/base/call_text.h"
#include "ir/op.h"

namespace fcc {
namespace {

// splitmix64 over (seed, name, counter).
class Generator {
 public:
  Generator(int64_t seed, const std::string& name) : state_(static_cast<uint64_t>(seed) ^ 0x9e3779b97f4a7c15u) {
    for (char c : name) state_ = mixed(state_ ^ static_cast<unsigned char>(c));
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  uint64_t next() { return mixed(state_ += 0x9e3779b97f4a7c15u); }
  uint64_t state_;
};

// How a weight is used.
struct Fans {
  enum class Kind : uint8_t { matrix, bias, scale, shift, table, other } kind = Kind::other;
  double in = 1, out = 1;
  bool transposed = false;  // [in, out] rather than [out, in]
};

double receptive(const Dims& dims) {
  double n = 1;
  for (size_t d = 2; d < dims.size(); ++d) n *= static_cast<double>(dims[d].constant());
  return n;
}

// Of a weight behind a node's operand k; flipped: a Transpose stands between.
Fans fans_of_weight(const Graph& g, const Node& n, size_t k, ValueId w, bool flipped) {
  const Dims& dims = g.value(w).type.dims;
  const std::string_view s = n.op->name;
  Fans f;
  if (s == "Conv" || s == "ConvTranspose") {
    f = {Fans::Kind::matrix, static_cast<double>(dims[1].constant()) * receptive(dims),
         static_cast<double>(dims[0].constant()) * receptive(dims), false};
    return f;
  }
  if ((s == "MatMul" || s == "Gemm") && dims.size() >= 2) {
    bool in_first = k == 1;  // B is [K, N]
    if (s == "Gemm" && n.attrs.flag(k == 1 ? "transB" : "transA")) in_first = !in_first;
    if (flipped) in_first = !in_first;
    const double first = static_cast<double>(dims[dims.size() - 2].constant()),
                 last = static_cast<double>(dims.back().constant());
    return {Fans::Kind::matrix, in_first ? first : last, in_first ? last : first, in_first};
  }
  if (s == "Gather")
    return {Fans::Kind::table, static_cast<double>(dims.back().constant()), static_cast<double>(dims[0].constant()),
            false};
  return f;
}

ValueId weight_of(const Graph& g, const Node& n) {
  const std::string_view s = n.op->name;
  const bool has = (s == "Conv" || s == "ConvTranspose" || s == "Gemm" || s == "MatMul") && n.in.size() > 1;
  ValueId w = has ? n.in[1] : kNoValue;
  if (w != kNoValue && g.def(w) && g.def(w)->op->name == "Transpose") w = g.def(w)->in[0];
  return w;
}

// The recurrent layer that a weight ends in, as a whole or cut into gates that are put together again.
struct Layer {
  const Node* node = nullptr;
  size_t operand = 0;
};
Layer recurrent_layer(const Graph& g, ValueId w) {
  for (NodeId id : g.users(w)) {
    const Node& n = g.node(id);
    const std::string_view s = n.op->name;
    if (s == "LSTM" || s == "GRU" || s == "RNN")
      return {&n, static_cast<size_t>(std::find(n.in.begin(), n.in.end(), w) - n.in.begin())};
    if (s == "Slice" || s == "Split" || s == "Concat" || s == "Unsqueeze" || s == "Reshape" || s == "Identity")
      if (const Layer l = recurrent_layer(g, n.out[0]); l.node) return l;
  }
  return {};
}

Fans fans(const Graph& g, ValueId w, bool flipped = false) {
  if (const Layer l = recurrent_layer(g, w); l.node) {  // PyTorch: everything by the number of hidden units
    const Dims &r = g.value(l.node->in[2]).type.dims, &dims = g.value(w).type.dims;
    const double hidden = static_cast<double>(r[2].constant());
    return {l.operand < 3 ? Fans::Kind::matrix : Fans::Kind::bias, hidden,
            static_cast<double>(dims[dims.size() < 2 ? 0 : dims.size() - 2].constant()), false};
  }
  for (NodeId id : g.users(w)) {
    const Node& n = g.node(id);
    const std::string_view s = n.op->name;
    const auto k = static_cast<size_t>(std::find(n.in.begin(), n.in.end(), w) - n.in.begin());
    if (s == "Transpose") return fans(g, n.out[0], !flipped);
    if (s == "Identity" || s == "Cast") return fans(g, n.out[0], flipped);
    if (s.ends_with("Normalization") && k <= 2) return {k == 1 ? Fans::Kind::scale : Fans::Kind::shift};
    const bool bias = ((s == "Conv" || s == "ConvTranspose" || s == "Gemm") && k == 2) || s == "Add";
    if (!bias) return fans_of_weight(g, n, k, w, flipped);
    const Node* product = s == "Add" ? g.def(n.in[1 - k]) : &n;
    const ValueId weight = product ? weight_of(g, *product) : kNoValue;
    if (weight == kNoValue || g.value(weight).role == Role::temp) return {};
    Fans f = fans(g, weight);
    f.kind = Fans::Kind::bias;
    return f;
  }
  return {};
}

double gain_of(const std::string& nonlinearity, double slope) {
  if (nonlinearity == "relu") return std::sqrt(2.0);
  if (nonlinearity == "leaky_relu") return std::sqrt(2 / (1 + slope * slope));
  if (nonlinearity == "tanh") return 5.0 / 3;
  if (nonlinearity == "selu") return 0.75;
  return 1;
}

struct Distribution {
  enum class Kind : uint8_t { keep, constant, uniform, normal, orthogonal } kind = Kind::keep;
  double a = 0, b = 0;  // value; low, high; mean, deviation; gain
};

class RuleReader {
 public:
  RuleReader(const CallText& call, const Fans& f) : call_(call), arguments_(call, "initialiser"), fans_(f) {}

  Result<Distribution> read() {
    FCC_TRY(Distribution d, distribution());
    FCC_CHECKED(arguments_.finish(call_.name == "constant" ? 1 : 0));
    return d;
  }

 private:
  using Kind = Distribution::Kind;

  Result<Distribution> distribution() {
    const std::string& s = call_.name;
    if (s == "keep") return Distribution{};
    if (s == "zeros") return Distribution{Kind::constant, 0, 0};
    if (s == "ones") return Distribution{Kind::constant, 1, 0};
    if (s == "constant") {
      FCC_TRY(const double given, arguments_.number("value", 0));
      if (call_.values.empty()) return Distribution{Kind::constant, given, 0};
      FCC_TRY(const double v, parse_number(call_.values[0], "initialiser constant"));
      return Distribution{Kind::constant, v, 0};
    }
    if (s == "normal") {
      FCC_TRY(const double mean, arguments_.number("mean", 0));
      FCC_TRY(const double std, arguments_.number("std", 1));
      return Distribution{Kind::normal, mean, std};
    }
    if (s == "uniform") {
      FCC_TRY(const double low, arguments_.number("low", 0));
      FCC_TRY(const double high, arguments_.number("high", 1));
      return Distribution{Kind::uniform, low, high};
    }
    if (s == "default") return torch_default();
    if (s == "orthogonal") {
      FCC_TRY(const double gain, arguments_.number("gain", 1));
      return only_matrix({Kind::orthogonal, gain, 0});
    }
    if (s.starts_with("kaiming_") || s.starts_with("xavier_")) return scaled();
    static const std::vector<std::string_view> names = {
        "keep",       "default",  "kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform",
        "orthogonal", "constant", "normal",         "uniform",         "zeros",         "ones"};
    const std::string_view near = nearest_name(s, names);
    return fail("there is no initialiser \"" + s + "\"", "",
                near.empty() ? "initialisers are keep, default, kaiming_normal, kaiming_uniform, xavier_normal, "
                               "xavier_uniform, orthogonal, constant, normal, uniform"
                             : "did you mean " + std::string(near) + "?");
  }

  // Matrices by the rule, biases and what else there is as PyTorch's layers start them.
  Result<Distribution> only_matrix(Distribution d) {
    if (fans_.kind == Fans::Kind::matrix || fans_.kind == Fans::Kind::table) return d;
    if (fans_.kind == Fans::Kind::bias) return Distribution{Kind::constant, 0, 0};
    return torch_default();
  }

  // nn.Linear, nn.Conv: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias, nn.LSTM with its hidden units; nn.Embedding: N(0, 1); norms: 1 and
  // 0.
  Result<Distribution> torch_default() const {
    const double bound = 1 / std::sqrt(std::max(1.0, fans_.in));
    switch (fans_.kind) {
      case Fans::Kind::matrix:
      case Fans::Kind::bias:
        return Distribution{Kind::uniform, -bound, bound};
      case Fans::Kind::scale:
        return Distribution{Kind::constant, 1, 0};
      case Fans::Kind::shift:
        return Distribution{Kind::constant, 0, 0};
      case Fans::Kind::table:
        return Distribution{Kind::normal, 0, 1};
      case Fans::Kind::other:
        break;
    }
    return Distribution{};
  }

  Result<Distribution> scaled() {
    const bool kaiming = call_.name.starts_with("kaiming_");
    const std::string shape = call_.name.substr(kaiming ? 8 : 7);
    if (shape != "normal" && shape != "uniform")
      return fail("there is no initialiser \"" + call_.name + "\"", "",
                  "write " + std::string(kaiming ? "kaiming" : "xavier") + "_normal or _uniform");
    double deviation = 0;
    if (kaiming) {
      const std::string mode = arguments_.text("mode", "fan_in"),
                        nonlinearity = arguments_.text("nonlinearity", "relu");
      FCC_TRY(const double slope, arguments_.number("a", 0));
      deviation = gain_of(nonlinearity, slope) / std::sqrt(mode == "fan_out" ? fans_.out : fans_.in);
    } else {
      FCC_TRY(const double gain, arguments_.number("gain", 1));
      deviation = gain * std::sqrt(2 / (fans_.in + fans_.out));
    }
    if (shape == "normal") return only_matrix({Kind::normal, 0, deviation});
    const double bound = std::sqrt(3.0) * deviation;
    return only_matrix({Kind::uniform, -bound, bound});
  }

  const CallText& call_;
  Arguments arguments_;
  const Fans& fans_;
};

// Rows (or columns, when there are fewer) orthonormal: Gram-Schmidt on normal numbers, twice for accuracy.
void orthogonal(Tensor& t, double gain, Generator& random, bool transposed) {
  int64_t rows = t.shape()[0], cols = t.elements() / std::max<int64_t>(rows, 1);
  if (transposed) std::swap(rows, cols);
  const int64_t n = std::min(rows, cols), length = std::max(rows, cols);
  std::vector<std::vector<double>> q(static_cast<size_t>(n), std::vector<double>(static_cast<size_t>(length)));
  for (auto& v : q) {
    for (double& x : v) x = random.normal();
    for (int round = 0; round < 2; ++round)
      for (auto& w : q) {
        if (&w == &v) break;
        const double dot = std::inner_product(v.begin(), v.end(), w.begin(), 0.0);
        for (size_t i = 0; i < v.size(); ++i) v[i] -= dot * w[i];
      }
    const double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    for (double& x : v) x /= norm;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      const double x = rows <= cols ? q[static_cast<size_t>(r)][static_cast<size_t>(c)]
                                    : q[static_cast<size_t>(c)][static_cast<size_t>(r)];
      t.set_double(transposed ? c * rows + r : r * cols + c, gain * x);
    }
}

Tensor drawn(const Tensor& like, const Distribution& d, Generator random, const Fans& f) {
  if (d.kind == Distribution::Kind::keep) return like;
  Tensor t(like.dtype(), like.shape());
  if (d.kind == Distribution::Kind::orthogonal && t.rank() >= 2) {
    orthogonal(t, d.a, random, f.transposed);
    return t;
  }
  for (int64_t i = 0; i < t.elements(); ++i) {
    double v = d.a;
    if (d.kind == Distribution::Kind::uniform) v = d.a + (d.b - d.a) * random.uniform();
    if (d.kind == Distribution::Kind::normal) v = d.a + d.b * random.normal();
    t.set_double(i, v);
  }
  return t;
}

}  // namespace

Result<Initialisers> Initialisers::parse(const std::vector<std::string>& texts, int64_t seed) {
  Initialisers all;
  all.seed_ = seed;
  for (const std::string& t : texts) {
    // The first = outside of parentheses divides the expression from the rule.
    const size_t open = t.find('('), equals = t.substr(0, open == t.npos ? t.size() : t.rfind('(')).rfind('=');
    const bool named = equals != t.npos;
    FCC_TRY(NamePattern pattern, NamePattern::compile(named ? t.substr(0, equals) : "", "--init"));
    const std::string rule = named ? t.substr(equals + 1) : t;
    FCC_TRY(CallText call, parse_call(rule, "initialiser"));
    FCC_CHECKED(RuleReader(call, Fans{}).read());
    all.rules_.push_back({std::move(pattern), rule});
  }
  return all;
}

Result<Tensor> Initialisers::value(const Graph& g, ValueId weight, const std::string& name) const {
  const Tensor& given = g.value(weight).data;
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& r) { return r.pattern.matches(name); });
  if (rule == rules_.end()) return given;
  const Fans f = fans(g, weight);
  FCC_TRY(CallText call, parse_call(rule->text, "initialiser"));
  FCC_TRY(const Distribution d, RuleReader(call, f).read());
  return drawn(given, d, Generator(seed_, name), f);
}

}  // namespace fcc
