// MaxPoolGrad with and without a tail, compiled for every instruction set of the host, against the interpreter: windows
// that partition the plane, overlap, leave lines out or hang over; ties and NaN.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/lower/max_pool_grad.h"
#include "ir/eval.h"
#include "ir/loop/verify.h"
#include "ir/op.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using I = int64_t;
using Ints = std::vector<I>;

struct Shape {
  I n, blocks, h, w;
  Ints kernel, strides, pads{0, 0, 0, 0}, dilations{1, 1};
  I ceil = 0;
};

Attrs attrs_of(const Shape& s) {
  return {{"kernel_shape", s.kernel}, {"strides", s.strides}, {"pads", s.pads},
          {"dilations", s.dilations}, {"ceil_mode", s.ceil},  {"blocked", I{1}}};
}

// Few distinct values, so that windows have ties; some NaN.
Tensor operand(const Ints& shape, uint32_t seed, bool nan) {
  Tensor t = random(DType::f32, shape, seed);
  for (I i = 0; i < t.elements(); ++i) {
    const double v = std::round(2 * t.get_double(i)) / 2;
    t.set_double(i, nan && i % 97 == 5 ? std::nan("") : v);
  }
  return t;
}

void check(const Shape& s, bool tail, bool nan) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::f32, {s.n, s.blocks, s.h, s.w, 16}});
  GraphBuilder b(g, {});
  Graph forward;
  GraphBuilder f(forward, {});
  forward.add_output("y", f("MaxPool", {forward.add_input("x", g.value(x).type)}, attrs_of(s)));
  const TensorType pooled = forward.value(forward.outputs[0]).type;
  const ValueId y = g.add_input("y", pooled), dy = g.add_input("dy", pooled);
  ValueId dx = b("MaxPoolGrad", {x, y, dy}, attrs_of(s));
  const NodeId root = g.value(dx).def;
  if (tail) dx = b("Where", {b("LessOrEqual", {x, b.scalar(DType::f32, 0)}), b.scalar(DType::f32, 0), dx});
  g.add_output("dx", dx);
  ASSERT_TRUE(b.status()) << b.status().error().text();
  ASSERT_TRUE(backend::is_max_pool_grad(g, root));
  std::vector<Tensor> args{operand(g.value(x).type.extents(), 1, nan)};
  args.push_back(evaluate(forward, args)->outputs[0]);
  args.push_back(random(DType::f32, pooled.extents(), 2));
  const auto expected = evaluate(g, args);
  ASSERT_TRUE(expected);
  for (const Target& target : host_targets()) {
    const loop::Kernel k = backend::lower_max_pool_grad(g, root, target);
    const Status valid = loop::verify(k);
    ASSERT_TRUE(valid) << valid.error().text();
    std::vector<Tensor> all = args;
    all.emplace_back(DType::f32, expected->outputs[0].shape());
    run(k, target, all);
    for (I i = 0; i < all[3].elements(); ++i)  // up to nine windows add up
      ASSERT_NEAR(all[3].get_double(i), expected->outputs[0].get_double(i), 4e-6)
          << s.h << "x" << s.w << " element " << i << " " << target.text();
  }
}

TEST(MaxPoolGrad, MatchesTheInterpreter) {
  for (const Shape& s : std::vector<Shape>{{2, 2, 8, 6, {2, 2}, {2, 2}},
                                           {1, 1, 40, 30, {2, 2}, {2, 2}},
                                           {1, 3, 9, 6, {3, 2}, {3, 2}},
                                           {1, 1, 7, 9, {2, 2}, {2, 2}},
                                           {2, 1, 14, 11, {3, 3}, {2, 2}, {1, 1, 1, 1}},
                                           {1, 2, 9, 9, {3, 3}, {1, 1}},
                                           {1, 1, 10, 12, {2, 2}, {3, 3}},
                                           {1, 1, 11, 12, {3, 3}, {2, 2}, {0, 0, 0, 0}, {1, 1}, 1},
                                           {1, 1, 12, 9, {3, 2}, {2, 1}, {2, 1, 0, 0}, {2, 1}},
                                           {1, 1, 5, 5, {5, 5}, {5, 5}}})
    for (bool tail : {false, true}) {
      check(s, tail, tail);
      if (HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace fcc::test
