#include "backend/llvm/kernel_cache.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/SHA256.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "ir/loop/text.h"

namespace fcc {

namespace {

using Digest = std::array<uint8_t, 32>;

// What a file starts with; the object follows.
struct Header {
  char magic[8] = {'f', 'c', 'c', 'K', '0', '0', '0', '1'};
  int64_t scratch_bytes = 0, object_bytes = 0;
  Digest digest{};  // of the two numbers and the object
};

llvm::StringRef bytes_of(const void* data, size_t bytes) { return {static_cast<const char*>(data), bytes}; }

Digest digest_of(const Header& h, const std::string& object) {
  llvm::SHA256 sha;
  sha.update(bytes_of(&h.scratch_bytes, sizeof h.scratch_bytes));
  sha.update(bytes_of(&h.object_bytes, sizeof h.object_bytes));
  sha.update(object);
  return sha.final();
}

// The linker's name for the build of a loaded file, from its notes; "" when it has none.
std::string build_id(const dl_phdr_info& file) {
  for (int i = 0; i < file.dlpi_phnum; ++i) {
    const ElfW(Phdr)& p = file.dlpi_phdr[i];
    if (p.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(file.dlpi_addr + p.p_vaddr);
    for (const char* end = at + p.p_memsz; at + sizeof(ElfW(Nhdr)) <= end;) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* name = at + sizeof note;
      const char* description = name + (note.n_namesz + 3) / 4 * 4;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) return {description, note.n_descsz};
      at = description + (note.n_descsz + 3) / 4 * 4;
    }
  }
  return "";
}

// Builds of the file that holds this function and of the LLVM library beside it, if there is one; "" when unknown.
std::string compiler_build() {
  struct Search {
    std::string own, llvm;
  } found;
  ::dl_iterate_phdr(
      [](dl_phdr_info* file, size_t, void* data) {
        auto* search = static_cast<Search*>(data);
        const auto here = reinterpret_cast<uintptr_t>(&compiler_build);
        for (int i = 0; i < file->dlpi_phnum; ++i) {
          const ElfW(Phdr)& p = file->dlpi_phdr[i];
          const uintptr_t begin = file->dlpi_addr + p.p_vaddr;
          if (p.p_type == PT_LOAD && here >= begin && here < begin + p.p_memsz) search->own = build_id(*file);
        }
        if (std::strstr(file->dlpi_name, "libLLVM")) search->llvm += build_id(*file);
        return 0;
      },
      &found);
  return found.own.empty() ? "" : found.own + found.llvm + LLVM_VERSION_STRING;
}

std::optional<std::string> read_file(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || st.st_size > KernelCache::kMostBytes) return std::nullopt;
  std::string bytes(static_cast<size_t>(st.st_size), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::read(fd, bytes.data() + at, bytes.size() - at);
    if (n <= 0) return std::nullopt;
    at += static_cast<size_t>(n);
  }
  return bytes;
}

bool write_all(int fd, const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd, p, bytes);
    if (n <= 0) return false;
    p += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

constexpr std::string_view kSuffix = ".kernel";

}  // namespace

KernelCache::KernelCache(std::string folder) : folder_(std::move(folder)) {
  if (folder_.empty()) return;
  build_ = compiler_build();
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (build_.empty() || error) folder_.clear();
}

std::string KernelCache::key(const loop::Kernel& kernel, const Target& target, std::span<const std::string> symbol_names,
                             const std::map<std::string, int32_t>& faults, const std::string& function_name) const {
  std::string text = loop::canonical_text(kernel);
  auto add = [&](std::string_view part) { text += fmt::format("\n{}:{}", part.size(), part); };  // no two lists alike
  add(build_);
  add(target.text());
  add(function_name);
  for (const std::string& s : symbol_names) add(s);
  add("faults");
  for (const auto& [fault, index] : faults) add(fmt::format("{} {}", index, fault));
  llvm::SHA256 sha;
  sha.update(text);
  std::string hex;
  for (uint8_t byte : sha.final()) hex += fmt::format("{:02x}", byte);
  return hex;
}

std::optional<CompiledKernel> KernelCache::find(const std::string& key) const {
  if (!on()) return std::nullopt;
  const int fd = ::open((folder_ + "/" + key + std::string(kSuffix)).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::optional<std::string> bytes = read_file(fd);
  ::futimens(fd, nullptr);  // used now
  ::close(fd);
  Header header, expected;
  if (!bytes || bytes->size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes->data(), sizeof header);
  std::string object = bytes->substr(sizeof header);
  if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0 || header.object_bytes != static_cast<int64_t>(object.size()) ||
      header.digest != digest_of(header, object))
    return std::nullopt;
  return CompiledKernel{.object = std::move(object), .scratch_bytes = header.scratch_bytes, .ir = {}, .assembly = {}};
}

void KernelCache::keep(const std::string& key, const CompiledKernel& kernel) const {
  if (!on()) return;
  Header header;
  header.scratch_bytes = kernel.scratch_bytes;
  header.object_bytes = static_cast<int64_t>(kernel.object.size());
  header.digest = digest_of(header, kernel.object);
  std::string name = folder_ + "/new.XXXXXX";
  const int fd = ::mkstemp(name.data());
  if (fd < 0) return;
  const bool written = write_all(fd, &header, sizeof header) && write_all(fd, kernel.object.data(), kernel.object.size());
  ::close(fd);
  if (!written || ::rename(name.c_str(), (folder_ + "/" + key + std::string(kSuffix)).c_str()) != 0) ::unlink(name.c_str());
}

void KernelCache::trim(int64_t most_bytes) const {
  if (!on()) return;
  namespace fs = std::filesystem;
  struct Entry {
    fs::file_time_type used;
    int64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  int64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kSuffix) continue;
    std::error_code gone;
    Entry e{it->last_write_time(gone), static_cast<int64_t>(it->file_size(gone)), it->path()};
    if (gone) continue;
    total += e.bytes;
    entries.push_back(std::move(e));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& e : entries) {
    if (total <= most_bytes) return;
    fs::remove(e.path, error);
    total -= e.bytes;
  }
}

std::string user_cache_folder() {
  if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder && *folder == '/') return std::string(folder) + "/fcc";
  if (const char* home = std::getenv("HOME"); home && *home == '/') return std::string(home) + "/.cache/fcc";
  return "";
}

}  // namespace fcc
