// Every gradient rule against differences, the adjoint identity, and a mutation: no operator is forgotten, because the
// registry is asked which there are.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/grad/cases.h"

namespace fcc::test {

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> c;
    add_pointwise_cases(c);
    add_linear_cases(c);
    add_reduction_cases(c);
    add_movement_cases(c);
    add_convolution_cases(c);
    add_pooling_cases(c);
    add_norm_cases(c);
    add_einsum_cases(c);
    add_index_cases(c);
    add_pad_cases(c);
    add_resize_cases(c);
    add_recurrent_cases(c);
    add_batch_training_cases(c);
    return c;
  }();
  return cases;
}

namespace {

constexpr double kTolerance = 1e-6;

// The truth about a case: stated, or by differences (kept, as they are the expensive part).
const Gradients& truth(const Case& c) {
  static std::map<const Case*, Gradients> known;
  auto it = known.find(&c);
  if (it != known.end()) return it->second;
  if (c.expected.empty()) return known.emplace(&c, by_differences(c)).first->second;
  auto g = by_rule(c, false);
  g->of = c.expected;
  return known.emplace(&c, *g).first->second;
}

TEST(Gradients, EveryOperatorHasARuleOrAReason) {
  for (const OpDef* o : registry().all())
    EXPECT_TRUE(o->grad || o->expand || !o->no_grad.empty())
        << o->name << ": give it a rule (OpDef::grad, ir/grad.h) or say why there is none (no_grad)";
}

TEST(Gradients, EveryRuleHasACase) {
  std::set<std::string> covered;
  for (const Case& c : all_cases()) covered.insert(c.op);
  covered.insert({"PickClass", "CheckFinite", "CheckCount"});  // parts of losses, tested with them in tests/unit/train
  for (const OpDef* o : registry().all())
    EXPECT_TRUE(!o->grad || covered.contains(std::string(o->name)))
        << o->name << ": add cases to tests/grad/cases_*.cc";
}

TEST(Gradients, MatchDifferences) {
  for (const Case& c : all_cases())
    for (bool open : {false, true}) {
      if (open && !c.open) continue;
      SCOPED_TRACE(text(c) + (open ? ", open" : ""));
      auto g = by_rule(c, open);
      ASSERT_TRUE(g.has_value()) << g.error().text();
      EXPECT_LE(error(*g, truth(c)), kTolerance) << text(*g) << "\n" << text(truth(c));
    }
}

TEST(Gradients, AreAdjoint) {
  for (const Case& c : all_cases()) {
    if (!c.expected.empty()) continue;
    SCOPED_TRACE(text(c));
    auto g = by_rule(c, false);
    ASSERT_TRUE(g.has_value()) << g.error().text();
    EXPECT_LE(adjoint_error(c, *g), kTolerance);
  }
}

// What is compiled is define; the interpreter runs eval.
TEST(Gradients, DefineAgreesWithEval) {
  for (const Case& c : all_cases())
    for (bool open : {false, true}) {
      if (open && !c.open) continue;
      std::string worst;
      EXPECT_LE(define_error(c, open, worst), 1e-12) << text(c) << (open ? ", open: " : ": ") << worst;
    }
}

// One result of a rule off by 1 %: some case must notice, for each operand that has a gradient.
TEST(Gradients, MutatedRulesAreCaught) {
  std::set<std::pair<std::string, size_t>> tried, caught;
  for (const Case& c : all_cases()) {
    if (!op(c.op).grad) continue;
    for (size_t k : truth(c).operands) {
      const std::pair key{c.op, std::min<size_t>(k, op(c.op).in.max < 0 ? 2 : 100)};
      if (caught.contains(key)) continue;
      auto g = by_rule(c, false, [&](GraphBuilder& b, const Node& n, size_t operand, ValueId dx) {
        if (n.op->name != c.op || operand != k) return dx;
        tried.insert(key);
        return b("Mul", {dx, b.scalar(b.type(dx).dtype, 1.01)});
      });
      if (g && error(*g, truth(c)) > kTolerance) caught.insert(key);
    }
  }
  for (const auto& key : tried) EXPECT_TRUE(caught.contains(key)) << key.first << ", operand " << key.second;
}

}  // namespace
}  // namespace fcc::test
