// Open dimensions: names, expressions, unknown extents, and the user's settings.
#include "tests/unit/frontend/import_run.h"

namespace fcc::test {
namespace {

// The types of the inputs a, b, ... whose dims are given.
std::vector<std::string> types(const std::vector<std::vector<MadeDim>>& inputs, const ImportOptions& options = {}) {
  ModelMaker m;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const std::string name(1, static_cast<char>('a' + k));
    m.input(name, inputs[k]);
    m.node("Relu", {name}, {name + "_out"});
    m.output(name + "_out");
  }
  const Import i = import_good(m, options);
  std::vector<std::string> out;
  for (ValueId v : i.graph.inputs()) out.push_back(i.graph.value(v).type.text());
  return out;
}
using Texts = std::vector<std::string>;

TEST(Dims, NamesAndNumbers) {
  EXPECT_EQ(types({{"N", 3, "height"}}), (Texts{"f32[N,3,height]"}));
  EXPECT_EQ(types({{}}), (Texts{"f32[]"}));
  EXPECT_EQ(types({{0, 3}}), (Texts{"f32[0,3]"}));
  EXPECT_EQ(types({{"7", 3}}), (Texts{"f32[7,3]"}));  // a number written as text
}

TEST(Dims, UnknownExtentsGetTheirOwnNames) {
  EXPECT_EQ(types({{"", "", 3}, {""}}), (Texts{"f32[a_d0,a_d1,3]", "f32[b_d0]"}));
  EXPECT_EQ(types({{"?", "?"}, {"None", -1}}), (Texts{"f32[a_d0,a_d1]", "f32[b_d0,b_d1]"}));
}

TEST(Dims, ExpressionsOfKnownNames) {
  EXPECT_EQ(types({{"N", "N + 1"}, {"2*N", "N*N"}}), (Texts{"f32[N,N+1]", "f32[2*N,N*N]"}));
  EXPECT_EQ(types({{"past + 1"}, {"past"}}), (Texts{"f32[past+1]", "f32[past]"}));  // the name may come later
}

TEST(Dims, OtherTextIsAnOpaqueName) {
  EXPECT_EQ(types({{"batch size", "M + 1"}}), (Texts{"f32[`batch size`,`M + 1`]"}));
  EXPECT_EQ(types({{"N", "floor(N/2)"}}), (Texts{"f32[N,`floor(N/2)`]"}));
  EXPECT_EQ(types({{"a`b$c\n"}}), (Texts{"f32[a_b_c_]"}));
  EXPECT_EQ(types({{"p2o.DynamicDimension.0"}}), (Texts{"f32[p2o.DynamicDimension.0]"}));
}

TEST(Dims, LongProductsAreNotMultipliedOut) {
  std::string text = "(N+M)";
  for (int k = 0; k < 40; ++k) text += "*(N+M)";
  EXPECT_EQ(types({{"N", "M", text}}), (Texts{"f32[N,M,`" + text + "`]"}));
}

TEST(Dims, SettingsFixAndBound) {
  EXPECT_EQ(types({{"N", "N + 1", "S"}}, {.dims = {"N=4"}}), (Texts{"f32[4,5,S]"}));
  EXPECT_EQ(types({{"", 3}}, {.dims = {"a_d0=2"}}), (Texts{"f32[2,3]"}));
  EXPECT_EQ(types({{"batch size"}}, {.dims = {"batch size=2"}}), (Texts{"f32[2]"}));
  ModelMaker m = relu_model();
  m.g().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(0)->set_dim_param("N");
  const Import i = import_good(m, {.dims = {"N=1..64"}});
  EXPECT_EQ(i.bounds, (std::map<std::string, DimBounds>{{"N", {1, 64}}}));
  EXPECT_EQ(i.graph.value(i.graph.inputs()[0]).type.text(), "f32[N,3]");
  EXPECT_TRUE(import_good(m, {.dims = {"N=5"}}).bounds.empty());
  EXPECT_TRUE(import_good(m, {.dims = {"N=5..5"}}).bounds.empty());
}

}  // namespace
}  // namespace fcc::test
