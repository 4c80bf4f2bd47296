#include "frontend/onnx/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "frontend/digest.h"
#include "frontend/onnx/faults.h"

namespace fcc {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string_view kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISLNK(mode)) return "a symbolic link";
  return "not a regular file";
}

// Fills `out` from the descriptor; false with errno set, or errno 0 when the file ended early.
bool read_fully(int fd, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::read(fd, out.data(), out.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0) errno = 0;
      return false;
    }
    out = out.subspan(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

std::string base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? path : path.substr(slash + 1));
}

std::string directory_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

Result<FileBytes> read_whole_file(const std::string& path, int64_t most) {
  const auto refuse = [&](std::string why, std::string hint = {}) {
    return fail(Diagnostic{.what = quoted(path) + " " + std::move(why),
                           .where = printable(path),
                           .hint = hint.empty() ? "check the path and its permissions" : std::move(hint)});
  };
  if (path.empty() || path.find('\0') != path.npos)
    return fail(
        Diagnostic{.what = "no file name was given", .where = "the command line", .hint = "give the path of a file"});
  // Non-blocking, so that a FIFO without a writer cannot hang the open.
  Fd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  struct stat st {};
  if (!fd.ok() && (errno == ENXIO || errno == EACCES) && ::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    return refuse(fmt::format("is {}, not a file", kind_of(st.st_mode)), "give a regular file");
  if (!fd.ok())
    return refuse(std::string("cannot be read: ") + std::strerror(errno),
                  errno == ENOENT ? "check the spelling of the path" : "");
  if (::fstat(fd.get(), &st) != 0) return refuse(std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(st.st_mode))
    return refuse(fmt::format("is {}, not a file", kind_of(st.st_mode)),
                  S_ISDIR(st.st_mode) ? "give the file inside it" : "give a regular file");
  if (st.st_size == 0) return refuse("is empty", "the export or the download may have failed");
  if (st.st_size > most)
    return refuse(fmt::format("has {} bytes; at most {} are possible", st.st_size, most),
                  "save the weights beside the model: onnx.save_model(model, path, save_as_external_data=True)");
  const auto size = static_cast<size_t>(st.st_size);
  FileBytes bytes{std::make_unique_for_overwrite<std::byte[]>(size), size};
  if (!read_fully(fd.get(), {bytes.data.get(), size}))
    return errno ? refuse(std::string("cannot be read: ") + std::strerror(errno))
                 : refuse("became shorter while it was read", "wait until it has been written completely");
  std::byte extra;
  if (::read(fd.get(), &extra, 1) == 1)
    return refuse("grew while it was read", "wait until it has been written completely");
  return bytes;
}

// ---- external data --------------------------------------------------------------------------------------

static std::unexpected<Diagnostic> refuse_location(std::string_view location, std::string why, std::string hint = {}) {
  return fail("external data " + quoted(location) + " " + std::move(why), {}, std::move(hint));
}

// The components of a relative path that stays below its base, or a refusal.
static Result<std::vector<std::string>> components(std::string_view location) {
  const auto refuse = [&](std::string why) {
    return refuse_location(location, std::move(why),
                           "the location must be a plain relative path below the model's folder");
  };
  if (location.empty()) return refuse("has an empty location");
  if (location.size() > 4096) return refuse("has a location of more than 4096 bytes");
  if (location.find('\0') != location.npos) return refuse("contains a NUL byte");
  if (location.front() == '/' || location.front() == '\\') return refuse("is an absolute path");
  if (location.find("://") != location.npos) return refuse("is a URL");
  if (location.size() > 1 && location[1] == ':') return refuse("is an absolute path");
  if (location.find('\\') != location.npos) return refuse("contains a backslash");
  std::vector<std::string> parts;
  for (size_t start = 0; start <= location.size();) {
    const size_t end = std::min(location.find('/', start), location.size());
    const std::string_view part = location.substr(start, end - start);
    if (part == "..") return refuse("leads out of the model's folder");
    if (part.empty()) return refuse("has an empty path component");
    if (part != ".") parts.emplace_back(part);
    start = end + 1;
  }
  if (parts.empty()) return refuse("names a directory");
  return parts;
}

static constexpr auto kBeside = "the weights must lie beside the model, as they were exported";

static Result<Fd> open_beneath(const std::string& base, std::string_view location) {
  FCC_TRY(const std::vector<std::string> parts, components(location));
  Fd dir(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok())
    return refuse_location(location,
                           fmt::format("cannot be opened: the folder {}: {}", quoted(base), std::strerror(errno)));
  const auto link_hint = "copy the file itself to the model's folder";
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    Fd next(::openat(dir.get(), parts[i].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.ok() && (errno == ELOOP || errno == ENOTDIR)) {
      struct stat st {};
      if (::fstatat(dir.get(), parts[i].c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return refuse_location(location, fmt::format("goes through the symbolic link {}", quoted(parts[i])), link_hint);
      return refuse_location(location, fmt::format("goes through {}, which is no folder", quoted(parts[i])),
                             "correct the location");
    }
    if (!next.ok()) return refuse_location(location, std::string("cannot be opened: ") + std::strerror(errno), kBeside);
    dir = std::move(next);
  }
  Fd file(::openat(dir.get(), parts.back().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!file.ok() && errno == ELOOP) return refuse_location(location, "is a symbolic link", link_hint);
  if (!file.ok() && errno == ENXIO) return refuse_location(location, "is not a regular file", "name a regular file");
  if (!file.ok()) return refuse_location(location, std::string("cannot be opened: ") + std::strerror(errno), kBeside);
  return file;
}

Result<ExternalFiles::File*> ExternalFiles::open(std::string_view location) {
  static constexpr size_t kMaxFiles = 10'000;
  if (auto it = files_.find(location); it != files_.end()) return &it->second;
  if (base_dir_.empty())
    return refuse_location(location, "cannot be found: the model did not come from a file",
                           "import it by its path, or embed the weights");
  if (files_.size() >= kMaxFiles)
    return refuse_location(location, fmt::format("is one of more than {} files", kMaxFiles),
                           "save all weights in one file");
  FCC_TRY(Fd fd, open_beneath(base_dir_, location));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0)
    return refuse_location(location, std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(st.st_mode))
    return refuse_location(location, fmt::format("is {}, not a file", kind_of(st.st_mode)), "name a regular file");
  if (st.st_nlink > 1)
    return refuse_location(location, fmt::format("is a hard link ({} names)", st.st_nlink),
                           "copy the file, so that it has one name only");
  File file;
  if (st.st_size > 0) {
    const auto size = static_cast<size_t>(st.st_size);
    void* p = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (p == MAP_FAILED) return refuse_location(location, std::string("cannot be mapped: ") + std::strerror(errno));
    file.mapping = std::shared_ptr<const void>(p, [size](const void* q) { ::munmap(const_cast<void*>(q), size); });
    file.bytes = {static_cast<const std::byte*>(p), size};
  }
  return &files_.emplace(std::string(location), std::move(file)).first->second;
}

const std::string& ExternalFiles::sha1(File& f) {
  if (f.sha1.empty()) f.sha1 = sha1_hex(f.bytes);
  return f.sha1;
}

}  // namespace fcc
