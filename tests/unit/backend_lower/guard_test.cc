// What a convolution costs beyond its formula, for layers of the networks of the performance page on every instruction
// set: multiply-adds counted from the loops, and vectors that leave the registers inside of a loop of multiply-adds.
#include <gtest/gtest.h>

#include "backend/lower/lower.h"
#include "backend/llvm/object.h"
#include "passes/manager.h"
#include "tests/unit/backend_llvm/harness.h"
#include "tests/unit/backend_lower/lowered_graph.h"

namespace fcc::test {
namespace {

constexpr Isa kLevels[] = {Isa::x86_64_v2, Isa::x86_64_v3, Isa::x86_64_v4, Isa::aarch64};

struct Layer {
  int64_t in, out, size, kernel = 1, stride = 1, group = 1;
};

// One layer, its input made by another kernel so that it arrives in blocks, and the kernel that computes it.
struct Lowered {
  loop::Kernel kernel;
  bool winograd = false;
  double formula = 0;  // multiply-adds, channels filled up to blocks of 16 on the way out, to pairs of groups of 8 when grouped
};

Lowered lower(const Layer& l, const Target& target) {
  GraphMaker g;
  const ValueId x = l.in < 16 ? g.input({1, l.in, l.size, l.size}) : g("MaxPool", {g.conv(g.input({1, 3, l.size, l.size}), l.in, 1)}, {{"kernel_shape", std::vector<int64_t>{1, 1}}});
  const Attrs attrs{{"strides", std::vector<int64_t>{l.stride, l.stride}}, {"pads", std::vector<int64_t>(4, l.kernel / 2)}, {"group", l.group}};
  Graph graph = g.finish({g("Relu", {g.conv(x, l.out, l.kernel, attrs)})});
  PassContext context{.target = target, .prepared = {}, .notes = {}};
  EXPECT_TRUE(run_passes(graph, context, {}));
  Lowered result;
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.body) continue;
    for (NodeId inside : node.body->order()) {
      const Node& n = node.body->node(inside);
      result.winograd = n.op->name == "WinogradConv";
      if ((n.op->name != "Conv" && !result.winograd) || n.attrs.integer("out_channels") != l.out || n.attrs.integer("channels") < l.in) continue;
      if (l.in >= 16 && !n.attrs.flag("blocked_in")) continue;
      result.kernel = *backend::lower_kernel(graph, node, target, {}, {});
      const double blocks = static_cast<double>((l.out + 15) / 16 * 16), out = static_cast<double>((l.size + l.stride - 1) / l.stride), m = static_cast<double>(n.attrs.integer("m", 1));
      const double pixels = std::ceil(out / m) * std::ceil(out / m), taps = result.winograd ? (m + 2) * (m + 2) : static_cast<double>(l.kernel * l.kernel);
      result.formula = pixels * taps * blocks * static_cast<double>(result.winograd ? n.attrs.integer("channels") : l.in / l.group);
      return result;
    }
  }
  ADD_FAILURE() << "no convolution " << l.in << " to " << l.out;
  return result;
}

// Runs the loops around the tiles and adds up what the tiles multiply.
class Count {
 public:
  explicit Count(const loop::Kernel& k) : environment_{.vars = {}, .symbols = {}, .load = nullptr} { block(k.body); }
  double macs = 0;

 private:
  int64_t value(const loop::Expr& e) const { return loop::evaluate(e, environment_).i; }
  static bool multiplies(const loop::Block& b) {
    bool found = false;
    loop::walk(b, [&](const loop::Stmt& s) { found |= s.contract != nullptr; });
    return found;
  }
  void block(const loop::Block& b) {
    for (const loop::StmtRef& s : b) stmt(*s);
  }
  void stmt(const loop::Stmt& s) {
    if (s.kind == loop::StmtKind::let && loop::compute_type(s.value->type) == DType::i64) environment_.vars[s.var] = loop::int_value(value(s.value));
    if (s.kind == loop::StmtKind::contract) tile(*s.contract);
    if (!multiplies(s.body) && !multiplies(s.otherwise)) return;
    if (s.kind == loop::StmtKind::block) block(s.body);
    if (s.kind == loop::StmtKind::if_) block(value(s.value) ? s.body : s.otherwise);
    if (s.kind != loop::StmtKind::for_) return;
    for (int64_t i = value(s.lo), end = value(s.hi); i < end; i += s.step) {
      environment_.vars[s.var] = loop::int_value(i);
      block(s.body);
    }
  }
  void tile(const loop::ContractTile& t) {
    double steps = 1;
    for (const auto& r : t.reductions) steps *= static_cast<double>(value(r.extent));
    if (t.last > 0) {
      const double first = static_cast<double>(value(t.reductions[0].extent)), second = static_cast<double>(value(t.reductions[1].extent));
      steps *= (second * (first - 1) + t.last) / (second * first);
    }
    macs += t.rows * t.cols * steps;
  }
  loop::Environment environment_;
};

const Layer kLayers[] = {
    {3, 64, 112, 7, 2},     {3, 32, 112, 3, 2},     {64, 64, 56},           {64, 256, 56},         {256, 512, 56, 1, 2},   {128, 128, 56, 3, 2},
    {64, 64, 56, 3},        {256, 256, 14, 3},      {512, 512, 7, 3},       {2048, 512, 7},        {24, 144, 56},          {144, 24, 56},
    {40, 240, 28},          {112, 672, 14},         {58, 58, 28},           {116, 116, 14},        {104, 104, 28},         {104, 208, 28},
    {48, 48, 112, 3, 2, 6}, {208, 208, 14, 3, 1, 26}, {96, 208, 14, 3},     {16, 48, 14, 5}};

TEST(Guard, ConvolutionsMultiplyHardlyMoreThanTheFormula) {
  for (Isa isa : kLevels)
    for (const Layer& l : kLayers) {
      const Target target = Target::level(isa);
      const Lowered lowered = lower(l, target);
      const double macs = Count(lowered.kernel).macs;
      EXPECT_LE(macs, 1.03 * lowered.formula) << target.text() << ": " << l.in << " to " << l.out << " at " << l.size << ", " << lowered.kernel.name;
      EXPECT_GE(macs, 0.99 * lowered.formula) << target.text() << ": " << l.in << " to " << l.out << " at " << l.size << ", " << lowered.kernel.name;
    }
}

TEST(Guard, ConvolutionsKeepTheirTilesInRegisters) {
  for (Isa isa : kLevels)
    for (const Layer& l : kLayers) {
      const Target target = Target::level(isa);
      const Lowered lowered = lower(l, target);
      if (lowered.winograd) continue;  // tests/unit/winograd looks at those: its transforms have exceptions
      Result<CompiledKernel> c = compile_kernel(lowered.kernel, target, {}, {}, "kernel", {.want_asm = true});
      ASSERT_TRUE(c);
      EXPECT_EQ(stack_traffic_in_loops(c->assembly), 0) << target.text() << ": " << l.in << " to " << l.out << " at " << l.size << ", kernel " << l.kernel << " by " << l.stride;
    }
}

}  // namespace
}  // namespace fcc::test
