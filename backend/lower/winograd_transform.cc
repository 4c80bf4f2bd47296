#include "backend/lower/winograd_transform.h"

namespace fcc::backend {

using loop::Expr;

static Expr number(double v) {
  return loop::constant(DType::f32, v);
}

std::vector<Expr> transform_input(Lanes& l, std::span<const Expr> d) {
  if (d.size() == 4) return {d[2] - d[0], d[1] + d[2], d[2] - d[1], d[3] - d[1]};
  const Expr a = l.let("a", d[4] - d[2]), b = l.let("b", d[3] - d[1]);
  return {loop::fma(b, number(1.5), (d[0] - d[2]) + a),
          loop::fma(d[3] + d[2], number(1.5), a + b),
          loop::fma(d[3] - d[2], number(1.5), a - b),
          loop::fma(b, number(2), a),
          loop::fma(b, number(-0.5), a),
          loop::fma(a, number(1.5), (d[5] - d[3]) - b)};
}

std::vector<Expr> transform_output(Lanes& l, std::span<const Expr> m) {
  if (m.size() == 4) return {(m[0] + m[1]) + m[2], (m[1] - m[2]) + m[3]};
  const Expr p = l.let("p", m[1] + m[2]), q = l.let("q", m[1] - m[2]);
  return {(m[0] + p) + (m[3] + m[4]), loop::fma(m[4], number(-2), loop::fma(m[3], number(0.5), q)),
          loop::fma(m[4], number(4), loop::fma(m[3], number(0.25), p)),
          loop::fma(m[4], number(-8), loop::fma(m[3], number(0.125), q)) + m[5]};
}

std::vector<Expr> transform_gradient(Lanes& l, std::span<const Expr> y) {
  if (y.size() == 2) return {y[0], y[0] + y[1], y[0] - y[1], y[1]};
  const Expr even = l.let("even", y[0] + y[2]), odd = l.let("odd", y[1] + y[3]);
  return {y[0],
          even + odd,
          even - odd,
          loop::fma(loop::fma(y[3], number(0.25), y[1]), number(0.5), loop::fma(y[2], number(0.25), y[0])),
          loop::fma(loop::fma(y[3], number(4), y[1]), number(-2), loop::fma(y[2], number(4), y[0])),
          y[3]};
}

}  // namespace fcc::backend
