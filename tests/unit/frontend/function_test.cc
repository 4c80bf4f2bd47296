// Model-local functions and branches with a known condition are inlined.
#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

using onnx::AttributeProto;

onnx::FunctionProto& function(ModelMaker& m, const std::string& name, const std::vector<std::string>& in,
                              const std::vector<std::string>& out, int64_t opset = 17) {
  auto* f = m.m.add_functions();
  f->set_name(name);
  f->set_domain("local");
  for (const auto& i : in) f->add_input(i);
  for (const auto& o : out) f->add_output(o);
  f->add_opset_import()->set_version(opset);
  return *f;
}
onnx::NodeProto& body(onnx::FunctionProto& f, const std::string& op, const std::vector<std::string>& in,
                      const std::vector<std::string>& out) {
  return ModelMaker::add_node(*f.mutable_node(), op, in, out);
}
void refer(onnx::NodeProto& n, const std::string& name, const std::string& to,
           AttributeProto::AttributeType type = AttributeProto::FLOAT) {
  attribute(n, name, type).set_ref_attr_name(to);
}

ModelMaker caller(int64_t opset = 17) {
  ModelMaker m(opset);
  m.import("local", 1);
  m.input("x", {4});
  m.output("y");
  return m;
}

TEST(Function, InlinedWithItsAttributes) {
  ModelMaker m = caller();
  set(m.node("leaky", {"x"}, {"h"}, "one"), "slope", 0.5f).set_domain("local");
  m.node("leaky", {"h"}, {"y"}, "two").set_domain("local");  // without the attribute: the operator's default
  auto& f = function(m, "leaky", {"a"}, {"b"});
  f.add_attribute("slope");
  refer(body(f, "LeakyRelu", {"a"}, {"b"}), "alpha", "slope");
  const std::vector<Tensor> y = run(m, {f32({4}, {-2, -1, 0, 3})});
  EXPECT_FLOAT_EQ(static_cast<float>(y[0].get_double(0)), -0.01f);
  EXPECT_EQ(y[0].get_double(3), 3);
  EXPECT_EQ(count_ops(import_good(m).graph, "LeakyRelu"), 2);
}

// attribute_proto is newer than the installed schema: field 11 of FunctionProto.
TEST(Function, DefaultAttributes) {
  ModelMaker m = caller();
  m.node("leaky", {"x"}, {"y"}).set_domain("local");
  auto& f = function(m, "leaky", {"a"}, {"b"});
  refer(body(f, "LeakyRelu", {"a"}, {"b"}), "alpha", "slope");
  AttributeProto slope;
  slope.set_name("slope");
  slope.set_type(AttributeProto::FLOAT);
  slope.set_f(0.25f);
  f.mutable_unknown_fields()->AddLengthDelimited(11, slope.SerializeAsString());
  EXPECT_EQ(run(m, {f32({4}, {-4, 0, 1, 2})})[0].to_doubles(), (Doubles{-1, 0, 1, 2}));
}

TEST(Function, NestedCallsPassAttributesOn) {
  ModelMaker m = caller();
  set(m.node("outer", {"x"}, {"y"}), "s", 0.5f).set_domain("local");
  auto& outer = function(m, "outer", {"a"}, {"b"});
  auto& call = body(outer, "inner", {"a"}, {"b"});
  call.set_domain("local");
  refer(call, "t", "s");
  auto& inner = function(m, "inner", {"p"}, {"q"});
  refer(body(inner, "LeakyRelu", {"p"}, {"q"}), "alpha", "t");
  EXPECT_EQ(run(m, {f32({4}, {-4, 0, 1, 2})})[0].to_doubles(), (Doubles{-2, 0, 1, 2}));
}

TEST(Function, OptionalInputsAndUnusedOutputs) {
  ModelMaker m = caller();
  m.node("limit", {"x", "", "top"}, {"", "y"}).set_domain("local");
  m.floats("top", {}, {2});
  auto& f = function(m, "limit", {"a", "low", "high"}, {"twice", "clipped"});
  body(f, "Add", {"a", "a"}, {"twice"});
  body(f, "Clip", {"a", "low", "high"}, {"clipped"});
  EXPECT_EQ(run(m, {f32({4}, {-9, 0, 2, 3})})[0].to_doubles(), (Doubles{-9, 0, 2, 2}));
}

TEST(Function, OutputMayBeAnInput) {
  ModelMaker m = caller();
  m.node("same", {"x"}, {"h"}).set_domain("local");
  m.node("Neg", {"h"}, {"y"});
  function(m, "same", {"a"}, {"a"});
  EXPECT_EQ(run(m, {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{-1, -2, -3, -4}));
}

TEST(Function, HasItsOwnOpset) {
  ModelMaker m = caller(20);
  m.node("sum", {"x"}, {"y"}).set_domain("local");
  auto& f = function(m, "sum", {"a"}, {"b"}, 11);
  set(set(body(f, "ReduceSum", {"a"}, {"b"}), "axes", Ints{0}), "keepdims", 0);  // the form before opset 13
  EXPECT_EQ(run(m, {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{10}));
}

TEST(Function, OverloadsAreDistinct) {
  ModelMaker m = caller();
  auto& n = m.node("f", {"x"}, {"y"});
  n.set_domain("local");
  n.mutable_unknown_fields()->AddLengthDelimited(8, "second");
  body(function(m, "f", {"a"}, {"b"}), "Neg", {"a"}, {"b"});
  auto& second = function(m, "f", {"a"}, {"b"});
  second.mutable_unknown_fields()->AddLengthDelimited(13, "second");
  body(second, "Abs", {"a"}, {"b"});
  EXPECT_EQ(run(m, {f32({4}, {-1, 2, -3, 4})})[0].to_doubles(), (Doubles{1, 2, 3, 4}));
}

TEST(Function, ValuesInsideDoNotLeak) {
  ModelMaker m = caller();
  m.node("Neg", {"x"}, {"t"});
  m.node("f", {"x"}, {"u"}, "call").set_domain("local");
  m.node("Add", {"t", "u"}, {"y"});  // t of the graph, not of the function
  auto& f = function(m, "f", {"x"}, {"z"});
  body(f, "Abs", {"x"}, {"t"});
  body(f, "Add", {"t", "t"}, {"z"});
  EXPECT_EQ(run(m, {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{1, 2, 3, 4}));
}

TEST(Function, NamesOfNodesAndValues) {
  ModelMaker m = caller();
  m.node("f", {"x"}, {"y"}, "block").set_domain("local");
  auto& f = function(m, "f", {"a"}, {"b"});
  body(f, "Abs", {"a"}, {"t"}).set_name("abs");
  body(f, "Neg", {"t"}, {"b"}).set_name("neg");
  const Import i = import_good(m);
  const std::vector<NodeId> nodes = i.graph.order();
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(i.graph.node(nodes[0]).loc.node, "block/abs");
  EXPECT_EQ(i.graph.value(i.graph.node(nodes[0]).out[0]).name, "block/t");
  EXPECT_EQ(i.graph.value(i.graph.outputs[0]).name, "y");
}

onnx::GraphProto& branch(onnx::NodeProto& n, const std::string& name) {
  return *attribute(n, name, AttributeProto::GRAPH).mutable_g();
}

ModelMaker choice(bool yes) {
  ModelMaker m = caller();
  const char value = yes;
  ModelMaker::fill(*m.g().add_initializer(), "c", kBool, {}, &value, 1);
  auto& n = m.node("If", {"c"}, {"y"}, "choice");
  auto& t = branch(n, "then_branch");
  const float w[4] = {1, 1, 1, 1};
  ModelMaker::fill(*t.add_initializer(), "w", kFloat, {4}, w, sizeof w);
  ModelMaker::add_node(*t.mutable_node(), "Add", {"x", "w"}, {"sum"});  // x of the graph outside
  t.add_output()->set_name("sum");
  branch(n, "else_branch").add_output()->set_name("x");
  return m;
}

TEST(If, ConstantConditionInlinesItsBranch) {
  EXPECT_EQ(run(choice(true), {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{2, 3, 4, 5}));
  EXPECT_EQ(run(choice(false), {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{1, 2, 3, 4}));
}

TEST(If, ConditionFromShapeArithmetic) {  // If(size(x) == 4), which the exporter writes for squeeze
  ModelMaker m = choice(false);
  m.g().mutable_initializer()->Clear();
  m.ints("four", {1}, {4});
  m.node("Shape", {"x"}, {"s"});
  m.node("Equal", {"s", "four"}, {"c"});
  m.g().mutable_node()->SwapElements(0, 1);
  m.g().mutable_node()->SwapElements(1, 2);
  EXPECT_EQ(run(m, {f32({4}, {1, 2, 3, 4})})[0].to_doubles(), (Doubles{2, 3, 4, 5}));
}

}  // namespace
}  // namespace fcc::test
