// A file that replaces another only when it is complete and on the disk.
//
// Written beside the target under a name of its own, synced, renamed, and the folder synced; whatever fails before the
// rename leaves the old file and removes the new one. A kill may leave PATH.XXXXXX behind, never half a PATH.
#pragma once

#include <string>

#include "error.h"

namespace fcc::runtime {

class AtomicFile {
 public:
  explicit AtomicFile(std::string path) : path_(std::move(path)) {}
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  fcc_status open();
  fcc_status write(const void* data, size_t bytes);
  fcc_status commit();

 private:
  fcc_status failed(const char* action) const;

  std::string path_, beside_;
  int fd_ = -1;
};

}  // namespace fcc::runtime
