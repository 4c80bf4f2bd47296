// Resize: nearest, linear and cubic interpolation along any axes, with ONNX's coordinate transformations.
//
// Position x of the result stands at the coordinate (num*x + off) / den of the operand, with whole numbers: sizes are
// whole, and a scale such as 0.6 is read as the simplest fraction that rounds to the same float. So nearest never
// falls to the wrong side of a tie, doubling an image is floordiv(x, 2), and axes that keep their size stay linear.
// Only tf_crop_and_resize and scales known only while running compute coordinates in f64.
#include "ir/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ir/grad.h"
#include "ir/ops/shape.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using loop::UnaryOp;
using Index = std::span<const Expr>;

// ---- geometry -----------------------------------------------------------------------------------------------

struct Fraction {
  SymExpr p = 1, q = 1;
};

struct AxisMap {
  size_t axis = 0, slot = 0;  // slot: position among the resized axes, which orders roi and scales
  SymExpr in, out;
  Fraction scale;
  SymExpr num = 1, off = 0, den = 1;
  bool exact = true;  // num, off, den and scale are valid
  bool is_identity() const { return exact && num == den && off.is(0); }
};

// The fraction with the smallest denominator that rounds to the float s: a walk down the continued fraction.
std::optional<Fraction> fraction_of(double s) {
  const auto wanted = static_cast<float>(s);
  if (!(wanted > 1e-6f && wanted < 1e6f)) return std::nullopt;
  int64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  double rest = static_cast<double>(wanted);
  for (int step = 0; step < 40; ++step) {
    const auto whole = static_cast<int64_t>(std::floor(rest));
    const int64_t p = whole * p1 + p0, q = whole * q1 + q0;
    if (static_cast<float>(static_cast<double>(p) / static_cast<double>(q)) == wanted) return Fraction{p, q};
    p0 = std::exchange(p1, p);
    q0 = std::exchange(q1, q);
    rest = 1 / (rest - static_cast<double>(whole));
  }
  return std::nullopt;
}

std::string coordinates_of(const Attrs& attrs) {
  return attrs.string("coordinate_transformation_mode", "half_pixel");
}

// out == scale * in for every result of sizes; with scales, scale * in need not be whole.
void set_coordinates(AxisMap& a, const std::string& mode) {
  const SymExpr &p = a.scale.p, &q = a.scale.q;
  if (mode == "asymmetric") {
    a.num = q, a.off = 0, a.den = p;
  } else if (mode == "align_corners") {          // a result of one position has x = 0 only
    const bool whole = p == a.out && q == a.in;  // scale * in is the extent itself
    const SymExpr den = whole ? a.out - 1 : a.in * p - q;
    a.num = whole ? a.in - 1 : (a.in - 1) * q, a.off = 0, a.den = max(den, 1);
    if (a.num == den) a.num = a.den = 1;
  } else {
    a.num = q * 2, a.off = mode == "tf_half_pixel_for_nn" ? q : q - p, a.den = p * 2;
    if (mode == "half_pixel_symmetric") a.off = a.off + a.in * p - a.out * q;
    if (mode == "pytorch_half_pixel") {
      a.num = select_lt(1, a.out, a.num, 0);
      a.off = select_lt(1, a.out, a.off, 0);
    }
  }
  if (!a.num.is_constant() || !a.off.is_constant() || !a.den.is_constant()) return;
  const int64_t g = std::gcd(std::gcd(a.num.constant(), a.off.constant()), a.den.constant());
  if (g > 1) a.num = a.num.constant() / g, a.off = a.off.constant() / g, a.den = a.den.constant() / g;
}

// One scale for all axes: the smallest (or largest) of size/extent.
Fraction common_scale(const std::vector<AxisMap>& maps, bool smallest) {
  Fraction best{maps[0].out, maps[0].in};
  for (const AxisMap& a : maps) {
    const SymExpr mine = a.out * best.q, other = best.p * a.in;
    const SymExpr &less = smallest ? mine : other, &more = smallest ? other : mine;
    best = {select_lt(less, more, a.out, best.p), select_lt(less, more, a.in, best.q)};
  }
  return best;
}

using Fail = std::unexpected<Diagnostic>;

Status apply_sizes(std::vector<AxisMap>& maps, const std::vector<SymExpr>& sizes, const std::string& policy) {
  if (sizes.size() != maps.size())
    return fail("sizes has " + std::to_string(sizes.size()) + " entries for " + std::to_string(maps.size()) + " axes");
  for (AxisMap& a : maps) {
    a.out = sizes[a.slot];
    if (a.out.is_constant() && a.out.constant() < 0) return fail("sizes has the negative entry " + a.out.text());
    a.scale = {a.out, a.in};
    if (a.out == a.in) a.scale = {1, 1};
  }
  if (policy == "stretch" || maps.empty()) return {};
  const Fraction s = common_scale(maps, policy == "not_larger");
  for (AxisMap& a : maps) {
    a.scale = s;
    a.out = floordiv(a.in * s.p * 2 + s.q, s.q * 2);
  }
  return {};
}

Status apply_scales(std::vector<AxisMap>& maps, const std::vector<double>& scales, bool keep_out) {
  if (scales.size() != maps.size())
    return fail("scales has " + std::to_string(scales.size()) + " entries for " + std::to_string(maps.size()) +
                " axes");
  for (AxisMap& a : maps) {
    const auto f = fraction_of(scales[a.slot]);
    if (!f) return fail("scale " + std::to_string(scales[a.slot]) + " is not between 1e-6 and 1e6");
    a.scale = *f;
    if (!keep_out) a.out = floordiv(a.in * f->p, f->q);
  }
  return {};
}

std::vector<double> known_scales(const Attrs& attrs, const SymTensor* operand) {
  std::vector<double> v = attrs.numbers("scales");
  if (v.empty() && operand && operand->is_constant())
    for (int64_t s : operand->constants()) v.push_back(static_cast<double>(s));
  return v;
}

// The map of every resized axis. sizes: null when absent; scales: what is known of that operand.
Result<std::vector<AxisMap>> axis_maps(const Attrs& attrs, const Dims& in, const SymTensor* scales_operand,
                                       bool has_scales, const std::vector<SymExpr>* sizes) {
  std::vector<int64_t> all(in.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<int64_t> axes = attrs.integers("axes", all);
  std::vector<AxisMap> maps;
  for (size_t k = 0; k < axes.size(); ++k) {
    const auto rank = static_cast<int64_t>(in.size());
    const int64_t a = axes[k] < 0 ? axes[k] + rank : axes[k];
    if (a < 0 || a >= rank)
      return fail("axis " + std::to_string(axes[k]) + " is out of range for rank " + std::to_string(rank));
    maps.push_back({.axis = static_cast<size_t>(a), .slot = k, .in = in[static_cast<size_t>(a)], .out = 0});
  }
  std::sort(maps.begin(), maps.end(), [](const AxisMap& a, const AxisMap& b) { return a.axis < b.axis; });
  for (size_t k = 1; k < maps.size(); ++k)
    if (maps[k].axis == maps[k - 1].axis) return fail("axis " + std::to_string(maps[k].axis) + " is named twice");
  const std::vector<double> scales = known_scales(attrs, scales_operand);
  if (sizes)
    FCC_CHECKED(
        apply_sizes(maps, *sizes, has_scales ? "stretch" : attrs.string("keep_aspect_ratio_policy", "stretch")));
  if (!scales.empty()) FCC_CHECKED(apply_scales(maps, scales, sizes != nullptr));
  const bool crop = coordinates_of(attrs) == "tf_crop_and_resize";
  if (scales.empty() && !sizes)
    return Fail(Diagnostic{.what = "its sizes depend on scales that are not known",
                           .where = {},
                           .seen = {},
                           .hint = "make the scales a constant of the model, or give sizes",
                           .more = {}});
  for (AxisMap& a : maps) {
    a.exact = !crop && (!scales.empty() || !has_scales);
    if (a.exact) set_coordinates(a, coordinates_of(attrs));
  }
  return maps;
}

// ---- infer --------------------------------------------------------------------------------------------------

Status check_modes(InferContext& c) {
  const auto one_of = [&](std::string_view attr, std::string_view otherwise,
                          std::initializer_list<std::string_view> known) -> Status {
    const std::string v = c.attrs.string(attr, otherwise);
    std::string list;
    for (std::string_view k : known) {
      if (v == k) return {};
      list += (list.empty() ? "" : ", ") + std::string(k);
    }
    return c.fail(std::string(attr) + " is \"" + v + "\"", std::string(attr) + " is one of " + list);
  };
  FCC_CHECKED(one_of("mode", "nearest", {"nearest", "linear", "cubic"}));
  FCC_CHECKED(one_of("coordinate_transformation_mode", "half_pixel",
                     {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                      "tf_crop_and_resize", "tf_half_pixel_for_nn"}));
  FCC_CHECKED(
      one_of("nearest_mode", "round_prefer_floor", {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  FCC_CHECKED(one_of("keep_aspect_ratio_policy", "stretch", {"stretch", "not_larger", "not_smaller"}));
  if (coordinates_of(c.attrs) == "tf_crop_and_resize" && (!c.has(1) || !c.has(3)))
    return c.fail("tf_crop_and_resize needs roi and sizes", "give the operand roi, and sizes instead of scales");
  return {};
}

Status infer_resize(InferContext& c) {
  FCC_CHECKED(check_modes(c));
  std::optional<SymTensor> sizes;
  if (c.has(3)) {
    FCC_TRY(sizes, c.observe(3));
  }
  const bool has_scales = c.has(2) || c.attrs.has("scales");
  auto maps = axis_maps(c.attrs, c.dims(0), c.content(2), has_scales, sizes ? &sizes->elements : nullptr);
  if (!maps) return c.fail(maps.error().what, maps.error().hint);
  Dims dims = c.dims(0);
  for (const AxisMap& a : *maps) {
    if (a.in.is(0) && a.out.provably_positive())
      return c.fail("axis " + std::to_string(a.axis) + " has no element to interpolate");
    dims[a.axis] = a.out;
  }
  c.set(0, c.dtype(0), std::move(dims));
  return {};
}

// ---- coordinates in floats: the same formula over double and over expressions ---------------------------------

double number_like(double, double v) {
  return v;
}
Expr number_like(const Expr& e, double v) {
  return loop::constant(e->type, v);
}
double when_at_most_one(double n, double then, double otherwise) {
  return n <= 1 ? then : otherwise;
}
Expr when_at_most_one(const Expr& n, const Expr& then, const Expr& otherwise) {
  return loop::select(loop::binary(BinaryOp::le, n, number_like(n, 1)), then, otherwise);
}

template <class N>
N coordinate(const std::string& mode, const N& x, const N& scale, const N& in, const N& out, const N& start,
             const N& end) {
  const N zero = number_like(x, 0), one = number_like(x, 1), half = number_like(x, 0.5);
  const N width = scale * in;
  if (mode == "asymmetric") return x / scale;
  if (mode == "align_corners") return when_at_most_one(width, zero, x * (in - one) / (width - one));
  if (mode == "tf_crop_and_resize")
    return when_at_most_one(out, half * (start + end) * (in - one),
                            start * (in - one) + x * (end - start) * (in - one) / (out - one));
  if (mode == "tf_half_pixel_for_nn") return (x + half) / scale;
  const N half_pixel = (x + half) / scale - half;
  if (mode == "pytorch_half_pixel") return when_at_most_one(out, zero, half_pixel);
  if (mode == "half_pixel_symmetric") return half_pixel + in * half * (one - out / width);
  return half_pixel;
}

// ---- eval ---------------------------------------------------------------------------------------------------

struct Filter {
  bool nearest = false, cubic = false, antialias = false, exclude_outside = false;
  double a = -0.75;
  std::string rounding;
  int64_t support() const { return cubic ? 2 : 1; }
};

Filter filter_of(const Attrs& attrs) {
  const std::string mode = attrs.string("mode", "nearest");
  return {mode == "nearest",
          mode == "cubic",
          attrs.flag("antialias") && mode != "nearest",
          attrs.flag("exclude_outside"),
          attrs.number("cubic_coeff_a", -0.75),
          attrs.string("nearest_mode", "round_prefer_floor")};
}

double weight_at(const Filter& f, double distance) {
  const double x = std::fabs(distance), a = f.a;
  if (!f.cubic) return std::max(0.0, 1 - x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

struct Taps {
  std::vector<std::pair<int64_t, double>> taps;  // operand index and weight
  bool outside = false;                          // the extrapolation value instead
};

// Coordinate = whole + ratio, 0 <= ratio < 1.
Taps taps_at(const Filter& f, int64_t whole, double ratio, double scale, int64_t extent) {
  const auto inside = [&](int64_t i) { return std::clamp<int64_t>(i, 0, extent - 1); };
  if (f.nearest) {
    bool up = false;
    if (f.rounding == "round_prefer_floor") up = ratio > 0.5;
    if (f.rounding == "round_prefer_ceil") up = ratio >= 0.5;
    if (f.rounding == "ceil") up = ratio > 0;
    return {{{inside(whole + up), 1.0}}};
  }
  const double shrink = f.antialias ? std::min(scale, 1.0) : 1.0;
  const auto first = static_cast<int64_t>(std::floor(-static_cast<double>(f.support()) / shrink)) + 1;
  Taps t;
  double sum = 0;
  for (int64_t i = first; i <= 1 - first; ++i) {
    double w = weight_at(f, (static_cast<double>(i) - ratio) * shrink);
    if (f.exclude_outside && inside(whole + i) != whole + i) w = 0;
    t.taps.emplace_back(inside(whole + i), w);
    sum += w;
  }
  for (auto& [i, w] : t.taps) w /= sum;
  return t;
}

std::vector<Taps> axis_taps(const EvalContext& c, const AxisMap& a, const Filter& f) {
  const int64_t in = a.in.constant(), out = a.out.constant();
  std::vector<Taps> all;
  for (int64_t x = 0; x < out; ++x) {
    if (a.exact) {
      const int64_t t = a.num.constant() * x + a.off.constant(), den = a.den.constant(), whole = floor_divide(t, den);
      const double scale = static_cast<double>(a.scale.p.constant()) / static_cast<double>(a.scale.q.constant());
      all.push_back(taps_at(f, whole, static_cast<double>(t - whole * den) / static_cast<double>(den), scale, in));
      continue;
    }
    const auto element = [&](size_t k, size_t i, double otherwise) {
      return c.has(k) ? c.in[k]->get_double(static_cast<int64_t>(i)) : otherwise;
    };
    const auto n = c.has(1) ? static_cast<size_t>(c.in[1]->elements() / 2) : 0;
    const double scale = element(2, a.slot, static_cast<double>(out) / static_cast<double>(in));
    const std::string mode = coordinates_of(c.attrs);
    const double at = coordinate<double>(mode, static_cast<double>(x), scale, static_cast<double>(in),
                                         static_cast<double>(out), element(1, a.slot, 0), element(1, n + a.slot, 1));
    const double whole = std::floor(std::clamp(at, -1e15, 1e15));
    all.push_back(taps_at(f, static_cast<int64_t>(whole), at - whole, scale, in));
    all.back().outside = mode == "tf_crop_and_resize" && (at < 0 || at > static_cast<double>(in - 1));
  }
  return all;
}

// Interpolates along one axis.
std::vector<double> resize_axis(const std::vector<double>& x, std::vector<int64_t>& shape, size_t axis,
                                const std::vector<Taps>& taps, double outside) {
  const int64_t inner = product(std::span(shape).subspan(axis + 1)), outer = product(std::span(shape).first(axis)),
                in = shape[axis];
  const auto out = static_cast<int64_t>(taps.size());
  shape[axis] = out;
  std::vector<double> y(static_cast<size_t>(outer * out * inner));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t p = 0; p < out; ++p)
      for (int64_t i = 0; i < inner; ++i) {
        const Taps& t = taps[static_cast<size_t>(p)];
        double sum = t.outside ? outside : 0;
        if (!t.outside)
          for (const auto& [at, w] : t.taps) sum += w == 0 ? 0 : w * x[static_cast<size_t>((o * in + at) * inner + i)];
        y[static_cast<size_t>((o * out + p) * inner + i)] = sum;
      }
  return y;
}

void eval_resize(EvalContext& c) {
  if (c.out[0].empty()) return;
  std::optional<std::vector<SymExpr>> sizes;
  if (c.has(3)) sizes = numbers_of(*c.in[3]);
  std::optional<SymTensor> scales;  // whole scales given as an operand are exact too, as infer sees them
  if (c.has(2) && std::ranges::all_of(c.in[2]->to_doubles(), [](double s) { return s == std::floor(s); }))
    scales = SymTensor{1, numbers_of(*c.in[2])};
  const auto maps = axis_maps(c.attrs, c.in[0]->type().dims, scales ? &*scales : nullptr,
                              c.has(2) || c.attrs.has("scales"), sizes ? &*sizes : nullptr);
  FCC_CHECK(maps, "{}", maps.error().what);
  const Filter f = filter_of(c.attrs);
  std::vector<int64_t> shape = c.in[0]->shape();
  std::vector<double> x = c.in[0]->to_doubles();
  for (const AxisMap& a : *maps)
    if (!a.is_identity())
      x = resize_axis(x, shape, a.axis, axis_taps(c, a, f), c.attrs.number("extrapolation_value", 0));
  for (size_t i = 0; i < x.size(); ++i) c.out[0].set_double(static_cast<int64_t>(i), x[i]);
}

// ---- define -------------------------------------------------------------------------------------------------

// Where a position of the result falls along one axis.
struct Spot {
  Expr whole, ratio;    // coordinate = whole + ratio
  Expr numerator, den;  // exact: coordinate = numerator / den
  Expr shrink, first;   // antialias: min(scale, 1); the first tap, counted from whole
  Expr outside;         // tf_crop_and_resize: null when it cannot be
};

class Interpolation {
 public:
  Interpolation(DefineContext& c, std::vector<AxisMap> maps, Index index)
      : c_(c), maps_(std::move(maps)), at_(index.begin(), index.end()) {
    std::erase_if(maps_, [](const AxisMap& a) { return a.is_identity(); });
    type_ = loop::compute_type(c.dtype(0));
    if (!is_float(type_) && !filter_.nearest) type_ = DType::f32;
  }

  Expr value() {
    for (const AxisMap& a : maps_) spots_.push_back(spot(a, at_[a.axis]));
    Expr v = along(0);
    Expr outside;
    for (const Spot& s : spots_)
      if (s.outside) outside = outside ? loop::binary(BinaryOp::logical_or, outside, s.outside) : s.outside;
    if (outside) v = loop::select(outside, loop::constant(v->type, c_.attrs->number("extrapolation_value", 0)), v);
    return loop::cast(loop::compute_type(c_.dtype(0)), v);
  }

 private:
  Expr real(double v) const { return loop::constant(type_, v); }
  static Expr f64(Expr e) { return loop::cast(DType::f64, std::move(e)); }

  Spot spot(const AxisMap& a, const Expr& x) {
    if (!a.exact) return float_spot(a, x);
    Spot s;
    s.numerator = x * loop::from_sym(a.num) + loop::from_sym(a.off);
    s.den = loop::from_sym(a.den);
    if (filter_.nearest) return s;
    s.whole = floordiv(s.numerator, s.den);
    s.ratio = loop::cast(type_, mod(s.numerator, s.den)) / loop::cast(type_, s.den);
    if (!filter_.antialias) return s;
    s.first = loop::from_sym(floordiv(max(a.scale.p, a.scale.q) * -filter_.support(), a.scale.p) + 1);
    const SymExpr smaller = min(a.scale.p, a.scale.q);
    s.shrink = loop::cast(type_, loop::from_sym(smaller)) / loop::cast(type_, loop::from_sym(a.scale.q));
    return s;
  }

  Spot float_spot(const AxisMap& a, const Expr& x) {
    const std::string mode = coordinates_of(*c_.attrs);
    const auto element = [&](size_t k, SymExpr i, Expr otherwise) {
      const Expr at = loop::from_sym(i);
      return c_.has(k) ? f64(c_.in(k, {&at, 1})) : otherwise;
    };
    const Expr in = f64(loop::from_sym(a.in)), out = f64(loop::from_sym(a.out)), zero = loop::constant(DType::f64, 0),
               one = loop::constant(DType::f64, 1);
    const auto slot = static_cast<int64_t>(a.slot);
    const SymExpr n = c_.has(1) && !c_.dims(1).empty() ? floordiv(c_.dims(1)[0], 2) : SymExpr(0);
    const Expr scale = element(2, slot, out / in);
    const Expr at = coordinate<Expr>(mode, f64(x), scale, in, out, element(1, slot, zero), element(1, n + slot, one));
    const Expr floor = loop::unary(UnaryOp::floor, at);
    Spot s;
    s.whole = loop::cast(DType::i64, floor);
    s.ratio = loop::cast(is_float(type_) ? type_ : DType::f64, at - floor);
    if (mode == "tf_crop_and_resize")
      s.outside = loop::binary(BinaryOp::logical_or, loop::lt(at, zero), loop::lt(in - one, at));
    if (!filter_.antialias) return s;
    const Expr shrink = loop::min(scale, one);
    s.shrink = loop::cast(type_, shrink);
    s.first = loop::cast(DType::i64,
                         loop::unary(UnaryOp::floor,
                                     loop::constant(DType::f64, -static_cast<double>(filter_.support())) / shrink)) +
              1;
    return s;
  }

  // The index that nearest_mode picks, not yet clamped.
  Expr nearest(const Spot& s) const {
    const std::string& r = filter_.rounding;
    if (s.numerator) {
      const Expr &t = s.numerator, &d = s.den;
      if (r == "floor") return floordiv(t, d);
      if (r == "ceil") return floordiv(t + d - 1, d);
      return floordiv(t * 2 + d - (r == "round_prefer_floor" ? 1 : 0), d * 2);
    }
    if (r == "floor") return s.whole;
    const auto up = [&](BinaryOp op, double bound) {
      return s.whole + loop::cast(DType::i64, loop::binary(op, s.ratio, loop::constant(s.ratio->type, bound)));
    };
    if (r == "ceil") return up(BinaryOp::gt, 0);
    return r == "round_prefer_floor" ? up(BinaryOp::gt, 0.5) : up(BinaryOp::ge, 0.5);
  }

  Expr weight(const Expr& distance) const {
    const Expr x = loop::unary(UnaryOp::abs, distance);
    if (!filter_.cubic) return loop::max(real(0), real(1) - x);
    const double a = filter_.a;
    const Expr near = (x * real(a + 2) - real(a + 3)) * x * x + real(1);
    const Expr far = ((x * real(a) - real(5 * a)) * x + real(8 * a)) * x - real(4 * a);
    return loop::select(loop::binary(BinaryOp::le, x, real(1)), near, loop::select(loop::lt(x, real(2)), far, real(0)));
  }

  // Weight of tap i, 0 outside the operand when that is to be excluded.
  Expr tap_weight(const AxisMap& a, const Spot& s, const Expr& i) const {
    Expr distance = loop::cast(type_, i) - s.ratio;
    if (s.shrink) distance = distance * s.shrink;
    Expr w = weight(distance);
    if (filter_.exclude_outside) w = loop::select(in_range(s.whole + i, loop::from_sym(a.in)), w, real(0));
    return w;
  }

  Expr at_tap(size_t k, const Expr& position) {
    at_[maps_[k].axis] = clamp(position, loop::index(0), loop::from_sym(maps_[k].in) - 1);
    return along(k + 1);
  }

  // Interpolates axes k, k+1, ... of maps_.
  Expr along(size_t k) {
    if (k == maps_.size()) {
      Expr e = c_.in(0, at_);
      return filter_.nearest ? e : loop::cast(type_, e);
    }
    const AxisMap& a = maps_[k];
    const Spot& s = spots_[k];
    if (filter_.nearest) return at_tap(k, nearest(s));
    if (filter_.antialias) return along_wide(k);
    if (!filter_.cubic && !filter_.exclude_outside)
      return at_tap(k, s.whole) * (real(1) - s.ratio) + at_tap(k, s.whole + 1) * s.ratio;
    Expr sum, total;
    for (int64_t i = 1 - filter_.support(); i <= filter_.support(); ++i) {
      const Expr w = tap_weight(a, s, loop::index(i)), term = at_tap(k, s.whole + i) * w;
      sum = sum ? sum + term : term;
      total = total ? total + w : w;
    }
    return filter_.exclude_outside ? sum / total : sum;
  }

  // A filter that widens as the image shrinks: a loop over its taps.
  Expr along_wide(size_t k) {
    const AxisMap& a = maps_[k];
    const Spot s = spots_[k];
    const Expr taps = loop::index(2) - s.first * 2;
    const Expr sum = c_.reduce(loop::ReduceOp::add, "tap", taps, [&](Expr t) {
      return at_tap(k, s.whole + s.first + t) * tap_weight(a, s, s.first + t);
    });
    const Expr total =
        c_.reduce(loop::ReduceOp::add, "tap", taps, [&](Expr t) { return tap_weight(a, s, s.first + t); });
    return sum / total;
  }

  DefineContext& c_;
  std::vector<AxisMap> maps_;
  std::vector<Expr> at_;
  std::vector<Spot> spots_;
  const Filter filter_ = filter_of(*c_.attrs);
  DType type_ = DType::f32;
};

Expr define_resize(DefineContext& c, size_t, Index index) {
  const auto maps = axis_maps(*c.attrs, c.dims(0), c.has(2) ? c.contents[2] : nullptr,
                              c.has(2) || c.attrs->has("scales"), c.has(3) ? &known_elements(c, 3) : nullptr);
  FCC_CHECK(maps, "{}", maps.error().what);
  return Interpolation(c, *maps, index).value();
}

// ---- gradient -----------------------------------------------------------------------------------------------

// Interpolation is linear along every axis: y = M x, and M is what Resize makes of an identity matrix. So dx = M' dy, a
// matrix product an axis. Repeating pixels, the usual case of nearest, is undone by sums instead.
class ResizeGradient {
 public:
  ResizeGradient(GradBuilder& b, const Node& n) : b_(b), n_(n) {}

  Term along(const AxisMap& a, Term d) const {
    if (repeats(a)) {
      Dims split = d.type().dims, merged = split;
      split[a.axis] = a.in;
      split.insert(split.begin() + static_cast<int64_t>(a.axis) + 1, a.scale.p);
      merged[a.axis] = a.in;
      return b_.reshape(b_.sum(b_.reshape(d, split), {static_cast<int64_t>(a.axis) + 1}, false), merged);
    }
    const auto rank = static_cast<size_t>(d.type().rank());
    const Term m = matrix(a);  // [out, in]
    if (a.axis + 2 == rank) return b_.node("MatMul", {b_.transpose(m, {1, 0}), d});
    std::vector<int64_t> swap(rank);
    std::iota(swap.begin(), swap.end(), 0);
    std::swap(swap[a.axis], swap[rank - 1]);
    return b_.transpose(b_.node("MatMul", {b_.transpose(d, swap), m}), swap);
  }

 private:
  // Is element x of the result element floor(x / scale) of the operand?
  bool repeats(const AxisMap& a) const {
    const std::string mode = coordinates_of(n_.attrs), rounding = n_.attrs.string("nearest_mode", "round_prefer_floor");
    if (n_.attrs.string("mode", "nearest") != "nearest" || !a.exact || !a.scale.q.is(1) || !a.scale.p.is_constant()) return false;
    if (!(a.out == a.in * a.scale.p)) return false;
    return mode == "asymmetric" ? rounding == "floor" : mode == "half_pixel" && rounding.starts_with("round");
  }

  Term matrix(const AxisMap& a) const {
    const DType t = b_.in_type(0).dtype;
    const Term eye = b_.node("EyeLike", {b_.zeros({t, {a.in, a.in}})});
    Attrs attrs = n_.attrs;
    attrs.set("axes", std::vector<int64_t>{0});
    attrs.set("keep_aspect_ratio_policy", std::string("stretch"));
    attrs.set("extrapolation_value", 0.0);
    attrs.erase("scales");
    const bool numbers = a.scale.p.is_constant() && a.scale.q.is_constant();
    if (n_.attrs.has("scales") || numbers)
      attrs.set("scales", std::vector<double>{static_cast<double>(a.scale.p.constant()) / static_cast<double>(a.scale.q.constant())});
    const Term sizes = b_.term(b_.GraphBuilder::dims({a.out}));
    return b_.node("Resize", {eye, part(1, a, true), part(2, a, false), sizes}, attrs);
  }

  // This axis's entry of roi (two of them) or scales.
  Term part(size_t k, const AxisMap& a, bool twice) const {
    if (!b_.has(k)) return {};
    const int64_t half = twice ? b_.dims(k)[0].constant() / 2 : 0, slot = static_cast<int64_t>(a.slot);
    std::vector<int64_t> places{slot};
    if (twice) places.push_back(half + slot);
    return b_.term(b_("Gather", {b_.in(k).v, b_.ints(places)}));
  }

  GradBuilder& b_;
  const Node& n_;
};

Result<std::vector<ValueId>> grad_resize(GradBuilder& b, const Node& n, std::span<const ValueId>) {
  const auto content = [&](size_t k) { return b.has(k) ? b.graph.value(n.in[k]).content : nullptr; };
  const auto scales = content(2), sizes = content(3);
  const auto maps = axis_maps(n.attrs, b.dims(0), scales.get(), b.has(2) || n.attrs.has("scales"), sizes ? &sizes->elements : nullptr);
  FCC_CHECK(maps, "{}", maps.error().what);
  const ResizeGradient g(b, n);
  b.give(0, [&] {
    Term d = b.dy();
    for (const AxisMap& a : *maps)
      if (!a.is_identity()) d = g.along(a, d);
    return d;
  });
  return b.done();
}

}  // namespace

void canonicalize_resize(GraphBuilder& b, std::vector<ValueId>& in, Attrs& attrs) {
  in.resize(4, kNoValue);
  for (size_t k = 1; k < 4; ++k)
    if (in[k] != kNoValue && b.type(in[k]).elements().is(0)) in[k] = kNoValue;
  // Attributes are still as the file has them; the registry will refuse wrong types.
  const AttrValue* mode = attrs.find("coordinate_transformation_mode");
  const auto* mode_text = mode ? std::get_if<std::string>(mode) : nullptr;
  const bool crop = mode_text && *mode_text == "tf_crop_and_resize";
  if (!crop) in[1] = kNoValue;
  const ValueId scales = in[2];
  if (scales == kNoValue) return;
  const bool known = b.graph.is_constant(scales);
  if (known) {
    attrs.set("scales", b.graph.value(scales).data.to_doubles());
    in[2] = kNoValue;
  }
  if (in[3] != kNoValue || (known && !crop)) return;
  ValueId shape = b("Shape", {in[0]});
  const AttrValue* axes = attrs.find("axes");
  if (const auto* list = axes ? std::get_if<std::vector<int64_t>>(axes) : nullptr)
    shape = b("Gather", {shape, b.ints(*list)});
  ValueId size = b("Mul", {b("Cast", {shape}, {{"to", DType::f32}}), scales});
  if (crop && in[1] != kNoValue) {
    const std::vector<ValueId> ends = b.many("Split", {in[1]}, {{"axis", int64_t{0}}, {"num_outputs", int64_t{2}}}, 2);
    const ValueId width = b("Sub", {ends[1], ends[0]});
    size = b("Mul", {size, b("Cast", {width}, {{"to", DType::f32}})});
  }
  in[3] = b("Cast", {b("Floor", {size})}, {{"to", DType::i64}});
}

void register_resize(Registry& r) {
  r.add({.name = "Resize",
         .doc = "interpolated to other extents; operands x, roi, scales, sizes",
         .attrs = {{"antialias", AttrType::integer},
                   {"axes", AttrType::integers},
                   {"coordinate_transformation_mode", AttrType::string},
                   {"cubic_coeff_a", AttrType::number},
                   {"exclude_outside", AttrType::integer},
                   {"extrapolation_value", AttrType::number},
                   {"keep_aspect_ratio_policy", AttrType::string},
                   {"mode", AttrType::string},
                   {"nearest_mode", AttrType::string},
                   {"scales", AttrType::numbers}},
         .in = {1, 4},
         .out = {1, 1},
         .shape_operands = {3},
         .infer = infer_resize,
         .eval = eval_resize,
         .define = define_resize,
         .grad = grad_resize});
}

}  // namespace fcc
