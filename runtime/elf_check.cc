#include "elf_check.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fcc::runtime {
namespace {

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
constexpr const char* kMachineName = "aarch64";
#endif

struct File {
  int fd;
  explicit File(const char* path) : fd(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  bool read_at(void* to, size_t bytes, uint64_t offset) const {
    return ::pread(fd, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
  }
};

const char* machine_name(unsigned machine) {
  if (machine == EM_X86_64) return "x86-64";
  if (machine == EM_AARCH64) return "aarch64";
  return "another processor";
}

fcc_status not_a_model(const char* path, const char* seen) {
  return fail(FCC_BAD_LIBRARY, "%s is %s, not a compiled model\n hint: compile one with: fcc model.onnx -o model.so",
              path, seen);
}

fcc_status truncated(const char* path, uint64_t wanted, uint64_t bytes) {
  return fail(FCC_BAD_LIBRARY,
              "%s is cut short: its headers describe %llu bytes, the file has %llu\n"
              " hint: copy or compile it again",
              path, static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(bytes));
}

fcc_status check_header(const char* path, const File& file, uint64_t bytes, Elf64_Ehdr* header) {
  if (bytes == 0) return not_a_model(path, "an empty file");
  if (!file.read_at(header, sizeof *header, 0) || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
    bool onnx = std::strlen(path) > 5 && std::strcmp(path + std::strlen(path) - 5, ".onnx") == 0;
    return not_a_model(path, onnx ? "a source model" : "no ELF file");
  }
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != kMachine)
    return fail(FCC_BAD_LIBRARY, "%s was compiled for %s, this program runs on %s\n hint: compile with --target %s",
                path, machine_name(header->e_machine), kMachineName, kMachine == EM_AARCH64 ? "aarch64" : "x86-64-v3");
  if (header->e_type != ET_DYN) return not_a_model(path, "no shared library");
  return FCC_OK;
}

}  // namespace

fcc_status check_elf_file(const char* path) {
  File file(path);
  if (file.fd < 0)
    return fail(errno == ENOENT ? FCC_NOT_FOUND : FCC_BAD_LIBRARY, "cannot open %s: %s", path, std::strerror(errno));
  struct stat info;
  if (::fstat(file.fd, &info) != 0) return fail(FCC_BAD_LIBRARY, "cannot read %s: %s", path, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return not_a_model(path, "a folder");
  if (!S_ISREG(info.st_mode)) return not_a_model(path, "no regular file");

  auto bytes = static_cast<uint64_t>(info.st_size);
  Elf64_Ehdr header;
  FCC_RETURN_IF_FAILED(check_header(path, file, bytes, &header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    uint64_t at = header.e_phoff + uint64_t{i} * header.e_phentsize;
    if (!file.read_at(&segment, sizeof segment, at)) return truncated(path, at + sizeof segment, bytes);
    uint64_t end = segment.p_offset + segment.p_filesz;
    if (segment.p_type == PT_LOAD && (end > bytes || end < segment.p_offset)) return truncated(path, end, bytes);
  }
  return FCC_OK;
}

}  // namespace fcc::runtime
