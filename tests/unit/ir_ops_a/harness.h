#pragma once
// Runs one operator in every way it can be asked for its meaning: by the interpreter (eval or formula), and by
// evaluating define element by element; with all sizes known, and with every size and content open.
// It is shared by the tests of this folder and knows nothing of particular operators.
#include <string>
#include <vector>

#include "ir/op.h"

namespace fcc::test {

struct Case {
  std::string op;
  std::vector<Tensor> in;  // a default Tensor for an absent operand
  Attrs attrs = {};
  int32_t n_results = 1;
};

// constant: operands are constants. open: operands are inputs whose every extent is a symbol.
// fixed: inputs of known sizes and unknown contents.
enum class Mode : uint8_t { constant, fixed, open };
inline constexpr Mode kModes[] = {Mode::constant, Mode::fixed, Mode::open};

struct Outcome {
  std::vector<Tensor> out;
  std::vector<std::string> faults;  // sentences of fault_if whose condition held somewhere
};

Tensor floats(std::vector<int64_t> shape, std::vector<double> values, DType dtype = DType::f32);
Tensor ints(std::vector<int64_t> shape, std::vector<int64_t> values, DType dtype = DType::i64);
Tensor random_tensor(uint32_t seed, DType dtype, std::vector<int64_t> shape, double low = -2, double high = 2);

// The types of the results, or why the operator refuses.
Result<std::vector<TensorType>> result_types(const Case&, Mode = Mode::constant);
Result<std::vector<Tensor>> interpret(const Case&, Mode = Mode::constant);
Result<Outcome> run_define(const Case&, Mode);

// The largest |a-b| / (1 + |b|); equal infinities and NaNs count as 0, unequal shapes as infinity.
double difference(const Tensor& a, const Tensor& b);
std::string text(const Case&);

}  // namespace fcc::test
