#include "frontend/onnx/tensor_proto.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "frontend/onnx/faults.h"

namespace fcc {
namespace {

using onnx::TensorProto;

constexpr int64_t kMaxRank = 16;
constexpr auto kDamaged = "the file is damaged or was written wrongly";

// Elements of a shape; refuses negative extents, too many axes and products beyond any memory.
Result<int64_t> count_elements(const google::protobuf::RepeatedField<int64_t>& dims, int64_t bits,
                               const std::string& what) {
  if (dims.size() > kMaxRank)
    return fail(fmt::format("{} has rank {}; at most {} is supported", what, dims.size(), kMaxRank), {},
                "remove axes of extent 1");
  int64_t n = 1, padded = 1;
  for (int64_t d : dims) {
    if (d < 0) return fail(fmt::format("{} has the negative extent {}", what, d), {}, kDamaged);
    n = saturating_multiply(n, d);
    padded = saturating_multiply(padded, std::max<int64_t>(d, 1));
  }
  if (saturating_multiply(padded, std::max<int64_t>(bits, 1)) / 8 > kMaxTensorBytes)
    return fail(fmt::format("{} of shape [{}] is too large", what, fmt::join(dims, ",")), {},
                "no tensor may exceed 64 TiB");
  return n;
}

std::string_view field_name(DType t) {
  switch (t) {
    case DType::f32:
      return "float_data";
    case DType::f64:
      return "double_data";
    case DType::i64:
      return "int64_data";
    case DType::u32:
    case DType::u64:
      return "uint64_data";
    default:
      return "int32_data";
  }
}

struct TypedField {
  std::string_view name;
  int64_t size;
};
std::vector<TypedField> filled_fields(const TensorProto& t) {
  std::vector<TypedField> all = {{"float_data", t.float_data_size()},   {"int32_data", t.int32_data_size()},
                                 {"string_data", t.string_data_size()}, {"int64_data", t.int64_data_size()},
                                 {"double_data", t.double_data_size()}, {"uint64_data", t.uint64_data_size()}};
  std::erase_if(all, [](const TypedField& f) { return f.size == 0; });
  return all;
}

template <class To, class From>
bool narrow(const google::protobuf::RepeatedField<From>& from, Tensor& to, int64_t* bad) {
  auto out = to.as<To>();
  for (int i = 0; i < from.size(); ++i) {
    const From v = from[i];
    out[static_cast<size_t>(i)] = static_cast<To>(v);
    if constexpr (!std::is_same_v<To, From>) {
      if (static_cast<From>(static_cast<To>(v)) != v) {
        *bad = static_cast<int64_t>(v);
        return false;
      }
    }
  }
  return true;
}

bool copy_typed(const TensorProto& t, Tensor& out, int64_t* bad) {
  switch (out.dtype()) {
    case DType::f32:
      return narrow<float>(t.float_data(), out, bad);
    case DType::f64:
      return narrow<double>(t.double_data(), out, bad);
    case DType::i64:
      return narrow<int64_t>(t.int64_data(), out, bad);
    case DType::u64:
      return narrow<uint64_t>(t.uint64_data(), out, bad);
    case DType::u32:
      return narrow<uint32_t>(t.uint64_data(), out, bad);
    case DType::i32:
      return narrow<int32_t>(t.int32_data(), out, bad);
    case DType::i16:
      return narrow<int16_t>(t.int32_data(), out, bad);
    case DType::i8:
      return narrow<int8_t>(t.int32_data(), out, bad);
    case DType::boolean:
    case DType::u8:
      return narrow<uint8_t>(t.int32_data(), out, bad);
    case DType::u16:
    case DType::f16:
    case DType::bf16:
      return narrow<uint16_t>(t.int32_data(), out, bad);  // the bits of a 16-bit float
  }
  return false;
}

// bool is 0 or 1 everywhere in fcc, whatever a file holds.
Tensor with_clean_bools(Tensor t) {
  if (t.dtype() != DType::boolean) return t;
  Tensor clean(DType::boolean, t.shape());
  const auto in = t.as<uint8_t>();
  auto out = clean.as<uint8_t>();
  for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] != 0;
  return clean;
}

Tensor copy_bytes(DType dtype, std::vector<int64_t> shape, const void* bytes, int64_t n) {
  Tensor t(dtype, std::move(shape));
  if (n > 0) std::memcpy(t.raw(), bytes, static_cast<size_t>(n));
  return with_clean_bools(std::move(t));
}

struct Header {
  DType dtype;
  std::vector<int64_t> shape;
  int64_t elements;
};

// What holds for all storage forms: known type, sane shape, no segments, one storage form only.
Result<Header> check_header(const TensorProto& t, const std::string& what) {
  if (auto d = unsupported_dtype(t.data_type(), what)) return fail(std::move(*d));
  Header h{*dtype_from_onnx(t.data_type()), {t.dims().begin(), t.dims().end()}, 0};
  FCC_TRY(h.elements, count_elements(t.dims(), byte_size(h.dtype) * 8, what));
  if (t.has_segment())
    return fail(what + " is stored in segments, which no ONNX release defines", {}, "store it whole");
  return h;
}

Status check_one_form(const TensorProto& t, const Header& h, const std::string& what) {
  const std::vector<TypedField> typed = filled_fields(t);
  const bool outside = t.data_location() == TensorProto::EXTERNAL;
  if (outside && (!t.raw_data().empty() || !typed.empty()))
    return fail(what + " has data both inside the file and outside", {}, "keep one of the two");
  if (!outside && t.external_data_size() > 0)
    return fail(what + " names external data, but its data_location is not EXTERNAL", {},
                "set data_location to EXTERNAL");
  if (!t.raw_data().empty() && !typed.empty())
    return fail(fmt::format("{} has data twice: raw_data and {}", what, typed[0].name), {}, "keep one of the two");
  if (typed.size() > 1)
    return fail(fmt::format("{} has data twice: {} and {}", what, typed[0].name, typed[1].name), {},
                "keep one of the two");
  if (!typed.empty() && typed[0].name != field_name(h.dtype))
    return fail(fmt::format("{} keeps its {} elements in {}", what, onnx_dtype_name(t.data_type()), typed[0].name), {},
                fmt::format("{} belongs in {} or raw_data", onnx_dtype_name(t.data_type()), field_name(h.dtype)));
  return {};
}

std::unexpected<Diagnostic> wrong_size(const TensorProto& t, const std::string& what, int64_t want, int64_t have,
                                       std::string_view unit) {
  return fail(fmt::format("{} needs {} {}, the file holds {}", what, want, unit, have),
              fmt::format("{}[{}]", onnx_dtype_name(t.data_type()), fmt::join(t.dims(), ",")), kDamaged);
}

}  // namespace

std::optional<Diagnostic> unsupported_dtype(int64_t number, const std::string& what) {
  if (dtype_from_onnx(number)) return std::nullopt;
  if (number == 0) return Diagnostic{.what = what + " has no element type", .hint = "set its data_type"};
  if (number < 0 || onnx_dtype_name(number).starts_with("type "))
    return Diagnostic{.what = fmt::format("{} has element type {}, which does not exist", what, number),
                      .hint = "ONNX has element types 1 to 26"};
  return Diagnostic{
      .what = fmt::format("{} has element type {}, which is not supported", what, onnx_dtype_name(number)),
      .hint = "supported: float double float16 bfloat16 bool and the integers of 8 to 64 bits"};
}

Status TensorReader::check_size(const TensorProto& t, const std::string& what) {
  const int64_t bits = onnx_dtype_bits(t.data_type());
  FCC_TRY(const int64_t n, count_elements(t.dims(), bits, what));
  if (bits == 0 || t.raw_data().empty()) return {};
  const int64_t want = (saturating_multiply(n, bits) + 7) / 8;
  if (static_cast<int64_t>(t.raw_data().size()) != want)
    return wrong_size(t, what, want, static_cast<int64_t>(t.raw_data().size()), "bytes");
  return {};
}

Result<Tensor> TensorReader::read(const TensorProto& t, const std::string& what) {
  FCC_TRY(Header h, check_header(t, what));
  FCC_CHECKED(check_one_form(t, h, what));
  if (t.data_location() == TensorProto::EXTERNAL) return external(t, h.dtype, std::move(h.shape), what);
  const std::vector<TypedField> typed = filled_fields(t);
  if (!typed.empty()) {
    if (typed[0].size != h.elements) return wrong_size(t, what, h.elements, typed[0].size, "elements");
    Tensor out(h.dtype, std::move(h.shape));
    int64_t bad = 0;
    if (!copy_typed(t, out, &bad))
      return fail(fmt::format("{} holds {}, which does not fit into {}", what, bad, onnx_dtype_name(t.data_type())), {},
                  kDamaged);
    return with_clean_bools(std::move(out));
  }
  const int64_t want = h.elements * byte_size(h.dtype), have = static_cast<int64_t>(t.raw_data().size());
  if (want != have) return wrong_size(t, what, want, have, "bytes");
  return copy_bytes(h.dtype, std::move(h.shape), t.raw_data().data(), have);
}

Result<Tensor> TensorReader::take(TensorProto& t, const std::string& what) {
  static constexpr size_t kWorthTaking = 4096;  // a string this long lives on the heap, aligned for every dtype
  if (t.raw_data().size() < kWorthTaking || t.data_type() == TensorProto::BOOL) return read(t, what);
  FCC_TRY(Header h, check_header(t, what));
  FCC_CHECKED(check_one_form(t, h, what));
  const int64_t want = h.elements * byte_size(h.dtype), have = static_cast<int64_t>(t.raw_data().size());
  if (want != have) return wrong_size(t, what, want, have, "bytes");
  std::shared_ptr<const std::string> owner(t.release_raw_data());
  const auto* bytes = reinterpret_cast<const std::byte*>(owner->data());
  return Tensor::view(h.dtype, std::move(h.shape), bytes, std::move(owner));
}

// ---- external data --------------------------------------------------------------------------------------

namespace {

struct ExternalEntry {
  std::string_view location, offset, length, checksum;
};

Result<ExternalEntry> external_entry(const TensorProto& t, const std::string& what) {
  ExternalEntry e;
  for (const auto& kv : t.external_data()) {
    std::string_view ExternalEntry::*slot = nullptr;
    if (kv.key() == "location") slot = &ExternalEntry::location;
    if (kv.key() == "offset") slot = &ExternalEntry::offset;
    if (kv.key() == "length") slot = &ExternalEntry::length;
    if (kv.key() == "checksum") slot = &ExternalEntry::checksum;
    if (!slot)
      return fail(fmt::format("{} has the unknown external data key {}", what, quoted(kv.key())), {},
                  "known: location offset length checksum");
    if ((e.*slot).data())
      return fail(fmt::format("{} has the external data key {} twice", what, quoted(kv.key())), {}, "give it once");
    e.*slot = kv.value();
  }
  if (!e.location.data())
    return fail(what + " has external data without a location", {}, "name the file that holds its bytes");
  return e;
}

Result<int64_t> external_number(std::string_view text, std::string_view key, int64_t otherwise,
                                const std::string& what) {
  if (!text.data()) return otherwise;
  int64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size() || v < 0)
    return fail(fmt::format("{} has the external data {} {}", what, key, quoted(text)), {},
                "it must be a number of bytes, 0 or more");
  return v;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

Result<Tensor> TensorReader::external(const TensorProto& t, DType dtype, std::vector<int64_t> shape,
                                      const std::string& what) {
  const auto prefixed = [&](Diagnostic d) {
    d.what = what + ": " + d.what;
    return std::unexpected(std::move(d));
  };
  FCC_TRY(const ExternalEntry e, external_entry(t, what));
  FCC_TRY(const int64_t offset, external_number(e.offset, "offset", 0, what));
  const int64_t want = product(shape) * byte_size(dtype);
  FCC_TRY(const int64_t length, external_number(e.length, "length", want, what));
  if (length != want)
    return fail(fmt::format("{} needs {} bytes, its external data length is {}", what, want, length),
                fmt::format("{}[{}]", onnx_dtype_name(t.data_type()), fmt::join(t.dims(), ",")),
                "length must be extents times element size");
  Result<ExternalFiles::File*> opened = files_.open(e.location);
  if (!opened) return prefixed(std::move(opened).error());
  ExternalFiles::File& file = **opened;
  const auto size = static_cast<int64_t>(file.bytes.size());
  if (offset > size || length > size - offset)
    return fail(fmt::format("{} reaches beyond the end of {}", what, quoted(e.location)),
                fmt::format("offset {}, length {}, the file has {} bytes", offset, length, size),
                "the weights file is cut off or belongs to another model");
  if (e.checksum.data() && !same_ignoring_case(e.checksum, files_.sha1(file)))
    return fail(fmt::format("{}: {} does not have the checksum that the model gives", what, quoted(e.location)),
                fmt::format("seen {}, expected {}", files_.sha1(file), printable(e.checksum)),
                "the weights file was changed or belongs to another model");
  if (length == 0) return Tensor(dtype, std::move(shape));
  ranges_.push_back({&file, offset, offset + length, what});
  const std::byte* bytes = file.bytes.data() + offset;
  // A view needs the element's alignment; 4 KiB is the size below which a copy costs less than a reference.
  if (dtype == DType::boolean || length < 4096 ||
      reinterpret_cast<uintptr_t>(bytes) % static_cast<uintptr_t>(byte_size(dtype)) != 0)
    return copy_bytes(dtype, std::move(shape), bytes, length);
  return Tensor::view(dtype, std::move(shape), bytes, file.mapping);
}

Status TensorReader::finish() {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) {
    return std::tie(a.file, a.begin, a.end) < std::tie(b.file, b.begin, b.end);
  });
  for (size_t i = 1; i < ranges_.size(); ++i) {
    const Range &a = ranges_[i - 1], &b = ranges_[i];
    const bool shared = a.begin == b.begin && a.end == b.end;  // tied weights
    if (a.file == b.file && b.begin < a.end && !shared)
      return fail(fmt::format("{} and {} overlap in part in their external file", a.what, b.what),
                  fmt::format("bytes {}..{} and {}..{}", a.begin, a.end, b.begin, b.end),
                  "the offsets are wrong; save the model again");
  }
  return {};
}

// ---- sparse ---------------------------------------------------------------------------------------------

namespace {

// Positions of the elements in the dense tensor, from COO indices of shape [nnz] or [nnz, rank].
Result<std::vector<int64_t>> sparse_positions(const Tensor& indices, const std::vector<int64_t>& shape, int64_t nnz,
                                              const std::string& what) {
  const auto rank = static_cast<int64_t>(shape.size()), total = product(shape);
  const bool linear = indices.rank() == 1 && indices.shape()[0] == nnz;
  const bool tuples = indices.rank() == 2 && indices.shape()[0] == nnz && indices.shape()[1] == rank;
  if (indices.dtype() != DType::i64 || (!linear && !tuples))
    return fail(
        fmt::format("{} has indices {}; expected i64[{}] or i64[{},{}]", what, indices.type().text(), nnz, nnz, rank),
        {}, kDamaged);
  const std::span<const int64_t> v = indices.as<int64_t>();
  std::vector<int64_t> out;
  for (int64_t i = 0; i < nnz; ++i) {
    int64_t flat = linear ? v[static_cast<size_t>(i)] : 0;
    if (flat < 0 || (linear && flat >= total))
      return fail(fmt::format("{}: index {} is out of range for {} elements", what, flat, total), {}, kDamaged);
    for (int64_t d = 0; tuples && d < rank; ++d) {
      const int64_t x = v[static_cast<size_t>(i * rank + d)], extent = shape[static_cast<size_t>(d)];
      if (x < 0 || x >= extent)
        return fail(fmt::format("{}: index {} is out of range for axis {} of extent {}", what, x, d, extent), {},
                    kDamaged);
      flat = flat * extent + x;
    }
    if (!out.empty() && flat == out.back())
      return fail(fmt::format("{}: element {} is given twice", what, flat), {}, kDamaged);
    if (!out.empty() && flat < out.back())
      return fail(fmt::format("{}: the indices are not in ascending order at entry {}", what, i), {},
                  "sparse indices must ascend");
    out.push_back(flat);
  }
  return out;
}

}  // namespace

Result<Tensor> TensorReader::read_sparse(const onnx::SparseTensorProto& t, const std::string& what) {
  static constexpr int64_t kFreeBytes = int64_t{64} << 20, kMaxExpansion = 64;
  FCC_TRY(const Tensor values, read(t.values(), what + " (values)"));
  FCC_TRY(const int64_t elements, count_elements(t.dims(), byte_size(values.dtype()) * 8, what));
  if (values.rank() != 1)
    return fail(fmt::format("{} has values {}; expected a vector", what, values.type().text()), {}, kDamaged);
  const int64_t nnz = values.elements(), bytes = elements * byte_size(values.dtype());
  if (bytes > kFreeBytes && bytes / kMaxExpansion > values.bytes())
    return fail(
        fmt::format("{} of shape [{}] would fill {} bytes from {} values", what, fmt::join(t.dims(), ","), bytes, nnz),
        {}, "store it as a dense tensor");
  FCC_TRY(const Tensor indices, read(t.indices(), what + " (indices)"));
  std::vector<int64_t> shape(t.dims().begin(), t.dims().end());
  FCC_TRY(const std::vector<int64_t> positions, sparse_positions(indices, shape, nnz, what));
  Tensor dense(values.dtype(), std::move(shape));
  const auto width = static_cast<size_t>(byte_size(values.dtype()));
  for (size_t i = 0; i < positions.size(); ++i)
    std::memcpy(dense.raw() + static_cast<size_t>(positions[i]) * width, values.raw() + i * width, width);
  return dense;
}

}  // namespace fcc
