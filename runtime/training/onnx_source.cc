#include "training/onnx_source.h"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "training/atomic_file.h"

namespace fcc::runtime {
namespace {

struct Header {
  char magic[8];
  uint32_t gaps, reserved;
  uint64_t names_bytes, skeleton_bytes;
};
struct Gap {
  uint64_t at, bytes, name_at, name_bytes;
};
constexpr char kMagic[] = "FCCSRC1\n";
constexpr size_t kHashBytes = 64;

class ModelFile {
 public:
  explicit ModelFile(const char* path) : fd_(::open(path, O_RDONLY | O_CLOEXEC)) {}
  ~ModelFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool read(void* to, uint64_t bytes, uint64_t offset) const {
    return ::pread(fd_, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
  }
  // Where a section lies; false when there is none.
  bool find_section(const char* wanted, uint64_t* offset, uint64_t* bytes) const {
    Elf64_Ehdr header;
    Elf64_Shdr names, section;
    if (!read(&header, sizeof header, 0) || header.e_shentsize != sizeof section ||
        !read(&names, sizeof names, header.e_shoff + header.e_shstrndx * sizeof names))
      return false;
    for (unsigned i = 0; i < header.e_shnum; ++i) {
      char name[16] = {};
      if (!read(&section, sizeof section, header.e_shoff + i * sizeof section)) return false;
      if (!read(name, std::strlen(wanted) + 1, names.sh_offset + section.sh_name)) continue;
      if (std::strcmp(name, wanted) != 0) continue;
      *offset = section.sh_offset;
      *bytes = section.sh_size;
      return true;
    }
    return false;
  }

 private:
  int fd_;
};

fcc_status damaged(const std::string& path) {
  return fail(FCC_BAD_LIBRARY, "the source model inside %s is damaged\n hint: compile it again with: fcc train",
              path.c_str());
}

// Copies [from, to) of the model file.
fcc_status copy_bytes(const ModelFile& model, uint64_t from, uint64_t to, AtomicFile* out, const std::string& path) {
  std::vector<char> block(std::min<uint64_t>(to - from, uint64_t{1} << 20));
  while (from < to) {
    uint64_t n = std::min<uint64_t>(to - from, block.size());
    if (!model.read(block.data(), n, from)) return damaged(path);
    FCC_RETURN_IF_FAILED(out->write(block.data(), n));
    from += n;
  }
  return FCC_OK;
}

}  // namespace

fcc_status export_onnx(const std::string& model_path, const char* source_hash, const GapValue& value,
                       const char* output_path) {
  ModelFile model(model_path.c_str());
  uint64_t at = 0, bytes = 0;
  if (!model.find_section(".fcc_source", &at, &bytes))
    return fail(FCC_NOT_FOUND,
                "%s holds no source model to export\n hint: models made by fcc train do, when they are loaded from "
                "their file; else save a checkpoint and use: fcc export net.so run.safetensors -o trained.onnx",
                model_path.c_str());
  Header header;
  if (bytes < sizeof header || !model.read(&header, sizeof header, at) || std::memcmp(header.magic, kMagic, 8) != 0)
    return damaged(model_path);
  uint64_t gaps_bytes = header.gaps * uint64_t{sizeof(Gap)};
  uint64_t rest = bytes - sizeof header;
  if (gaps_bytes + kHashBytes > rest || header.names_bytes > rest || header.skeleton_bytes > rest ||
      gaps_bytes + kHashBytes + header.names_bytes + header.skeleton_bytes > rest)
    return damaged(model_path);
  std::vector<Gap> gaps(header.gaps);
  std::string hash(kHashBytes, '\0'), names(header.names_bytes, '\0');
  uint64_t gaps_at = at + sizeof header, hash_at = gaps_at + gaps_bytes, names_at = hash_at + kHashBytes;
  if (!model.read(gaps.data(), gaps_bytes, gaps_at) || !model.read(hash.data(), kHashBytes, hash_at) ||
      !model.read(names.data(), names.size(), names_at))
    return damaged(model_path);
  if (hash != source_hash)
    return fail(FCC_BAD_LIBRARY, "%s was replaced by another model since it was loaded\n hint: export before that",
                model_path.c_str());

  AtomicFile out(output_path);
  FCC_RETURN_IF_FAILED(out.open());
  uint64_t skeleton = names_at + names.size(), done = 0;
  for (const Gap& gap : gaps) {
    bool sound = gap.at >= done && gap.at <= header.skeleton_bytes && gap.name_at <= names.size() &&
                 gap.name_bytes <= names.size() - gap.name_at;
    if (!sound) return damaged(model_path);
    FCC_RETURN_IF_FAILED(copy_bytes(model, skeleton + done, skeleton + gap.at, &out, model_path));
    const void* data = value(names.substr(gap.name_at, gap.name_bytes), static_cast<int64_t>(gap.bytes));
    if (data == nullptr) return damaged(model_path);
    FCC_RETURN_IF_FAILED(out.write(data, gap.bytes));
    done = gap.at;
  }
  FCC_RETURN_IF_FAILED(copy_bytes(model, skeleton + done, skeleton + header.skeleton_bytes, &out, model_path));
  return out.commit();
}

}  // namespace fcc::runtime
