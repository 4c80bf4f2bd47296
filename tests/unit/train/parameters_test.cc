// Which constants of a model are trained, and how merged initializers come apart.
#include "passes/train/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ir/text.h"
#include "passes/train/initialise.h"

namespace fcc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Made {
  Graph graph;
  std::vector<TrainingState> states;
  std::vector<std::string> notes;

  std::vector<std::string> names(StateRole role) const {
    std::vector<std::string> v;
    for (const TrainingState& s : states)
      if (s.role == role) v.push_back(s.name);
    return v;
  }
};

Result<Made> make(const std::string& text, const TrainOptions& options = {}) {
  Made m;
  FCC_TRY(m.graph, parse_graph(text));
  std::vector<std::pair<std::string, ValueId>> initializers;
  for (ValueId v = 0; v < m.graph.value_count(); ++v)
    if (m.graph.value(v).role == Role::constant) initializers.emplace_back(m.graph.value(v).name, v);
  FCC_TRY(m.states, make_states(m.graph, initializers, options, m.notes));
  return m;
}

constexpr const char* kLinear = R"(graph "g" {
  input x : f32[N,3]
  const fc.weight : f32[4,3] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}
  const fc.bias : f32[4] = {0.0, 0.0, 0.0, 0.0}
  const half : f32[] = {0.5}
  const shape : i64[2] = {-1, 2}
  h = Gemm(x, fc.weight, fc.bias) {transB=1} : f32[N,4]
  s = Mul(h, half) : f32[N,4]
  y = Reshape(s, shape) : f32[2*N,2]
  output y = y
})";

TEST(Parameters, WeightsAndBiasesAreTrainedNumbersAreNot) {
  const auto m = make(kLinear);
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_THAT(m->names(StateRole::parameter), ElementsAre("fc.weight", "fc.bias"));
  EXPECT_TRUE(m->states[0].trainable && m->states[1].trainable);
  EXPECT_EQ(m->graph.states().size(), 2u);
  EXPECT_TRUE(m->notes.empty());
}

TEST(Parameters, RegularExpressionsChoose) {
  TrainOptions options;
  options.freeze = {"weight"};
  EXPECT_FALSE(make(kLinear, options)->states[0].trainable);
  EXPECT_TRUE(make(kLinear, options)->states[1].trainable);
  options = {};
  options.trainable = {"^half$"};
  const auto m = make(kLinear, options);
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(m->states.size(), 3u);
  EXPECT_FALSE(m->states[0].trainable);
  options = {};
  options.freeze = {"."};
  EXPECT_THAT(make(kLinear, options).error().text(), HasSubstr("no parameter is left to train"));
}

// What torch.onnx.export makes of a fresh BatchNorm: running_var is Identity(weight), running_mean Identity(bias).
TEST(Parameters, MergedStatisticsComeApart) {
  const char* text = R"(graph "g" {
  input x : f32[N,2]
  const bn.weight : f32[2] = {1.0, 1.0}
  const bn.bias : f32[2] = {0.0, 0.0}
  bn.running_var = Identity(bn.weight) : f32[2]
  bn.running_mean = Identity(bn.bias) : f32[2]
  y = BatchNormalization(x, bn.weight, bn.bias, bn.running_mean, bn.running_var) : f32[N,2]
  output y = y
})";
  for (const bool keep : {false, true}) {
    TrainOptions options;
    options.keep_ties = keep;
    const auto m = make(text, options);
    ASSERT_TRUE(m) << m.error().text();
    EXPECT_THAT(m->names(StateRole::parameter), ElementsAre("bn.weight", "bn.bias"));
    EXPECT_THAT(m->names(StateRole::buffer), ElementsAre("bn.running_var", "bn.running_mean"));
    EXPECT_EQ(m->notes.size(), 2u);
  }
}

TEST(Parameters, ATensorThatIsWeightAndStatisticOfOneNode) {
  const auto m = make(R"(graph "g" {
  input x : f32[N,2]
  const one : f32[2] = {1.0, 1.0}
  const zero : f32[2] = {0.0, 0.0}
  y = BatchNormalization(x, one, zero, zero, one) : f32[N,2]
  output y = y
})");
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_THAT(m->names(StateRole::parameter), ElementsAre("one", "zero"));
  EXPECT_THAT(m->names(StateRole::buffer), ElementsAre("one.running_var", "zero.running_mean"));
}

// The exporter cuts an LSTM's bias into gates, in another order; that is one use. PyTorch draws by the hidden units.
TEST(Parameters, ABiasCutIntoGatesStaysWhole) {
  TrainOptions options;
  options.init = {"default"};
  const auto m = make(R"(graph "g" {
  input x : f32[3,N,1]
  const w : f32[1,4,1] = {9.0, 9.0, 9.0, 9.0}
  const r : f32[1,4,1] = {9.0, 9.0, 9.0, 9.0}
  const b : f32[8] = {9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0}
  const sizes : i64[2] = {6, 2}
  const axis : i64[1] = {0}
  const from : i64[1] = {0}
  const to : i64[1] = {2}
  p, q = Split(b, sizes) {axis=0} : f32[6], f32[2]
  o = Slice(b, from, to) : f32[2]
  c = Concat(o, p) {axis=0} : f32[8]
  all = Unsqueeze(c, axis) : f32[1,8]
  y, h, cell = LSTM(x, w, r, all) : f32[3,1,N,1], f32[1,N,1], f32[1,N,1]
  output y = y
})",
                      options);
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_THAT(m->names(StateRole::parameter), ElementsAre("w", "r", "b"));
  EXPECT_TRUE(m->notes.empty());
  for (const TrainingState& s : m->states)
    for (double v : s.initial.to_doubles()) EXPECT_LE(std::abs(v), 1) << s.name;
}

// Two layers whose equal biases were merged train them apart; one module used twice keeps its weights.
TEST(Parameters, BiasesOfDifferentLayersComeApartModulesStay) {
  const auto two_layers = [](const char* second_weight) {
    return std::string(R"(graph "g" {
  input x : f32[N,2]
  const w1 : f32[2,2] = {1.0, 2.0, 3.0, 4.0}
  const w2 : f32[2,2] = {1.0, 2.0, 3.0, 5.0}
  const b : f32[2] = {0.0, 0.0}
  h = Gemm(x, w1, b) : f32[N,2]
  y = Gemm(h, )") +
           second_weight + R"(, b) : f32[N,2]
  output y = y
})";
  };
  EXPECT_THAT(make(two_layers("w2"))->names(StateRole::parameter), ElementsAre("w1", "w2", "b", "b.1"));
  TrainOptions keep;
  keep.keep_ties = true;
  EXPECT_THAT(make(two_layers("w2"), keep)->names(StateRole::parameter), ElementsAre("w1", "w2", "b"));
  const auto shared = make(two_layers("w1"));
  EXPECT_THAT(shared->names(StateRole::parameter), ElementsAre("w1", "b"));
  EXPECT_TRUE(shared->notes.empty());
}

// ---- first values
// -----------------------------------------------------------------------------------------------------

Tensor first(const std::string& rule, const std::string& text, const std::string& name, int64_t seed = 1) {
  Result<Graph> g = parse_graph(text);
  EXPECT_TRUE(g) << g.error().text();
  Result<Initialisers> rules = Initialisers::parse({rule}, seed);
  EXPECT_TRUE(rules) << rules.error().text();
  for (ValueId v = 0; v < g->value_count(); ++v)
    if (g->value(v).name == name) {
      Result<Tensor> t = rules->value(*g, v, name);
      EXPECT_TRUE(t) << t.error().text();
      return *t;
    }
  ADD_FAILURE() << name;
  return {};
}

constexpr const char* kWide = R"(graph "g" {
  input x : f32[N,64]
  const w : f32[100,64] = pool 0
  const b : f32[100] = pool 1
  y = Gemm(x, w, b) {transB=1} : f32[N,100]
  output y = y
})";

double deviation(const Tensor& t) {
  double squares = 0;
  for (double x : t.to_doubles()) squares += x * x;
  return std::sqrt(squares / static_cast<double>(t.elements()));
}
double largest(const Tensor& t) {
  double top = 0;
  for (double x : t.to_doubles()) top = std::max(top, std::abs(x));
  return top;
}

TEST(Initialise, ScalesFollowTheFansOfUse) {
  EXPECT_NEAR(deviation(first("kaiming_normal", kWide, "w")), std::sqrt(2.0 / 64), 0.003);
  EXPECT_NEAR(deviation(first("kaiming_normal(mode=fan_out,nonlinearity=linear)", kWide, "w")), std::sqrt(1.0 / 100),
              0.003);
  EXPECT_NEAR(deviation(first("xavier_normal", kWide, "w")), std::sqrt(2.0 / 164), 0.003);
  const double bound = std::sqrt(6.0 / 164);
  EXPECT_LE(largest(first("xavier_uniform", kWide, "w")), bound);
  EXPECT_GE(largest(first("xavier_uniform", kWide, "w")), 0.99 * bound);
  EXPECT_LE(largest(first("default", kWide, "w")), 1.0 / 8);
  EXPECT_GE(largest(first("default", kWide, "b")), 0.11);  // a bias has the fan of its weight
  EXPECT_EQ(largest(first("kaiming_normal", kWide, "b")), 0);
}

TEST(Initialise, IsDeterministicBySeedAndName) {
  EXPECT_TRUE(first("default", kWide, "w", 5).same_bits(first("default", kWide, "w", 5)));
  EXPECT_FALSE(first("default", kWide, "w", 5).same_bits(first("default", kWide, "w", 6)));
}

TEST(Initialise, ExpressionsChooseAndConstantsAreExact) {
  EXPECT_EQ(first("w=constant(0.25)", kWide, "w").get_double(17), 0.25);
  EXPECT_TRUE(first("other=constant(0.25)", kWide, "b").same_bits(first("keep", kWide, "b")));
}

TEST(Initialise, OrthogonalRows) {
  const Tensor t = first("orthogonal(gain=2)", kWide, "w");  // 100 rows of 64: columns are orthogonal
  const std::vector<double> w = t.to_doubles();
  for (int a : {0, 1, 63})
    for (int b : {0, 1, 63}) {
      double dot = 0;
      for (size_t r = 0; r < 100; ++r) dot += w[r * 64 + static_cast<size_t>(a)] * w[r * 64 + static_cast<size_t>(b)];
      EXPECT_NEAR(dot, a == b ? 4 : 0, 1e-5);
    }
}

TEST(Initialise, Refuses) {
  const auto refusal = [](const std::string& text) { return Initialisers::parse({text}, 0).error().text(); };
  EXPECT_EQ(refusal("kaming_normal"),
            "error: there is no initialiser \"kaming_normal\"\n hint: did you mean kaiming_normal?");
  EXPECT_THAT(refusal("w=kaiming_normal(gain=2)"), HasSubstr("no argument \"gain\""));
  EXPECT_THAT(refusal("w=kaiming_cauchy"), HasSubstr("_normal or _uniform"));
}

}  // namespace
}  // namespace fcc
