// States in the schedule: the next value goes into the place of the state when nobody needs the old one any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "ir/eval.h"
#include "ir/text.h"
#include "tools/compiled_model.h"
#include "tools/driver/compile.h"

namespace fcc {
namespace {

class Compiled {
 public:
  explicit Compiled(const std::string& text, int threads = 1) {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("fcc_state_" + std::to_string(getpid()) + "_" + std::to_string(count++) + ".so");
    Result<Graph> g = parse_graph(text);
    EXPECT_TRUE(g) << g.error().text();
    graph = *g;
    const auto report = compile_graph(graph, path_, {});
    EXPECT_TRUE(report) << report.error().text();
    steps = report->steps;
    Result<CompiledModel> m = CompiledModel::open(path_, {.threads = threads});
    EXPECT_TRUE(m) << m.error().text();
    model.emplace(std::move(*m));
    for (ValueId v : graph.states())
      states_.push_back(graph.value(v).data.raw() ? graph.value(v).data
                                                  : Tensor(graph.value(v).type.dtype, graph.value(v).type.extents()));
  }
  ~Compiled() { std::filesystem::remove(path_); }

  // One run of both; every output and state must agree.
  void step(const std::vector<Tensor>& inputs) {
    const Result<EvalResult> expected = evaluate(graph, inputs, states_);
    ASSERT_TRUE(expected) << expected.error().text();
    const auto actual = model->run(inputs);
    ASSERT_TRUE(actual) << actual.error().text();
    for (size_t k = 0; k < actual->size(); ++k)
      EXPECT_THAT((*actual)[k].to_doubles(),
                  testing::Pointwise(testing::DoubleNear(1e-5), expected->outputs[k].to_doubles()));
    for (const auto& [state, next] : expected->states) {
      const auto at = std::find(graph.states().begin(), graph.states().end(), state) - graph.states().begin();
      states_[static_cast<size_t>(at)] = next;
      EXPECT_THAT(state_now(graph.value(state).name), testing::Pointwise(testing::DoubleNear(1e-5), next.to_doubles()))
          << graph.value(state).name;
    }
  }
  std::vector<double> state_now(const std::string& name) {
    uint32_t index = 0;
    fcc_tensor t{};
    EXPECT_EQ(fcc_session_find_state(model->session(), name.c_str(), &index), FCC_OK);
    EXPECT_EQ(fcc_session_state(model->session(), index, &t), FCC_OK);
    std::vector<int64_t> shape(t.dims, t.dims + t.rank);
    return Tensor::view(static_cast<DType>(t.dtype), shape, static_cast<const std::byte*>(t.data), nullptr)
        .to_doubles();
  }

  Graph graph;
  std::optional<CompiledModel> model;
  int64_t steps = 0;

 private:
  std::string path_;
  std::vector<Tensor> states_;
};

Tensor ramp(std::vector<int64_t> shape, double from = 0.5) {
  Tensor t(DType::f32, std::move(shape));
  for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, from + 0.25 * static_cast<double>(i % 7));
  return t;
}

TEST(State, IsUpdatedInPlace) {
  Compiled c(R"(graph "g" {
  input x : f32[N]
  state s : f32[3] = {1.0, 2.0, 3.0}
  const axes : i64[1] = {0}
  sum = ReduceSum(x, axes) {keepdims=1} : f32[1]
  next = Add(s, sum) : f32[3]
  output total = sum
  update s = next
})");
  EXPECT_EQ(c.steps, 2);  // no copy
  for (int64_t n : {1, 5, 40}) c.step({ramp({n})});
}

// The update of a weight in the epilogue of the product that makes its gradient.
TEST(State, IsUpdatedInAProduct) {
  Compiled c(R"(graph "g" {
  input x : f32[16,20]
  input d : f32[16,33]
  state w : f32[20,33]
  t = Transpose(x) {perm=[1,0]} : f32[20,16]
  g = MatMul(t, d) : f32[20,33]
  next = Sub(w, g) : f32[20,33]
  y = MatMul(x, w) : f32[16,33]
  output y = y
  update w = next
})");
  EXPECT_EQ(c.steps, 5);  // a transposition, two packings, two products; no copy
  for (int k = 0; k < 3; ++k) c.step({ramp({16, 20}, -0.5), ramp({16, 33}, -0.75)});
}

// The product reads whole rows of the state that it would overwrite.
TEST(State, IsNotUpdatedInAProductThatReadsIt) {
  Compiled c(R"(graph "g" {
  input d : f32[20,20]
  state w : f32[20,20]
  g = MatMul(w, d) : f32[20,20]
  h = Add(g, d) : f32[20,20]
  next = Sub(h, w) : f32[20,20]
  update w = next
  output s = d
})");
  for (int k = 0; k < 3; ++k) c.step({ramp({20, 20}, -0.5)});
}

// The old value is an output: it is copied before the update comes.
TEST(State, OldValueIsReadFirst) {
  Compiled c(R"(graph "g" {
  input x : f32[4]
  state s : f32[4]
  next = Add(s, x) : f32[4]
  y = Mul(s, x) : f32[4]
  z = Mul(next, y) : f32[4]
  output old = s
  output z = z
  update s = next
})");
  for (int k = 0; k < 3; ++k) c.step({ramp({4})});
}

// Two states that take each other's value, and one that becomes what another was.
TEST(State, MayBeExchanged) {
  Compiled c(R"(graph "g" {
  input x : f32[4]
  state a : f32[4] = {1.0, 2.0, 3.0, 4.0}
  state b : f32[4] = {5.0, 6.0, 7.0, 8.0}
  state c : f32[4]
  y = Add(a, x) : f32[4]
  output y = y
  update a = b
  update b = a
  update c = a
})");
  for (int k = 0; k < 3; ++k) c.step({ramp({4})});
}

// A next value that reads the state elsewhere than where it writes.
TEST(State, IsNotOverwrittenWhileOthersReadIt) {
  Compiled c(R"(graph "g" {
  input x : f32[2,3]
  state s : f32[3,3] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}
  t = Transpose(s) {perm=[1,0]} : f32[3,3]
  y = MatMul(x, s) : f32[2,3]
  output y = y
  update s = t
})");
  for (int k = 0; k < 3; ++k) c.step({ramp({2, 3})});
}

TEST(State, OneNextValueForTwoAndAnInput) {
  Compiled c(R"(graph "g" {
  input x : f32[4]
  state a : f32[4]
  state b : f32[4]
  state last : f32[4]
  next = Add(a, x) : f32[4]
  output y = next
  update a = next
  update b = next
  update last = x
})");
  for (int k = 0; k < 3; ++k) c.step({ramp({4}, k)});
}

// A label out of range stops the run before any state changes, also one whose next value does not depend on it.
TEST(State, FaultsComeBeforeUpdates) {
  Compiled c(R"(graph "g" {
  input x : f32[2,3]
  input labels : i64[2]
  state count : i64[]
  state w : f32[2] = {1.0, 1.0}
  const one : i64[] = {1}
  more = Add(count, one) : i64[]
  picked = PickClass(x, labels) : f32[2]
  next = Sub(w, picked) : f32[2]
  output y = picked
  update count = more
  update w = next
})");
  const auto labels = [](int64_t a, int64_t b) {
    const int64_t v[] = {a, b};
    return Tensor::ints(v);
  };
  c.step({ramp({2, 3}), labels(0, 2)});
  const auto refused = c.model->run(std::vector<Tensor>{ramp({2, 3}), labels(1, 3)});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), testing::HasSubstr("a label is outside of the classes"));
  EXPECT_EQ(c.state_now("count"), std::vector<double>{1});
  c.step({ramp({2, 3}), labels(2, 1)});
  EXPECT_EQ(c.state_now("count"), std::vector<double>{2});
}

// Three states in one kernel: Adam reads and writes each element once.
TEST(State, AnOptimizerIsOneKernel) {
  Compiled c(R"(graph "g" {
  input g : f32[50,30]
  input lr : f32[]
  input root : f32[]
  input shrink : f32[]
  const two : f32[] = {2.0}
  state p : f32[50,30]
  state m : f32[50,30]
  state v : f32[50,30]
  half = Mul(g, two) : f32[50,30]
  np, nm, nv = Optimize(p, half, lr, root, shrink, m, v) {hyper=numbers[0.001, 0.9, 0.999, 1.0e-8, 0.0, 0.0], kind="adam"} : f32[50,30], f32[50,30], f32[50,30]
  update p = np
  update m = nm
  update v = nv
})");
  EXPECT_EQ(c.steps, 1);
  for (int k = 0; k < 3; ++k)
    c.step({ramp({50, 30}), Tensor::scalar(DType::f32, 0.01), Tensor::scalar(DType::f32, 0.5),
            Tensor::scalar(DType::f32, 1)});
}

}  // namespace
}  // namespace fcc
