// fcc info: what a file is, an .onnx model or a compiled .so; the latter is read, never loaded, so any file is safe.
#include <elf.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "backend/llvm/link.h"
#include "frontend/onnx/import.h"
#include "tools/fcc/arguments.h"
#include "tools/files.h"

namespace fcc {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string file;
  bool json = false;
};

bool is_elf(std::span<const std::byte> bytes) {
  return bytes.size() >= sizeof(Elf64_Ehdr) && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

// Bytes of the sections that hold instructions. A table outside the file counts as none: read_info refuses such files.
int64_t code_bytes(std::span<const std::byte> file) {
  Elf64_Ehdr header;
  std::memcpy(&header, file.data(), sizeof header);
  int64_t sum = 0;
  for (size_t k = 0; k < header.e_shnum; ++k) {
    const size_t at = header.e_shoff + k * sizeof(Elf64_Shdr);
    if (at < header.e_shoff || at > file.size() || file.size() - at < sizeof(Elf64_Shdr)) return sum;
    Elf64_Shdr section;
    std::memcpy(&section, file.data() + at, sizeof section);
    if (section.sh_flags & SHF_EXECINSTR) sum = saturating_add(sum, static_cast<int64_t>(section.sh_size));
  }
  return sum;
}

Result<Json> info_of_library(const std::string& path, std::span<const std::byte> file) {
  FCC_TRY(std::string text, read_info(path));
  const Json info = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!info.is_object()) return fail(fmt::format("{}: the description inside this model is damaged", path));
  Json json = {
      {"file", path}, {"kind", "compiled model"}, {"file_bytes", file.size()}, {"code_bytes", code_bytes(file)}};
  if (info.contains("entries") && !info["entries"].empty()) {  // what most readers ask: of the first entry
    for (const char* key : {"inputs", "outputs", "workspace_bytes"}) json[key] = info["entries"][0].value(key, Json());
  }
  json.update(info);
  return json;
}

// "x: f32[N,784]" as the compiled model says it: name, dtype, dims.
Json slot(const std::string& text) {
  const size_t colon = text.rfind(": ");
  Result<TensorType> type = colon == text.npos ? fail("") : TensorType::parse(text.substr(colon + 2));
  if (!type) return text;
  Json dims = Json::array();
  for (const SymExpr& d : type->dims) dims.push_back(d.is_constant() ? Json(d.constant()) : Json(d.text()));
  return {{"name", text.substr(0, colon)}, {"dtype", name(type->dtype)}, {"dims", dims}};
}

Json slots(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(slot(text));
  return list;
}

Result<Json> info_of_onnx(const std::string& path, std::span<const std::byte> file) {
  FCC_TRY(ModelSummary s, survey(path));
  return Json{{"file", path},
              {"kind", "ONNX model"},
              {"file_bytes", file.size()},
              {"inputs", slots(s.inputs)},
              {"outputs", slots(s.outputs)},
              {"open_dims", s.open_dims},
              {"producer", s.producer},
              {"sha256", s.sha256},
              {"ir_version", s.ir_version},
              {"opset", s.opset},
              {"graph", s.graph_name},
              {"nodes", s.nodes},
              {"parameters", s.parameters},
              {"constants_bytes", s.parameter_bytes}};
}

std::string leaf_text(const std::string& key, const Json& j) {
  if (j.is_string()) return j.get<std::string>();
  if (key.ends_with("_bytes") && j.is_number_integer()) {
    const auto n = j.get<int64_t>();
    return n < 0 ? "depends on the open dimensions" : fmt::format("{} ({})", n, bytes_text(static_cast<double>(n)));
  }
  return j.dump();
}

// One item of a list on one line: slots as name: dtype[dims], other objects as their members.
std::string item_text(const Json& item) {
  if (!item.is_object()) return leaf_text("", item);
  std::string text;
  if (item.contains("name") && item.contains("dtype") && item.contains("dims")) {
    for (const Json& d : item["dims"]) text += (text.empty() ? "" : ",") + leaf_text("", d);
    return fmt::format("{}: {}[{}]", leaf_text("", item["name"]), leaf_text("", item["dtype"]), text);
  }
  for (const auto& [key, value] : item.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, leaf_text(key, value));
  return text;
}

// Any description as lines, so that whatever the compiler writes into a model is shown. The steps of an entry are
// many; a count stands for them here, all of them are in the JSON.
void print_lines(const Json& object, int indent) {
  for (const auto& [key, value] : object.items()) {
    const std::string left = fmt::format("{:{}}{:<{}} ", "", indent, key, 18 - indent);
    if (key == "entries") {
      for (const Json& entry : value) fmt::print("entry\n"), print_lines(entry, indent + 2);
    } else if (key == "steps" && value.is_array()) {
      fmt::print("{}{}\n", left, value.size());
    } else if (value.is_array()) {
      for (size_t k = 0; k < value.size(); ++k)
        fmt::print("{}{}\n", k == 0 ? left : std::string(left.size(), ' '), item_text(value[k]));
    } else {
      fmt::print("{}{}\n", left, value.is_object() ? item_text(value) : leaf_text(key, value));
    }
  }
}

void print_text(Json json) {
  if (json.contains("entries")) {  // they say it themselves
    for (const char* key : {"inputs", "outputs", "workspace_bytes"}) json.erase(key);
  }
  print_lines(json, 0);
}

Result<ExitCode> info(const Options& options) {
  FCC_TRY(std::vector<std::byte> file, read_file(options.file));
  FCC_TRY(Json json, is_elf(file) ? info_of_library(options.file, file) : info_of_onnx(options.file, file));
  if (options.json) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_text(std::move(json));
  }
  return kDone;
}

Action setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("file", o->file, "an .onnx model or a compiled .so")->required();
  app.add_flag("--json", o->json, "JSON on stdout");
  return [o] { return info(*o); };
}

}  // namespace

Command info_command() {
  return {
      .name = "info",
      .usage = "info FILE [--json]",
      .summary = "Describe an .onnx model or a compiled .so.",
      .about =
          "Inputs, outputs, entries, targets, bytes of code, constants and workspace. A compiled model is read as a "
          "file; nothing in it runs.",
      .examples = {{"fcc info model.so", "what does it take, what does it give, which machines does it run on"},
                   {"fcc info model.onnx --json | jq .inputs", "for a script"}},
      .setup = setup,
  };
}

}  // namespace fcc
