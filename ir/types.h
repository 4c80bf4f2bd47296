#pragma once
// Element types and tensor types with symbolic dims. Layout is no part of a type: a blocked tensor is simply
// a tensor of higher rank made by a Pack node.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/sym.h"

namespace fcc {

// The numbers are those of fcc_dtype in runtime/include/fcc/model_abi.h.
enum class DType : uint8_t { f32 = 1, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, boolean };
inline constexpr int kDTypeCount = 13;

std::string_view name(DType);                       // "f32", "bool", ...
std::optional<DType> dtype_named(std::string_view);
int64_t byte_size(DType);
bool is_float(DType);
bool is_signed_int(DType);
bool is_unsigned_int(DType);
inline bool is_int(DType t) { return is_signed_int(t) || is_unsigned_int(t); }

using Dims = std::vector<SymExpr>;

struct TensorType {
  DType dtype = DType::f32;
  Dims dims;

  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  bool is_static() const;
  SymExpr elements() const;  // 1 for a scalar
  // Extents as numbers; a bug unless is_static().
  std::vector<int64_t> extents() const;
  std::string text() const;  // f32[N,784], f32[] for a scalar
  static Result<TensorType> parse(std::string_view);
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

std::string text(const Dims&);  // [N,784]
// The common shape of NumPy broadcasting, or nothing when two extents clash. An open dim meets an unequal
// open dim: both are assumed equal unless one is 1, so the larger rank's dim is kept.
std::optional<Dims> broadcast(const Dims& a, const Dims& b);

// No tensor may have more bytes than this: far above any machine, far below int64 overflow.
inline constexpr int64_t kMaxTensorBytes = int64_t{1} << 46;

}  // namespace fcc
