// Normalizations, Einsum, and operators that read or write at indices.
#include "tests/grad/cases.h"

namespace fcc::test {
namespace {

using Ints = std::vector<int64_t>;

}  // namespace

void add_norm_cases(std::vector<Case>& cases) {
  const auto batch = [&](Ints x) {
    const int64_t c = x.size() > 1 ? x[1] : 1;
    cases.push_back({"BatchNormalization",
                     {random(x), random({c}), random({c}), random({c}), random({c}, 0.3, 2)},
                     {{"epsilon", 1e-3}}});
  };
  batch({2, 3, 2, 2});
  batch({4, 3});
  batch({5});
  for (int64_t axis : {-1, 1, 0}) {
    cases.push_back({"LayerNormalization", {random({2, 3, 4}), random({4}), random({4})}, {{"axis", axis}}});
    cases.push_back({"RMSNormalization", {random({2, 3, 4}), random({4})}, {{"axis", axis}}});
  }
  cases.push_back(
      {"LayerNormalization", {random({2, 5}), random({2, 5})}, {{"epsilon", 0.1}, {"stash_type", int64_t{11}}}, 3});
  cases.push_back({"InstanceNormalization", {random({2, 3, 4}), random({3}), random({3})}});
  cases.push_back({"InstanceNormalization", {random({1, 2, 2, 3}), random({2}), random({2})}, {{"epsilon", 0.1}}});
  cases.push_back({"GroupNormalization",
                   {random({2, 4, 3}), random({4}), random({4})},
                   {{"num_groups", int64_t{2}}},
                   1,
                   {},
                   false});
  cases.push_back(
      {"GroupNormalization", {random({1, 3, 2, 2}), random({3}), random({3})}, {{"num_groups", int64_t{1}}}});
  cases.push_back({"LRN", {random({2, 5, 3})}, {{"size", int64_t{3}}, {"alpha", 0.5}}});
  cases.push_back({"LRN", {random({1, 4, 2})}, {{"size", int64_t{4}}, {"alpha", 0.7}, {"beta", 0.6}, {"bias", 1.5}}});
  cases.push_back({"LRN", {random({1, 2, 2})}, {{"size", int64_t{9}}, {"alpha", 2.}}});
  for (int64_t p : {1, 2}) {
    cases.push_back({"LpNormalization", {random({2, 4})}, {{"p", p}}});
    cases.push_back({"LpNormalization", {random({3, 2})}, {{"p", p}, {"axis", int64_t{0}}}});
    cases.push_back({.op = "LpNormalization", .in = {reals({2}, {0, 0})}, .attrs = {{"p", p}}, .expected = {{0, 0}}});
  }
  cases.push_back({"MeanVarianceNormalization", {random({2, 2, 2, 3})}});
  cases.push_back({"MeanVarianceNormalization", {random({2, 4})}, {{"axes", Ints{-1}}}});
}

// Statistics of the batch, with the running ones as results.
void add_batch_training_cases(std::vector<Case>& cases) {
  const auto batch = [&](Ints x, bool unbiased) {
    const int64_t c = x.size() > 1 ? x[1] : 1;
    cases.push_back({"BatchNormalization",
                     {random(x), random({c}), random({c}), random({c}), random({c}, 0.3, 2)},
                     {{"epsilon", 1e-3}, {"training_mode", int64_t{1}}, {"momentum", 0.8}, {"unbiased", int64_t{unbiased}}},
                     3});
  };
  batch({2, 3, 2, 2}, false);
  batch({4, 3}, false);
  batch({2, 2, 3}, true);
  batch({5}, true);
}

void add_einsum_cases(std::vector<Case>& cases) {
  const auto einsum = [&](const char* equation, std::vector<Ints> shapes) {
    Case c{"Einsum", {}, {{"equation", std::string(equation)}}};
    for (const Ints& s : shapes) c.in.push_back(random(s));
    cases.push_back(c);
  };
  einsum("ij,jk->ik", {{2, 3}, {3, 4}});
  einsum("bij,bkj->bik", {{2, 3, 4}, {2, 2, 4}});
  einsum("bhqd,bhkd->bhqk", {{1, 2, 3, 2}, {1, 2, 4, 2}});
  einsum("ij->ji", {{2, 3}});
  einsum("ij->i", {{2, 3}});
  einsum("ii->i", {{3, 3}});
  einsum("ii", {{3, 3}});
  einsum("iij->j", {{2, 2, 3}});
  einsum("i,j->ij", {{2}, {3}});
  einsum("ij,j", {{2, 3}, {3}});
  einsum("ij,jk,kl->il", {{2, 3}, {3, 2}, {2, 4}});
  einsum("...ij,...jk->...ik", {{2, 2, 3}, {3, 2}});
  einsum("...ij,...jk->...ik", {{2, 1, 2, 3}, {4, 3, 2}});
  einsum("ij,ij->", {{2, 3}, {1, 3}});
  einsum("ij,k->k", {{2, 3}, {2}});
}

void add_index_cases(std::vector<Case>& cases) {
  const auto indexed = [&](const char* name, Ints data, Tensor indices, Attrs attrs) {
    cases.push_back({name, {random(data), std::move(indices)}, std::move(attrs)});
  };
  indexed("Gather", {4, 3}, whole({3}, {2, -1, 2}), {});
  indexed("Gather", {2, 4, 2}, whole({2, 2}, {0, 3, 3, -4}), {{"axis", int64_t{1}}});
  indexed("Gather", {3, 4}, whole({}, {1}), {{"axis", int64_t{-1}}});
  indexed("GatherElements", {3, 3}, whole({2, 3}, {0, 2, 0, -1, 2, 0}), {{"axis", int64_t{0}}});
  indexed("GatherElements", {2, 4}, whole({2, 3}, {1, 1, 1, 0, -1, 3}), {{"axis", int64_t{1}}});
  indexed("GatherND", {3, 4}, whole({3, 2}, {0, 1, 2, -1, 0, 1}), {});
  indexed("GatherND", {3, 4}, whole({2, 1}, {2, 2}), {});
  indexed("GatherND", {2, 3, 2}, whole({2, 2, 1}, {0, 1, 1, 1}), {{"batch_dims", int64_t{1}}});
  cases.push_back({"GatherGrad",
                   {random({3, 2}), whole({3}, {1, 0, 1})},
                   {{"axis", int64_t{0}}, {"dims", Dims{4, 2}}},
                   1,
                   {},
                   false});
  for (const char* how : {"none", "add", "mul", "min", "max"}) {
    const Attrs a{{"reduction", std::string(how)}};
    Attrs rows = a, columns = a;
    rows.set("axis", int64_t{0});
    columns.set("axis", int64_t{1});
    cases.push_back({"ScatterElements", {random({3, 3}), whole({2, 3}, {1, 0, 2, 0, 2, 1}), random({2, 3})}, rows});
    cases.push_back({"ScatterElements", {random({1, 5}), whole({1, 3}, {1, 3, 1}), random({1, 3})}, columns});
    cases.push_back({"ScatterND", {random({4, 2}), whole({3, 1}, {2, 0, 2}), random({3, 2})}, a});
    cases.push_back({"ScatterND", {random({2, 3}), whole({2, 2}, {0, 1, -1, 2}), random({2})}, a});
  }
  const auto edge = [&](const char* how, std::vector<double> data, std::vector<double> updates, std::vector<double> d,
                        std::vector<double> u) {
    cases.push_back({.op = "ScatterElements",
                     .in = {reals({2}, std::move(data)), whole({2}, {0, 0}), reals({2}, std::move(updates))},
                     .attrs = {{"reduction", std::string(how)}},
                     .expected = {std::move(d), std::move(u)}});
  };
  edge("mul", {0, 5}, {2, 3}, {6, 1}, {0, 0});
  edge("mul", {0, 5}, {0, 3}, {0, 1}, {0, 0});
  edge("max", {2, 5}, {2, 1}, {0.5, 1}, {0.5, 0});
  edge("none", {2, 5}, {3, 4}, {0, 1}, {0, 1});
  cases.push_back({"OneHot", {whole({2, 2}, {0, -1, 3, 7}), whole({}, {4}), random({2})}, {}, 1, {}, false});
  cases.push_back(
      {"OneHot", {whole({3}, {2, 0, 1}), whole({1}, {3}), random({2})}, {{"axis", int64_t{0}}}, 1, {}, false});
}

void add_resize_cases(std::vector<Case>& cases) {
  using Reals = std::vector<double>;
  const auto resize = [&](Ints x, Attrs attrs, Ints sizes = {}, Tensor roi = Tensor()) {
    Case c{"Resize", {random(x)}, std::move(attrs), 1, {1}, false};
    if (!sizes.empty()) {
      c.in.resize(4);
      c.in[1] = std::move(roi);
      c.in[3] = whole({static_cast<int64_t>(sizes.size())}, sizes);
    }
    cases.push_back(c);
  };
  const std::string nearest = "nearest", linear = "linear", cubic = "cubic";
  resize({1, 2, 2, 3}, {{"mode", nearest}, {"scales", Reals{1, 1, 2, 3}}});
  resize({1, 1, 3, 2}, {{"mode", nearest}, {"scales", Reals{1, 1, 2, 2}}, {"coordinate_transformation_mode", "asymmetric"}, {"nearest_mode", "floor"}});
  resize({1, 1, 3, 4}, {{"mode", nearest}, {"nearest_mode", "ceil"}}, {1, 1, 5, 2});
  for (const char* how : {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"})
    for (const std::string& mode : {linear, cubic})
      resize({2, 3, 4}, {{"mode", mode}, {"coordinate_transformation_mode", how}, {"scales", Reals{1, 1.6, 0.7}}});
  resize({1, 4, 5}, {{"mode", linear}}, {1, 7, 3});
  resize({6, 5}, {{"mode", linear}, {"antialias", int64_t{1}}}, {3, 4});
  resize({6, 5}, {{"mode", cubic}, {"exclude_outside", int64_t{1}}}, {3, 8});
  resize({2, 3, 4}, {{"mode", linear}, {"axes", Ints{0, 2}}, {"keep_aspect_ratio_policy", "not_larger"}}, {5, 7});
  resize({4, 5}, {{"mode", linear}, {"coordinate_transformation_mode", "tf_crop_and_resize"}, {"extrapolation_value", 3.}}, {3, 6},
         reals({4}, {0.2, -0.1, 0.9, 1.2}));
}

void add_pad_cases(std::vector<Case>& cases) {
  cases.push_back({"Pad", {random({2, 3}), whole({4}, {1, 0, 0, 2}), random({})}});
  cases.push_back({"Pad", {random({3, 4}), whole({2}, {-1, 2}), Tensor(), whole({1}, {1})}});
  for (const char* mode : {"edge", "reflect", "wrap"}) {
    const Attrs a{{"mode", std::string(mode)}};
    cases.push_back({"Pad", {random({3, 4}), whole({4}, {1, 2, 2, 3})}, a});
    cases.push_back({"Pad", {random({5}), whole({2}, {-1, 2})}, a});
    cases.push_back({"Pad", {random({3}), whole({2}, {7, 5})}, a});
    cases.push_back({"Pad", {random({2, 1}), whole({4}, {1, 2, 1, 0})}, a});
  }
}

}  // namespace fcc::test
