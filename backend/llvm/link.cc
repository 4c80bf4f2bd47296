#include "backend/llvm/link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "backend/llvm/elf.h"
#include "backend/llvm/kernel_cache.h"
#include "backend/llvm/object.h"
#include "backend/llvm/tables.h"
#include "ir/base/check.h"

LLD_HAS_DRIVER(elf)

namespace fcc {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// ---- files ------------------------------------------------------------------------------------------------------

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(File&& f) noexcept : fd_(std::exchange(f.fd_, -1)) {}
  File& operator=(File&& f) noexcept {
    std::swap(fd_, f.fd_);
    return *this;
  }
  int descriptor() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  // A name under which the linker can open an unnamed file.
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }
  bool write(const void* data, size_t bytes) {
    const char* p = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::write(fd_, p, std::min<size_t>(bytes, size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      p += n;
      bytes -= static_cast<size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

Result<File> in_memory(const std::string& bytes) {
  File f(::memfd_create("object", MFD_CLOEXEC));
  if (!f.ok() || !f.write(bytes.data(), bytes.size()))
    return fail(fmt::format("cannot hold {} bytes of object code in memory: {}", bytes.size(), std::strerror(errno)));
  return f;
}

std::unexpected<Diagnostic> cannot_write(const std::string& path, const std::string& why) {
  std::string hint;
  if (errno == ENOENT) hint = "the folder does not exist";
  if (errno == EACCES || errno == EROFS) hint = "choose a folder you may write to";
  if (errno == ENOSPC || errno == EDQUOT) hint = "free some space or choose another disk";
  return fail(fmt::format("cannot write \"{}\": {}", path, why), {}, hint);
}

std::string errno_text() {
  return std::strerror(errno);
}

// A file beside `path` that is gone unless keep() renames it.
class TemporaryFile {
 public:
  static Result<TemporaryFile> beside(const std::string& path) {
    std::string name = path + ".XXXXXX";
    const int fd = ::mkstemp(name.data());
    if (fd < 0) return cannot_write(path, errno_text());
    return TemporaryFile(path, std::move(name), fd);
  }
  TemporaryFile(TemporaryFile&& t) noexcept
      : path_(std::move(t.path_)), name_(std::exchange(t.name_, "")), file_(std::move(t.file_)) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  const std::string& name() const { return name_; }
  int descriptor() const { return file_.descriptor(); }
  // The linker puts a new file of the same name in the place of this one.
  bool reopen() {
    file_ = File(::open(name_.c_str(), O_RDWR | O_CLOEXEC));
    return file_.ok();
  }
  Status keep(mode_t mode) {
    if (::chmod(name_.c_str(), mode) != 0 || ::rename(name_.c_str(), path_.c_str()) != 0)
      return cannot_write(path_, errno_text());
    name_.clear();
    return {};
  }

 private:
  TemporaryFile(std::string path, std::string name, int fd)
      : path_(std::move(path)), name_(std::move(name)), file_(fd) {}
  std::string path_, name_;
  File file_;
};

// ---- what an entry sees of a kernel -----------------------------------------------------------------------------

class KernelTraits {
 public:
  bool uses_symbols = false, defines_symbols = false;
  std::vector<std::string> faults;

  explicit KernelTraits(const loop::Kernel& k) {
    for (const loop::Buffer& b : k.buffers)
      for (const SymExpr& d : b.dims) uses_symbols |= !d.is_constant();
    loop::walk(k.body, [&](const loop::Stmt& s) {
      defines_symbols |= s.kind == loop::StmtKind::define_symbol;
      if (s.kind == loop::StmtKind::fault) faults.push_back(s.text);
      for (const loop::Expr& e : {s.lo, s.hi, s.value, s.mask}) look(e);
      for (const loop::Expr& e : s.indices) look(e);
      if (!s.contract) return;
      const loop::ContractTile& t = *s.contract;
      for (const loop::Expr& e : {t.a_base, t.b_base, t.a_row, t.a_line, t.prefetch}) look(e);
      for (const auto& r : s.contract->reductions)
        for (const loop::Expr& e : {r.extent, r.a_stride, r.b_stride}) look(e);
    });
  }
  // Compiled once for each entry that runs it; what only reads symbols, once for each list of symbols.
  bool bound_to_entry() const { return defines_symbols || !faults.empty(); }

 private:
  void look(const loop::Expr& e) {
    if (!e || uses_symbols || !seen_.insert(e.get()).second) return;
    uses_symbols = e->kind == loop::ExprKind::symbol;
    for (const loop::Expr& a : e->args) look(a);
  }
  std::unordered_set<const loop::ExprNode*> seen_;
};

struct Job {
  const loop::Kernel* kernel;
  const Target* target;
  std::vector<std::string> symbols;
  std::map<std::string, int32_t> faults;
  std::string function;
  CompiledKernel result;
  double seconds = 0;
  bool from_cache = false;
};

std::string identifier(const std::string& name) {
  std::string s = name.substr(0, 80);
  for (char& c : s)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return s;
}

// Which kernels have to be compiled, and which function each step runs.
struct Plan {
  std::vector<Job> jobs;
  TablesInput tables;
  std::vector<std::vector<std::vector<size_t>>> job_of;  // [variant][entry][step]

  explicit Plan(const ModelImage& image) : tables{image, {}, {}} {
    for (size_t v = 0; v < image.variants.size(); ++v) add_variant(image.variants[v], v);
  }

  void add_variant(const VariantImage& variant, size_t v) {
    std::vector<KernelTraits> traits;
    for (const loop::Kernel& k : variant.kernels) traits.emplace_back(k);
    std::map<std::pair<size_t, std::string>, size_t> known;  // kernel, whom it belongs to -> job
    auto& placed = tables.placed.emplace_back();
    auto& faults = tables.faults.emplace_back();
    auto& numbers = job_of.emplace_back();
    for (size_t e = 0; e < variant.entries.size(); ++e) {
      const EntryImage& entry = variant.entries[e];
      std::map<std::string, int32_t> fault_index;
      std::vector<std::string>& sentences = faults.emplace_back();
      for (const StepImage& step : entry.steps)
        for (const std::string& text : traits.at(step.kernel).faults)
          if (fault_index.emplace(text, static_cast<int32_t>(sentences.size())).second) sentences.push_back(text);
      std::vector<std::string> symbols;
      for (const SymbolImage& s : entry.symbols) symbols.push_back(s.name);
      auto& row = placed.emplace_back();
      auto& row_numbers = numbers.emplace_back();
      for (const StepImage& step : entry.steps) {
        const KernelTraits& t = traits.at(step.kernel);
        const loop::Kernel& kernel = variant.kernels[step.kernel];
        FCC_CHECK(static_cast<int32_t>(step.args.size()) == kernel.n_params, "step {}: {} args for {}", step.name,
                  step.args.size(), kernel.name);
        std::string owner;
        if (t.bound_to_entry()) owner = std::to_string(e);
        else if (t.uses_symbols) owner = fmt::format("[{}]", fmt::join(symbols, "\n"));
        auto [it, fresh] = known.emplace(std::pair(size_t{step.kernel}, owner), jobs.size());
        if (fresh) {
          std::string function = fmt::format("{}_k{}_v{}", identifier(kernel.name), step.kernel, v);
          if (!owner.empty()) function += fmt::format("_e{}", e);
          jobs.push_back({&kernel, &variant.target, symbols, fault_index, std::move(function), {}});
        }
        row_numbers.push_back(it->second);
        row.push_back({jobs[it->second].function, 0, !t.faults.empty(), t.defines_symbols});
      }
    }
  }

  void take_scratch_sizes() {
    for (size_t v = 0; v < job_of.size(); ++v)
      for (size_t e = 0; e < job_of[v].size(); ++e)
        for (size_t s = 0; s < job_of[v][e].size(); ++s)
          tables.placed[v][e][s].scratch_bytes = jobs[job_of[v][e][s]].result.scratch_bytes;
  }
};

// ---- compiling --------------------------------------------------------------------------------------------------

Result<CompiledKernel> compile_or_find(Job& job, const KernelCache& cache) {
  std::string key;
  if (cache.on()) {
    key = cache.key(*job.kernel, *job.target, job.symbols, job.faults, job.function);
    if (std::optional<CompiledKernel> found = cache.find(key)) {
      job.from_cache = true;
      return std::move(*found);
    }
  }
  FCC_TRY(CompiledKernel fresh, compile_kernel(*job.kernel, *job.target, job.symbols, job.faults, job.function));
  if (cache.on()) cache.keep(key, fresh);
  return fresh;
}

Status compile_all(std::vector<Job>& jobs, int threads, const KernelCache& cache) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr thrown;
  std::optional<Diagnostic> refused;
  auto work = [&] {
    for (size_t i; (i = next++) < jobs.size();) {
      Job& job = jobs[i];
      const auto start = Clock::now();
      try {
        Result<CompiledKernel> r = compile_or_find(job, cache);
        if (r) job.result = std::move(*r);
        std::lock_guard lock(mutex);
        if (!r && !refused) refused = std::move(r).error();
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!thrown) thrown = std::current_exception();
      }
      job.seconds = seconds_since(start);
    }
  };
  const size_t n = std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), std::max<size_t>(jobs.size(), 1));
  std::vector<std::thread> pool;
  for (size_t i = 1; i < n; ++i) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();
  if (thrown) std::rethrow_exception(thrown);
  if (refused) return fail(std::move(*refused));
  if (std::any_of(jobs.begin(), jobs.end(), [](const Job& j) { return !j.from_cache; })) cache.trim();
  return {};
}

bool stream_constants(const ModelImage& image, const ByteSink& sink) {
  static constexpr char kZeros[4096] = {};
  int64_t at = 0;
  auto pad_to = [&](int64_t offset) {
    while (at < offset) {
      const int64_t n = std::min<int64_t>(sizeof(kZeros), offset - at);
      if (!sink(kZeros, static_cast<size_t>(n))) return false;
      at += n;
    }
    return true;
  };
  for (const ConstantImage& c : image.constants) {
    FCC_CHECK(c.offset >= at && c.offset % FCC_ALIGNMENT == 0, "constant at {} after {}", c.offset, at);
    if (!pad_to(c.offset)) return false;
    if (c.data.bytes() > 0 && !sink(c.data.raw(), static_cast<size_t>(c.data.bytes()))) return false;
    at += c.data.bytes();
  }
  FCC_CHECK(at <= image.constants_bytes, "{} bytes of constants announced, {} given", image.constants_bytes, at);
  return pad_to(image.constants_bytes);
}

// ---- linking ----------------------------------------------------------------------------------------------------

Status run_linker(const std::vector<std::string>& arguments, const std::string& path) {
  static std::mutex one_at_a_time;  // LLD keeps global state
  std::lock_guard lock(one_at_a_time);
  std::vector<const char*> argv;
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  std::string out_text, error_text;
  llvm::raw_string_ostream out(out_text), error(error_text);
  errno = 0;
  const lld::Result r = lld::lldMain(argv, out, error, {{lld::Gnu, &lld::elf::link}});
  if (r.retCode == 0) return {};
  const bool disk =
      error_text.find("No space left") != std::string::npos || error_text.find("quota") != std::string::npos;
  FCC_CHECK(disk, "the linker refused our own objects: {}", error_text);
  errno = ENOSPC;
  return cannot_write(path, "no space left on the disk");
}

std::vector<std::string> linker_arguments(bool aarch64, const std::string& script, const std::string& output) {
  return {"ld.lld",
          "-shared",
          "-m",
          aarch64 ? "aarch64linux" : "elf_x86_64",
          "--build-id=none",
          "-z",
          "noexecstack",
          "-z",
          "relro",
          "-z",
          "now",
          "--hash-style=gnu",
          "-Bsymbolic",
          "--discard-all",
          "-T",
          script,
          "--threads=1",
          "--no-color-diagnostics",
          "-o",
          output};
}

mode_t file_mode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0777 & ~mask;
}

}  // namespace

Status write_model(const ModelImage& image, const std::string& path, const WriteOptions& options, WriteReport* report) {
  FCC_CHECK(!image.variants.empty(), "a model without variants");
  const bool aarch64 = !image.variants[0].target.is_x86();
  if (std::filesystem::is_directory(path)) {
    errno = EISDIR;
    return cannot_write(path, errno_text());
  }
  FCC_TRY(TemporaryFile output, TemporaryFile::beside(path));  // first, so that a bad path fails at once

  auto start = Clock::now();
  Plan plan(image);
  FCC_CHECKED(compile_all(plan.jobs, options.jobs, KernelCache(options.cache_folder)));
  plan.take_scratch_sizes();
  FCC_TRY(File script, in_memory(layout_script(image.constants_bytes)));
  std::vector<std::string> arguments = linker_arguments(aarch64, script.path(), output.name());
  std::vector<File> objects;
  int64_t code_bytes = 0;
  auto add_object = [&](const std::string& bytes) -> Status {
    FCC_TRY(File file, in_memory(bytes));
    code_bytes += static_cast<int64_t>(bytes.size());
    arguments.push_back(file.path());
    objects.push_back(std::move(file));
    return {};
  };
  FCC_CHECKED(add_object(compile_tables(plan.tables)));
  for (Job& job : plan.jobs) {
    FCC_CHECKED(add_object(job.result.object));
    job.result.object = {};
  }
  const double compile_seconds = seconds_since(start);

  start = Clock::now();
  FCC_CHECKED(add_object(unloaded_object(aarch64, ".fcc_info", image.info_json)));
  if (!image.source.empty()) FCC_CHECKED(add_object(unloaded_object(aarch64, ".fcc_source", image.source)));
  FCC_CHECKED(run_linker(arguments, path));
  if (!output.reopen() || !append_constants(output.descriptor(), image.constants_bytes,
                                            [&](const ByteSink& to) { return stream_constants(image, to); }))
    return cannot_write(path, errno_text());
  if (report) {
    *report = {code_bytes, compile_seconds, seconds_since(start), {}};
    for (const Job& job : plan.jobs) {
      report->kernel_seconds.push_back(job.seconds);
      report->kernels_from_cache += job.from_cache;
    }
  }
  return output.keep(file_mode());
}

Result<std::string> read_info(const std::string& path) {
  FCC_TRY(std::optional<std::string> info, read_section(path, ".fcc_info"));
  if (!info)
    return fail(fmt::format("\"{}\" is not a compiled model: it has no .fcc_info section", path), {},
                "compile one with: fcc model.onnx -o model.so");
  return std::move(*info);
}

}  // namespace fcc
