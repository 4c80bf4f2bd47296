#pragma once
// Imports a made model and runs it in the interpreter: what the tests of this folder compare with hand values.
#include <gtest/gtest.h>

#include "ir/eval.h"
#include "ir/op.h"
#include "ir/verify.h"
#include "tests/errors/error_cases.h"

namespace fcc::test {

inline Import import_good(const ModelMaker& m, const ImportOptions& options = {}) {
  Result<Import> r = import_string(m.bytes(), "", options);
  if (!r) {
    ADD_FAILURE() << r.error().text();
    return {};
  }
  const Status verified = verify(r->graph);
  EXPECT_TRUE(verified) << verified.error().text();
  return *std::move(r);
}

inline Tensor f32(std::vector<int64_t> shape, std::vector<float> values) {
  return Tensor::of<float>(DType::f32, std::move(shape), std::span<const float>(values));
}
inline Tensor iota(std::vector<int64_t> shape) {
  Tensor t(DType::f32, std::move(shape));
  for (int64_t i = 0; i < t.elements(); ++i) t.set_double(i, static_cast<double>(i));
  return t;
}

inline std::vector<Tensor> run(const ModelMaker& m, std::vector<Tensor> inputs) {
  const Import imported = import_good(m);
  if (imported.graph.outputs.empty()) return std::vector<Tensor>(4, f32({}, {0}));
  Result<EvalResult> r = evaluate(imported.graph, inputs);
  if (!r) {
    ADD_FAILURE() << r.error().text();
    return std::vector<Tensor>(4, f32({}, {0}));
  }
  return r->outputs;
}

// The values of an initializer, or of any constant, by its name in the file.
inline Tensor constant_named(const Import& i, std::string_view name) {
  for (const auto& [n, v] : i.initializers)
    if (n == name) return i.graph.value(v).data;
  for (ValueId v = 0; v < i.graph.value_count(); ++v)
    if (i.graph.value(v).name == name && i.graph.is_constant(v)) return i.graph.value(v).data;
  ADD_FAILURE() << "no constant " << name;
  return f32({}, {0});
}

inline int count_ops(const Graph& g, std::string_view op) {
  int n = 0;
  for (NodeId id : g.order()) n += g.node(id).op->name == op;
  return n;
}

using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

}  // namespace fcc::test
