// Values from nowhere: Dims, the open dimensions of the model as an i64 vector.
#include "ir/op.h"

namespace fcc {
namespace {

// Dims{dims=[N,128]} : i64[2]. What shape folding leaves of a model's shape arithmetic.
Status infer_dims(InferContext& c) {
  SymTensor s{1, c.attrs.dims("dims")};
  if (c.attrs.flag("scalar")) {
    if (s.elements.size() != 1) return c.fail("a scalar has one element");
    s.rank = 0;
  }
  c.set(0, c.attrs.dtype("dtype", DType::i64), s.rank == 0 ? Dims{} : Dims{static_cast<int64_t>(s.elements.size())});
  c.set_content(0, std::move(s));
  return {};
}

void eval_dims(EvalContext& c) {
  const Dims dims = c.attrs.dims("dims");
  for (size_t i = 0; i < dims.size(); ++i) c.out[0].set_int(static_cast<int64_t>(i), dims[i].constant());
}

loop::Expr define_dims(DefineContext& c, size_t, std::span<const loop::Expr> index) {
  const Dims dims = c.attrs->dims("dims");
  loop::Expr e = loop::from_sym(dims.back());
  for (size_t i = dims.size() - 1; i-- > 0;) e = loop::select(loop::eq(index[0], loop::index(static_cast<int64_t>(i))), loop::from_sym(dims[i]), e);
  return loop::cast(loop::compute_type(c.out_types[0]->dtype), e);
}

}  // namespace

void register_source(Registry& r) {
  r.add({.name = "Dims", .doc = "the values of open dimensions as a vector (or, with scalar=1, one number)",
         .attrs = {{"dims", AttrType::dims, true}, {"dtype", AttrType::dtype}, {"scalar", AttrType::integer}},
         .in = {0, 0}, .out = {1, 1}, .infer = infer_dims, .eval = eval_dims, .define = define_dims,
         .no_grad = "it has no operands"});
}

}  // namespace fcc
