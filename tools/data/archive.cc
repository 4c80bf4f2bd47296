#include "tools/data/archive.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

namespace fcc {
namespace {

constexpr size_t kLargest = size_t{1} << 34;  // bytes of unpacked data: beyond it the file is a mistake or a bomb

std::unexpected<Diagnostic> bad(const std::string& name, std::string_view what) {
  return fail(fmt::format("{}: {}", name, what), {}, "copy or download the file again");
}

class Inflater {
 public:
  explicit Inflater(int window_bits) { ok_ = inflateInit2(&z_, window_bits) == Z_OK; }
  ~Inflater() {
    if (ok_) inflateEnd(&z_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Appends to `out`; false when the data is damaged or cut short.
  bool run(std::string_view bytes, std::string* out) {
    if (!ok_) return false;
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    size_t left = bytes.size();
    for (int code = Z_OK; code != Z_STREAM_END;) {
      if (z_.avail_in == 0) {
        const size_t n = std::min<size_t>(left, 1u << 30);
        if (n == 0) return false;
        z_.avail_in = static_cast<uInt>(n);
        left -= n;
      }
      char block[1 << 16];
      z_.next_out = reinterpret_cast<Bytef*>(block);
      z_.avail_out = sizeof block;
      code = inflate(&z_, Z_NO_FLUSH);
      if (code != Z_OK && code != Z_STREAM_END) return false;
      out->append(block, sizeof block - z_.avail_out);
      if (out->size() > kLargest) return false;
    }
    rest_ = left + z_.avail_in;
    return true;
  }
  size_t rest() const { return rest_; }  // bytes behind the stream

 private:
  z_stream z_{};
  bool ok_ = false;
  size_t rest_ = 0;
};

uint32_t number(std::string_view bytes, size_t at, size_t width) {
  uint32_t n = 0;
  for (size_t i = width; i-- > 0;) n = n << 8 | static_cast<unsigned char>(bytes[at + i]);
  return n;
}

}  // namespace

Result<std::string> gunzip(std::string_view bytes, const std::string& name) {
  std::string out;
  do {
    Inflater inflater(15 + 16);
    if (!inflater.run(bytes, &out)) return bad(name, "this gzip file is damaged or cut short");
    bytes = bytes.substr(bytes.size() - inflater.rest());
  } while (bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b');
  return out;
}

Result<std::map<std::string, std::string>> read_npz(std::string_view bytes, const std::string& name) {
  constexpr size_t kEnd = 22, kEntry = 46, kLocal = 30;
  const size_t end = bytes.rfind("PK\x05\x06");
  if (end == bytes.npos || bytes.size() - end < kEnd) return bad(name, "this .npz file is cut short");
  const uint32_t count = number(bytes, end + 10, 2);
  size_t at = number(bytes, end + 16, 4);
  std::map<std::string, std::string> members;
  for (uint32_t i = 0; i < count; ++i) {
    if (at > bytes.size() || bytes.size() - at < kEntry || bytes.substr(at, 4) != "PK\x01\x02")
      return bad(name, "this .npz file is damaged, or larger than 4 GiB");
    const uint32_t method = number(bytes, at + 10, 2), packed = number(bytes, at + 20, 4),
                   size = number(bytes, at + 24, 4);
    const size_t name_bytes = number(bytes, at + 28, 2), local = number(bytes, at + 42, 4);
    if (bytes.size() - at - kEntry < name_bytes) return bad(name, "this .npz file is damaged");
    std::string member(bytes.substr(at + kEntry, name_bytes));
    at += kEntry + name_bytes + number(bytes, at + 30, 2) + number(bytes, at + 32, 2);
    if (local > bytes.size() || bytes.size() - local < kLocal) return bad(name, "this .npz file is damaged");
    const size_t data = local + kLocal + number(bytes, local + 26, 2) + number(bytes, local + 28, 2);
    if (data > bytes.size() || packed > bytes.size() - data) return bad(name, "this .npz file is damaged");
    if (member.ends_with(".npy")) member.resize(member.size() - 4);
    std::string& contents = members[member];
    if (method == 0) {
      contents = bytes.substr(data, packed);
    } else if (method != 8 || !Inflater(-15).run(bytes.substr(data, packed), &contents)) {
      return bad(name, fmt::format("member \"{}\" of this .npz file is damaged", member));
    }
    if (contents.size() != size) return bad(name, fmt::format("member \"{}\" of this .npz file is damaged", member));
  }
  return members;
}

}  // namespace fcc
