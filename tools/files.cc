#include "tools/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "ir/base/check.h"

namespace fcc {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

std::unexpected<Diagnostic> system_fault(std::string_view action, const std::string& path) {
  return fail(fmt::format("cannot {} {}: {}", action, path, std::strerror(errno)));
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

// Opens for reading and tells the size; only regular files have one.
Result<int64_t> regular_size(const FileDescriptor& file, const std::string& path) {
  struct stat info;
  if (file.get() < 0 || fstat(file.get(), &info) != 0) return system_fault("read", path);
  if (S_ISREG(info.st_mode)) return info.st_size;
  return fail(fmt::format("cannot read {}: it is {}", path, S_ISDIR(info.st_mode) ? "a folder" : "not a regular file"));
}

template <class Buffer>
Result<Buffer> read_into(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  FCC_TRY(int64_t size, regular_size(file, path));
  Buffer buffer;
  buffer.resize(static_cast<size_t>(size));
  for (size_t done = 0; done < buffer.size();) {
    ssize_t n = ::read(file.get(), buffer.data() + done, buffer.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_fault("read", path);
    if (n == 0) return fail(fmt::format("cannot read {}: it became shorter while it was read", path));
    done += static_cast<size_t>(n);
  }
  return buffer;
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path) {
  return read_into<std::vector<std::byte>>(path);
}
Result<std::string> read_text_file(const std::string& path) {
  return read_into<std::string>(path);
}

Status write_file(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  std::string beside = path + ".XXXXXX";
  FileDescriptor file(::mkostemp(beside.data(), O_CLOEXEC));
  if (file.get() < 0) return system_fault("write", path);
  bool good = true;
  for (std::span<const std::byte> part : parts) good = good && write_all(file.get(), part);
  mode_t mask = ::umask(0);
  ::umask(mask);
  good = good && ::fchmod(file.get(), 0666 & ~mask) == 0 && ::fsync(file.get()) == 0 && file.close() == 0 &&
         ::rename(beside.c_str(), path.c_str()) == 0;
  if (good) return {};
  auto fault = system_fault("write", path);
  ::unlink(beside.c_str());
  return fault;
}

Status write_text_file(const std::string& path, std::string_view text) {
  std::span<const std::byte> part = std::as_bytes(std::span(text));
  return write_file(path, std::span(&part, 1));
}

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  std::filesystem::path base = std::filesystem::temp_directory_path(error);
  path_ = (error ? std::filesystem::path("/tmp") : base) / "fcc-XXXXXX";
  if (!::mkdtemp(path_.data()))
    throw std::runtime_error(fmt::format("cannot make the folder {}: {}", path_, std::strerror(errno)));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace fcc
