// Random numbers as pure functions: uniform numbers of [0, 1) from (seed, step, node, index), so that a mask depends
// neither on threads nor on what ran before, and can be drawn again. The generator is Philox 2x32-10 (Salmon et al.
// 2011): the counter is the element's index, the key is mixed from the rest. SeededUniform is what NumPy's RandomState
// draws (MT19937), from a table: the meaning that ONNX's own test data gives to a Dropout with a seed.
#include "ir/ops/random.h"

#include "ir/loop/eval.h"
#include "ir/ops/numeric.h"

namespace fcc {
namespace {

using loop::BinaryOp;
using loop::Expr;
using In = std::span<const Expr>;

Expr u64(uint64_t v) {
  return loop::constant_int(DType::u64, static_cast<int64_t>(v));
}
Expr low_word(const Expr& x) {
  return loop::binary(BinaryOp::bit_and, x, u64(0xffffffffu));
}
Expr high_word(const Expr& x) {
  return loop::binary(BinaryOp::shr, x, u64(32));
}
Expr exclusive_or(const Expr& a, const Expr& b) {
  return loop::binary(BinaryOp::bit_xor, a, b);
}

// splitmix64's finaliser: every bit of x reaches every bit of the result.
Expr mixed(Expr x) {
  x = exclusive_or(x, loop::binary(BinaryOp::shr, x, u64(30))) * u64(0xbf58476d1ce4e5b9u);
  x = exclusive_or(x, loop::binary(BinaryOp::shr, x, u64(27))) * u64(0x94d049bb133111ebu);
  return exclusive_or(x, loop::binary(BinaryOp::shr, x, u64(31)));
}

// The first word of Philox 2x32-10 as a float of [0, 1) with 24 bits.
Expr uniform(const Expr& seed, const Expr& step, int64_t node, const Expr& flat) {
  Expr key64 = mixed(loop::cast(DType::u64, seed) + u64(0x9e3779b97f4a7c15u));
  key64 =
      mixed(exclusive_or(key64, loop::cast(DType::u64, step)) + u64(static_cast<uint64_t>(node) * 0xd1342543de82ef95u));
  const Expr counter = loop::cast(DType::u64, flat);
  Expr a = low_word(counter), b = exclusive_or(high_word(counter), high_word(key64)), key = low_word(key64);
  for (int round = 0; round < 10; ++round) {
    const Expr product = a * u64(0xd256d193u);
    a = exclusive_or(exclusive_or(high_word(product), key), b);
    b = low_word(product);
    key = low_word(key + u64(0x9e3779b9u));
  }
  const Expr top = loop::cast(DType::i32, loop::binary(BinaryOp::shr, a, u64(8)));
  return loop::cast(DType::f32, top) * loop::constant(DType::f32, 0x1p-24);
}

Expr flat_position(const Dims& dims, In index) {
  Expr flat = loop::index(0);
  for (size_t d = 0; d < dims.size(); ++d) flat = flat * loop::from_sym(dims[d]) + index[d];
  return flat;
}

// ---- CounterUniform(seed, step, shape){node}
// ---------------------------------------------------------------------------

Status infer_counter(InferContext& c) {
  for (size_t k : {0, 1})
    if (c.dtype(k) != DType::i64 || c.rank(k) != 0) return c.fail("seed and step are numbers of type i64");
  FCC_TRY(SymTensor shape, c.observe(2));
  c.set(0, DType::f32, shape.elements);
  return {};
}
void eval_counter(EvalContext& c) {
  const loop::VarId ids[] = {0, 1, 2};
  loop::FormulaProgram program(uniform(loop::var(0), loop::var(1), c.attrs.integer("node"), loop::var(2)), ids);
  for (int64_t i = 0; i < c.out[0].elements(); ++i) {
    const loop::Value args[] = {loop::int_value(c.in[0]->get_int(0)), loop::int_value(c.in[1]->get_int(0)),
                                loop::int_value(i)};
    c.out[0].set_double(i, program.run(args).f);
  }
}
Expr define_counter(DefineContext& c, size_t, In index) {
  return uniform(c.in(0, {}), c.in(1, {}), c.attrs->integer("node"), flat_position(c.out_types[0]->dims, index));
}

// ---- SeededUniform(table, shape): the table's elements in order; beyond its end, the counter's
// -----------------------------

Status infer_seeded(InferContext& c) {
  if (c.dtype(0) != DType::f64 || c.rank(0) != 1) return c.fail("the table is f64[n]");
  FCC_TRY(SymTensor shape, c.observe(1));
  c.set(0, DType::f64, shape.elements);
  return {};
}
void eval_seeded(EvalContext& c) {
  const Tensor& table = *c.in[0];
  for (int64_t i = 0; i < c.out[0].elements(); ++i) {
    FCC_CHECK(i < table.elements(), "a seeded table of {} elements is too short", table.elements());
    c.out[0].set_double(i, table.get_double(i));
  }
}
Expr define_seeded(DefineContext& c, size_t, In index) {
  const Expr flat = flat_position(c.out_types[0]->dims, index), length = c.dim(0, 0);
  const Expr beyond = loop::cast(DType::f64, uniform(length, loop::index(0), 0, flat));
  const Expr at[] = {flat};
  return c.in_guarded(0, at, loop::lt(flat, length), beyond);
}

}  // namespace

// MT19937, initialised with one word as init_genrand does.
std::vector<double> numpy_uniform(uint32_t seed, int64_t n) {
  std::vector<uint32_t> mt(624);
  mt[0] = seed;
  for (uint32_t i = 1; i < 624; ++i) mt[i] = 1812433253u * (mt[i - 1] ^ (mt[i - 1] >> 30)) + i;
  size_t at = 624;
  auto next = [&] {
    if (at == 624) {
      for (size_t k = 0; k < 624; ++k) {
        const uint32_t y = (mt[k] & 0x80000000u) | (mt[(k + 1) % 624] & 0x7fffffffu);
        mt[k] = mt[(k + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
      }
      at = 0;
    }
    uint32_t y = mt[at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  };
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t a = next() >> 5, b = next() >> 6;
    out.push_back((a * 67108864.0 + b) / 9007199254740992.0);
  }
  return out;
}

void register_random(Registry& r) {
  r.add({.name = "CounterUniform",
         .doc = "uniform numbers of [0,1) from (seed, step, node, index)",
         .attrs = {{"node", AttrType::integer}},
         .in = {3, 3},
         .out = {1, 1},
         .elementwise = true,
         .shape_operands = {2},
         .infer = infer_counter,
         .eval = eval_counter,
         .define = define_counter,
         .no_grad = "random numbers"});
  r.add({.name = "SeededUniform",
         .doc = "numbers of a table in order",
         .in = {2, 2},
         .out = {1, 1},
         .shape_operands = {1},
         .infer = infer_seeded,
         .eval = eval_seeded,
         .define = define_seeded,
         .no_grad = "random numbers"});
}

}  // namespace fcc
