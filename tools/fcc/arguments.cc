#include "tools/fcc/arguments.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "tools/npy.h"

namespace fcc {
namespace {

template <class T>
bool parse_number(std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// The position of the input a file is for; file names may contain '=', so names of inputs decide.
Result<size_t> find_input(const std::string& argument, const std::vector<WantedInput>& wanted, std::string* path) {
  for (size_t k = 0; k < wanted.size(); ++k) {
    if (!argument.starts_with(wanted[k].name + "=")) continue;
    *path = argument.substr(wanted[k].name.size() + 1);
    return k;
  }
  std::vector<std::string_view> names;
  for (const WantedInput& w : wanted) names.push_back(w.name);
  const std::string all = fmt::format("the inputs: {}", fmt::join(names, ", "));
  const size_t equals = argument.find('=');
  if (wanted.size() == 1 && equals == argument.npos) {
    *path = argument;
    return size_t{0};
  }
  if (equals == argument.npos) {
    return fail(fmt::format("-i {}: the model has {} inputs, say which one this is", argument, wanted.size()), {},
                "-i NAME=" + argument + "; " + all);
  }
  const std::string given = argument.substr(0, equals);
  std::string_view near = nearest_name(given, names);
  return fail(fmt::format("-i {}: the model has no input \"{}\"", argument, given), {},
              near.empty() ? all : fmt::format("did you mean \"{}\"?", near));
}

Status check_sizes(const DimSizes& sizes, const std::vector<WantedInput>& wanted) {
  std::set<std::string> known;
  for (const WantedInput& w : wanted) {
    for (const WantedDim& d : w.dims) {
      for (const std::string& symbol : d.size.symbols()) known.insert(symbol);
    }
  }
  for (const auto& [name, size] : sizes) {
    if (known.contains(name)) continue;
    return fail(
        fmt::format("{}={}: the model has no open dimension \"{}\"", name, size, name), {},
        known.empty() ? "all its sizes are fixed" : fmt::format("its open dimensions: {}", fmt::join(known, ", ")));
  }
  return {};
}

bool is_symbol(const SymExpr& size) {
  const std::vector<std::string> symbols = size.symbols();
  return symbols.size() == 1 && size == SymExpr::symbol(symbols[0]);
}

// The inputs that have a file; the open dimensions their shapes tell go to `sizes`.
Result<std::vector<std::optional<Tensor>>> read_inputs(const std::vector<std::string>& files,
                                                       const std::vector<WantedInput>& wanted, DimSizes* sizes) {
  std::vector<std::optional<Tensor>> tensors(wanted.size());
  for (const std::string& argument : files) {
    std::string path;
    FCC_TRY(size_t k, find_input(argument, wanted, &path));
    if (tensors[k]) return fail(fmt::format("-i {}: the input \"{}\" was given twice", argument, wanted[k].name));
    FCC_TRY(Tensor raw, read_npy(path));
    FCC_TRY(Tensor tensor, as_dtype(raw, wanted[k].dtype, path));
    for (size_t d = 0; d < std::min(wanted[k].dims.size(), tensor.shape().size()); ++d) {
      const SymExpr& size = wanted[k].dims[d].size;
      if (is_symbol(size)) sizes->insert_or_assign(size.symbols()[0], tensor.shape()[d]);
    }
    tensors[k] = std::move(tensor);
  }
  return tensors;
}

std::vector<int64_t> shape_of(const WantedInput& input, int64_t usual_size, DimSizes* sizes, DimSizes* assumed) {
  std::vector<int64_t> shape;
  for (const WantedDim& d : input.dims) {
    for (const std::string& symbol : d.size.symbols()) {
      auto [entry, added] = sizes->try_emplace(symbol, std::clamp(usual_size, d.min, std::max(d.min, d.max)));
      if (added) assumed->insert(*entry);
    }
    shape.push_back(d.size.evaluate([&](std::string_view symbol) { return sizes->at(std::string(symbol)); }));
  }
  return shape;
}

std::string scaled(double n, double base, std::span<const char* const> units) {
  size_t k = 0;
  for (; n >= base && k + 1 < units.size(); ++k) n /= base;
  return fmt::format("{:.{}f} {}", n,
                     n >= 100 || (k == 0 && base != 1000.0 && n == static_cast<int64_t>(n)) ? 0
                     : n >= 10                                                              ? 1
                                                                                            : 2,
                     units[k]);
}

}  // namespace

DimSizes parse_dim_sizes(const std::vector<std::string>& texts) {
  DimSizes sizes;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    int64_t size = 0;
    if (equals == text.npos || equals == 0 || !parse_number(std::string_view(text).substr(equals + 1), size) ||
        size < 0) {
      throw UsageError(fmt::format("--dim {}: expected NAME=SIZE, such as N=64", text));
    }
    sizes[text.substr(0, equals)] = size;
  }
  return sizes;
}

RandomRange parse_range(const std::string& text, uint64_t seed) {
  RandomRange range{.low = 0, .high = 0, .seed = seed};
  const size_t dots = text.find("..");
  if (dots == text.npos || !parse_number(std::string_view(text).substr(0, dots), range.low) ||
      !parse_number(std::string_view(text).substr(dots + 2), range.high) || !(range.low <= range.high)) {
    throw UsageError(fmt::format("--range {}: expected LOW..HIGH, such as 0..1", text));
  }
  return range;
}

std::vector<WantedInput> wanted_inputs(const CompiledModel& model) {
  const fcc_entry& table = model.table();
  std::vector<WantedInput> wanted;
  for (const fcc_slot& slot : std::span(table.inputs, table.n_inputs)) {
    WantedInput input{.name = slot.name, .dtype = static_cast<DType>(slot.dtype), .dims = {}};
    for (const fcc_size& size : std::span(slot.dims, slot.rank)) {
      if (size.kind == FCC_SIZE_FIXED) {
        input.dims.push_back({.size = size.value});
        continue;
      }
      FCC_CHECK(size.kind == FCC_SIZE_SYMBOL && size.index < table.n_symbols, "input {} has a derived size", slot.name);
      const fcc_symbol& symbol = table.symbols[size.index];
      input.dims.push_back({.size = SymExpr::symbol(symbol.name), .min = symbol.min, .max = symbol.max});
    }
    wanted.push_back(std::move(input));
  }
  return wanted;
}

Result<std::vector<Tensor>> gather_inputs(const InputSource& source, const std::vector<WantedInput>& wanted,
                                          DimSizes* assumed) {
  FCC_CHECKED(check_sizes(source.sizes, wanted));
  DimSizes sizes = source.sizes;
  FCC_TRY(std::vector<std::optional<Tensor>> given, read_inputs(source.files, wanted, &sizes));
  std::vector<Tensor> tensors;
  std::vector<std::string> missing;
  for (size_t k = 0; k < wanted.size(); ++k) {
    if (given[k]) {
      tensors.push_back(*given[k]);
    } else if (source.random) {
      tensors.push_back(random_tensor(wanted[k].name, wanted[k].dtype,
                                      shape_of(wanted[k], source.usual_size, &sizes, assumed), *source.random));
    } else {
      missing.push_back(fmt::format("{} ({})", wanted[k].name, name(wanted[k].dtype)));
    }
  }
  if (missing.empty()) return tensors;
  return fail(fmt::format("no data for {} of the model's {} inputs: {}", missing.size(), wanted.size(),
                          fmt::join(missing, ", ")),
              {}, "give a file for each, -i NAME=x.npy, or --random");
}

void ThreadOption::add(CLI::App& app) {
  app.add_option("--threads,-t", threads, "threads of a run; default: as many as this process may use")
      ->type_name("T")
      ->check(CLI::Range(1, 1024));
}

std::string text(const DimSizes& sizes) {
  std::string out;
  for (const auto& [name, size] : sizes) out += fmt::format("{}{}={}", out.empty() ? "" : ", ", name, size);
  return out;
}

std::string count_text(double n) {
  static constexpr const char* kUnits[] = {"", "K", "M", "G", "T", "P"};
  std::string text = n < 1000 ? fmt::format("{:.0f}", n) : scaled(n, 1000, kUnits);
  return text;
}

std::string bytes_text(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(bytes, 1024, kUnits);
}

std::string duration_text(double ns) {
  static constexpr const char* kUnits[] = {"ns", "us", "ms", "s"};
  return scaled(ns, 1000, kUnits);
}

}  // namespace fcc
