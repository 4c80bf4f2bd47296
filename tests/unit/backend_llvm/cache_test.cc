// Kernels compiled before: the same bytes of a model with and without them, whatever happened to their files.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "backend/llvm/kernel_cache.h"
#include "tests/unit/backend_llvm/harness.h"

namespace fcc::test {
namespace {

using namespace loop;  // NOLINT: the builders
namespace fs = std::filesystem;

// y[i] = x[i] + number.
Kernel plus(double number) {
  Kernel k{.name = "plus", .note = ""};
  const BufferId x = k.add_buffer({.name = "x", .dtype = DType::f32, .dims = {40}});
  const BufferId y = k.add_buffer({.name = "y", .dtype = DType::f32, .dims = {40}, .space = Space::output});
  k.n_params = 2;
  const VarId t = k.add_var("t"), v = k.add_var("v");
  k.body = {for_loop(t, index(0), index(1),
                     {for_loop(v, index(0), index(40), {store(y, {var(v)}, load(x, DType::f32, {var(v)}) + constant(DType::f32, number))},
                               LoopKind::vec, 16)},
                     LoopKind::tile)};
  return k;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class Cache : public testing::Test {
 protected:
  Cache() : folder_(scratch_file("cache_of_kernels")) { fs::remove_all(folder_); }
  ~Cache() override { fs::remove_all(folder_); }

  struct Written {
    std::string bytes;
    int64_t from_cache;
  };
  Written write(const Kernel& k, const std::string& folder) {
    const std::string path = scratch_file("cached.so");
    WriteReport report;
    const Status s = write_model(image_of(k, {Target::level(Isa::x86_64_v3), Target::level(Isa::x86_64_v2)}), path,
                                 {.jobs = 2, .cache_folder = folder}, &report);
    EXPECT_TRUE(s.has_value());
    return {slurp(path), report.kernels_from_cache};
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const fs::directory_entry& e : fs::directory_iterator(folder_)) found.push_back(e.path());
    return found;
  }
  const std::string folder_;
};

TEST_F(Cache, GivesTheSameBytes) {
  const Written without = write(plus(1), ""), first = write(plus(1), folder_), second = write(plus(1), folder_);
  EXPECT_EQ(without.from_cache, 0);
  EXPECT_EQ(first.from_cache, 0);
  EXPECT_EQ(second.from_cache, 2);
  EXPECT_EQ(first.bytes, without.bytes);
  EXPECT_EQ(second.bytes, without.bytes);
  EXPECT_EQ(files().size(), 2u);
}

TEST_F(Cache, TellsKernelsApart) {
  write(plus(1), folder_);
  const Written other = write(plus(2), folder_);
  EXPECT_EQ(other.from_cache, 0);
  EXPECT_EQ(other.bytes, write(plus(2), "").bytes);
  const KernelCache cache(folder_);
  const Kernel k = plus(1);
  const Target v3 = Target::level(Isa::x86_64_v3), v4 = Target::level(Isa::x86_64_v4);
  const std::vector<std::string> none, one{"a"}, two{"a", "b"}, joined{"a1:b"};
  const std::set<std::string> keys = {cache.key(k, v3, none, {}, "f"), cache.key(k, v4, none, {}, "f"), cache.key(k, v3, one, {}, "f"),
                                      cache.key(k, v3, two, {}, "f"),  cache.key(k, v3, joined, {}, "f"), cache.key(k, v3, none, {{"no", 1}}, "f"),
                                      cache.key(k, v3, none, {{"no", 2}}, "f"), cache.key(k, v3, none, {}, "g")};
  EXPECT_EQ(keys.size(), 8u);
}

TEST_F(Cache, IgnoresDamagedFiles) {
  const std::string good = write(plus(1), folder_).bytes;
  auto damage = [&](const std::function<void(std::string&)>& change) {
    for (const fs::path& p : files()) {
      std::string bytes = slurp(p);
      change(bytes);
      std::ofstream(p, std::ios::binary | std::ios::trunc) << bytes;
    }
    const Written w = write(plus(1), folder_);
    EXPECT_EQ(w.from_cache, 0);
    EXPECT_EQ(w.bytes, good);
    EXPECT_EQ(write(plus(1), folder_).from_cache, 2);  // repaired
  };
  damage([](std::string& b) { b.back() ^= 1; });
  damage([](std::string& b) { b[9] ^= 1; });  // the scratch size
  damage([](std::string& b) { b.resize(b.size() / 2); });
  damage([](std::string& b) { b.resize(3); });
  damage([](std::string& b) { b.clear(); });
}

TEST_F(Cache, DoesWithoutAFolder) {
  std::ofstream(folder_) << "a file where the folder should be";
  const Written w = write(plus(1), folder_ + "/sub");
  EXPECT_EQ(w.from_cache, 0);
  EXPECT_EQ(w.bytes, write(plus(1), "").bytes);
}

TEST_F(Cache, ForgetsWhatWasUsedLongestAgo) {
  const KernelCache cache(folder_);
  CompiledKernel k;
  k.object = std::string(1000, 'x');
  for (const char* key : {"a", "b", "c"}) cache.keep(key, k);
  const auto now = fs::file_time_type::clock::now();
  for (const auto& [key, age] : {std::pair("a", 1), std::pair("b", 3), std::pair("c", 2)})
    fs::last_write_time(folder_ + "/" + key + ".kernel", now - std::chrono::hours(age));
  ASSERT_TRUE(cache.find("b"));  // used now
  cache.trim(2500);
  EXPECT_TRUE(cache.find("a"));
  EXPECT_TRUE(cache.find("b"));
  EXPECT_FALSE(cache.find("c"));
}

}  // namespace
}  // namespace fcc::test
