// fcc --compact: a file of the size of the plain weights, whose library makes the transformed ones once; the same bits.
#include <filesystem>

#include "fcc/fcc.h"
#include "tests/e2e/e2e_support.h"

namespace fcc::test {
namespace {

std::string compact(const Network& n) {
  const std::string path = work_folder() + "/compact_" + n.name + ".so";
  CompileOptions options;
  options.compact = true;
  const auto report = compile_file(n.model, path, options);
  EXPECT_TRUE(report) << report.error().text();
  return path;
}

TEST(Compact, SmallerFilesTheSameBits) {
  for (const char* name : {"vgg11.old_open", "unet.old_open"}) {
    const std::string small = compact(network(name)), large = compiled(network(name));
    EXPECT_LT(std::filesystem::file_size(small), std::filesystem::file_size(large)) << name;
    for (const std::vector<Tensor>& inputs : sample_inputs(network(name), large))
      for (int threads : {1, 2, 3}) expect_same_bits(run(small, inputs, threads), run(large, inputs, threads), name);
  }
}

// Where nothing is transformed there is nothing to prepare: the same file.
TEST(Compact, ChangesNothingElse) {
  const Network& n = network("digits_mlp");
  EXPECT_EQ(std::filesystem::file_size(compact(n)), std::filesystem::file_size(compiled(n)));
}

TEST(Compact, SessionsShareWhatIsPrepared) {
  fcc_library* library = nullptr;
  ASSERT_EQ(fcc_library_open(compact(network("vgg11.old_open")).c_str(), &library), FCC_OK) << fcc_error_text();
  fcc_session *first = nullptr, *second = nullptr;
  ASSERT_EQ(fcc_session_create(library, nullptr, &first), FCC_OK) << fcc_error_text();
  ASSERT_EQ(fcc_session_create(library, nullptr, &second), FCC_OK) << fcc_error_text();
  fcc_tensor a{}, b{};
  ASSERT_EQ(fcc_session_state(first, 0, &a), FCC_OK) << fcc_error_text();
  ASSERT_EQ(fcc_session_state(second, 0, &b), FCC_OK) << fcc_error_text();
  EXPECT_EQ(a.data, b.data);
  EXPECT_NE(fcc_session_reset_state(first), FCC_OK);
  fcc_session_options options{};
  options.bytes = sizeof options;
  options.entry = FCC_PREPARE_ENTRY;
  fcc_session* third = nullptr;
  EXPECT_EQ(fcc_session_create(library, &options, &third), FCC_BAD_ARGUMENT);
  EXPECT_NE(std::string(fcc_error_text()).find("prepare"), std::string::npos) << fcc_error_text();
  fcc_session_close(second);
  fcc_session_close(first);
  fcc_library_close(library);
}

}  // namespace
}  // namespace fcc::test
