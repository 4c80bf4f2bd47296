// Data for training: arrays from files, batches over them.
//
//   auto images = fcc::read_idx("train-images-idx3-ubyte").to<float>(1 / 255.0);
//   auto labels = fcc::read_idx("train-labels-idx1-ubyte").to<int64_t>();
//   for (auto [x, y] : fcc::batches(images, labels, {64, true, /*seed=*/1})) net.step(x, y);
//
// Reads IDX (MNIST and its kin), NumPy's .npy and CSV; what they hold is checked, and a bad file is an fcc::Error that
// says what was seen. It is a convenience for programs that have no data pipeline: any memory will do for a trainer.
// Header-only, C++17, no dependencies; compressed files and image folders are read by `fcc fit`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <locale>
#include <numeric>
#include <sstream>
#include <string_view>

#include "fcc/fcc.hpp"
#include "fcc/random.hpp"

namespace fcc {

// A dense tensor in somebody else's memory, without any memory of its own: what steps and evaluations take.
class TensorRef {
 public:
  static constexpr uint32_t kMostDims = 8;

  TensorRef() = default;
  TensorRef(const void* data, uint32_t dtype, const int64_t* dims, size_t rank)
      : data_(data), dtype_(dtype), rank_(static_cast<uint32_t>(rank)) {
    if (rank > kMostDims) throw Error(FCC_BAD_SHAPE, "more than 8 dimensions");
    std::copy_n(dims, rank, dims_.begin());
  }
  template <class T>
  TensorRef(const T* data, std::initializer_list<int64_t> dims)
      : TensorRef(data, detail::dtype_of<T>(), dims.begin(), dims.size()) {}
  // Flat: dims follow from the model.
  template <class Container, class = std::enable_if_t<!std::is_base_of_v<TensorRef, std::decay_t<Container>>>,
            class = detail::ElementOf<const Container>>
  TensorRef(const Container& container)
      : data_(container.data()), dtype_(detail::dtype_of<detail::ElementOf<const Container>>()), rank_(1) {
    dims_[0] = static_cast<int64_t>(container.size());
  }

  const void* data() const { return data_; }
  uint32_t dtype() const { return dtype_; }
  uint32_t rank() const { return rank_; }
  int64_t dim(uint32_t axis) const { return dims_[axis]; }
  int64_t rows() const { return rank_ > 0 ? dims_[0] : 1; }
  int64_t row_bytes() const {
    return std::accumulate(dims_.begin() + std::min(rank_, 1u), dims_.begin() + rank_, fcc_dtype_bytes(dtype_),
                           std::multiplies<>());
  }
  // Some of the rows.
  TensorRef rows(int64_t first, int64_t count) const {
    TensorRef part = *this;
    part.data_ = static_cast<const char*>(data_) + first * row_bytes();
    part.dims_[0] = count;
    return part;
  }
  TensorRef with_data(const void* data) const {
    TensorRef other = *this;
    other.data_ = data;
    return other;
  }
  // Valid as long as this object.
  fcc_tensor raw() const { return {const_cast<void*>(data_), dtype_, rank_, dims_.data(), nullptr}; }

 private:
  const void* data_ = nullptr;
  uint32_t dtype_ = FCC_F32, rank_ = 0;
  std::array<int64_t, kMostDims> dims_{};
};

// A dense tensor with its memory.
class Array {
 public:
  Array() = default;
  Array(uint32_t dtype, std::vector<int64_t> dims) : dtype_(dtype), dims_(std::move(dims)) {
    bytes_.resize(static_cast<size_t>(elements() * fcc_dtype_bytes(dtype_)));
  }
  template <class T>
  static Array of(std::vector<int64_t> dims) {
    return Array(detail::dtype_of<T>(), std::move(dims));
  }

  uint32_t dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  int64_t elements() const { return std::accumulate(dims_.begin(), dims_.end(), int64_t{1}, std::multiplies<>()); }
  int64_t rows() const { return dims_.empty() ? 1 : dims_[0]; }
  int64_t row_elements() const { return rows() ? elements() / rows() : 0; }
  unsigned char* bytes() { return bytes_.data(); }
  const unsigned char* bytes() const { return bytes_.data(); }
  size_t byte_count() const { return bytes_.size(); }
  template <class T>
  Span<T> as() {
    check<T>();
    return Span<T>(reinterpret_cast<T*>(bytes_.data()), static_cast<size_t>(elements()));
  }
  template <class T>
  Span<const T> as() const {
    check<T>();
    return Span<const T>(reinterpret_cast<const T*>(bytes_.data()), static_cast<size_t>(elements()));
  }
  // The same elements in another shape.
  Array& reshape(std::vector<int64_t> dims) {
    std::swap(dims_, dims);
    if (elements() * fcc_dtype_bytes(dtype_) == static_cast<int64_t>(bytes_.size())) return *this;
    std::swap(dims_, dims);
    throw Error(FCC_BAD_SHAPE, "reshape: the number of elements would change");
  }
  // Converted: factor * value + offset.
  template <class T>
  Array to(double factor = 1, double offset = 0) const {
    Array converted = of<T>(dims_);
    T* out = converted.template as<T>().data();
    for (int64_t i = 0; i < elements(); ++i) out[i] = static_cast<T>(factor * value(i) + offset);
    return converted;
  }
  double value(int64_t i) const {
    switch (dtype_) {
      case FCC_F32:
        return static_cast<double>(at<float>(i));
      case FCC_F64:
        return at<double>(i);
      case FCC_I8:
        return at<int8_t>(i);
      case FCC_I16:
        return at<int16_t>(i);
      case FCC_I32:
        return at<int32_t>(i);
      case FCC_I64:
        return static_cast<double>(at<int64_t>(i));
      case FCC_U16:
        return at<uint16_t>(i);
      case FCC_U32:
        return at<uint32_t>(i);
      case FCC_U64:
        return static_cast<double>(at<uint64_t>(i));
      case FCC_U8:
      case FCC_BOOL:
        return at<uint8_t>(i);
      default:
        throw Error(FCC_BAD_DTYPE,
                    (std::string("values of type ") + fcc_dtype_name(dtype_) + " cannot be converted").c_str());
    }
  }
  operator TensorRef() const { return TensorRef(bytes_.data(), dtype_, dims_.data(), dims_.size()); }

 private:
  template <class T>
  const T& at(int64_t i) const {
    return reinterpret_cast<const T*>(bytes_.data())[i];
  }
  template <class T>
  void check() const {
    if (detail::dtype_of<T>() != dtype_)
      throw Error(FCC_BAD_DTYPE, (std::string("the array holds ") + fcc_dtype_name(dtype_) + ", asked for " +
                                  fcc_dtype_name(detail::dtype_of<T>()))
                                     .c_str());
  }
  uint32_t dtype_ = FCC_F32;
  std::vector<int64_t> dims_ = {0};
  std::vector<unsigned char> bytes_;
};

// ---- files ------------------------------------------------------------------------------------------------------
namespace detail {

[[noreturn]] inline void bad_data(const std::string& name, const std::string& what, const std::string& hint = "") {
  throw Error(FCC_BAD_FILE, (name + ": " + what + (hint.empty() ? "" : "\n hint: " + hint)).c_str());
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(FCC_NOT_FOUND, ("cannot open " + path).c_str());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void swap_elements(unsigned char* data, size_t count, size_t width) {
  for (size_t i = 0; i < count; ++i) std::reverse(data + i * width, data + (i + 1) * width);
}

// Elements of these dims; -1 when that is more than any file has.
inline int64_t checked_elements(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || (dim > 0 && n > (int64_t{1} << 48) / dim)) return -1;
    n *= dim;
  }
  return n;
}

}  // namespace detail

// An IDX file's bytes; name is for messages.
inline Array parse_idx(std::string_view bytes, const std::string& name) {
  struct Type {
    unsigned char code;
    uint32_t dtype;
  };
  constexpr Type kTypes[] = {{8, FCC_U8}, {9, FCC_I8}, {11, FCC_I16}, {12, FCC_I32}, {13, FCC_F32}, {14, FCC_F64}};
  auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() >= 2 && byte(0) == 0x1f && byte(1) == 0x8b)
    detail::bad_data(name, "this file is compressed", "gunzip it; fcc fit reads it as it is");
  const Type* type = nullptr;
  for (const Type& known : kTypes)
    if (bytes.size() >= 4 && byte(0) == 0 && byte(1) == 0 && byte(2) == known.code) type = &known;
  if (type == nullptr || byte(3) == 0 || byte(3) > TensorRef::kMostDims)
    detail::bad_data(name, "this is no IDX file", "an IDX file starts with two zero bytes, a type and a rank");
  size_t header = 4 + 4 * size_t{byte(3)};
  if (bytes.size() < header) detail::bad_data(name, "this IDX file ends inside its header");
  std::vector<int64_t> dims;
  for (size_t at = 4; at < header; at += 4)
    dims.push_back(int64_t{byte(at)} << 24 | byte(at + 1) << 16 | byte(at + 2) << 8 | byte(at + 3));
  int64_t width = fcc_dtype_bytes(type->dtype), elements = detail::checked_elements(dims);
  auto have = static_cast<int64_t>(bytes.size() - header);
  if (elements < 0 || elements * width != have)
    detail::bad_data(
        name, "this IDX file is " + std::string(elements >= 0 && have > elements * width ? "too long" : "cut short") +
                  ": its header announces " + (elements < 0 ? "too many" : std::to_string(elements * width)) +
                  " bytes of data, it has " + std::to_string(have));
  Array array(type->dtype, std::move(dims));
  std::memcpy(array.bytes(), bytes.data() + header, array.byte_count());
  detail::swap_elements(array.bytes(), static_cast<size_t>(elements), static_cast<size_t>(width));
  return array;
}
inline Array read_idx(const std::string& path) {
  return parse_idx(detail::read_bytes(path), path);
}

namespace detail {

// The value behind 'key': in a .npy header, up to the comma that ends it.
inline std::string npy_field(const std::string& header, const std::string& key) {
  size_t at = header.find("'" + key + "'");
  if (at == header.npos || (at = header.find(':', at)) == header.npos) return "";
  size_t begin = header.find_first_not_of(' ', at + 1);
  if (begin == header.npos) return "";
  size_t end = header[begin] == '(' ? header.find(')', begin) : header.find_first_of(",}", begin);
  return end == header.npos ? "" : header.substr(begin, end - begin + (header[begin] == '('));
}

}  // namespace detail

// A .npy file's bytes: dense, C order, numbers.
inline Array parse_npy_array(std::string_view bytes, const std::string& name) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 12 || bytes.substr(0, 6) != "\x93NUMPY")
    detail::bad_data(name, "this is no .npy file", "write it with numpy.save");
  size_t prefix = byte(6) == 1 ? 10 : 12;
  size_t length = byte(8) | size_t{byte(9)} << 8;
  if (prefix == 12) length |= size_t{byte(10)} << 16 | size_t{byte(11)} << 24;
  if (bytes.size() < prefix + length) detail::bad_data(name, "this .npy file ends inside its header");
  std::string header(bytes.substr(prefix, length));
  std::string descr = detail::npy_field(header, "descr"), order = detail::npy_field(header, "fortran_order");
  std::string shape = detail::npy_field(header, "shape");
  struct Type {
    const char* code;
    uint32_t dtype;
  };
  constexpr Type kTypes[] = {{"f4", FCC_F32}, {"f8", FCC_F64}, {"f2", FCC_F16}, {"i1", FCC_I8},
                             {"i2", FCC_I16}, {"i4", FCC_I32}, {"i8", FCC_I64}, {"u1", FCC_U8},
                             {"u2", FCC_U16}, {"u4", FCC_U32}, {"u8", FCC_U64}, {"b1", FCC_BOOL}};
  uint32_t dtype = 0;
  for (const Type& type : kTypes)
    if (descr.size() == 5 && descr.substr(2, 2) == type.code) dtype = type.dtype;
  if (dtype == 0)
    detail::bad_data(name, "elements of NumPy type " + descr + " are not supported", "x.astype(\"float32\")");
  if (order.substr(0, 5) != "False")
    detail::bad_data(name, "this array is not in C order", "numpy.save(path, numpy.ascontiguousarray(x))");
  std::vector<int64_t> dims;
  for (size_t at = 1; at < shape.size();) {
    if (shape[at] < '0' || shape[at] > '9') {
      ++at;
      continue;
    }
    int64_t dim = 0;
    for (; at < shape.size() && shape[at] >= '0' && shape[at] <= '9' && dim < (int64_t{1} << 50); ++at)
      dim = dim * 10 + (shape[at] - '0');
    dims.push_back(dim);
  }
  int64_t elements = detail::checked_elements(dims), have = static_cast<int64_t>(bytes.size() - prefix - length);
  if (shape.empty() || elements < 0 || elements * fcc_dtype_bytes(dtype) != have)
    detail::bad_data(name, "this .npy file does not hold what its header announces: " + shape + " of " + descr +
                               " in " + std::to_string(have) + " bytes");
  Array array(dtype, std::move(dims));
  std::memcpy(array.bytes(), bytes.data() + prefix + length, array.byte_count());
  if (descr[1] == '>')
    detail::swap_elements(array.bytes(), static_cast<size_t>(elements), static_cast<size_t>(fcc_dtype_bytes(dtype)));
  return array;
}
inline Array read_npy_array(const std::string& path) {
  return parse_npy_array(detail::read_bytes(path), path);
}

// Numbers in lines: f32[lines, columns]. A first line that is no numbers is a header and left out.
inline Array parse_csv(std::string_view bytes, const std::string& name, char separator = ',') {
  std::vector<float> values;
  int64_t columns = -1, rows = 0, line_number = 0;
  std::istringstream field_reader;
  field_reader.imbue(std::locale::classic());
  for (size_t at = 0; at < bytes.size();) {
    size_t end = std::min(bytes.find('\n', at), bytes.size());
    std::string line(bytes.substr(at, end - at));
    at = end + 1;
    ++line_number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty()) continue;
    size_t before = values.size();
    std::string bad;
    for (size_t begin = 0; begin <= line.size();) {
      size_t stop = std::min(line.find(separator, begin), line.size());
      std::string field = line.substr(begin, stop - begin);
      begin = stop + 1;
      float value = 0;
      field_reader.clear();
      field_reader.str(field);
      field_reader >> value;
      bool number = !field_reader.fail();
      if (number && !field_reader.eof()) number = (field_reader >> std::ws).eof();
      if (!number) bad = field;
      values.push_back(value);
      if (stop == line.size()) break;
    }
    auto seen = static_cast<int64_t>(values.size() - before);
    if (!bad.empty() && rows == 0 && columns < 0) {
      values.resize(before);  // the header
      columns = seen;
      continue;
    }
    std::string where = "line " + std::to_string(line_number);
    if (!bad.empty()) detail::bad_data(name, where + ": \"" + bad.substr(0, 40) + "\" is no number");
    if (columns >= 0 && seen != columns)
      detail::bad_data(
          name, where + " has " + std::to_string(seen) + " columns, the lines before have " + std::to_string(columns));
    columns = seen;
    ++rows;
  }
  if (rows == 0) detail::bad_data(name, "there are no numbers in this file");
  Array array = Array::of<float>({rows, columns});
  std::copy(values.begin(), values.end(), array.as<float>().begin());
  return array;
}
inline Array read_csv(const std::string& path, char separator = ',') {
  return parse_csv(detail::read_bytes(path), path, separator);
}

// ---- preparing --------------------------------------------------------------------------------------------------
// Columns [first, first + count) of a matrix; count 1 gives a matrix of one column.
inline Array take_columns(const Array& matrix, int64_t first, int64_t count) {
  int64_t columns = matrix.row_elements();
  if (first < 0 || count < 0 || first + count > columns)
    throw Error(FCC_BAD_ARGUMENT, ("columns " + std::to_string(first) + " to " + std::to_string(first + count) +
                                   " of " + std::to_string(columns))
                                      .c_str());
  Array taken(matrix.dtype(), {matrix.rows(), count});
  auto width = static_cast<size_t>(fcc_dtype_bytes(matrix.dtype()));
  for (int64_t row = 0; row < matrix.rows(); ++row)
    std::memcpy(taken.bytes() + static_cast<size_t>(row * count) * width,
                matrix.bytes() + static_cast<size_t>(row * columns + first) * width,
                static_cast<size_t>(count) * width);
  return taken;
}

inline Array take_rows(const Array& array, const std::vector<int64_t>& rows) {
  std::vector<int64_t> dims = array.dims();
  dims[0] = static_cast<int64_t>(rows.size());
  Array taken(array.dtype(), std::move(dims));
  size_t bytes = array.rows() ? array.byte_count() / static_cast<size_t>(array.rows()) : 0;
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(taken.bytes() + i * bytes, array.bytes() + static_cast<size_t>(rows[i]) * bytes, bytes);
  return taken;
}

// Row numbers for training and for validation, drawn at random.
inline std::pair<std::vector<int64_t>, std::vector<int64_t>> split_rows(int64_t rows, double validation,
                                                                        uint64_t seed = 0) {
  std::vector<int64_t> order;
  shuffled_order(rows, seed, 0x73706c6974, &order);
  auto kept = static_cast<std::ptrdiff_t>(
      std::clamp<double>(std::round(static_cast<double>(rows) * (1 - validation)), 0, static_cast<double>(rows)));
  std::vector<int64_t> train(order.begin(), order.begin() + kept), held(order.begin() + kept, order.end());
  std::sort(train.begin(), train.end());
  std::sort(held.begin(), held.end());
  return {train, held};
}

// Mean and deviation of each column; a constant column has deviation 1.
struct Moments {
  std::vector<double> mean, deviation;
};
inline Moments moments(const Array& matrix) {
  int64_t columns = matrix.row_elements(), rows = matrix.rows();
  Moments m{std::vector<double>(static_cast<size_t>(columns)), std::vector<double>(static_cast<size_t>(columns))};
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += matrix.value(r * columns + c);
    double mean = sum / static_cast<double>(std::max<int64_t>(rows, 1));
    for (int64_t r = 0; r < rows; ++r) squares += std::pow(matrix.value(r * columns + c) - mean, 2);
    double deviation = std::sqrt(squares / static_cast<double>(std::max<int64_t>(rows, 1)));
    m.mean[static_cast<size_t>(c)] = mean;
    m.deviation[static_cast<size_t>(c)] = deviation > 0 ? deviation : 1;
  }
  return m;
}
// (x - mean) / deviation by columns, as f32; use the moments of the training data for all data.
inline Array standardize(const Array& matrix, const Moments& m) {
  Array out = Array::of<float>(matrix.dims());
  auto columns = static_cast<int64_t>(m.mean.size());
  float* values = out.as<float>().data();
  for (int64_t i = 0; i < matrix.elements(); ++i) {
    auto c = static_cast<size_t>(i % columns);
    values[i] = static_cast<float>((matrix.value(i) - m.mean[c]) / m.deviation[c]);
  }
  return out;
}

// ---- batches ----------------------------------------------------------------------------------------------------
struct BatchOptions {
  int64_t size = 64;
  bool shuffle = false;
  uint64_t seed = 0;
  int64_t epoch = 0;       // with shuffle, each epoch has an order of its own
  bool drop_last = false;  // leave out the last batch when it is short
  int64_t first = 0;       // batches to skip: to go on in the middle of an epoch
};

// The batches of one epoch over N arrays with the same rows. Shuffled rows are gathered into memory that is allocated
// once; unshuffled ones are views. The arrays must outlive it. An epoch's order depends on seed and epoch alone.
template <size_t N>
class Batches {
 public:
  Batches(std::array<TensorRef, N> arrays, BatchOptions options) : arrays_(arrays), options_(options) {
    if (options_.size < 1) throw Error(FCC_BAD_ARGUMENT, "a batch has at least one row");
    for (const TensorRef& array : arrays_)
      if (array.rows() != arrays_[0].rows())
        throw Error(FCC_BAD_SHAPE, ("the arrays have " + std::to_string(arrays_[0].rows()) + " and " +
                                    std::to_string(array.rows()) + " rows")
                                       .c_str());
    if (arrays_[0].rows() == 0) throw Error(FCC_BAD_SHAPE, "there are no rows to make batches of");
    if (options_.shuffle)
      for (size_t i = 0; i < N; ++i) memory_[i].resize(static_cast<size_t>(options_.size * arrays_[i].row_bytes()));
    set_epoch(options_.epoch);
  }
  void set_epoch(int64_t epoch) {
    if (options_.shuffle) shuffled_order(arrays_[0].rows(), options_.seed, static_cast<uint64_t>(epoch), &order_);
  }
  int64_t count() const {
    int64_t rows = arrays_[0].rows();
    return options_.drop_last ? rows / options_.size : (rows + options_.size - 1) / options_.size;
  }
  // Valid until the next call.
  std::array<TensorRef, N> batch(int64_t index) {
    int64_t first = index * options_.size, n = std::min(options_.size, arrays_[0].rows() - first);
    std::array<TensorRef, N> out;
    for (size_t i = 0; i < N; ++i) {
      out[i] = arrays_[i].rows(first, n);
      if (!options_.shuffle) continue;
      int64_t bytes = arrays_[i].row_bytes();
      for (int64_t r = 0; r < n; ++r)
        std::memcpy(memory_[i].data() + r * bytes,
                    static_cast<const char*>(arrays_[i].data()) + order_[static_cast<size_t>(first + r)] * bytes,
                    static_cast<size_t>(bytes));
      out[i] = out[i].with_data(memory_[i].data());
    }
    return out;
  }

  class Iterator {
   public:
    Iterator(Batches* batches, int64_t index) : batches_(batches), index_(index) {}
    std::array<TensorRef, N> operator*() const { return batches_->batch(index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    Batches* batches_;
    int64_t index_;
  };
  Iterator begin() { return {this, std::min(options_.first, count())}; }
  Iterator end() { return {this, count()}; }

 private:
  std::array<TensorRef, N> arrays_;
  BatchOptions options_;
  std::vector<int64_t> order_;
  std::array<std::vector<char>, N> memory_;
};

inline Batches<2> batches(const TensorRef& x, const TensorRef& y, const BatchOptions& options = {}) {
  return Batches<2>({x, y}, options);
}
inline Batches<1> batches(const TensorRef& x, const BatchOptions& options = {}) {
  return Batches<1>({x}, options);
}
inline Batches<3> batches(const TensorRef& a, const TensorRef& b, const TensorRef& c,
                          const BatchOptions& options = {}) {
  return Batches<3>({a, b, c}, options);
}

}  // namespace fcc
