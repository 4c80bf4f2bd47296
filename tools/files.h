#pragma once
// Whole files in and out, for the commands: read with a size check first, written beside and renamed.
//
// Lives in tools because only commands touch the user's files this way; the driver and the linker write the
// model itself. Not a general file layer: no appending, no seeking, regular files only.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ir/base/diagnostic.h"

namespace fcc {

// The contents of a regular file; a folder, a device or an unreadable file is refused with a sentence.
Result<std::vector<std::byte>> read_file(const std::string& path);
Result<std::string> read_text_file(const std::string& path);

// Replaces `path` by these parts, one after the other. The old file stays as it was when anything fails.
Status write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);
Status write_text_file(const std::string& path, std::string_view text);

// A new empty folder that is removed with everything in it at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace fcc
