#include "passes/graph/strided_view.h"

#include <algorithm>

#include "ir/op.h"
#include "passes/graph/fusion_rules.h"

namespace fcc {

std::optional<SymExpr> divide_exactly(const SymExpr& a, const SymExpr& b) {
  if (a == b) return SymExpr(1);
  const std::vector<SymTerm> divisor = b.terms();
  if (divisor.size() != 1) return std::nullopt;
  std::vector<SymTerm> out;
  for (SymTerm t : a.terms()) {
    if (t.coefficient % divisor[0].coefficient != 0) return std::nullopt;
    t.coefficient /= divisor[0].coefficient;
    for (const SymAtomRef& atom : divisor[0].atoms) {
      if (atom->kind != SymAtom::Kind::symbol) return std::nullopt;
      const auto same = std::find_if(t.atoms.begin(), t.atoms.end(), [&](const SymAtomRef& x) {
        return x->kind == atom->kind && x->name == atom->name;
      });
      if (same == t.atoms.end()) return std::nullopt;
      t.atoms.erase(same);
    }
    out.push_back(std::move(t));
  }
  return SymExpr::make(std::move(out));
}

// Neighbours that one stride describes become one.
static Axis merged(const Axis& axis) {
  Axis out;
  for (const Atom& a : axis) {
    if (a.extent.is(1)) continue;
    if (!out.empty() && out.back().stride == a.stride * a.extent) {
      out.back() = {out.back().extent * a.extent, a.stride};
    } else {
      out.push_back(a);
    }
  }
  return out;
}

// Innermost first, because an open extent is usually the outermost one.
std::optional<std::vector<Axis>> regroup(const Axis& atoms, const Dims& extents) {
  Axis rest = atoms;
  std::vector<Axis> out(extents.size());
  for (size_t d = extents.size(); d-- > 0;) {
    SymExpr need = extents[d];
    Axis taken;
    while (!need.is(1)) {
      while (!rest.empty() && rest.back().extent.is(1)) rest.pop_back();
      if (rest.empty() || need.is(0)) return std::nullopt;
      Atom& a = rest.back();
      if (const auto left = divide_exactly(need, a.extent)) {
        need = *left;
        taken.insert(taken.begin(), a);
        rest.pop_back();
      } else if (const auto outer = divide_exactly(a.extent, need)) {
        taken.insert(taken.begin(), {need, a.stride});
        a = {*outer, a.stride * need};
        need = 1;
      } else {
        return std::nullopt;
      }
    }
    out[d] = merged(taken);
  }
  const bool all = std::all_of(rest.begin(), rest.end(), [](const Atom& a) { return a.extent.is(1); });
  return all ? std::optional(std::move(out)) : std::nullopt;
}

bool refine(std::span<Axis* const> axes) {
  std::vector<Axis> out(axes.size()), rest;
  for (const Axis* a : axes) rest.push_back(*a);
  const auto done = [](const Axis& a) { return a.empty(); };
  while (!std::all_of(rest.begin(), rest.end(), done)) {
    if (std::any_of(rest.begin(), rest.end(), done)) return false;
    // The largest piece that every innermost atom is a multiple of, tried among the atoms themselves.
    std::optional<SymExpr> piece;
    for (const Axis& candidate : rest) {
      const SymExpr e = candidate.back().extent;
      if (std::all_of(rest.begin(), rest.end(),
                      [&](const Axis& a) { return divide_exactly(a.back().extent, e).has_value(); }))
        piece = e;
    }
    if (!piece) return false;
    for (size_t i = 0; i < rest.size(); ++i) {
      Atom& a = rest[i].back();
      out[i].insert(out[i].begin(), {*piece, a.stride});
      a = {*divide_exactly(a.extent, *piece), a.stride * *piece};
      if (a.extent.is(1)) rest[i].pop_back();
    }
  }
  for (size_t i = 0; i < axes.size(); ++i) *axes[i] = out[i];
  return true;
}

StridedView::StridedView(const Dims& dims) {
  axes.resize(dims.size());
  SymExpr stride = 1;
  for (size_t d = dims.size(); d-- > 0;) {
    if (!dims[d].is(1)) axes[d] = {{dims[d], stride}};
    stride = stride * dims[d];
  }
}

static bool is_one_index(const Graph& g, const Node& n) {
  return n.op->name == "Gather" && g.is_constant(n.in[1]) && g.value(n.in[1]).type.rank() == 0;
}

bool StridedView::is_view(const Graph& g, const Node& n) {
  const std::string_view s = n.op->name;
  return fcc::is_view(n) || s == "Transpose" || s == "Expand" || s == "Slice" || s == "Split" || is_one_index(g, n);
}

bool StridedView::apply(const Graph& g, const Node& n, int32_t result) {
  const std::string_view s = n.op->name;
  const Dims &from = g.value(n.in[0]).type.dims, &to = g.value(n.out[static_cast<size_t>(result)]).type.dims;
  FCC_CHECK(axes.size() == from.size(), "a view of rank {} at {}", axes.size(), text(from));
  if (fcc::is_view(n)) return reshape(to);
  if (s == "Transpose") return transpose(n);
  if (s == "Expand") return expand(to);
  if (s == "Slice") return slice(g, n);
  int64_t axis = n.attrs.integer("axis", 0);
  if (axis < 0) axis += static_cast<int64_t>(from.size());
  const auto a = static_cast<size_t>(axis);
  if (s == "Split") {
    SymExpr start = 0;
    for (int32_t k = 0; k < result; ++k) start = start + g.value(n.out[static_cast<size_t>(k)]).type.dims[a];
    return part(a, start, to[a]);
  }
  if (!is_one_index(g, n)) return false;
  int64_t index = g.value(n.in[1]).data.get_int(0);
  if (index < 0 && from[a].is_constant()) index += from[a].constant();
  if (index < 0 || (from[a].is_constant() && index >= from[a].constant()) || !part(a, index, 1)) return false;
  axes.erase(axes.begin() + axis);
  return true;
}

bool StridedView::reshape(const Dims& to) {
  Axis all;
  for (const Axis& a : axes) all.insert(all.end(), a.begin(), a.end());
  std::optional<std::vector<Axis>> out = regroup(all, to);
  if (out) axes = std::move(*out);
  return out.has_value();
}

bool StridedView::transpose(const Node& n) {
  const std::vector<int64_t> perm = n.attrs.integers("perm");
  if (perm.size() != axes.size()) return false;
  std::vector<Axis> out;
  for (int64_t p : perm) out.push_back(axes[static_cast<size_t>(p)]);
  axes = std::move(out);
  return true;
}

bool StridedView::expand(const Dims& to) {
  while (axes.size() < to.size()) axes.insert(axes.begin(), Axis{});
  for (size_t d = 0; d < to.size(); ++d)
    if (axes[d].empty() && !to[d].is(1)) axes[d] = {{to[d], 0}};
  return true;
}

bool StridedView::slice(const Graph& g, const Node& n) {
  const Dims &from = g.value(n.in[0]).type.dims, &to = g.value(n.out[0]).type.dims;
  const auto list = [&](size_t k) -> const SymTensor* {
    return k < n.in.size() && n.in[k] != kNoValue ? g.value(n.in[k]).content.get() : nullptr;
  };
  const auto has = [&](size_t k) { return k < n.in.size() && n.in[k] != kNoValue; };
  const SymTensor *starts = list(1), *along = list(3), *steps = list(4);
  if (!starts || (has(3) && !along) || (has(4) && !steps)) return false;
  for (size_t i = 0; i < starts->elements.size(); ++i) {
    SymExpr a = along ? along->elements[i] : SymExpr(static_cast<int64_t>(i));
    if (steps && !steps->elements[i].is(1)) return false;
    if (!a.is_constant() || !starts->elements[i].is_constant()) return false;
    const auto d =
        static_cast<size_t>(a.constant() < 0 ? a.constant() + static_cast<int64_t>(from.size()) : a.constant());
    int64_t start = starts->elements[i].constant();
    if (start < 0) {
      if (!from[d].is_constant()) return false;
      start = std::max<int64_t>(0, start + from[d].constant());
    }
    if (to[d] == from[d] && start == 0) continue;
    if (!to[d].is_constant() || !part(d, start, to[d])) return false;
  }
  return true;
}

bool StridedView::part(size_t axis, const SymExpr& start, const SymExpr& extent) {
  Axis& a = axes[axis];
  if (a.size() > 1) return false;
  if (a.empty()) return start.is(0) && extent.is(1);
  offset = offset + start * a[0].stride;
  if (extent.is(1)) {
    a.clear();
  } else {
    a[0].extent = extent;
  }
  return true;
}

}  // namespace fcc
