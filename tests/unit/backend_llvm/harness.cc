#include "tests/unit/backend_llvm/harness.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace fcc::test {

std::vector<Target> host_targets() {
  std::vector<Target> targets{Target::level(Isa::x86_64_v2)};
  if (__builtin_cpu_supports("x86-64-v3")) targets.push_back(Target::level(Isa::x86_64_v3));
  if (__builtin_cpu_supports("x86-64-v4")) targets.push_back(Target::level(Isa::x86_64_v4));
  return targets;
}

std::string scratch_file(const std::string& name) {
  struct Folder {
    std::string path = std::string(FCC_BINARY_DIR) + "/backend_llvm_" + std::to_string(::getpid());
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
  };
  static const Folder folder;
  static int counter = 0;
  return folder.path + "/" + std::to_string(counter++) + "_" + name;
}

ModelImage image_of(const loop::Kernel& kernel, std::vector<Target> targets,
                    const std::map<std::string, int64_t>& symbols) {
  ModelImage image;
  image.source_hash = "test";
  image.info_json = "{}";
  for (Target& t : targets) {
    EntryImage entry;
    entry.name = "infer";
    for (const auto& [name, value] : symbols) entry.symbols.push_back({.name = name});
    loop::walk(kernel.body, [&](const loop::Stmt& s) {
      if (s.kind == loop::StmtKind::define_symbol) entry.symbols.push_back({.name = s.text, .defined_by_step = true});
    });
    StepImage step{.kernel = 0, .args = {}, .tiles = kernel.tiles};
    step.name = kernel.name;
    step.args.resize(static_cast<size_t>(kernel.n_params));
    entry.steps.push_back(step);
    image.variants.push_back({std::move(t), {kernel}, {entry}});
  }
  return image;
}

LoadedModel::LoadedModel(const std::string& path) {
  handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) {
    ADD_FAILURE() << ::dlerror();
    std::abort();
  }
  model_ = reinterpret_cast<fcc_model_query_fn>(::dlsym(handle_, FCC_MODEL_QUERY_NAME))(FCC_ABI_VERSION);
}

LoadedModel::~LoadedModel() {
  ::dlclose(handle_);
}

namespace {

// Bytes between two pages that fault, touching the one after or the one before.
class Fenced {
 public:
  Fenced(size_t bytes, bool at_end) : bytes_(bytes) {
    const size_t page = 4096, inner = (bytes + page - 1) / page * page + page;
    size_ = inner + 2 * page;
    base_ = static_cast<char*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    std::memset(base_, 0x5a, size_);
    ::mprotect(base_, page, PROT_NONE);
    ::mprotect(base_ + size_ - page, page, PROT_NONE);
    data_ = at_end ? base_ + size_ - page - bytes : base_ + page;
    low_ = base_ + page;
    high_ = base_ + size_ - page;
  }
  ~Fenced() { ::munmap(base_, size_); }
  Fenced(const Fenced&) = delete;
  char* data() { return data_; }
  bool intact() const {
    for (const char* p = low_; p < data_; ++p)
      if (*p != 0x5a) return false;
    for (const char* p = data_ + bytes_; p < high_; ++p)
      if (*p != 0x5a) return false;
    return true;
  }

 private:
  size_t bytes_, size_;
  char *base_, *data_, *low_, *high_;
};

Tensor deep_copy(const Tensor& t) {
  Tensor c(t.dtype(), t.shape());
  if (t.bytes()) std::memcpy(c.raw(), t.raw(), static_cast<size_t>(t.bytes()));
  return c;
}

}  // namespace

RunResult run(const loop::Kernel& kernel, const Target& target, std::vector<Tensor>& args,
              const std::map<std::string, int64_t>& symbols) {
  const std::string path = scratch_file("kernel.so");
  Status written = write_model(image_of(kernel, {target}, symbols), path);
  EXPECT_TRUE(written) << written.error().text();
  LoadedModel loaded(path);
  std::filesystem::remove(path);
  const fcc_entry& entry = loaded.model().variants[0].entries[0];
  const fcc_step& step = entry.steps[0];
  RunResult result;
  std::vector<Tensor> original;
  for (const Tensor& a : args) original.push_back(deep_copy(a));
  for (bool at_end : {true, false}) {
    std::vector<std::unique_ptr<Fenced>> buffers;
    std::vector<void*> pointers;
    for (const Tensor& a : original) {
      buffers.push_back(std::make_unique<Fenced>(static_cast<size_t>(a.bytes()), at_end));
      if (a.bytes()) std::memcpy(buffers.back()->data(), a.raw(), static_cast<size_t>(a.bytes()));
      pointers.push_back(buffers.back()->data());
    }
    std::vector<int64_t> values;
    for (uint32_t i = 0; i < entry.n_symbols; ++i) {
      auto it = symbols.find(entry.symbols[i].name);
      values.push_back(it == symbols.end() ? 0 : it->second);
    }
    const int64_t tiles = kernel.tiles.evaluate([&](std::string_view n) { return symbols.at(std::string(n)); });
    Fenced scratch((step.scratch_bytes + 63) / 64 * 64, false);
    result.code = step.run(pointers.data(), values.data(), 0, tiles / 2, scratch.data());
    if (result.code == 0) result.code = step.run(pointers.data(), values.data(), tiles / 2, tiles, scratch.data());
    for (size_t i = 0; i < buffers.size(); ++i)
      EXPECT_TRUE(buffers[i]->intact()) << "argument " << i << " of " << kernel.name;
    EXPECT_TRUE(scratch.intact());
    for (size_t i = 0; i < args.size(); ++i) {
      args[i] = Tensor(args[i].dtype(), args[i].shape());
      if (args[i].bytes()) std::memcpy(args[i].raw(), buffers[i]->data(), static_cast<size_t>(args[i].bytes()));
    }
    for (uint32_t i = 0; i < entry.n_symbols; ++i) result.symbols[entry.symbols[i].name] = values[i];
  }
  return result;
}

bool can_run_aarch64() {
  static const bool can =
      std::system("command -v qemu-aarch64-static >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null") == 0;
  return can;
}

namespace {

// Reads the tiles, the symbols and the arguments from a file, runs the kernel, writes everything back.
constexpr const char* kAArch64Host = R"(
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
int32_t kernel(void** args, int64_t* symbols, int64_t first, int64_t last, void* scratch);
int main(int argc, char** argv) {
  FILE* f = fopen(argv[1], "rb");
  int64_t head[5], symbols[64], bytes[64];
  void* args[64];
  if (fread(head, 8, 5, f) != 5 || fread(symbols, 8, head[1], f) != head[1] || fread(bytes, 8, head[2], f) != head[2]) return 2;
  for (int i = 0; i < head[2]; ++i) {
    args[i] = malloc(bytes[i] + 1);
    if (fread(args[i], 1, bytes[i], f) != bytes[i]) return 2;
  }
  fclose(f);
  void* scratch = aligned_alloc(64, head[4]);
  head[3] = kernel(args, symbols, 0, head[0] / 2, scratch);
  if (!head[3]) head[3] = kernel(args, symbols, head[0] / 2, head[0], scratch);
  f = fopen(argv[1], "wb");
  fwrite(head, 8, 5, f);
  fwrite(symbols, 8, head[1], f);
  fwrite(bytes, 8, head[2], f);
  for (int i = 0; i < head[2]; ++i) fwrite(args[i], 1, bytes[i], f);
  return fclose(f);
}
)";

std::string aarch64_host() {
  static const std::string object = [] {
    const std::string base = scratch_file("host");
    std::ofstream(base + ".c") << kAArch64Host;
    EXPECT_EQ(std::system(("aarch64-linux-gnu-gcc -O1 -c -o " + base + ".o " + base + ".c").c_str()), 0);
    return base + ".o";
  }();
  return object;
}

}  // namespace

RunResult run_on_aarch64(const loop::Kernel& kernel, std::vector<Tensor>& args,
                         const std::map<std::string, int64_t>& symbols) {
  const ModelImage image = image_of(kernel, {Target::level(Isa::aarch64)}, symbols);
  std::vector<std::string> names;
  std::vector<int64_t> values, bytes;
  for (const SymbolImage& s : image.variants[0].entries[0].symbols) {
    names.push_back(s.name);
    values.push_back(symbols.contains(s.name) ? symbols.at(s.name) : 0);
  }
  std::map<std::string, int32_t> faults;
  loop::walk(kernel.body, [&](const loop::Stmt& s) {
    if (s.kind == loop::StmtKind::fault) faults.emplace(s.text, static_cast<int32_t>(faults.size()));
  });
  Result<CompiledKernel> object = compile_kernel(kernel, Target::level(Isa::aarch64), names, faults, "kernel");
  EXPECT_TRUE(object);
  const std::string base = scratch_file("arm");
  std::ofstream(base + ".o", std::ios::binary) << object->object;
  for (const Tensor& a : args) bytes.push_back(a.bytes());
  const int64_t tiles = kernel.tiles.evaluate([&](std::string_view n) { return symbols.at(std::string(n)); });
  const int64_t head[5] = {tiles, static_cast<int64_t>(values.size()), static_cast<int64_t>(args.size()), 0,
                           (object->scratch_bytes / 64 + 1) * 64};
  const auto raw = [](const auto* p, size_t n) {
    return std::string(reinterpret_cast<const char*>(p), n * sizeof(*p));
  };
  std::ofstream out(base + ".data", std::ios::binary);
  out << raw(head, 5) << raw(values.data(), values.size()) << raw(bytes.data(), bytes.size());
  for (const Tensor& a : args) out.write(reinterpret_cast<const char*>(a.raw()), a.bytes());
  out.close();
  EXPECT_EQ(
      std::system(("aarch64-linux-gnu-gcc -static -o " + base + " " + aarch64_host() + " " + base + ".o").c_str()), 0);
  EXPECT_EQ(std::system(("qemu-aarch64-static " + base + " " + base + ".data").c_str()), 0);
  std::ifstream in(base + ".data", std::ios::binary);
  int64_t back[5];
  in.read(reinterpret_cast<char*>(back), sizeof(back));
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * 8));
  in.ignore(static_cast<std::streamsize>(bytes.size() * 8));
  for (Tensor& a : args) {
    a = Tensor(a.dtype(), a.shape());
    in.read(reinterpret_cast<char*>(a.raw()), a.bytes());
  }
  EXPECT_TRUE(in);
  RunResult result{static_cast<int32_t>(back[3]), {}};
  for (size_t i = 0; i < names.size(); ++i) result.symbols[names[i]] = values[i];
  return result;
}

static double spacing(DType t, double v) {
  const double e = std::fabs(v);
  switch (t) {
    case DType::f64:
      return std::max(std::ldexp(e, -52), 5e-324);
    case DType::f16:
      return std::max(std::ldexp(e, -10), std::ldexp(1, -24));
    case DType::bf16:
      return std::max(std::ldexp(e, -7), 1e-40);
    default:
      return std::max(std::ldexp(e, -23), 1.5e-45);
  }
}

void expect_same(const loop::Kernel& kernel, const std::vector<Tensor>& args,
                 const std::map<std::string, int64_t>& symbols, double ulps, double scale) {
  std::vector<Tensor> expected;
  for (const Tensor& a : args) expected.push_back(deep_copy(a));
  std::vector<Tensor*> pointers;
  for (Tensor& t : expected) pointers.push_back(&t);
  Status evaluated = loop::evaluate(kernel, pointers, symbols);
  ASSERT_TRUE(evaluated) << evaluated.error().text();
  const bool emulate = std::getenv("FCC_TEST_AARCH64") && can_run_aarch64();
  for (const Target& target : emulate ? std::vector{Target::level(Isa::aarch64)} : host_targets()) {
    std::vector<Tensor> actual = args;
    if (emulate)
      run_on_aarch64(kernel, actual, symbols);
    else
      run(kernel, target, actual, symbols);
    for (size_t a = 0; a < args.size(); ++a) {
      const Tensor &want = expected[a], &got = actual[a];
      int shown = 0;
      for (int64_t i = 0; i < want.elements() && shown < 4; ++i) {
        if (!is_float(want.dtype())) {
          if (want.get_int(i) != got.get_int(i)) {
            ADD_FAILURE() << kernel.name << " on " << target.text() << ", argument " << a << "[" << i
                          << "]: " << got.get_int(i) << " instead of " << want.get_int(i);
            ++shown;
          }
          continue;
        }
        const double w = want.get_double(i), g = got.get_double(i);
        const bool same = (std::isnan(w) && std::isnan(g)) || w == g ||
                          std::fabs(w - g) <= ulps * spacing(want.dtype(), std::max(std::fabs(w), scale));
        if (!same) {
          ADD_FAILURE() << kernel.name << " on " << target.text() << ", argument " << a << "[" << i << "]: " << g
                        << " instead of " << w;
          ++shown;
        }
      }
    }
  }
}

Tensor random(DType dtype, std::vector<int64_t> shape, uint32_t seed) {
  Tensor t(dtype, std::move(shape));
  std::mt19937 engine(seed);
  for (int64_t i = 0; i < t.elements(); ++i) {
    const uint32_t r = engine();
    if (is_float(dtype))
      t.set_double(i, (static_cast<double>(r) / 4294967296.0 - 0.5) * 8);
    else if (dtype == DType::boolean)
      t.set_int(i, r & 1);
    else if (is_unsigned_int(dtype))
      t.set_int(i, r % 13);
    else
      t.set_int(i, static_cast<int64_t>(r % 25) - 12);
  }
  return t;
}

int stack_traffic_in_loops(const std::string& assembly, double least_share) {
  std::vector<std::string> lines;
  std::istringstream in(assembly);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::map<std::string, size_t> labels;
  std::vector<std::pair<size_t, size_t>> loops;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].starts_with(".L") && lines[i].find(':') != std::string::npos)
      labels[lines[i].substr(0, lines[i].find(':'))] = i;
    std::istringstream words(lines[i]);
    std::string op, to;
    words >> op;
    for (std::string word; words >> word;) to = word;  // the target of a branch comes last on both families
    const bool jumps = op.size() >= 2 && (op[0] == 'j' || op == "b" || op.starts_with("b.") || op.starts_with("cb") ||
                                          op.starts_with("tb"));
    if (jumps && labels.contains(to)) loops.emplace_back(labels[to], i);
  }
  int traffic = 0, scanned = 0;
  for (const auto& [first, last] : loops) {
    const bool innermost = std::none_of(loops.begin(), loops.end(), [&](auto& x) {
      return x.first >= first && x.second <= last && x != std::pair(first, last);
    });
    auto multiplies = [](const std::string& l) {
      return l.find("fmadd") != l.npos || l.find("fmla") != l.npos || l.find("mulp") != l.npos;
    };
    const auto multiply_adds = std::count_if(lines.begin() + static_cast<int64_t>(first),
                                             lines.begin() + static_cast<int64_t>(last), multiplies);
    if (!innermost || multiply_adds == 0 ||
        static_cast<double>(multiply_adds) < least_share * static_cast<double>(last - first))
      continue;
    ++scanned;
    for (size_t i = first; i <= last; ++i)
      traffic += lines[i].find("(%rsp") != std::string::npos || lines[i].find("[sp") != std::string::npos;
  }
  EXPECT_GT(scanned, 0) << assembly;
  return traffic;
}

}  // namespace fcc::test
