// What `fcc check` shows, for models that import and for models that do not.
#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

ModelSummary survey_of(const ModelMaker& m) {
  const TempDir dir;
  const Result<ModelSummary> s = survey(dir.write("m.onnx", m.bytes()));
  if (s) return *s;
  ADD_FAILURE() << s.error().text();
  return {};
}

TEST(Survey, GoodModel) {
  ModelMaker m = add_model();
  m.node("Relu", {"y"}, {"z"});
  m.output("z");
  const ModelSummary s = survey_of(m);
  EXPECT_EQ(s.file, "m.onnx");
  EXPECT_EQ(s.opset, 17);
  EXPECT_EQ(s.nodes, 2);
  EXPECT_EQ(s.operators, (std::map<std::string, int64_t>{{"Add", 1}, {"Relu", 1}}));
  EXPECT_EQ(s.inputs, (std::vector<std::string>{"x: f32[2,3]"}));
  EXPECT_EQ(s.parameters, 6);
  EXPECT_EQ(s.parameter_bytes, 24);
  EXPECT_TRUE(s.unsupported.empty());
  EXPECT_TRUE(s.faults.empty());
}

TEST(Survey, ListsEveryUnsupportedNode) {
  ModelMaker m = relu_model();
  m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_param("N");
  m.node("Rellu", {"x"}, {"a"}, "first");
  m.node("FusedConv", {"x"}, {"b"}).set_domain("com.microsoft");
  m.node("Rellu", {"x"}, {"c"}, "third");
  const ModelSummary s = survey_of(m);
  ASSERT_EQ(s.unsupported.size(), 3u);
  EXPECT_EQ(s.unsupported[0].op, "Rellu");
  EXPECT_EQ(s.unsupported[0].node, "first");
  EXPECT_EQ(s.unsupported[0].index, 1);
  EXPECT_EQ(s.unsupported[0].reason, "this is no ONNX operator");
  EXPECT_EQ(s.unsupported[1].op, "com.microsoft.FusedConv");
  EXPECT_EQ(s.unsupported[2].index, 3);
  EXPECT_EQ(s.operators.at("Rellu"), 2);
  EXPECT_EQ(s.open_dims, (std::vector<std::string>{"N"}));
  EXPECT_EQ(s.faults.size(), 2u);  // one an operator
}

TEST(Survey, FaultsOfAModelWithoutUnsupportedNodes) {
  ModelMaker m = add_model();
  m.floats("odd", {7}, std::vector<float>(7));
  m.node("Mul", {"x", "odd"}, {"p"});
  const ModelSummary s = survey_of(m);
  EXPECT_TRUE(s.unsupported.empty());
  EXPECT_EQ(s.faults.size(), 1u);
}

TEST(Survey, NoModelAtAll) {
  const TempDir dir;
  EXPECT_FALSE(survey(dir.write("m.onnx", "{}")));
  EXPECT_FALSE(survey(dir.file("missing.onnx")));
}

}  // namespace
}  // namespace fcc::test
