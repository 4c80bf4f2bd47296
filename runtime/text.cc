#include "text.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace fcc::runtime {
namespace {

struct DtypeRow {
  const char* name;
  int64_t bytes;
};
constexpr DtypeRow kDtypes[] = {{"?", 0},   {"f32", 4}, {"f64", 8}, {"f16", 2}, {"bf16", 2}, {"i8", 1},  {"i16", 2},
                                {"i32", 4}, {"i64", 8}, {"u8", 1},  {"u16", 2}, {"u32", 4},  {"u64", 8}, {"bool", 1}};

const DtypeRow& dtype_row(uint32_t dtype) {
  return kDtypes[dtype < std::size(kDtypes) ? dtype : 0];
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (std::tolower(a[i - 1]) != std::tolower(b[j - 1]));
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

// The dims that the model would accept if each open dim took what was given at the same place.
bool matches(const fcc_slot& slot, const std::vector<int64_t>& dims) {
  if (dims.size() != slot.rank) return false;
  for (uint32_t axis = 0; axis < slot.rank; ++axis)
    if (slot.dims[axis].kind == FCC_SIZE_FIXED && slot.dims[axis].value != dims[axis]) return false;
  return true;
}

std::string dims_text(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? "," : "") + std::to_string(dims[i]);
  return text + "]";
}

}  // namespace

const char* dtype_name(uint32_t dtype) {
  return dtype_row(dtype).name;
}
int64_t dtype_bytes(uint32_t dtype) {
  return dtype_row(dtype).bytes;
}

std::string shape_text(uint32_t dtype, uint32_t rank, const int64_t* dims) {
  std::string text = std::string(dtype_name(dtype)) + "[";
  for (uint32_t i = 0; i < rank; ++i) text += (i ? "," : "") + (dims[i] < 0 ? "?" : std::to_string(dims[i]));
  return text + "]";
}

std::string size_text(const fcc_entry& entry, const fcc_size& size) {
  if (size.kind == FCC_SIZE_FIXED) return std::to_string(size.value);
  if (size.kind == FCC_SIZE_SYMBOL && size.index < entry.n_symbols) return entry.symbols[size.index].name;
  return "?";
}

std::string slot_text(const fcc_entry& entry, const fcc_slot& slot) {
  std::string text = std::string(dtype_name(slot.dtype)) + "[";
  for (uint32_t i = 0; i < slot.rank; ++i) text += (i ? "," : "") + size_text(entry, slot.dims[i]);
  return text + "]";
}

std::string shape_hint(const fcc_entry& entry, const fcc_slot& slot, uint32_t rank, const int64_t* dims) {
  std::vector<int64_t> given(dims, dims + rank);
  if (rank > slot.rank && slot.rank >= 1) {  // an image for a flat input: fold the last dims into one
    std::vector<int64_t> folded(given.begin(), given.begin() + slot.rank - 1);
    folded.push_back(std::accumulate(given.begin() + slot.rank - 1, given.end(), int64_t{1}, std::multiplies<>()));
    if (matches(slot, folded)) return "flatten it first: the same data as " + dims_text(folded) + " fits";
  }
  if (rank + 1 == slot.rank) {
    std::vector<int64_t> batched = given;
    batched.insert(batched.begin(), 1);
    if (matches(slot, batched)) return "add the batch dimension: the same data as " + dims_text(batched) + " fits";
  }
  if (rank == slot.rank && rank == 4) {
    std::vector<int64_t> channels_first = {given[0], given[3], given[1], given[2]};
    if (matches(slot, channels_first)) return "channels come first (NCHW): transpose to " + dims_text(channels_first);
  }
  if (rank == slot.rank && rank >= 2) {
    std::vector<int64_t> swapped = given;
    std::swap(swapped[rank - 1], swapped[rank - 2]);
    if (matches(slot, swapped)) return "the last two dimensions look swapped: transpose to " + dims_text(swapped);
  }
  return "";
}

std::string name_help(std::string_view wanted, uint32_t count, const std::function<const char*(uint32_t)>& name_at) {
  constexpr uint32_t kListed = 20;
  if (count == 0) return "; the model has none";
  uint32_t nearest = 0;
  size_t least = SIZE_MAX;
  std::string list;
  for (uint32_t i = 0; i < count; ++i) {
    std::string_view name = name_at(i);
    if (i < kListed) list += (i ? ", \"" : "\"") + std::string(name) + "\"";
    size_t distance = edit_distance(wanted, name);
    if (distance < least) least = distance, nearest = i;
  }
  if (count > kListed) list += " and " + std::to_string(count - kListed) + " more";
  std::string text;
  if (least <= std::max<size_t>(2, wanted.size() / 3))
    text = "; did you mean \"" + std::string(name_at(nearest)) + "\"?";
  return text + "\n the model has: " + list;
}

}  // namespace fcc::runtime
