#pragma once
// Optimizers as one table: for each its formula, the slots it keeps beside a parameter, and its hyper-parameters.
//
// A step of an optimizer on one parameter is one node, Optimize{kind}(parameter, gradient, scalars..., slots...), whose
// results are the next values of the parameter and of the slots: one kernel reads and writes each element once. What is
// the same for all elements (bias corrections, decayed rates) are `scalars`, computed in double outside of it.
// Formulas and their order of operations are PyTorch's (torch/optim, version 2), so that trajectories agree.
#include <string_view>
#include <vector>

#include "ir/loop/expr.h"
#include "ir/op.h"

namespace fcc {

struct HyperParameter {
  std::string_view name;
  double otherwise;  // PyTorch's default
};

struct OptimizerSlot {
  std::string_view name;
  double initial = 0;
};

// Values of the hyper-parameters, in the order of the table.
class HyperValues {
 public:
  HyperValues(std::span<const HyperParameter> names, std::vector<double> values)
      : names_(names), values_(std::move(values)) {}
  double operator[](std::string_view name) const;
  bool on(std::string_view name) const { return (*this)[name] != 0; }
  const std::vector<double>& values() const { return values_; }

 private:
  std::span<const HyperParameter> names_;
  std::vector<double> values_;
};

// What is the same for all elements of a group: f64 scalars from the learning rate and the count of steps.
struct ScalarContext {
  GraphBuilder& b;
  const HyperValues& h;
  ValueId lr;                       // f64[]
  ValueId t;                        // f64[]: steps including this one, from 1
  ValueId product = kNoValue;       // f64[]: the running product that some optimizers keep, before this step
  ValueId next_product = kNoValue;  // set by the optimizer that keeps one

  ValueId number(double v) { return b.scalar(DType::f64, v); }
  ValueId one_minus_power(double base);  // 1 - base^t
};

// One element.
struct UpdateContext {
  const HyperValues& h;
  loop::Expr p, g;
  std::span<const loop::Expr> scalars, slots;
  loop::Expr number(double v) const { return loop::constant(p->type, v); }
};

struct OptimizerSpec {
  std::string_view name, formula;     // the formula for help and docs
  std::vector<HyperParameter> hyper;  // lr first
  // Slots for these values; none for plain SGD.
  std::vector<OptimizerSlot> (*slots)(const HyperValues&);
  std::vector<ValueId> (*scalars)(ScalarContext&);
  // The next parameter, then the next slots.
  std::vector<loop::Expr> (*update)(const UpdateContext&);
  bool running_product = false;  // keeps one f64 scalar of its own, first 1
};

std::span<const OptimizerSpec> optimizers();
// What an Optimize node computes of an element: the next parameter and slots from its operands' elements.
std::vector<loop::Expr> optimize_formula(const Attrs& optimize, std::span<const loop::Expr> operands);
// Null when there is none of that name.
const OptimizerSpec* find_optimizer(std::string_view name);

}  // namespace fcc
