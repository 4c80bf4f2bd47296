// Bits do not depend on threads: every network at 1, 2 and 3 threads and on every kind of pool, the same bits; and the
// outputs are PyTorch's.
#include <thread>

#include "tests/e2e/e2e_support.h"
#ifdef FCC_TEST_pool_tbb
#include "fcc/pool_tbb.h"
#endif
#ifdef FCC_TEST_pool_openmp
#include "fcc/pool_openmp.h"
#endif

namespace fcc::test {
namespace {

// A program's own pool: threads made on the spot, started in reverse; counts its calls when it is given where.
void on_the_spot(void* calls, uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
  if (calls) ++*static_cast<int*>(calls);
  std::vector<std::jthread> threads;
  for (uint32_t i = n; i-- > 1;) threads.emplace_back([=] { fn(arg, i); });
  fn(arg, 0);
}
// One that runs everything on the caller, last first.
void serially(void*, uint32_t n, void (*fn)(void*, uint32_t), void* arg) {
  for (uint32_t i = n; i-- > 0;) fn(arg, i);
}

std::vector<std::pair<const char*, fcc_host_pool>> pools() {
  std::vector<std::pair<const char*, fcc_host_pool>> all = {{"own threads", {nullptr, 3, on_the_spot}},
                                                            {"serial", {nullptr, 3, serially}}};
#ifdef FCC_TEST_pool_tbb
  all.emplace_back("TBB", fcc_tbb_pool(3));
#endif
#ifdef FCC_TEST_pool_openmp
  all.emplace_back("OpenMP", fcc_openmp_pool(3));
#endif
  return all;
}

class EveryNetwork : public testing::TestWithParam<Network> {};
INSTANTIATE_TEST_SUITE_P(, EveryNetwork, testing::ValuesIn(networks()), test_name);

TEST_P(EveryNetwork, HasTheSameBitsOnAnyThreads) {
  const std::string library = compiled(GetParam());
  ASSERT_NE(library, "");
  for (const std::vector<Tensor>& inputs : sample_inputs(GetParam(), library)) {
    const std::vector<Tensor> one = run(library, inputs, 1);
    ASSERT_FALSE(one.empty());
    for (int threads : {1, 2, 3})
      expect_same_bits(run(library, inputs, threads), one, fmt::format("{} threads", threads));
    for (const auto& [name, pool] : pools()) expect_same_bits(run(library, inputs, 3, &pool), one, name);
  }
}

// A batch so large that the runs do fork: without that the test above would prove nothing.
TEST(Threads, ForkAndKeepTheBits) {
  for (const char* name : {"digits_mlp", "digits_cnn", "gpt.new_open", "digit_cnn.new_open"}) {
    const std::string library = compiled(network(name));
    auto model = CompiledModel::open(library, {.threads = 3});
    ASSERT_TRUE(model) << model.error().text();
    const int64_t size = std::string_view(name).starts_with("gpt") ? 16 : 512;
    const std::vector<Tensor> inputs = make_inputs(model->table(), size);
    const std::vector<Tensor> one = run(library, inputs, 1);
    int64_t forked = 0;
    for (int i = 0; i < 20; ++i) {
      auto outputs = model->run(inputs);
      ASSERT_TRUE(outputs) << outputs.error().text();
      expect_same_bits(*outputs, one, fmt::format("{}, run {}", name, i));
    }
    fcc_session_stats stats{};
    ASSERT_EQ(fcc_session_get_stats(model->session(), &stats), FCC_OK);
    forked = stats.forked_runs;
    EXPECT_GT(forked, 0) << name;
    for (const auto& [pool_name, pool] : pools())
      expect_same_bits(run(library, inputs, 3, &pool), one, fmt::format("{} on {}", name, pool_name));
    int calls = 0;
    const fcc_host_pool counting{&calls, 3, on_the_spot};
    run(library, inputs, 3, &counting);
    EXPECT_LE(calls, 1) << name << ": a run forks once";
    EXPECT_TRUE(calls == 1 || size < 512) << name;  // so little work that a pool that is not hot is left alone
  }
}

}  // namespace
}  // namespace fcc::test
