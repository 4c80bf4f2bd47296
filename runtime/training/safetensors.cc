#include "training/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "binding.h"
#include "text.h"
#include "training/atomic_file.h"
#include "training/json.h"

namespace fcc::runtime {
namespace {

constexpr uint64_t kLargestHeader = 100'000'000;  // as the reference implementation

struct DtypeName {
  const char* name;
  uint32_t dtype;
};
constexpr DtypeName kNames[] = {{"F32", FCC_F32},  {"F64", FCC_F64}, {"F16", FCC_F16}, {"BF16", FCC_BF16},
                                {"I8", FCC_I8},    {"I16", FCC_I16}, {"I32", FCC_I32}, {"I64", FCC_I64},
                                {"U8", FCC_U8},    {"U16", FCC_U16}, {"U32", FCC_U32}, {"U64", FCC_U64},
                                {"BOOL", FCC_BOOL}};

class InputFile {
 public:
  explicit InputFile(const char* path) : path_(path), fd_(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  fcc_status size(uint64_t* bytes) const {
    struct stat info;
    if (fd_ < 0 || ::fstat(fd_, &info) != 0)
      return fail(errno == ENOENT ? FCC_NOT_FOUND : FCC_BAD_FILE, "cannot open %s: %s", path_, std::strerror(errno));
    if (!S_ISREG(info.st_mode)) return fail(FCC_BAD_FILE, "%s is not a regular file", path_);
    *bytes = static_cast<uint64_t>(info.st_size);
    return FCC_OK;
  }
  fcc_status read(void* to, size_t bytes) const {
    char* p = static_cast<char*>(to);
    while (bytes > 0) {
      ssize_t n = ::read(fd_, p, std::min<size_t>(bytes, size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(FCC_BAD_FILE, "cannot read %s: %s", path_, std::strerror(errno));
      if (n == 0) return fail(FCC_BAD_FILE, "cannot read %s: it became shorter while it was read", path_);
      p += n;
      bytes -= static_cast<size_t>(n);
    }
    return FCC_OK;
  }

 private:
  const char* path_;
  int fd_;
};

fcc_status malformed(const char* path, const std::string& what) {
  return fail(FCC_BAD_FILE, "%s is no sound safetensors file: %s\n hint: copy it again, or use an older checkpoint",
              path, what.c_str());
}

// One entry of the header, without its place.
fcc_status read_tensor_row(const char* path, const std::string& name, const Json& row, SavedTensor* tensor,
                           uint64_t* begin, uint64_t* end) {
  const Json *dtype = row.find("dtype"), *shape = row.find("shape"), *offsets = row.find("data_offsets");
  auto wrong = [&](const char* what) { return malformed(path, "tensor " + json_quoted(name) + " " + what); };
  if (!row.is(Json::Kind::object) || !dtype || !shape || !offsets || row.members.size() != 3)
    return wrong("must have dtype, shape and data_offsets, and nothing else");
  tensor->name = name;
  for (const DtypeName& known : kNames)
    if (dtype->is(Json::Kind::string) && dtype->string == known.name) tensor->dtype = known.dtype;
  if (tensor->dtype == 0) return wrong("has an unknown dtype");
  if (!shape->is(Json::Kind::array)) return wrong("has a shape that is no list");
  for (const Json& dim : shape->elements) {
    if (!dim.is(Json::Kind::integer) || dim.integer < 0) return wrong("has a shape that is no list of sizes");
    tensor->dims.push_back(dim.integer);
  }
  if (!offsets->is(Json::Kind::array) || offsets->elements.size() != 2 ||
      !offsets->elements[0].is(Json::Kind::integer) || !offsets->elements[1].is(Json::Kind::integer) ||
      offsets->elements[0].integer < 0 || offsets->elements[1].integer < offsets->elements[0].integer)
    return wrong("has data_offsets that are no pair of rising numbers");
  *begin = static_cast<uint64_t>(offsets->elements[0].integer);
  *end = static_cast<uint64_t>(offsets->elements[1].integer);
  if (!dense_bytes(tensor->dtype, static_cast<uint32_t>(tensor->dims.size()), tensor->dims.data(), &tensor->bytes) ||
      static_cast<uint64_t>(tensor->bytes) != *end - *begin)
    return wrong("has data_offsets that do not fit its shape");
  return FCC_OK;
}

fcc_status read_rows(const char* path, const Json& header, uint64_t data_bytes, TensorFile* file) {
  struct Place {
    uint64_t begin, end;
    size_t tensor;
  };
  std::vector<Place> places;
  for (const auto& [name, row] : header.members) {
    if (name == "__metadata__") {
      for (const auto& [key, text] : row.members) {
        if (!text.is(Json::Kind::string)) return malformed(path, "its __metadata__ holds something else than texts");
        file->metadata[key] = text.string;
      }
      continue;
    }
    Place place{0, 0, file->tensors.size()};
    FCC_RETURN_IF_FAILED(read_tensor_row(path, name, row, &file->tensors.emplace_back(), &place.begin, &place.end));
    places.push_back(place);
  }
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  uint64_t at = 0;
  for (const Place& place : places) {
    SavedTensor& tensor = file->tensors[place.tensor];
    if (place.begin != at)
      return malformed(
          path, std::string(place.begin < at ? "an overlap" : "a hole") + " before tensor " + json_quoted(tensor.name));
    at = place.end;
    tensor.data = file->memory.data() + place.begin;
  }
  if (at != data_bytes)
    return malformed(
        path, "its header describes " + std::to_string(at) + " bytes of data, it has " + std::to_string(data_bytes));
  return FCC_OK;
}

}  // namespace

const SavedTensor* TensorFile::find(const std::string& name) const {
  for (const SavedTensor& tensor : tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

const std::string* TensorFile::text(const std::string& key) const {
  auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

fcc_status read_tensor_file(const char* path, TensorFile* file) {
  InputFile in(path);
  uint64_t bytes = 0, header_bytes = 0;
  FCC_RETURN_IF_FAILED(in.size(&bytes));
  if (bytes < 8) return malformed(path, "it has " + std::to_string(bytes) + " bytes");
  unsigned char prefix[8];
  FCC_RETURN_IF_FAILED(in.read(prefix, 8));
  for (int i = 8; i-- > 0;) header_bytes = header_bytes << 8 | prefix[i];
  if (header_bytes > kLargestHeader || header_bytes < 2)
    return malformed(path, "its header would have " + std::to_string(header_bytes) + " bytes");
  if (header_bytes > bytes - 8) return malformed(path, "it ends inside its header");
  std::string text(header_bytes, '\0'), why;
  FCC_RETURN_IF_FAILED(in.read(text.data(), text.size()));
  Json header;
  if (text[0] != '{') return malformed(path, "its header is no JSON object");
  if (!parse_json(text, &header, &why)) return malformed(path, "its header is no JSON: " + why);
  uint64_t data_bytes = bytes - 8 - header_bytes;
  file->memory.ensure(static_cast<int64_t>(data_bytes) + 1);
  FCC_RETURN_IF_FAILED(read_rows(path, header, data_bytes, file));
  return in.read(file->memory.data(), data_bytes);
}

fcc_status write_tensor_file(const char* path, const std::vector<SavedTensor>& tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::vector<const SavedTensor*> order;
  for (const SavedTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const SavedTensor* a, const SavedTensor* b) {
    return dtype_bytes(a->dtype) > dtype_bytes(b->dtype);
  });
  std::string header = "{\"__metadata__\":{";
  for (const auto& [key, text] : metadata)
    header += (header.back() == '{' ? "" : ",") + json_quoted(key) + ":" + json_quoted(text);
  header += "}";
  int64_t at = 0;
  for (const SavedTensor* tensor : order) {
    const char* dtype = "?";
    for (const DtypeName& known : kNames)
      if (known.dtype == tensor->dtype) dtype = known.name;
    header += "," + json_quoted(tensor->name) + ":{\"dtype\":\"" + dtype + "\",\"shape\":[";
    for (size_t i = 0; i < tensor->dims.size(); ++i) header += (i ? "," : "") + std::to_string(tensor->dims[i]);
    header += "],\"data_offsets\":[" + std::to_string(at) + ",";
    at += tensor->bytes;
    header += std::to_string(at) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');  // the data starts at a multiple of 8, as others write it

  unsigned char prefix[8];
  for (size_t i = 0; i < 8; ++i) prefix[i] = static_cast<unsigned char>(uint64_t{header.size()} >> 8 * i);
  AtomicFile file(path);
  FCC_RETURN_IF_FAILED(file.open());
  FCC_RETURN_IF_FAILED(file.write(prefix, 8));
  FCC_RETURN_IF_FAILED(file.write(header.data(), header.size()));
  for (const SavedTensor* tensor : order)
    FCC_RETURN_IF_FAILED(file.write(tensor->data, static_cast<size_t>(tensor->bytes)));
  return file.commit();
}

uint64_t tensor_hash(const SavedTensor& tensor) {
  uint64_t h = 0x9E3779B97F4A7C15u;
  auto mix = [&h](uint64_t word) {
    h = (h ^ word) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  };
  auto mix_bytes = [&mix](const void* data, size_t bytes) {
    const char* p = static_cast<const char*>(data);
    for (; bytes >= 8; bytes -= 8, p += 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      mix(word);
    }
    uint64_t rest = bytes;
    std::memcpy(reinterpret_cast<char*>(&rest) + 1, p, bytes);
    mix(rest);
  };
  mix_bytes(tensor.name.data(), tensor.name.size());
  mix(tensor.dtype);
  for (int64_t dim : tensor.dims) mix(static_cast<uint64_t>(dim));
  mix_bytes(tensor.data, static_cast<size_t>(tensor.bytes));
  return h;
}

}  // namespace fcc::runtime
