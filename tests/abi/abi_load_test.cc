// Opening libraries: what loads, what is refused, and with which words.
#include <dlfcn.h>
#include <sys/stat.h>

#include <fstream>

#include "abi_support.h"
#include "runtime/cpu_check.h"

namespace fcc::test {
namespace {

std::string load_error(fcc_status code, const std::string& path) {
  return error_of(code, [&] { Model model(path); });
}

std::string scratch_file(const char* name, const std::string& content) {
  std::string path = ::testing::TempDir() + "fcc_abi_" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Load, TablesOfAModel) {
  Model model = open_model("mlp_open");
  EXPECT_STREQ(model.table().producer, "tests/abi by hand");
  ASSERT_EQ(model.variant().n_entries, 1u);
  EXPECT_STREQ(model.variant().entries[0].steps[0].what, "Gemm+Relu");
}

TEST(Load, MissingFile) {
  EXPECT_EQ(load_error(FCC_NOT_FOUND, "/nowhere/net.so"), "cannot open /nowhere/net.so: No such file or directory");
  EXPECT_EQ(load_error(FCC_NOT_FOUND, "nowhere.so"), "cannot open ./nowhere.so: No such file or directory");
}

TEST(Load, FilesThatAreNoLibraries) {
  std::string hint = ", not a compiled model\n hint: compile one with: fcc model.onnx -o model.so";
  std::string empty = scratch_file("empty.so", "");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, empty), empty + " is an empty file" + hint);
  std::string text =
      scratch_file("text.so", "hello, this is long enough to hold a header, but it holds a sentence only");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, text), text + " is no ELF file" + hint);
  std::string onnx =
      scratch_file("net.onnx", "\x08\x07 pretend this is protobuf, as long as an ELF header would be.....");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, onnx), onnx + " is a source model" + hint);
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, "/tmp"), "/tmp is a folder" + hint);
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, "/dev/zero"), "/dev/zero is no regular file" + hint);
}

TEST(Load, SharedLibraryThatIsNoModel) {
  std::string path = model_path("not_a_model");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, path),
            path +
                " is a shared library but not a compiled model: it exports no fcc_model_query\n"
                " hint: compile one with: fcc model.onnx -o model.so");
}

TEST(Load, TruncatedAtAnyLengthIsRefused) {
  std::string whole = read_file(model_path("fixed"));
  ASSERT_GT(whole.size(), 4096u);
  // Everything up to the end of the last segment; section headers behind it are not needed to load.
  for (size_t bytes :
       {size_t{1}, size_t{20}, size_t{63}, size_t{64}, size_t{100}, size_t{300}, size_t{2048}, size_t{4096}}) {
    std::string cut = scratch_file("cut.so", whole.substr(0, bytes));
    std::string text = error_of(FCC_BAD_LIBRARY, [&] { Model model(cut); });
    EXPECT_NE(text.find("hint"), std::string::npos) << bytes << ": " << text;
  }
}

TEST(Load, WrongProcessor) {
  std::string other = read_file(model_path("fixed"));
  other[18] = other[18] == 62 ? '\xb7' : '\x3e';  // e_machine
  std::string path = scratch_file("other.so", other);
  std::string text = load_error(FCC_BAD_LIBRARY, path);
  EXPECT_NE(text.find("was compiled for "), std::string::npos) << text;
  EXPECT_NE(text.find("this program runs on "), std::string::npos) << text;
}

TEST(Load, AbiOfAnotherRelease) {
  std::string newer = model_path("newer_abi");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, newer),
            newer +
                " was made for a newer runtime: this one knows model ABI version 1 and older\n"
                " hint: update the runtime, or compile the model with this release of fcc");
  std::string sizes = model_path("other_sizes");
  EXPECT_EQ(
      load_error(FCC_BAD_LIBRARY, sizes),
      sizes + ": fcc_step has 24 bytes there and " + std::to_string(sizeof(fcc_step)) +
          " here\n hint: the file and this program disagree about ABI version 1; compile both with one release of fcc");
}

TEST(Load, DamagedTables) {
  std::string path = model_path("damaged");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, path), path +
                                                   " has inconsistent tables: a step argument out of range, in entry "
                                                   "\"infer\"\n hint: the file is damaged or its producer is faulty; "
                                                   "compile it again");
}

TEST(Load, DamagedState) {
  std::string path = model_path("damaged_state");
  EXPECT_EQ(load_error(FCC_BAD_LIBRARY, path), path +
                                                   " has inconsistent tables: a state of unknown role\n"
                                                   " hint: the file is damaged or its producer is faulty; "
                                                   "compile it again");
}

#if defined(__x86_64__)
TEST(Isa, PicksTheBestVariantOfThisCpu) {
  uint32_t isa = runtime::detect_isa();
  const char* best = isa & FCC_ISA_X86_64_V4 ? "best" : isa & FCC_ISA_X86_64_V3 ? "middle" : "any";
  EXPECT_STREQ(open_model("fixed").variant().target, best);
}

TEST(Isa, MaxIsaCaps) {
  uint32_t isa = runtime::detect_isa();
  {
    ScopedEnv cap("FCC_MAX_ISA", "x86-64-v3");
    EXPECT_STREQ(open_model("fixed").variant().target, isa & FCC_ISA_X86_64_V3 ? "middle" : "any");
  }
  ScopedEnv cap("FCC_MAX_ISA", "x86-64-v2");
  EXPECT_STREQ(open_model("fixed").variant().target, "any");
}

TEST(Isa, RefusesWhatTheCpuLacks) {
  ScopedEnv cap("FCC_MAX_ISA", "x86-64-v2");
  std::string path = model_path("needs_v4");
  std::string text = load_error(FCC_BAD_CPU, path);
  if (!(runtime::detect_isa() & FCC_ISA_X86_64_V4)) GTEST_SKIP() << "this CPU really lacks it";
  EXPECT_EQ(text, path +
                      " needs x86-64-v4; this CPU lacks x86-64-v4, switched off by FCC_MAX_ISA\n"
                      " hint: compile with --target x86-64-v2, or a list such as x86-64-v4,x86-64-v3,x86-64-v2");
}

TEST(Isa, RefusesAnotherFamily) {
  std::string path = model_path("needs_aarch64");
  std::string text = load_error(FCC_BAD_CPU, path);
  EXPECT_EQ(text.find(path + " needs aarch64; this CPU lacks aarch64"), 0u) << text;
}

TEST(Isa, MissingFeaturesAreNamed) {
  EXPECT_EQ(runtime::isa_text(FCC_ISA_X86_64_V2 | FCC_ISA_X86_64_V3), "x86-64-v3");
  EXPECT_EQ(runtime::isa_text(FCC_ISA_X86_64_V4 | FCC_ISA_AVX512_BF16), "x86-64-v4 + avx512-bf16");
  EXPECT_EQ(runtime::isa_text(0), "x86-64");
}
#endif

TEST(Isa, NonsenseInTheVariable) {
  ScopedEnv cap("FCC_MAX_ISA", "avx2");
  EXPECT_EQ(load_error(FCC_BAD_ARGUMENT, model_path("fixed")),
            "environment variable FCC_MAX_ISA is \"avx2\", which is no instruction set level\n"
            " hint: use x86-64-v2, x86-64-v3, x86-64-v4 or aarch64");
}

TEST(Load, LinkedModel) {
  // Stands for a model linked into the program: only its query function is known.
  void* handle = ::dlopen(model_path("fixed").c_str(), RTLD_NOW);
  ASSERT_NE(handle, nullptr);
  {
    Model model(reinterpret_cast<fcc_model_query_fn>(::dlsym(handle, FCC_MODEL_QUERY_NAME)));
    auto y = model.session().run({{"x", std::vector<float>(16)}});
    (void)y;
  }
  ::dlclose(handle);
}

TEST(Load, SessionsKeepTheLibraryLoaded) {
  auto model = std::make_unique<Model>(model_path("fixed"));
  Session session = model->session();
  model.reset();
  std::vector<float> x(16);
  session.run({{"x", x}});
  EXPECT_EQ(session.output("y").as<float>()[0], 4.75f);
}

TEST(Load, ReplacedFileWhileTheOldOneIsOpen) {
  std::string path = scratch_file("replaced.so", read_file(model_path("fixed")));
  Model old(path);
  ::rename(scratch_file("new.so", read_file(model_path("mlp_open"))).c_str(), path.c_str());
  Model fresh(path);
  EXPECT_STREQ(old.variant().entries[0].steps[0].name, "mix1");
  EXPECT_STREQ(fresh.variant().entries[0].steps[0].name, "fc1");
}

int64_t resident_pages() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident;
}

TEST(Load, TenThousandTimes) {
  auto cycle = [] {
    Session session = open_model("fixed").session();
    std::vector<float> x(16);
    session.run({{"x", x}});
  };
  for (int i = 0; i < 200; ++i) cycle();
  int64_t before = resident_pages();
  for (int i = 0; i < FCC_LOAD_CYCLES; ++i) cycle();
  if (FCC_LOAD_CYCLES < 10000) GTEST_SKIP() << "a sanitizer's own memory grows";
  EXPECT_LT(resident_pages() - before, 64);  // 256 KiB, whatever the number of cycles
}

TEST(Load, NullArguments) {
  fcc_library* library = nullptr;
  EXPECT_EQ(fcc_library_open(nullptr, &library), FCC_BAD_ARGUMENT);
  EXPECT_STREQ(fcc_error_text(), "fcc_library_open: path is null");
  EXPECT_EQ(fcc_library_open("x.so", nullptr), FCC_BAD_ARGUMENT);
  EXPECT_EQ(fcc_session_create(nullptr, nullptr, nullptr), FCC_BAD_ARGUMENT);
  EXPECT_EQ(fcc_session_run(nullptr), FCC_BAD_ARGUMENT);
  EXPECT_STREQ(fcc_error_text(), "fcc_session_run: session is null");
  fcc_library_close(nullptr);
  fcc_session_close(nullptr);
  fcc_pool_release(nullptr);
}

TEST(Load, EnvironmentIsListed) {
  uint32_t count = 0;
  const fcc_env_variable* variables = fcc_environment(&count);
  ASSERT_EQ(count, 2u);
  EXPECT_STREQ(variables[0].name, "FCC_MAX_ISA");
  EXPECT_STREQ(variables[1].name, "FCC_NUM_THREADS");
}

}  // namespace
}  // namespace fcc::test
