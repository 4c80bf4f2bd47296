// Rows 51 to 58: operators whose attributes or constant operands cannot be right. What depends on values that only
// exist while the model runs is "accepted" here and refused by the run.
#include <gtest/gtest.h>

#include "tests/errors/error_cases.h"

namespace fcc::test {
namespace {

// One node `op`(x, operands...) -> y with x of the given shape; `build` adds operands and attributes.
ErrorCase one_node(std::string name, std::string op, std::vector<MadeDim> x,
                   std::function<void(ModelMaker&, onnx::NodeProto&)> build, int64_t opset = 17, int type = kFloat) {
  return {std::move(name), [=](const TempDir&) {
            ModelMaker m(opset);
            m.input("x", x, type);
            m.output("y");
            build(m, m.node(op, {"x"}, {"y"}, "n"));
            return import_string(m.bytes());
          }};
}

void operand(ModelMaker& m, onnx::NodeProto& n, const std::string& name, const std::vector<int64_t>& values) {
  m.ints(name, {static_cast<int64_t>(values.size())}, values);
  n.add_input(name);
}
void scalar(ModelMaker& m, onnx::NodeProto& n, const std::string& name, int64_t value) {
  m.ints(name, {}, {value});
  n.add_input(name);
}
void weight(ModelMaker& m, onnx::NodeProto& n, const std::vector<int64_t>& dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  m.floats("w", dims, std::vector<float>(static_cast<size_t>(count)));
  n.add_input("w");
}

// Conv of x f32[1,3,8,8] with w f32[4,3,3,3] and one attribute.
template <class V>
ErrorCase conv(std::string name, std::string attr, V value) {
  return one_node(std::move(name), "Conv", {1, 3, 8, 8}, [=](ModelMaker& m, onnx::NodeProto& n) {
    weight(m, n, {4, 3, 3, 3});
    set(n, attr, value);
  });
}
template <class V>
ErrorCase pool(std::string name, std::string attr, V value) {
  return one_node(std::move(name), "MaxPool", {1, 3, 8, 8}, [=](ModelMaker&, onnx::NodeProto& n) {
    if (attr != "kernel_shape") set(n, "kernel_shape", std::vector<int64_t>{2, 2});
    set(n, attr, value);
  });
}
using Ints = std::vector<int64_t>;

std::vector<ErrorCase> window_cases() {
  return {
      conv("r51_group_0", "group", 0),
      conv("r51_group_negative", "group", -1),
      conv("r51_group_does_not_divide", "group", 2),
      conv("r51_stride_0", "strides", Ints{0, 1}),
      conv("r51_stride_negative", "strides", Ints{-1, 1}),
      conv("r51_dilation_0", "dilations", Ints{1, 0}),
      conv("r51_pads_negative_beyond_input", "pads", Ints{-9, 0, 0, 0}),
      conv("r51_pads_wrong_count", "pads", Ints{1, 1, 1}),
      conv("r51_kernel_shape_differs", "kernel_shape", Ints{5, 5}),
      conv("r51_auto_pad_unknown", "auto_pad", "SAME"),
      conv("r51_dilation_2_40", "dilations", Ints{int64_t{1} << 40, 1}),
      one_node("r51_kernel_larger_than_input", "Conv", {1, 3, 2, 2},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {4, 3, 3, 3});
               }),
      one_node("r51_channels_differ", "Conv", {1, 5, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {4, 3, 3, 3});
               }),
      one_node("r51_weight_of_other_rank", "Conv", {1, 3, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {4, 3, 3});
               }),
      one_node("r51_input_of_rank_1", "Conv", {8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {4, 3, 3, 3});
               }),
      pool("r51_pool_kernel_0", "kernel_shape", Ints{0, 2}),
      pool("r51_pool_kernel_larger", "kernel_shape", Ints{9, 9}),
      pool("r51_pool_stride_0", "strides", Ints{0, 0}),
      pool("r51_pool_pads_at_least_kernel", "pads", Ints{2, 2, 2, 2}),
      pool("r51_pool_dilation_0", "dilations", Ints{0, 1}),
      pool("r51_pool_pads_negative_beyond_input", "pads", Ints{0, 0, -8, 0}),
      one_node("r51_average_pool_pads_at_least_kernel", "AveragePool", {1, 3, 8, 8},
               [](ModelMaker&, onnx::NodeProto& n) {
                 set(set(n, "kernel_shape", Ints{3, 3}), "pads", Ints{0, 0, 0, 3});
               }),
      one_node("r51_conv_transpose_group_0", "ConvTranspose", {1, 3, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {3, 4, 3, 3});
                 set(n, "group", 0);
               }),
      one_node("r51_conv_transpose_output_padding_negative", "ConvTranspose", {1, 3, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {3, 4, 3, 3});
                 set(n, "output_padding", Ints{-1, 0});
               }),
      one_node("r51_conv_transpose_pads_larger_than_result", "ConvTranspose", {1, 3, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {3, 4, 3, 3});
                 set(n, "pads", Ints{9, 9, 9, 9});
               }),
      one_node("r51_pool_without_kernel", "MaxPool", {1, 3, 8, 8}, [](ModelMaker&, onnx::NodeProto&) {}),
      one_node("r51_block_size_0", "DepthToSpace", {1, 4, 2, 2},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "blocksize", 0); }),
      one_node("r51_block_size_negative", "SpaceToDepth", {1, 4, 2, 2},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "blocksize", -2); }),
      one_node("r51_block_size_does_not_divide", "DepthToSpace", {1, 4, 2, 2},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "blocksize", 3); }),
      one_node("r51_conv_transpose_stride_0", "ConvTranspose", {1, 3, 8, 8},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {3, 4, 3, 3});
                 set(n, "strides", Ints{0, 1});
               }),
  };
}

ErrorCase reshape(std::string name, std::vector<MadeDim> x, Ints shape, bool allowzero = false) {
  return one_node(std::move(name), "Reshape", std::move(x), [=](ModelMaker& m, onnx::NodeProto& n) {
    operand(m, n, "shape", shape);
    if (allowzero) set(n, "allowzero", 1);
  });
}
ErrorCase gather(std::string name, int64_t index, int axis) {
  return one_node(std::move(name), "Gather", {2, 3}, [=](ModelMaker& m, onnx::NodeProto& n) {
    operand(m, n, "i", {index});
    set(n, "axis", axis);
  });
}

std::vector<ErrorCase> movement_cases() {
  const int64_t huge = int64_t{1} << 60;
  return {
      reshape("r52_two_minus_one", {2, 3}, {-1, -1}),
      reshape("r52_minus_two", {2, 3}, {-2, 3}),
      reshape("r52_wrong_count", {2, 3}, {4, 2}),
      reshape("r52_does_not_divide", {2, 3}, {4, -1}),
      reshape("r52_zero_beyond_rank", {2, 3}, {2, 3, 0}),
      reshape("r52_allowzero_and_minus_one", {2, 3}, {0, -1}, true),
      reshape("r52_zero_of_open_dim", {"N", 3}, {0, 3}),
      reshape("r52_overflow", {2, 3}, {huge, huge}),
      gather("r53_gather_axis", 0, 2),
      gather("r53_gather_index_out_of_range", 7, 0),
      gather("r53_gather_index_below_range", -3, 0),
      one_node("r53_gather_elements_index_out_of_range", "GatherElements", {3},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "i", {0, 3});
               }),
      one_node("r53_gather_nd_index_out_of_range", "GatherND", {3},
               [](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "i", {-4}); }),
      one_node("r53_gather_float_indices", "Gather", {3},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 m.floats("i", {1}, {0});
                 n.add_input("i");
               }),
      one_node("r54_constant_of_shape_2_60", "ConstantOfShape", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.clear_input();
                 operand(m, n, "shape", {huge});
               }),
      one_node("r54_constant_of_shape_negative", "ConstantOfShape", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.clear_input();
                 operand(m, n, "shape", {-1});
               }),
      one_node("r54_expand_2_60", "Expand", {1},
               [=](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "shape", {huge}); }),
      one_node("r54_expand_clash", "Expand", {2, 3},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "shape", {2, 4});
               }),
      one_node("r54_tile_2_60", "Tile", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "repeats", {huge}); }),
      one_node("r54_tile_negative", "Tile", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "repeats", {-1}); }),
      one_node("r54_tile_wrong_count", "Tile", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "repeats", {1, 1});
               }),
      one_node("r54_pad_2_60", "Pad", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "pads", {huge, huge});
               }),
      one_node("r54_pad_beyond_input", "Pad", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "pads", {-2, -2});
               }),
      one_node("r54_pad_wrong_count", "Pad", {2, 2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "pads", {1, 1});
               }),
      one_node("r54_pad_mode", "Pad", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "pads", {1, 1});
                 set(n, "mode", "mirror");
               }),
      one_node("r54_range_2_60", "Range", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.clear_input();
                 scalar(m, n, "start", 0);
                 scalar(m, n, "limit", huge);
                 scalar(m, n, "delta", 1);
               }),
      one_node("r54_range_delta_0", "Range", {2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.clear_input();
                 scalar(m, n, "start", 0);
                 scalar(m, n, "limit", 5);
                 scalar(m, n, "delta", 0);
               }),
      one_node("r54_resize_2_60", "Resize", {1, 1, 2, 2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.add_input("");
                 n.add_input("");
                 operand(m, n, "sizes", {1, 1, huge, huge});
               }),
      one_node("r54_resize_negative_size", "Resize", {1, 1, 2, 2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.add_input("");
                 n.add_input("");
                 operand(m, n, "sizes", {1, 1, -2, 2});
               }),
      one_node("r54_resize_scale_0", "Resize", {1, 1, 2, 2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.add_input("");
                 m.floats("scales", {4}, {1, 1, 0, 2});
                 n.add_input("scales");
               }),
      one_node("r54_resize_neither_scales_nor_sizes", "Resize", {1, 1, 2, 2}, [](ModelMaker&, onnx::NodeProto&) {}),
      one_node("r54_resize_scales_and_sizes", "Resize", {1, 1, 2, 2},
               [=](ModelMaker& m, onnx::NodeProto& n) {
                 n.add_input("");
                 m.floats("scales", {4}, {1, 1, 2, 2});
                 n.add_input("scales");
                 operand(m, n, "sizes", {1, 1, 4, 4});
               }),
      one_node("r56_top_k_beyond_dim", "TopK", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "k", {9});
                 n.add_output("i");
               }),
      one_node("r56_top_k_negative", "TopK", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "k", {-1});
                 n.add_output("i");
               }),
      one_node("r56_split_sum", "Split", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "split", {2, 2});
                 n.add_output("z");
               }),
      one_node("r56_split_count", "Split", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "split", {1, 2, 2});
                 n.add_output("z");
               }),
      one_node("r56_split_unequal", "Split", {5}, [](ModelMaker&, onnx::NodeProto& n) { n.add_output("z"); }),
      one_node("r56_slice_step_0", "Slice", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "starts", {0});
                 operand(m, n, "ends", {5});
                 operand(m, n, "axes", {0});
                 operand(m, n, "steps", {0});
               }),
      one_node("r56_slice_lengths_differ", "Slice", {5},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "starts", {0});
                 operand(m, n, "ends", {5, 5});
               }),
      one_node("r56_einsum_rubbish", "Einsum", {2, 3},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "equation", "ij->->k"); }),
      one_node("r56_einsum_rank", "Einsum", {2, 3},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "equation", "ijk->k"); }),
      one_node("r56_einsum_new_output_letter", "Einsum", {2, 3},
               [](ModelMaker&, onnx::NodeProto& n) { set(n, "equation", "ij->ijk"); }),
      one_node("r56_concat_shapes", "Concat", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {3, 4});
                 set(n, "axis", 0);
               }),
      one_node("r56_transpose_perm", "Transpose", {2, 3},
               [](ModelMaker&, onnx::NodeProto& n) {
                 set(n, "perm", Ints{0, 0});
               }),
      one_node("r56_unsqueeze_axis", "Unsqueeze", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "axes", {5}); }),
      one_node("r56_squeeze_not_one", "Squeeze", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) { operand(m, n, "axes", {0}); }),
  };
}

// x op w, w of the given shape.
ErrorCase with_weight(std::string name, std::string op, std::vector<MadeDim> x, Ints w) {
  return one_node(std::move(name), std::move(op), std::move(x),
                  [=](ModelMaker& m, onnx::NodeProto& n) { weight(m, n, w); });
}
ErrorCase unary(std::string name, std::string op, std::vector<MadeDim> x, int type = kFloat) {
  return one_node(
      std::move(name), std::move(op), std::move(x), [](ModelMaker&, onnx::NodeProto&) {}, 17, type);
}

std::vector<ErrorCase> arithmetic_cases() {
  return {
      one_node(
          "r55_div_by_constant_zero", "Div", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            operand(m, n, "zero", {0, 0});
          },
          17, kInt64),
      one_node(
          "r55_div_by_constant_with_a_zero", "Div", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            operand(m, n, "divisor", {5, 0});
          },
          17, kInt64),
      one_node(
          "r55_mod_by_constant_zero", "Mod", {2}, [](ModelMaker& m, onnx::NodeProto& n) { scalar(m, n, "zero", 0); },
          17, kInt64),
      one_node(
          "r55_div_of_unsigned_by_constant_zero", "Div", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            const uint8_t zero = 0;
            ModelMaker::fill(*m.g().add_initializer(), "zero", kUint8, {}, &zero, 1);
            n.add_input("zero");
          },
          17, kUint8),
      with_weight("r55_float_div_by_zero_is_infinite", "Div", {2, 3}, {2, 3}),
      one_node("r55_float_mod_without_fmod", "Mod", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 weight(m, n, {2, 3});
               }),
      one_node(
          "r55_shift_by_the_width_gives_0", "BitShift", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            const uint8_t bits[2] = {7, 8};
            ModelMaker::fill(*m.g().add_initializer(), "bits", kUint8, {2}, bits, 2);
            n.add_input("bits");
            set(n, "direction", "LEFT");
          },
          17, kUint8),
      one_node(
          "r55_int_min_by_minus_one_wraps", "Div", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            operand(m, n, "minus_one", {-1, -1});
          },
          17, kInt64),
      one_node(
          "r55_bit_shift_direction", "BitShift", {2},
          [](ModelMaker& m, onnx::NodeProto& n) {
            set(n, "direction", "UP");
            n.add_input("x");
            (void)m;
          },
          17, kUint8),
      with_weight("r58_broadcast", "Add", {2, 3}, {2, 4}),
      with_weight("r58_broadcast_rank", "Mul", {2, 3}, {2}),
      with_weight("r58_mat_mul_inner", "MatMul", {2, 3}, {4, 5}),
      with_weight("r58_mat_mul_rank_0", "MatMul", {}, {3, 4}),
      with_weight("r58_gemm_rank", "Gemm", {2, 3, 4}, {4, 5}),
      with_weight("r58_gemm_inner", "Gemm", {2, 3}, {4, 5}),
      with_weight("r58_empty_tensor", "Add", {0, 3}, {1, 3}),
      with_weight("r58_rank_0", "Add", {}, {}),
      unary("r58_softmax_of_scalar", "Softmax", {}),
      unary("r58_softmax_of_empty", "Softmax", {2, 0}),
      unary("r58_flatten_of_scalar", "Flatten", {}),
      unary("r58_relu_of_bool", "Relu", {2}, kBool),
      unary("r58_not_of_float", "Not", {2}),
      unary("r58_global_max_pool_of_bool", "GlobalMaxPool", {1, 2, 4}, kBool),
      unary("r58_sigmoid_of_integers", "Sigmoid", {2}, kInt64),
      unary("r58_exp_of_bool", "Exp", {2}, kBool),
      unary("r58_neg_of_unsigned", "Neg", {2}, kUint8),
      unary("r58_is_nan_of_integers", "IsNaN", {2}, kInt32),
      unary("r58_softmax_of_integers", "Softmax", {2, 3}, kInt64),
      one_node(
          "r58_and_of_integers", "And", {2}, [](ModelMaker&, onnx::NodeProto& n) { n.add_input("x"); }, 17, kInt64),
      unary("r58_global_pool_of_rank_1", "GlobalAveragePool", {3}),
      one_node("types_differ", "Add", {2},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "i", {1, 2});
               }),
      one_node("softmax_axis", "Softmax", {2, 3}, [](ModelMaker&, onnx::NodeProto& n) { set(n, "axis", 2); }),
      one_node("reduce_axis_twice", "ReduceSum", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 operand(m, n, "axes", {0, -2});
               }),
      one_node("cast_to_nothing", "Cast", {2}, [](ModelMaker&, onnx::NodeProto&) {}),
      one_node("cast_to_99", "Cast", {2}, [](ModelMaker&, onnx::NodeProto& n) { set(n, "to", 99); }),
      one_node(
          "cast_to_float8", "Cast", {2}, [](ModelMaker&, onnx::NodeProto& n) { set(n, "to", 17); }, 19),
      one_node("batch_norm_channels", "BatchNormalization", {2, 3, 4, 4},
               [](ModelMaker& m, onnx::NodeProto& n) {
                 for (const char* name : {"scale", "bias", "mean", "var"}) {
                   m.floats(name, {5}, {1, 1, 1, 1, 1});
                   n.add_input(name);
                 }
               }),
      one_node("layer_norm_scale", "LayerNormalization", {2, 3},
               [](ModelMaker& m, onnx::NodeProto& n) { weight(m, n, {4}); }),
  };
}

TEST(Errors, WindowOperators) {
  check_error_cases("window_operators", window_cases());
}
TEST(Errors, MovementOperators) {
  check_error_cases("movement_operators", movement_cases());
}
TEST(Errors, ArithmeticOperators) {
  check_error_cases("arithmetic_operators", arithmetic_cases());
}

}  // namespace
}  // namespace fcc::test
