// Graph text: what print writes, parse reads back, down to bits, names and positions.
#include "ir/text.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "ir/op.h"
#include "ir/verify.h"

namespace fcc {
namespace {

Graph parsed(std::string_view text) {
  Result<Graph> g = parse_graph(text);
  if (!g) throw std::runtime_error(g.error().text());
  return *std::move(g);
}
void expect_round_trip(const Graph& g) {
  const Status s = verify_text(g);
  EXPECT_TRUE(s.has_value()) << s.error().text() << "\n" << print(g);
}
std::string refusal(std::string_view text) {
  Result<Graph> g = parse_graph(text);
  return g ? "accepted" : g.error().what + " (" + g.error().seen + ")";
}

TEST(graph_text, is_what_it_was_parsed_from) {
  const std::string_view text = R"(graph "mlp" opset 17 {
  input x : f32[N,2]
  const w : f32[2,2] = {1.0,-2.5,inf,nan}
  state s : f32[] = {0.5}
  state zero : f32[]
  h = MatMul(x, w) : f32[N,2] @"fc 1"#3
  y = Clip(h, _, s) : f32[N,2] @"clip"#4/13
  n = Add(s, zero) : f32[]
  output `the result` = y
  update s = n
}
)";
  EXPECT_EQ(print(parsed(text)), text);
}

TEST(graph_text, keeps_where_a_node_came_from) {
  const Graph g = parsed("graph \"g\" opset 17 {\n input x : f32[2]\n y = Relu(x) : f32[2] @\"a\\\"b\"#7\n z = Relu(y) : f32[2] @\"\"/9\n output z = z\n}");
  const std::vector<NodeId> order = g.order();
  EXPECT_EQ(g.node(order[0]).loc.node, "a\"b");
  EXPECT_EQ(g.node(order[0]).loc.index, 7);
  EXPECT_EQ(g.node(order[0]).loc.opset, 17);
  EXPECT_EQ(g.node(order[1]).loc.opset, 9);
  expect_round_trip(g);
}

TEST(graph_text, quotes_names_that_look_like_something_else) {
  Graph g;
  g.name = "quotes \" and \\ and\nlines";
  std::vector<ValueId> values;
  for (const char* name : {"input", "_", "12", "-x", "with space", "a\\b", "graph", "observed", "output.1", "é"})
    values.push_back(g.add_input(name, {DType::f32, {SymExpr::symbol("a b")}}));
  for (ValueId v : values) {
    Result<NodeId> n = g.add(op("Relu"), {v}, {}, Loc{"line\nbreak", 1, 0});
    ASSERT_TRUE(n.has_value());
    g.add_output("out put `" + g.value(v).name, g.node(*n).out[0]);
  }
  expect_round_trip(g);
}

TEST(graph_text, keeps_every_element_type_exactly) {
  Graph g;
  auto add = [&](DType t, std::initializer_list<double> values) {
    Tensor data(t, {static_cast<int64_t>(values.size())});
    int64_t i = 0;
    for (double v : values) is_float(t) ? data.set_double(i++, v) : data.set_int(i++, static_cast<int64_t>(v));
    const ValueId c = g.add_constant("c", std::move(data));
    g.add_output("o", c);
  };
  constexpr double kInf = std::numeric_limits<double>::infinity();
  add(DType::f32, {0.1f, -0.0, 1e-45, 3.4028234663852886e38, -kInf, std::nan("")});
  add(DType::f64, {0.1, 5e-324, 1.7976931348623157e308});
  add(DType::f16, {0.1, 65504, 6e-8});
  add(DType::bf16, {0.1, 1e30});
  for (DType t : {DType::i8, DType::i16, DType::i32, DType::i64}) add(t, {-128, 127, 0});
  for (DType t : {DType::u8, DType::u16, DType::u32, DType::u64}) add(t, {255, 0});
  add(DType::boolean, {0, 1});
  Tensor extremes(DType::u64, {2});
  extremes.as<uint64_t>()[0] = std::numeric_limits<uint64_t>::max();
  g.add_output("u", g.add_constant("u", extremes));
  Tensor lowest(DType::i64, {1});
  lowest.as<int64_t>()[0] = std::numeric_limits<int64_t>::min();
  g.add_output("i", g.add_constant("i", lowest));
  g.add_output("empty", g.add_constant("empty", Tensor(DType::f32, {0, 3})));
  const std::string text = print(g);
  const Graph again = parsed(text);
  ASSERT_EQ(again.outputs.size(), g.outputs.size());
  for (size_t k = 0; k < g.outputs.size(); ++k) {
    const Tensor &a = g.value(g.outputs[k]).data, &b = again.value(again.outputs[k]).data;
    EXPECT_TRUE(k == 0 || a.same_bits(b)) << text;  // 0 holds a NaN, whose payload is not kept
  }
}

TEST(graph_text, keeps_large_constants_in_the_pool) {
  Graph g;
  Tensor t(DType::f32, {5, 7});
  for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, static_cast<double>(i) / 3);
  g.add_output("y", g.add_constant("w", t));
  std::vector<Tensor> pool;
  const std::string text = print(g, &pool);
  ASSERT_EQ(pool.size(), 1u);
  Result<Graph> again = parse_graph(text, pool);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->value(again->outputs[0]).data.same_bits(t));
  // Without the pool: the same made-up numbers every time.
  const Graph a = parsed(text), b = parsed(print(g));
  EXPECT_TRUE(a.value(a.outputs[0]).data.same_bits(b.value(b.outputs[0]).data));
}

TEST(graph_text, keeps_open_sizes_and_shape_arithmetic) {
  expect_round_trip(parsed(R"(graph "sizes" {
  input x : f32[N,`batch size`,floordiv(2*N+1,3)]
  s = Shape(x) : i64[3]
  d = Dims() {dims=dims[N,`batch size`*N,max(N,4)], dtype='i64} : i64[3]
  e = Expand(x, s) : f32[N,`batch size`,floordiv(2*N+1,3)]
  output e = e
  output d = d
})"));
}

TEST(graph_text, keeps_what_steps_read_while_running) {
  const Graph g = parsed(R"(graph "data" {
  input n : i64[1] observed [$5]
  y = ConstantOfShape(n) : f32[$5]
  output y = y
})");
  expect_round_trip(g);
  EXPECT_TRUE(g.value(g.inputs()[0]).observed);
}

TEST(graph_text, keeps_bodies) {
  expect_round_trip(parsed(R"(graph "kernels" {
  input x : f32[N,4]
  input s : i64[2] observed [$0,$1]
  y = Kernel(s) {what="ConstantOfShape+Relu"} : f32[$0,$1] @"fused"
    graph "" {
      input s : i64[2] observed [$0,$1]
      c = ConstantOfShape(s) : f32[$0,$1]
      y = Relu(c) : f32[$0,$1]
      output out = y
    }
  z = Kernel(x) {what="Reshape"} : f32[2*N,2]
    graph "" {
      input x : f32[N,4]
      s = Dims() {dims=dims[2*N,2]} : i64[2]
      y = Reshape(x, s) : f32[2*N,2]
      output out = y
    }
  output y = y
  output z = z
})"));
}

TEST(graph_text, says_what_is_wrong_and_where) {
  EXPECT_EQ(refusal("module"), "graph text: expected graph \"name\" { ... } (line 1)");
  EXPECT_EQ(refusal("graph \"g\" {\n y = Relu(x) : f32[2]\n}"), "graph text: x is not defined (line 2)");
  EXPECT_EQ(refusal("graph \"g\" {\n input x : f32[2]\n y = Rellu(x) : f32[2]\n}"), "graph text: there is no operator Rellu (line 3)");
  EXPECT_EQ(refusal("graph \"g\" {\n input x : f32[2]\n y = Relu(x) : f32[3]\n}"), "graph text: y is f32[2], the text says f32[3] (line 3)");
  EXPECT_EQ(refusal("graph \"g\" {\n input x : f32[2]\n input x : f32[2]\n}"), "graph text: x is defined twice (line 3)");
  EXPECT_EQ(refusal("graph \"g\" {\n const x : f32[2] = {1}\n}"), "graph text: expected ,, seen \"}\" (line 2)");
  EXPECT_EQ(refusal("graph \"g\" {\n"), "graph text: expected a name, seen \"\" (line 2)");
  EXPECT_EQ(refusal("graph \"g\" {\n} }"), "graph text: text after the graph (line 2)");
}

}  // namespace
}  // namespace fcc
