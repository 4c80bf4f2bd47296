#include "tools/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "tools/files.h"

namespace fcc {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the data in a file we write, as NumPy does

struct NpyType {
  std::string_view code;  // kind and size, without the byte order
  DType dtype;
};
constexpr NpyType kTypes[] = {
    {"f4", DType::f32}, {"f8", DType::f64}, {"f2", DType::f16}, {"i1", DType::i8},
    {"i2", DType::i16}, {"i4", DType::i32}, {"i8", DType::i64}, {"u1", DType::u8},
    {"u2", DType::u16}, {"u4", DType::u32}, {"u8", DType::u64}, {"b1", DType::boolean},
};

std::string_view numpy_name(DType t) {
  switch (t) {
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "uint16";  // raw bits
    case DType::i8:
      return "int8";
    case DType::i16:
      return "int16";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::u8:
      return "uint8";
    case DType::u16:
      return "uint16";
    case DType::u32:
      return "uint32";
    case DType::u64:
      return "uint64";
    case DType::boolean:
      return "bool";
  }
  FCC_UNREACHABLE("dtype {}", static_cast<int>(t));
}

// The header is a Python dict literal with three known keys; this reads exactly that.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  struct Header {
    std::optional<std::string> descr;
    bool structured = false;
    std::optional<bool> fortran_order;
    std::optional<std::vector<int64_t>> shape;
  };

  std::optional<Header> parse() {
    Header header;
    if (!take('{')) return {};
    while (!take('}')) {
      std::optional<std::string> key = string();
      if (!key || !take(':') || !value(*key, header)) return {};
      if (header.structured) return header;
      take(',');
    }
    return header;
  }

 private:
  bool value(const std::string& key, Header& header) {
    if (key == "descr") {
      skip_space();
      header.structured = rest().starts_with('[');
      return header.structured || (header.descr = string()).has_value();
    }
    if (key == "fortran_order") return (header.fortran_order = boolean()).has_value();
    if (key == "shape") return (header.shape = tuple()).has_value();
    return false;
  }
  std::string_view rest() const { return text_.substr(at_); }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::optional<std::string> string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return {};
    size_t end = text_.find(text_[at_], at_ + 1);
    if (end == text_.npos) return {};
    std::string s(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return s;
  }
  std::optional<bool> boolean() {
    skip_space();
    for (auto [word, value] : {std::pair("True", true), std::pair("False", false)}) {
      if (!rest().starts_with(word)) continue;
      at_ += std::strlen(word);
      return value;
    }
    return {};
  }
  std::optional<std::vector<int64_t>> tuple() {
    if (!take('(')) return {};
    std::vector<int64_t> dims;
    while (!take(')')) {
      std::optional<int64_t> n = number();
      if (!n) return {};
      dims.push_back(*n);
      take(',');
    }
    return dims;
  }
  std::optional<int64_t> number() {
    skip_space();
    size_t start = at_;
    int64_t n = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      n = saturating_add(saturating_multiply(n, 10), text_[at_] - '0');
    if (at_ == start) return {};
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote longs
    return n;
  }

  std::string_view text_;
  size_t at_ = 0;
};

std::unexpected<Diagnostic> bad_file(const std::string& path, std::string_view what, std::string hint = {}) {
  return fail(fmt::format("{}: {}", path, what), {}, std::move(hint));
}

uint32_t little_endian(std::span<const std::byte> bytes) {
  uint32_t n = 0;
  for (size_t i = bytes.size(); i-- > 0;) n = n << 8 | std::to_integer<uint32_t>(bytes[i]);
  return n;
}

struct Split {
  std::string_view header;
  std::span<const std::byte> data;
};

Result<Split> split(std::span<const std::byte> bytes, const std::string& path) {
  auto as_text = [](std::span<const std::byte> b) {
    return std::string_view(reinterpret_cast<const char*>(b.data()), b.size());
  };
  if (bytes.size() < kMagic.size() + 2 || as_text(bytes.first(kMagic.size())) != kMagic) {
    bool zip = as_text(bytes).starts_with("PK");
    return bad_file(
        path, "this is not a .npy file",
        zip ? "an .npz archive holds several arrays; save one with numpy.save" : "write it with numpy.save");
  }
  const int version = std::to_integer<int>(bytes[kMagic.size()]);
  if (version < 1 || version > 3)
    return bad_file(path, fmt::format("this .npy file has version {}, known are 1 to 3", version));
  const size_t prefix = kMagic.size() + 2, length_bytes = version == 1 ? 2 : 4;
  if (bytes.size() < prefix + length_bytes) return bad_file(path, "this .npy file ends inside its header");
  const size_t length = little_endian(bytes.subspan(prefix, length_bytes));
  if (bytes.size() - prefix - length_bytes < length) return bad_file(path, "this .npy file ends inside its header");
  return Split{as_text(bytes.subspan(prefix + length_bytes, length)), bytes.subspan(prefix + length_bytes + length)};
}

Result<DType> dtype_of(std::string_view descr, const std::string& path) {
  std::string_view code = descr;
  if (!code.empty() && std::string_view("<>|=").find(code[0]) != code.npos) code.remove_prefix(1);
  for (const NpyType& t : kTypes) {
    if (t.code == code) return t.dtype;
  }
  if (code.starts_with('O'))
    return bad_file(path, "this .npy file holds pickled Python objects",
                    "save a numeric array: numpy.save(path, numpy.asarray(x, dtype=\"float32\"))");
  return bad_file(path, fmt::format("elements of NumPy type '{}' are not supported", descr),
                  "convert before saving: x.astype(\"float32\")");
}

void swap_bytes(Tensor& t) {
  const int64_t width = byte_size(t.dtype());
  std::byte* data = t.raw();
  for (int64_t i = 0; i < t.elements(); ++i) std::reverse(data + i * width, data + (i + 1) * width);
}

}  // namespace

Result<Tensor> parse_npy(std::span<const std::byte> bytes, const std::string& path) {
  FCC_TRY(Split parts, split(bytes, path));
  std::optional<HeaderParser::Header> header = HeaderParser(parts.header).parse();
  if (!header) return bad_file(path, "the header of this .npy file cannot be read");
  if (header->structured)
    return bad_file(path, "this .npy file holds records, a model takes plain arrays",
                    "save one field: numpy.save(path, x[\"field\"])");
  if (!header->descr || !header->shape || !header->fortran_order)
    return bad_file(path, "the header of this .npy file lacks descr, fortran_order or shape");
  if (*header->fortran_order)
    return bad_file(path, "this array is stored in Fortran order",
                    "save it in C order: numpy.save(path, numpy.ascontiguousarray(x))");
  FCC_TRY(DType dtype, dtype_of(*header->descr, path));

  int64_t wanted = byte_size(dtype);
  bool empty = false;
  for (int64_t d : *header->shape) {
    empty = empty || d == 0;
    wanted = saturating_multiply(wanted, d);
  }
  if (empty) wanted = 0;
  const int64_t have = static_cast<int64_t>(parts.data.size());
  if (have != wanted) {
    return bad_file(path, fmt::format("this .npy file is {}: its header announces {} bytes of data, it has {}",
                                      have < wanted ? "truncated" : "too long", wanted, have));
  }
  Tensor tensor(dtype, *header->shape);
  if (wanted > 0) std::memcpy(tensor.raw(), parts.data.data(), parts.data.size());
  if (header->descr->starts_with('>')) swap_bytes(tensor);
  if (dtype == DType::boolean) {  // NumPy accepts any byte as true; everything behind us counts on 0 or 1
    for (uint8_t& b : tensor.as<uint8_t>()) b = b != 0;
  }
  return tensor;
}

Result<Tensor> read_npy(const std::string& path) {
  FCC_TRY(std::vector<std::byte> bytes, read_file(path));
  return parse_npy(bytes, path);
}

Status write_npy(const std::string& path, const Tensor& tensor) {
  static_assert(std::endian::native == std::endian::little);
  const DType stored = tensor.dtype() == DType::bf16 ? DType::u16 : tensor.dtype();
  const NpyType* type = std::ranges::find(kTypes, stored, &NpyType::dtype);
  FCC_CHECK(type != std::end(kTypes), "no NumPy type for {}", name(stored));
  std::string dims;
  for (int64_t d : tensor.shape()) dims += fmt::format("{}{}", dims.empty() ? "" : ", ", d);
  if (tensor.rank() == 1) dims += ",";
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                                   byte_size(stored) == 1 ? '|' : '<', type->code, dims);
  constexpr size_t kPrefix = 10;  // magic, version, two bytes of length
  header.append(kAlignment - (kPrefix + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  FCC_CHECK(header.size() <= 0xffff, "rank {}", tensor.rank());

  std::string head(kMagic);
  head += {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  head += header;
  const std::array parts = {std::as_bytes(std::span(head)),
                            std::span(tensor.raw(), static_cast<size_t>(tensor.bytes()))};
  return write_file(path, parts);
}

Result<Tensor> as_dtype(const Tensor& tensor, DType wanted, const std::string& path) {
  if (tensor.dtype() == wanted) return tensor;
  if (wanted == DType::bf16 && tensor.dtype() == DType::u16) {
    return Tensor::view(wanted, tensor.shape(), tensor.raw(), std::make_shared<Tensor>(tensor));
  }
  std::string hint = wanted == DType::bf16
                         ? "bfloat16 travels as its raw bits: numpy.save(path, x.view(torch.uint16).numpy())"
                         : fmt::format("convert before saving: numpy.save(path, x.astype(\"{}\"))", numpy_name(wanted));
  return fail(fmt::format("{}: the input wants {}, this array is {}", path, name(wanted), name(tensor.dtype())), {},
              std::move(hint));
}

}  // namespace fcc
