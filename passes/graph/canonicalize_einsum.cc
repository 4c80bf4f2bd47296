// Einsum of two operands → Transpose, Reshape, MatMul: every label is a batch axis (in both operands and the result), a
// row (left and result), a column (right and result) or summed up (both operands only). What is no product of matrices
// in this sense (a label in one operand only that is summed up, a diagonal, an ellipsis) keeps the generic form.
//   ni,oi->no → MatMul(x, transpose(w))        bhid,bhjd->bhij → MatMul(q, transpose(k))
#include <algorithm>
#include <string>

#include "ir/op.h"
#include "passes/manager.h"

namespace fcc {
namespace {

bool has(const std::string& s, char c) { return s.find(c) != s.npos; }

struct Equation {
  std::string left, right, result;
};

// Nothing for an equation that is no product of two matrices.
std::optional<Equation> parse(std::string text) {
  std::erase(text, ' ');
  const size_t comma = text.find(','), arrow = text.find("->");
  if (comma == text.npos || arrow == text.npos || comma > arrow || text.find(',', comma + 1) != text.npos || has(text, '.')) return std::nullopt;
  Equation e{text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1), text.substr(arrow + 2)};
  for (std::string s : {e.left, e.right, e.result}) {
    std::sort(s.begin(), s.end());
    if (std::adjacent_find(s.begin(), s.end()) != s.end()) return std::nullopt;
  }
  for (char c : e.left + e.right)
    if (!has(e.result, c) && (!has(e.left, c) || !has(e.right, c))) return std::nullopt;
  return e;
}

// The axes of an operand in the order of these labels, as a permutation.
std::vector<int64_t> permutation(const std::string& from, const std::string& to) {
  std::vector<int64_t> perm;
  for (char c : to) perm.push_back(static_cast<int64_t>(from.find(c)));
  return perm;
}

class Lowering {
 public:
  Lowering(Graph& g, GraphBuilder& b, const Node& n, Equation e) : g_(g), b_(b), n_(n), e_(std::move(e)) {
    for (char c : e_.result) {
      if (has(e_.left, c) && has(e_.right, c)) batch_ += c;
      else if (has(e_.left, c)) rows_ += c;
      else columns_ += c;
    }
    for (char c : e_.left)
      if (!has(e_.result, c)) summed_ += c;
  }

  ValueId run() {
    for (char c : batch_ + summed_)  // a 1 that broadcasts is no matrix product
      if (extent(c, 0) != extent(c, 1)) return kNoValue;
    const ValueId a = matrix(n_.in[0], e_.left, batch_, rows_, summed_), w = matrix(n_.in[1], e_.right, batch_, summed_, columns_);
    const ValueId y = b_("MatMul", {a, w});
    const std::string order = batch_ + rows_ + columns_;
    Dims dims;
    for (char c : order) dims.push_back(has(e_.left, c) ? extent(c, 0) : extent(c, 1));
    return transposed(shaped(y, dims), order, e_.result);
  }

 private:
  SymExpr extent(char c, size_t operand) const { return g_.value(n_.in[operand]).type.dims[(operand ? e_.right : e_.left).find(c)]; }

  ValueId transposed(ValueId v, const std::string& from, const std::string& to) {
    return from == to ? v : b_("Transpose", {v}, {{"perm", permutation(from, to)}});
  }
  ValueId shaped(ValueId v, const Dims& dims) {
    if (v == kNoValue || b_.type(v).dims == dims) return v;
    return b_("Reshape", {v, b_.dims(dims)}, {{"allowzero", int64_t{1}}});
  }
  // [batch..., one axis for `rows`, one axis for `columns`]
  ValueId matrix(ValueId v, const std::string& labels, const std::string& batch, const std::string& rows, const std::string& columns) {
    const TensorType type = g_.value(v).type;
    Dims dims;
    for (char c : batch) dims.push_back(type.dims[labels.find(c)]);
    for (const std::string& group : {rows, columns}) {
      SymExpr size = 1;
      for (char c : group) size = size * type.dims[labels.find(c)];
      dims.push_back(size);
    }
    return shaped(transposed(v, labels, batch + rows + columns), dims);
  }

  Graph& g_;
  GraphBuilder& b_;
  const Node& n_;
  Equation e_;
  std::string batch_, rows_, columns_, summed_;
};

}  // namespace

Result<bool> canonicalize_einsum(Graph& g, PassContext&) {
  bool changed = false;
  for (NodeId id : g.order()) {
    const Node n = g.node(id);
    if (n.op->name != "Einsum" || n.in.size() != 2 || !is_float(g.value(n.out[0]).type.dtype)) continue;
    std::optional<Equation> e = parse(n.attrs.string("equation"));
    if (!e) continue;
    g.set_insert_point(id);
    GraphBuilder b(g, n.loc);
    const ValueId y = Lowering(g, b, n, *std::move(e)).run();
    g.set_insert_point(kNoNode);
    FCC_CHECKED(b.status());
    if (y == kNoValue) continue;
    FCC_CHECK(g.value(y).type == g.value(n.out[0]).type, "{} changed its type", describe(*n.op, n.loc));
    g.replace_uses(n.out[0], y);
    g.erase(id);
    changed = true;
  }
  return changed;
}

}  // namespace fcc
