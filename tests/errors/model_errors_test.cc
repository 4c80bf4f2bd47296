// Rows 17 to 33: models whose bytes are good and whose content is not. Row 34 (size) is in unit/frontend/scale_test.cc.
#include <gtest/gtest.h>

#include "tests/errors/error_cases.h"

namespace fcc::test {
namespace {

using onnx::AttributeProto;

ModelMaker two_relus() {
  ModelMaker m;
  m.input("x", {2});
  m.node("Relu", {"x"}, {"h"}, "first");
  m.node("Sigmoid", {"h"}, {"y"}, "second");
  m.output("y");
  return m;
}

// y = f(x), f = Relu
ModelMaker function_model() {
  ModelMaker m;
  m.import("local", 1);
  m.input("x", {2});
  m.node("f", {"x"}, {"y"}, "call").set_domain("local");
  m.output("y");
  auto* f = m.m.add_functions();
  f->set_name("f");
  f->set_domain("local");
  f->add_input("a");
  f->add_output("b");
  auto* o = f->add_opset_import();
  o->set_version(17);
  ModelMaker::add_node(*f->mutable_node(), "Relu", {"a"}, {"b"});
  return m;
}

void add_function(ModelMaker& m, const std::string& name, const std::vector<std::string>& calls) {
  auto* f = m.m.add_functions();
  f->set_name(name);
  f->set_domain("local");
  f->add_input("a");
  f->add_output("b");
  f->add_opset_import()->set_version(17);
  for (size_t i = 0; i < calls.size(); ++i) {
    auto& n = ModelMaker::add_node(*f->mutable_node(), calls[i], {i == 0 ? "a" : "t" + std::to_string(i - 1)},
                                   {i + 1 == calls.size() ? "b" : "t" + std::to_string(i)});
    if (calls[i] != "Relu") n.set_domain("local");
  }
}

onnx::GraphProto& branch(onnx::NodeProto& n, const std::string& name) {
  auto* g = attribute(n, name, AttributeProto::GRAPH).mutable_g();
  g->set_name(name);
  return *g;
}

// y = If(c) { Relu(x) } else { Sigmoid(x) }
ModelMaker if_model() {
  ModelMaker m;
  m.input("x", {2});
  m.input("c", {}, kBool);
  auto& n = m.node("If", {"c"}, {"y"}, "choice");
  auto& t = branch(n, "then_branch");
  ModelMaker::add_node(*t.mutable_node(), "Relu", {"x"}, {"t"});
  t.add_output()->set_name("t");
  auto& e = branch(n, "else_branch");
  ModelMaker::add_node(*e.mutable_node(), "Sigmoid", {"x"}, {"e"});
  e.add_output()->set_name("e");
  m.output("y");
  return m;
}

ModelMaker relu() {
  return relu_model();
}

std::vector<ErrorCase> header_cases() {
  return {
      bad_model("r17_no_graph", relu, [](ModelMaker& m) { m.m.clear_graph(); }),
      bad_model("r17_empty_graph", relu, [](ModelMaker& m) { m.g().Clear(); }),
      bad_model("r17_no_outputs", relu, [](ModelMaker& m) { m.g().clear_output(); }),
      bad_model("r18_ir_version_0", relu, [](ModelMaker& m) { m.m.set_ir_version(0); }),
      bad_model("r18_ir_version_999", relu, [](ModelMaker& m) { m.m.set_ir_version(999); }),
      bad_model("r18_ir_version_negative", relu, [](ModelMaker& m) { m.m.set_ir_version(-1); }),
      bad_model("r18_ir_version_newer", relu, [](ModelMaker& m) { m.m.set_ir_version(20); }),
      bad_model("r19_no_opset", relu, [](ModelMaker& m) { m.m.clear_opset_import(); }),
      bad_model("r19_opset_of_other_domain_only", relu,
                [](ModelMaker& m) { m.m.mutable_opset_import(0)->set_domain("ai.onnx.ml"); }),
      bad_model("r20_opset_999", relu, [](ModelMaker& m) { m.m.mutable_opset_import(0)->set_version(999); }),
      bad_model("r20_opset_0", relu, [](ModelMaker& m) { m.m.mutable_opset_import(0)->set_version(0); }),
      bad_model("r20_opset_25", relu, [](ModelMaker& m) { m.m.mutable_opset_import(0)->set_version(25); }),
      bad_model("r21_domain_twice", relu, [](ModelMaker& m) { m.import("ai.onnx", 18); }),
      bad_model("r21_other_domain_twice", relu,
                [](ModelMaker& m) {
                  m.import("local", 1);
                  m.import("local", 2);
                }),
      bad_model("training_info_is_noted", relu, [](ModelMaker& m) { m.m.add_training_info(); }),
  };
}

std::vector<ErrorCase> operator_cases() {
  return {
      bad_model("r22_unknown_op", relu, [](ModelMaker& m) { m.g().mutable_node(0)->set_op_type("Rellu"); }),
      bad_model("r22_unknown_op_unlike_any", relu,
                [](ModelMaker& m) { m.g().mutable_node(0)->set_op_type("FrobnicateTensor"); }),
      bad_model("r22_no_op_type", relu, [](ModelMaker& m) { m.g().mutable_node(0)->clear_op_type(); }),
      bad_model("r22_internal_op_is_not_reachable", relu,
                [](ModelMaker& m) { m.g().mutable_node(0)->set_op_type("Dims"); }),
      bad_model("r22_unknown_domain", relu, [](ModelMaker& m) { m.g().mutable_node(0)->set_domain("acme"); }),
      bad_model("r22_onnx_runtime_op", relu,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->set_domain("com.microsoft");
                  m.g().mutable_node(0)->set_op_type("FusedConv");
                }),
      bad_model("r22_ml_op", relu,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->set_domain("ai.onnx.ml");
                  m.g().mutable_node(0)->set_op_type("TreeEnsembleRegressor");
                }),
      bad_model("r22_op_of_later_opset", relu, [](ModelMaker& m) { m.g().mutable_node(0)->set_op_type("Gelu"); }),
      bad_model("r22_removed_op", relu, [](ModelMaker& m) { m.g().mutable_node(0)->set_op_type("Upsample"); }),
      bad_model("r22_many_unsupported", relu,
                [](ModelMaker& m) {
                  for (int i = 0; i < 12; ++i)
                    m.node("StringSplit", {"x"}, {"s" + std::to_string(i)}, "split_" + std::to_string(i));
                  m.m.mutable_opset_import(0)->set_version(20);
                  m.node("Rellu", {"x"}, {"z"});
                  m.node("FusedConv", {"x"}, {"u"}, "conv").set_domain("com.microsoft");
                }),
      bad_model("r22_unsupported_and_damaged", relu, [](ModelMaker& m) { m.node("Rellu", {"nowhere"}, {"z"}); }),
      bad_model("unknown_attribute", relu, [](ModelMaker& m) { set(*m.g().mutable_node(0), "alpha", 1.0f); }),
      bad_model("misspelt_attribute", relu,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->set_op_type("LeakyRelu");
                  set(*m.g().mutable_node(0), "alhpa", 1.0f);
                }),
      bad_model("attribute_twice", relu,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->set_op_type("LeakyRelu");
                  set(set(*m.g().mutable_node(0), "alpha", 1.0f), "alpha", 2.0f);
                }),
      bad_model("attribute_of_wrong_type", relu,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->set_op_type("LeakyRelu");
                  set(*m.g().mutable_node(0), "alpha", "much");
                }),
      bad_model("missing_operand", relu, [](ModelMaker& m) { m.g().mutable_node(0)->clear_input(); }),
      bad_model("too_many_operands", relu, [](ModelMaker& m) { m.g().mutable_node(0)->add_input("x"); }),
      bad_model("too_many_results", relu, [](ModelMaker& m) { m.g().mutable_node(0)->add_output("y2"); }),
      bad_model("attribute_300_times", relu,
                [](ModelMaker& m) {
                  for (int i = 0; i < 300; ++i) set(*m.g().mutable_node(0), "a" + std::to_string(i), i);
                }),
  };
}

std::vector<ErrorCase> name_cases() {
  return {
      bad_model("r23_duplicate_output", two_relus, [](ModelMaker& m) { m.g().mutable_node(1)->set_output(0, "h"); }),
      bad_model("r23_output_equals_input", two_relus, [](ModelMaker& m) { m.g().mutable_node(0)->set_output(0, "x"); }),
      bad_model("r23_output_equals_initializer", add_model,
                [](ModelMaker& m) { m.g().mutable_node(0)->set_output(0, "w"); }),
      bad_model("r23_graph_output_twice", two_relus, [](ModelMaker& m) { m.output("y"); }),
      bad_model("r23_input_twice", two_relus, [](ModelMaker& m) { m.input("x", {2}); }),
      bad_model("r24_duplicate_initializer", add_model, [](ModelMaker& m) { m.floats("w", {1}, {1}); }),
      bad_model("r24_unnamed_initializer", add_model, [](ModelMaker& m) { m.floats("", {1}, {1}); }),
      bad_model("r25_missing_input", two_relus, [](ModelMaker& m) { m.g().mutable_node(1)->set_input(0, "hh"); }),
      bad_model("r25_missing_input_far_from_any_name", two_relus,
                [](ModelMaker& m) { m.g().mutable_node(1)->set_input(0, "backbone.conv"); }),
      bad_model("r26_cycle", two_relus, [](ModelMaker& m) { m.g().mutable_node(0)->set_input(0, "y"); }),
      bad_model("r26_self_loop", two_relus, [](ModelMaker& m) { m.g().mutable_node(0)->set_input(0, "h"); }),
      bad_model("r27_unsorted", two_relus, [](ModelMaker& m) { m.g().mutable_node()->SwapElements(0, 1); }),
      bad_model("r28_output_nobody_makes", two_relus, [](ModelMaker& m) { m.g().mutable_output(0)->set_name("z"); }),
      bad_model("r28_unnamed_output", two_relus, [](ModelMaker& m) { m.g().mutable_output(0)->set_name(""); }),
      bad_model("r29_no_node_names", two_relus,
                [](ModelMaker& m) {
                  for (auto& n : *m.g().mutable_node()) n.clear_name();
                }),
      bad_model("r29_no_node_names_and_a_fault", add_model,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->clear_name();
                  m.g()
                      .mutable_input(0)
                      ->mutable_type()
                      ->mutable_tensor_type()
                      ->mutable_shape()
                      ->mutable_dim(1)
                      ->set_dim_value(5);
                }),
      bad_model("several_faults_at_once", two_relus,
                [](ModelMaker& m) {
                  m.node("Add", {"x", "nowhere"}, {"a"}, "third");
                  m.node("Relu", {"x"}, {"a"}, "fourth");
                  m.output("b");
                }),
      bad_model("thirty_faults", two_relus,
                [](ModelMaker& m) {
                  for (int i = 0; i < 30; ++i)
                    m.node("Relu", {"nowhere" + std::to_string(i)}, {"a" + std::to_string(i)});
                }),
      bad_model("two_nodes_refused_by_their_operators", add_model,
                [](ModelMaker& m) {
                  m.floats("odd", {7}, {1, 2, 3, 4, 5, 6, 7});
                  m.node("Mul", {"x", "odd"}, {"p"}, "product");
                  m.node("Relu", {"p"}, {"q"}, "after");
                  m.node("Sub", {"odd", "x"}, {"r"}, "difference");
                }),
  };
}

std::vector<ErrorCase> function_cases() {
  return {
      bad_model("r30_good_function", function_model, [](ModelMaker&) {}),
      bad_model("r30_function_calls_itself", function_model,
                [](ModelMaker& m) {
                  auto* n = m.m.mutable_functions(0)->mutable_node(0);
                  n->set_op_type("f");
                  n->set_domain("local");
                }),
      bad_model("r30_cycle_of_two", function_model,
                [](ModelMaker& m) {
                  m.m.clear_functions();
                  add_function(m, "f", {"h"});
                  add_function(m, "h", {"f"});
                }),
      bad_model("r30_missing_function", function_model, [](ModelMaker& m) { m.m.clear_functions(); }),
      bad_model("r30_duplicate_function", function_model,
                [](ModelMaker& m) { *m.m.add_functions() = m.m.functions(0); }),
      bad_model("r30_unnamed_function", function_model, [](ModelMaker& m) { m.m.mutable_functions(0)->clear_name(); }),
      bad_model("r30_too_many_inputs", function_model, [](ModelMaker& m) { m.g().mutable_node(0)->add_input("x"); }),
      bad_model("r30_output_not_made", function_model,
                [](ModelMaker& m) { m.m.mutable_functions(0)->set_output(0, "c"); }),
      bad_model("r30_body_reads_unknown_value", function_model,
                [](ModelMaker& m) { m.m.mutable_functions(0)->mutable_node(0)->set_input(0, "x"); }),
      bad_model("r30_fault_inside", function_model,
                [](ModelMaker& m) {
                  auto* n = m.m.mutable_functions(0)->mutable_node(0);
                  n->set_op_type("Softmax");
                  n->set_name("soft");
                  set(*n, "axis", 5);
                }),
      bad_model("r30_expands_without_bound", function_model,
                [](ModelMaker& m) {
                  m.m.clear_functions();
                  add_function(m, "f0", {"Relu", "Relu"});
                  for (int i = 1; i <= 60; ++i)
                    add_function(m, i == 60 ? "f" : "f" + std::to_string(i),
                                 std::vector<std::string>(2, "f" + std::to_string(i - 1)));
                }),
      bad_model("r30_200_deep", function_model,
                [](ModelMaker& m) {
                  m.m.clear_functions();
                  add_function(m, "f0", {"Relu"});
                  for (int i = 1; i <= 200; ++i)
                    add_function(m, i == 200 ? "f" : "f" + std::to_string(i), {"f" + std::to_string(i - 1)});
                }),
      bad_model("r30_100000_functions", function_model,
                [](ModelMaker& m) {
                  for (int i = 0; i < 100'000; ++i) {
                    auto* f = m.m.add_functions();
                    f->set_name("unused" + std::to_string(i));
                    f->set_domain("local");
                  }
                }),
  };
}

std::vector<ErrorCase> subgraph_cases() {
  return {
      bad_model("r31_if_with_open_condition", if_model, [](ModelMaker&) {}),
      bad_model("r31_if_with_constant_condition", if_model,
                [](ModelMaker& m) {
                  m.g().mutable_input()->RemoveLast();
                  const char yes = 1;
                  ModelMaker::fill(*m.g().add_initializer(), "c", kBool, {}, &yes, 1);
                }),
      bad_model("r31_if_nested_30_deep", if_model,
                [](ModelMaker& m) {
                  m.g().mutable_input()->RemoveLast();
                  const char yes = 1;
                  ModelMaker::fill(*m.g().add_initializer(), "c", kBool, {}, &yes, 1);
                  for (int i = 0; i < 30; ++i) {
                    onnx::GraphProto inner = m.g();
                    inner.clear_input();
                    inner.clear_initializer();
                    for (auto& o : *inner.mutable_node(0)->mutable_output()) o = "y" + std::to_string(i);
                    inner.mutable_output(0)->set_name("y" + std::to_string(i));
                    *m.g().mutable_node(0)->mutable_attribute(0)->mutable_g() = inner;
                  }
                }),
      bad_model("r31_if_wide_and_deep", if_model,
                [](ModelMaker& m) {  // both branches of every If hold one: 2^7 leaves, each to be looked at once
                  const onnx::NodeProto leaf = m.g().node(0);
                  std::function<onnx::NodeProto(int, const std::string&)> nest = [&](int depth, const std::string& y) {
                    onnx::NodeProto n = leaf;
                    n.set_output(0, y);
                    for (int k = 0; k < 2; ++k) {
                      onnx::GraphProto& g = *n.mutable_attribute(k)->mutable_g();
                      const std::string inner = y + std::to_string(k);
                      if (depth > 0) *g.mutable_node(0) = nest(depth - 1, inner);
                      g.mutable_node(0)->set_output(0, inner);
                      g.mutable_output(0)->set_name(inner);
                    }
                    return n;
                  };
                  m.g().mutable_input()->RemoveLast();
                  const char yes = 1;
                  ModelMaker::fill(*m.g().add_initializer(), "c", kBool, {}, &yes, 1);
                  *m.g().mutable_node(0) = nest(6, "y");
                }),
      bad_model("r57_loop_of_2_63_trips", relu,
                [](ModelMaker& m) {
                  m.ints("trips", {}, {INT64_MAX});
                  auto& n = m.node("Loop", {"trips", "", "x"}, {"l"}, "loop");
                  auto& b = branch(n, "body");
                  ModelMaker::value(*b.add_input(), "i", {}, kInt64);
                  ModelMaker::value(*b.add_input(), "on", {}, kBool);
                  ModelMaker::value(*b.add_input(), "v", {2, 3}, kFloat);
                  for (const char* name : {"on", "v"}) b.add_output()->set_name(name);
                }),
      bad_model("r57_scan", relu,
                [](ModelMaker& m) {
                  auto& n = set(m.node("Scan", {"x"}, {"l"}, "scan"), "num_scan_inputs", 1);
                  auto& b = branch(n, "body");
                  ModelMaker::value(*b.add_input(), "v", {3}, kFloat);
                  b.add_output()->set_name("v");
                }),
      bad_model("r31_if_without_else", if_model,
                [](ModelMaker& m) {
                  m.g().mutable_input()->RemoveLast();
                  const char no = 0;
                  ModelMaker::fill(*m.g().add_initializer(), "c", kBool, {}, &no, 1);
                  m.g().mutable_node(0)->mutable_attribute()->RemoveLast();
                }),
      bad_model("r32_subgraph_on_relu", relu,
                [](ModelMaker& m) { branch(*m.g().mutable_node(0), "body").add_output()->set_name("x"); }),
      bad_model("r33_body_input_shadows_initializer", add_model,
                [](ModelMaker& m) {
                  auto& n = m.node("Loop", {"", ""}, {"l"}, "loop");
                  auto& b = branch(n, "body");
                  ModelMaker::value(*b.add_input(), "w", {}, kInt64);
                  b.add_output()->set_name("w");
                }),
      bad_model("r33_body_input_is_also_its_initializer", add_model,
                [](ModelMaker& m) {
                  auto& n = m.node("Loop", {"", ""}, {"l"}, "loop");
                  auto& b = branch(n, "body");
                  ModelMaker::value(*b.add_input(), "i", {}, kInt64);
                  const int64_t one = 1;
                  ModelMaker::fill(*b.add_initializer(), "i", kInt64, {}, &one, 8);
                  b.add_output()->set_name("i");
                }),
      bad_model("branch_reads_unknown_value", if_model,
                [](ModelMaker& m) {
                  m.g().mutable_node(0)->mutable_attribute(0)->mutable_g()->mutable_node(0)->set_input(0, "z");
                }),
      bad_model("branch_value_is_not_visible_outside", if_model,
                [](ModelMaker& m) { m.g().mutable_output(0)->set_name("t"); }),
  };
}

TEST(Errors, Header) {
  check_error_cases("header", header_cases());
}
TEST(Errors, Operators) {
  check_error_cases("operators", operator_cases());
}
TEST(Errors, Names) {
  check_error_cases("names", name_cases());
}
TEST(Errors, Functions) {
  check_error_cases("functions", function_cases());
}
TEST(Errors, Subgraphs) {
  check_error_cases("subgraphs", subgraph_cases());
}

}  // namespace
}  // namespace fcc::test
