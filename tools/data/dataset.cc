#include "tools/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "tools/data/archive.h"
#include "tools/data/images.h"
#include "tools/files.h"
#include "tools/runtime_error.h"

namespace fcc {
namespace {

// What a path holds: one array, or several by name.
struct Loaded {
  std::map<std::string, Array> arrays;  // "" when there is one without a name
  std::vector<std::string> classes;
  bool csv = false;
};

Result<Loaded> load_bytes(std::string bytes, const std::string& path) {
  Loaded out;
  if (bytes.starts_with("\x1f\x8b")) {
    FCC_TRY(bytes, gunzip(bytes, path));
  }
  if (bytes.starts_with("PK")) {
    FCC_TRY(auto members, read_npz(bytes, path));
    for (auto& [name, contents] : members) {
      FCC_TRY(out.arrays[name], caught([&] { return parse_npy_array(contents, path + ":" + name); }));
    }
    return out;
  }
  if (bytes.starts_with("\x93NUMPY")) {
    FCC_TRY(out.arrays[""], caught([&] { return parse_npy_array(bytes, path); }));
    return out;
  }
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".csv" || extension == ".tsv" || extension == ".txt") {
    const std::string first = bytes.substr(0, bytes.find('\n'));
    const char separator = first.find('\t') != first.npos ? '\t' : first.find(';') != first.npos ? ';' : ',';
    FCC_TRY(out.arrays[""], caught([&] { return parse_csv(bytes, path, separator); }));
    out.csv = true;
    return out;
  }
  FCC_TRY(out.arrays[""], caught([&] { return parse_idx(bytes, path); }));
  return out;
}

Result<Loaded> load(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    FCC_TRY(ImageFolder folder, read_image_folder(path));
    Loaded out;
    out.arrays["x"] = std::move(folder.images);
    out.arrays["y"] = std::move(folder.labels);
    out.classes = std::move(folder.classes);
    return out;
  }
  FCC_TRY(std::string bytes, read_text_file(path));
  return load_bytes(std::move(bytes), path);
}

// FILE or FILE.npz:KEY; without a key, the array that has one of the usual names, or the only one.
Result<Array> pick(Loaded& loaded, const std::string& path, const std::string& key,
                   std::span<const char* const> usual) {
  if (!key.empty()) {
    auto found = loaded.arrays.find(key);
    if (found != loaded.arrays.end()) return found->second;
  } else {
    if (loaded.arrays.size() == 1) return loaded.arrays.begin()->second;
    for (const char* name : usual)
      if (loaded.arrays.contains(name)) return loaded.arrays[name];
  }
  std::vector<std::string> names;
  for (const auto& [name, array] : loaded.arrays) names.push_back(name);
  return fail(fmt::format("{}: {}", path,
                          key.empty() ? "several arrays, say which one" : fmt::format("there is no array \"{}\"", key)),
              {}, fmt::format("{}:NAME, where NAME is one of {}", path, fmt::join(names, ", ")));
}

constexpr const char* kDataNames[] = {"x", "data", "images", "x_train", "arr_0"};
constexpr const char* kTargetNames[] = {"y", "target", "labels", "y_train", "arr_1"};

struct PathKey {
  std::string path, key;
};
PathKey split_key(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon != text.npos && text.substr(0, colon).ends_with(".npz"))
    return {text.substr(0, colon), text.substr(colon + 1)};
  return {text, ""};
}

// Positions of NAME=FILE arguments among the slots [first, first + count).
Result<std::vector<std::string>> by_slot(const std::vector<std::string>& arguments, const fcc_entry& entry,
                                         uint32_t first, uint32_t count, std::string_view option) {
  std::vector<std::string> paths(count);
  for (const std::string& argument : arguments) {
    uint32_t slot = count;
    std::string path = argument;
    for (uint32_t i = 0; i < count; ++i) {
      const std::string name = entry.inputs[first + i].name;
      const std::string prefix = name + "=", shorter = name.starts_with("target.") ? name.substr(7) + "=" : prefix;
      if (argument.starts_with(prefix) || argument.starts_with(shorter)) {
        slot = i;
        path = argument.substr(argument.find('=') + 1);
      }
    }
    if (slot == count && count == 1 && paths[0].empty()) slot = 0;
    if (slot == count || !paths[slot].empty()) {
      std::vector<std::string> names;
      for (uint32_t i = 0; i < count; ++i) names.emplace_back(entry.inputs[first + i].name);
      return fail(fmt::format("{} {}: the model takes {} here: {}", option, argument, count, fmt::join(names, ", ")),
                  {}, fmt::format("{} NAME=FILE, once for each", option));
    }
    paths[slot] = path;
  }
  return paths;
}

// Elements of a row as the slot wants them; -1 when an inner size is open.
int64_t row_elements(const fcc_slot& slot) {
  int64_t n = 1;
  for (uint32_t axis = 1; axis < slot.rank; ++axis) {
    if (slot.dims[axis].kind != FCC_SIZE_FIXED) return -1;
    n *= slot.dims[axis].value;
  }
  return n;
}

std::string slot_shape(const fcc_entry& entry, const fcc_slot& slot) {
  std::vector<std::string> dims;
  for (uint32_t axis = 0; axis < slot.rank; ++axis) {
    const fcc_size& size = slot.dims[axis];
    dims.push_back(size.kind == FCC_SIZE_FIXED    ? std::to_string(size.value)
                   : size.kind == FCC_SIZE_SYMBOL ? entry.symbols[size.index].name
                                                  : "?");
  }
  return fmt::format("{}[{}]", fcc_dtype_name(slot.dtype), fmt::join(dims, ","));
}

bool is_float(uint32_t dtype) {
  return dtype == FCC_F32 || dtype == FCC_F64;
}

Result<Array> convert(const Array& array, const fcc_slot& slot, bool target, const Preparation& p) {
  const bool wants_float = is_float(slot.dtype);
  if (!wants_float) {
    for (int64_t i = 0; is_float(array.dtype()) && i < array.elements(); ++i)
      if (array.value(i) != std::floor(array.value(i)))
        return fail(fmt::format("\"{}\" wants whole numbers, element {} is {}", slot.name, i, array.value(i)));
    if (slot.dtype == FCC_I64) return array.dtype() == FCC_I64 ? array : array.to<int64_t>();
    if (slot.dtype == FCC_I32) return array.to<int32_t>();
    if (slot.dtype == FCC_U8 || slot.dtype == FCC_BOOL) return array.to<uint8_t>();
    return fail(fmt::format("\"{}\" wants {}, which files cannot give", slot.name, fcc_dtype_name(slot.dtype)));
  }
  double factor = target ? 1 : p.scale.value_or(array.dtype() == FCC_U8 ? 1 / 255.0 : 1), offset = 0;
  if (!target) {
    factor /= p.deviation;
    offset = -p.mean / p.deviation;
  }
  const bool same = array.dtype() == slot.dtype && factor == 1 && offset == 0;
  Array out = same ? array : slot.dtype == FCC_F32 ? array.to<float>(factor, offset) : array.to<double>(factor, offset);
  if (!target && p.columns && slot.dtype == FCC_F32 &&
      static_cast<int64_t>(p.columns->mean.size()) == out.row_elements())
    out = standardize(out, *p.columns);
  return out;
}

Status check_labels(const Array& labels, const fcc_slot& slot, int64_t classes, std::string_view what) {
  const int64_t per_row = std::max<int64_t>(labels.row_elements(), 1);
  bool any = false;
  for (int64_t i = 0; i < labels.elements(); ++i) {
    const int64_t label = labels.as<int64_t>()[static_cast<size_t>(i)];
    any = any || label >= 0;
    if (label < classes && (label >= 0 || label == -100)) continue;
    return fail(fmt::format("{}: label {} at row {}: the model has {} classes", what, label, i / per_row, classes),
                fmt::format("target \"{}\"", slot.name),
                fmt::format("labels are 0 to {}; -100 marks what is to be ignored", classes - 1));
  }
  if (!any) return fail(fmt::format("{}: every label says that it is to be ignored", what));
  return {};
}

}  // namespace

Result<DataSet> load_data(const DataFiles& files, const fcc_entry& entry, uint32_t data_inputs) {
  DataSet set;
  const uint32_t n_targets = entry.n_inputs - data_inputs;
  FCC_TRY(std::vector<std::string> data, by_slot(files.data, entry, 0, data_inputs, "--data"));
  FCC_TRY(std::vector<std::string> targets, by_slot(files.targets, entry, data_inputs, n_targets, "--target"));
  std::optional<Array> found_target;
  for (uint32_t i = 0; i < data_inputs; ++i) {
    if (data[i].empty())
      return fail(fmt::format("there is no data for input \"{}\"", entry.inputs[i].name), {}, "--data NAME=FILE");
    const PathKey at = split_key(data[i]);
    FCC_TRY(Loaded loaded, load(at.path));
    if (!loaded.classes.empty()) set.classes = loaded.classes;
    FCC_TRY(Array array, pick(loaded, at.path, at.key, kDataNames));
    const bool both = n_targets == 1 && targets[0].empty() && data_inputs == 1;
    if (both && loaded.csv) {
      const int64_t columns = array.row_elements(), last = files.target_columns;
      if (last < 1 || last >= columns)
        return fail(
            fmt::format("{}: {} columns cannot be split into data and {} target columns", at.path, columns, last), {},
            "--target-columns K: the last K are the target");
      found_target = take_columns(array, columns - last, last);
      array = take_columns(array, 0, columns - last);
    } else if (both && loaded.arrays.size() > 1) {
      FCC_TRY(found_target, pick(loaded, at.path, "", kTargetNames));
    }
    set.inputs.push_back(std::move(array));
  }
  for (uint32_t i = 0; i < n_targets; ++i) {
    if (!targets[i].empty()) {
      const PathKey at = split_key(targets[i]);
      FCC_TRY(Loaded loaded, load(at.path));
      FCC_TRY(Array array, pick(loaded, at.path, at.key, kTargetNames));
      set.targets.push_back(std::move(array));
    } else if (found_target) {
      set.targets.push_back(*found_target);
    } else {
      return fail(fmt::format("there is no data for \"{}\"", entry.inputs[data_inputs + i].name), {}, "--target FILE");
    }
  }
  return set;
}

Status prepare_data(DataSet& set, const fcc_entry& entry, uint32_t data_inputs, const Preparation& p,
                    const std::vector<int64_t>& classes, std::string_view what) {
  if (set.rows() == 0) return fail(fmt::format("{}: there are no rows", what));
  for (uint32_t i = 0; i < entry.n_inputs; ++i) {
    const bool target = i >= data_inputs;
    Array& array = target ? set.targets[i - data_inputs] : set.inputs[i];
    const fcc_slot& slot = entry.inputs[i];
    if (array.rows() != set.rows())
      return fail(fmt::format("{}: {} rows of \"{}\", {} of \"{}\"", what, set.rows(), entry.inputs[0].name,
                              array.rows(), slot.name),
                  {}, "each row of data has its target: are these files a pair?");
    const int64_t wanted = row_elements(slot);
    if (slot.rank > 0 && wanted >= 0 && array.row_elements() != wanted)
      return fail(fmt::format("{}: rows of \"{}\" have {} numbers, the model wants {}", what, slot.name,
                              array.row_elements(), wanted),
                  fmt::format("{} {} here, the file has [{}]", slot.name, slot_shape(entry, slot),
                              fmt::join(array.dims(), ",")));
    FCC_TRY(array, convert(array, slot, target, p));
    const int64_t n = target && i - data_inputs < classes.size() ? classes[i - data_inputs] : 0;
    if (n > 0 && slot.dtype == FCC_I64) FCC_CHECKED(check_labels(array, slot, n, what));
  }
  return {};
}

DataSet take_rows(const DataSet& set, const std::vector<int64_t>& rows) {
  DataSet out;
  for (const Array& array : set.inputs) out.inputs.push_back(take_rows(array, rows));
  for (const Array& array : set.targets) out.targets.push_back(take_rows(array, rows));
  out.classes = set.classes;
  return out;
}

}  // namespace fcc
