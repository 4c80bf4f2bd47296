// Every movement, shape, gather, window and packing operator: eval and define must say the same, with operands
// constant, with contents unknown, and with extents open.
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/ir_ops_a/harness.h"

namespace fcc {
void register_movement(Registry&);
void register_reshape(Registry&);
void register_slice(Registry&);
void register_shape(Registry&);
void register_gather(Registry&);
void register_conv(Registry&);
void register_pool(Registry&);
void register_layout(Registry&);
void register_pad(Registry&);
void register_resize(Registry&);
}  // namespace fcc

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;
using Cases = std::vector<Case>;

uint32_t next_seed = 1;
Tensor x(Ints shape, DType dtype = DType::f32) {
  return random_tensor(next_seed++, dtype, std::move(shape));
}
Tensor list(Ints v) {
  return Tensor::ints(v);
}
Tensor number(I v) {
  return ints({}, {v});
}
Tensor indices(Ints shape, I extent, bool negative = true) {
  Tensor t(DType::i64, std::move(shape));
  for (I i = 0; i < t.elements(); ++i) t.set_int(i, (i * 7 + 3) % extent - (negative && i % 3 == 1 ? extent : 0));
  return t;
}

Cases reshapes() {
  return {
      {"Reshape", {x({2, 3, 4}), list({6, 4})}},
      {"Reshape", {x({2, 3, 4}), list({2, -1})}},
      {"Reshape", {x({2, 3, 4}), list({0, 4, -1})}},
      {"Reshape", {x({2, 3, 4}), list({-1})}},
      {"Reshape", {x({2, 3, 4}), list({2, 1, 12, 1})}},
      {"Reshape", {x({6, 4}), list({4, 6})}},
      {"Reshape", {x({4, 6, 5}), list({5, 2, 12})}},
      {"Reshape", {x({1}), list({})}},
      {"Reshape", {x({}), list({1, 1})}},
      {"Reshape",
       {
           x({0, 3}),
           list({3, 0}),
       },
       {{"allowzero", I{1}}}},
      {"Reshape", {x({2, 12, 3, 2}, DType::i8), list({2, 3, 4, 6})}},
      {"Reshape", {x({8, 9}, DType::f16), list({4, 3, 6})}},
      {"Flatten", {x({2, 3, 4})}},
      {"Flatten", {x({2, 3, 4})}, {{"axis", I{0}}}},
      {"Flatten", {x({2, 3, 4})}, {{"axis", I{3}}}},
      {"Flatten", {x({2, 3, 4})}, {{"axis", I{-1}}}},
      {"Flatten", {x({})}, {{"axis", I{0}}}},
      {"Squeeze", {x({2, 1, 3, 1}), list({1, 3})}},
      {"Squeeze", {x({2, 1, 3, 1}), list({-1})}},
      {"Squeeze", {x({1, 1, 3, 1}), list({0, 3})}},
      {"Squeeze", {x({1, 1}), list({0, 1})}},
      {"Unsqueeze", {x({2, 3}), list({1})}},
      {"Unsqueeze", {x({2, 3}), list({3, 0})}},
      {"Unsqueeze", {x({2, 3}), list({-1, -4})}},
      {"Unsqueeze", {x({}), list({0})}},
  };
}

Cases movements() {
  return {
      {"Transpose", {x({2, 3, 4})}},
      {"Transpose", {x({2, 3, 4}, DType::u8)}, {{"perm", Ints{1, 2, 0}}}},
      {"Transpose", {x({2, 3, 4}, DType::f64)}, {{"perm", Ints{0, 2, 1}}}},
      {"Transpose", {x({})}},
      {"Transpose", {x({2, 0, 3})}},
      {"Expand", {x({3, 1}), list({2, 1, 4})}},
      {"Expand", {x({3, 1}), list({3, 4})}},
      {"Expand", {x({3, 4}), list({1})}},
      {"Expand", {x({}), list({2, 3})}},
      {"Expand", {x({1, 2}), list({0, 2})}},
      {"Tile", {x({2, 3}), list({2, 1})}},
      {"Tile", {x({2, 1}, DType::i16), list({3, 4})}},
      {"Tile", {x({2, 3}), list({0, 2})}},
      {"DepthToSpace", {x({2, 12, 2, 3})}, {{"blocksize", I{2}}}},
      {"DepthToSpace", {x({2, 12, 2, 3})}, {{"blocksize", I{2}}, {"mode", "CRD"}}},
      {"SpaceToDepth", {x({2, 3, 4, 6})}, {{"blocksize", I{2}}}},
      {"SpaceToDepth", {x({2, 3, 4, 6})}, {{"blocksize", I{2}}, {"mode", "CRD"}}},
      {"Trilu", {x({2, 3, 4})}},
      {"Trilu", {x({4, 3}), number(1)}, {{"upper", I{0}}}},
      {"Trilu", {x({3, 4}, DType::i32), number(-1)}},
      {"Trilu", {x({3, 4}), number(-9)}, {{"upper", I{0}}}},
      {"Trilu", {x({3, 4}), number(INT64_MAX)}},
  };
}

Cases slices() {
  const Attrs axis0{{"axis", I{0}}}, axis1{{"axis", I{1}}}, last{{"axis", I{-1}}};
  return {
      {"Concat", {x({2, 3}), x({2, 1}), x({2, 4})}, last},
      {"Concat", {x({2, 3}), x({0, 3}), x({4, 3})}, axis0},
      {"Concat", {x({2, 3}, DType::boolean)}, axis1},
      {"Split", {x({4, 6}), list({1, 2, 3})}, axis1, 3},
      {"Split", {x({6, 2})}, {{"axis", I{0}}, {"num_outputs", I{3}}}, 3},
      {"Split", {x({7, 2})}, {{"axis", I{0}}, {"num_outputs", I{3}}}, 3},
      {"Split", {x({3}), list({0, 3})}, {}, 2},
      {"Slice", {x({5, 6}), list({1, 0}), list({4, 5})}},
      {"Slice", {x({5, 6}), list({-3}), list({INT64_MAX}), list({1})}},
      {"Slice", {x({5, 6}), list({1}), list({-1}), list({-1})}},
      {"Slice", {x({5, 6}), list({4, -1}), list({0, INT64_MIN}), list({0, 1}), list({-1, -2})}},
      {"Slice", {x({5, 6}), list({0, 10}), list({100, 0}), list({0, 1}), list({2, -1})}},
      {"Slice", {x({5, 6}), list({3}), list({1}), list({0}), list({1})}},
      {"Slice", {x({5, 6}), list({-100}), list({-100}), list({0}), list({-1})}},
      {"Slice", {x({5, 0}), list({-1}), list({INT64_MIN}), list({1}), list({-1})}},
      {"Slice", {x({7}, DType::i8), list({1}), list({INT32_MAX}), list({0}), list({3})}},
      {"Unslice", {x({2, 3})}, {{"dims", Dims{5, 4}}, {"starts", Dims{1, 0}}, {"steps", Dims{2, 1}}}},
      {"Unslice", {x({3, 4})}, {{"dims", Dims{2, 9}}, {"starts", Dims{-1, 8}}, {"steps", Dims{1, -3}}}},
  };
}

Cases shapes() {
  Cases cases{
      {"Shape", {x({2, 3, 4})}},
      {"Shape", {x({2, 3, 4})}, {{"start", I{-2}}}},
      {"Shape", {x({2, 3, 4})}, {{"start", I{1}}, {"end", I{2}}}},
      {"Shape", {x({2, 3, 4})}, {{"start", I{2}}, {"end", I{1}}}},
      {"Shape", {x({})}},
      {"Size", {x({2, 3, 4})}},
      {"ConstantOfShape", {list({2, 3})}},
      {"ConstantOfShape", {list({})}, {{"value", ints({1}, {7}, DType::i32)}}},
      {"ConstantOfShape", {list({0, 2})}, {{"value", floats({1}, {2.5}, DType::f16)}}},
      {"Range", {number(3), number(10), number(2)}},
      {"Range", {number(10), number(-3), number(-4)}},
      {"Range", {number(3), number(3), number(1)}},
      {"Range", {number(3), number(9), number(-1)}},
      {"Range", {floats({}, {0.5}), floats({}, {2}), floats({}, {0.25}), number(6)}},
      {"Range", {ints({}, {1}, DType::i32), ints({}, {6}, DType::i32), ints({}, {2}, DType::i32)}},
      {"EyeLike", {x({3, 4})}},
      {"EyeLike", {x({4, 3})}, {{"k", I{-1}}, {"dtype", DType::f64}}},
      {"EyeLike", {x({2, 3}, DType::i32)}, {{"k", I{1}}}},
      {"OneHot", {indices({3, 2}, 5), number(5), floats({2}, {-1, 2})}},
      {"OneHot", {indices({3, 2}, 5), list({4}), ints({2}, {0, 9})}, {{"axis", I{1}}}},
      {"OneHot", {floats({2}, {1, 3}), number(4), floats({2}, {0, 1})}, {{"axis", I{0}}}},
  };
  return cases;
}

Cases gathers() {
  Cases cases{
      {"Gather", {x({5, 3}), indices({2, 2}, 5)}},
      {"Gather", {x({2, 5, 3}, DType::i16), indices({4}, 5)}, {{"axis", I{1}}}},
      {"Gather", {x({2, 5}), number(-1)}, {{"axis", I{-1}}}},
      {"Gather", {x({2, 5}), ints({1}, {3}, DType::i32)}, {{"axis", I{1}}}},
      {"Gather", {x({5, 3}), indices({0}, 5)}},
      {"GatherElements", {x({4, 3}), indices({2, 3}, 4)}},
      {"GatherElements", {x({4, 3}), indices({3, 5}, 3)}, {{"axis", I{1}}}},
      {"GatherND", {x({2, 3, 4}), ints({2, 2}, {0, -1, 1, 1})}},
      {"GatherND", {x({2, 3, 4}), ints({2, 3}, {0, -1, 3, 1, 1, 0})}},
      {"GatherND", {x({2, 3, 4}), ints({2, 1}, {-1, 1})}, {{"batch_dims", I{1}}}},
      {"GatherND", {x({4}), ints({1}, {2})}},
  };
  for (const char* reduction : {"none", "add", "mul", "min", "max"}) {
    const Attrs how{{"reduction", reduction}}, how1{{"reduction", reduction}, {"axis", I{1}}};
    cases.push_back({"ScatterElements", {x({4, 3}), indices({2, 3}, 4), x({2, 3})}, how});
    cases.push_back({"ScatterElements", {x({4, 3}), ints({2, 3}, {0, 0, -1, 1, 1, 1}), x({2, 3})}, how1});
    cases.push_back(
        {"ScatterElements", {x({4, 3}, DType::i32), ints({2, 2}, {0, 0, -1, 1}), x({2, 2}, DType::i32)}, how});
    cases.push_back({"ScatterND", {x({4, 3}), ints({3, 1}, {1, -1, 1}), x({3, 3})}, how});
    cases.push_back({"ScatterND",
                     {x({4, 3, 2}, DType::i64), ints({2, 2, 2}, {0, 0, 1, 2, -1, -1, 0, 0}), x({2, 2, 2}, DType::i64)},
                     how});
  }
  return cases;
}

Cases pads() {
  Cases cases;
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    const Attrs attrs{{"mode", mode}};
    cases.push_back({"Pad", {x({3, 4}), list({1, 2, 2, 3})}, attrs});
    cases.push_back({"Pad", {x({3, 4}), list({-1, 0, 2, -2})}, attrs});
    cases.push_back({"Pad", {x({3, 4}, DType::u8), list({2, 1}), Tensor(), list({-1})}, attrs});
    cases.push_back({"Pad", {x({2, 1}), list({7, 2, 9, 2})}, attrs});
    cases.push_back({"Pad", {x({3, 4}), list({0, 0, 0, 0})}, attrs});
  }
  cases.push_back({"Pad", {x({3, 4}), list({1, 2, 2, 3}), floats({}, {1.5})}});
  for (const char* mode : {"edge", "reflect", "wrap"}) {
    cases.push_back({"PadGrad", {x({6, 9})}, {{"mode", mode}, {"dims", Dims{3, 4}}, {"pads", Dims{1, 2, 2, 3}}}});
    cases.push_back({"PadGrad", {x({15, 3})}, {{"mode", mode}, {"dims", Dims{3, 1}}, {"pads", Dims{7, 0, 5, 2}}}});
    cases.push_back({"PadGrad", {x({6})}, {{"mode", mode}, {"dims", Dims{5}}, {"pads", Dims{-1, 2}}}});
  }
  cases.push_back({"Pad", {x({0, 2}), list({1, 0, 1, 1}), floats({}, {-INFINITY})}});
  cases.push_back({"Pad", {x({2, 3}, DType::f16), list({0, 1, 0, 0}), floats({1}, {1.5}, DType::f16)}});
  return cases;
}

Cases convolutions() {
  Cases cases{
      {"Conv", {x({2, 3, 7}), x({4, 3, 3})}},
      {"Conv", {x({2, 3, 6, 7}), x({4, 3, 3, 2}), x({4})}, {{"pads", Ints{1, 0, 2, 1}}, {"strides", Ints{2, 1}}}},
      {"Conv",
       {x({1, 4, 6, 6}), x({6, 2, 3, 3}), x({6})},
       {{"group", I{2}}, {"dilations", Ints{2, 1}}, {"pads", Ints{2, 1, 2, 1}}}},
      {"Conv",
       {x({1, 4, 5, 5}, DType::f64), x({4, 1, 3, 3}, DType::f64)},
       {{"group", I{4}}, {"auto_pad", "SAME_UPPER"}, {"strides", Ints{2, 2}}}},
      {"Conv", {x({1, 2, 5, 6}), x({3, 2, 2, 2})}, {{"auto_pad", "SAME_LOWER"}}},
      {"Conv", {x({1, 2, 4, 4, 4}), x({2, 2, 1, 2, 3})}, {{"auto_pad", "VALID"}}},
      {"Conv", {x({1, 2, 6}), x({2, 2, 3})}, {{"pads", Ints{-1, 2}}}},
      {"Conv", {x({0, 2, 6}), x({2, 2, 3})}},
      {"ConvTranspose", {x({2, 3, 5}), x({3, 2, 3}), x({2})}},
      {"ConvTranspose",
       {x({1, 2, 3, 4}), x({2, 3, 3, 2})},
       {{"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"output_padding", Ints{1, 0}}}},
      {"ConvTranspose", {x({1, 4, 3, 3}), x({4, 2, 3, 3})}, {{"group", I{2}}, {"dilations", Ints{2, 1}}}},
      {"ConvTranspose", {x({1, 2, 3, 3}), x({2, 2, 3, 3})}, {{"strides", Ints{2, 2}}, {"auto_pad", "SAME_UPPER"}}},
      {"ConvTranspose", {x({1, 2, 3, 3}), x({2, 2, 3, 3})}, {{"strides", Ints{3, 2}}, {"output_shape", Ints{10, 8}}}},
      {"ConvTranspose", {x({1, 3, 3}), x({3, 1, 2})}, {{"group", I{3}}}},
  };
  return cases;
}

Cases pools() {
  Cases cases;
  const std::vector<Attrs> windows{
      {{"kernel_shape", Ints{3, 2}}},
      {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 0, 2, 1}}, {"strides", Ints{2, 1}}},
      {{"kernel_shape", Ints{2, 3}}, {"ceil_mode", I{1}}, {"strides", Ints{2, 2}}},
      {{"kernel_shape", Ints{3, 3}}, {"ceil_mode", I{1}}, {"strides", Ints{2, 3}}, {"pads", Ints{1, 1, 1, 1}}},
      {{"kernel_shape", Ints{2, 2}}, {"dilations", Ints{2, 1}}},
      {{"kernel_shape", Ints{3, 2}}, {"auto_pad", "SAME_UPPER"}, {"strides", Ints{2, 2}}},
      {{"kernel_shape", Ints{3, 2}}, {"auto_pad", "SAME_LOWER"}},
  };
  for (const Attrs& w : windows) {
    cases.push_back({"MaxPool", {x({2, 3, 6, 7})}, w, 2});
    Attrs column_major = w, include = w, p3 = w;
    column_major.set("storage_order", I{1});
    include.set("count_include_pad", I{1});
    p3.set("p", I{3});
    cases.push_back({"MaxPool", {x({1, 2, 6, 7}, DType::u8)}, column_major, 2});
    cases.push_back({"AveragePool", {x({2, 2, 6, 7})}, w});
    cases.push_back({"AveragePool", {x({1, 2, 6, 7})}, include});
    cases.push_back({"LpPool", {x({1, 2, 6, 7})}, w});
    cases.push_back({"LpPool", {x({1, 2, 6, 7})}, p3});
  }
  cases.push_back({"MaxPool", {x({1, 2, 7}, DType::i8)}, {{"kernel_shape", Ints{3}}}, 2});
  cases.push_back({"MaxPool", {x({1, 2, 3, 4, 4})}, {{"kernel_shape", Ints{2, 2, 2}}, {"storage_order", I{1}}}, 2});
  cases.push_back({"MaxPool", {floats({1, 1, 4}, {NAN, 1, 1, -INFINITY})}, {{"kernel_shape", Ints{2}}}, 2});
  cases.push_back({"AveragePool", {x({1, 2, 3, 4, 4})}, {{"kernel_shape", Ints{2, 2, 3}}}});
  for (const char* name : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}) {
    cases.push_back({name, {x({2, 3, 4, 5})}});
    cases.push_back({name, {x({2, 3, 4}, DType::f16)}});
  }
  cases.push_back({"GlobalLpPool", {x({2, 3, 4, 5, 2})}, {{"p", I{1}}}});
  return cases;
}

Cases packings() {
  return {
      {"PackC16", {x({2, 19, 3, 2})}},
      {"PackC16", {x({2, 32, 3})}},
      {"PackC16", {x({2, 5})}},
      {"UnpackC16", {x({2, 2, 3, 2, 16})}, {{"channels", I{19}}}},
      {"PackGemmB", {x({5, 40})}, {{"nr", I{16}}}},
      {"PackGemmB", {x({40, 5})}, {{"nr", I{32}}, {"trans", I{1}}}},
      {"PackGemmB", {x({3, 5, 32}, DType::bf16)}, {{"nr", I{16}}}},
      {"PackConvWeight", {x({20, 3, 2, 2})}, {{"nr", I{16}}}},
      {"PackConvWeight", {x({40, 3, 2, 2})}, {{"nr", I{32}}}},
      {"PackConvWeight", {x({20, 3, 2, 2})}, {{"nr", I{16}}, {"tail", I{8}}}},
      {"PackConvWeight", {x({40, 2, 1, 3})}, {{"nr", I{16}}, {"tail", I{24}}}},
      {"PackConvWeight", {x({12, 3, 2})}, {{"nr", I{4}}, {"group", I{2}}}},
      {"PackConvWeight", {x({20, 1, 3, 3})}, {{"nr", I{16}}, {"group", I{20}}}},
      {"PackConvWeight", {x({3, 20, 2, 3})}, {{"nr", I{16}}, {"mirrored", I{1}}}},
      {"PackVector", {x({5})}, {{"n", I{16}}}},
      {"PackVector", {x({16})}, {{"n", I{16}}}},
  };
}

Cases resizes() {
  Cases cases;
  const std::vector<const char*> transformations{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
                                                 "align_corners", "asymmetric"};
  for (const char* t : transformations) {
    for (const char* mode : {"nearest", "linear", "cubic"})
      for (const Ints& size : {Ints{5, 9}, Ints{2, 3}, Ints{1, 8}}) {
        const Attrs attrs{{"mode", mode}, {"coordinate_transformation_mode", t}, {"axes", Ints{2, 3}}};
        cases.push_back({"Resize", {x({1, 2, 4, 5}), Tensor(), Tensor(), list(size)}, attrs});
      }
    for (const char* rounding : {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})
      cases.push_back({"Resize",
                       {x({2, 7}), Tensor(), Tensor(), list({2, 11})},
                       {{"coordinate_transformation_mode", t}, {"nearest_mode", rounding}, {"axes", Ints{0, -1}}}});
    for (const char* mode : {"nearest", "linear", "cubic"}) {
      const Attrs known{
          {"mode", mode}, {"coordinate_transformation_mode", t}, {"scales", std::vector<double>{1.0, 0.6, 1.7}}};
      cases.push_back({"Resize", {x({2, 4, 5})}, known});
      Attrs open{{"mode", mode}, {"coordinate_transformation_mode", t}};
      cases.push_back({"Resize", {x({2, 4, 5}), Tensor(), floats({3}, {1.0, 0.6, 1.7}), list({2, 2, 8})}, open});
      open.set("antialias", I{1});
      cases.push_back({"Resize", {x({2, 4, 5}), Tensor(), floats({3}, {1.0, 0.6, 1.7}), list({2, 2, 8})}, open});
    }
  }
  for (const char* mode : {"linear", "cubic"}) {
    cases.push_back(
        {"Resize", {x({1, 1, 9, 7}), Tensor(), Tensor(), list({1, 1, 4, 3})}, {{"mode", mode}, {"antialias", I{1}}}});
    cases.push_back({"Resize",
                     {x({1, 1, 9, 7}), Tensor(), Tensor(), list({1, 1, 4, 3})},
                     {{"mode", mode}, {"antialias", I{1}}, {"exclude_outside", I{1}}}});
    cases.push_back({"Resize",
                     {x({1, 1, 4, 4}), Tensor(), Tensor(), list({1, 1, 9, 3})},
                     {{"mode", mode}, {"exclude_outside", I{1}}, {"cubic_coeff_a", -0.5}}});
    cases.push_back(
        {"Resize",
         {x({1, 1, 4, 4}), floats({8}, {0, 0, 0.4, 0.6, 1, 1, 0.6, 1.8}), Tensor(), list({1, 1, 3, 3})},
         {{"mode", mode}, {"coordinate_transformation_mode", "tf_crop_and_resize"}, {"extrapolation_value", 10.0}}});
  }
  for (const char* policy : {"not_larger", "not_smaller"})
    cases.push_back({"Resize",
                     {x({1, 1, 4, 6}), Tensor(), Tensor(), list({9, 7})},
                     {{"axes", Ints{2, 3}}, {"keep_aspect_ratio_policy", policy}, {"mode", "linear"}}});
  cases.push_back(
      {"Resize", {x({1, 1, 4, 6}, DType::u8), Tensor(), Tensor(), list({1, 1, 3, 13})}, {{"mode", "linear"}}});
  cases.push_back({"Resize", {x({2, 3, 4, 5}), Tensor(), Tensor(), list({4, 3, 8, 7})}, {{"mode", "linear"}}});
  return cases;
}

Cases all_cases() {
  Cases all;
  for (Cases part :
       {reshapes(), movements(), slices(), shapes(), gathers(), pads(), convolutions(), pools(), packings(), resizes()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Operators that need some extents as numbers: those of a weight, the length of a shape, of an index tuple or a block.
bool needs_known_extents(const Case& c) {
  return std::set<std::string>{"Conv",      "ConvTranspose", "PackConvWeight", "ConstantOfShape",
                               "UnpackC16", "GatherND",      "ScatterND"}
      .contains(c.op);
}

TEST(Define, AgreesWithEval) {
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(text(c));
    const auto expected = interpret(c);
    ASSERT_TRUE(expected) << text(c) << "\n" << expected.error().text();
    for (Mode mode : kModes) {
      if (mode == Mode::open && needs_known_extents(c)) continue;
      const auto actual = run_define(c, mode);
      ASSERT_TRUE(actual) << text(c) << " mode " << int(mode) << "\n" << actual.error().text();
      EXPECT_TRUE(actual->faults.empty()) << text(c) << " mode " << int(mode) << ": " << actual->faults.front();
      for (size_t k = 0; k < expected->size(); ++k)
        EXPECT_LE(difference(actual->out[k], (*expected)[k]), is_float((*expected)[k].dtype()) ? 3e-6 : 0)
            << text(c) << " mode " << int(mode) << " result " << k;
    }
  }
}

TEST(Define, CoversEveryOperator) {
  Registry r;
  for (auto family : {register_movement, register_reshape, register_slice, register_shape, register_gather,
                      register_conv, register_pool, register_layout, register_pad, register_resize})
    family(r);
  std::set<std::string> tested;
  for (const Case& c : all_cases()) tested.insert(c.op);
  for (const OpDef* def : r.all()) {
    EXPECT_TRUE(def->eval && def->define) << def->name;
    EXPECT_TRUE(tested.contains(std::string(def->name))) << def->name;
  }
}

}  // namespace
}  // namespace fcc::test
