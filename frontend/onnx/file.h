#pragma once
// Bytes of files named by a user or by a model. A model's own path is the user's wish and may be anything
// readable; a path written inside a model (external data) is not trusted: see ExternalFiles.
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ir/base/diagnostic.h"

namespace fcc {

// A whole regular file in memory, read once so that later changes on disk cannot reach the compiler.
struct FileBytes {
  std::unique_ptr<std::byte[]> data;
  size_t size = 0;
  std::span<const std::byte> span() const { return {data.get(), size}; }
};
// Refuses directories, FIFOs, devices, empty files and anything above `most` bytes.
Result<FileBytes> read_whole_file(const std::string& path, int64_t most);
inline constexpr int64_t kMaxModelBytes = (int64_t{1} << 31) - 1;  // protobuf's limit

std::string base_name(std::string_view path);
std::string directory_of(std::string_view path);  // "." when the path has none

// Files beside the model, opened by the names that its tensors give. Containment: every component is opened
// without following links, nothing leads upwards, the file is regular and has one name. Mapped once, read-only.
class ExternalFiles {
 public:
  explicit ExternalFiles(std::string base_dir) : base_dir_(std::move(base_dir)) {}

  struct File {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> mapping;
    std::string sha1;  // filled when first asked for
  };
  Result<File*> open(std::string_view location);
  const std::string& sha1(File&);

 private:
  std::string base_dir_;  // empty: the model did not come from a file
  std::map<std::string, File, std::less<>> files_;
};

}  // namespace fcc
