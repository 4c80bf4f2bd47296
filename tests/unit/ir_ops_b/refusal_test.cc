// What a user reads when a model asks for the impossible; and what stops a run.
#include <gtest/gtest.h>

#include "tests/unit/ir_ops_a/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<int64_t>;

Tensor x(Ints shape) {
  return random_tensor(1, DType::f32, std::move(shape));
}
Tensor list(Ints v) {
  return Tensor::ints(v);
}

struct Refusal {
  Case c;
  std::string what, hint;
};

TEST(Refusal, NamesTheFault) {
  const std::vector<Refusal> refusals{
      {{"Conv", {x({1, 3, 8, 8}), x({64, 4, 7, 7})}},
       "weight wants 4 input channels, the input has 3",
       "with group=1, w must be [64,3,kh,kw]"},
      {{"Conv", {x({1, 4, 8, 8}), x({6, 2, 3, 3})}, {{"group", I{0}}}},
       "group is 0, expected 1 or more",
       "group must divide the numbers of input and output channels"},
      {{"Conv", {x({1, 4, 8, 8}), x({6, 1, 3, 3})}, {{"group", I{4}}}},
       "6 output channels cannot be split into 4 groups",
       "group must divide the numbers of input and output channels"},
      {{"Conv", {x({1, 1, 8, 8}), x({1, 1, 3, 3})}, {{"strides", Ints{0, 1}}}},
       "strides has the entry 0, expected 1 or more",
       "check the attribute strides"},
      {{"Conv", {x({1, 1, 8, 8}), x({1, 1, 3, 3})}, {{"dilations", Ints{1, 0}}}},
       "dilations has the entry 0, expected 1 or more",
       "check the attribute dilations"},
      {{"Conv", {x({1, 1, 4, 8}), x({1, 1, 7, 7})}},
       "a kernel of [7,7] covers 7 positions of axis 2, the padded operand has 4",
       "use a smaller kernel or dilation, or more padding"},
      {{"Conv", {x({1, 1, 8, 8}), x({2, 1, 3, 3}), x({3})}},
       "the bias is f32[3], expected f32[2]",
       "the bias has one element an output channel"},
      {{"MaxPool", {x({1, 1, 8, 8})}, {{"kernel_shape", Ints{0, 2}}}},
       "kernel_shape has the entry 0, expected 1 or more",
       "check the attribute kernel_shape"},
      {{"MaxPool", {x({1, 1, 8, 8})}, {{"kernel_shape", Ints{2}}}},
       "the kernel has 1 axes, the operand has 2 spatial axes",
       ""},
      {{"AveragePool", {x({1, 1, 8, 8})}, {{"kernel_shape", Ints{2, 2}}, {"auto_pad", "SAME"}}},
       "auto_pad is \"SAME\"",
       "auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER"},
      {{"Reshape", {x({2, 3}), list({-1, -1})}},
       "shape [-1,-1] has more than one -1",
       "only one extent can be worked out from the others"},
      {{"Reshape", {x({2, 3}), list({4, -1})}},
       "cannot reshape 6 elements into [4,-1]",
       "the product of the other extents, 4, must divide the number of elements"},
      {{"Reshape", {x({2, 3}), list({7})}},
       "cannot reshape 6 elements into [7]",
       "the extents must multiply to the number of elements; one of them may be -1"},
      {{"Reshape",
        {
            x({2, 3}),
            list({0, -1}),
        },
        {{"allowzero", I{1}}}},
       "cannot reshape 6 elements into [0,-1]",
       "the product of the other extents, 0, must divide the number of elements"},
      {{"Reshape", {x({6}), list({6, 0})}},
       "shape [6,0] copies extent 1, but the operand has rank 1",
       "a 0 in shape means: the operand's extent at that position; for an empty result set allowzero=1"},
      {{"Gather", {x({5, 2}), list({0, 5})}},
       "index 5 is out of range for an axis of extent 5",
       "indices go from -5 to 4"},
      {{"GatherElements", {x({5}), list({-6})}},
       "index -6 is out of range for an axis of extent 5",
       "indices go from -5 to 4"},
      {{"Slice", {x({5}), list({0}), list({5}), list({0}), list({0})}},
       "a step is 0",
       "a step is any number but 0; -1 reverses the axis"},
      {{"Slice", {x({5, 2}), list({0, 0}), list({5, 5}), list({0, -2})}}, "axis -2 is named twice", ""},
      {{"Split", {x({5}), list({2, 2})}, {}, 2},
       "the parts sum to 4, axis 0 has extent 5",
       "the entries of split must sum to the extent"},
      {{"DepthToSpace", {x({1, 4, 2, 2})}, {{"blocksize", I{0}}}},
       "blocksize is 0, expected 1 or more",
       "blocksize is the side of the square that one pixel becomes"},
      {{"Expand", {x({2, 3}), list({2, 4})}},
       "shape asks for extent 4 where the operand has 3",
       "only axes of extent 1 can be expanded; [2,3] does not broadcast to [2,4]"},
      {{"Tile", {x({2, 3}), list({I{1} << 60, 1})}},
       "result f32[2305843009213693952,3] is too large",
       "no tensor may exceed 64 TiB; check the sizes that produce it"},
      {{"ConstantOfShape", {list({I{1} << 60, 1 << 20})}},
       "result f32[1152921504606846976,1048576] is too large",
       "no tensor may exceed 64 TiB; check the sizes that produce it"},
      {{"ConstantOfShape", {list({-1})}}, "asks for the negative extent -1", "extents must be 0 or more"},
      {{"Range", {ints({}, {0}), ints({}, {5}), ints({}, {0})}}, "delta is 0", "a step of 0 never reaches the limit"},
      {{"Range", {floats({}, {0}), floats({}, {1}), floats({}, {0.1})}},
       "its length depends on numbers that are not whole or not known",
       "give the length as a fourth operand"},
      {{"Pad", {x({3}), list({-2, -2})}},
       "negative pads take more from axis 0 than its extent 3",
       "the extent left must be 0 or more"},
      {{"Pad", {x({0}), list({1, 0})}, {{"mode", "edge"}}},
       "mode edge has nothing to repeat along axis 0",
       "pad an axis with at least one element"},
      {{"Pad", {x({3}), list({1})}},
       "pads has 1 entries, expected 2",
       "give a begin for each axis, then an end for each"},
      {{"Resize", {x({3}), Tensor(), floats({1}, {1.5})}},
       "its sizes depend on scales that are not known",
       "make the scales a constant of the model, or give sizes"},
      {{"Resize", {x({3})}, {{"scales", std::vector<double>{0}}}}, "scale 0.000000 is not between 1e-6 and 1e6", ""},
      {{"Resize", {x({3}), Tensor(), Tensor(), list({3})}, {{"mode", "area"}}},
       "mode is \"area\"",
       "mode is one of nearest, linear, cubic"},
      {{"Transpose", {x({2, 3})}, {{"perm", Ints{0, 0}}}},
       "perm has 2 entries and is no order of the axes of an operand of rank 2",
       "perm must name every axis from 0 to rank-1 once"},
      {{"Squeeze", {x({2, 3}), list({0})}}, "axis 0 has extent 2, expected 1", "only axes of extent 1 can be squeezed"},
      {{"Concat", {x({2, 3}), x({3, 3})}, {{"axis", I{1}}}},
       "operand 1 has extent 3 at axis 0, the others have 2",
       "operands may differ only along axis 1"},
      {{"ScatterND", {x({4, 3}), ints({2, 1}, {0, 1}), x({2, 2})}},
       "updates are [2,2], expected [2,3]",
       "updates are indices.shape[:-1] + data.shape[n:], n the length of an index"},
      {{"ScatterElements", {x({4}), list({0}), x({1})}, {{"reduction", "sum"}}},
       "reduction is \"sum\"",
       "reduction is one of none, add, mul, min, max"},
  };
  for (const Refusal& r : refusals) {
    const auto types = result_types(r.c);
    ASSERT_FALSE(types) << text(r.c);
    EXPECT_EQ(types.error().what, r.c.op + " \"n\": " + r.what);
    EXPECT_EQ(types.error().hint, r.hint) << r.what;
  }
}

// Known only while running: a sentence stops the run.
TEST(Fault, StopsTheRun) {
  const std::vector<std::pair<Case, std::string>> faults{
      {{"Gather", {x({5, 2}), list({0, 5})}}, "an index is out of range"},
      {{"Gather", {x({5, 2}), ints({}, {-6})}}, "an index is out of range"},
      {{"GatherElements", {x({5}), list({0, 9})}}, "an index is out of range"},
      {{"GatherND", {x({5, 2}), ints({1, 2}, {4, 2})}}, "an index is out of range"},
      {{"ScatterElements", {x({5}), list({0, 5}), x({2})}}, "an index is out of range"},
      {{"ScatterND", {x({5}), ints({1, 1}, {-6}), x({1})}}, "an index is out of range"},
      {{"Expand", {x({2, 3}), list({2, 4})}}, "shape does not broadcast with the operand at axis 1"},
  };
  for (const auto& [c, sentence] : faults) {
    const auto outcome = run_define(c, Mode::fixed);
    ASSERT_TRUE(outcome) << text(c) << outcome.error().text();
    ASSERT_FALSE(outcome->faults.empty()) << text(c);
    EXPECT_EQ(outcome->faults.front(), sentence);
  }
}

}  // namespace
}  // namespace fcc::test
