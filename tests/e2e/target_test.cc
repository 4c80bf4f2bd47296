// One file with code for several instruction sets: the loader takes the best one allowed, and every one of them
// agrees with PyTorch. Each instruction set alone over all networks is the CTest e2e.models.*.
#include <cstdlib>

#include "tests/e2e/e2e_support.h"

namespace fcc::test {
namespace {

class Cap {
 public:
  explicit Cap(const std::string& isa) { ::setenv("FCC_MAX_ISA", isa.c_str(), 1); }
  ~Cap() { ::unsetenv("FCC_MAX_ISA"); }
};

const std::vector<std::string> kLevels = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

TEST(Targets, OneFileServesEveryProcessor) {
  for (const char* name : {"digit_cnn.new_open", "bert.new_open", "mobilenet_v3_small.new_static", "unet.old_open"}) {
    const Network& n = network(name);
    const std::string library = compiled(n, kLevels);
    ASSERT_NE(library, "");
    for (const std::string& level : kLevels) {
      if (!host_runs(level)) continue;
      Cap cap(level);
      auto model = CompiledModel::open(library);
      ASSERT_TRUE(model) << model.error().text();
      EXPECT_TRUE(std::string_view(model->variant().target).starts_with(level)) << model->variant().target;
      for (const std::string& folder : n.data_sets) {
        const Data data = read_data_set(folder);
        expect_agree(run(library, data.inputs, 2), data.expected, fmt::format("{} {}", name, level));
      }
    }
  }
}

TEST(Targets, WithoutAnyCodeForThisProcessorTheLoaderSaysSo) {
  Cap cap("x86-64-v2");
  auto model = CompiledModel::open(compiled(network("digits_mlp"), {"x86-64-v3", "x86-64-v4"}));
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().text().find("FCC_MAX_ISA"), std::string::npos) << model.error().text();
  auto foreign = CompiledModel::open(compiled(network("digits_mlp"), {"aarch64"}));
  EXPECT_FALSE(foreign);
}

}  // namespace
}  // namespace fcc::test
