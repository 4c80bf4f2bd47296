#include "ir/ops/conv_geometry.h"

#include <algorithm>

#include "ir/ops/shape.h"

namespace fcc {

using loop::Expr;

bool WindowAxis::is_inside() const {
  if (!pad_begin.is_constant() || pad_begin.constant() > 0) return false;
  if (!partial && pad_end.is_constant() && pad_end.constant() <= 0) return true;
  return (in + pad_begin - (out - 1) * stride - span()).provably_nonnegative();
}

// ---- geometry -----------------------------------------------------------------------------------------------

namespace {

constexpr int64_t kMaxWindow = int64_t{1} << 30;  // far above any real window, far below overflow

struct WindowAttrs {
  std::vector<int64_t> strides, dilations, pads, output_padding, output_shape;
  std::string auto_pad;
  bool ceil_mode = false;
};

Status check_list(std::string_view what, const std::vector<int64_t>& v, size_t n, int64_t least) {
  if (v.size() != n)
    return fail(std::string(what) + " has " + std::to_string(v.size()) + " entries, expected " + std::to_string(n), {},
                "give one entry a spatial axis (pads: two)");
  for (int64_t x : v)
    if (x < least || x > kMaxWindow)
      return fail(std::string(what) + " has the entry " + std::to_string(x) + ", expected " + std::to_string(least) +
                      " or more",
                  {}, "check the attribute " + std::string(what));
  return {};
}

Result<WindowAttrs> read_attrs(const Attrs& attrs, size_t n, std::span<const int64_t> kernel) {
  const std::vector<int64_t> ones(n, 1);
  WindowAttrs w;
  w.strides = attrs.integers("strides", ones);
  w.dilations = attrs.integers("dilations", ones);
  w.pads = attrs.integers("pads", std::vector<int64_t>(2 * n, 0));
  w.output_padding = attrs.integers("output_padding", std::vector<int64_t>(n, 0));
  w.output_shape = attrs.integers("output_shape");
  w.auto_pad = attrs.string("auto_pad", "NOTSET");
  w.ceil_mode = attrs.flag("ceil_mode");
  if (w.auto_pad.empty()) w.auto_pad = "NOTSET";
  if (kernel.size() != n)
    return fail("the kernel has " + std::to_string(kernel.size()) + " axes, the operand has " + std::to_string(n) +
                " spatial axes");
  FCC_CHECKED(check_list("kernel_shape", {kernel.begin(), kernel.end()}, n, 1));
  FCC_CHECKED(check_list("strides", w.strides, n, 1));
  FCC_CHECKED(check_list("dilations", w.dilations, n, 1));
  FCC_CHECKED(check_list("pads", w.pads, 2 * n, -kMaxWindow));
  FCC_CHECKED(check_list("output_padding", w.output_padding, n, 0));
  if (w.auto_pad != "NOTSET" && w.auto_pad != "VALID" && w.auto_pad != "SAME_UPPER" && w.auto_pad != "SAME_LOWER")
    return fail("auto_pad is \"" + w.auto_pad + "\"", {}, "auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  for (size_t d = 0; d < n; ++d)
    if (saturating_multiply(kernel[d], w.dilations[d]) > kMaxWindow)
      return fail("a dilated kernel covers more than 2^30 positions");
  if (w.auto_pad != "NOTSET") w.pads.assign(2 * n, 0);
  return w;
}

void distribute(WindowAxis& a, const SymExpr& total, bool more_at_begin) {
  const SymExpr half = floordiv(total, 2);
  a.pad_begin = more_at_begin ? total - half : half;
  a.pad_end = more_at_begin ? half : total - half;
}

void resolve_axis(WindowAxis& a, const WindowAttrs& w) {
  if (w.auto_pad.starts_with("SAME")) {
    a.out = ceildiv(a.in, a.stride);
    distribute(a, max((a.out - 1) * a.stride + a.span() - a.in, 0), w.auto_pad == "SAME_LOWER");
    return;
  }
  const SymExpr room = a.in + a.pad_begin + a.pad_end - a.span();
  if (!w.ceil_mode) {
    a.out = floordiv(room, a.stride) + 1;
    return;
  }
  a.partial = true;
  const SymExpr all = ceildiv(room, a.stride) + 1, last_start = (all - 1) * a.stride;
  a.out = select_lt(last_start, a.in + a.pad_begin, all, all - 1);
}

std::string numbers_text(std::span<const int64_t> v) {
  std::string s = "[";
  for (size_t i = 0; i < v.size(); ++i) s += (i ? "," : "") + std::to_string(v[i]);
  return s + "]";
}

}  // namespace

Result<Window> window_of(const Attrs& attrs, std::span<const SymExpr> in, std::span<const int64_t> kernel) {
  const size_t n = in.size();
  FCC_TRY(WindowAttrs w, read_attrs(attrs, n, kernel));
  Window window;
  for (size_t d = 0; d < n; ++d) {
    WindowAxis a{.in = in[d],
                 .out = 0,
                 .kernel = kernel[d],
                 .stride = w.strides[d],
                 .dilation = w.dilations[d],
                 .pad_begin = w.pads[d],
                 .pad_end = w.pads[n + d]};
    resolve_axis(a, w);
    if (a.out.is_constant() && a.out.constant() < 1 && !(in[d].is(0) && a.out.is(0)))
      return fail("a kernel of " + numbers_text(kernel) + " covers " + std::to_string(a.span()) +
                      " positions of axis " + std::to_string(d + 2) + ", the padded operand has " +
                      (a.in + a.pad_begin + a.pad_end).text(),
                  {}, "use a smaller kernel or dilation, or more padding");
    window.push_back(std::move(a));
  }
  return window;
}

Result<Window> transposed_window_of(const Attrs& attrs, std::span<const SymExpr> in, std::span<const int64_t> kernel) {
  const size_t n = in.size();
  FCC_TRY(WindowAttrs w, read_attrs(attrs, n, kernel));
  if (w.output_shape.size() == n + 2) w.output_shape.erase(w.output_shape.begin(), w.output_shape.begin() + 2);
  if (!w.output_shape.empty()) FCC_CHECKED(check_list("output_shape", w.output_shape, n, 1));
  Window window;
  for (size_t d = 0; d < n; ++d) {
    WindowAxis a{.in = in[d],
                 .out = 0,
                 .kernel = kernel[d],
                 .stride = w.strides[d],
                 .dilation = w.dilations[d],
                 .pad_begin = w.pads[d],
                 .pad_end = w.pads[n + d]};
    const SymExpr full = (a.in - 1) * a.stride + a.span() + w.output_padding[d];
    if (!w.output_shape.empty()) {
      a.out = w.output_shape[d];
      distribute(a, max(full - a.out, 0), w.auto_pad != "SAME_UPPER");
    } else if (w.auto_pad.starts_with("SAME")) {
      distribute(a, max(full - a.in * a.stride, 0), w.auto_pad == "SAME_LOWER");
      a.out = full - a.pad_begin - a.pad_end;
    } else {
      a.out = full - a.pad_begin - a.pad_end;
    }
    if (a.out.is_constant() && a.out.constant() < 1)
      return fail("pads leave extent " + a.out.text() + " at axis " + std::to_string(d + 2), {},
                  "pads may take away at most (in-1)*stride + kernel - 1 positions");
    window.push_back(std::move(a));
  }
  return window;
}

Result<Window> infer_window(const InferContext& c, std::span<const SymExpr> in, std::span<const int64_t> kernel,
                            bool transposed) {
  auto w = transposed ? transposed_window_of(c.attrs, in, kernel) : window_of(c.attrs, in, kernel);
  if (!w) return c.fail(w.error().what, w.error().hint);
  return w;
}

Result<std::vector<int64_t>> fixed_extents(const InferContext& c, std::span<const SymExpr> dims,
                                           std::string_view what) {
  std::vector<int64_t> v;
  for (const SymExpr& d : dims) {
    if (!d.is_constant())
      return c.fail(std::string(what) + " must have known extents, has " + text({dims.begin(), dims.end()}),
                    "fix its shape in the model");
    v.push_back(d.constant());
  }
  return v;
}

// ---- define -------------------------------------------------------------------------------------------------

Expr window_position(const WindowAxis& a, const Expr& o, const Expr& k) {
  return o * a.stride + k * a.dilation + loop::from_sym(-a.pad_begin);
}

static Expr reduce_axis(DefineContext& c, loop::ReduceOp op, const Window& w, std::vector<Expr>& at,
                        const std::function<Expr(std::span<const Expr>)>& body) {
  const size_t d = at.size();
  if (d == w.size()) return body(at);
  if (w[d].kernel == 1) {
    at.push_back(loop::index(0));
    Expr e = reduce_axis(c, op, w, at, body);
    at.pop_back();
    return e;
  }
  static constexpr std::string_view kNames[] = {"kd", "kh", "kw"};
  return c.reduce(op, kNames[std::min<size_t>(3 - std::min<size_t>(w.size(), 3) + d, 2)], loop::index(w[d].kernel),
                  [&](Expr k) {
                    at.push_back(k);
                    Expr e = reduce_axis(c, op, w, at, body);
                    at.pop_back();
                    return e;
                  });
}

Expr reduce_window(DefineContext& c, loop::ReduceOp op, const Window& w,
                   const std::function<Expr(std::span<const Expr>)>& body) {
  std::vector<Expr> at;
  return reduce_axis(c, op, w, at, body);
}

Expr window_load(DefineContext& c, size_t k, const Window& w, std::span<const Expr> lead,
                 std::span<const Expr> positions, std::span<const Expr> trail, Expr otherwise) {
  std::vector<Expr> at(lead.begin(), lead.end());
  Expr guard = loop::boolean(true);
  for (size_t d = 0; d < w.size(); ++d) {
    at.push_back(positions[d]);
    if (!w[d].is_inside()) guard = loop::both(guard, in_range(positions[d], loop::from_sym(w[d].in)));
  }
  at.insert(at.end(), trail.begin(), trail.end());
  return loop::is_constant(guard) ? c.in(k, at) : c.in_guarded(k, at, guard, std::move(otherwise));
}

// How many positions of the window at o count along an axis.
Expr window_count(const WindowAxis& a, const Expr& o, bool include_pad) {
  if (a.is_inside() || (include_pad && !a.partial)) return loop::index(a.kernel);
  const Expr start = o * a.stride + loop::from_sym(-a.pad_begin), kernel = loop::index(a.kernel),
             step = loop::index(a.dilation);
  const auto before = [&](const Expr& bound) {  // window positions below a bound
    return clamp(floordiv(bound - start + (a.dilation - 1), step), loop::index(0), kernel);
  };
  if (include_pad) return before(loop::from_sym(a.in + a.pad_end));
  return before(loop::from_sym(a.in)) - before(loop::index(0));
}

// ---- oracles ------------------------------------------------------------------------------------------------

// in > o*stride + k*dilation - pad_begin >= 0
std::pair<int64_t, int64_t> PlainAxis::inside(int64_t k) const {
  const int64_t shift = k * dilation - pad_begin;
  const int64_t lo = std::max<int64_t>(0, -floor_divide(shift, stride)), hi = floor_divide(in - 1 - shift, stride) + 1;
  return {std::min(lo, out), std::clamp(hi, std::min(lo, out), out)};
}

PlainWindow plain_window(const Window& w) {
  FCC_CHECK(w.size() <= 3, "window of {} axes", w.size());
  PlainWindow p;
  for (size_t d = 0; d < w.size(); ++d) {
    const WindowAxis& a = w[d];
    p[3 - w.size() + d] = {a.in.constant(),        a.out.constant(),    a.kernel, a.stride, a.dilation,
                           a.pad_begin.constant(), a.pad_end.constant()};
  }
  return p;
}

}  // namespace fcc
