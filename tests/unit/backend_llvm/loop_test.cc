// Loops, loads, stores and reductions: vector loops with every kind of access and tail, on every host level.
#include <gtest/gtest.h>

#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using namespace loop;  // NOLINT: the builders

Expr f32(double v) {
  return constant(DType::f32, v);
}

struct Builder {
  Kernel k;
  explicit Builder(std::string name) { k.name = std::move(name); }
  BufferId in(DType t, Dims dims, bool is_constant = false) {
    k.n_params++;
    return k.add_buffer({.name = "in", .dtype = t, .dims = std::move(dims), .constant = is_constant});
  }
  BufferId out(DType t, Dims dims) {
    k.n_params++;
    return k.add_buffer({.name = "out", .dtype = t, .dims = std::move(dims), .space = Space::output});
  }
  // for t in 0..n @tile { body(t) }
  Kernel tiles(SymExpr n, const std::function<Block(Expr)>& body) {
    const VarId t = k.add_var("t");
    k.tiles = n;
    k.body = {for_loop(t, index(0), from_sym(n), body(var(t)), LoopKind::tile)};
    return std::move(k);
  }
  StmtRef loop(Expr lo, Expr hi, LoopKind kind, const std::function<Block(Expr)>& body, int32_t lanes = 16) {
    const VarId v = k.add_var("v");
    return for_loop(v, std::move(lo), std::move(hi), body(var(v)), kind, lanes);
  }
  StmtRef vec(int64_t n, const std::function<Block(Expr)>& body) {
    return loop(index(0), index(n), LoopKind::vec, body);
  }
  Expr sum(ReduceOp op, int64_t n, const std::function<Expr(Expr)>& body, int32_t lanes = 1, bool unroll = false) {
    const VarId v = k.add_var("k");
    return reduce(op, v, index(0), index(n), body(var(v)), lanes, unroll);
  }
};

class VecTrip : public testing::TestWithParam<int64_t> {};
TEST_P(VecTrip, TailsOfEveryElementWidth) {
  const int64_t n = GetParam();
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::i8, DType::i64, DType::boolean}) {
    Builder b("copy");
    const BufferId x = b.in(t, {3, n}), y = b.out(t, {3, n});
    const Kernel k = b.tiles(3, [&](const Expr& row) {
      return Block{b.vec(n, [&](const Expr& i) { return Block{store(y, {row, i}, load(x, t, {row, i}))}; })};
    });
    expect_same(k, {random(t, {3, n}), Tensor(t, {3, n})}, {}, 0);
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, VecTrip, testing::Values(1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129));

TEST(Loop, OpenTripCounts) {
  Builder b("open");
  const SymExpr n = SymExpr::symbol("N"), m = SymExpr::symbol("M");
  const BufferId x = b.in(DType::f32, {n, m}), y = b.out(DType::f32, {m, n});
  const Kernel k = b.tiles(n, [&](const Expr& row) {
    return Block{b.loop(index(0), symbol("M"), LoopKind::vec, [&](const Expr& i) {
      return Block{store(y, {i, row}, load(x, DType::f32, {row, i}) * f32(2))};
    })};
  });
  for (int64_t rows : {0, 1, 3})
    for (int64_t columns : {0, 1, 5, 16, 40})
      expect_same(k, {random(DType::f32, {rows, columns}), Tensor(DType::f32, {columns, rows})},
                  {{"N", rows}, {"M", columns}}, 0);
}

// x[a*i + b] for strides of every kind, and indices that wrap.
TEST(Loop, StridedAndWrappedLoads) {
  constexpr int64_t kN = 45;
  for (DType t : {DType::f32, DType::u8, DType::f64}) {
    Builder b("strides");
    const BufferId x = b.in(t, {kN * 3}), y = b.out(t, {8, kN});
    const Kernel k = b.tiles(1, [&](const Expr&) {
      return Block{b.vec(kN, [&](const Expr& i) {
        const std::vector<Expr> at = {i * 2,
                                      index(kN - 1) - i,
                                      i * 3 + 2,
                                      mod(i, index(7)),
                                      floordiv(i, index(4)),
                                      mod(i * 2 + 1, index(16)),
                                      i * i - i * i + i,
                                      floordiv(i, index(16)) * 16 + mod(i, index(16))};
        Block body;
        for (size_t j = 0; j < at.size(); ++j)
          body.push_back(store(y, {index(static_cast<int64_t>(j)), i}, load(x, t, {at[j]})));
        return body;
      })};
    });
    expect_same(k, {random(t, {kN * 3}), Tensor(t, {8, kN})}, {}, 0);
  }
}

TEST(Loop, IndexedLoadsAndScatters) {
  constexpr int64_t kN = 50;
  Builder b("gather");
  const BufferId table = b.in(DType::f32, {20, 3}), at = b.in(DType::i32, {kN}), y = b.out(DType::f32, {kN, 3}),
                 z = b.out(DType::f32, {kN});
  const Kernel k = b.tiles(1, [&](const Expr&) {
    return Block{b.vec(kN, [&](const Expr& i) {
      Expr row = cast(DType::i64, load(at, DType::i32, {i}));
      return Block{store(y, {i, index(1)}, load(table, DType::f32, {row, index(2)})),
                   store(z, {index(kN - 1) - i}, load(table, DType::f32, {row, index(0)}), lt(i, index(40)))};
    })};
  });
  Tensor indices(DType::i32, {kN});
  for (int64_t i = 0; i < kN; ++i) indices.set_int(i, (i * 7) % 20);
  expect_same(k, {random(DType::f32, {20, 3}), indices, Tensor(DType::f32, {kN, 3}), Tensor(DType::f32, {kN})}, {}, 0);
}

// Padding: the guard per lane, per row, and by data; alternatives constant and computed.
TEST(Loop, GuardedLoads) {
  constexpr int64_t kH = 5, kW = 37, kP = 3;
  for (DType t : {DType::f32, DType::u8, DType::f16, DType::i64}) {
    Builder b("pad");
    const DType c = compute_type(t);
    const BufferId x = b.in(t, {kH, kW}), y = b.out(t, {kH + 2 * kP, kW + 2 * kP}), z = b.out(t, {kH + 2 * kP, kW});
    const Kernel k = b.tiles(kH + 2 * kP, [&](const Expr& r) {
      Expr row = r - kP;
      Expr inside = both(ge(row, index(0)), lt(row, index(kH)));
      return Block{b.vec(kW + 2 * kP,
                         [&](const Expr& i) {
                           Expr column = i - kP;
                           Expr guard = both(inside, both(ge(column, index(0)), lt(column, index(kW))));
                           return Block{store(y, {r, i}, load_guarded(x, t, {row, column}, guard, constant_int(c, 3)))};
                         }),
                   b.vec(kW, [&](const Expr& i) {
                     return Block{store(z, {r, i}, load_guarded(x, t, {row, i}, inside, cast(c, i)))};
                   })};
    });
    expect_same(k, {random(t, {kH, kW}), Tensor(t, {kH + 2 * kP, kW + 2 * kP}), Tensor(t, {kH + 2 * kP, kW})}, {}, 0);
  }
}

TEST(Loop, GuardedLoadFromAnEmptyBuffer) {
  Builder b("empty");
  const BufferId x = b.in(DType::f32, {SymExpr::symbol("N")}), y = b.out(DType::f32, {20});
  const Kernel k = b.tiles(1, [&](const Expr&) {
    return Block{b.vec(20, [&](const Expr& i) {
      return Block{store(y, {i}, load_guarded(x, DType::f32, {i}, lt(i, symbol("N")), f32(-1)))};
    })};
  });
  for (int64_t n : {0, 1, 19, 20}) expect_same(k, {random(DType::f32, {n}), Tensor(DType::f32, {20})}, {{"N", n}}, 0);
}

TEST(Loop, MaskedStoresAndBranches) {
  constexpr int64_t kN = 53;
  for (DType t : {DType::f32, DType::i8}) {
    Builder b("branch");
    const BufferId x = b.in(t, {kN}), y = b.out(t, {kN}), z = b.out(t, {kN});
    const VarId doubled = b.k.add_var("d", t);
    const Kernel k = b.tiles(kN, [&](const Expr& row) {
      return Block{if_then(lt(row, index(1)),
                           {b.vec(kN,
                                  [&](const Expr& i) {
                                    Expr v = load(x, t, {i});
                                    return Block{
                                        store(y, {i}, v, lt(v, constant_int(t, 0))),
                                        if_then(ge(v, constant_int(t, 1)),
                                                {let(doubled, v + v), store(z, {i}, var(doubled, t))},
                                                {if_then(lt(i, index(30)), {store(z, {i}, constant_int(t, 9))})})};
                                  })},
                           {})};
    });
    expect_same(k, {random(t, {kN}), Tensor(t, {kN}), Tensor(t, {kN})}, {}, 0);
  }
}

class ReduceTrip : public testing::TestWithParam<int64_t> {};
TEST_P(ReduceTrip, EveryOperationAndForm) {
  const int64_t n = GetParam();
  for (DType t : {DType::f32, DType::f64, DType::i32, DType::i8, DType::boolean}) {
    for (int32_t lanes : {1, 16}) {
      Builder b("reduce");
      const bool logic = t == DType::boolean;
      const std::vector<ReduceOp> ops = logic ? std::vector{ReduceOp::logical_and, ReduceOp::logical_or}
                                              : std::vector{ReduceOp::add, ReduceOp::mul, ReduceOp::min, ReduceOp::max};
      const auto count = static_cast<int64_t>(ops.size());
      const BufferId x = b.in(t, {2, n}), y = b.out(t, {2, count, 2});
      const Kernel k = b.tiles(2, [&](const Expr& row) {
        Block body;
        for (int64_t j = 0; j < count; ++j)
          for (int64_t unroll = 0; unroll < 2; ++unroll)
            body.push_back(store(y, {row, index(j), index(unroll)},
                                 b.sum(
                                     ops[static_cast<size_t>(j)], n,
                                     [&](const Expr& i) { return load(x, t, {row, i}); }, lanes, unroll && n < 40)));
        return body;
      });
      Tensor data = random(t, {2, n});
      if (is_float(t))
        for (int64_t i = 0; i < data.elements(); ++i) data.set_double(i, 1 + data.get_double(i) / 64);
      expect_same(k, {data, Tensor(t, {2, count, 2})}, {}, static_cast<double>(n) + 4);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, ReduceTrip, testing::Values(0, 1, 5, 16, 37, 64, 200, 1000));

TEST(Reduce, OpenLengthAndNaN) {
  Builder b("open_reduce");
  const BufferId x = b.in(DType::f32, {SymExpr::symbol("N")}), y = b.out(DType::f32, {4});
  const VarId v = b.k.add_var("k");
  auto all = [&](ReduceOp op, Expr lo, int32_t lanes) {
    return reduce(op, v, std::move(lo), symbol("N"), load(x, DType::f32, {var(v)}), lanes);
  };
  const Kernel k = b.tiles(1, [&](const Expr&) {
    return Block{
        store(y, {index(0)}, all(ReduceOp::add, index(0), 16)), store(y, {index(1)}, all(ReduceOp::max, index(0), 16)),
        store(y, {index(2)}, all(ReduceOp::min, index(3), 1)), store(y, {index(3)}, all(ReduceOp::mul, index(70), 16))};
  });
  for (int64_t n : {0, 1, 3, 16, 70, 77, 150, 331}) {
    Tensor data = random(DType::f32, {n});
    expect_same(k, {data, Tensor(DType::f32, {4})}, {{"N", n}}, 64, 100);
    if (n > 5) data.set_double(5, std::nan(""));
    expect_same(k, {data, Tensor(DType::f32, {4})}, {{"N", n}}, 64, 100);
  }
}

// Columns in lanes, rows reduced: vector accumulators, products fused, and a nested reduction to hoist.
TEST(Reduce, InsideVectorLoops) {
  for (int64_t rows : {1, 9, 100}) {
    constexpr int64_t kN = 41;
    Builder b("columns");
    const BufferId x = b.in(DType::f32, {rows, kN}), w = b.in(DType::f32, {rows}), y = b.out(DType::f32, {kN}),
                   z = b.out(DType::f32, {kN});
    const Kernel k = b.tiles(1, [&](const Expr&) {
      return Block{b.vec(kN, [&](const Expr& i) {
        Expr dot = b.sum(ReduceOp::add, rows,
                         [&](const Expr& r) { return load(x, DType::f32, {r, i}) * load(w, DType::f32, {r}); });
        Expr total = b.sum(ReduceOp::add, rows, [&](const Expr& r) { return load(w, DType::f32, {r}); }, 16);
        Expr worst = b.sum(ReduceOp::max, rows, [&](const Expr& r) { return load(x, DType::f32, {r, i}) - total; });
        return Block{store(y, {i}, dot + total), store(z, {i}, worst)};
      })};
    });
    expect_same(k,
                {random(DType::f32, {rows, kN}), random(DType::f32, {rows}, 3), Tensor(DType::f32, {kN}),
                 Tensor(DType::f32, {kN})},
                {}, 64, 40);
  }
}

// softmax in one expression per row: three passes, the inner reductions stay outside the vector loop.
TEST(Reduce, SoftmaxRow) {
  constexpr int64_t kN = 83;
  Builder b("softmax");
  const BufferId x = b.in(DType::f32, {4, kN}), y = b.out(DType::f32, {4, kN});
  const Kernel k = b.tiles(4, [&](const Expr& row) {
    Expr top = b.sum(ReduceOp::max, kN, [&](const Expr& i) { return load(x, DType::f32, {row, i}); }, 16);
    Expr sum = b.sum(
        ReduceOp::add, kN, [&](const Expr& i) { return unary(UnaryOp::exp, load(x, DType::f32, {row, i}) - top); }, 16);
    return Block{b.vec(kN, [&](const Expr& i) {
      return Block{store(y, {row, i}, unary(UnaryOp::exp, load(x, DType::f32, {row, i}) - top) / sum)};
    })};
  });
  expect_same(k, {random(DType::f32, {4, kN}), Tensor(DType::f32, {4, kN})}, {}, 32);
}

// A window of 3x3 with padding guards, unrolled, channels in lanes.
TEST(Reduce, PaddedWindow) {
  constexpr int64_t kH = 6, kC = 16;
  Builder b("window");
  const BufferId x = b.in(DType::f32, {kH, kH, kC}), w = b.in(DType::f32, {3, 3, kC}, true),
                 y = b.out(DType::f32, {kH, kH, kC});
  const Kernel k = b.tiles(kH * kH, [&](const Expr& t) {
    const VarId row = b.k.add_var("row"), column = b.k.add_var("column");
    return Block{
        let(row, floordiv(t, index(kH))), let(column, mod(t, index(kH))), b.vec(kC, [&](const Expr& c) {
          Expr acc = b.sum(
              ReduceOp::add, 3,
              [&](const Expr& i) {
                return b.sum(
                    ReduceOp::add, 3,
                    [&](const Expr& j) {
                      Expr h = var(row) + i - 1, v = var(column) + j - 1;
                      Expr guard =
                          both(both(ge(h, index(0)), lt(h, index(kH))), both(ge(v, index(0)), lt(v, index(kH))));
                      return load_guarded(x, DType::f32, {h, v, c}, guard, f32(0)) * load(w, DType::f32, {i, j, c});
                    },
                    1, true);
              },
              1, true);
          return Block{store(y, {var(row), var(column), c}, max(acc, f32(0)))};
        })};
  });
  expect_same(k,
              {random(DType::f32, {kH, kH, kC}), random(DType::f32, {3, 3, kC}, 5), Tensor(DType::f32, {kH, kH, kC})},
              {}, 32, 40);
}

TEST(Loop, LocalArrays) {
  Builder b("locals");
  const BufferId x = b.in(DType::f32, {4, 50}), y = b.out(DType::f32, {4, 50});
  const BufferId stack = b.k.add_buffer({.name = "s", .dtype = DType::f32, .dims = {4}, .space = Space::stack});
  const BufferId scratch = b.k.add_buffer({.name = "row", .dtype = DType::f32, .dims = {50}, .space = Space::scratch});
  const BufferId bytes =
      b.k.add_buffer({.name = "flags", .dtype = DType::boolean, .dims = {50}, .space = Space::scratch});
  const Kernel k = b.tiles(4, [&](const Expr& row) {
    return Block{
        alloc(stack), alloc(scratch), alloc(bytes),
        b.loop(index(0), index(4), LoopKind::unroll,
               [&](const Expr& i) { return Block{store(stack, {i}, cast(DType::f32, i * 3))}; }),
        b.vec(50,
              [&](const Expr& i) {
                Expr v = load(x, DType::f32, {row, i});
                return Block{store(scratch, {i}, v + load(stack, DType::f32, {index(2)})),
                             store(bytes, {i}, lt(v, f32(0)))};
              }),
        // The same node before and after a store must not be shared.
        b.loop(index(1), index(50), LoopKind::seq,
               [&](const Expr& i) {
                 return Block{store(scratch, {i}, load(scratch, DType::f32, {i}) + load(scratch, DType::f32, {i - 1}))};
               }),
        b.vec(50, [&](const Expr& i) {
          return Block{
              store(y, {row, i}, select(load(bytes, DType::boolean, {i}), f32(-1), load(scratch, DType::f32, {i})))};
        })};
  });
  expect_same(k, {random(DType::f32, {4, 50}), Tensor(DType::f32, {4, 50})}, {}, 64, 100);
}

TEST(Loop, SharedLoadSeesTheStoreBetween) {
  Builder b("epoch");
  const BufferId y = b.out(DType::f32, {3});
  const VarId first = b.k.add_var("first", DType::f32), second = b.k.add_var("second", DType::f32);
  Expr seen = load(y, DType::f32, {index(0)});
  const Kernel k = b.tiles(1, [&](const Expr&) {
    return Block{store(y, {index(0)}, f32(1)),
                 let(first, seen),
                 store(y, {index(0)}, f32(5)),
                 let(second, seen),
                 b.loop(index(0), index(3), LoopKind::seq,
                        [&](const Expr&) { return Block{store(y, {index(0)}, seen + f32(1))}; }),
                 store(y, {index(1)}, var(first, DType::f32)),
                 store(y, {index(2)}, var(second, DType::f32))};
  });
  expect_same(k, {Tensor(DType::f32, {3})}, {}, 0);
}

TEST(Loop, StepsAndNestedKinds) {
  Builder b("steps");
  const BufferId y = b.out(DType::i64, {12, 40});
  const VarId t = b.k.add_var("t"), i = b.k.add_var("i"), j = b.k.add_var("j");
  b.k.tiles = 4;
  Block inner{
      for_loop(j, index(0), index(40), {store(y, {var(i), var(j)}, var(i) * 100 + var(j) * var(t))}, LoopKind::vec, 8)};
  b.k.body = {for_loop(t, index(0), index(12), {for_loop(i, var(t), var(t) + 3, inner, LoopKind::seq, 1, 2)},
                       LoopKind::tile, 1, 3)};
  expect_same(b.k, {Tensor(DType::i64, {12, 40})}, {}, 0);
}

TEST(Fault, ReturnsOnePlusItsIndex) {
  Builder b("faults");
  const BufferId x = b.in(DType::i64, {40}), y = b.out(DType::i64, {40});
  const Kernel k = b.tiles(1, [&](const Expr&) {
    return Block{fault(lt(load(x, DType::i64, {index(0)}), index(0)), "the first is negative"),
                 b.vec(40, [&](const Expr& i) {
                   Expr v = load(x, DType::i64, {i});
                   return Block{fault(ge(v, index(100)), "too large"), store(y, {i}, v)};
                 })};
  });
  for (const Target& target : host_targets()) {
    std::vector<Tensor> args{Tensor(DType::i64, {40}), Tensor(DType::i64, {40})};
    EXPECT_EQ(run(k, target, args).code, 0);
    args[0].set_int(0, -1);
    EXPECT_EQ(run(k, target, args).code, 1);
    args[0].set_int(0, 1);
    args[0].set_int(39, 100);
    EXPECT_EQ(run(k, target, args).code, 2) << target.text();
  }
}

TEST(Symbol, IsDefinedByAStep) {
  Builder b("define");
  const BufferId x = b.in(DType::boolean, {SymExpr::symbol("N")});
  const VarId v = b.k.add_var("k");
  b.k.body = {define_symbol("count", reduce(ReduceOp::add, v, index(0), symbol("N"),
                                            cast(DType::i64, load(x, DType::boolean, {var(v)})), 16)),
              define_symbol("twice", symbol("N") * 2)};
  for (const Target& target : host_targets()) {
    std::vector<Tensor> args{random(DType::boolean, {77})};
    int64_t expected = 0;
    for (int64_t i : args[0].to_ints()) expected += i;
    const RunResult r = run(b.k, target, args, {{"N", 77}});
    EXPECT_EQ(r.symbols.at("count"), expected);
    EXPECT_EQ(r.symbols.at("twice"), 154);
  }
}

}  // namespace
}  // namespace fcc::test
