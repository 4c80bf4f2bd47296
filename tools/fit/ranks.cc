#include "tools/fit/ranks.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "tools/fit/mpi_plugin.h"

namespace fcc {
namespace {

std::string program_path() {
  char path[4096];
  const ssize_t n = ::readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<size_t>(n)) : "fcc";
}

std::vector<std::string> command_line() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  return words;
}

// Sums in the order of the ranks: each rank adds up its slice of everybody's values, then all slices go to all.
class MpiRanks final : public Ranks {
 public:
  explicit MpiRanks(const fcc_mpi_functions* mpi) : mpi_(mpi) {}
  ~MpiRanks() override { mpi_->finish(); }
  int rank() const override { return mpi_->rank(); }
  int size() const override { return mpi_->size(); }
  Status sum(std::span<float> values) override { return summed(values, mpi_->exchange_float, mpi_->collect_float); }
  Status sum(std::span<double> values) override { return summed(values, mpi_->exchange_double, mpi_->collect_double); }
  Status barrier() override { return checked(mpi_->barrier()); }
  void abort(int status) override { mpi_->abort(status); }

 private:
  static constexpr size_t kBucket = size_t{1} << 20;  // elements sent at once

  static Status checked(int code) {
    if (code == 0) return {};
    return fail("another process of this run is gone", {}, "the last checkpoint is good: go on with --resume");
  }

  template <class T>
  Status summed(std::span<T> values, int (*exchange)(const T*, T*, int), int (*collect)(const T*, T*, int)) {
    const auto p = static_cast<size_t>(size());
    for (size_t at = 0; at < values.size(); at += kBucket) {
      const std::span<T> bucket = values.subspan(at, std::min(kBucket, values.size() - at));
      const size_t slice = (bucket.size() + p - 1) / p;
      std::vector<T> sent(slice * p, T(0)), received(slice * p), mine(slice, T(0));
      std::ranges::copy(bucket, sent.begin());
      FCC_CHECKED(checked(exchange(sent.data(), received.data(), static_cast<int>(slice))));
      for (size_t r = 0; r < p; ++r)
        for (size_t i = 0; i < slice; ++i) mine[i] += received[r * slice + i];
      FCC_CHECKED(checked(collect(mine.data(), sent.data(), static_cast<int>(slice))));
      std::copy_n(sent.begin(), bucket.size(), bucket.begin());
    }
    return {};
  }

  const fcc_mpi_functions* mpi_;
};

}  // namespace

bool started_by_mpirun() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (const char* value = std::getenv(variable); value && *value && std::string(value) != "1") return true;
  return false;
}

int run_under_mpirun(int ranks) {
  std::vector<std::string> words = {"mpirun", "-n", std::to_string(ranks), program_path()};
  const std::vector<std::string> own = command_line();
  words.insert(words.end(), own.begin() + 1, own.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0) {  // in a container, where Open MPI would refuse
      ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
      ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    }
    ::execvp(argv[0], argv.data());
    fmt::print(stderr, "error: cannot start mpirun\n hint: install openmpi-bin\n");
    std::_Exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

Result<std::unique_ptr<Ranks>> open_mpi_ranks() {
  const std::string program = program_path(), folder = program.substr(0, program.rfind('/'));
  void* handle = nullptr;
  for (const std::string& path :
       {folder + "/libfcc_mpi.so", folder + "/../lib/libfcc_mpi.so", std::string("libfcc_mpi.so")})
    if (handle == nullptr) handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  auto query = handle ? reinterpret_cast<fcc_mpi_query_fn>(::dlsym(handle, "fcc_mpi_query")) : nullptr;
  if (query == nullptr)
    return fail("several processes need MPI, and libfcc_mpi.so cannot be loaded", {},
                "build fcc with libopenmpi-dev installed, or leave out --ranks");
  return std::make_unique<MpiRanks>(query());
}

}  // namespace fcc
