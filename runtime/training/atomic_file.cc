#include "training/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace fcc::runtime {

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

fcc_status AtomicFile::failed(const char* action) const {
  int code = errno;
  const char* hint = code == ENOSPC || code == EDQUOT
                         ? "\n hint: free some space or choose another disk; the old file is "
                           "as it was"
                     : code == ENOENT                  ? "\n hint: the folder does not exist"
                     : code == EACCES || code == EROFS ? "\n hint: choose a folder you may write to"
                                                       : "";
  return fail(FCC_BAD_FILE, "cannot %s %s: %s%s", action, path_.c_str(), std::strerror(code), hint);
}

fcc_status AtomicFile::open() {
  struct stat info;
  if (::stat(path_.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    return failed("write");
  }
  std::string name = path_ + ".XXXXXX";
  fd_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) return failed("write");
  beside_ = std::move(name);
  return FCC_OK;
}

fcc_status AtomicFile::write(const void* data, size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t n = ::write(fd_, p, std::min<size_t>(bytes, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write");
    p += n;
    bytes -= static_cast<size_t>(n);
  }
  return FCC_OK;
}

fcc_status AtomicFile::commit() {
  mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(fd_, 0666 & ~mask) != 0 || ::fsync(fd_) != 0 || ::close(std::exchange(fd_, -1)) != 0 ||
      ::rename(beside_.c_str(), path_.c_str()) != 0)
    return failed("write");
  beside_.clear();
  size_t slash = path_.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  if (int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    ::fsync(fd);  // so that the rename outlives a power cut; some file systems cannot, and the file is good anyway
    ::close(fd);
  }
  return FCC_OK;
}

}  // namespace fcc::runtime
