// Activations and graph of a trained model, from its exported ONNX file in the interpreter.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "frontend/onnx/import.h"
#include "ir/eval.h"
#include "ir/op.h"
#include "tools/cost.h"
#include "tools/fit/report.h"

namespace fcc {
namespace {

constexpr double kMostFlops = 1.5e9;  // the interpreter takes some seconds for these
constexpr int64_t kPictureValues = 4096;
constexpr size_t kMostPictures = 60;

Result<Tensor> tensor_of(const Array& array, const Value& input, int64_t rows) {
  Dims dims = input.type.dims;
  std::vector<int64_t> shape;
  for (size_t axis = 0; axis < dims.size(); ++axis)
    shape.push_back(axis == 0                    ? rows
                    : dims[axis].is_constant()   ? dims[axis].constant()
                    : axis < array.dims().size() ? array.dims()[axis]
                                                 : 1);
  Tensor t(input.type.dtype, shape);
  const auto per_row = static_cast<size_t>(array.row_elements() * fcc_dtype_bytes(array.dtype()));
  if (static_cast<size_t>(t.bytes()) != per_row * static_cast<size_t>(rows))
    return fail("the sample does not fit the exported model");
  std::memcpy(t.raw(), array.bytes(), static_cast<size_t>(t.bytes()));
  return t;
}

ActivationPicture picture_of(const Graph& g, ValueId v, const Tensor& t) {
  const Value& value = g.value(v);
  ActivationPicture p;
  p.op = std::string(g.op_of(v).name);
  p.name = g.node(value.def).loc.node.empty() ? value.name : g.node(value.def).loc.node;
  p.shape = value.type.text();
  const std::span<const float> x = t.as<float>();
  double sum = 0, squares = 0, zeros = 0;
  for (float a : x) sum += static_cast<double>(a), zeros += a == 0;
  const double n = std::max<double>(1, static_cast<double>(x.size()));
  p.mean = sum / n;
  for (float a : x) squares += std::pow(static_cast<double>(a) - p.mean, 2);
  p.deviation = std::sqrt(squares / n);
  p.zeros = zeros / n;
  const size_t stride = std::max<size_t>(1, x.size() / kPictureValues);
  for (size_t i = 0; i < x.size(); i += stride) p.values.push_back(x[i]);
  return p;
}

std::vector<GraphBox> boxes_of(const Graph& g) {
  std::vector<GraphBox> boxes;
  std::map<ValueId, size_t> box;
  for (ValueId v : g.inputs()) {
    box[v] = boxes.size();
    boxes.push_back({"input", g.value(v).name, g.value(v).type.text(), "", {}});
  }
  for (NodeId n : g.order()) {
    const Node& node = g.node(n);
    GraphBox b{
        std::string(node.op->name), node.loc.node, node.out.empty() ? "" : g.value(node.out[0]).type.text(), "", {}};
    for (ValueId v : node.in) {
      if (v == kNoValue) continue;
      if (auto found = box.find(v); found != box.end())
        b.inputs.push_back(found->second);
      else if (g.is_constant(v))
        b.parameters +=
            fmt::format("{}{} {}", b.parameters.empty() ? "" : ", ", g.value(v).name, g.value(v).type.text());
    }
    for (ValueId v : node.out)
      if (v != kNoValue) box[v] = boxes.size();
    boxes.push_back(std::move(b));
  }
  return boxes;
}

}  // namespace

Result<Insight> look_inside(const FitResult& result) {
  Insight insight;
  FCC_TRY(Import import, import_bytes(std::as_bytes(std::span(result.onnx_bytes)), ""));
  const Graph& g = import.graph;
  insight.graph = boxes_of(g);
  int64_t rows = result.sample.rows();
  Sizes sizes;
  for (ValueId v : g.inputs())
    for (const SymExpr& d : g.value(v).type.dims)
      for (const std::string& symbol : d.symbols()) sizes[symbol] = 1;
  const auto flops = static_cast<double>(evaluate_size(total_flops(g), sizes));
  if (flops * static_cast<double>(rows) > kMostFlops)
    rows = std::max<int64_t>(1, static_cast<int64_t>(kMostFlops / std::max(flops, 1.0)));
  if (flops > 4 * kMostFlops) {
    insight.note = "activations are left out: this model is too large for the interpreter";
    return insight;
  }
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < g.inputs().size(); ++i) {
    const Value& input = g.value(g.inputs()[i]);
    const bool fixed = !input.type.dims.empty() && input.type.dims[0].is_constant();
    FCC_TRY(Tensor t, tensor_of(result.sample.inputs.at(i), input, fixed ? input.type.dims[0].constant() : rows));
    inputs.push_back(std::move(t));
  }
  FCC_TRY(EvalResult ignored, evaluate(g, inputs, {}, [&](ValueId v, const Tensor& t) {
            if (t.dtype() == DType::f32 && t.elements() > 1 && insight.activations.size() < kMostPictures)
              insight.activations.push_back(picture_of(g, v, t));
          }));
  insight.note = fmt::format("over {} rows", rows);
  return insight;
}

}  // namespace fcc
